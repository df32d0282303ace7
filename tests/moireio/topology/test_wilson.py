"""Wannier centres: windings, Z2, and centres that are known."""

import numpy as np
import pytest
from topology_runs import bands_of
from toymodels import GAPPED, bhz, gaussians, haldane, kane_mele, random_c3

from moireio.topology.wilson import WilsonLoops, largest_gap


@pytest.mark.parametrize("case", [(23, False, 1), (119, False, 1), (20, True, 2)])
def test_the_sum_of_the_centres_winds_as_the_chern_number(case, tmp_path):
    seed, spinor, filled = case
    model = random_c3(seed, spinor=spinor, filled=filled)
    with bands_of(model, tmp_path / "x.h5") as (space, links):
        assert WilsonLoops(space, links, 9).winding(9) == GAPPED[case]


def test_windings_in_a_left_handed_cell(tmp_path):
    with bands_of(haldane(0.4).left_handed(), tmp_path / "x.h5") as (space, links):
        assert WilsonLoops(space, links, 8).winding(8) == -1


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (kane_mele(), 1),
        (kane_mele(M=0.5), 0),
        (bhz(mixing=0.2), 1),
        (bhz(M=-5.0, mixing=0.2), 1),
        (bhz(M=1.0, mixing=0.2), 0),
    ],
)
def test_z2_of_models(model, expected, tmp_path):
    with bands_of(model, tmp_path / "x.h5") as (space, links):
        z2, gap = WilsonLoops(space, links, 8).z2(6)
    assert z2 == expected
    assert gap > 0.3


def test_centres_of_atoms_far_apart_are_their_positions(tmp_path):
    model = haldane(M=50.0, phi=0.0).other_origin([0.3, 0.2, 0.0])
    place = (model.structure.positions @ np.linalg.inv(model.structure.cell))[1, 0]
    with bands_of(model, tmp_path / "x.h5") as (space, links):
        loops = WilsonLoops(space, links, 6)
        found = [loops.centres(k2)[0] for k2 in (0.0, 0.3)]
    assert np.allclose(found, place, atol=1e-3)


def test_centres_with_positions_are_those_of_exact_integrals(tmp_path):
    model = gaussians()
    with bands_of(model, tmp_path / "x.h5") as (space, links):
        loops = WilsonLoops(space, links, 40)
        found = loops.centres(0.2)[0]
        turn = 1.0
        for n in range(40):
            k = links.plane.k([n / 40, (n + 1) / 40], 0.2)
            matrix = space.at(k[0]).conj().T @ model.link(*k) @ space.at(k[1])
            turn = turn * np.linalg.det(matrix)
    exact = -np.angle(turn) / (2 * np.pi) % 1
    assert abs(found - exact) < 5e-4


def test_the_largest_gap_on_a_circle():
    assert np.allclose(largest_gap(np.array([0.1, 0.2, 0.6])), (0.85, 0.5))
    assert np.allclose(largest_gap(np.array([0.3])), (0.8, 1.0))
