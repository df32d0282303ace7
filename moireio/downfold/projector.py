"""What is done with the states of one k point, in the process that found them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.solvers.base import EigenProblem

BOUND = 1e-12  # of a window, as in OpenMX


@dataclass(frozen=True)
class Window:
    """1 between two energies, 0 beyond, with soft edges.

    Parameters
    ----------
    low, high : float
        eV.
    smearing : float
        Width of the edges, eV.
    """

    low: float
    high: float
    smearing: float

    def __call__(self, energies: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the weights of some energies."""

        def fermi(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return 1 / (np.exp(np.clip(x / self.smearing, -700, 700)) + 1)

        return fermi(self.low - energies) + fermi(energies - self.high) - 1 + BOUND


def times_overlap(problem: EigenProblem, states: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return S C.

    Parameters
    ----------
    problem : EigenProblem
        At one k.
    states : (n_orbitals, nb) array
        C.

    Returns
    -------
    (n_orbitals, nb) array
        C itself where the orbitals are orthogonal.
    """
    if problem.overlap is None:
        return states
    return np.asarray(problem.overlap.dense(problem.k) @ states)


@dataclass(frozen=True, eq=False)
class Populations:
    """What states of the window have of groups of orbitals, summed: (S C) w (S C)†.

    Parameters
    ----------
    groups : list of (n_orbitals, n_radial) arrays of int64
        Rows of H of the radial functions of each orbital, by species and l.
    window : Window
        Weights of the states.
    """

    groups: list[npt.NDArray[np.int64]]
    window: Window

    def __call__(
        self, problem: EigenProblem, energies: npt.NDArray[np.float64], states: npt.NDArray[Any]
    ) -> npt.NDArray[np.float64]:
        """Return the matrices of all groups, one after another."""
        parts = times_overlap(problem, states) * np.sqrt(self.window(energies))
        sums = [np.einsum("aib,ajb->ij", parts[g], parts[g].conj()).real for g in self.groups]
        return np.concatenate([one.ravel() for one in sums])


@dataclass(frozen=True, eq=False)
class Projector:
    """The nearest functions at one k.

    Parameters
    ----------
    columns : (n_orbitals, n) array
        Coefficients of the trial orbitals.
    window : Window
        Weights of the states.
    frozen : (float, float) or None
        Energies between which states are kept, eV.
    """

    columns: npt.NDArray[np.float64]
    window: Window
    frozen: tuple[float, float] | None

    def __call__(
        self, problem: EigenProblem, energies: npt.NDArray[np.float64], states: npt.NDArray[Any]
    ) -> npt.NDArray[np.complex128]:
        """Return coefficients, H̃ and singular values, below each other.

        One row with a number instead, where too many states are frozen.
        """
        projections = times_overlap(problem, states).conj().T @ self.columns
        weighted: npt.NDArray[Any] = self.window(energies)[:, None] * projections
        wanted = self.columns.shape[1]
        if self.frozen is not None:
            kept = (energies >= self.frozen[0]) & (energies <= self.frozen[1])
            count = int(kept.sum())
            if count > wanted:
                return np.full((1, wanted), count, dtype=np.complex128)
            others = np.linalg.svd(np.where(kept[:, None], 0, weighted), full_matrices=False)[0]
            space = np.zeros((len(energies), wanted), dtype=np.complex128)
            space[np.flatnonzero(kept), np.arange(count)] = 1
            space[:, count:] = others[:, : wanted - count]
            weighted = space @ (space.conj().T @ projections)
        left, singular, right = np.linalg.svd(weighted, full_matrices=False)
        unitary = left @ right
        h = unitary.conj().T @ (energies[:, None] * unitary)
        return np.vstack([states @ unitary, (h + h.conj().T) / 2, singular]).astype(np.complex128)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Levels of the model and the levels of H and S that they stand for, at one k.

    A level stands for the state of which its function has most.

    Parameters
    ----------
    cells : (n_cells, 3) array of int64
        Lattice vectors of `matrices`.
    matrices : sequence of (n_cells, n, n) arrays
        H̃(R) of each spin.
    places : (n_places, 3) array of int64
        Lattice vectors of `coefficients`.
    coefficients : sequence of (n_places, n_orbitals, n) arrays
        The functions of each spin.
    """

    cells: npt.NDArray[np.int64]
    matrices: Sequence[npt.NDArray[Any]]
    places: npt.NDArray[np.int64]
    coefficients: Sequence[npt.NDArray[Any]]

    def __call__(
        self, problem: EigenProblem, energies: npt.NDArray[np.float64], states: npt.NDArray[Any]
    ) -> list[tuple[npt.NDArray[np.float64], ...]]:
        """Return for every spin levels of the model, their counterparts, and all levels."""
        from scipy.optimize import linear_sum_assignment

        projected, k = times_overlap(problem, states).conj().T, np.asarray(problem.k)
        out: list[tuple[npt.NDArray[np.float64], ...]] = []
        for matrices, coefficients in zip(self.matrices, self.coefficients, strict=True):
            h = np.tensordot(np.exp(2j * np.pi * (self.cells @ k)), matrices, 1)
            levels, mixing = np.linalg.eigh(h)
            functions = np.tensordot(np.exp(2j * np.pi * (self.places @ k)), coefficients, 1)
            shares = np.abs(projected @ (functions @ mixing)) ** 2
            theirs, mine = linear_sum_assignment(-shares)
            out.append((levels[mine], energies[theirs], energies))
        return out
