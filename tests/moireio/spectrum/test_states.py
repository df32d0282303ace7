"""S-orthonormal states, in whole multiplets."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigh

import moireio
from moireio.errors import MoireioError
from moireio.projection.mulliken import atomic_populations
from moireio.spectrum import states as module
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.states import multiplet_bounds, solve_states

K = [[1 / 3, 1 / 3, 0], [0.1, 0.27, 0], [0, 0, 0]]


def exact(file, channel, k):
    """H, S and all levels, by LAPACK."""
    spin = file.hamiltonian.meta.spin
    h = file.hamiltonian.assembler(component=channel if spin == "collinear" else None).dense(k)
    s = file.overlap.assembler(spinor=spin == "spinor").dense(k)
    return h, s, eigh(h, s, eigvals_only=True)


@pytest.mark.parametrize("name", ["gr_ab", "hbn_soc", "o2_col"])
@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_states_solve_the_problem(made, name, solver):
    """H c = E S c and cᴴ S c = 1, and no multiplet is cut at the ends."""
    with moireio.open(made[name]) as file:
        ticks, solved = [], []
        found = solve_states(
            file,
            K,
            bands=5,
            solver=solver,
            progress=lambda n, total: ticks.append((n, total)),
            solved=solved.append,
        )
        channels = 2 if name == "o2_col" else 1
        assert solved == [len(K) * channels]
        assert [(s.channel, *s.k) for s in found] == [(c, *k) for c in range(channels) for k in K]
        assert sum(n for n, _ in ticks) == len(found) == ticks[0][1]
        for s in found:
            h, overlap, levels = exact(file, s.channel, s.k)
            c, first, last = s.coefficients, s.first_band, s.first_band + len(s.energies) - 1
            assert len(s.energies) >= 5
            assert s.energies == pytest.approx(levels[first : last + 1], abs=1e-8)
            assert np.abs(h @ c - overlap @ c * s.energies).max() < 1e-6
            assert np.abs(c.conj().T @ overlap @ c - np.eye(len(s.energies))).max() < 1e-9
            assert levels[first] - levels[first - 1] > module.TOLERANCE
            assert levels[last + 1] - levels[last] > module.TOLERANCE


@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_multiplets_are_not_cut(made, solver):
    """At K the π bands of one layer touch: asked for one of them, both come, with one density."""
    with moireio.open(made["gr_ab"]) as file:
        _, _, levels = exact(file, 0, K[0])
        last = int(np.argmin(np.diff(levels[4:12]))) + 4  # the closest pair there
        gap = levels[last + 1] - levels[last]
        tolerance = 1.5 * gap + 1e-9
        for band in (last, last + 1):
            (s,) = solve_states(
                file, K[0], band_range=(band, band), tolerance=tolerance, solver=solver
            )
            assert s.first_band == last
            assert len(s.energies) == 2
        (alone,) = solve_states(file, K[0], band_range=(last, last), tolerance=gap / 2)
        assert len(alone.energies) == 1
        weights = atomic_populations(file, K[0], s.coefficients).atoms.sum(axis=0)
        (dense,) = solve_states(file, K[0], band_range=(last, last), tolerance=tolerance)
        expected = atomic_populations(file, K[0], dense.coefficients).atoms.sum(axis=0)
        assert weights == pytest.approx(expected, abs=1e-7)


def test_a_tolerance_above_all_gaps_returns_all(made):
    with moireio.open(made["gr_ab"]) as file:
        (s,) = solve_states(file, K[1], band_range=(7, 7), tolerance=1e4)
        assert s.coefficients.shape == (52, 52)
        assert s.first_band == 0


@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_energy_window(made, solver):
    """The states inside at each k, with their multiplets; none where none is inside."""
    with moireio.open(made["hbn_soc"]) as file:
        window = (file.electrons.fermi - 6.0, file.electrons.fermi)
        for s in solve_states(file, K, energy_window=window, solver=solver):
            _, _, levels = exact(file, 0, s.k)
            inside = np.flatnonzero((levels > window[0]) & (levels < window[1]))
            assert s.first_band <= inside[0]
            assert s.first_band + len(s.energies) > inside[-1]
            assert s.energies == pytest.approx(
                levels[s.first_band : s.first_band + len(s.energies)], abs=1e-8
            )
        empty = solve_states(file, K, energy_window=(-1e4, -9e3), solver=solver)
        assert [s.coefficients.shape for s in empty] == [(len(levels), 0)] * 3
        assert [s.first_band for s in empty] == [0] * 3


def test_bands_around_the_gap_without_a_fermi_level(made):
    """Other electrons than the file's move the bands that are chosen."""
    with moireio.open(made["gr_ab"]) as file:
        (s,) = solve_states(file, K[1], bands=2, electrons=10.0)
        assert (s.first_band, len(s.energies)) == (4, 2)
        (s,) = solve_states(file, K[1], bands=2, energy=-1e3)
        assert s.first_band == 0
        (s,) = solve_states(file, K[1])
        assert s.coefficients.shape == (52, 52)


def test_notes_and_refusals(made):
    with moireio.open(made["gr_ab"]) as file:
        notes = []
        choice = SolverChoice("dense", options={"overlap_cutoff": 3e-3})
        (s,) = solve_states(file, K[1], solver=choice, note=notes.append)
        assert s.coefficients.shape[1] < 52
        assert "left out up to" in notes[0]
        for wrong, text in (
            ({"bands": 2, "band_range": (1, 2)}, "exclude each other"),
            ({"band_range": (3, 52)}, "there are 52"),
            ({"bands": 60}, "there are 52"),
            ({"energy_window": (1.0, 0.0)}, "no interval"),
            ({"bands": 2, "solver": SolverChoice("dense", memory=1e4)}, "may be used"),
            ({"solver": SolverChoice("dense", memory=1e2)}, "states at 3 k points need at least"),
        ):
            with pytest.raises(MoireioError, match=text):
                solve_states(file, K, **wrong)
        for k in ([], [[0, 0]], [[0, 0, np.nan]]):
            with pytest.raises(MoireioError, match="three numbers"):
                solve_states(file, k)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=14), st.data())
def test_multiplets_against_a_plain_search(steps, data):
    """A level belongs to the range if a chain of small gaps leads there; unknown at open ends."""
    energies = np.cumsum(steps) * 1.0
    first = data.draw(st.integers(0, len(steps) - 1))
    last = data.draw(st.integers(first, len(steps) - 1))
    at_bottom, at_top = data.draw(st.booleans()), data.draw(st.booleans())
    bounds = multiplet_bounds(energies, first, last, 3.0, at_bottom, at_top)
    inside = set(range(first, last + 1))
    for _ in steps:
        for n in range(len(energies) - 1):
            if energies[n + 1] - energies[n] <= 3.0 and inside & {n, n + 1}:
                inside |= {n, n + 1}
    open_end = (0 in inside and not at_bottom) or (len(energies) - 1 in inside and not at_top)
    expected = None if open_end else (min(inside), max(inside) + 1)
    assert bounds == expected


def test_example(made, tmp_path, monkeypatch):
    (tmp_path / "graphene.h5").symlink_to(made["gr_ab"])
    monkeypatch.chdir(tmp_path)
    tests = doctest.DocTestFinder().find(solve_states, "solve_states", globs={})
    results = [doctest.DocTestRunner().run(test) for test in tests]
    assert sum(r.attempted for r in results) == 4
    assert sum(r.failed for r in results) == 0
