"""Operations of a crystal on Bloch states: the matrices D(k), sparse.

Coefficients c at k, in the lattice gauge of `docs/conventions.md`, become D(k) c at g k; with time
reversal D(k) c* at −g k.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.symmetry.operations import Operation
from moireio.symmetry.rotations import SIGMA, TIME_REVERSAL, rotated_orbitals, rotated_spin
from moireio.system.basis import Basis
from moireio.system.structure import Structure

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def atomic_matrices(
    operation: Operation, basis: Basis, names: Sequence[str], spinor: bool
) -> list[npt.NDArray]:
    """Return the matrices of an operation on the orbitals of every species.

    Parameters
    ----------
    operation : Operation
        Any.
    basis : Basis
        The orbitals.
    names : sequence of str
        Species.
    spinor : bool
        Two components of every orbital, the spin being the slow index.

    Returns
    -------
    list of (n, n) arrays
        Unitary, real without spin. With time reversal, the part U of U K.

    Raises
    ------
    MoireioError
        If an incomplete shell does not allow the operation.
    """
    spin: npt.NDArray = np.eye(1)
    if spinor:
        spin = rotated_spin(operation.rotation)
        spin = spin @ TIME_REVERSAL if operation.time_reversal else spin
    return [
        np.kron(spin, rotated_orbitals(name, basis[name], operation.rotation)) for name in names
    ]


class BlochAction:
    """The matrices D(k) of an operation.

    Parameters
    ----------
    operation : Operation
        Any.
    structure : Structure
        The crystal.
    basis : Basis
        Its orbitals.
    spinor : bool
        Whether states are spinors.

    Raises
    ------
    MoireioError
        If an incomplete shell does not allow the operation.
    """

    def __init__(
        self, operation: Operation, structure: Structure, basis: Basis, spinor: bool
    ) -> None:
        self.operation = operation
        matrices = atomic_matrices(operation, basis, structure.species_names, spinor)
        sizes = np.array([len(m) for m in matrices], dtype=np.int64)[structure.species]
        start = np.concatenate([[0], np.cumsum(sizes)])
        self.n_orbitals = int(start[-1])
        rows, columns, values, atoms = [], [], [], []
        for kind, matrix in enumerate(matrices):
            members = np.flatnonzero(structure.species == kind)
            r, c = np.nonzero(matrix)
            rows.append((start[operation.atoms[members]][:, None] + r).ravel())
            columns.append((start[members][:, None] + c).ravel())
            values.append(np.tile(matrix[r, c], len(members)))
            atoms.append(np.repeat(members, len(r)))
        self._rows, self._columns = np.concatenate(rows), np.concatenate(columns)
        self._values, self._atoms = np.concatenate(values), np.concatenate(atoms)

    def matrix(self, k: npt.ArrayLike) -> "csr_array":
        """Return D(k).

        Parameters
        ----------
        k : (3,) array
            Fractional, before the operation.

        Returns
        -------
        (n, n) scipy.sparse.csr_array
            Element (jβ, iα) is e^{−2πi gk·T} d_βα.
        """
        from scipy.sparse import csr_array

        after = self.operation.of_k(k)
        phase = np.exp(-2j * np.pi * (self.operation.cells @ after))
        values = self._values * phase[self._atoms]
        shape = (self.n_orbitals, self.n_orbitals)
        return csr_array((values, (self._rows, self._columns)), shape=shape)

    def turn(self, k: npt.ArrayLike, states: npt.NDArray) -> npt.NDArray:
        """Return states after the operation.

        Parameters
        ----------
        k : (3,) array
            The k point of the states, fractional.
        states : (n, nb) array
            Coefficients.

        Returns
        -------
        (n, nb) array
            Coefficients at g k (or −g k), fractional coordinates not folded.
        """
        return self.matrix(k) @ (states.conj() if self.operation.time_reversal else states)


def spin_matrix(overlap: "csr_array", sizes: npt.NDArray[np.integer], axis: int = 2) -> "csr_array":
    """Return S(k) times a Pauli matrix.

    Parameters
    ----------
    overlap : (n, n) sparse array
        S(k) of spinors; of an orthogonal basis the unit matrix.
    sizes : (N,) array of int
        Orbitals of every atom, spin not counted.
    axis : int
        0, 1 or 2 for x, y or z.

    Returns
    -------
    (n, n) sparse array
        σ ⊗ S, in the order of spinor blocks.
    """
    from scipy.sparse import block_diag, csr_array

    sigma = SIGMA[axis]
    if axis == 2:
        signs = np.concatenate([np.repeat([1.0, -1.0], size) for size in sizes])
        return csr_array(overlap.multiply(signs))
    return csr_array(overlap @ block_diag([np.kron(sigma, np.eye(n)) for n in sizes]).tocsr())
