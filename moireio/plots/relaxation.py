"""Pictures of relaxed bilayers: distance, displacements, local twist, strain, stacking domains."""

from typing import TYPE_CHECKING

import numpy as np

from moireio.moire import plane
from moireio.plots.bands import save
from moireio.relax.analysis import Fields, RelaxationAnalysis
from moireio.system.structure import Structure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW = 1.6  # moiré lengths
ARROWS = 17  # along the window
DOMAINS = ("#ececec", "#7fb0d3", "#e09a90", "#9ccbab")
SMALL = 1e-9


def draw_relaxation(
    before: Structure, after: Structure, analysis: RelaxationAnalysis, path: str
) -> None:
    """Write the figure of `plot_relaxation`.

    Parameters
    ----------
    before, after : Structure
        The structures that were compared.
    analysis : RelaxationAnalysis
        Their comparison.
    path : str
        File name, .png, .pdf or .svg.

    Raises
    ------
    MoireioError
        If it cannot be written.
    """
    save(plot_relaxation(before, after, analysis), path)


def plot_relaxation(before: Structure, after: Structure, analysis: RelaxationAnalysis) -> "Figure":
    """Draw what a relaxation did to two layers.

    Parameters
    ----------
    before, after : Structure
        The structures that were compared; lengths of the figure are those after.
    analysis : RelaxationAnalysis
        Their comparison.

    Returns
    -------
    matplotlib.figure.Figure
        Distance of the layers; in-plane displacement of either layer, its length as colour and
        arrows along it; local twist; largest shear strain; domains of stackings. The cell is
        outlined, the stackings are marked.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.6, 6.3), dpi=200, layout="compressed")
    panels = figure.subplots(2, 3).ravel()
    cell = after.cell[:2, :2]
    view = _View(cell, analysis.grid, after.pbc)
    lower, upper = analysis.grid.displacements[..., :2]
    sign = -1 if analysis.angle < 0 else 1
    turned = analysis.grid.rotations[1] - analysis.grid.rotations[0]
    twist = sign * (analysis.angle + turned)
    shear = 50 * np.ptp(plane.principal(analysis.grid.strains), axis=-1).max(axis=0)
    _map(figure, panels[0], view, analysis.grid.distances, "viridis", "interlayer distance (Å)")
    longest = max(float(np.nanmax(np.linalg.norm(u, axis=-1))) for u in (lower, upper))
    several = before.layer is not None and before.layer.max(initial=0) > 1
    if several:
        figure.suptitle(f"layers {analysis.lower + 1} and {analysis.lower + 2}", fontsize=10)
    for axes, field, which in ((panels[1], upper, 1), (panels[3], lower, 0)):
        length = np.linalg.norm(field, axis=-1)
        of_two = ("lower layer", "upper layer")[which]
        name = f"layer {analysis.lower + which + 1}" if several else of_two
        label = f"displacement, {name} (Å)"
        _map(figure, axes, view, length, "YlOrRd", label, (0.0, max(longest, SMALL)))
        view.arrows(axes, field)
    _map(figure, panels[2], view, twist, "coolwarm", "local twist (°)", _around(twist, analysis))
    _map(figure, panels[4], view, shear, "cividis", "largest shear strain (%)")
    _domains(figure, panels[5], view, analysis)
    for number, axes in enumerate(panels):
        view.finish(axes, analysis, labelled=number in (0, 5))
        axes.text(
            0.02,
            0.97,
            f"({'abcdef'[number]})",
            transform=axes.transAxes,
            va="top",
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )
        if number % 3 == 0:
            axes.set_ylabel("y (Å)")
        if number > 2:
            axes.set_xlabel("x (Å)")
    return figure


class _View:
    """A window of a periodic plane around one cell."""

    def __init__(self, cell, grid: Fields, pbc):
        self.cell = cell
        self.shape = grid.points.shape[:2]
        reduced = plane.reduce(cell if np.linalg.det(cell) > 0 else cell[::-1])[0]
        self.centre = cell.sum(axis=0) / 2
        corners = np.array([[0, 0], cell[0], cell[0] + cell[1], cell[1]])
        size = np.ptp(corners, axis=0)
        half = np.full(2, max(WINDOW * np.linalg.norm(reduced[1]), *(1.08 * size)) / 2)
        self.low, self.high = self.centre - half, self.centre + half
        window = np.array([[x, y] for x in (0, 1) for y in (0, 1)]) * 2 * half + self.low
        fractional = window @ np.linalg.inv(cell)
        self.ranges = [
            (int(np.floor(f.min())), int(np.ceil(f.max()))) if periodic else (0, 1)
            for f, periodic in zip(fractional.T, pbc[:2], strict=True)
        ]
        steps = np.stack(np.meshgrid(*[np.arange(*r) for r in self.ranges], indexing="ij"), -1)
        shifts = (steps @ cell)[:, None, :, None]
        points = grid.points[None, :, None] + shifts
        self.points = points.reshape(*self._tiled, 2)

    @property
    def _tiled(self):
        return tuple(n * (b - a) for n, (a, b) in zip(self.shape, self.ranges, strict=True))

    def tile(self, values):
        counts = [b - a for a, b in self.ranges]
        return np.tile(values, counts + [1] * (values.ndim - 2))

    def arrows(self, axes, field):
        """Draw arrows along a field on a square lattice of the window."""
        from scipy.spatial import cKDTree

        steps = (np.arange(ARROWS) + 0.5) / ARROWS
        wanted = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
        wanted = self.low + wanted * (self.high - self.low)
        _, nearest = cKDTree(self.points.reshape(-1, 2)).query(wanted)
        at, vectors = self.points.reshape(-1, 2)[nearest], self.tile(field).reshape(-1, 2)[nearest]
        longest = float(np.nanmax(np.linalg.norm(vectors, axis=1), initial=0.0))
        if longest < SMALL:
            return
        spacing = (self.high[0] - self.low[0]) / ARROWS
        axes.quiver(
            *at.T,
            *vectors.T,
            angles="xy",
            scale_units="xy",
            scale=longest / (1.5 * spacing),
            pivot="mid",
            color="black",
            width=0.0045,
            headwidth=3.5,
            headlength=4,
            headaxislength=3.5,
        )

    def finish(self, axes, analysis, labelled):
        """Outline the cell, mark the stackings and fix the window."""
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) @ self.cell
        axes.plot(*corners.T, color="white", lw=2.0)
        axes.plot(*corners.T, color="black", lw=0.9)
        for place in analysis.places if labelled else ():
            steps = np.stack(np.meshgrid(*[np.arange(a - 1, b + 1) for a, b in self.ranges]), -1)
            points = (place.points[:, None] + steps.reshape(-1, 2) @ self.cell).reshape(-1, 2)
            margin = 0.06 * (self.high - self.low)
            inside = ((points > self.low + margin) & (points < self.high - margin)).all(axis=1)
            for x, y in points[inside]:
                axes.text(
                    x,
                    y,
                    place.name,
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    clip_on=True,
                    bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
                )
        axes.set_xlim(self.low[0], self.high[0])
        axes.set_ylim(self.low[1], self.high[1])
        axes.set_aspect("equal")
        axes.tick_params(labelsize=8)


def _map(figure, axes, view, values, colours, label, limits=(None, None)):
    """Draw one field and its scale."""
    drawn = axes.pcolormesh(
        *np.moveaxis(view.points, -1, 0),
        view.tile(values),
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        shading="gouraud",
        rasterized=True,
    )
    bar = figure.colorbar(drawn, ax=axes, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    bar.formatter.set_useOffset(False)
    axes.set_title(label, fontsize=9)


def _around(values, analysis):
    """Return limits of colours about the twist of the rigid cell."""
    middle = abs(analysis.angle)
    reach = max(float(np.nanmax(np.abs(values - middle))), 1e-6)
    return middle - reach, middle + reach


def _domains(figure, axes, view, analysis):
    """Draw the nearest stacking at every point, with its share of the area."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    axes.set_title("stacking domains", fontsize=9)
    if analysis.stackings is None or not analysis.domains:
        axes.text(0.5, 0.5, "no moiré pattern", transform=axes.transAxes, ha="center")
        return
    nearest = analysis.stackings.nearest(analysis.grid.registry)
    names = list(analysis.domains)
    axes.pcolormesh(
        *np.moveaxis(view.points, -1, 0),
        view.tile(nearest),
        cmap=ListedColormap(DOMAINS[: len(names)]),
        vmin=-0.5,
        vmax=len(names) - 0.5,
        shading="nearest",
        rasterized=True,
    )
    handles = [
        Patch(
            facecolor=colour,
            edgecolor="0.4",
            lw=0.5,
            label=f"{name} {100 * analysis.domains[name]:.1f} % "
            f"({100 * analysis.domains_before[name]:.1f})",
        )
        for name, colour in zip(names, DOMAINS, strict=False)
    ]
    axes.legend(
        handles=handles,
        fontsize=7,
        loc="lower right",
        framealpha=1.0,
        title="share of the area, after (before)",
        title_fontsize=7,
    )
