"""Which bands are wanted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import moireio
from moireio.errors import MoireioError
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.selection import (
    around,
    centred_range,
    entering_range,
    mean_below,
    occupied_bands,
)
from moireio.spectrum.sums import bloch_sums


@given(st.integers(1, 200), st.data())
def test_ranges_are_centred_where_they_fit(n, data):
    count = data.draw(st.integers(1, n))
    below = data.draw(st.floats(0, n))
    first, last = centred_range(n, count, below)
    assert last - first + 1 == count
    assert 0 <= first <= last < n
    if count / 2 + 1 <= below <= n - count / 2 - 1:
        assert abs((first + last + 1) / 2 - below) <= 0.5


@pytest.mark.parametrize("count", [0, 6])
def test_more_bands_than_there_are(count):
    with pytest.raises(MoireioError, match="there are 5"):
        centred_range(5, count, 2)


def test_ranges_of_a_file(made):
    with moireio.open(made["gr_ab"]) as file:
        path = moireio.make_path(file.structure, "GMK", 5)
        levels = moireio.solve_bands(file, path).energies[0]
        sums, overlap, _ = bloch_sums(file)
        with EigenproblemSet(sums, overlap, path.k, SolverChoice("dense")) as problems:
            energy = file.electrons.fermi + 1.0
            assert mean_below(problems, energy) == (levels[[0, 1, 2, 4]] < energy).sum() / 4
            window = energy - 2.0, energy
            enters = ((levels > window[0]) & (levels < window[1])).any(axis=0).nonzero()[0]
            assert entering_range(problems, window) == (enters[0], enters[-1])
            assert around(problems, 4, None, file) == (6, 9)
            assert around(problems, 4, None, file, electrons=4.0) == (0, 3)
            assert around(problems, 4, -1e3, file) == (0, 3)
            for wrong in ((1.0, 1.0), (2.0, float("nan"))):
                with pytest.raises(MoireioError, match="no interval"):
                    entering_range(problems, wrong)
            with pytest.raises(MoireioError, match="no energy"):
                mean_below(problems, float("inf"))


def test_occupied_bands(made):
    with moireio.open(made["gr_ab"]) as file:
        assert occupied_bands(file) == 8
        assert occupied_bands(file, 3.0) == 1.5
    with moireio.open(made["hbn_soc"]) as file:
        assert occupied_bands(file) == 8
