"""Operations that leave H and S as they are, tried on states that LAPACK finds."""

import numpy as np
import pytest
from anchored_systems import blocks_of, sum_of, supercell
from scipy.linalg import eigh
from toymodels import haldane, kane_mele, random_c3

import moireio
from moireio.spectrum.sums import bloch_sums
from moireio.symmetry.exact import ExactSymmetry, key_of

MODELS = {
    "haldane": haldane(M=0.1),
    "kane-mele": kane_mele(),
    "shells, S": random_c3(5),
    "spinors, T": random_c3(3, spinor=True, time_reversal=True),
}


def whole(model, path, repeats):
    """The structure, its basis, and H and S of a supercell."""
    with moireio.open(model.write(path)) as file:
        sums, overlap, spin = bloch_sums(file)
        structure, h, s = supercell(file.structure, repeats, sums[0], overlap)
        return structure, file.basis, spin == "spinor", h, s


@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 1, 1), (2, 2, 1)])
@pytest.mark.parametrize("name", MODELS)
def test_turned_states_are_states(name, repeats, tmp_path):
    """In supercells too, where translations are operations."""
    structure, basis, spinor, h, s = whole(MODELS[name], tmp_path / "x.h5", repeats)
    symmetry = ExactSymmetry(structure, basis, spinor, [h], s)
    assert symmetry.operations[0].name == "E"
    assert np.abs(symmetry.operations[0].translation).max() == 0
    if repeats[0] == repeats[1]:
        assert "C3" in [o.name for o in symmetry.operations]
    k = np.array([0.13, 0.29, 0.0])
    energies, states = eigh(h.dense(k), None if s is None else s.dense(k))
    for number, operation in enumerate(symmetry.operations):
        there, c = operation.of_k(k), symmetry.turn(number, k, states)
        metric = np.eye(len(c)) if s is None else s.dense(there)
        assert np.abs(h.dense(there) @ c - energies * (metric @ c)).max() < 1e-11
        assert np.abs(symmetry.source(number, there) - k).max() < 1e-12
        first, way = symmetry.representative(there)
        assert key_of(symmetry.operations[way].of_k(first)) == key_of(there)
        assert key_of(first) == key_of(symmetry.representative(k)[0])


def test_operations_that_h_breaks_are_left_out(tmp_path):
    """Atoms are alike, the matrices are not: by 1e-4 eV on two of the eight atoms."""
    structure, basis, spinor, h, s = whole(MODELS["haldane"], tmp_path / "x.h5", (2, 2, 1))
    every = ExactSymmetry(structure, basis, spinor, [h], s).operations
    blocks = blocks_of(h)
    for atom in (0, 2):
        blocks[atom, atom, (0, 0, 0)] = blocks[atom, atom, (0, 0, 0)] + 1e-4
    broken = sum_of(np.diff(h.atom_start), blocks)
    left = ExactSymmetry(structure, basis, spinor, [broken], s).operations
    assert 1 < len(left) < len(every)
    assert "C3" not in [o.name for o in left]
