"""What is in a picture of edge states, looked up in matplotlib's own objects."""

from dataclasses import replace

import numpy as np
from matplotlib.colors import to_hex

from moireio.plots.edges import DOWN, UP, plot_edges
from moireio.results.edges import EdgeCount, EdgeGap, EdgeStates


def example(spin=None):
    """One state that passes 0 at k = 0.5 on the low edge, one on the high edge, two of the bulk."""
    k = np.arange(10) / 10 + 0.05
    energies = np.stack([np.full(10, -1.0), k - 0.5, 0.5 - k, np.full(10, 1.0)], axis=1)
    low, high = np.zeros((10, 4)), np.zeros((10, 4))
    low[:, 1] = high[:, 2] = 1
    gap = EdgeGap(
        0.0, EdgeCount(1, None, None, 1, (0.5,)), EdgeCount(-1, None, None, 1, (0.5,)), -1, True
    )
    return EdgeStates(k, energies, low, high, (gap,), 0, 1, 8, spin, period=2.46)


def points(axes, colour):
    """k and energy of the points of a colour."""
    found = [c for c in axes.collections if len(c.get_offsets())]
    return [c.get_offsets().data for c in found if to_hex(c.get_facecolor()[0]) == colour]


def test_without_spin_low_is_red_and_high_is_blue():
    figure = plot_edges(example())
    high, low = figure.axes
    (red,) = points(low, UP)
    (blue,) = points(high, DOWN)
    assert np.allclose(red[:, 1], red[:, 0] - 0.5)
    assert np.allclose(blue[:, 1], 0.5 - blue[:, 0])
    assert not points(low, DOWN)
    assert not points(high, UP)
    assert low.get_xlim() == (0, 1)  # the crossing is in the middle
    assert low.get_title(loc="left") == "low edge, 0.000 eV: net +1"
    assert high.get_title(loc="left") == "high edge, 0.000 eV: net \N{MINUS SIGN}1"
    assert len(low.lines) == 4 + 1  # bands, and the energy
    assert low.get_xlabel() == "k along a$_1$ (2π/2.46 Å)"


def test_of_two_spins_at_one_energy_both_are_seen():
    spin = np.zeros((3, 10, 4))
    spin[2, :, 1], spin[2, :, 2] = 1, -1
    edges = example(spin)
    same = edges.energies.copy()
    same[:, 2] = same[:, 1]
    low = plot_edges(replace(edges, energies=same, low=edges.low + edges.high)).axes[1]
    red, blue = (c for c in low.collections if len(c.get_offsets()))
    assert [to_hex(c.get_facecolor()[0]) for c in (red, blue)] == [UP, DOWN]
    assert np.allclose(red.get_offsets(), blue.get_offsets())
    assert red.get_sizes()[0] > 2 * blue.get_sizes()[0]


def test_with_spin_up_is_red_and_down_is_blue():
    spin = np.zeros((3, 10, 4))
    spin[2, :5] = 1
    spin[2, 5:] = -1
    edges = example(spin)
    gap = replace(edges.gaps[0], low=EdgeCount(0, 1, -1, 2, (0.05, 0.95)), high=EdgeCount(None))
    figure = plot_edges(replace(edges, gaps=(gap,)), energy_window=(-2, 2), title="x")
    high, low = figure.axes
    for axes in (high, low):
        assert len(points(axes, UP)[0]) == len(points(axes, DOWN)[0]) == 5
    assert low.get_xlim() == (-0.5, 0.5)
    assert low.get_ylim() == (-2, 2)
    assert "net 0 (↑ +1, ↓ \N{MINUS SIGN}1)" in low.get_title(loc="left")
    assert "net ?" in high.get_title(loc="left")
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["spin up", "spin down"]
