"""Figures of errors."""

import numpy as np
import pytest

from moireio.compare.hamiltonians import BandErrors, Comparison, PairErrors
from moireio.plots.compare import plot_errors, plot_series


def errors(scale=1.0, copies=1):
    means = scale * np.arange(1.0, 1 + (4 * copies) ** 2).reshape(4 * copies, -1) * 1e-3
    pairs = [
        PairErrors(species, float(means.mean()), means, 1.0, (0, 0, (0, 0, 0)), 3)
        for species in (("B", "B"), ("B", "N"), ("N", "N"))
    ]
    return Comparison(0.0, pairs, 0.0, (0, 0))


@pytest.mark.parametrize("copies", [1, 2])
def test_a_panel_for_each_pair(copies):
    labels = {name: [("s", 1), ("p", 3)] for name in "BN"}
    figure = plot_errors(errors(copies=copies), labels)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert [t.split(":")[0] for t in titles] == ["B–B", "B–N", "N–N"]
    texts = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert texts == (["s", "p"] if copies == 1 else ["s↑", "p↑", "s↓", "p↓"])


@pytest.mark.parametrize("banded", [True, False])
@pytest.mark.parametrize("angles", [(3.0, 1.0, 2.0), (None, 1.0, 2.0)])
def test_a_series_over_angles(banded, angles):
    bands = BandErrors(np.array([0.1, 0.3]), np.array([0.2, 0.4])) if banded else None
    rows = [
        {"errors": errors(n + 1.0), "bands": bands, "angle": angle, "a": f"/x/{n}.h5"}
        for n, angle in enumerate(angles)
    ]
    figure = plot_series(rows)
    assert len(figure.axes) == 1 + banded
    means = figure.axes[-1].lines[0]
    if None in angles:
        assert means.get_xdata().tolist() == [0, 1, 2]
        names = [text.get_text() for text in figure.axes[-1].get_xticklabels()]
        assert names == ["0.h5", "1.h5", "2.h5"]
    else:
        assert means.get_xdata().tolist() == [1, 2, 3]
        assert means.get_ydata()[0] == pytest.approx(1e3 * rows[1]["errors"].mean)
    if banded:
        assert figure.axes[0].lines[0].get_ydata() == pytest.approx([200, 200, 200])
