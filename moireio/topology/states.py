"""States of a ribbon at one k point: weights at its edges, spin, and states of one edge each."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.projection.groups import flipped_rows
from moireio.topology.ribbon import Ribbon

SHARE = 0.25  # of the width, at either edge
INSIDE = 0.4  # of a state between the edges: it is one of the bulk
MIXED = 0.8  # of (low + high) in |low − high|: below, a state belongs to both edges
DEGENERATE = 1e-4  # eV


@dataclass(frozen=True, eq=False)
class EdgeRows:
    """Which rows of H belong to which edge, layer and spin.

    Parameters
    ----------
    ribbon : Ribbon
        The ribbon.
    """

    ribbon: Ribbon

    @cached_property
    def low(self) -> npt.NDArray[np.float64]:
        """1 for the rows of atoms in the quarter at the low edge, shape (n_orbitals,)."""
        return np.repeat(self.ribbon.heights() < SHARE, self.ribbon.sizes).astype(float)

    @cached_property
    def high(self) -> npt.NDArray[np.float64]:
        """1 for the rows of atoms in the quarter at the high edge, shape (n_orbitals,)."""
        return np.repeat(self.ribbon.heights() > 1 - SHARE, self.ribbon.sizes).astype(float)

    @cached_property
    def layers(self) -> npt.NDArray[np.integer] | None:
        """Layer of every row; None without layers, or in one."""
        layer = self.ribbon.structure.layer
        return None if layer is None or not layer.max() else np.repeat(layer, self.ribbon.sizes)

    @cached_property
    def up(self) -> npt.NDArray[np.integer]:
        """Rows of spin up of a spinor."""
        rows = np.arange(self.ribbon.n_orbitals)
        return rows[flipped_rows(self.ribbon.sizes, True) > rows]

    @cached_property
    def down(self) -> npt.NDArray[np.integer]:
        """Rows of spin down of a spinor, in the order of `up`."""
        return flipped_rows(self.ribbon.sizes, True)[self.up]


@dataclass(frozen=True, eq=False)
class RibbonStates:
    """Some neighbouring states of a ribbon at one k point.

    Parameters
    ----------
    k : (3,) array
        Fractional coordinates.
    energies : (nb,) array
        eV; of states that were turned, expectation values.
    states : (n_orbitals, nb) array
        S-orthonormal columns.
    low, high : (nb,) array
        Gross populations at the edges.
    spin : (3, nb) array or None
        ⟨σ_x⟩, ⟨σ_y⟩, ⟨σ_z⟩.
    layers : (nl, nb) array or None
        Gross populations of the layers.
    first : int
        Index (from 0) of the first band.
    """

    k: npt.NDArray[np.float64]
    energies: npt.NDArray[np.float64]
    states: npt.NDArray[Any]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    spin: npt.NDArray[np.float64] | None
    layers: npt.NDArray[np.float64] | None
    first: int

    def below(self, energy: float) -> int:
        """Return the number of levels below an energy."""
        return self.first + int((self.energies < energy).sum())

    def part(self, begin: int, end: int) -> "RibbonStates":
        """Return some of the states.

        Parameters
        ----------
        begin, end : int
            Columns.

        Returns
        -------
        RibbonStates
            At the same k.
        """
        some: dict[str, Any] = {
            name: None if value is None else value[..., begin:end]
            for name, value in vars(self).items()
            if name not in ("k", "first")
        }
        return replace(self, first=self.first + begin, **some)


def weighed(
    rows: EdgeRows,
    k: npt.NDArray[np.float64],
    energies: npt.NDArray[np.float64],
    states: npt.NDArray[Any],
    first: int,
    channel: int = 0,
) -> RibbonStates:
    """Return states with their weights, Re c*_μ (S c)_μ summed over rows.

    Degenerate states are turned to eigenstates of the difference of the edges' weights first.

    Parameters
    ----------
    rows : EdgeRows
        The ribbon's rows.
    k : (3,) array
        Fractional coordinates.
    energies : (nb,) array
        eV, ascending.
    states : (n_orbitals, nb) array
        S-orthonormal columns.
    first : int
        Index (from 0) of the first band.
    channel : int
        0, or 1 for spin down of collinear spin.

    Returns
    -------
    RibbonStates
        All of them.
    """
    groups = [g for g in _runs(energies, DEGENERATE) if len(g) > 1]
    if groups:
        _, states = _turned(rows, k, energies, states, groups)
    return _with_weights(rows, k, energies, states, first, channel)


def of_one_edge(
    rows: EdgeRows,
    found: RibbonStates,
    share: float,
    channel: int,
    limits: tuple[float, float] | None = None,
) -> RibbonStates:
    """Turn near-degenerate states that belong to both edges to states of one edge each.

    Parameters
    ----------
    rows : EdgeRows
        The ribbon's rows.
    found : RibbonStates
        States at one k point.
    share : float
        Largest splitting, in the distance between the states of the bulk above and below.
    channel : int
        0, or 1 for spin down of collinear spin.
    limits : (float, float), optional
        Lowest and highest energy at which states were looked for, eV; by default those of the
        states.

    Returns
    -------
    RibbonStates
        In the order of the levels; inside each group in that of their new expectation values.
    """
    inside = 1 - found.low - found.high > INSIDE
    mixed = np.abs(found.low - found.high) < MIXED * (found.low + found.high)
    if not (mixed & ~inside).any():
        return found
    energies = found.energies
    bulk = np.flatnonzero(inside)
    lowest, highest = limits or (energies[0], energies[-1])
    groups: list[npt.NDArray[np.integer]] = []
    for at in np.flatnonzero(mixed & ~inside):
        above = bulk[bulk > at]
        below = bulk[bulk < at]
        top = energies[above[0]] if len(above) else highest
        bottom = energies[below[-1]] if len(below) else lowest
        near = np.abs(energies - energies[at]) <= share * (top - bottom)
        near &= ~inside
        groups.append(np.flatnonzero(near))
    groups = [g for g in _joined(groups) if len(g) > 1]
    if not groups:
        return found
    turned = _turned(rows, found.k, energies, found.states, groups)
    return _with_weights(rows, found.k, *turned, found.first, channel)


def _runs(energies: npt.NDArray[np.float64], tolerance: float) -> list[npt.NDArray[np.integer]]:
    """Return groups of levels between which there are gaps."""
    return np.split(np.arange(len(energies)), np.flatnonzero(np.diff(energies) > tolerance) + 1)


def _joined(groups: list[npt.NDArray[np.integer]]) -> list[npt.NDArray[np.integer]]:
    """Return the unions of groups that have members in common."""
    unions: list[set[int]] = []
    for group in groups:
        union = set(group.tolist())
        apart = [u for u in unions if not u & union]
        unions = [*apart, union.union(*(u for u in unions if u & union))]
    return [np.array(sorted(union)) for union in unions]


def _turned(
    rows: EdgeRows,
    k: npt.NDArray[np.float64],
    energies: npt.NDArray[np.float64],
    states: npt.NDArray[Any],
    groups: list[npt.NDArray[np.integer]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """Return expectation values of energies, and states of one edge each inside some groups.

    Inside a group the difference of the weights is diagonalised, then H among the states of
    either edge, so that states of one edge keep apart what H keeps apart.
    """
    energies, states = energies.copy(), states.astype(np.result_type(states, complex))
    overlap = None if rows.ribbon.overlap is None else rows.ribbon.overlap.csr(k)
    sign = (rows.low - rows.high)[:, None]
    for group in groups:
        members = states[:, group]
        images = members if overlap is None else overlap @ members
        difference = members.conj().T @ (sign * images)
        values, turn = np.linalg.eigh((difference + difference.conj().T) / 2)
        parts, levels = [], []
        for part in (turn[:, values < 0], turn[:, values >= 0]):
            if part.shape[1]:
                level, own = np.linalg.eigh(part.conj().T @ (energies[group, None] * part))
                parts.append(part @ own)
                levels.append(level)
        order = np.argsort(np.concatenate(levels), kind="stable")
        energies[group] = np.concatenate(levels)[order]
        states[:, group] = members @ np.concatenate(parts, axis=1)[:, order]
    return energies, states


def _with_weights(
    rows: EdgeRows,
    k: npt.NDArray[np.float64],
    energies: npt.NDArray[np.float64],
    states: npt.NDArray[Any],
    first: int,
    channel: int,
) -> RibbonStates:
    overlap = rows.ribbon.overlap
    images = states if overlap is None else overlap.csr(k) @ states
    populations = (states.conj() * images).real
    spin = layers = None
    if rows.ribbon.spin == "spinor":
        flipped = (states[rows.up].conj() * images[rows.down]).sum(axis=0)
        along = populations[rows.up].sum(axis=0) - populations[rows.down].sum(axis=0)
        spin = np.stack([2 * flipped.real, 2 * flipped.imag, along])
    elif rows.ribbon.spin == "collinear":
        spin = np.zeros((3, len(energies)))
        spin[2] = 1 - 2 * channel
    if rows.layers is not None:
        count = int(rows.layers.max()) + 1
        layers = np.stack([populations[rows.layers == n].sum(axis=0) for n in range(count)])
    low, high = rows.low @ populations, rows.high @ populations
    return RibbonStates(k, energies, states, low, high, spin, layers, first)


def at_k_plus_one(found: RibbonStates, axis: int) -> RibbonStates:
    """Return the same states one reciprocal vector further, where H(k) is the same.

    Parameters
    ----------
    found : RibbonStates
        States at one k point.
    axis : {0, 1, 2}
        Periodic vector.

    Returns
    -------
    RibbonStates
        With another k.
    """
    return replace(found, k=found.k + np.eye(3)[axis])
