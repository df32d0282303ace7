"""Figures of Chern numbers modulo 3, of one file or against the angle."""

from typing import TYPE_CHECKING

import numpy as np

from moireio.topology.rotation_report import chern_of, chern_of_spin, groups_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from moireio.results.symmetry import RotationEigenvalues

SQUARE = 13  # points
ASIDE = 0.21  # inches between the squares of spin up and down
MOST_TICKS = 20
COLOURS = {-1: "#2471a3", 0: "0.75", 1: "#c0392b"}


def plot_rotation(rows: "list[tuple[str, RotationEigenvalues]]") -> "Figure":
    """Draw C modulo 3 of every group of bands, counted from the highest one, against the angle.

    Parameters
    ----------
    rows : list of (name, RotationEigenvalues)
        Files; where one has no twist angle, all are drawn side by side.

    Returns
    -------
    matplotlib.figure.Figure
        A square for each group; where the spins of spinors separate, C of spin up, marked by an
        arrow; of collinear spin up and down side by side.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.transforms import ScaledTranslation

    angles = [result.angle for _, result in rows]
    by_angle = None not in angles and len(set(angles)) == len(angles)
    places = np.abs(np.array(angles, dtype=float)) if by_angle else np.arange(len(rows))
    deepest = max(result.count for _, result in rows)
    figure = Figure(
        figsize=(max(3.4, 1.6 + 0.5 * len(rows)), max(2.4, 1.4 + 0.35 * deepest)),
        dpi=200,
        layout="constrained",
    )
    axes = figure.add_subplot()
    for place, (_, result) in zip(places, rows, strict=True):
        top = result.first_band + result.count
        channels = len(result.energies)
        for channel in range(channels):
            aside = ASIDE * (channel - (channels - 1) / 2)
            moved = axes.transData + ScaledTranslation(aside, 0, figure.dpi_scale_trans)
            for start, end in groups_of(result, channel):
                members = np.arange(start, end + 1) - result.first_band
                of_spin = chern_of_spin(result, 0, 1, start) if channels == 1 else None
                value = chern_of(result, 0, channel, members) if of_spin is None else of_spin
                arrow = "↑↓"[channel] if channels == 2 or of_spin is not None else ""
                depth = top - (start + end) / 2
                axes.plot(place, depth, "s", color=COLOURS[value], ms=SQUARE, transform=moved)
                axes.text(
                    place,
                    depth,
                    f"{value:d}{arrow}".replace("-", "−"),
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    color="white" if value else "black",
                    transform=moved,
                )
    axes.set_ylim(deepest + 0.7, 0.3)
    axes.set_yticks(np.arange(1, deepest + 1, -(-deepest // MOST_TICKS)))
    axes.set_ylabel("band from the highest", fontsize=8)
    axes.tick_params(labelsize=8)
    if by_angle:
        axes.set_xlabel("twist angle (degrees)")
    else:
        axes.set_xticks(places, [name for name, _ in rows], rotation=30, ha="right", fontsize=7)
    margin = 0.2 * float(np.ptp(places)) or 0.5
    axes.set_xlim(min(places) - margin, max(places) + margin)
    handles = [
        Line2D([], [], marker="s", ls="", color=c, label=f"{v:d}".replace("-", "−"))
        for v, c in COLOURS.items()
    ]
    title = "C mod 3 (↑: of spin up)"
    if any(len(result.energies) == 2 for _, result in rows):
        title = "C mod 3 (↑: of spin up, ↓: of spin down)"
    figure.legend(
        handles=handles,
        title=title,
        title_fontsize=8,
        loc="outside upper center",
        ncols=3,
        fontsize=8,
    )
    return figure
