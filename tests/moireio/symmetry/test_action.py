"""D(k) of real calculations commutes with H(k) and S(k)."""

import numpy as np
import pytest

import moireio
from moireio.symmetry.action import BlochAction, spin_matrix
from moireio.symmetry.finder import crystal_operations
from moireio.symmetry.operations import time_reversal
from moireio.symmetry.rotations import SIGMA

K = np.array([0.13, 0.29, 0.0])


@pytest.mark.parametrize(("case", "limit"), [("gr_ab", 4e-3), ("hbn_soc", 1e-2)])
def test_operators_of_real_files_commute(made, case, limit):
    """H(gk) D(k) = D(k) H(k), to the accuracy of OpenMX's grid; S far better."""
    with moireio.open(made[case]) as file:
        spinor = file.hamiltonian.meta.spin == "spinor"
        h, s = file.hamiltonian.assembler(), file.overlap.assembler(spinor=spinor)
        operations = crystal_operations(file.structure)
        reverse = time_reversal(file.structure)
        for operation in [*operations, reverse, operations[-1] @ reverse]:
            action = BlochAction(operation, file.structure, file.basis, spinor)
            d = action.matrix(K).toarray()
            after = operation.of_k(K)
            assert np.abs(d.conj().T @ d - np.eye(len(d))).max() < 1e-12
            for total, most in ((h, limit), (s, 1e-9)):
                here = total.dense(K)
                here = here.conj() if operation.time_reversal else here
                assert np.abs(total.dense(after) @ d - d @ here).max() < most, operation.name
            states = np.eye(len(d))[:, :2] * 1j
            turned = action.turn(K, states)
            sign = -1j if operation.time_reversal else 1j
            assert np.abs(turned - sign * d[:, :2]).max() < 1e-15


def test_products_of_matrices(made):
    with moireio.open(made["hbn_soc"]) as file:
        found = crystal_operations(file.structure)
        a, b = found[3], found[-2]

        def matrix(operation, k):
            return BlochAction(operation, file.structure, file.basis, True).matrix(k).toarray()

        both = matrix(a, b.of_k(K)) @ matrix(b, K)
        whole = matrix(a @ b, K)
        sign = np.sign((both * whole.conj()).sum().real)  # of a spinor's full turn
        assert np.abs(both - sign * whole).max() < 1e-12


def test_spin_matrices(made):
    with moireio.open(made["hbn_soc"]) as file:
        s = file.overlap.assembler(spinor=True).csr(K)
        single = file.overlap.assembler().dense(K)
        sizes = file.overlap.sizes
        start = np.concatenate([[0], np.cumsum(sizes)])
        up = np.concatenate([2 * a + np.arange(n) for a, n in zip(start[:-1], sizes, strict=True)])
        down = np.concatenate(
            [2 * a + n + np.arange(n) for a, n in zip(start[:-1], sizes, strict=True)]
        )
        order = np.concatenate([up, down])
        for axis in range(3):
            whole = spin_matrix(s, sizes, axis).toarray()[np.ix_(order, order)]
            assert np.abs(whole - np.kron(SIGMA[axis], single)).max() < 1e-14
