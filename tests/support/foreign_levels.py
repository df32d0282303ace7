"""Naive sums over the blocks of calculations read from other programs' files."""

import numpy as np
import scipy.linalg as sl


def blocks_of(source):
    """Yield (i, j, R, blocks of all components) of an operator."""
    n_atoms = len(source.sizes)
    data = np.atleast_2d(source.rows(0, n_atoms))
    at = 0
    for i, j, R in zip(source.pairs.i, source.pairs.j, source.pairs.R, strict=True):
        shape = (len(data), source.sizes[i], source.sizes[j])
        size = shape[1] * shape[2]
        yield i, j, R, data[:, at : at + size].reshape(shape)
        at += size


def assert_same_blocks(one, two, rtol, atol):
    """The blocks of one are in two, where others are zero."""
    found = {(i, j, *R): block for i, j, R, block in blocks_of(two)}
    for i, j, R, block in blocks_of(one):
        np.testing.assert_allclose(found.pop((i, j, *R)), block, rtol=rtol, atol=atol)
    assert not any(np.abs(block).max() for block in found.values())


def matrices_at(source, k):
    """Σ_R e^{2πi k·R} O(R) of every component."""
    starts = np.concatenate([[0], np.cumsum(source.sizes)])
    components = 2 if source.meta.spin == "collinear" else 1
    out = np.zeros((components, starts[-1], starts[-1]), dtype=complex)
    for i, j, R, block in blocks_of(source):
        rows, columns = slice(*starts[i : i + 2]), slice(*starts[j : j + 2])
        out[:, rows, columns] += block * np.exp(2j * np.pi * np.dot(k, R))
    return out


def doubled(overlap, sizes):
    """The overlap of spinors: up, then down orbitals of every atom."""
    atoms = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort(
        (np.tile(np.arange(sum(sizes)), 2), np.repeat([0, 1], sum(sizes)), np.tile(atoms, 2))
    )
    return np.kron(np.eye(2), overlap)[np.ix_(order, order)]


def levels(calculation, k):
    """Eigenvalues at k, eV; shape (channels, n)."""
    hamiltonian = calculation.hamiltonian
    H = matrices_at(hamiltonian, k)
    S = np.eye(H.shape[1])
    if calculation.overlap is not None:
        S = matrices_at(calculation.overlap, k)[0]
        if hamiltonian.meta.spin == "spinor":
            S = doubled(S, calculation.basis.sizes(calculation.structure))
    return np.array([sl.eigh(h, S, eigvals_only=True) for h in H])


def harmonics(momentum, direction):
    """Real harmonics m = −l … l of s, p and d without Condon–Shortley sign, not normalised."""
    x, y, z = direction
    return np.array(
        {
            0: [1.0],
            1: [y, z, x],
            2: [
                3**0.5 * x * y,
                3**0.5 * y * z,
                (3 * z * z - 1) / 2,
                3**0.5 * x * z,
                3**0.5 * (x * x - y * y) / 2,
            ],
        }[momentum]
    )


def begin_of_last(shells, momentum):
    """Where the last shell of an l begins among the orbitals of an atom."""
    last = max(n for n, l in enumerate(shells) if l == momentum)  # noqa: E741
    return sum(2 * l + 1 for l in shells[:last])  # noqa: E741


def overlap_misfit(calculation, momentum):
    """Largest part of ⟨s|l m⟩ between atoms that is not a multiple of Y_lm of their direction.

    Over the last s and the last shell l of each species, relative to the largest of them.
    """
    structure, basis = calculation.structure, calculation.basis
    largest = worst = 0.0
    for i, j, R, (block,) in blocks_of(calculation.overlap):
        first, second = (basis[structure.species_of_atoms[a]].l for a in (i, j))
        vector = structure.positions[j] + R @ structure.cell - structure.positions[i]
        length = np.linalg.norm(vector)
        if length < 1e-3 or 0 not in first or momentum not in second:
            continue
        found = block[begin_of_last(first, 0)]
        begin = begin_of_last(second, momentum)
        found = found[begin : begin + 2 * momentum + 1]
        expected = harmonics(momentum, vector / length)
        rest = found - expected * (found @ expected) / (expected @ expected)
        largest = max(largest, np.abs(found).max())
        worst = max(worst, np.abs(rest).max())
    assert largest > 0.01
    return worst / largest
