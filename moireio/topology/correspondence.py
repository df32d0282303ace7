"""Edges beside the layer they belong to: its gaps, and the counts that its Chern numbers imply."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, naming
from moireio.kspace.mesh import make_mesh
from moireio.results.edges import EdgeGap
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.selection import occupied_bands
from moireio.spectrum.sums import bloch_sums

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile

WORK = 5e9  # orbitals cubed times k points: finer meshes are for small cells
SMALL, LARGE = 12, 6  # k points along either vector
CLOSED = 1e-4  # eV: a smaller gap is none


def _mesh(file: "BlockFile", n_orbitals: int) -> npt.NDArray[np.float64]:
    """Return k points of the layer: enough to notice bands that pass an energy."""
    count = SMALL if SMALL**2 * float(n_orbitals) ** 3 < WORK else LARGE
    return make_mesh(file.structure, [count, count]).k


def bands_below(
    file: "BlockFile", energies: Sequence[float], choice: SolverChoice | None = None
) -> list[int]:
    """Return the number of bands of a layer below some energies, each in one of its gaps.

    Parameters
    ----------
    file : BlockFile
        Periodic along two vectors.
    energies : sequence of float
        eV.
    choice : SolverChoice, optional
        How levels are counted.

    Returns
    -------
    list of int
        Bands of both spins where these are apart.

    Raises
    ------
    MoireioError
        If a band passes one of them.
    """
    sums, overlap, _ = bloch_sums(file)
    k = _mesh(file, sums[0].n_orbitals)
    counts = np.zeros((len(energies), len(sums), len(k)), dtype=int)
    choice, few = choice or SolverChoice(), 1
    if choice.resolved(sums[0].n_orbitals, few) == "dense":
        few = sums[0].n_orbitals
    with (
        naming(file.label),
        EigenproblemSet(sums, overlap, k, choice, few, float(np.mean(energies))) as problems,
    ):
        tasks = [(channel, point) for channel in range(len(sums)) for point in range(len(k))]
        if few > 1:
            for (channel, point), levels, _ in problems.levels(tasks, None):
                counts[:, channel, point] = np.searchsorted(levels, energies)
        else:
            for channel, point in tasks:
                counts[:, channel, point] = [
                    problems.count_below(channel, point, energy) for energy in energies
                ]
    for energy, own in zip(energies, counts, strict=True):
        if (own.min(axis=1) != own.max(axis=1)).any():
            channel = int((own.min(axis=1) != own.max(axis=1)).argmax())
            band = own[channel].min() + 1
            raise MoireioError(
                f"{energy:g} eV is in no gap of the layer: band {band} passes it",
                path=file.label,
                remedy="give another `energy`",
            )
    return [int(own[:, 0].sum()) for own in counts]


def narrowest(
    file: "BlockFile", energy: float, choice: SolverChoice | None = None
) -> tuple[float, npt.NDArray[np.float64]]:
    """Return how far the bands of a layer keep from an energy, and where they are close to it.

    Parameters
    ----------
    file : BlockFile
        Periodic along two vectors.
    energy : float
        eV.
    choice : SolverChoice, optional
        How levels are found.

    Returns
    -------
    distance : float
        eV, on a mesh of k points.
    k : (n, 3) array
        Points of the mesh where it is less than twice as large as at the closest.
    """
    sums, overlap, _ = bloch_sums(file)
    k = _mesh(file, sums[0].n_orbitals)
    tasks = [(channel, point) for channel in range(len(sums)) for point in range(len(k))]
    closest = np.full(len(k), np.inf)
    with (
        naming(file.label),
        EigenproblemSet(sums, overlap, k, choice or SolverChoice("dense")) as problems,
    ):
        for (_, point), levels, _ in problems.levels(tasks, None):
            closest[point] = min(closest[point], np.abs(levels - energy).min())
    return float(closest.min()), k[closest < 2 * closest.min()]


def middle_of_gap(file: "BlockFile", choice: SolverChoice | None = None) -> float:
    """Return the energy in the middle of the gap that the electrons leave.

    Parameters
    ----------
    file : BlockFile
        Periodic along two vectors, with the number of electrons.
    choice : SolverChoice, optional
        How levels are found.

    Returns
    -------
    float
        eV.

    Raises
    ------
    MoireioError
        If there is no gap, or the number of electrons is unknown.
    """
    filled = occupied_bands(file)
    sums, overlap, _ = bloch_sums(file)
    n_orbitals = sums[0].n_orbitals
    metal = MoireioError(
        "there is no gap above the filled bands", path=file.label, remedy="give `energy` in eV"
    )
    if filled != round(filled) or len(sums) > 1 or not 0 < filled < n_orbitals:
        raise metal
    wanted = round(filled) - 1, round(filled)
    k = _mesh(file, n_orbitals)
    tasks = [(0, point) for point in range(len(k))]
    with (
        naming(file.label),
        EigenproblemSet(sums, overlap, k, choice or SolverChoice(), 2) as problems,
    ):
        levels = np.array([energies for _, energies, _ in problems.levels(tasks, wanted)])
    top, bottom = levels[:, 0].max(), levels[:, 1].min()
    if not top + CLOSED < bottom:
        raise metal
    return float(top + bottom) / 2


def beside_chern(gap: EdgeGap, chern: int | None, handedness: int) -> EdgeGap:
    """Return counts of a gap beside the Chern number of the bands below it.

    Parameters
    ----------
    gap : EdgeGap
        Counts at both edges.
    chern : int or None
        Chern number; None if unknown.
    handedness : {1, -1}
        Sign of z of (periodic vector × open vector).

    Returns
    -------
    EdgeGap
        Whether the low edge has −C·handedness more right than left movers, the high edge the
        opposite.
    """
    if chern is None:
        return gap
    expected = -chern * handedness
    agree = (gap.low.net, gap.high.net) == (expected, -expected)
    return replace(gap, chern=chern, agree=agree)


def chern_of_edges(gap: EdgeGap, handedness: int) -> int | None:
    """Return the Chern number that the counts of both edges imply.

    Parameters
    ----------
    gap : EdgeGap
        Counts at both edges.
    handedness : {1, -1}
        Sign of z of (periodic vector × open vector).

    Returns
    -------
    int or None
        None where the edges contradict each other, or could not be counted.
    """
    if gap.low.net is None or gap.high.net is None or gap.low.net != -gap.high.net:
        return None
    return -gap.low.net * handedness
