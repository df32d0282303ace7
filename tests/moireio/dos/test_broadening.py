"""Densities from given levels: every state is kept, by Gaussians and in simplices."""

import numpy as np
import pytest

from moireio.dos.broadening import gaussian_dos, simplex_dos, volume_below
from moireio.kspace.mesh import KMesh


def test_volume_below():
    rng = np.random.default_rng(0)
    for size in (2, 3, 4, 5):
        values = np.sort(rng.normal(size=(30, size)), axis=1)
        points = rng.dirichlet(np.ones(size), size=40000)
        sampled = np.array([(points @ v < 0).mean() for v in values])
        assert np.abs(volume_below(values) - sampled).max() < 0.015
    # the formula of a tetrahedron with one corner below
    e = np.array([[-1.0, 0.5, 1.0, 2.0]])
    assert volume_below(e)[0] == pytest.approx(1 / (1.5 * 2 * 3))
    assert volume_below(np.array([[-1.0, -1.0, 1.0]]))[0] == pytest.approx(0.75)
    assert volume_below(np.array([[-1.0, -1.0, -1.0], [0.0, 0.0, 0.0]])).tolist() == [1, 0]


def test_a_parabola_in_every_dimension():
    """Free electrons: D ~ E^(d/2 − 1), with weights that vary across the cell too."""
    for shape, volume in (((400, 1, 1), 2), ((120, 120, 1), np.pi), ((40, 40, 40), 4 * np.pi / 3)):
        mesh = KMesh(shape)
        d = sum(n > 1 for n in shape)
        k = (mesh.k + 0.5) % 1 - 0.5
        energies = (k**2).sum(axis=1)[:, None]
        grid = np.linspace(0.0, 0.2, 21)

        def weights(band, k=k):
            return np.stack([np.ones(len(k)), np.cos(2 * np.pi * k[:, 0]) ** 2], axis=1)

        found = simplex_dos(energies, mesh.simplices(np.eye(3)), grid, None, weights, 2)
        expected = volume * d / 2 * grid[4:20] ** (d / 2 - 1)
        assert found[0, 4:20] == pytest.approx(expected, rel=0.03)
        assert found[1] == pytest.approx(found[0], abs=1e-12)
        assert (found[2, 4:20] < found[0, 4:20]).all()


def test_gaussians_keep_every_state():
    rng = np.random.default_rng(1)
    energies, weights = rng.normal(size=(5, 8)), rng.random((5, 8, 2))
    shares = rng.dirichlet(np.ones(5))
    for points, width in ((41, 0.01), (2001, 0.1)):
        grid = np.linspace(-8, 8, points)
        found = gaussian_dos(energies, shares, weights, grid, width)
        step = grid[1] - grid[0]
        assert found[0].sum() * step == pytest.approx(8, rel=1e-9)
        held = np.einsum("k,kbg->g", shares, weights)
        assert found[1:].sum(axis=1) * step == pytest.approx(held, rel=1e-9)
    x = (grid[:, None, None] - energies) / width
    direct = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) / width @ np.ones(8) @ shares
    assert found[0] == pytest.approx(direct, abs=1e-3 * direct.max())
