"""Quantum metric of a group of bands, by the sum over all states outside the group.

With A_nm = i⟨u_n|∂u_m⟩ between a state n of the group and a state m outside::

    A_nm = i c_n†[∂H − ½(E_n + E_m) ∂S] c_m / (E_m − E_n) + c_n†[D + ½(τS + Sτ)] c_m
    g_ij = Re Σ_nm A^i_nm A^j_mn

D and τ as in `moireio.topology.links`. What lies outside the basis is left out, so that g is a
lower bound. The metric cannot be had from 1 − |⟨u_k|u_k'⟩|², whose O(q²) lacks the orbitals' second
moments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.results.chern import ChernNumbers
from moireio.runtime.progress import Progress
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.states import BlochStates, solve_states
from moireio.spectrum.sums import bloch_sums
from moireio.topology.bandgroups import BandGroup
from moireio.topology.curvature import plaquette_middles
from moireio.topology.links import Links

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.operators.bloch import BlochSum

BATCH_BYTES = 2.5e8  # of states that are kept at once
MOST_ORBITALS = 2000
OUTSIDE = "the quantum metric is that inside the basis: states outside of it would only add to it"


def derivative(
    total: BlochSum, k: npt.NDArray[np.float64], cell: npt.NDArray[np.float64]
) -> npt.NDArray[np.complex128]:
    """Return ∂O(k)/∂k = Σ_R iR e^{2πi k·R} O(R), dense.

    Parameters
    ----------
    total : BlochSum
        O.
    k : (3,) array
        Fractional.
    cell : (3, d) array
        Lattice vectors as rows, in d components.

    Returns
    -------
    (d, n, n) array
        In the unit of O times Å, without the positions of atoms.
    """
    n = total.n_orbitals
    out = np.zeros((cell.shape[1], n, n), dtype=np.complex128)
    for row, column, R, blocks in total.all_blocks():
        weights = 1j * (R @ cell) * np.exp(2j * np.pi * (R @ k))[:, None]
        rows = row[:, None, None] + np.arange(blocks.shape[1])[:, None]
        columns = column[:, None, None] + np.arange(blocks.shape[2])
        for direction, matrix in enumerate(out):
            np.add.at(matrix, (rows, columns), weights[:, direction, None, None] * blocks)
    return out


def quantum_geometry(
    file: BlockFile,
    k: npt.NDArray[np.float64],
    groups: Sequence[BandGroup],
    *,
    channel: int = 0,
    links: Links | None = None,
    solver: SolverChoice | None = None,
    progress: Progress | None = None,
    note: Callable[[str], object] | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return quantum metric and Berry curvature by sums over all states outside a group.

    Parameters
    ----------
    file : BlockFile
        A layer with H, and S unless its basis is orthogonal.
    k : (nk, 3) array
        Fractional.
    groups : sequence of BandGroup
        Bands with a direct gap to all others.
    channel : int
        Spin channel.
    links : Links, optional
        With the dipoles to use; by default those of ``/position``.
    solver : SolverChoice, optional
        How to solve; all levels are needed.
    progress : Progress, optional
        Steps are k points.
    note : callable, optional
        Called with remarks of the solver.

    Returns
    -------
    metric : (ng, nk, 2, 2) array
        g_ij, Å², summed over the bands; x and y where the layer lies in the plane of x and y.
    curvature : (ng, nk) array
        −2 Im Σ A^x_nm A^y_mn, Å²: the part of the curvature that lies inside the basis.
    """
    links = links or Links.from_file(file)
    sums, overlap, _ = bloch_sums(file)
    cell = links.plane.in_plane(file.structure.cell)
    metric, curvature = np.empty((len(groups), len(k), 2, 2)), np.empty((len(groups), len(k)))
    batch = max(1, int(BATCH_BYTES / (16 * len(sums) * sums[0].n_orbitals ** 2)))
    for begin in range(0, len(k), batch):
        part = k[begin : begin + batch]
        states = solve_states(file, part, solver=solver or SolverChoice(), note=note)
        for n, found in enumerate((s for s in states if s.channel == channel), begin):
            slopes = [derivative(sums[channel], found.k, cell)]
            if overlap is not None:
                slopes.append(derivative(overlap, found.k, cell))
            for number, group in enumerate(groups):
                elements = _connection(found, group, links, *slopes)
                products = np.einsum("inm,jnm->ij", elements, elements.conj())
                metric[number, n] = products.real
                curvature[number, n] = -2 * products[0, 1].imag
            if progress:
                progress(1, len(k))
    return metric, curvature


def _connection(
    found: BlochStates,
    group: BandGroup,
    links: Links,
    slope_h: npt.NDArray[np.complex128],
    slope_s: npt.NDArray[np.complex128] | None = None,
) -> npt.NDArray[np.complex128]:
    """Return A_nm between the states of a group and all others, (2, inside, outside), Å."""
    inside = np.zeros(len(found.energies), dtype=bool)
    inside[group.first - 1 : group.last] = True
    c, d = found.coefficients[:, inside], found.coefficients[:, ~inside]
    e, f = found.energies[inside][:, None], found.energies[~inside]
    elements = c.conj().T @ slope_h @ d
    if slope_s is not None:
        elements = elements - 0.5 * (e + f) * (c.conj().T @ slope_s @ d)
    elements = 1j * elements / (f - e)
    positions = links.plane.in_plane(links.positions).T[:, :, None]
    elements += 0.5 * c.conj().T @ (positions * links.overlap_times(found.k, d))
    elements += 0.5 * links.overlap_times(found.k, c).conj().T @ (positions * d)
    dipoles = links.dipoles_times(found.k, d)
    return elements if dipoles is None else elements + c.conj().T @ dipoles


def metric_of_groups(
    file: BlockFile,
    numbers: ChernNumbers,
    *,
    position: bool = True,
    solver: SolverChoice | None = None,
    progress: Progress | None = None,
    note: Callable[[str], object] | None = None,
) -> list[npt.NDArray[np.float64] | None]:
    """Return the quantum metric at the middle of every plaquette.

    Parameters
    ----------
    file : BlockFile
        A layer with H, and S unless its basis is orthogonal.
    numbers : ChernNumbers
        Groups of its bands, all on one mesh.
    position : bool
        Use ``/position`` where there is one.
    solver, progress, note
        As in `quantum_geometry`.

    Returns
    -------
    list of (N1, N2, 2, 2) array or None
        For each group, Å²; None for systems so large that all levels would take too long.
    """
    n_orbitals = file.hamiltonian.shape[0]
    if n_orbitals > MOST_ORBITALS:
        if note:
            note(f"no quantum metric: it takes all {n_orbitals} levels at every k")
        return [None] * len(numbers.groups)
    links = Links.from_file(file, position=position)
    mesh = numbers.groups[0].mesh
    k = plaquette_middles(links.plane, mesh).reshape(-1, 3)
    options: dict[str, Any] = {"solver": solver, "progress": progress, "note": note}
    found: dict[int, npt.NDArray[np.float64]] = {}
    for channel in sorted({one.channel or 0 for one in numbers.groups}):
        members = [n for n, one in enumerate(numbers.groups) if (one.channel or 0) == channel]
        groups = [BandGroup(*numbers.groups[n].bands) for n in members]
        metric, _ = quantum_geometry(file, k, groups, channel=channel, links=links, **options)
        found |= dict(zip(members, metric.reshape(-1, *mesh, 2, 2), strict=True))
    if note:
        note(OUTSIDE)
    return [found[n] for n in range(len(numbers.groups))]
