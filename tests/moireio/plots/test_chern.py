"""Figures of topology."""

from dataclasses import replace

import numpy as np
import pytest
from result_examples import example_chern
from toymodels import honeycomb

from moireio.errors import MoireioError
from moireio.plots.chern import plot_chern, plot_strain, wigner_seitz
from moireio.results.chern import ChernNumbers


@pytest.mark.parametrize("skew", [0, 1, -2])
def test_the_zone_of_a_hexagonal_lattice_is_a_regular_hexagon(skew):
    reciprocal = np.array([[1.0, 0.0], [0.5 + skew, np.sqrt(0.75)]])
    zone = wigner_seitz(reciprocal)
    assert zone.shape == (6, 2)
    assert np.allclose(np.linalg.norm(zone, axis=1), 1 / np.sqrt(3))


def test_curvature_and_centres_a_row_for_each_group():
    whole = example_chern().groups[1]
    numbers = ChernNumbers((whole, replace(whole, link="midpoint", channel=None)))
    figure = plot_chern(honeycomb(("B", "N")), numbers)
    maps = [axes for axes in figure.axes if axes.collections and axes.patches]
    assert [axes.get_title() for axes in maps] == [
        "bands 3–4 ↓: C = −2",
        "bands 3–4: C = −2\nwithout intra-atomic dipoles",
    ]
    patches = maps[0].collections[0]
    low, high = patches.get_clim()
    assert low == -high
    assert np.isclose(high, np.abs(whole.curvature).max())
    titles = [axes.get_title() for axes in figure.axes if axes not in maps]
    assert "winding −2, Z$_2$ = 1, spin C = −0.5" in titles


def test_too_many_groups():
    numbers = ChernNumbers(example_chern().groups * 4)
    with pytest.raises(MoireioError, match="8 groups are too many"):
        plot_chern(honeycomb(("B", "N")), numbers)


def test_a_series_with_its_transition():
    whole = example_chern().groups[1]
    rows = [
        (f"{n}.h5", ChernNumbers((replace(whole, strain=s, chern=c, direct_gap=g),)))
        for n, (s, c, g) in enumerate([(0.0, -1, 0.04), (0.002, -1, 0.02), (0.006, 0, 0.06)])
    ]
    top, bottom = plot_strain(rows).axes
    assert [text.get_text() for text in top.texts] == ["0.300 %"]
    line = max(bottom.lines, key=lambda line: len(line.get_xdata()))
    assert np.allclose(line.get_xdata(), [0, 0.2, 0.3, 0.6])
    assert np.allclose(line.get_ydata(), [40, 20, 0, 60])
