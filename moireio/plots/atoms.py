"""Maps of numbers on the atoms, seen from above, a panel for each layer."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.system.layers import layer_normal
from moireio.system.structure import Structure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = 3.4  # inches
LEVEL = 0.99  # z component of the normal of layers that are drawn in x and y


def plot_on_atoms(
    structure: Structure,
    values: npt.NDArray[np.float64],
    label: str,
    about_layer: Callable[[npt.NDArray[np.bool_]], str],
    *,
    title: str | None = None,
    repeat: int = 2,
    logarithmic: bool = False,
) -> "Figure":
    """Draw a number of every atom as its colour.

    Parameters
    ----------
    structure : Structure
        The atoms; without `layer` there is one panel.
    values : (N,) array
        The numbers.
    label : str
        What they are, for the scale of colours.
    about_layer : callable
        Called with a mask of a layer's atoms; returns text for its title.
    title : str, optional
        Title of the figure.
    repeat : int
        Cells drawn along both vectors.
    logarithmic : bool
        Colours follow the logarithm.

    Returns
    -------
    matplotlib.figure.Figure
        The outline is one cell.
    """
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure

    layer = np.zeros(len(structure), dtype=int) if structure.layer is None else structure.layer
    layers = np.unique(layer)
    cell, positions = _from_above(structure)
    shifts = [a * cell[0] + b * cell[1] for a, b in np.ndindex(repeat, repeat)]
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) @ cell
    extent = np.ptp((corners * repeat), axis=0)
    figure = Figure(
        figsize=(SIZE * len(layers) + 0.8, SIZE * extent[1] / extent[0] + 0.6),
        dpi=200,
        layout="constrained",
    )
    # as large as the atoms stand apart
    area = abs(np.linalg.det(cell)) / max((layer == layers[0]).sum(), 1)
    points = 0.8 * np.sqrt(area) / extent[0] * SIZE * 72
    norm = (LogNorm if logarithmic else Normalize)(values.min(), values.max())
    image = None
    for axes, number in zip(np.atleast_1d(figure.subplots(1, len(layers))), layers, strict=True):
        members = layer == number
        places = np.concatenate([positions[members] + s for s in shifts])
        image = axes.scatter(
            *places.T,
            c=np.tile(values[members], len(shifts)),
            s=points**2,
            cmap="magma_r",
            norm=norm,
            linewidths=0,
            clip_on=False,
        )
        axes.plot(*corners.T, color="0.3", lw=0.8)
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(f"layer {number + 1}: {about_layer(members)}", fontsize=9)
    figure.colorbar(image, ax=figure.axes, shrink=0.8, label=label)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def _from_above(structure):
    """Return the two lattice vectors of the layers, (2, 2), and positions, (N, 2), in their plane.

    The axes of the plane are x and y where the layers are horizontal.
    """
    periodic = np.flatnonzero(structure.pbc)
    axes = periodic if len(periodic) == 2 else np.arange(2)
    normal = layer_normal(structure)
    plane = np.eye(3)[:2]
    if normal[2] < LEVEL:
        first = structure.cell[axes[0]] / np.linalg.norm(structure.cell[axes[0]])
        plane = np.array([first, np.cross(normal, first)])
    return structure.cell[axes] @ plane.T, structure.positions @ plane.T


def plot_expected_error(
    structure: Structure, expected: npt.NDArray[np.float64], title: str | None = None
) -> "Figure":
    """Draw the error that is expected for the blocks of every atom.

    Parameters
    ----------
    structure : Structure
        The atoms.
    expected : (N,) array
        As `Operator.expected_error` has it, eV.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        In meV; the titles give the means. Errors that differ by more than ten times are drawn on
        a logarithmic scale.
    """
    mev = expected * 1e3
    return plot_on_atoms(
        structure,
        mev,
        "expected |ΔH| (meV)",
        lambda members: f"{mev[members].mean():.2f} meV",
        title=title,
        repeat=1 if len(structure) > 200 else 2,
        logarithmic=bool(mev.min() > 0 and mev.max() > 10 * mev.min()),
    )
