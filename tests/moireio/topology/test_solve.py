"""The topology of block files in one call."""

import numpy as np
import pytest
from toymodels import GAPPED, gaussians, haldane, kane_mele, random_c3

import moireio
from moireio.errors import MoireioError
from moireio.topology.bandgroups import BandGroup
from moireio.topology.chern_report import agreement_object
from moireio.topology.solve import solve_chern


def test_several_groups_share_their_solutions(tmp_path):
    with moireio.open(haldane(M=0.3).write(tmp_path / "x.h5")) as file:
        found = solve_chern(file, [BandGroup(1, 1), BandGroup(2, 2)], (6, 6))
    lower, upper = found.groups
    assert (lower.chern, upper.chern) == (lower.winding, upper.winding) == (-1, 1)
    assert lower.solves == upper.solves < 2 * 108
    assert lower.link == "midpoint"
    assert lower.z2 is None
    assert np.isclose(lower.direct_gap, 2 * (3**1.5 * 0.1 - 0.3))
    zone = (2 * np.pi) ** 2 / (2.46**2 * np.sqrt(0.75))
    assert np.isclose(lower.curvature.mean() * zone, -2 * np.pi)


def test_kane_and_meles_model(tmp_path):
    notes = []
    with moireio.open(kane_mele().write(tmp_path / "x.h5")) as file:
        one = solve_chern(file, [BandGroup(1, 2)], (4, 4), note=notes.append).groups[0]
    assert (one.chern, one.winding, one.z2, one.spin_chern) == (0, 0, 1, -1)
    assert one.c3_mod3 == 0
    assert (one.chern_up - one.c3_mod3_up) % 3 == (one.chern_down - one.c3_mod3_down) % 3 == 0
    ways = agreement_object(one)
    assert (ways["c3_up"], ways["fukui_up"]) == (one.c3_mod3_up, one.chern_up)
    assert one.chern_up == -one.chern_down != 0
    assert notes == []


def test_positions_are_used_unless_they_are_not_wanted(tmp_path):
    with moireio.open(gaussians().write(tmp_path / "x.h5")) as file:
        kinds = [
            solve_chern(file, [BandGroup(1, 1)], (4, 4), position=p).groups[0]
            for p in (True, False)
        ]
    assert [one.link for one in kinds] == ["position", "midpoint"]
    assert [one.chern for one in kinds] == [-1, -1]


def test_errors_name_the_file(tmp_path):
    path = haldane(M=3**1.5 * 0.1).write(tmp_path / "x.h5")
    with moireio.open(path) as file, pytest.raises(MoireioError, match=r"x\.h5.*closes"):
        solve_chern(file, [BandGroup(1, 1)], (6, 6))


@pytest.mark.parametrize("case", [(85, False, 2), (20, True, 2)])
def test_plaquettes_centres_and_c3_agree(case, tmp_path):
    seed, spinor, last = case
    with moireio.open(random_c3(seed, spinor=spinor).write(tmp_path / "x.h5")) as file:
        one = solve_chern(file, [BandGroup(1, last)], (6, 6)).groups[0]
    assert one.chern == one.winding == GAPPED[case]
    assert (one.chern - one.c3_mod3) % 3 == 0


@pytest.mark.parametrize(("seed", "last"), [(119, 1), (85, 2)])
def test_a_chern_number_of_three(seed, last, tmp_path):
    """Shells s, p, d and s, p, not orthogonal: the conjugates of models with −3."""
    model = random_c3(seed).conjugated()
    with moireio.open(model.write(tmp_path / "x.h5")) as file:
        one = solve_chern(file, [BandGroup(1, last)], (6, 6)).groups[0]
    assert (one.chern, one.winding, one.c3_mod3) == (3, 3, 0)


def test_without_a_threefold_axis_c3_is_not_compared(tmp_path):
    notes = []
    with moireio.open(haldane(M=0.3, strain=0.01).write(tmp_path / "x.h5")) as file:
        one = solve_chern(file, [BandGroup(1, 1)], (4, 4), note=notes.append).groups[0]
    assert (one.chern, one.c3_mod3) == (-1, None)
    assert len(notes) == 1
    assert "no threefold axis" in notes[0]
