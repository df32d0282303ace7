"""DeePTB's folders as moireio writes them."""

import json

import h5py
import numpy as np
import pytest
from helpers import random_operator, random_system

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.deeptb import h5, write
from moireio.system.basis import Basis, SpeciesBasis


@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_there_and_back(tmp_path, spin):
    """Equal to the last bit, with atoms outside the cell and a slab."""
    structure, basis = random_system(3)
    sizes = basis.sizes(structure)
    hamiltonian = random_operator(3, sizes, spin=spin, fill=1)[0]
    overlap = random_operator(3, sizes, name="overlap", fill=1)[0]
    operators = {"hamiltonian": hamiltonian, "overlap": overlap}
    before = Calculation("x", structure, basis, operators)
    write.write(before, str(tmp_path / "out"))
    after = h5.read(str(tmp_path / "out"), pbc=structure.pbc)
    moves = (after.structure.positions - structure.positions) @ np.linalg.inv(structure.cell)
    moves = np.round(moves).astype(int)
    for name, source in operators.items():
        found = after.operators[name]
        assert (found.data == source.data).all()
        cells = source.pairs.R + moves[source.pairs.i] - moves[source.pairs.j]
        assert np.array_equal(found.pairs.R, cells)
    assert (after.structure.pbc == structure.pbc).all()
    with pytest.raises(MoireioError, match="exists already"):
        write.write(before, str(tmp_path / "out"))
    write.write(before, str(tmp_path / "out"), force=True)


def test_written_files_are_those_of_deeptb(tmp_path):
    """Read without moireio: key, value, shells ordered by l, text files."""
    structure, _ = random_system(5)
    basis = Basis(
        {"C": SpeciesBasis((1, 0)), "Mo": SpeciesBasis((0, 2, 1)), "H": SpeciesBasis((0,))}
    )
    source, blocks = random_operator(5, basis.sizes(structure))
    write.write(Calculation("x", structure, basis, {"hamiltonian": source}), str(tmp_path / "out"))
    order = {"C": [3, 0, 1, 2], "Mo": [0, 6, 7, 8, 1, 2, 3, 4, 5], "H": [0]}
    with h5py.File(tmp_path / "out" / "hamiltonians.h5") as file:
        assert list(file) == ["0"]
        assert len(file["0"]) == len(blocks)
        for (i, j, R), block in blocks.items():
            rows, columns = (order[structure.species_of_atoms[a]] for a in (i, j))
            assert (
                file["0"]["_".join(map(str, (i, j, *R)))][...] == block[np.ix_(rows, columns)]
            ).all()
    found = np.loadtxt(tmp_path / "out" / "positions.dat")
    assert (found == structure.positions).all()
    names = set(structure.species_of_atoms)
    written = (tmp_path / "out" / "basis.dat").read_text()
    for name, shells in {"C": "1s1p", "Mo": "1s1p1d", "H": "1s"}.items():
        assert (f"'{name}': '{shells}'" in written) == (name in names)
    info = json.loads((tmp_path / "out" / "info.json").read_text())
    assert info["natoms"] == len(structure)


def test_what_has_no_place_is_refused(tmp_path):
    structure, basis = random_system(3)
    source = random_operator(3, basis.sizes(structure), spin="collinear")[0]
    with pytest.raises(MoireioError, match="spin-polarised"):
        write.write(
            Calculation("x", structure, basis, {"hamiltonian": source}), str(tmp_path / "o")
        )
    assert not (tmp_path / "o").exists()


def test_orthogonal_orbitals_have_a_unit_overlap(tmp_path):
    structure, basis = random_system(3)
    basis = Basis(basis.species, orthogonal=True)
    source = random_operator(3, basis.sizes(structure))[0]
    write.write(Calculation("x", structure, basis, {"hamiltonian": source}), str(tmp_path / "o"))
    overlap = h5.read(str(tmp_path / "o"), pbc=structure.pbc).overlap
    onsite = overlap.pairs.onsite()
    starts = np.concatenate([[0], np.cumsum(overlap.pairs.block_elements(overlap.sizes))])
    for atom, size in enumerate(overlap.sizes):
        block = overlap.data[starts[onsite[atom]] : starts[onsite[atom] + 1]]
        assert np.array_equal(block.reshape(size, size), np.eye(size))
    assert np.abs(overlap.data).sum() == sum(overlap.sizes)
