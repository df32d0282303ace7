"""Figures of topology: Berry curvature over the zone, Wannier centres, series over strain."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.kspace.corners import special_points
from moireio.results.chern import ChernGroup, ChernNumbers
from moireio.topology.chern_report import WITHOUT, transitions
from moireio.topology.links import Plane, plane_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from moireio.system.structure import Structure

LINE, SECOND, MARK = "#1f4e8c", "#c8442b", "#3a3a3a"
MOST = 6  # groups in one figure
LETTERS = {"G": "Γ", "K": "K", "K'": "K′", "M": "M", "X": "X", "Y": "Y"}


def plot_chern(structure: "Structure", numbers: ChernNumbers, title: str | None = None) -> "Figure":
    """Draw the curvature over the zone and the Wannier centres, a row for each group of bands.

    Parameters
    ----------
    structure : Structure
        The layer.
    numbers : ChernNumbers
        Its topology.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Red where the curvature is positive, blue where it is negative, white at 0.

    Raises
    ------
    MoireioError
        If there are more than six groups.
    """
    from matplotlib.figure import Figure

    groups = numbers.groups
    if len(groups) > MOST:
        raise MoireioError(
            f"{len(groups)} groups are too many for one figure", remedy=f"draw up to {MOST}"
        )
    plane = plane_of(structure)
    figure = Figure(figsize=(7.4, 3.2 * len(groups) + 0.3), dpi=200, layout="constrained")
    panels = figure.subplots(len(groups), 2, squeeze=False, width_ratios=[1.2, 1])
    for (left, right), one in zip(panels, groups, strict=True):
        _draw_curvature(figure, left, structure, plane, one)
        _draw_centres(right, one)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def wigner_seitz(reciprocal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the corners of the first Brillouin zone of a plane lattice.

    Parameters
    ----------
    reciprocal : (2, 2) array
        Reciprocal vectors as rows.

    Returns
    -------
    (n, 2) array
        Counter-clockwise; six corners, or four of a rectangle.
    """
    from scipy.spatial import Voronoi

    steps = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 2, indexing="ij"), -1).reshape(-1, 2)
    lattice = _reduced(reciprocal)
    diagram = Voronoi(steps @ lattice)
    region = diagram.regions[diagram.point_region[np.flatnonzero(~steps.any(axis=1))[0]]]
    corners = diagram.vertices[region]
    return corners[np.argsort(np.arctan2(corners[:, 1], corners[:, 0]))]


def _reduced(lattice: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return short vectors of the same lattice."""
    a, b = lattice
    while True:
        if a @ a > b @ b:
            a, b = b, a
        shift = np.rint(a @ b / (a @ a))
        if shift == 0:
            return np.array([a, b])
        b = b - shift * a


def _draw_curvature(
    figure: Any, axes: Any, structure: "Structure", plane: Plane, one: ChernGroup
) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Polygon

    if one.curvature is None:
        axes.set_axis_off()
        return
    reciprocal = plane.in_plane(plane.reciprocal)
    zone = wigner_seitz(reciprocal)
    n1, n2 = one.curvature.shape
    first, second = np.indices((n1, n2)).reshape(2, -1)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    corners = np.stack([first, second], -1)[:, None] + square
    fractional = corners / np.array([n1, n2])
    radius = np.linalg.norm(zone, axis=1).max()
    polygons, values = [], []
    for cell in np.ndindex(7, 7):
        copies = (fractional + np.array(cell) - 3) @ reciprocal
        near = np.linalg.norm(copies, axis=2).min(axis=1) < 1.05 * radius
        polygons.append(copies[near])
        values.append(one.curvature.ravel()[near])
    shown = np.concatenate(values)
    most = float(np.abs(shown).max()) or 1.0
    patches = PolyCollection(
        list(np.concatenate(polygons)),
        array=shown,
        cmap="RdBu_r",
        clim=(-most, most),
        edgecolors="face",
        linewidths=0.3,
        rasterized=len(shown) > 5000,
    )
    axes.add_collection(patches)
    outline = Polygon(zone, closed=True, fill=False, edgecolor=MARK, lw=1.0, zorder=3)
    axes.add_patch(outline)
    patches.set_clip_path(outline)
    for letter, place in _letters(structure, plane, zone):
        axes.plot(*place, "o", color=MARK, ms=2.5, zorder=4, clip_on=False)
        inside = not np.any(place)
        away = np.array([0.0, 0.09 * radius]) if inside else 0.1 * radius * place / _norm(place)
        axes.text(*(place + away), letter, ha="center", va="center", fontsize=8, zorder=4)
    axes.set_aspect("equal")
    reach = 1.22 * np.abs(zone).max(axis=0)
    axes.set_xlim(-reach[0], reach[0])
    axes.set_ylim(-reach[1], reach[1])
    axes.set_axis_off()
    bar = figure.colorbar(patches, ax=axes, shrink=0.8, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("Ω (Å²)", fontsize=9)
    remark = f"\n{WITHOUT}" if one.link == "midpoint" else ""
    axes.set_title(f"{_bands(one)}: C = {_signed(one.chern)}{remark}", fontsize=9)


def _norm(vector: npt.NDArray[np.float64]) -> float:
    return float(np.linalg.norm(vector)) or 1.0


def _letters(structure, plane, zone):
    """Return letters of corners and their places inside the first zone."""
    points, _ = special_points(structure)
    found = []
    steps = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 2, indexing="ij"), -1).reshape(-1, 2)
    reciprocal = plane.in_plane(plane.reciprocal)
    for name, k in points.items():
        if name not in LETTERS:
            continue
        images = (np.asarray(k)[list(plane.axes)] + steps) @ reciprocal
        lengths = np.linalg.norm(images, axis=1)
        near = images[lengths < lengths.min() * (1 + 1e-6) + 1e-12]
        # of several equivalent corners the one furthest to the right, then up
        found.append((LETTERS[name], near[np.lexsort((near[:, 1], np.round(near[:, 0], 6)))[-1]]))
    return found


def _signed(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _bands(one: ChernGroup) -> str:
    first, last = one.bands
    text = f"band {first}" if first == last else f"bands {first}–{last}"
    return text if one.channel is None else f"{text} {'↑↓'[one.channel]}"


def _draw_centres(axes: Any, one: ChernGroup) -> None:
    if one.centres is None or one.centres_k2 is None:
        axes.set_axis_off()
        return
    rows, centres = one.centres_k2, one.centres
    rows = np.append(rows, 1.0 + rows[:1])
    centres = np.concatenate([centres, centres[:1]])
    size = max(1.0, min(9.0, 60.0 / np.sqrt(centres.shape[1] * len(rows) / 20)))
    for shift in (-1, 0, 1):
        axes.scatter(
            np.repeat(rows, centres.shape[1]), centres.ravel() + shift, s=size, color=LINE, lw=0
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("k$_2$ (b$_2$)", fontsize=9)
    axes.set_ylabel("Wannier centres (a$_1$)", fontsize=9)
    axes.tick_params(labelsize=8)
    parts = [] if one.winding is None else [f"winding {_signed(one.winding)}"]
    if one.z2 is not None:
        parts.append(f"Z$_2$ = {one.z2}")
        axes.axvline(0.5, color="0.85", lw=0.8, zorder=0)
    if one.spin_chern is not None:
        parts.append(f"spin C = {_signed(one.spin_chern)}")
    axes.set_title(", ".join(parts), fontsize=9)


def plot_strain(rows: Sequence[tuple[str, ChernNumbers]]) -> "Figure":
    """Draw Chern numbers and direct gaps of a series against strain.

    Parameters
    ----------
    rows : sequence of (str, ChernNumbers)
        In the order of strain, which all groups have.

    Returns
    -------
    matplotlib.figure.Figure
        Transitions are dashed lines.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    series: dict[str, list[ChernGroup]] = {}
    for _, numbers in rows:
        for one in numbers.groups:
            series.setdefault(_bands(one), []).append(one)
    figure = Figure(figsize=(4.8, 4.6), dpi=200, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1])
    colours = (LINE, SECOND, "#2a8f5b", "#8a4fa8", "#d08a00", MARK)
    for number, (label, members) in enumerate(series.items()):
        colour = colours[number % len(colours)]
        strain = [100 * (one.strain or 0.0) for one in members]
        gaps = [np.nan if g.direct_gap is None else 1e3 * g.direct_gap for g in members]
        numbers_ = [one.chern for one in members]
        top.plot(strain, numbers_, "o", color=colour, ms=4, label=label)
        places = [
            (100 * t.strain, 0.0)
            for t in transitions(rows)
            if t.strain is not None
            and (t.bands, t.channel) == (members[0].bands, members[0].channel)
        ]
        for low, high in pairwise(zip(strain, numbers_, strict=True)):
            if low[1] == high[1]:
                top.plot([low[0], high[0]], [low[1], high[1]], color=colour, lw=0.8)
        bottom.plot(strain, gaps, "o", color=colour, ms=4)
        bottom.plot(
            *zip(*sorted([*zip(strain, gaps, strict=True), *places]), strict=True),
            color=colour,
            lw=0.8,
        )
    for change in transitions(rows):
        if change.strain is not None:
            for axes in (top, bottom):
                axes.axvline(100 * change.strain, color=MARK, lw=0.8, ls="--", zorder=0)
            top.annotate(
                f"{100 * change.strain:.3f} %",
                (100 * change.strain, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -3),
                textcoords="offset points",
                va="top",
                fontsize=8,
            )
    top.set_ylabel("C")
    top.yaxis.set_major_locator(MaxNLocator(integer=True))
    top.margins(y=0.25)
    bottom.set_ylabel("direct gap (meV)")
    bottom.set_ylim(bottom=0)
    bottom.set_xlabel("strain (%)")
    if len(series) > 1:
        top.legend(frameon=False, fontsize=8)
    return figure
