"""Figures of flat bands: a series over angles, and the weight of states on the atoms."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.plots.atoms import plot_on_atoms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from moireio.bands.flat import FlatBands
    from moireio.system.structure import Structure

PANELS = 6
COLOURS = {"flat": "#c0392b", "other": "0.6", "gaps": "#2471a3"}


def plot_flat(rows: "list[tuple[str, float | None, FlatBands]]") -> "Figure":
    """Draw the bands of one cell, or of some and their widths against the angle.

    Parameters
    ----------
    rows : list of tuple (str, float or None, FlatBands)
        Name, twist angle in degrees, and bands of every cell.

    Returns
    -------
    matplotlib.figure.Figure
        Panels of bands; below them, where there are several angles, width and gaps.
    """
    from matplotlib.figure import Figure

    angles = {round(angle, 6) for _, angle, _ in rows if angle is not None}
    series = len(rows) > 1 and len(angles) > 1
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), PANELS)).astype(int))
    width = max(2.0 * len(chosen), 3.4)
    height = 6.2 if series else 3.2
    figure = Figure(figsize=(width, height), dpi=200, layout="constrained")
    grid = figure.add_gridspec(
        2 if series else 1, len(chosen), height_ratios=[1, 1.1][: 1 + series]
    )
    for column, index in enumerate(chosen):
        name, angle, flat = rows[index]
        axes = figure.add_subplot(grid[0, column])
        _draw_bands(axes, flat)
        axes.set_title(name if angle is None else f"{abs(angle):.2f}°", fontsize=9)
        if column == 0:
            axes.set_ylabel("energy (eV)")
    if series:
        _draw_widths(figure.add_subplot(grid[1, :]), rows)
    return figure


def _draw_bands(axes, flat):
    path, middle = flat.bands.path, (flat.energies.max() + flat.energies.min()) / 2
    energies = flat.bands.energies[0] - middle
    start = flat.first - flat.bands.first_band
    for index in range(energies.shape[1]):
        is_flat = start <= index < start + flat.count
        colour = COLOURS["flat" if is_flat else "other"]
        axes.plot(path.distance, energies[:, index], color=colour, lw=0.9, zorder=2 + is_flat)
    gap = min(max(flat.gap_above or 0, flat.gap_below or 0, 0), flat.width)
    reach = 0.6 * flat.width + 1.2 * gap
    axes.set_ylim(-reach, reach)
    places = path.distance[path.label_index]
    axes.set_xticks(places, ["Γ" if label == "G" else label for label in path.labels])
    for place in places[1:-1]:
        axes.axvline(place, color="0.85", lw=0.6, zorder=0)
    if len(path) > 1:
        axes.set_xlim(path.distance[0], path.distance[-1])
    axes.tick_params(labelsize=8)


def _draw_widths(axes, rows):
    series = [(abs(angle), flat) for _, angle, flat in rows if angle is not None]
    series.sort(key=lambda pair: pair[0])
    angles = np.array([angle for angle, _ in series])
    axes.plot(
        angles,
        [1e3 * flat.width for _, flat in series],
        "o-",
        color=COLOURS["flat"],
        ms=5,
        label=f"width of the {series[0][1].count} bands",
    )
    for label, marker, side in (("gap above", "^", "gap_above"), ("gap below", "v", "gap_below")):
        gaps = np.array([getattr(flat, side) or np.nan for _, flat in series]) * 1e3
        gaps[gaps <= 0] = np.nan
        if np.isfinite(gaps).any():
            axes.plot(angles, gaps, marker, color=COLOURS["gaps"], ms=5, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(angles, [f"{a:.3g}" for a in angles])
    shown = np.array([line.get_ydata() for line in axes.lines], dtype=float)
    low, high = np.nanmin(shown), np.nanmax(shown)
    ticks = [m * 10.0**n for n in range(-3, 5) for m in (1, 2, 5)]
    ticks = [t for t in ticks if low / 1.5 <= t <= high * 1.5]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("twist angle (degrees)")
    axes.set_ylabel("energy (meV)")
    axes.grid(color="0.92", lw=0.6)
    axes.legend(frameon=False, fontsize=8)


def plot_weights(
    structure: "Structure",
    atoms: npt.NDArray[np.float64],
    title: str | None = None,
    repeat: int = 2,
) -> "Figure":
    """Draw the weight of states on every atom, seen from above, a panel for each layer.

    Parameters
    ----------
    structure : Structure
        The atoms.
    atoms : (N,) array
        Weights that add up to the number of states.
    title : str, optional
        Title of the figure.
    repeat : int
        Cells drawn along both vectors.

    Returns
    -------
    matplotlib.figure.Figure
        With the weights relative to their mean over all atoms.
    """
    share = atoms / atoms.sum()
    return plot_on_atoms(
        structure,
        atoms / atoms.mean(),
        "weight on an atom / mean",
        lambda members: f"{100 * share[members].sum():.0f} %",
        title=title,
        repeat=repeat,
    )
