"""Blocks that are not the adjoints of their partners, found while they are read."""

import h5py
import numpy as np
import pytest
from damage import rewrite_checksums
from helpers import random_operator, random_system, write_file

import moireio
from moireio.errors import DamagedError
from moireio.operators.partners import LARGEST, CheckedView, PartnerCheck
from moireio.operators.views import ArraySource, stored_as

CASES = [
    ("hamiltonian", "none"),
    ("hamiltonian", "collinear"),
    ("hamiltonian", "spinor"),
    ("overlap", "none"),
    ("density", "collinear"),
    ("momentum", "none"),
]


def _written(folder, name, spin, storage=None, precision=None, seed=0):
    structure, basis = random_system(seed)
    source, _ = random_operator(seed, basis.sizes(structure), name=name, spin=spin)
    return write_file(folder / "x.h5", structure, basis, stored_as(source, storage, precision))


def _change(path, name, component, place, by):
    with h5py.File(path, "r+") as file:
        data = file[f"{name}/data"][...]
        data[(place,) if data.ndim == 1 else (component, place)] += by
        file[f"{name}/data"][...] = data
        rewrite_checksums(file, name)


def _where(path, name, place):
    """Return atoms and R of the block in which an element lies."""
    with moireio.open(path) as file:
        operator = file.operator(name)
        pairs = operator.pairs
        ends = np.cumsum(pairs.block_elements(operator.sizes))
        n = int(np.searchsorted(ends, place, side="right"))
        return int(pairs.i[n]), int(pairs.j[n]), tuple(pairs.R[n].tolist())


def _read(path, name, bounds=None):
    with moireio.open(path) as file:
        operator = file.operator(name)
        for i0, i1 in bounds or [(0, operator.n_atoms)]:
            operator.slab(i0, i1)


@pytest.mark.parametrize(
    ("name", "spin", "precision"),
    [(*case, "float64") for case in CASES] + [("hamiltonian", "spinor", "float32")],
)
def test_every_element_counts(tmp_path, name, spin, precision):
    """Each of 6 random elements, changed alone, in any order of reading; the place is named."""
    path = _written(tmp_path, name, spin, precision=precision)
    _read(path, name)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    with moireio.open(path) as file:
        size = file.container.info(f"{name}/data").shape[-1]
        components = file.operator(name).meta.components
        is_complex = file.operator(name).meta.dtype.startswith("c")
    by = 1e-3j if is_complex else 1e-3
    diagonal = 0
    for _ in range(6):
        path.write_bytes(whole)
        place, component = int(rng.integers(size)), int(rng.integers(components))
        _change(path, name, component, place, by)
        i, j, R = _where(path, name, place)
        if (i, R) == (j, (0, 0, 0)) and not is_complex and name != "momentum":
            diagonal += 1  # of an on-site block: no partner holds it too
            continue
        words = "R = {} {} {}".format(*R)
        back = "R = {} {} {}".format(*(-v for v in R))
        pattern = rf"x\.h5: /{name}: pair \(({i}, {j}, {words}|{j}, {i}, {back})\) differs .* by 1"
        order = [(a, a + 1) for a in rng.permutation(4).tolist()]
        for bounds in (None, order):
            with pytest.raises(DamagedError, match=pattern):
                _read(path, name, bounds)
    assert diagonal < 6


def test_onsite_blocks_of_upper_storage(tmp_path):
    path = _written(tmp_path, "hamiltonian", "none", storage="upper")
    _read(path, "hamiltonian")
    with moireio.open(path) as file:
        sizes = file.orbitals
        atom = int(np.flatnonzero(sizes > 1)[0])
        pairs = file.hamiltonian.pairs
        n = pairs.onsite()[atom]
        begin = int(pairs.block_elements(sizes)[:n].sum())
    _change(path, "hamiltonian", 0, begin + 1, 5.0)
    pattern = rf"pair \({atom}, {atom}, R = 0 0 0\) differs from its own adjoint by 5\.0e\+00 eV"
    with pytest.raises(DamagedError, match=pattern):
        _read(path, "hamiltonian")


def test_a_partner_that_was_not_turned(tmp_path):
    """The block itself where its adjoint belongs, between atoms of as many orbitals."""
    for seed in range(20):
        structure, basis = random_system(seed)
        sizes = basis.sizes(structure)
        source, _ = random_operator(seed, sizes)
        pairs, partner = source.pairs, source.pairs.partner()
        same = np.flatnonzero((sizes[pairs.i] == sizes[pairs.j]) & (sizes[pairs.i] > 1))
        ends = np.cumsum(pairs.block_elements(sizes))
        for n in same[partner[same] > same][:5]:
            data = source.data.copy()
            size = sizes[pairs.i[n]] ** 2
            there = partner[n]
            data[ends[there] - size : ends[there]] = data[ends[n] - size : ends[n]]
            check = PartnerCheck(source.meta, sizes, pairs, "x")
            offsets = np.concatenate([[0], ends])
            assert set(check.add(0, 4, data, offsets)) == {n, there}
    check = PartnerCheck(source.meta, sizes, pairs, "x")
    assert check.add(0, 4, source.data, np.concatenate([[0], ends])).size == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("storage", ["full", "upper"])
def test_numbers_that_are_none(tmp_path, value, storage):
    path = _written(tmp_path, "hamiltonian", "collinear", storage=storage)
    with h5py.File(path, "r+") as file:
        file["hamiltonian/data"][1, 7] = value
        rewrite_checksums(file, "hamiltonian")
    i, j, R = _where(path, "hamiltonian", 7)
    what = "numbers as large as" if value == 1e300 else "not finite"
    pattern = rf"/hamiltonian: pair \({i}, {j}, R = {R[0]} {R[1]} {R[2]}\) has .*{what}"
    with pytest.raises(DamagedError, match=pattern):
        _read(path, "hamiltonian")


def test_storage_that_the_pairs_contradict(tmp_path):
    for storage, other, words in (
        ("full", "upper", "does not belong in upper storage"),
        ("upper", "full", "has no partner"),
    ):
        path = _written(tmp_path, "hamiltonian", "none", storage=storage)
        with h5py.File(path, "r+") as file:
            file["hamiltonian"].attrs["storage"] = other
            del file["hamiltonian"].attrs["metadata_crc"]
        with pytest.raises(DamagedError, match=words):
            _read(path, "hamiltonian")
        path.unlink()


@pytest.mark.parametrize("storage", ["full", "upper"])
def test_every_command_refuses(tmp_path, made, invoke, storage):
    """5 eV in one element of H, 0.1 in S, and NaN: one line that names group, atoms and R."""
    good = tmp_path / "good.h5"
    invoke("convert-h", made["gr_ab"], "--storage", storage, "-o", good, "-q")
    bad = tmp_path / "bad.h5"
    with moireio.open(good) as file:
        pairs = file.hamiltonian.pairs
        place = int(pairs.block_elements(file.orbitals)[: pairs.onsite()[1]].sum()) + 2
    commands = [
        ("band", "-p", "GM", "-n", "2"),
        ("dos", "--mesh", "2", "2"),
        ("flat-band", "-p", "GM"),
        ("compare-h", good, bad),
        ("convert-h", "-o", tmp_path / "o.zarr", "--storage", "upper"),
        ("convert-h", "-o", tmp_path / "o.h5"),
        ("band", "-p", "GM", "-o", tmp_path / "o.h5"),
    ]
    for name, value in (("hamiltonian", 5.0), ("overlap", 0.1), ("hamiltonian", np.nan)):
        bad.write_bytes(good.read_bytes())
        _change(bad, name, 0, place, value)  # element (0, 2) of an on-site block
        for command, *words in commands:
            files = () if bad in words else (bad,)
            result = invoke(command, *files, *words)
            assert result.exit_code == 1, (command, result.output)
            assert len(result.stderr.splitlines()) == 1, result.stderr
            assert f"bad.h5: /{name}: pair (1, 1, R = 0 0 0) " in result.stderr, (command, words)
            assert not list(tmp_path.glob("o.*"))


@pytest.mark.parametrize(("name", "spin"), CASES)
@pytest.mark.parametrize("storage", ["full", "upper"])
def test_blocks_are_compared_as_they_pass(name, spin, storage):
    """Sound ones pass as they are, one by one and together; a changed one is named by its pair."""
    _, basis = random_system(3)
    sizes = basis.sizes(random_system(3)[0])
    source = stored_as(random_operator(3, sizes, name=name, spin=spin)[0], storage, "float32")
    data = source.rows(0, 4)
    view = CheckedView(source, "x")
    parts = [view.rows(a, a + 1) for a in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), data)
    ends = np.cumsum(source.pairs.block_elements(source.sizes))
    for value, words in ((np.nan, "not finite"), (np.inf, "not finite"), (2 * LARGEST, "large")):
        wrong = data.copy()
        wrong[..., -1] = value
        changed = ArraySource(source.meta, source.sizes, source.pairs, wrong)
        pair = len(ends) - 1
        where = f"({int(source.pairs.i[pair])}, {int(source.pairs.j[pair])}, R = "
        with pytest.raises(DamagedError, match=words) as caught:
            CheckedView(changed, "x").rows(0, 4)
        assert where in str(caught.value)
    if storage == "upper":
        return
    pair = int(np.flatnonzero(source.pairs.i != source.pairs.j)[0])
    wrong = data.copy()
    wrong[..., ends[pair] - 1] += 0.01
    changed = CheckedView(ArraySource(source.meta, source.sizes, source.pairs, wrong), "x")
    with pytest.raises(DamagedError, match=r"differs from its partner's .*adjoint by 1.0e-02"):
        [changed.rows(atom, atom + 1) for atom in (3, 1, 0, 2)]
