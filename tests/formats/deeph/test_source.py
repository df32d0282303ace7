"""Blocks of folders against the mean that is formed pair by pair."""

import numpy as np
import pytest

from moireio.errors import DamagedError
from moireio.formats.deeph.blocks import StoredBlocks
from moireio.formats.deeph.source import FolderOperator
from moireio.operators.blocks import block_offsets
from moireio.operators.catalogue import operator_type
from moireio.system.pairs import Pairs

SPECIES = np.array([0, 1, 1, 0, 1])
SIZES = np.array([3, 2])[SPECIES]
N_ATOMS = len(SPECIES)


def _pairs():
    """All atoms with all in the cells -1, 0, 1."""
    i, j, x = (a.ravel() for a in np.indices((N_ATOMS, N_ATOMS, 3)))
    R = np.stack([x - 1, 0 * x, 0 * x], axis=1)
    return Pairs.sort(N_ATOMS, i, j, R)[0]


def _blocks(pairs, dtype, noise):
    """Random blocks: a third obeys the rule to the last bit, the others by `noise`."""
    rng = np.random.default_rng(1)
    partner, blocks = pairs.find(pairs.j, pairs.i, -pairs.R), [None] * len(pairs)
    for p, q in enumerate(partner):
        shape = SIZES[pairs.i[p]], SIZES[pairs.j[p]]
        block = rng.normal(size=shape) + (1j * rng.normal(size=shape) if dtype[0] == "c" else 0)
        block = block.astype(dtype)
        if blocks[q] is not None:
            block = blocks[q].conj().T.copy()
            block += noise * (rng.integers(3) > 0) * rng.normal(size=shape).astype(block.real.dtype)
        elif p == q:
            block = (block + block.conj().T) / 2
        blocks[p] = block
    onsite = blocks[int(pairs.onsite()[0])]
    onsite[0, 1], onsite[1, 0] = 0.0, -0.0  # equal, but not the same bits
    return blocks, partner


def _operator(pairs, blocks, order, dtype, limit=1e-3):
    """The operator, with the blocks in a given order in the file."""
    file = np.concatenate([blocks[p].ravel() for p in order])
    offsets = np.empty(len(pairs), dtype=np.int64)
    offsets[order] = block_offsets(np.array([blocks[p].nbytes for p in order]))[:-1]
    zero = np.zeros(len(pairs), dtype=np.int64)
    raw = file.view(np.uint8)
    stored = StoredBlocks(pairs, [raw], [file.dtype], zero, zero, offsets, np.float32)
    meta = operator_type("hamiltonian").meta(dtype=dtype)
    orders = [np.array([2, 0, 1]), np.arange(2)]
    name = "block {} {} {}".format
    return FolderOperator(meta, SIZES, stored, orders, SPECIES, "file", name, limit), orders


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_means_to_the_last_bit(dtype, mixed, noise):
    """Whatever the runs, and whether blocks lie one after another in the file or not."""
    pairs = _pairs()
    blocks, partner = _blocks(pairs, dtype, noise)
    order = np.random.default_rng(0).permutation(len(pairs)) if mixed else np.arange(len(pairs))
    expected, gaps = [], []
    for p, q in enumerate(partner):
        theirs = blocks[q].conj().T
        gaps.append(np.abs(blocks[p] - theirs).max())
        expected.append((blocks[p] + theirs) * np.array(0.5, dtype))
    for runs in ([(0, 5)], [(3, 5), (1, 3), (0, 2), (4, 5)]):
        operator, orders = _operator(pairs, blocks, order, dtype)
        for i0, i1 in runs:
            span = range(pairs.indptr[i0], pairs.indptr[i1])
            turned = [
                expected[p][np.ix_(orders[SPECIES[pairs.i[p]]], orders[SPECIES[pairs.j[p]]])]
                for p in span
            ]
            wanted = np.concatenate([block.ravel() for block in turned])
            assert operator.rows(i0, i1).tobytes() == wanted.tobytes()
        assert operator.residual == pytest.approx(max(gaps), rel=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9, 0.5])
@pytest.mark.parametrize("limit", [1e-3, np.inf])
@pytest.mark.parametrize("read", ["its own atom", "its partner's atom"])
def test_a_damaged_element_is_found_from_both_sides(value, limit, read):
    pairs = _pairs()
    blocks, _ = _blocks(pairs, "float64", 0.0)
    (p,) = pairs.find(np.array([1]), np.array([4]), np.array([[1, 0, 0]]))
    blocks[p][1, 0] = value
    operator, _ = _operator(pairs, blocks, np.arange(len(pairs)), "float64", limit)
    atom = 1 if read == "its own atom" else 4
    if limit == np.inf and value == 0.5:
        operator.rows(atom, atom + 1)  # models need not be Hermitian
        return
    with pytest.raises(DamagedError, match=r"block [14] [14]"):
        operator.rows(atom, atom + 1)
