"""States of ribbons: weights add up, degenerate states are turned to one edge each, spin."""

import numpy as np
import pytest
import toymodels

import moireio
from moireio.topology.ribbon import cut_ribbon
from moireio.topology.states import EdgeRows, of_one_edge, weighed


@pytest.fixture
def kane_mele(tmp_path):
    with moireio.open(toymodels.kane_mele(M=0.0).write(tmp_path / "x.h5")) as file:
        ribbon = cut_ribbon(file, 16, 0)
    k = np.array([0.0, 0.48, 0.0])
    energies, states = np.linalg.eigh(ribbon.sums[0].dense(k))
    return EdgeRows(ribbon), k, energies, states


def test_degenerate_states_are_turned_to_one_edge_each(kane_mele):
    rows, k, energies, states = kane_mele
    rng = np.random.default_rng(0)
    middle = slice(len(energies) // 2 - 2, len(energies) // 2)  # one of either edge
    assert np.ptp(energies[middle]) < 1e-6
    turn, _ = np.linalg.qr(rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2)))
    states[:, middle] = states[:, middle] @ turn
    found = weighed(rows, k, energies, states, 0)
    assert sorted(found.low[middle].round(2)) == pytest.approx([0, found.low.max().round(2)])
    assert np.abs(found.spin[2, middle]).min() > 0.8
    assert found.spin[2, middle].sum() == pytest.approx(0, abs=1e-6)
    assert np.allclose(found.states.conj().T @ found.states, np.eye(len(energies)))


def test_near_degenerate_states_keep_apart_what_h_keeps_apart(kane_mele):
    rows, k, energies, states = kane_mele
    n = len(energies) // 2
    split = energies.copy()
    split[n - 2 : n + 2] += [-0.001, 0.001, -0.001, 0.001]
    mixed = states.copy()
    for pair in ([n - 2, n - 1], [n, n + 1]):
        own = weighed(rows, k, energies, states, 0).states[:, pair]
        mixed[:, pair] = own @ np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    found = of_one_edge(rows, weighed(rows, k, split, mixed, 0), 0.5, 0)
    difference = (found.low - found.high)[n - 2 : n + 2]
    assert np.abs(difference).min() > 0.8
    assert found.energies[n - 2 : n + 2].sum() == pytest.approx(split[n - 2 : n + 2].sum())
    # at either edge one state below and one above, as H has it
    assert difference[:2].sum() == pytest.approx(0, abs=0.1)


def test_spin_of_a_rotated_state(kane_mele):
    rows, k, _, states = kane_mele
    up = np.zeros(len(states))
    up[rows.up[3]] = 1
    down = np.zeros(len(states))
    down[rows.down[3]] = 1
    made = np.stack([up, (up + down) / np.sqrt(2), (up + 1j * down) / np.sqrt(2)], axis=1)
    found = weighed(rows, k, np.arange(3.0), made, 5)
    assert np.allclose(found.spin, [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert found.below(1.5) == 7
