"""States at a k point from those at k points nearby, by Ritz's method.

The cell-periodic parts of the states at some k points close by, those of a few more bands included,
span nearly all of the states in between. For matrices of a thousand orbitals that is several times
cheaper than another solution. A result counts only if its residuals are small and its bands can be
numbered; else the k point has to be solved. Where many k points of a small part of the zone are
asked for, H and S in the space of these states are interpolated over it; then a k point costs
hardly more than the diagonalisation of a small matrix, and so do overlaps between two of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from moireio.operators.bloch import BlochSum
    from moireio.topology.links import Plane

NEIGHBOURS, FEWEST = 8, 3  # k points whose states are taken
RESIDUAL = 0.08  # eV, in the norm of S⁻¹; what is missing lies some 10 eV away: energies to 1e-4 eV
GHOST = 1.0  # eV: Ritz values with a larger one are no levels; between the two nobody knows
SAFETY = 2.0  # of the ratio between the norms, which is measured once
PART = 0.07  # Å⁻¹, edge of a part of the zone
OFTEN = 10  # k points of one part that are found before its matrices are interpolated
RIGHT = 1e-7  # error of the interpolated matrices, in the largest element
OUTSIDE = 0.2  # of a level, outside of those of the nearest node; of a ghost as much is inside
FASTER = 2.0  # how much faster bands may move towards each other than between those k points
DROPPED = 1e-9  # eigenvalue of the states' overlaps, in the largest
MISFIT = 0.02  # eV, largest difference of a level from what the states of one k point alone give
CLEAR = 0.3  # misfit of the right numbers, in that of any other


@dataclass(eq=False)
class _Known:
    """States that were solved, of one spin channel."""

    k: list[npt.NDArray[np.float64]] = field(default_factory=list)
    energies: list[npt.NDArray[np.float64]] = field(default_factory=list)
    states: list[npt.NDArray[Any]] = field(default_factory=list)


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
    ends : (bool, bool)
        Whether the bands begin with the lowest, and end with the highest of all.
    reach : float
        Largest distance between two atoms with an element of H or S, Å.
    """

    def __init__(
        self,
        positions: npt.NDArray[np.float64],
        plane: Plane,
        hamiltonians: Sequence[BlochSum],
        overlap: BlochSum | None,
        wanted: slice,
        ends: tuple[bool, bool],
        reach: float,
    ) -> None:
        self._positions, self.plane = positions, plane
        self._hamiltonians, self._overlap = hamiltonians, overlap
        self._wanted, self._ends = wanted, ends
        self._known = [_Known() for _ in hamiltonians]
        self._parts = np.ceil(np.linalg.norm(plane.reciprocal, axis=1) / PART).astype(np.int64)
        half = 0.5 * float(np.linalg.norm(plane.reciprocal / self._parts[:, None], axis=1).max())
        self._nodes = _node_count(half * reach)
        self._uses: dict[_Place, int] = {}
        self._patches: dict[_Place, _Patch | None] = {}
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
        known.k.append(k)
        known.energies.append(energies)
        known.states.append(states)

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
        place = self._place(channel, k)
        patch = self._patch(place)
        if patch is not None:
            found = patch.find(k)
            if found is not None:
                return found
        near = self._nearest(channel, k)
        if near is None:
            return None
        trial, count = self._trial(channel, k, near)
        small = self._small(channel, k, trial, count)
        chosen = _numbered(small.energies, small.residuals, small.expected[self._wanted])
        if chosen is None:
            return None
        self._uses[place] = self._uses.get(place, 0) + 1
        return Found(small.energies[chosen], trial @ small.turn[:, chosen])

    def _place(self, channel: int, k: npt.NDArray[np.float64]) -> _Place:
        folded = np.floor(k[list(self.plane.axes)] % 1.0 * self._parts + 1e-9).astype(np.int64)
        first, second = (folded % self._parts).tolist()
        return channel, first, second

    def _patch(self, place: _Place) -> _Patch | None:
        """Return the interpolated matrices of a part of the zone that is used often."""
        if place not in self._patches and self._uses.get(place, 0) >= OFTEN:
            self._patches[place] = self._interpolated(place)
        return self._patches.get(place)

    def _nearest(self, channel: int, k: npt.NDArray[np.float64]) -> npt.NDArray[np.integer] | None:
        """Return the k points nearest to k that were solved; None if they are too far."""
        distances = np.linalg.norm(self._steps(channel, k), axis=1)
        if len(distances) < FEWEST:
            return None
        near = np.argsort(distances, kind="stable")[:NEIGHBOURS]
        energies = [self._known[channel].energies[n] for n in near]
        apart = [
            self.plane.distance(self._known[channel].k[n], self._known[channel].k[near[0]])
            for n in near[1:]
        ]
        moved = [np.abs(e - energies[0]).max() for e in energies[1:]]
        speed = max(m / a for m, a in zip(moved, apart, strict=True))
        reach = FASTER * speed * float(distances[near[0]])
        return near if self._in_reach(energies[0], reach) else None

    def _trial(
        self, channel: int, k: npt.NDArray[np.float64], near: npt.NDArray[np.integer]
    ) -> tuple[npt.NDArray[Any], int]:
        """Return states in the phases of k, and how many of them are those of the first point."""
        states, steps = self._known[channel].states, self._steps(channel, k)
        parts = [states[n] * np.exp(1j * self._positions @ steps[n])[:, None] for n in near]
        return np.hstack(parts), parts[0].shape[1]

    def _small(
        self, channel: int, k: npt.NDArray[np.float64], trial: npt.NDArray[Any], count: int
    ) -> _Small:
        """Return Ritz values and residuals in the space of some states."""
        images = self._hamiltonians[channel].dense(k) @ trial
        s = None if self._overlap is None else self._overlap.dense(k)
        weighted = trial if s is None else s @ trial
        bra = trial.conj().T
        h, metric = _hermitian(bra @ images), _hermitian(bra @ weighted)
        energies, turn = _eigenpairs(h, metric)
        rests = images @ turn - energies * (weighted @ turn)
        if self._ratio is None:
            assert s is not None
            self._ratio = _norm_ratio(s, rests)
        residuals = SAFETY * self._ratio * np.linalg.norm(rests, axis=0)
        return _Small(energies, turn, residuals, _expected(h, metric, count), h, metric)

    def _interpolated(self, place: _Place) -> _Patch | None:
        """Return interpolated matrices of a part of the zone; None if they are no good."""
        channel, *corner = place
        axes, size = list(self.plane.axes), 1.0 / self._parts
        centre = np.zeros(3)
        centre[axes] = (np.array(corner) + 0.5) * size
        near = self._nearest(channel, centre)
        if near is None:
            return None
        trial, count = self._trial(channel, centre, near)
        x = np.cos(np.pi * (np.arange(self._nodes) + 0.5) / self._nodes)
        h, s, levels = [], [], []
        for a, b in np.ndindex(self._nodes, self._nodes):
            step = np.zeros(3)
            step[axes] = 0.5 * size * (x[a], x[b])
            phase = np.exp(1j * self._positions @ self.plane.cartesian(step))[:, None]
            small = self._small(channel, centre + step, trial * phase, count)
            expected = small.expected[self._wanted]
            if _numbered(small.energies, small.residuals, expected) is None:
                return None
            h.append(small.hamiltonian)
            s.append(small.metric)
            levels.append(small.metric @ small.turn[:, small.residuals < RESIDUAL])
        phases = self._positions, self.plane, centre
        return _Patch(phases, size, x, np.array(h), np.array(s), levels, trial, count, self._wanted)

    def link(
        self, found: Found, k: npt.NDArray[np.float64], found2: Found, k2: npt.NDArray[Any]
    ) -> npt.NDArray[Any] | None:
        """Return ⟨u(k)|u(k')⟩ without dipoles, by formula 1 of `moireio.topology.links`.

        Parameters
        ----------
        found, found2 : Found
            Bands at both ends.
        k, k2 : (3,) array
            Fractional, and not folded.

        Returns
        -------
        (nb, nb) array or None
            None unless both were found in the same part of the zone.
        """
        patch = found.patch
        if patch is None or found2.patch is not patch:
            return None
        assert found.turn is not None
        assert found2.turn is not None
        metric = patch.metric(patch.folded(0.5 * (np.asarray(k) + k2)))
        return None if metric is None else found.turn.conj().T @ metric @ found2.turn

    def _in_reach(self, energies: npt.NDArray[np.float64], reach: float) -> bool:
        """Return whether no band from beyond those that are known can come in."""
        wanted = energies[self._wanted]
        below = self._ends[0] or energies[0] < wanted[0] - reach
        return below and (self._ends[1] or energies[-1] > wanted[-1] + reach)


_Place = tuple[int, int, int]  # channel, and which part of the zone


@dataclass(frozen=True, eq=False)
class Found:
    """Bands at one k point.

    Parameters
    ----------
    energies : (nb,) array
        eV, ascending.
    states : (n_orbitals, nb) array
        S-orthonormal coefficients, in lattice gauge.
    patch : object, optional
        The part of the zone whose interpolated matrices gave them.
    turn : (m, nb) array, optional
        Their coefficients in its states.
    reversed : bool
        Whether they are the time-reversed states of −k.
    """

    energies: npt.NDArray[np.float64]
    states: npt.NDArray[Any]
    patch: _Patch | None = None
    turn: npt.NDArray[Any] | None = None
    reversed: bool = False


@dataclass(frozen=True, eq=False)
class _Small:
    """A Ritz problem at one k point, and its solution."""

    energies: npt.NDArray[np.float64]
    turn: npt.NDArray[Any]
    residuals: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float64]
    hamiltonian: npt.NDArray[Any]
    metric: npt.NDArray[Any]


class _Patch:
    """H and S between some states, interpolated over a part of the zone by Chebyshev nodes."""

    def __init__(
        self,
        phases: tuple[npt.NDArray[np.float64], Plane, npt.NDArray[np.float64]],
        size: npt.NDArray[np.float64],
        x: npt.NDArray[np.float64],
        h: npt.NDArray[Any],
        s: npt.NDArray[Any],
        levels: list[npt.NDArray[Any]],
        states: npt.NDArray[Any],
        count: int,
        wanted: slice,
    ) -> None:
        self._positions, self._plane, self._centre = phases
        self._size, self._x, self._h, self._s = size, x, h, s
        self._levels, self._states, self._count, self._wanted = levels, states, count, wanted

    def folded(self, k: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return k from the centre, the shortest way round, fractional."""
        step = k - self._centre
        return np.asarray(step - np.rint(step))

    def _weights(self, step: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
        """Return the weight of every node at a step from the centre; None outside the part."""
        at = step[list(self._plane.axes)] / (0.5 * self._size)
        if np.abs(at).max() > 1 + 1e-6:
            return None
        one, two = (_lagrange(self._x, float(v)) for v in at)
        return np.outer(one, two).ravel()

    def metric(self, step: npt.NDArray[np.float64]) -> npt.NDArray[Any] | None:
        """Return S between the states; None outside the part."""
        weights = self._weights(step)
        return None if weights is None else np.tensordot(weights, self._s, 1)

    def find(self, k: npt.NDArray[np.float64]) -> Found | None:
        """Return the bands that are wanted at a k point; None if they cannot be numbered."""
        step = self.folded(k)
        weights = self._weights(step)
        if weights is None:
            return None
        h, s = (np.tensordot(weights, m, 1) for m in (self._h, self._s))
        energies, turn = _eigenpairs(h, s)
        node = self._levels[int(np.argmax(weights))]
        inside = (np.abs(node.conj().T @ turn) ** 2).sum(axis=0)
        residuals = np.select([inside > 1 - OUTSIDE, inside > OUTSIDE], [0.0, GHOST], np.inf)
        expected = _expected(h, s, self._count)[self._wanted]
        chosen = _numbered(energies, residuals, expected)
        if chosen is None:
            return None
        phase = np.exp(1j * self._positions @ self._plane.cartesian(step))[:, None]
        states = phase * (self._states @ turn[:, chosen])
        return Found(energies[chosen], states, self, turn[:, chosen])


def _lagrange(nodes: npt.NDArray[np.float64], at: float) -> npt.NDArray[np.float64]:
    """Return the values of Lagrange's polynomials of some nodes."""
    others = ~np.eye(len(nodes), dtype=bool)
    return np.array(
        [np.prod((at - nodes[o]) / (n - nodes[o])) for n, o in zip(nodes, others, strict=True)]
    )


def _node_count(exponent: float) -> int:
    """Return how many Chebyshev nodes interpolate e^{ix}, |x| up to `exponent`, along one axis."""
    count, error = 2, 1.0
    while error > RIGHT:
        count += 1
        error = 2 * (0.5 * exponent) ** count / factorial(count)
    return count


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


def _expected(h: npt.NDArray[Any], s: npt.NDArray[Any], count: int) -> npt.NDArray[np.float64]:
    """Return Ritz's levels from the first states alone, all bands of one k point in their order."""
    from scipy.linalg import eigh

    return np.asarray(eigh(h[:count, :count], s[:count, :count], eigvals_only=True))


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
