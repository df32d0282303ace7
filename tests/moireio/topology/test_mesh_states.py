"""States at the k points that are asked for: solved once, and by time reversal at −k."""

import numpy as np
import pytest
from toymodels import haldane, haldane_boundary, kane_mele, random_c3

import moireio
from moireio.topology.bandgroups import BandGroup
from moireio.topology.links import Links
from moireio.topology.mesh_states import MeshStates

K = np.array([[0.2, 0.1, 0], [0.8, 0.9, 0], [1.2, 0.1, 0], [0.5, 0, 0]])


def test_every_k_is_solved_once(tmp_path):
    with moireio.open(haldane().write(tmp_path / "x.h5")) as file:
        states = MeshStates(file, [BandGroup(1, 1)])
        states.prepare(K)
        states.prepare(K[:2])
        assert not states.reverses
        assert states.solves == 3  # 1.2 is 0.2


def test_time_reversal_gives_the_states_at_minus_k(tmp_path):
    model = kane_mele()
    with moireio.open(model.write(tmp_path / "x.h5")) as file:
        group = BandGroup(1, 2)
        states = MeshStates(file, [group])
        states.prepare(K)
        assert states.reverses
        assert states.solves == 2
        for k in K:
            c, H = states.group(k, group), model.matrices(k)[0]
            assert np.allclose(c.conj().T @ c, np.eye(2))
            residual = H @ c - c @ (c.conj().T @ H @ c)
            assert np.abs(residual).max() < 1e-12


def test_overlaps_by_time_reversal(tmp_path):
    """The overlap of −k' and −k is that of k and k', whichever of each pair was solved."""
    rng = np.random.default_rng(0)
    with moireio.open(kane_mele().write(tmp_path / "x.h5")) as file:
        links = Links.from_file(file)
        group = BandGroup(1, 2)
        states = MeshStates(file, [group])
        for k in rng.random((20, 3)) * [1, 1, 0]:
            k2 = k + rng.normal(size=3) * [0.05, 0.05, 0]
            states.prepare(np.array([k, k2, -k2, -k]))
            for one, two in ((k, k2), (-k2, -k)):
                ends = [states.group(p, group) for p in (one, two)]
                expected = links.between(one, ends[0], two, ends[1])
                assert np.abs(states.overlaps(one, two, group, links) - expected).max() < 1e-12


@pytest.mark.parametrize("model", [haldane(), kane_mele(), random_c3(5), random_c3(3, spinor=True)])
def test_states_at_equivalent_k_points(model, tmp_path):
    """Turned states are states, and their overlaps those of the k points that were solved."""
    rng = np.random.default_rng(1)
    group = BandGroup(1, 2)
    with moireio.open(model.write(tmp_path / "x.h5")) as file:
        links = Links.from_file(file)
        states = MeshStates(file, [group])
        assert len(states.symmetry.operations) >= 3
        turned = 0
        for k in rng.random((6, 3)) * [1, 1, 0]:
            k2 = k + rng.normal(size=3) * [0.03, 0.03, 0]
            pairs = [(o.of_k(k), o.of_k(k2)) for o in states.symmetry.operations]
            before = states.solves
            states.prepare(np.concatenate(pairs))
            assert states.solves - before <= 2
            for one, two in pairs:
                c, (H, S) = states.group(one, group), model.matrices(one)
                assert np.allclose(c.conj().T @ S @ c, np.eye(2))
                assert np.abs(H @ c - S @ c @ (c.conj().T @ H @ c)).max() < 1e-12
                expected = links.between(one, c, two, states.group(two, group))
                assert np.abs(states.overlaps(one, two, group, links) - expected).max() < 1e-12
                back = states.overlaps(two, one, group, links)
                assert np.abs(back - expected.conj().T).max() < 1e-12
                turned += 1
        assert turned >= 18


def test_the_smallest_gap_and_its_k(tmp_path):
    with moireio.open(haldane(M=0.5).write(tmp_path / "x.h5")) as file:
        states = MeshStates(file, [BandGroup(1, 1)])
        states.prepare(np.array([[0, 0, 0], [1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.0]]))
        gap = states.smallest_gap(BandGroup(1, 1))
        assert np.isclose(gap.value, 2 * abs(0.5 - 3**1.5 * 0.1))
        assert np.isinf(states.smallest_gap(BandGroup(1, 2)).value)


def test_the_smallest_gap_is_found_between_the_k_points(tmp_path):
    """The gap of the strained model is smallest next to the corner, not at it."""
    with moireio.open(haldane(M=0.5, strain=0.02).write(tmp_path / "x.h5")) as file:
        group = BandGroup(1, 1)
        states = MeshStates(file, [group])
        states.prepare(np.array([[1 / 3, 2 / 3, 0.0]]))
        before = states.smallest_gap(group).value
        states.approach_gap(group, (np.array([0.1, 0, 0]), np.array([0, 0.1, 0])))
        after = states.smallest_gap(group).value
    assert before > 0.1
    assert np.isclose(after, 2 * (haldane_boundary(0.02) - 0.5), rtol=0.02)
