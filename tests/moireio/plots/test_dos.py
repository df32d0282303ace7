"""What is in a picture of a density of states, looked up in matplotlib's own objects."""

from dataclasses import replace

import numpy as np
import pytest

from moireio.dos.report import dos_json, dos_table
from moireio.errors import MoireioError
from moireio.plots.dos import plot_dos, pretty
from moireio.results.dos import DensityOfStates


def example(groups=3, spins=1):
    energies = np.linspace(-10, 10, 401)
    shares = np.arange(1, groups + 1) / np.arange(1, groups + 1).sum()
    total = np.array([np.exp(-((energies - s) ** 2) / 8) for s in range(spins)])
    return DensityOfStates(
        energies,
        total,
        total[:, None] * shares[:, None],
        labels=tuple(f"C{n} pz" for n in range(groups)),
        projection=("atom,orbital",) * groups,
        fermi=1.0,
    )


def legend(figure):
    return [t.get_text() for t in figure.legends[0].get_texts()]


def test_lines_and_levels():
    figure = plot_dos(example())
    axes = figure.axes[0]
    assert axes.get_xlim() == (-6, 6)
    assert axes.get_ylim()[0] == 0
    assert legend(figure) == ["total", "C0 p$_{z}$", "C1 p$_{z}$", "C2 p$_{z}$"]
    assert "E$_F$" in axes.get_xlabel()
    total = next(n for n in axes.lines if len(n.get_xdata()) > 2)
    assert total.get_xdata()[np.argmax(total.get_ydata())] == pytest.approx(-1.0)
    upright = plot_dos(example(), vertical=True, energy_window=(-3, 2)).axes[0]
    assert upright.get_ylim() == (-3, 2)
    assert "DOS" in upright.get_xlabel()
    assert plot_dos(example(), zero=-2.5).axes[0].get_xlabel() == "E + 2.5 eV (eV)"


def test_spins_point_both_ways():
    figure = plot_dos(example(2, 2))
    low, high = figure.axes[0].get_ylim()
    assert low == pytest.approx(-high)
    assert {t.get_text() for t in figure.axes[0].texts} == {"spin up", "spin down"}


def test_many_groups_and_hidden_lines():
    figure = plot_dos(example(30))
    assert legend(figure)[-1] == "20 smaller"
    same = replace(example(2), projected=np.repeat(example(1).projected, 2, axis=1))
    styles = [n.get_linestyle() for n in plot_dos(same).axes[0].lines if len(n.get_xdata()) > 2]
    assert styles == ["-", "-", "--"]


def test_refusals():
    mixed = replace(example(), projection=("atom", "atom", "shell"))
    with pytest.raises(MoireioError, match="cannot be stacked"):
        plot_dos(mixed, stacked=True)
    with pytest.raises(MoireioError, match="ends before"):
        plot_dos(example(), energy_window=(50, 60))
    with pytest.raises(MoireioError, match="valence band maximum is unknown"):
        plot_dos(example(), zero="vbm")


def test_labels():
    assert pretty("Mo dx2-y2") == "Mo d$_{x^2−y^2}$"
    assert pretty("C pz layer 1") == "C p$_{z}$ layer 1"
    assert pretty("C s") == "C s"
    assert pretty("p layer 0 up") == "p layer 0 up"


def test_tables():
    dos = example(2, 2)
    text = dos_table(dos)
    assert "# energy  total_up  total_down  C0_pz_up  C0_pz_down" in text
    assert np.loadtxt(text.splitlines()).shape == (401, 7)
    assert '"unit": "1/eV"' in dos_json(replace(dos, error=dos.total))
