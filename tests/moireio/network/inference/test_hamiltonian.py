"""Laws that predicted blocks obey."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import (
    CASES,
    blocks_of,
    hamiltonian,
    random_structure,
    rotation_of_orbitals,
    rotation_of_spin,
    small_model,
    structure,
)

from moireio.errors import MoireioError


def turned(block, own, i, j, atoms, turn, spin):
    """A block as it must be after the crystal was turned."""
    names = atoms.species_of_atoms
    D = [rotation_of_orbitals(own[names[n]].l, turn) for n in (i, j)]
    if not spin:
        return D[0] @ block @ D[1].T
    U = rotation_of_spin(turn)
    return np.kron(U, D[0]) @ block @ np.kron(U, D[1]).conj().T


@pytest.mark.parametrize("case", CASES)
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
@settings(max_examples=4)
def test_equivariance(models, case, seed, mirrored, single):
    """Turned, inverted, moved and renumbered: 1e-10 in double, 1e-5 in single precision."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    turn = Rotation.random(rng=rng).as_matrix() * (-1 if mirrored else 1)
    model = small_model(*case, dtype=torch.float32) if single else models[case]
    atoms = random_structure(seed)
    order = np.array([1, 2, 0])
    moved = (atoms.positions + rng.normal(size=3)) @ turn.T
    other = structure(moved[order], atoms.cell @ turn.T, atoms.species[order].tolist())
    # the species' numbers may change with the order: names stand for them
    source, data = hamiltonian(model, atoms)
    new, changed = hamiltonian(model, other)
    found = {(i, j, tuple(R)): b for i, j, R, b in blocks_of(new, changed)}
    back = np.argsort(order)
    scale = np.abs(data).max()
    for i, j, R, block in blocks_of(source, data):
        expected = turned(block, model.basis, i, j, atoms, turn, case[0])
        key = int(back[i]), int(back[j]), tuple(R)
        if key not in found:
            key = key[1], key[0], tuple(-R)
            expected = expected.conj().T
        gap = np.abs(found[key] - expected).max()
        assert gap < (1e-5 if single else 1e-10) * max(scale, 1.0)


@pytest.mark.parametrize("case", CASES)
def test_hermitian_and_time_reversal(models, case):
    spin, local = case
    atoms = random_structure(4)
    raw, data = hamiltonian(models[case], atoms, raw=True)
    assert raw.meta.parity == 0
    assert raw.residual > 1e-3
    source, data = hamiltonian(models[case], atoms)
    for i, j, R, block in blocks_of(source, data):
        if i == j and not R.any():
            assert (block == block.conj().T).all()
        if spin and local:
            n, m = block.shape[0] // 2, block.shape[1] // 2
            uu, ud, du, dd = block[:n, :m], block[:n, m:], block[n:, :m], block[n:, m:]
            assert (dd == uu.conj()).all()
            assert (du == -ud.conj()).all()


def test_locality(models):
    """In the local variant an atom far away changes nothing; with norms over the graph it does."""
    cell = np.diag([60.0, 15.0, 15.0])
    near = [[0.0, 0, 0], [1.5, 0.3, 0]]
    far = [[[30.0, 0, 0]], [[30.0, 1.0, 4.0]]]
    for local in (True, False):
        model = models[False, local]
        first, second = (
            hamiltonian(model, structure(near + extra, cell, [0, 1, 0])) for extra in far
        )
        a, b = (list(blocks_of(*result)) for result in (first, second))
        gaps = [
            np.abs(x[3] - y[3]).max() for x, y in zip(a, b, strict=False) if max(x[0], x[1]) < 2
        ]
        assert len(gaps) == 3
        same = max(gaps) < 1e-13
        assert same == local or (not local and max(gaps) < 1e-2)


def test_continuous_at_the_cutoff(models):
    """Local variant: H does not jump when an atom comes within reach."""
    model = models[False, True]
    end = 2 * model.basis["C"].cutoff
    cell = np.diag([40.0, 40.0, 40.0])

    def at(distance):
        base = [[0.0, 0, 0], [1.4, 0.2, 0.1], [0.0, 0, distance]]
        source, data = hamiltonian(model, structure(base, cell, [0, 0, 0]))
        return {(i, j, tuple(R)): b for i, j, R, b in blocks_of(source, data)}

    inside, outside = at(end - 1e-5), at(end + 1e-5)
    assert len(inside) > len(outside)
    for key, block in inside.items():
        gap = block - outside.get(key, 0.0)
        assert np.abs(gap).max() < 1e-6


def test_numbers_that_are_not_finite_are_refused():
    model = small_model(local=True)
    with torch.no_grad():
        model.network.lin_edge.weight.fill_(float("inf"))
    with pytest.raises(MoireioError, match=r"not finite, in \d+ blocks of atoms 0 to 2, first"):
        hamiltonian(model, random_structure(0))
