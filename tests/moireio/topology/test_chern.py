"""Chern numbers of models that are known, and conditions on plaquettes."""

from dataclasses import replace

import numpy as np
import pytest
from topology_runs import RandomPhases, bands_of
from toymodels import GAPPED, haldane, kane_mele, random_c3

import moireio
from moireio.errors import MoireioError
from moireio.topology.bandgroups import BandGroup
from moireio.topology.chern import BandSpace, FluxMesh, UnresolvedError, chern_number
from moireio.topology.links import Links
from moireio.topology.mesh_states import MeshStates
from moireio.topology.solve import solve_chern

EDGE = 3**1.5 * 0.1
BOND = ((0, 1, (0, 0, 0)), (1, 0, (0, 0, 0)))


@pytest.mark.parametrize(
    ("M", "phi", "expected"),
    [
        (0.93 * EDGE, np.pi / 2, -1),
        (1.07 * EDGE, np.pi / 2, 0),
        (-1.07 * EDGE, np.pi / 2, 0),
        (0.93 * EDGE * np.sin(0.6), 0.6, -1),
        (1.07 * EDGE * np.sin(0.6), 0.6, 0),
        (-0.93 * EDGE, -np.pi / 2, 1),
    ],
)
def test_phases_of_haldanes_model(M, phi, expected, tmp_path):
    with bands_of(haldane(M, phi=phi), tmp_path / "x.h5") as (space, links):
        coarse, fine = chern_number(space, links, (4, 4))
    assert coarse.chern == fine.chern == expected
    assert np.isclose(coarse.flux.sum(), 2 * np.pi * expected)
    assert coarse.least_link > 0.7
    assert coarse.most_flux < np.pi / 2


def undivided(space, links, shape):
    """Fukui's sum without conditions."""
    total = 0.0
    plane = links.plane
    for a, b in np.ndindex(shape):
        x = (np.array([a, a + 1, a + 1, a]) / shape[0], np.array([b, b, b + 1, b + 1]) / shape[1])
        k = plane.k(*x)
        space.prepare(k)
        turn = 1.0
        for n in range(4):
            m = (n + 1) % 4
            link = links.between(k[n], space.at(k[n]), k[m], space.at(k[m]))
            turn = turn * np.linalg.det(link)
        total -= np.angle(turn)
    return round(total / (2 * np.pi))


def test_a_coarse_mesh_that_is_wrong_is_noticed(tmp_path):
    with bands_of(haldane(0.96 * EDGE), tmp_path / "x.h5") as (space, links):
        assert undivided(space, links, (5, 5)) == 0
        mesh = FluxMesh((5, 5), space, links)
    assert mesh.chern == -1
    assert mesh.divided > 0


@pytest.mark.parametrize("case", [(23, False, 1), (119, False, 1), (20, True, 2)])
def test_random_models_with_high_chern_numbers(case, tmp_path):
    seed, spinor, filled = case
    model = random_c3(seed, spinor=spinor, filled=filled)
    with bands_of(model, tmp_path / "x.h5") as (space, links):
        mesh = FluxMesh((9, 9), space, links)
    assert mesh.chern == GAPPED[case]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.left_handed(),
        lambda m: m.other_images([[2, -1, 0], [0, 1, 0]]),
        lambda m: m.other_origin([0.2, 1.3, -0.4]),
        lambda m: m.other_order([1, 0]),
    ],
)
def test_chern_numbers_do_not_depend_on_choices(change, tmp_path):
    with bands_of(change(random_c3(23, filled=1)), tmp_path / "x.h5") as (space, links):
        assert FluxMesh((6, 6), space, links).chern == 2


def test_chern_numbers_do_not_depend_on_phases(tmp_path):
    with bands_of(random_c3(20, spinor=True), tmp_path / "x.h5") as (space, links):
        expected = FluxMesh((6, 6), space, links)
        turned = FluxMesh((6, 6), RandomPhases(space), links)
    assert turned.chern == expected.chern == -2
    assert np.abs(turned.flux - expected.flux).max() < 1e-10


def test_a_closed_gap_is_refused_with_its_k(tmp_path):
    closed = pytest.raises(UnresolvedError, match=r"gap .* closes at k = \(0.33333, 0.66667")
    with bands_of(haldane(EDGE), tmp_path / "x.h5") as (space, links), closed:
        chern_number(space, links, (6, 6))


def test_a_gap_closed_between_the_k_points_is_refused(tmp_path):
    """Dirac points of graphene whose bonds are not equal lie off K."""
    model = haldane(M=0.0, t2=0.0)
    changed = {k: 0.8 * h if k in BOND else h for k, h in model.hamiltonian.items()}
    model = replace(model, hamiltonian=changed)
    poor = pytest.raises(UnresolvedError, match=r"links .* stay poor; the smallest gap")
    with bands_of(model, tmp_path / "x.h5") as (space, links), poor:
        chern_number(space, links, (5, 5))


@pytest.mark.parametrize("shape", [(12, 12), (10, 10)])
def test_bands_that_meet_at_k_are_refused_before_the_mesh_is_solved(shape, tmp_path):
    """The mesh would refuse them too."""
    with bands_of(haldane(EDGE), tmp_path / "x.h5") as (space, links):
        with pytest.raises(UnresolvedError, match=r"closes at k = \(0\.33333, 0\.66667"):
            chern_number(space, links, shape)
        assert space.states.solves <= 8
        with pytest.raises(UnresolvedError):
            FluxMesh(shape, space, links)
        assert space.states.solves > 50


def test_gaps_that_no_plaquette_resolves_are_refused_before_the_mesh_is_solved(made):
    """Two layers of graphene, 0.07 meV at K; no group is solved before all were looked at."""
    with moireio.open(made["gr_ab"]) as file:
        groups = [BandGroup(1, 52), BandGroup(1, 8)]
        counts = []
        states = MeshStates(file, groups, progress=lambda steps, total: counts.append(total))
        space, links = BandSpace(states, groups[1]), Links.from_file(file)
        with pytest.raises(UnresolvedError, match=r"bands: links .* stay poor; .* 0\.0"):
            chern_number(space, links, (12, 12))
        assert states.solves < 50
        assert counts == []
        with pytest.raises(UnresolvedError, match=r"links .* stay poor"):
            FluxMesh((12, 12), space, links)
        assert states.solves > 100
        assert counts
        started = []
        with pytest.raises(MoireioError, match="bands 1:8: links"):
            solve_chern(file, groups, progress=lambda steps, total: started.append(total))
        assert started == []


def test_kramers_pairs_cannot_be_cut(tmp_path):
    closed = pytest.raises(UnresolvedError, match="closes at k = ")
    with bands_of(kane_mele(), tmp_path / "x.h5", last=1) as (space, links), closed:
        chern_number(space, links, (4, 4))
