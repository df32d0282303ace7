"""Figures of flat bands."""

import numpy as np
import pytest

from moireio.bands.flat import FlatBands
from moireio.plots.flat import plot_flat, plot_weights
from moireio.results.bands import BandStructure
from moireio.results.kpath import KPath
from moireio.system.structure import Structure


def flat(width):
    path = KPath(np.zeros((3, 3)), np.arange(3.0), np.array([0, 2]), ("G", "M"))
    energies = np.array([[-1.0, 0, 1, 2]]) + width * np.arange(3)[:, None] / 2
    return FlatBands(BandStructure(path, energies[None]), 1, 2)


def test_one_cell_is_one_panel():
    figure = plot_flat([("C28", None, flat(0.1))])
    (axes,) = figure.axes
    assert len([line for line in axes.lines if len(line.get_xdata()) == 3]) == 4
    assert axes.get_title() == "C28"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["Γ", "M"]


@pytest.mark.parametrize("count", [2, 9])
def test_a_series_has_widths_and_gaps(count):
    rows = [(f"{n}", 1.0 + n, flat(0.1 + 0.05 * n)) for n in range(count)]
    figure = plot_flat(rows)
    assert len(figure.axes) == min(count, 6) + 1
    widths = figure.axes[-1].lines[0]
    assert widths.get_xdata().tolist() == [1.0 + n for n in range(count)]
    expected = [1e3 * row.width for _, _, row in rows]
    assert widths.get_ydata() == pytest.approx(expected)


def test_weights_have_a_panel_for_each_layer():
    structure = Structure(
        np.diag([2.0, 2.0, 9.0]),
        np.array([[0, 0, 0], [1, 1, 0], [0, 1, 3.0]]),
        [6, 6, 6],
        [0, 0, 0],
        ["C"],
        [1, 1, 0],
        layer=[0, 0, 1],
    )
    figure = plot_weights(structure, np.array([0.5, 1.0, 0.5]), "2 bands")
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["layer 1: 75 %", "layer 2: 25 %"]
    assert len(panels[0].collections[0].get_offsets()) == 2 * 4


def test_weights_of_a_layer_that_stands_upright():
    """It is drawn as if it lay flat, in whatever order the vectors are."""
    flat = Structure(
        np.diag([2.0, 3.0, 9.0]), [[0, 0, 0], [1, 1.5, 0]], [6, 6], [0, 0], ["C"], [1, 1, 0]
    )
    upright = Structure(
        flat.cell[[2, 0, 1]][:, [2, 0, 1]], flat.positions[:, [2, 0, 1]], [6, 6], [0, 0], ["C"],
        [0, 1, 1],
    )  # fmt: skip
    shown = [
        plot_weights(structure, np.array([0.5, 1.0]), "").axes[0].collections[0].get_offsets()
        for structure in (flat, upright)
    ]
    np.testing.assert_allclose(shown[1], shown[0], atol=1e-12)
