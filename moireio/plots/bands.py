"""Figures of bands, and files of all figures, with matplotlib."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from moireio.errors import MoireioError
from moireio.runtime.files import is_stream, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from moireio.bands.overlay import Overlay
    from moireio.results.bands import BandStructure

#: Colours of spin up and down: those of the bands, then those of overlays in turn.
COLOURS = ("#1f4e8c", "#4f9bd9")
OVERLAY_COLOURS = (
    ("#c8442b", "#e58d74"),
    ("#2a8f5b", "#83c7a3"),
    ("#8a4fa8", "#c19fd2"),
    ("#d08a00", "#edc067"),
    ("#3a3a3a", "#969696"),
)
MARKERS = "os^Dv"
LINES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1)))
MARKS = 70  # of one overlay along the path, at most; more would hide what lies below
LEGEND_LETTERS = 26  # of an entry, where two stand side by side
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
    overlays: "Sequence[Overlay]" = (),
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
    overlays : sequence of Overlay
        Bands to lay over it, from `moireio.bands.overlay.place_overlay`. Each has a style of its
        own: a line if it is DFT and lies over the dots of a model, else marks.
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
    for number, overlay in enumerate(overlays):
        draw = _draw_lines if dotted and overlay.source == "dft" else _draw_marks
        handles.append(draw(axes, overlay, number, len(overlays)))
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
        columns = 2 if max(len(text) for text in texts) <= LEGEND_LETTERS else 1
        legend = figure.legend(
            lines, texts, loc="outside upper right", ncols=columns, fontsize=8, frameon=False
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    if title:
        axes.set_title(title, fontsize=10, parse_math=False)
    return figure


def _draw(axes, bands, energies, dotted):
    """Draw one band structure; return one of its lines for each spin."""
    pieces = np.split(np.arange(len(bands.path)), bands.path.breaks)
    handles = []
    for channel, values in enumerate(energies):
        colour = COLOURS[channel]
        style = {"linestyle": "none", "marker": ".", "markersize": 3} if dotted else {"lw": 1.0}
        if len(energies) == 2 and channel == 1 and not dotted:
            style["linestyle"] = (0, (4, 2))
        for piece in pieces:
            lines = axes.plot(bands.path.distance[piece], values[piece], color=colour, **style)
        handles.append(lines[0])
    return handles


def _draw_lines(axes, overlay, number, count):
    """Draw an overlay as lines, piece by piece; return one of them for each spin."""
    handles = []
    style = LINES[number % len(LINES)]
    for channel, values in enumerate(overlay.energies):
        colour = OVERLAY_COLOURS[number % len(OVERLAY_COLOURS)][channel]
        handles.append(axes.plot([], [], color=colour, lw=1.0, ls=style)[0])
        for piece in np.split(np.arange(len(overlay.distance)), overlay.breaks):
            look = {"lw": 1.0, "ls": style} if len(piece) > 1 else {"marker": ".", "ms": 2.5}
            axes.plot(overlay.distance[piece], values[piece], color=colour, zorder=1, **look)
    return handles


def _draw_marks(axes, overlay, number, count):
    """Draw an overlay as marks; where several coincide, theirs take turns."""
    handles = []
    step = max(1, -(-len(overlay.distance) // MARKS), count if len(overlay.distance) > MARKS else 1)
    first = number * step // count
    marker = MARKERS[(number + number // len(OVERLAY_COLOURS)) % len(MARKERS)]
    for channel, values in enumerate(overlay.energies):
        colour = OVERLAY_COLOURS[number % len(OVERLAY_COLOURS)][channel]
        look = {"ls": "none", "marker": marker, "ms": 2.6, "mfc": "none", "mew": 0.8}
        lines = axes.plot(
            overlay.distance[first::step], values[first::step], color=colour, zorder=3, **look
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
