"""Pictures of densities of states."""

import re
from typing import TYPE_CHECKING

import numpy as np

from moireio.errors import MoireioError
from moireio.plots.bands import WINDOW

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from moireio.results.dos import DensityOfStates

TOTAL = "#3a3a3a"
COLOURS = (
    "#1f4e8c",
    "#c8442b",
    "#2f8f5b",
    "#d99a1c",
    "#7a4fa3",
    "#3aa6c4",
    "#b5547f",
    "#7d8f29",
    "#8a5a3c",
    "#5f6f80",
)
MOST = len(COLOURS)
FEW, SMALL = 6, 0.01  # of more groups, those with less than this part are left out
SAME = 0.05  # part of its area by which a line differs from one that hides it
UNIT = "states/eV/cell"
ENERGY = {"fermi": "E − E$_F$ (eV)", "vbm": "E − E$_{VBM}$ (eV)", "none": "E (eV)"}


def plot_dos(
    dos: "DensityOfStates",
    *,
    zero: str | float | None = None,
    energy_window: tuple[float, float] | None = None,
    title: str | None = None,
    stacked: bool = False,
    vertical: bool = False,
) -> "Figure":
    """Draw a density of states, spin down below the axis.

    Parameters
    ----------
    dos : DensityOfStates
        The density of states.
    zero : {"fermi", "vbm", "none"} or float, optional
        Energy that becomes 0; by default the Fermi level if it is known.
    energy_window : tuple of two float, optional
        Lowest and highest energy shown, eV, counted from the zero; by default 6 eV on both sides
        of it, or everything.
    title : str, optional
        Title of the figure.
    stacked : bool
        Projections as areas on top of each other instead of lines.
    vertical : bool
        Energy upwards, as in pictures of bands.

    Returns
    -------
    matplotlib.figure.Figure
        With the groups that hold most in the window, at most ten.

    Raises
    ------
    MoireioError
        If several ways of projection were to be stacked, or the zero is unknown.
    """
    from matplotlib.figure import Figure

    if stacked and len(set(dos.projection)) > 1:
        raise MoireioError(
            "areas of several projections cannot be stacked", remedy="give `project` once"
        )
    if zero is None:
        zero = "none" if dos.fermi is None else "fermi"
    shift = dos.zero(zero)
    energies = dos.energies - shift
    energy_window = _window(energies, zero, energy_window)
    shown = (energies >= energy_window[0]) & (energies <= energy_window[1])
    if shown.sum() < 2:
        raise MoireioError(
            f"the density of states ends before {energy_window[0]:g} … {energy_window[1]:g} eV",
            remedy=f"it reaches from {energies[0]:.3g} to {energies[-1]:.3g} eV",
        )
    energies = energies[shown]
    figure = Figure(figsize=(3.2, 4.4) if vertical else (5.4, 3.6), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    chosen, left = _largest(dos.projected[..., shown], dos.total[:, shown].sum(), stacked)
    handles, names = _curves(axes, dos, energies, shown, chosen, stacked, vertical)
    if left:
        from matplotlib.lines import Line2D

        handles.append(Line2D([], [], color="none"))
        names.append(f"{left} smaller")
    _dress(axes, dos, zero, shift, energy_window, vertical)
    _limits(axes, dos, shown, stacked, chosen, vertical)
    if len(names) > 1:
        rows = -(-len(names) // (3 if vertical else 6))
        figure.legend(
            handles,
            names,
            loc="outside upper center",
            ncols=-(-len(names) // rows),
            fontsize=8,
            frameon=False,
            handlelength=1.3,
            columnspacing=1.2,
        )
    if title:
        axes.set_title(title, fontsize=10, parse_math=False)
    return figure


def pretty(label: str) -> str:
    """Return a label with its indices as subscripts.

    Parameters
    ----------
    label : str
        Such as ``C pz`` or ``Mo dx2-y2``.

    Returns
    -------
    str
        In matplotlib's notation.
    """

    def index(match):
        text = re.sub(r"(?<=[xyz])(\d)", r"^\1", match[2]).replace("-", "−")
        return f"{match[1]}$_{{{text}}}$"

    return re.sub(r"\b([pdf])((?:[xyz]|\()[xyz0-9()−-]*)(?= |$)", index, label)


def _window(energies, zero, energy_window):
    low, high = energies[0], energies[-1]
    if energy_window is None:
        if zero == "none":
            return low, high
        energy_window = (-WINDOW, WINDOW)
    return max(low, energy_window[0]), min(high, energy_window[1])


def _largest(projected, total, stacked):
    """Return the groups that hold most, in their order, and how many are left out."""
    held = np.abs(projected).sum(axis=(0, 2))
    chosen = np.argsort(-held, kind="stable")[:MOST]
    if not stacked and len(held) > FEW:
        chosen = chosen[held[chosen] > SMALL * total]
    return np.sort(chosen), len(held) - len(chosen)


def _curves(axes, dos, energies, shown, chosen, stacked, vertical):
    """Draw total and projections; return handles and names for a legend."""
    fill = axes.fill_betweenx if vertical else axes.fill_between
    handles, names = [], []
    spins = (1, -1)[: len(dos.total)]
    for channel, sign in enumerate(spins):
        total = sign * dos.total[channel, shown]
        if not stacked or not len(chosen):
            fill(energies, 0, total, color=TOTAL, alpha=0.12, lw=0)
        line = _line(axes, energies, total, vertical, color=TOTAL, lw=0.9, zorder=3)
        if dos.error is not None:
            error = dos.error[channel, shown]
            fill(energies, total - error, total + error, color=TOTAL, alpha=0.3, lw=0)
        if channel == 0:
            handles.append(line)
            names.append("total")
        base = np.zeros(len(energies))
        for number, group in enumerate(chosen):
            values = sign * dos.projected[channel, group, shown]
            colour = COLOURS[number]
            if stacked:
                drawn = fill(energies, base, base + values, color=colour, alpha=0.8, lw=0)
                base = base + values
            else:
                style = {"color": colour, "lw": 1.1, "zorder": 4}
                if _hidden(dos.projected[..., shown], chosen, number):
                    style |= {"ls": (0, (3, 3)), "zorder": 5}
                drawn = _line(axes, energies, values, vertical, **style)
            if channel == 0:
                handles.append(drawn)
                names.append(pretty(dos.labels[group]))
    return handles, names


def _hidden(projected, chosen, number):
    """Return whether a curve lies on an earlier one."""
    curve = projected[:, chosen[number]]
    earlier = projected[:, chosen[:number]]
    gap = np.abs(earlier - curve[:, None]).sum(axis=(0, 2))
    return bool((gap < SAME * np.abs(curve).sum()).any())


def _line(axes, energies, values, vertical, **style):
    pair = (values, energies) if vertical else (energies, values)
    return axes.plot(*pair, **style)[0]


def _dress(axes, dos, zero, shift, energy_window, vertical):
    """Draw axes, the Fermi level and the names of the spins."""
    energy, density = ENERGY.get(zero), f"DOS ({UNIT})"
    if energy is None:
        energy = f"E {'−' if zero >= 0 else '+'} {abs(zero):g} eV (eV)"
    mark = axes.axhline if vertical else axes.axvline
    if dos.fermi is not None:
        mark(dos.fermi - shift, color="0.35", lw=0.8, ls=(0, (4, 2)), zorder=2)
    if vertical:
        axes.set_ylim(*energy_window)
        axes.set_ylabel(energy)
        axes.set_xlabel(density)
    else:
        axes.set_xlim(*energy_window)
        axes.set_xlabel(energy)
        axes.set_ylabel(density)
    if len(dos.total) == 2:
        (axes.axvline if vertical else axes.axhline)(0, color="0.2", lw=0.6, zorder=3)
        for sign, text in ((1, "spin up"), (-1, "spin down")):
            middle = 0.5 + 0.25 * sign
            axes.text(
                *((middle, 1.01) if vertical else (1.01, middle)),
                text,
                transform=axes.transAxes,
                rotation=0 if vertical else 270,
                fontsize=8,
                color="0.3",
                ha="center" if vertical else "left",
                va="bottom" if vertical else "center",
            )


def _limits(axes, dos, shown, stacked, chosen, vertical):
    """Choose the range of densities."""
    top = dos.total[:, shown].max(initial=0) * 1.06 or 1.0
    low = dos.projected[:, chosen][..., shown].min(initial=0)
    bottom = 1.1 * low if low < -0.01 * top and not stacked else 0.0
    bottom = -top if len(dos.total) == 2 else bottom
    (axes.set_xlim if vertical else axes.set_ylim)(bottom, top)
    if len(dos.total) == 2:
        from matplotlib.ticker import FuncFormatter

        axis = axes.xaxis if vertical else axes.yaxis
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
