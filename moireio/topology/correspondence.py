"""Edges beside the layer they belong to: its gaps, and the counts that its Chern numbers imply."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, naming
from moireio.kspace.mesh import make_mesh
from moireio.results.edges import EdgeGap, EdgeStates
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.filled_bands import filled_of_spins
from moireio.spectrum.irreducible import obeys_time_reversal
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.sums import bloch_sums
from moireio.topology.bandgroups import BandGroup
from moireio.topology.chern import BandSpace, chern_number
from moireio.topology.links import Links
from moireio.topology.mesh_states import MeshStates
from moireio.topology.ribbon import handedness
from moireio.topology.solve import MESH
from moireio.topology.states import INSIDE, MIXED
from moireio.topology.threefold import chern_mod3

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile

WORK = 5e9  # orbitals cubed times k points: finer meshes are for small cells
SMALL, LARGE = 12, 6  # k points along either vector
DIRECT = 300  # orbitals up to which C of all bands below a gap is counted
PLACES, ALIKE = 4, 1.1  # k points where a gap is narrow, how many at most; in the narrowest one
CLOSED = 1e-4  # eV: a smaller gap is none
SPLIT = 0.1  # of the distance of the layer's bands: edges that repel their states by more overlap
NONE_OF_BULK = 0.9  # of that distance: closer states are not of the bulk


def _mesh(file: "BlockFile", n_orbitals: int) -> npt.NDArray[np.float64]:
    """Return k points of the layer: enough to notice bands that pass an energy."""
    count = SMALL if SMALL**2 * float(n_orbitals) ** 3 < WORK else LARGE
    return make_mesh(file.structure, [count, count]).k


def bands_below(
    file: "BlockFile", energies: Sequence[float], choice: SolverChoice | None = None
) -> list[tuple[int, ...]]:
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
    list of tuple of int
        One number each, or those of up and down of collinear spin.

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
    return [tuple(own[:, 0].tolist()) for own in counts]


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
        Up to four points of the mesh where it is hardly larger than at the closest.
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
    order = np.argsort(closest, kind="stable")[:PLACES]
    return float(closest.min()), k[order][closest[order] < ALIKE * closest.min()]


def narrow_places(
    file: "BlockFile", energies: Sequence[float], axis: int
) -> npt.NDArray[np.float64]:
    """Return where the gaps of a layer around some energies are narrow, along one vector.

    Parameters
    ----------
    file : BlockFile
        Periodic along two vectors.
    energies : sequence of float
        eV.
    axis : {0, 1, 2}
        Reciprocal vector.

    Returns
    -------
    (n,) array
        Fractional; nothing of cells with more than 300 orbitals.
    """
    if bloch_sums(file)[0][0].n_orbitals > DIRECT:
        return np.zeros(0)
    found = [narrowest(file, energy)[1][:, axis] for energy in energies]
    return np.unique(np.concatenate(found) % 1.0)


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
    filled = filled_of_spins(file, solver=choice)
    sums, overlap, _ = bloch_sums(file)
    n_orbitals = sums[0].n_orbitals
    metal = MoireioError(
        "there is no gap above the filled bands", path=file.label, remedy="give `energy` in eV"
    )
    whole = all(n == round(n) for n in filled)
    if not whole or not 0 < sum(filled) < len(sums) * n_orbitals:
        raise metal
    k = _mesh(file, n_orbitals)
    tasks = [(0, point) for point in range(len(k))]
    top, bottom = -np.inf, np.inf
    for one, n in zip(sums, map(round, filled), strict=True):
        wanted = max(n - 1, 0), min(n, n_orbitals - 1)
        with (
            naming(file.label),
            EigenproblemSet([one], overlap, k, choice or SolverChoice(), 2) as problems,
        ):
            levels = np.array([energies for _, energies, _ in problems.levels(tasks, wanted)])
        top = max(top, levels[:, 0].max()) if n > 0 else top
        bottom = min(bottom, levels[:, -1].min()) if n < n_orbitals else bottom
    if not top + CLOSED < bottom:
        raise metal
    return float(top + bottom) / 2


def beside_chern(
    gap: EdgeGap, chern: int | None, sign: int, of_spins: tuple[int, ...] = ()
) -> EdgeGap:
    """Return counts of a gap beside the Chern number of the bands below it.

    Parameters
    ----------
    gap : EdgeGap
        Counts at both edges.
    chern : int or None
        Chern number; None if unknown.
    sign : {1, -1}
        On which side of the layer (periodic vector × open vector) points, see `handedness`.
    of_spins : tuple of two int, optional
        C of up and of down of collinear spin: the states of either must have the number that it
        implies.

    Returns
    -------
    EdgeGap
        Whether the low edge has −C·sign more right than left movers, the high edge the
        opposite.
    """
    if chern is None:
        return replace(gap, chern=chern)
    low, high = gap.low, gap.high
    counted = [(low.net, high.net)]
    if of_spins:
        counted += [(low.up, high.up), (low.down, high.down)]
    expected = [-number * sign for number in (chern, *of_spins)]
    agree = counted == [(number, -number) for number in expected]
    return replace(gap, chern=chern, agree=agree)


def edges_overlap(file: "BlockFile", edges: EdgeStates, energy: float) -> bool:
    """Return whether a ribbon is so narrow that states of both its edges repel each other.

    At some k the levels next to an energy, above and below, are then neither states of one edge
    nor of the bulk: there they would pass the energy if the ribbon were wider.

    Parameters
    ----------
    file : BlockFile
        The ribbon, or the layer it was cut from. In small cells of a layer states that are closer
        to the energy than the layer's bands are known to be none of the bulk.
    edges : EdgeStates
        States of the ribbon.
    energy : float
        eV, in a gap of the layer.

    Returns
    -------
    bool
        False of half-infinite layers.
    """
    values, low, high = edges.energies, edges.low, edges.high
    if not values.shape[1]:
        return False
    inside = 1 - low - high > INSIDE
    side = np.abs(low - high) / np.maximum(low + high, 1e-12)
    shared, distance = ~inside & (side < MIXED), 0.0
    if file.structure.pbc.sum() == 2 and bloch_sums(file)[0][0].n_orbitals <= DIRECT:
        distance = narrowest(file, energy)[0]
        shared = (inside | shared) & (np.abs(values - energy) < NONE_OF_BULK * distance)
    kinds = [np.isfinite(values)]
    if edges.spin is not None and (np.abs(np.abs(edges.spin[2][kinds[0]]) - 1) < 1e-6).all():
        kinds = [edges.spin[2] > 0, edges.spin[2] < 0]  # H has no elements between them
    for own in kinds:
        above = np.where(own & (values >= energy), values, np.inf)
        below = np.where(own & (values < energy), values, -np.inf)
        at = np.stack([above.argmin(axis=1), below.argmax(axis=1)], axis=1)
        both = np.take_along_axis(shared, at, axis=1).all(axis=1)
        split = above.min(axis=1) - below.max(axis=1)
        # of two levels: what repels them is split · sin 2θ / 2, and their sides are ± cos 2θ
        turned = 1 - np.take_along_axis(side, at, axis=1).max(axis=1) ** 2
        split = split * np.sqrt(np.maximum(turned, 0))
        if (both & np.isfinite(split) & (split > max(SPLIT * distance, CLOSED))).any():
            return True
    return False


def cherns_below(
    file: "BlockFile",
    counts: Sequence[tuple[int, ...]],
    main_gap_chern: int | None = None,
    choice: SolverChoice | None = None,
) -> list[tuple[int, ...] | None]:
    """Return the Chern number of all bands of a layer below some gaps.

    C(gap) = C(main gap) − Σ C of the bands between, where the main gap is the highest one. C(main
    gap) is given, or that of ``/chern``, 0 where time reversal holds, or counted by plaquettes
    in cells that are not too large.

    Parameters
    ----------
    file : BlockFile
        Periodic along two vectors.
    counts : sequence of tuple of int
        Bands below each gap, from `bands_below`.
    main_gap_chern : int, optional
        C of all bands below the highest of them, of both spins together.
    choice : SolverChoice, optional
        How levels are found.

    Returns
    -------
    list of (tuple of int or None)
        One number each, or those of up and down of collinear spin, which add up, where
        `main_gap_chern` is not given; None where it is unknown.

    Raises
    ------
    MoireioError
        If the bands between two gaps are not separated from others, or no Chern number stands.
    """
    sums, _, spin = bloch_sums(file)
    main = max(counts, key=sum)
    total = sums[0].n_orbitals

    def of_bands(below: Sequence[int], count: bool) -> tuple[int, ...] | None:
        """Return C of the bands above some of each spin, and below the main gap."""
        found = []
        for channel, (lower, upper) in enumerate(zip(below, main, strict=True)):
            if lower == upper or upper - lower == total:
                found.append(0)
                continue
            group = BandGroup(lower + 1, upper, channel if spin == "collinear" else None)
            chern = _stored(file, group)
            if chern is None and not count:
                return None
            found.append(_counted(file, group, choice) if chern is None else chern)
        return tuple(found)

    if main_gap_chern is not None:
        whole: tuple[int, ...] | None = (main_gap_chern,)
    elif all(obeys_time_reversal(one, spin == "spinor") for one in sums):
        return [(0,) * len(sums)] * len(counts)
    else:
        whole = of_bands((0,) * len(sums), total <= DIRECT)
    known: dict[tuple[int, ...], tuple[int, ...] | None] = {main: whole}
    for below in counts:
        if below in known or whole is None:
            known.setdefault(below, None)
            continue
        between = of_bands(below, True)
        assert between is not None
        if len(between) > len(whole):
            between = (sum(between),)
        known[below] = tuple(a - b for a, b in zip(whole, between, strict=True))
    return [known[below] for below in counts]


def _stored(file: "BlockFile", bands: BandGroup) -> int | None:
    """Return the Chern number of a group of bands in ``/chern``, None if it is not there."""
    if "chern" not in file:
        return None
    for group in file.result("chern").groups:
        if (*group.bands, group.channel) == (bands.first, bands.last, bands.channel):
            return int(group.chern)
    return None


def _counted(file: "BlockFile", group: BandGroup, choice: SolverChoice | None) -> int:
    """Count the Chern number of a group of bands by plaquettes."""
    with naming(file.label):
        space = BandSpace(MeshStates(file, [group], solver=choice), group, group.channel or 0)
        coarse, _ = chern_number(space, Links.from_file(file), MESH, f"bands {group}")
    return coarse.chern


@dataclass(frozen=True)
class Agreement:
    """Four ways to the Chern number of all bands below one gap; None where one is not known.

    Parameters
    ----------
    c3 : int or None
        −1, 0 or 1, modulo 3, from C3 eigenvalues (``/symmetry``).
    fukui, wilson : int or None
        By plaquettes, and from the winding of Wannier centres (``/chern``).
    edges : int or None
        From the counts at both edges.
    z2, z2_edges : int or None
        0 or 1, from Wannier centres, and the number of Kramers pairs at the edges.
    too_narrow_at : float or None
        Energy (eV) of the gap, where the ribbon is too narrow for its edges to be compared.
    """

    c3: int | None
    fukui: int | None
    wilson: int | None
    edges: int | None
    z2: int | None = None
    z2_edges: int | None = None
    too_narrow_at: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether all that are known agree; None where only the edges of a narrow ribbon differ."""
        whole = {n for n in (self.fukui, self.wilson, self.edges) if n is not None}
        modulo = {n % 3 for n in whole} | ({self.c3 % 3} if self.c3 is not None else set())
        parities = {n for n in (self.z2, self.z2_edges) if n is not None}
        if max(map(len, (whole, modulo, parities))) > 1:
            return False
        if self.too_narrow_at is not None:
            return None
        return self.edges is not None


def agreement(
    file: "BlockFile", edges: EdgeStates, counts: Sequence[tuple[int, ...]]
) -> Agreement | None:
    """Compare counts at edges with Chern numbers that the file has of the same bands.

    Parameters
    ----------
    file : BlockFile
        The layer, with ``/symmetry`` or ``/chern``.
    edges : EdgeStates
        States of its edges.
    counts : sequence of tuple of int
        Bands below each of their gaps, from `bands_below`.

    Returns
    -------
    Agreement or None
        At the first gap whose bands the file knows; None if there is none, or spin is collinear.
        Counts at edges that repel each other's states are left out where they disagree.
    """
    sign = handedness(file.structure.cell, edges.periodic, edges.open)
    for gap, below in zip(edges.gaps, counts, strict=True):
        if len(below) > 1:
            return None
        (count,) = below
        c3 = fukui = wilson = z2 = None
        if "symmetry" in file:
            rotation = file.result("symmetry")
            if (rotation.first_band, rotation.count, len(rotation.n)) == (1, count, 1):
                c3 = chern_mod3(rotation.n[0, 0], rotation.spinor)
        group = file.result("chern").of((1, count)) if "chern" in file else None
        if group is not None and group.channel is None:
            fukui, wilson, z2 = group.chern, group.winding, group.z2
        if c3 is None and fukui is None:
            continue
        pairs = [edge.crossings // 2 for edge in (gap.low, gap.high)]
        odd = None
        if z2 is not None:
            odd = pairs[0] % 2 if pairs[0] % 2 == pairs[1] % 2 else 1 - z2
        found = Agreement(c3, fukui, wilson, chern_of_edges(gap, sign), z2, odd)
        if not found.holds and edges_overlap(file, edges, gap.energy):
            return replace(found, edges=None, z2_edges=None, too_narrow_at=gap.energy)
        return found
    return None


def chern_of_edges(gap: EdgeGap, sign: int) -> int | None:
    """Return the Chern number that the counts of both edges imply.

    Parameters
    ----------
    gap : EdgeGap
        Counts at both edges.
    sign : {1, -1}
        On which side of the layer (periodic vector × open vector) points, see `handedness`.

    Returns
    -------
    int or None
        None where the edges contradict each other, or could not be counted.
    """
    if gap.low.net is None or gap.high.net is None or gap.low.net != -gap.high.net:
        return None
    return -gap.low.net * sign
