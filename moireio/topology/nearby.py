"""States at a k point from those at k points nearby, by Ritz's method.

The cell-periodic parts of the states at some k points close by, those of a few more bands included,
span nearly all of the states in between. For matrices of a thousand orbitals that is several times
cheaper than another solution. Their space holds much else, whose Ritz values lie anywhere and mix
with levels of the same energy. So first those vectors are kept whose |(H − E)v| is small for an
E next to the levels: nothing that is no state can be among them. A result counts only if its
residuals are small and its bands can be numbered; else the k point has to be solved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from moireio.operators.bloch import BlochSum
    from moireio.symmetry.exact import ExactSymmetry
    from moireio.topology.links import Plane

NEIGHBOURS = 8  # k points whose states are taken
FEWEST = 3  # of them must be known, equivalent ones not counted
RESIDUAL = 0.08  # eV, in the norm of S⁻¹; what is missing lies some 10 eV away: energies to 1e-4 eV
GHOST = 1.0  # eV: Ritz values with a larger one are no levels; between the two nobody knows
SAFETY = 2.0  # of the ratio between the norms, which is measured once
APART = 0.3  # eV, between levels around which vectors are looked for one by one
SAME = 0.01  # eV, between levels of which the states are found one by one
BEYOND = 0.15  # eV, on either side of levels: vectors are chosen for these too
FAR = 0.3  # eV, from the groups: a neighbouring band is good enough as it comes
FASTER = 2.0  # how much faster bands may move towards each other than between those k points
DROPPED = 1e-9  # eigenvalue of the states' overlaps, in the largest
MISFIT = 0.05  # eV, largest difference of a level from what the states of one k point alone give
CLEAR = 0.3  # misfit of the right numbers, in that of any other


@dataclass(eq=False)
class _Known:
    """States that were solved, of one spin channel, and the k points that are equivalent."""

    k: list[npt.NDArray[np.float64]] = field(default_factory=list)
    energies: list[npt.NDArray[np.float64]] = field(default_factory=list)
    source: list[tuple[int, int]] = field(default_factory=list)  # which was solved, operation
    solved: list[tuple[npt.NDArray[np.float64], npt.NDArray[Any]]] = field(default_factory=list)


class NearbyStates:
    """Neighbouring bands at k points that were solved, and at those close by.

    Parameters
    ----------
    positions : (n_orbitals, 3) array
        Positions of the atoms of all rows of H, Å.
    plane : Plane
        The k points' plane.
    hamiltonians : sequence of BlochSum
        One for each spin channel.
    overlap : BlochSum or None
        S; None for orthogonal orbitals.
    wanted : slice
        Those of the bands that are wanted; the others only help.
    groups : slice
        Those of the bands whose states are wanted; of the others, their neighbours, energies.
    ends : (bool, bool)
        Whether the bands begin with the lowest, and end with the highest of all.
    symmetry : ExactSymmetry
        Operations that give states at equivalent k points.
    """

    def __init__(
        self,
        positions: npt.NDArray[np.float64],
        plane: Plane,
        hamiltonians: Sequence[BlochSum],
        overlap: BlochSum | None,
        wanted: slice,
        groups: slice,
        ends: tuple[bool, bool],
        symmetry: ExactSymmetry,
    ) -> None:
        self._positions, self.plane = positions, plane
        self._hamiltonians, self._overlap = hamiltonians, overlap
        self._wanted, self._groups, self._ends = wanted, groups, ends
        self._symmetry = symmetry
        self._known = [_Known() for _ in hamiltonians]
        self._ratio: float | None = 1.0 if overlap is None else None

    def add(
        self,
        channel: int,
        k: npt.NDArray[np.float64],
        energies: npt.NDArray[np.float64],
        states: npt.NDArray[Any],
    ) -> None:
        """Keep states that were solved.

        Parameters
        ----------
        channel : int
            Spin channel.
        k : (3,) array
            Fractional.
        energies : (nb,) array
            eV, of all bands.
        states : (n_orbitals, nb) array
            S-orthonormal coefficients, in lattice gauge.
        """
        known = self._known[channel]
        known.solved.append((k, states))
        for number in self._symmetry.images(k).values():
            known.k.append(self._symmetry.operations[number].of_k(k))
            known.energies.append(energies)
            known.source.append((len(known.solved) - 1, number))

    def distance(self, channel: int, k: npt.NDArray[np.float64]) -> float:
        """Return how far the nearest k point is that was solved, Å⁻¹; infinite without any."""
        steps = self._steps(channel, k)
        return float(np.linalg.norm(steps, axis=1).min(initial=np.inf))

    def _steps(self, channel: int, k: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the shortest ways to k from all k points that were solved, Å⁻¹."""
        known = self._known[channel].k
        if not known:
            return np.zeros((0, 3))
        difference = k - np.array(known)
        return self.plane.cartesian(difference - np.rint(difference))

    def find(self, channel: int, k: npt.NDArray[np.float64]) -> Found | None:
        """Return the bands that are wanted at a k point.

        Parameters
        ----------
        channel : int
            Spin channel.
        k : (3,) array
            Fractional.

        Returns
        -------
        Found or None
            None if they do not follow from those that are known.
        """
        near = self._nearest(channel, k)
        if near is None:
            return None
        trial, count = self._trial(channel, k, near)
        images = self._hamiltonians[channel].dense(k) @ trial
        s = None if self._overlap is None else self._overlap.dense(k)
        space = _Space(trial, images, trial if s is None else s @ trial)
        energies, first = _eigenpairs(
            space.hamiltonian[:count, :count], space.metric[:count, :count]
        )
        if len(energies) < count:
            return None
        close = self._close(energies)
        expected = energies[close]
        turn = space.around(expected)
        if turn.shape[1] < len(expected):
            return None
        levels, turn = space.pairs(turn)
        chosen = _numbered(levels, self._residuals(space, levels, turn, s), expected)
        if chosen is None:
            return None
        levels, turn = space.pairs(space.closest(levels[chosen]))
        if self._residuals(space, levels, turn, s).max() > RESIDUAL:
            return None
        states = trial[:, :count] @ first
        energies[close], states[:, close] = levels, trial @ turn
        rough = close != self._wanted
        return Found(energies[self._wanted], states[:, self._wanted], rough=rough)

    def _close(self, energies: npt.NDArray[np.float64]) -> slice:
        """Return which bands are those of the groups, or neighbours that are close to them."""
        first, end = self._groups.start, self._groups.stop
        if first > self._wanted.start and energies[first] - energies[first - 1] < FAR:
            first -= 1
        if end < self._wanted.stop and energies[end] - energies[end - 1] < FAR:
            end += 1
        return slice(first, end)

    def _residuals(
        self,
        space: _Space,
        energies: npt.NDArray[np.float64],
        turn: npt.NDArray[Any],
        overlap: npt.NDArray[Any] | None,
    ) -> npt.NDArray[np.float64]:
        """Return bounds of the residuals in the norm of S⁻¹, eV."""
        rests = space.images @ turn - energies * (space.weighted @ turn)
        if self._ratio is None:
            assert overlap is not None
            self._ratio = _norm_ratio(overlap, rests)
        return SAFETY * self._ratio * np.linalg.norm(rests, axis=0)

    def _nearest(self, channel: int, k: npt.NDArray[np.float64]) -> npt.NDArray[np.integer] | None:
        """Return the k points nearest to k that were solved; None if they are too far."""
        known = self._known[channel]
        distances = np.linalg.norm(self._steps(channel, k), axis=1)
        order = np.argsort(distances, kind="stable")
        solved = np.array([known.source[n][0] for n in order], dtype=np.int64)
        # images of one k point have the same energies, whatever the bands do in between
        different = np.sort(np.unique(solved, return_index=True)[1])[:NEIGHBOURS]
        if len(different) < FEWEST:
            return None
        first, *others = order[different]
        speed = max(
            np.abs(known.energies[n] - known.energies[first]).max()
            / self.plane.distance(known.k[n], known.k[first])
            for n in others
        )
        reach = FASTER * speed * float(distances[first])
        return order[:NEIGHBOURS] if self._in_reach(known.energies[first], reach) else None

    def _trial(
        self, channel: int, k: npt.NDArray[np.float64], near: npt.NDArray[np.integer]
    ) -> tuple[npt.NDArray[Any], int]:
        """Return states in the phases of k, and how many of them are those of the first point."""
        known, steps, parts = self._known[channel], self._steps(channel, k), []
        for n in near:
            solved, number = known.source[n]
            states = self._symmetry.turn(number, *known.solved[solved])
            parts.append(states * np.exp(1j * self._positions @ steps[n])[:, None])
        return np.hstack(parts), parts[0].shape[1]

    def _in_reach(self, energies: npt.NDArray[np.float64], reach: float) -> bool:
        """Return whether no band from beyond those that are known can come in."""
        close = energies[self._close(energies)]
        below = self._ends[0] or energies[0] < close[0] - reach
        return below and (self._ends[1] or energies[-1] > close[-1] + reach)


@dataclass(frozen=True, eq=False)
class Found:
    """Bands at one k point.

    Parameters
    ----------
    energies : (nb,) array
        eV, ascending.
    states : (n_orbitals, nb) array
        S-orthonormal coefficients, in lattice gauge.
    operation : int
        That gave them from the states at an equivalent k point; 0 is none.
    rough : bool
        Whether bands next to the groups, far from them, are those of another k point's states.
    """

    energies: npt.NDArray[np.float64]
    states: npt.NDArray[Any]
    operation: int = 0
    rough: bool = False


class _Space:
    """The space of some states, with H and S in it.

    Parameters
    ----------
    trial, images, weighted : (n_orbitals, m) arrays
        The states, H and S times them.
    """

    def __init__(
        self, trial: npt.NDArray[Any], images: npt.NDArray[Any], weighted: npt.NDArray[Any]
    ) -> None:
        self.images, self.weighted = images, weighted
        bra = trial.conj().T
        self.hamiltonian, self.metric = _hermitian(bra @ images), _hermitian(bra @ weighted)
        values, turn = np.linalg.eigh(self.metric)
        kept = values > DROPPED * values[-1]
        self._turn = turn[:, kept] / np.sqrt(values[kept])
        h, s = images @ self._turn, weighted @ self._turn
        self._hh, self._ss = (_hermitian(m.conj().T @ m) for m in (h, s))
        mixed = h.conj().T @ s
        self._hs = mixed + mixed.conj().T

    def _squares(self, energy: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
        """Return vectors by |(H − E S)v|², ascending."""
        return np.linalg.eigh(self._hh - energy * self._hs + energy**2 * self._ss)

    def around(self, levels: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return the vectors, (m, p), that may be states with energies next to some levels."""
        chosen = []
        for part in _parts(levels, APART):
            squares, vectors = self._squares(0.5 * (part[0] + part[-1]))
            near = squares < (0.5 * (part[-1] - part[0]) + BEYOND) ** 2
            chosen.append(vectors[:, near])
        return self._turn @ np.hstack(chosen)

    def closest(self, levels: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return the vectors, (m, nb), that are closest to states with these energies."""
        chosen = [
            self._squares(0.5 * (part[0] + part[-1]))[1][:, : len(part)]
            for part in _parts(levels, SAME)
        ]
        return self._turn @ np.hstack(chosen)

    def pairs(self, turn: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
        """Return Ritz's values, ascending, and vectors in the span of some vectors."""
        bra = turn.conj().T
        h, s = (_hermitian(bra @ m @ turn) for m in (self.hamiltonian, self.metric))
        energies, inner = _eigenpairs(h, s)
        return energies, turn @ inner


def _parts(levels: npt.NDArray[np.float64], spacing: float) -> list[npt.NDArray[np.float64]]:
    """Return levels, ascending, in parts that are further apart than a spacing."""
    return np.split(levels, np.flatnonzero(np.diff(levels) > spacing) + 1)


def _hermitian(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return 0.5 * (matrix + matrix.conj().T)


def _eigenpairs(
    h: npt.NDArray[Any], s: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """Return levels and S-orthonormal coefficients of states that nearly depend on each other."""
    metric, turn = np.linalg.eigh(s)
    kept = metric > DROPPED * metric[-1]
    turn = turn[:, kept] / np.sqrt(metric[kept])
    energies, inner = np.linalg.eigh(_hermitian(turn.conj().T @ h @ turn))
    return energies, turn @ inner


def _norm_ratio(overlap: npt.NDArray[Any], rests: npt.NDArray[Any]) -> float:
    """Return the largest ratio of a vector's norm in S⁻¹ to its plain norm."""
    from scipy.linalg import cho_factor, cho_solve

    solved = cho_solve(cho_factor(overlap), rests)
    squares = np.einsum("ab,ab->b", rests.conj(), solved).real
    return float(np.sqrt((squares / np.linalg.norm(rests, axis=0) ** 2).max()))


def _numbered(
    energies: npt.NDArray[np.float64],
    residuals: npt.NDArray[np.float64],
    expected: npt.NDArray[np.float64],
) -> npt.NDArray[np.integer] | None:
    """Return which Ritz values are the levels that are expected.

    Parameters
    ----------
    energies, residuals : (n,) arrays
        Ritz values, ascending, and bounds of their residuals, eV.
    expected : (nb,) array
        Roughly the levels, eV.

    Returns
    -------
    (nb,) array of int or None
        None if they are not good enough, or another choice would do nearly as well.
    """
    good = np.flatnonzero(residuals < RESIDUAL)
    count = len(expected)
    if len(good) < count:
        return None
    runs = np.lib.stride_tricks.sliding_window_view(good, count)
    misfits = np.abs(energies[runs] - expected).max(axis=1)
    order = np.argsort(misfits)
    run, misfit = runs[order[0]], misfits[order[0]]
    if misfit > MISFIT or (len(order) > 1 and misfit > CLEAR * misfits[order[1]]):
        return None
    ends = energies[run[0]] - misfit, energies[run[-1]] + misfit
    unknown = (residuals >= RESIDUAL) & (residuals <= GHOST)
    return None if (unknown & (energies >= ends[0]) & (energies <= ends[1])).any() else run
