"""What is in a figure, looked up in matplotlib's own objects."""

from dataclasses import replace

import numpy as np
import pytest

import moireio
from moireio.bands.overlay import Overlay
from moireio.errors import MoireioError
from moireio.plots.bands import check_format, save


@pytest.fixture
def bands(made):
    with moireio.open(made["gr_ab"]) as file:
        yield moireio.solve_bands(file, moireio.make_path(file.structure, "GM,KG", 21))


def over(bands, source="dft"):
    """The same bands as an overlay."""
    energies = bands.energies - bands.fermi
    return Overlay(bands.path.distance, energies, bands.path.breaks, source)


def lines_of(figure):
    return [n for n in figure.axes[0].lines if len(n.get_xdata()) > 2]


def test_lines_corners_and_zero(bands):
    figure = moireio.plot_bands(bands, energy_window=(-3, 3))
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["Γ", "M|K", "Γ"]
    assert axes.get_ylim() == (-3, 3)
    drawn = lines_of(figure)
    assert len(drawn) == 2 * 52  # a broken path is not joined
    first = drawn[0].get_ydata() + bands.fermi
    assert first == pytest.approx(bands.energies[0, : bands.path.breaks[0], 0])
    assert "E$_F$" in axes.get_ylabel()
    top = moireio.plot_bands(bands, zero="vbm").axes[0]
    assert "VBM" in top.get_ylabel()


def test_models_are_dots_and_the_reference_lines(bands):
    model = replace(bands, source="model")
    figure = moireio.plot_bands(model, [over(bands)], labels=["model", "DFT"])
    drawn = lines_of(figure)
    assert drawn[0].get_linestyle() == "None"
    assert drawn[-1].get_linestyle() == "-"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["model", "DFT"]


def test_lines_of_an_overlay_end_at_its_breaks(bands):
    drawn = lines_of(moireio.plot_bands(replace(bands, source="model"), [over(bands)]))[-104:]
    ends = {(n.get_xdata()[0], n.get_xdata()[-1]) for n in drawn}
    distance, (jump,) = bands.path.distance, bands.path.breaks
    assert ends == {(distance[0], distance[jump - 1]), (distance[jump], distance[-1])}


def test_several_overlays_differ(bands):
    four = [over(bands) for _ in range(4)]
    for base in (bands, replace(bands, source="model")):
        figure = moireio.plot_bands(base, four, labels=["a", "b", "c", "d", "e $x"])
        handles = figure.legends[0].legend_handles
        assert len({n.get_color() for n in handles}) == 5
        if base is bands:
            assert len({n.get_marker() for n in handles}) == 5
        assert figure.legends[0].get_texts()[-1].get_text() == "e $x"


def test_marks_of_a_long_overlay_are_thinned_and_take_turns(bands):
    distance = np.linspace(0, bands.path.distance[-1], 300)
    one = Overlay(distance, np.zeros((1, 300, 1)), np.zeros(0, int))
    axes = moireio.plot_bands(bands, [one, one]).axes[0]
    first, second = (n.get_xdata() for n in axes.lines if n.get_linestyle() == "None")
    assert 30 < len(first) <= 70
    assert not set(first) & set(second)


def test_two_spins_have_a_legend(made):
    with moireio.open(made["o2_col"]) as file:
        bands = moireio.solve_bands(file, moireio.make_path(file.structure, "GX", 5))
    figure = moireio.plot_bands(bands)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["spin up", "spin down"]


def test_wide_bands_are_cut_and_unknown_levels_refused(bands):
    assert moireio.plot_bands(bands).axes[0].get_ylim() == (-6, 6)
    assert moireio.plot_bands(bands, zero="none").axes[0].get_ylim()[1] > 100
    with pytest.raises(MoireioError, match="Fermi level is unknown"):
        moireio.plot_bands(replace(bands, fermi=None))


def test_saving(bands, tmp_path):
    save(moireio.plot_bands(bands), str(tmp_path / "x.svg"))
    assert b"<svg" in (tmp_path / "x.svg").read_bytes()
    with pytest.raises(MoireioError, match="no known format of figures"):
        check_format("x.gif")
    with pytest.raises(MoireioError, match="cannot be written"):
        save(moireio.plot_bands(bands), str(tmp_path / "absent" / "x.png"))
    assert np.array_equal([p.name for p in tmp_path.iterdir()], ["x.svg"])
