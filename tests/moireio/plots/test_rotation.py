"""The figure of Chern numbers modulo 3."""

import numpy as np
from toymodels import haldane, of_both_spins

import moireio
from moireio.plots.rotation import COLOURS, plot_rotation
from moireio.topology.bandgroups import BandGroup
from moireio.topology.rotation import threefold_eigenvalues


def drawn(figure):
    """Text and colour of the squares, and the place of each within the panel."""
    figure.canvas.draw()
    (axes,) = figure.axes
    box = axes.get_window_extent()
    squares = [line for line in axes.lines if line.get_marker() == "s"]
    places = []
    for line in squares:
        place = line.get_transform().transform((line.get_xdata()[0], line.get_ydata()[0]))
        places.append((place - box.p0) / (box.p1 - box.p0))
    texts = [text.get_text() for text in axes.texts]
    return texts, [line.get_color() for line in squares], np.array(places)


def eigenvalues(model, path):
    with moireio.open(model.write(path)) as file:
        return threefold_eigenvalues(file, BandGroup(1, 1))


def test_both_spins_are_drawn_side_by_side(tmp_path):
    layers = haldane(M=0.2), haldane(M=0.2, phi=-np.pi / 2)
    result = eigenvalues(of_both_spins(*layers, 0.3, 2), tmp_path / "x.h5")
    figure = plot_rotation([("x.h5", result)])
    texts, colours, places = drawn(figure)
    assert texts == ["−1↑", "1↓"]
    assert colours == [COLOURS[-1], COLOURS[1]]
    assert places[0, 0] < places[1, 0]
    assert places[0, 1] == places[1, 1]
    label = figure.axes[0].yaxis.label.get_window_extent()
    assert label.y0 >= 0
    assert label.y1 <= figure.bbox.height
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["1"]


def test_a_series_lies_inside_the_panel(tmp_path):
    one = eigenvalues(haldane(M=0.2), tmp_path / "a.h5")
    other = eigenvalues(haldane(M=0.7), tmp_path / "b.h5")
    texts, colours, places = drawn(plot_rotation([("a.h5", one), ("b.h5", other)]))
    assert texts == ["−1", "0"]
    assert colours == [COLOURS[-1], COLOURS[0]]
    assert (places > 0.05).all()
    assert (places < 0.95).all()
