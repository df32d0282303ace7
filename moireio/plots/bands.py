"""Figures of bands, and files of all figures, with matplotlib."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.runtime.files import is_stream, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from moireio.results.bands import BandStructure

LINE, DOTS = "#1f4e8c", "#c8442b"
SPIN_COLOURS = (("#1f4e8c", "#4f9bd9"), ("#c8442b", "#e39b2d"))
WINDOW = 6.0
FORMATS = (".png", ".pdf", ".svg")


def check_format(path: str | os.PathLike[str]) -> None:
    """Refuse a figure of an unknown format before any work is done.

    Parameters
    ----------
    path : str
        File name. Standard output ("-"), pipes and devices need no suffix.

    Raises
    ------
    MoireioError
        If the suffix is not .png, .pdf or .svg, or the figure would go to a terminal.
    """
    name = str(path)
    if name == "-" and sys.stdout is not None and sys.stdout.isatty():
        raise MoireioError(
            "a picture does not go to a terminal", remedy="name a file, or redirect the output"
        )
    if not (name.lower().endswith(FORMATS) or is_stream(name)):
        raise MoireioError("has no known format of figures", path=path, remedy="png, pdf, svg")


def plot_bands(
    bands: "BandStructure",
    overlays: Sequence[tuple[npt.NDArray, npt.NDArray]] = (),
    *,
    zero: str | float = "fermi",
    energy_window: tuple[float, float] | None = None,
    title: str | None = None,
    labels: Sequence[str] | None = None,
) -> "Figure":
    """Draw a band structure, and others over it.

    Parameters
    ----------
    bands : BandStructure
        Drawn as lines; as dots if it comes from a model and others are laid over it.
    overlays : sequence of (distance, energies)
        Points to lay over it: (p,) Å⁻¹ along the path and (ns, p, nb) eV, shifted already.
    zero : {"fermi", "vbm", "none"} or float
        Energy that becomes 0 (see `BandStructure.zero`).
    energy_window : tuple of two float, optional
        Lowest and highest energy shown, eV, counted from the zero. By default everything, or
        6 eV on both sides of the zero where the bands reach further.
    title : str, optional
        Title of the figure.
    labels : sequence of str, optional
        Names of the band structure and of the overlays, for a legend.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    from matplotlib.figure import Figure

    shift = bands.zero(zero)
    dotted = bands.source == "model" and len(overlays) > 0
    figure = Figure(figsize=(4.6, 4.4), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    handles = [_draw(axes, bands, bands.energies - shift, dotted)]
    for distance, energies in overlays:
        handles.append(_draw_points(axes, distance, energies, solid=dotted))
    reach = np.abs(bands.energies - shift).max(initial=0)
    if energy_window is None and zero != "none" and reach > 2 * WINDOW and not bands.first_band:
        energy_window = (-WINDOW, WINDOW)
    _dress(axes, bands, zero, energy_window)
    names = list(labels) if labels and len(handles) > 1 else [""]
    entries = []
    for lines, name in zip(handles, names, strict=False):
        spins = ("spin up", "spin down") if len(lines) == 2 else ("",)
        entries += [(n, f"{name} {s}".strip()) for n, s in zip(lines, spins, strict=True)]
    if any(text for _, text in entries):
        lines, texts = zip(*entries, strict=True)
        figure.legend(lines, texts, loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    if title:
        axes.set_title(title, fontsize=10, parse_math=False)
    return figure


def _draw(axes, bands, energies, dotted):
    """Draw one band structure; return one of its lines for each spin."""
    pieces = np.split(np.arange(len(bands.path)), bands.path.breaks)
    handles = []
    for channel, values in enumerate(energies):
        colour = SPIN_COLOURS[0][channel]
        style = {"linestyle": "none", "marker": ".", "markersize": 3} if dotted else {"lw": 1.0}
        if len(energies) == 2 and channel == 1 and not dotted:
            style["linestyle"] = (0, (4, 2))
        for piece in pieces:
            lines = axes.plot(bands.path.distance[piece], values[piece], color=colour, **style)
        handles.append(lines[0])
    return handles


def _draw_points(axes, distance, energies, solid):
    handles = []
    for channel, values in enumerate(energies):
        colour = SPIN_COLOURS[1][channel]
        if solid and len(distance) > 1:
            lines = axes.plot(distance, values, color=colour, lw=1.0, zorder=1)
        else:
            lines = axes.plot(
                distance, values, "o", color=colour, ms=2.6, mfc="none", mew=0.8, zorder=3
            )
        handles.append(lines[0])
    return handles


def _dress(axes, bands, zero, energy_window):
    """Draw corners, axes and the energy zero."""
    path = bands.path
    ticks, names = [], []
    for index, label in zip(path.label_index, path.labels, strict=True):
        label = "Γ" if label in ("G", "GAMMA") else label.replace("'", "′")
        place = float(path.distance[index])
        if ticks and abs(place - ticks[-1]) < 1e-9:
            if label != names[-1]:
                names[-1] = f"{names[-1]}|{label}"
        else:
            ticks.append(place)
            names.append(label)
    if ticks:
        axes.set_xticks(ticks, names)
        for place in ticks[1:-1]:
            axes.axvline(place, color="0.75", lw=0.6, zorder=0)
    else:
        axes.set_xlabel("distance along the path (Å⁻¹)")
    if len(path) > 1 and path.distance[-1] > path.distance[0]:
        axes.set_xlim(path.distance[0], path.distance[-1])
    if zero != "none":
        axes.axhline(0, color="0.5", lw=0.6, ls=":", zorder=0)
    name = {"fermi": "E − E$_F$ (eV)", "vbm": "E − E$_{VBM}$ (eV)", "none": "E (eV)"}
    axes.set_ylabel(name.get(zero, f"E − {zero} eV (eV)"))
    if energy_window is not None:
        axes.set_ylim(*energy_window)


def save(figure: "Figure", path: str) -> None:
    """Write a figure; its suffix chooses the format, png where a pipe or device has none.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : str
        File name.

    Raises
    ------
    MoireioError
        If it cannot be written.
    """
    suffix = os.path.splitext(path)[1].lower()
    form = suffix.removeprefix(".") if suffix in FORMATS else "png"
    metadata = {"Creator": "moireio"} if form == "pdf" else None
    with write_whole(path) as part:
        figure.savefig(part, format=form, metadata=metadata)
