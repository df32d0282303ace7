"""Figures of Chern numbers modulo 3, of one file or against the angle."""

from typing import TYPE_CHECKING

import numpy as np

from moireio.topology.rotation_report import chern_of, chern_of_spin, groups_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from moireio.results.symmetry import RotationEigenvalues

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
        A square for each group; where spins separate, C of spin up, marked by an arrow.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    angles = [result.angle for _, result in rows]
    by_angle = None not in angles and len(set(angles)) == len(angles)
    places = np.abs(np.array(angles, dtype=float)) if by_angle else np.arange(len(rows))
    deepest = max(result.count for _, result in rows)
    figure = Figure(
        figsize=(max(3.4, 1.6 + 0.5 * len(rows)), 1.2 + 0.35 * deepest),
        dpi=200,
        layout="constrained",
    )
    axes = figure.add_subplot()
    for place, (_, result) in zip(places, rows, strict=True):
        top = result.first_band + result.count
        for channel in range(len(result.energies)):
            for start, end in groups_of(result, channel):
                members = np.arange(start, end + 1) - result.first_band
                value = chern_of_spin(result, 0, 1, start)
                arrow = "" if value is None else "↑"
                value = chern_of(result, 0, channel, members) if value is None else value
                depth = top - (start + end) / 2
                axes.plot(place, depth, "s", color=COLOURS[value], ms=11)
                axes.text(place, depth, f"{value:d}{arrow}", ha="center", va="center", fontsize=7)
    axes.invert_yaxis()
    axes.set_ylabel("band from the highest")
    axes.yaxis.get_major_locator().set_params(integer=True)
    if by_angle:
        axes.set_xlabel("twist angle (degrees)")
    else:
        axes.set_xticks(places, [name for name, _ in rows], rotation=30, ha="right", fontsize=7)
    axes.margins(x=0.15, y=0.2)
    handles = [
        Line2D([], [], marker="s", ls="", color=c, label=f"{v:d}") for v, c in COLOURS.items()
    ]
    title = "C mod 3 (↑: of spin up)"
    figure.legend(handles=handles, title=title, loc="outside upper center", ncols=3, fontsize=8)
    return figure
