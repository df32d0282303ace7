"""Writing the parts of a block file."""

from helpers import overlap_like, random_operator, random_system

import moireio
from moireio.blockfile.stream import write_target


class Calls(list):
    """Keeps what a progress was called with."""

    def __call__(self, steps, total):
        self.append((steps, total))

    def assert_complete(self):
        assert {total for _, total in self} == {sum(steps for steps, _ in self)}


def test_progress_is_that_of_all_operators(tmp_path):
    structure, basis = random_system(3)
    sizes = basis.sizes(structure)
    sources = [random_operator(3, sizes)[0], overlap_like(3, sizes)[0]]
    written, checked, read = Calls(), Calls(), Calls()
    path = tmp_path / "x.h5"
    with write_target(str(path)) as writer:
        writer.structure(structure)
        writer.basis(basis)
        writer.operators(sources, progress=written, slab_bytes=2000)
        writer.history("test")
    with moireio.open(path) as file:
        assert moireio.validate(file, progress=checked) == []
        file.hamiltonian.check(progress=read)
    for calls in (written, checked, read):
        calls.assert_complete()
    assert len(written) > 2
    nbytes = sum(source.rows(0, len(sizes)).nbytes for source in sources)
    assert written[0][1] == checked[0][1] == nbytes > read[0][1]
