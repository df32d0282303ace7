"""Levels of a set of eigenproblems, with what is kept of their states."""

import numpy as np
import pytest

import moireio
from moireio.errors import MoireioError
from moireio.spectrum.checkpoint import Checkpoint
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.levels import check_result, solve_levels
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.sums import bloch_sums

K = np.array([[0, 0, 0], [0.1, 0.2, 0], [0.5, 0, 0]])


def norms(problem, energies, states):
    """The norm of every state without S, as an example of a reduction."""
    return np.linalg.norm(states, axis=0)[:, None]


@pytest.fixture
def oxygen(made):
    with moireio.open(made["o2_col"]) as file:
        yield bloch_sums(file)[:2]


def test_channels_ranges_and_reductions(oxygen):
    sums, overlap = oxygen
    with EigenproblemSet(sums, overlap, K, SolverChoice("dense"), states=True) as problems:
        n_orbitals = problems.shape[2]
        every, none = solve_levels(problems)
        assert every.shape == (2, 3, n_orbitals)
        assert none is None
        ticks = []
        some, states = solve_levels(
            problems,
            (2, 4),
            channels=[1],
            columns=(n_orbitals, complex),
            progress=lambda steps, total: ticks.append((steps, total)),
        )
        assert some == pytest.approx(every[1:, :, 2:5], abs=1e-9)
        assert states.shape == (1, 3, 3, n_orbitals)
        assert ticks == [(1, 3)] * 3
        reduced, kept = solve_levels(problems, (2, 4), columns=(1, float), reduce=norms)
        assert reduced[1] == pytest.approx(some[0], abs=1e-9)
        assert kept[1, ..., 0] == pytest.approx(np.linalg.norm(states[0], axis=-1), abs=1e-7)


def test_as_many_levels_as_there_are_at_every_k(made):
    """A cutoff of S leaves different numbers of levels: the fewest are returned, none is NaN."""
    with moireio.open(made["gr_ab"]) as file:
        sums, overlap, _ = bloch_sums(file)
        choice = SolverChoice("dense", options={"overlap_cutoff": 3e-3})
        with EigenproblemSet(sums, overlap, K, choice) as problems:
            energies, _ = solve_levels(problems)
            counts = [
                len(levels) for _, levels, _ in problems.levels([(0, n) for n in (0, 1, 2)], None)
            ]
    assert energies.shape == (1, 3, min(counts))
    assert np.isfinite(energies).all()


def test_finished_points_are_not_solved_again(oxygen, tmp_path):
    sums, overlap = oxygen
    path = str(tmp_path / "r.part.jsonl")
    with EigenproblemSet(sums, overlap, K, SolverChoice("dense"), states=True) as problems:
        kept = Checkpoint(path, {}, False)
        first, values = solve_levels(
            problems, (0, 3), columns=(1, float), reduce=norms, checkpoint=kept
        )
        first, values = first.copy(), np.array(values)
        kept.close(False)
        again = Checkpoint(path, {}, True)
        assert len(again.finished) == 6
        ticks = []

        def fail(*_):
            pytest.fail("solved again")

        second, restored = solve_levels(
            problems,
            (0, 3),
            columns=(1, float),
            reduce=fail,
            checkpoint=again,
            progress=lambda steps, total: ticks.append((steps, total)),
        )
        assert (second == first).all()
        assert (restored == values).all()
        assert ticks == [(6, 6)]
        again.close(True)
    assert list(tmp_path.iterdir()) == []


def test_results_that_do_not_fit():
    check_result(100, 800, "things", "choose fewer")
    with pytest.raises(MoireioError, match=r"things need .* \(choose fewer, or raise `memory`"):
        check_result(101, 800, "things", "choose fewer")
