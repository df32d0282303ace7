"""What is in a figure, looked up in matplotlib's own objects."""

from dataclasses import replace

import numpy as np
import pytest

import moireio
from moireio.errors import MoireioError
from moireio.plots.bands import check_format, save


@pytest.fixture
def bands(made):
    with moireio.open(made["gr_ab"]) as file:
        yield moireio.solve_bands(file, moireio.make_path(file.structure, "GM,KG", 21))


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
    distance = bands.path.distance
    figure = moireio.plot_bands(
        model, [(distance, bands.energies - bands.fermi)], labels=["model", "DFT"]
    )
    drawn = lines_of(figure)
    assert drawn[0].get_linestyle() == "None"
    assert drawn[-1].get_linestyle() == "-"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["model", "DFT"]


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
