"""Chern numbers of spins where Sz is not conserved."""

import numpy as np
from topology_runs import bands_of
from toymodels import bhz, kane_mele

from moireio.topology.chern import chern_number, mesh_points
from moireio.topology.spin import SpinSpace, spin_gap


def spins(model, path):
    with bands_of(model, path) as (space, links):
        k = mesh_points(links.plane, (6, 6))
        space.prepare(k)
        up, least = spin_gap(space.states, space.group, links, k)
        parts = [SpinSpace(space.states, space.group, links, which) for which in (True, False)]
        return up, least, [chern_number(part, links, (6, 6))[0].chern for part in parts]


def test_spin_chern_numbers_with_rashba_coupling(tmp_path):
    up, least, numbers = spins(kane_mele(rashba=0.1), tmp_path / "x.h5")
    assert up == 1
    assert 0.9 < least < 0.999
    assert numbers == [-1, 1]
    assert spins(kane_mele(M=0.6), tmp_path / "y.h5")[2] == [0, 0]


def test_spin_chern_numbers_of_bhz(tmp_path):
    assert spins(bhz(mixing=0.2), tmp_path / "x.h5")[2] == [-1, 1]
    assert spins(bhz(M=-5.0, mixing=0.2), tmp_path / "x.h5")[2] == [1, -1]


def test_conserved_spins_are_whole(tmp_path):
    with bands_of(bhz(), tmp_path / "x.h5") as (space, links):
        k = np.array([[0.1, 0.2, 0.0], [0.4, 0.3, 0.0]])
        space.prepare(k)
        assert np.isclose(spin_gap(space.states, space.group, links, k)[1], 1.0)
