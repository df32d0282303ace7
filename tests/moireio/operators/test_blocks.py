"""Blocks inside flat arrays."""

import numpy as np
import pytest
from helpers import random_operator, random_system
from hypothesis import given
from hypothesis import strategies as st

from moireio.operators.blocks import (
    adjoint,
    block_offsets,
    by_shape,
    components,
    gather,
    read_pairs,
    residual_of,
    row_bytes,
    scatter,
    slab_bounds,
    take_blocks,
)

SIZES = st.lists(st.integers(0, 40), max_size=30)
TYPES = st.sampled_from(["float32", "float64", "complex64", "complex128"])


@given(st.integers(0, 10**6), TYPES)
def test_blocks_that_are_scattered_are_taken_back(seed, dtype):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 5, 2))
    count, size = int(rng.integers(0, 8)), shape[0] * shape[1]
    blocks = rng.normal(size=(count, *shape)).astype(dtype)
    gaps = rng.integers(0, 3, count)
    offsets = np.cumsum(gaps + size) - size
    flat = np.full(int(gaps.sum()) + count * size + 1, -7, dtype=dtype)
    scatter(flat, offsets, blocks.reshape(count, size))
    np.testing.assert_array_equal(take_blocks(flat, offsets, shape), blocks)
    assert (flat == -7).sum() >= gaps.sum() + 1  # nothing beside the blocks was touched


def test_bytes_are_gathered_from_any_place():
    text = b"0123456789abcdef"
    runs = gather(text, np.array([7, 0, 13]), 3)
    assert [bytes(run) for run in runs] == [b"789", b"012", b"def"]


@given(SIZES)
def test_offsets_are_running_sums(sizes):
    offsets = block_offsets(np.array(sizes, dtype=np.int64))
    assert offsets[0] == 0
    assert np.diff(offsets).tolist() == sizes


@given(SIZES, st.integers(1, 100))
def test_slabs_cover_all_atoms_in_bounded_pieces(sizes, target):
    bounds = slab_bounds(np.array(sizes, dtype=np.int64), target)
    assert [i for i0, i1 in bounds for i in range(i0, i1)] == list(range(len(sizes)))
    for i0, i1 in bounds:
        nonzero = [s for s in sizes[i0:i1] if s]
        assert sum(nonzero) <= target or len(nonzero) == 1


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), max_size=30))
def test_groups_of_one_shape_divide_the_blocks(shapes):
    rows, columns = (np.array([s[n] for s in shapes], dtype=np.int64) for n in (0, 1))
    groups = by_shape(rows, columns)
    assert sorted(p for _, group in groups for p in group) == list(range(len(shapes)))
    for shape, group in groups:
        assert all(shapes[p] == shape for p in group)
    assert len({shape for shape, _ in groups}) == len(groups)


@pytest.mark.parametrize("parity", [1, -1])
def test_adjoint_is_its_own_inverse(parity):
    rng = np.random.default_rng(0)
    blocks = rng.normal(size=(3, 2, 4)) + 1j * rng.normal(size=(3, 2, 4))
    np.testing.assert_array_equal(adjoint(adjoint(blocks, parity), parity), blocks)
    np.testing.assert_array_equal(adjoint(blocks, parity)[1], parity * blocks[1].conj().T)


@given(st.integers(0, 10**6), st.sampled_from(["hamiltonian", "momentum"]), st.integers(0, 3))
def test_pairs_are_read_in_the_order_asked_for(seed, name, max_gap):
    structure, basis = random_system(seed)
    source, blocks = random_operator(seed, basis.sizes(structure), name=name)
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, len(source.pairs), 7)
    data, offsets = read_pairs(source, indices, max_gap)
    for place, p in enumerate(indices):
        R = tuple(source.pairs.R[p].tolist())
        block = blocks[int(source.pairs.i[p]), int(source.pairs.j[p]), R]
        span = slice(offsets[place], offsets[place + 1])
        for flat, part in zip(components(data), np.atleast_3d(block.T).T, strict=True):
            np.testing.assert_array_equal(flat[span], part.ravel())


def test_bytes_of_rows_are_those_that_rows_return():
    structure, basis = random_system(3)
    for name, spin in (("hamiltonian", "spinor"), ("position", "none"), ("density", "collinear")):
        source, _ = random_operator(3, basis.sizes(structure), name=name, spin=spin)
        expected = [source.rows(i, i + 1).nbytes for i in range(len(structure))]
        assert row_bytes(source).tolist() == expected


def test_the_residual_of_a_source_goes_before_that_of_its_attributes():
    structure, basis = random_system(1)
    source, _ = random_operator(1, basis.sizes(structure))
    source.meta = source.meta.with_(residual=0.5)
    assert residual_of(source) == 0.5
    source.residual = 0.25
    assert residual_of(source) == 0.25
