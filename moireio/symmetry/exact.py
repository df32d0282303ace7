"""The operations under which H and S do not change, for Bloch states at equivalent k points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.symmetry.action import BlochAction
from moireio.symmetry.finder import crystal_operations
from moireio.symmetry.operations import Operation, generated_operations, identity, time_reversal

if TYPE_CHECKING:
    from moireio.operators.bloch import BlochSum
    from moireio.system.basis import Basis
    from moireio.system.structure import Structure

TOLERANCE = 3e-5  # eV, of the norm of a row of H; of S a tenth of it
TRIED = 4  # random vectors
GENERAL = np.array([0.1237, 0.2891, 0.0713])
# of a reciprocal vector: k points of meshes, halved or not, lie at a multiple, never midway
PARTS = 2**21 * 3**3 * 5**2 * 7
Key = tuple[int, ...]


def key_of(k: npt.ArrayLike) -> Key:
    """Return the same key for all k points that differ by reciprocal lattice vectors."""
    return tuple(int(n) % PARTS for n in np.rint(np.asarray(k) * PARTS))


class ExactSymmetry:
    """Operations of a crystal, time reversal among them, that leave H and S as they are.

    They are tried on random vectors x at a general k point, D(k) H(k) x = H(gk) D(k) x, complex
    conjugates where they reverse time: a component of the difference is, on average, the norm of
    its row. Products of operations that hold are not tried.

    Parameters
    ----------
    structure : Structure
        The crystal.
    basis : Basis
        Its orbitals.
    spinor : bool
        Whether states are spinors.
    hamiltonians : sequence of BlochSum
        One for each spin channel.
    overlap : BlochSum or None
        S; None for orthogonal orbitals.

    Attributes
    ----------
    operations : list of Operation
        The identity first; a group up to translations.
    """

    def __init__(
        self,
        structure: Structure,
        basis: Basis,
        spinor: bool,
        hamiltonians: Sequence[BlochSum],
        overlap: BlochSum | None,
    ) -> None:
        self._crystal = structure, basis, spinor
        tried = [(h, TOLERANCE) for h in hamiltonians]
        if overlap is not None:
            tried.append((overlap, 0.1 * TOLERANCE))
        k = np.where(structure.pbc, GENERAL, 0.0)
        x = np.exp(2j * np.pi * np.random.default_rng(0).random((tried[0][0].n_orbitals, TRIED)))
        before = [total.csr(k) @ x for total, _ in tried]
        reversal = time_reversal(structure)
        group, known = [identity(structure)], {identity(structure).key}
        for spatial in [group[0], *crystal_operations(structure)]:
            for operation in (reversal @ spatial, spatial):
                if operation.key in known or not self._holds(operation, k, x, before, tried):
                    continue
                group = generated_operations([*group, operation])
                known = {one.key for one in group}
        # those that only differ by a translation take every k point to the same one
        distinct: dict[tuple[bytes, bool], Operation] = {}
        for one in group:
            distinct.setdefault((one.lattice.tobytes(), one.time_reversal), one)
        self.operations = list(distinct.values())
        self._inverse = [self._find_inverse(o) for o in self.operations]
        self._actions: dict[int, BlochAction] = {}

    def _holds(
        self,
        operation: Operation,
        k: npt.NDArray[np.float64],
        x: npt.NDArray[Any],
        before: Sequence[npt.NDArray[Any]],
        tried: Sequence[tuple[BlochSum, float]],
    ) -> bool:
        try:
            action = BlochAction(operation, *self._crystal)
        except MoireioError:  # a shell is not complete
            return False
        turned, there = action.turn(k, x), operation.of_k(k)
        for product, (total, tolerance) in zip(before, tried, strict=True):
            off = action.turn(k, product) - total.csr(there) @ turned
            if not np.sqrt((np.abs(off) ** 2).mean(axis=1)).max() < tolerance:
                return False
        return True

    def _find_inverse(self, operation: Operation) -> int:
        for number, other in enumerate(self.operations):
            unit = (other.lattice @ operation.lattice == np.eye(3)).all()
            if unit and other.time_reversal == operation.time_reversal:
                return number
        raise AssertionError("not a group")

    def images(self, k: npt.ArrayLike) -> dict[Key, int]:
        """Return the keys of all k points that are equivalent, and an operation that leads there.

        Parameters
        ----------
        k : (3,) array
            Fractional.

        Returns
        -------
        dict
            Key of each to the number of the operation, the lowest there is.
        """
        found: dict[Key, int] = {}
        for number, operation in enumerate(self.operations):
            found.setdefault(key_of(operation.of_k(k)), number)
        return found

    def representative(self, k: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], int]:
        """Return the k point that stands for all that are equivalent, and the way from it.

        Parameters
        ----------
        k : (3,) array
            Fractional.

        Returns
        -------
        k : (3,) array
            Fractional, not folded.
        number : int
            The operation that takes it to the k point that was given, by its place in the list.
        """
        images = self.images(k)
        number = self._inverse[images[min(images)]]
        return self.source(number, k), number

    def source(self, number: int, k: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the k point that an operation takes to another, fractional.

        Parameters
        ----------
        number : int
            The operation, by its place in the list.
        k : (3,) array
            After it, fractional.

        Returns
        -------
        (3,) array
            Before it, not folded.
        """
        return self.operations[self._inverse[number]].of_k(k)

    def turn(self, number: int, k: npt.ArrayLike, states: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return states after an operation.

        Parameters
        ----------
        number : int
            The operation, by its place in the list.
        k : (3,) array
            Where the states are, before it, fractional.
        states : (n_orbitals, nb) array
            Coefficients.

        Returns
        -------
        (n_orbitals, nb) array
            Coefficients at the k point to which it takes them.
        """
        if number == 0:
            return states
        if number not in self._actions:
            self._actions[number] = BlochAction(self.operations[number], *self._crystal)
        return self._actions[number].turn(k, states)

    def turned_overlap(
        self, number: int, overlaps: npt.NDArray[Any], step: npt.NDArray[np.float64]
    ) -> npt.NDArray[Any]:
        """Return ⟨u_m(gk)|u_n(gk')⟩ of turned states from ⟨u_m(k)|u_n(k')⟩.

        Parameters
        ----------
        number : int
            The operation, by its place in the list.
        overlaps : (nb, nb') array
            Before it.
        step : (3,) array
            gk' − gk, Cartesian, Å⁻¹.

        Returns
        -------
        (nb, nb') array
            After it: the translation t of the operation adds e^{−i step·t}.
        """
        operation = self.operations[number]
        phase = np.exp(-1j * float(step @ operation.translation))
        return phase * (overlaps.conj() if operation.time_reversal else overlaps)
