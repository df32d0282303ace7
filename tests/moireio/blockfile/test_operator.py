"""Operators through a file: every container and storage gives the same numbers."""

import numpy as np
import pytest
from helpers import naive_at_k, overlap_like, random_operator, random_system, write_file
from hypothesis import given, settings
from hypothesis import strategies as st

import moireio
from moireio.blockfile.writer import OperatorWriter
from moireio.errors import DamagedError, MoireioError
from moireio.operators.bloch import BlochSum
from moireio.operators.blocks import read_pairs
from moireio.operators.views import ArraySource, FullView, UpperView

CASES = [
    {"spin": "none"},
    {"spin": "spinor"},
    {"spin": "collinear"},
    {"spin": "none", "name": "momentum"},
    {"spin": "none", "name": "density"},
]
SUFFIXES = [".h5", ".zarr", ".zarr.zip"]


def everything(source):
    return source.rows(0, len(source.sizes))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(str(v) for v in c.values()))
def test_round_trip(tmp_path, suffix, case):
    structure, basis = random_system(3)
    source, blocks = random_operator(3, basis.sizes(structure), **case)
    path = write_file(tmp_path / f"x{suffix}", structure, basis, source)
    with moireio.open(path) as file:
        operator = file.operator(source.meta.name)
        assert operator.meta == source.meta
        assert (everything(operator) == everything(source)).all()
        assert (operator.pairs.R == source.pairs.R).all()
        for (i, j, R), block in list(blocks.items())[::7]:
            assert (operator.block(i, j, R) == block).all()
        seen = {(i, j, R): b for i, j, R, b in operator.slab(1, 3)}
        assert seen.keys() == {key for key in blocks if key[0] in (1, 2)}
        assert all((seen[key] == blocks[key]).all() for key in seen)


@given(st.integers(0, 10**6), st.sampled_from(CASES))
def test_upper_and_full_are_inverse(seed, case):
    structure, basis = random_system(seed)
    source, _ = random_operator(seed, basis.sizes(structure), **case)
    upper = UpperView(source)
    assert len(upper.pairs) == (len(source.pairs) + len(structure)) // 2
    back = FullView(ArraySource(upper.meta, upper.sizes, upper.pairs, everything(upper)))
    assert (back.pairs.j == source.pairs.j).all()
    assert (everything(back) == everything(source)).all()
    parts = [back.rows(i, i + 1) for i in range(len(structure))]
    assert (np.concatenate(parts, axis=-1) == everything(source)).all()


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(CASES))
def test_bloch_sum_equals_naive_sum(seed, case):
    structure, basis = random_system(seed)
    source, blocks = random_operator(seed, basis.sizes(structure), **case)
    rng = np.random.default_rng(seed)
    several = source.meta.components > 1
    for k in (rng.random(3), np.zeros(3), np.array([0.5, 0, 0])):
        for component in range(source.meta.components):
            expected = naive_at_k(blocks, source.sizes, k, component if several else None)
            for stored in (source, UpperView(source)):
                total = BlochSum.from_source(stored, component=component)
                dense, sparse = total.dense(k), total.csr(k)
                assert np.abs(dense - expected).max() < 1e-12
                assert np.abs(sparse.toarray() - expected).max() < 1e-12
                assert (dense == source.meta.parity * dense.conj().T).all()
                if source.meta.dtype == "float64":
                    assert np.isrealobj(dense) == (k[0] in (0.0, 0.5) and k[1] == 0)
                half = total.dense(k, upper=True)
                corner = np.triu_indices(len(half))
                assert (half[corner] == dense[corner]).all()


def test_spinor_overlap_is_repeated_per_atom():
    structure, basis = random_system(5)
    sizes = basis.sizes(structure)
    source, blocks = overlap_like(5, sizes)
    k = [0.1, 0.2, 0.0]
    doubled = {key: np.kron(np.eye(2), block) for key, block in blocks.items()}
    expected = naive_at_k(doubled, 2 * sizes, k)
    total = BlochSum.from_source(source, spinor=True)
    assert np.abs(total.dense(k) - expected).max() < 1e-14
    assert np.abs(total.csr(k).toarray() - expected).max() < 1e-14


@given(st.integers(0, 10**6))
def test_read_pairs_in_any_order(seed):
    structure, basis = random_system(seed, n_atoms=6)
    source, blocks = random_operator(seed, basis.sizes(structure), fill=0.2)
    wanted = np.random.default_rng(seed).permutation(len(source.pairs))[:15]
    data, offsets = read_pairs(source, wanted, max_gap=1)
    for place, pair in enumerate(wanted):
        key = (int(source.pairs.i[pair]), int(source.pairs.j[pair]), tuple(source.pairs.R[pair]))
        assert (data[offsets[place] : offsets[place + 1]] == blocks[key].ravel()).all()


def test_padding_between_slabs_is_stepped_over(tmp_path, monkeypatch):
    """Slabs of several processes begin at whole shards; what lies between is NaN."""
    from moireio.blockfile import writer as writer_module
    from moireio.blockfile.stream import write_target

    monkeypatch.setattr(writer_module, "CHUNK_BYTES", 64)  # shards of 64 · 64 bytes
    structure, basis = random_system(8, n_atoms=6)
    source, _ = random_operator(8, basis.sizes(structure))
    path = tmp_path / "padded.zarr"
    with write_target(str(path)) as out:
        out.structure(structure)
        out.basis(basis)
        with OperatorWriter(out.container, source, slab_starts=[0, 2, 5]) as slabs:
            for i0, i1 in ((2, 5), (0, 2), (5, 6)):  # as several processes would: in any order
                slabs.write(i0, i1, source.rows(i0, i1))
    with moireio.open(path) as file:
        h = file.hamiltonian
        offsets = file.container.read("hamiltonian/row_offset")
        assert (offsets[[2, 5]] % 512 == 0).all()
        assert np.isnan(file.container.read("hamiltonian/data")).any()
        assert (h.rows(0, 6) == everything(source)).all()
        assert (h.rows(1, 4) == source.rows(1, 4)).all()
        assert moireio.validate(file) == [f for f in moireio.validate(file) if f.level == "note"]


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_a_changed_block_is_not_returned(tmp_path, suffix):
    structure, basis = random_system(2)
    source, _ = random_operator(2, basis.sizes(structure))
    path = write_file(tmp_path / f"x{suffix}", structure, basis, source)
    if suffix == ".h5":
        import h5py

        with h5py.File(path, "r+") as file:
            file["hamiltonian/data"][3] += 1e-3
    else:
        import zarr

        group = zarr.open_group(str(path), mode="r+")
        group["hamiltonian/data"][3] += 1e-3
    with moireio.open(path) as file, pytest.raises(DamagedError, match="checksum of atom 0"):
        file.hamiltonian.at_k([0, 0, 0])


def test_a_lone_pair_is_not_written(tmp_path):
    structure, basis = random_system(4)
    source, blocks = random_operator(4, basis.sizes(structure))
    key = next(k for k in blocks if k[0] != k[1])
    blocks.pop(key)
    lone = ArraySource.from_blocks(source.meta, source.sizes, blocks)
    with pytest.raises(MoireioError, match="no partner"):
        write_file(tmp_path / "x.h5", structure, basis, lone)
    assert list(tmp_path.iterdir()) == []
