"""Pictures of stacks: from above and from the side."""

from typing import TYPE_CHECKING

import numpy as np

from moireio.results.moire import Moire
from moireio.system.neighbours import neighbour_list
from moireio.system.structure import Structure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#1f4e8c", "#d1602a", "#3d8f5f", "#8a4fa3", "#b8952b")
MAX_DRAWN = 200_000
FEW = 600
SMALLEST = 22.0  # Å
WIDTH = 6.5  # inches
BOND = 1.25  # longest bond over the sum of the covalent radii


def plot_structure(
    structure: Structure, moire: Moire | None = None, title: str | None = None
) -> "Figure":
    """Draw a structure from above and from the side, coloured by layer.

    Parameters
    ----------
    structure : Structure
        The atoms; without `layer` all have one colour.
    moire : Moire, optional
        Record of the layers: names and angles for the legend, and the cells of a supercell.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Lengths in Å. A periodic structure fills the frame around its cell; for large structures
        only bonds are drawn, in which a moiré pattern shows.
    """
    from matplotlib.figure import Figure

    layer = np.zeros(len(structure), int) if structure.layer is None else structure.layer
    cell = structure.cell[:2, :2]
    corners = np.array([[0, 0], cell[0], cell[0] + cell[1], cell[1], [0, 0]])
    low, high = _frame(structure, corners)
    points, which = _surroundings(structure, low, high)
    span = max(np.ptp(points[:, 2]), 1.0) + 3.0
    width, height = high - low
    scale = WIDTH / max(width, height)
    side_height = max(span * scale, 0.8)
    figure = Figure(
        figsize=(max(width * scale, 3.0) + 0.9, height * scale + side_height + 1.2),
        dpi=200,
        layout="constrained",
    )
    top, side = figure.subplots(2, 1, height_ratios=[height * scale, side_height], sharex=True)
    bonds = _bonds(structure) if len(points) > FEW else None
    for number in range(int(layer.max(initial=0)) + 1):
        colour, name = COLOURS[number % len(COLOURS)], _name(moire, number)
        members = np.flatnonzero(layer[which] == number)
        if bonds is None:
            _draw_atoms(top, structure, points[members], which[members], scale, colour, 1)
        else:
            _draw_bonds(top, points[members], which[members], bonds, scale, colour)
        _draw_atoms(side, structure, points[members], which[members], scale, colour, 2)
        top.plot([], [], "o", color=colour, ms=6, label=name)
    _outline(top, structure, moire, corners)
    top.set_xlim(low[0], high[0])
    top.set_ylim(low[1], high[1])
    top.set_aspect("equal")
    middle = (points[:, 2].min() + points[:, 2].max()) / 2
    side.set_ylim(middle - span / 2, middle + span / 2)
    side.set_xlabel("x (Å)")
    top.set_ylabel("y (Å)")
    side.set_ylabel("z (Å)")
    if layer.max(initial=0) > 0 or moire is not None:
        handles, names = top.get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside upper center", fontsize=8, frameon=False, ncols=2
        )
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def _frame(structure, corners):
    """Return the lower left and upper right corner of the frame, Å."""
    if structure.pbc[:2].all():
        low, high = corners.min(axis=0), corners.max(axis=0)
    else:
        points = structure.positions[:, :2]
        low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.05 * (high - low).max()
    missing = np.maximum(SMALLEST - (high - low), 0) / 2 * structure.pbc[:2].all()
    return low - margin - missing, high + margin + missing


def _surroundings(structure, low, high):
    """Return positions of the atoms in the frame, repeated as the cell is, and their indices."""
    steps = np.zeros((1, 2), dtype=int)
    if structure.pbc[:2].all():
        corners = np.array([[x, y] for x in (low[0], high[0]) for y in (low[1], high[1])])
        fractional = corners @ np.linalg.inv(structure.cell[:2, :2])
        ranges = [np.arange(np.floor(f.min()), np.ceil(f.max())) for f in fractional.T]
        steps = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 2)
    points, which = [], []
    for shift in steps @ structure.cell[:2]:
        moved = structure.positions + shift
        seen = np.flatnonzero(((moved[:, :2] > low) & (moved[:, :2] < high)).all(axis=1))
        points.append(moved[seen])
        which.append(seen)
    points, which = np.concatenate(points), np.concatenate(which)
    stride = -(-len(points) // MAX_DRAWN)
    return points[::stride], which[::stride]


def _bonds(structure):
    """Return the bonds inside layers: the first bond of every atom, and in-plane vectors."""
    from ase.data import covalent_radii

    radii = covalent_radii[structure.numbers]
    i, j, d, vector = neighbour_list(structure, BOND * 2 * float(radii.max()), "ijdD")
    keep = d < BOND * (radii[i] + radii[j])
    if structure.layer is not None:
        keep &= structure.layer[i] == structure.layer[j]
    i, vector = i[keep], vector[keep]
    start = np.searchsorted(i, np.arange(len(structure) + 1))
    return start, vector[:, :2]


def _draw_atoms(axes, structure, points, which, scale, colour, vertical):
    """Draw atoms as discs of 0.55 covalent radii."""
    from ase.data import covalent_radii

    order = np.argsort(points[:, 3 - vertical], kind="stable")
    points, which = points[order], which[order]
    if vertical == 2:  # from the side many atoms hide each other
        grid = np.round(points[:, [0, 2]] * np.array([scale * 200, 100])).astype(int)
        points, which = (a[np.unique(grid, axis=0, return_index=True)[1]] for a in (points, which))
    diameter = 2 * 0.55 * covalent_radii[structure.numbers[which]] * scale * 72
    few = len(points) <= FEW
    axes.scatter(
        points[:, 0],
        points[:, vertical],
        s=np.maximum(diameter, 1.0) ** 2,
        color=colour,
        edgecolors="white" if few else "none",
        linewidths=0.4 if few else 0,
        alpha=0.85,
        rasterized=not few,
    )


def _draw_bonds(axes, points, which, bonds, scale, colour):
    """Draw half of every bond from each of its atoms."""
    from matplotlib.collections import LineCollection

    start, vectors = bonds
    count = start[which + 1] - start[which]
    first = np.repeat(start[which], count)
    within = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    begin = np.repeat(points[:, :2], count, axis=0)
    ends = begin + vectors[first + within] / 2
    width = float(np.clip(0.22 * scale * 72, 0.25, 2.0))
    lines = LineCollection(
        np.stack([begin, ends], 1), colors=colour, linewidths=width, alpha=0.9, rasterized=True
    )
    axes.add_collection(lines, autolim=False)


def _outline(axes, structure, moire, corners):
    """Draw the cell, thin inner lines where it holds several moiré cells."""
    style = {"color": "black", "zorder": 5, "solid_joinstyle": "miter"}
    if moire is not None and moire.layers and (moire.repeat != (1, 1) or moire.open_axis):
        rows, origin = moire.layers[0].cell, moire.layers[0].centre
        nx, ny = moire.repeat
        for n in range(nx + 1):
            ends = origin + np.array([[n, 0], [n, ny]]) @ rows
            axes.plot(*ends.T, lw=0.5, **style)
        for n in range(ny + 1):
            ends = origin + np.array([[0, n], [nx, n]]) @ rows
            axes.plot(*ends.T, lw=0.5, **style)
        if moire.open_axis:
            return
    axes.plot(*corners.T, lw=1.2, **style)


def _name(moire, number):
    if moire is None or number >= len(moire.layers):
        return f"layer {number + 1}"
    layer = moire.layers[number]
    text = f"{number + 1}: {layer.name}"
    if layer.angle:
        text += f", {layer.angle:+.3f}°"
    if layer.turned:
        text += ", turned by 180°"
    if np.any(layer.strain):
        mean, half = np.trace(layer.strain) / 2, np.ptp(np.linalg.eigvalsh(layer.strain)) / 2
        text += f", strain {100 * (mean - half):+.2f} {100 * (mean + half):+.2f} %"
    return text
