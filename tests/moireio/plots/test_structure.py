"""Pictures of stacks."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection

from moireio.moire import build, cells, layers, supercells
from moireio.plots.structure import plot_structure


def twisted(name, m, n, **stacking):
    layer = layers.named(name)
    cell = cells.from_index(layer.lattice, layer.lattice, m, n)
    return build.build([layer, layer], cell, stacking=build.Stacking(**stacking))


def drawn(axes, kind):
    return [c for c in axes.collections if isinstance(c, kind)]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()] if figure.legends else []


def test_a_small_cell_by_its_atoms():
    """Every atom of the cell is there, in the colour of its layer."""
    structure, moire = twisted("graphene", 2, 1, turned=(False, True))
    figure = plot_structure(structure, moire, "title")
    top, side = figure.axes
    assert legend(figure) == ["1: graphene", "2: graphene, -21.787°, turned by 180°"]
    assert figure.get_suptitle() == "title"
    atoms = drawn(top, PathCollection)
    assert len(atoms) == 2
    for number, collection in enumerate(atoms):
        shown = np.asarray(collection.get_offsets())
        expected = structure.positions[structure.layer == number, :2]
        gap = np.linalg.norm(expected[:, None] - shown, axis=2).min(axis=1)
        assert gap.max() < 1e-9
    assert not np.array_equal(atoms[0].get_facecolor(), atoms[1].get_facecolor())
    heights = [np.asarray(c.get_offsets())[:, 1] for c in drawn(side, PathCollection)]
    assert heights[0].max() < heights[1].min()


def test_a_large_cell_by_its_bonds():
    """Half of every bond from either atom: 0.71 Å."""
    figure = plot_structure(*twisted("graphene", 9, 8))
    collections = drawn(figure.axes[0], LineCollection)
    assert len(collections) == 2
    for lines in collections:
        begin, end = np.stack(lines.get_segments()).transpose(1, 0, 2)
        assert np.linalg.norm(end - begin, axis=1) == pytest.approx(2.46 / np.sqrt(3) / 2)


def test_the_outline_shows_the_cells_of_a_ribbon():
    structure, moire = supercells.ribbon(*twisted("MoTe2", 2, 1), 3, 1)
    figure = plot_structure(structure, moire)
    lines = [line for line in figure.axes[0].lines if line.get_color() == "black"]
    assert len(lines) == (3 + 1) + (1 + 1)


def test_strain_stands_in_the_legend():
    first, second = layers.named("graphene"), layers.named("hBN")
    cell = cells.match(first.lattice, second.lattice, [np.eye(2, dtype=int)] * 2)
    figure = plot_structure(*build.build([first, second], cell, "second"))
    mismatch = 100 * (first.lattice[0, 0] / second.lattice[0, 0] - 1)
    assert legend(figure) == ["1: graphene", f"2: hBN, strain {mismatch:+.2f} {mismatch:+.2f} %"]


def test_without_a_record():
    structure, _ = twisted("graphene", 2, 1)
    assert legend(plot_structure(structure)) == ["layer 1", "layer 2"]
    assert legend(plot_structure(replace(structure, layer=None))) == []
