"""The figure of a relaxed bilayer."""

from dataclasses import replace

import numpy as np
import pytest

from moireio.moire import build, cells, layers
from moireio.plots.relaxation import draw_relaxation, plot_relaxation
from moireio.relax.analysis import analyse


@pytest.fixture(scope="module")
def relaxed():
    layer = layers.named("graphene")
    before, moire = build.build([layer] * 2, cells.from_index(layer.lattice, layer.lattice, 6, 7))
    fractional = before.positions @ np.linalg.inv(before.cell)
    positions = before.positions.copy()
    positions[:, 0] += 0.05 * (before.layer - 0.5) * np.sin(2 * np.pi * fractional[:, 1])
    positions[:, 2] += 0.1 * (before.layer - 0.5) * np.cos(2 * np.pi * fractional[:, 0])
    after = replace(before, positions=positions)
    return before, after, analyse(before, after, moire)


def test_panels_hold_the_fields(relaxed):
    before, after, analysis = relaxed
    figure = plot_relaxation(before, after, analysis)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert len(panels) == 6
    distances = panels[0].collections[0].get_array()
    assert distances.max() == pytest.approx(analysis.grid.distances.max())
    assert distances.min() == pytest.approx(analysis.grid.distances.min())
    displaced = panels[1].collections[0].get_array()
    assert displaced.max() == pytest.approx(0.025, rel=0.1)
    arrows = panels[1].collections[1]
    assert np.abs(arrows.V).max() < 1e-3
    assert arrows.U.max() == pytest.approx(0.025, rel=0.1)
    twist = panels[2].collections[0].get_array()
    assert twist.mean() == pytest.approx(abs(analysis.angle), abs=0.02)
    names = {text.get_text() for text in panels[0].texts}
    assert {"AA", "AB", "BA", "SP"} <= names


def test_a_layer_that_did_not_move_is_drawn(relaxed, tmp_path):
    before, _, _ = relaxed
    path = tmp_path / "rigid.png"
    draw_relaxation(before, before, analyse(before, before), str(path))
    assert path.read_bytes().startswith(b"\x89PNG")
