"""Figures of ribbons' bands: one row an edge, edge states in colour."""

from typing import TYPE_CHECKING

import numpy as np

from moireio.results.edges import EdgeStates, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UP, DOWN, BULK = "#c8442b", "#1f4e8c", "0.72"
DECADES = 3.0  # of the weight at the edges of half-infinite layers
MOST = 2  # energies in a heading
BENEATH = 4.0  # area of points that others may cover, as a multiple of theirs
FAINT, FULL = 0.4, 0.8  # weights at an edge where colour begins, and is full


def plot_edges(
    edges: EdgeStates,
    *,
    energy_window: tuple[float, float] | None = None,
    title: str | None = None,
) -> "Figure":
    """Draw the bands of a ribbon, its edge states in colour.

    Parameters
    ----------
    edges : EdgeStates
        The states.
    energy_window : tuple of two float, optional
        Lowest and highest energy shown, eV. By default all.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The high edge above, the low edge below; of half-infinite layers the weight at either
        edge, dark where it is large. States of the edge are red where ⟨σ_z⟩ > 0 and
        blue where it is below, blue inside red where both have one energy; without spin red at
        the low and blue at the high edge; all other states are grey. Dotted lines are the energies
        at which states were counted, and the heading of each row has right minus left movers of
        its edge.
    """
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 6.2), dpi=200, layout="constrained")
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    left = _left_end(edges)
    k = (edges.k - left) % 1.0 + left
    order = np.argsort(k)
    k = k[order]
    energies = edges.energies[order]
    rows = (("high", edges.high[order]), ("low", edges.low[order]))
    size = max(0.6, min(7.0, 900.0 / len(k)))
    handles = {}
    for axis, (name, weight) in zip(axes, rows, strict=True):
        if edges.map is not None:
            _draw_map(axis, edges, name, k, order)
        if edges.first_band is None:  # states in a window: columns are no bands
            axis.plot(k, energies, color=BULK, ls="none", marker=".", ms=1.0, zorder=1)
        else:
            axis.plot(k, energies, color=BULK, lw=0.5, zorder=1)
        strength = np.clip((weight - FAINT) / (FULL - FAINT), 0, 1)
        # spin up as larger points below: of equal levels both are seen
        areas = (size,) if edges.spin is None else (BENEATH * size, size)
        for area, (label, colour, chosen) in zip(areas, _colours(edges, name, order), strict=True):
            shown = chosen & (strength > 0)
            points = np.broadcast_to(k[:, None], energies.shape)[shown]
            colours = np.tile(to_rgba(colour), (len(points), 1))
            colours[:, 3] = strength[shown]
            axis.scatter(points, energies[shown], s=area, c=colours, linewidths=0, zorder=3)
            handles[label] = axis.scatter([], [], s=16, color=colour)
        for gap in edges.gaps:
            axis.axhline(gap.energy, color="0.3", lw=0.6, ls=":", zorder=2)
        axis.set_ylabel("E (eV)")
        axis.set_title(_heading(edges, name), fontsize=8, loc="left")
    axes[0].set_xlim(left, left + 1)
    if energy_window is not None:
        axes[0].set_ylim(*energy_window)
    elif edges.energies.size:
        axes[0].set_ylim(np.nanmin(edges.energies), np.nanmax(edges.energies))
    elif edges.map is not None:
        axes[0].set_ylim(edges.map.energies[0], edges.map.energies[-1])
    axes[1].set_xlabel(f"k along a$_{edges.periodic + 1}$ (2π/{edges.period:.2f} Å)")
    if edges.energies.shape[1]:
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside upper right",
            ncols=len(handles),
            fontsize=8,
            frameon=False,
        )
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def _colours(edges, name, order):
    """Yield label, colour and mask of the states that have it in one row."""
    everywhere = np.ones(edges.energies.shape, dtype=bool)
    if edges.spin is None:
        yield f"{name} edge", UP if name == "low" else DOWN, everywhere
        return
    along = edges.spin[2][order]
    yield "spin up", UP, along > 0
    yield "spin down", DOWN, along <= 0


def _left_end(edges):
    """Return where the zone begins in the figure, so that the crossings are in its middle."""
    places = [k for gap in edges.gaps for k in (*gap.low.k, *gap.high.k)]
    return -0.5 if np.cos(2 * np.pi * np.array(places or [0.0])).sum() >= 0 else 0.0


def _draw_map(axis, edges, name, k, order):
    """Draw the weight at one edge of half-infinite layers."""
    weight = np.log10(np.maximum(getattr(edges.map, name)[order], 1e-12))
    top = np.log10(max(edges.map.low.max(), edges.map.high.max(), 1e-12))
    axis.pcolormesh(
        k,
        edges.map.energies,
        weight.T,
        cmap="Greys",
        vmin=top - DECADES,
        vmax=top,
        shading="nearest",
        rasterized=True,
    )


def _heading(edges, name):
    """Return the title of one row: the edge, and its net number at every energy."""
    parts = []
    for gap in edges.gaps:
        count = getattr(gap, name)
        text = f"{gap.energy:z.3f} eV: net {signed(count.net)}"
        if count.up is not None:
            text += f" (↑ {signed(count.up)}, ↓ {signed(count.down)})"
        parts.append(text)
    heading = "; ".join(parts[:MOST]) + ("; …" if len(parts) > MOST else "")
    title = f"{name} edge, {heading}" if parts else f"{name} edge"
    return title.replace("-", "\N{MINUS SIGN}")
