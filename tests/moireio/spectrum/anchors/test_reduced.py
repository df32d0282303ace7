"""Levels in a small space."""

import numpy as np

from moireio.spectrum.anchors.reduced import Grams, RitzLevels, refined_levels, ritz_levels


def test_residuals_are_enlarged_by_what_is_unsure():
    rng = np.random.default_rng(0)
    residuals = rng.normal(size=(30, 4)) + 1j * rng.normal(size=(30, 4))
    levels = RitzLevels(np.arange(4.0), np.eye(4), residuals.conj().T @ residuals)
    larger = np.sqrt(np.diagonal(levels.enlarged(0.5)).real)
    np.testing.assert_allclose(larger, levels.residuals + 0.5)
    np.testing.assert_allclose(levels.enlarged(0.0), levels.products)


def test_a_level_that_a_ghost_spoils_is_found():
    """States far below and far above make a Ritz value next to a level, which the space holds."""
    levels = np.array([-8.0, 0.01, 8.0, 9.0])
    states = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    h = (states * levels) @ states.T
    ghost = (states[:, 0] + states[:, 2]) / np.sqrt(2)  # at 0 eV, with a residual of 8 eV
    basis = np.stack([(states[:, 1] + ghost), (states[:, 1] - ghost)], axis=1) / np.sqrt(2)
    grams = Grams.of(basis, h @ basis, basis, 0.0)
    for find in (ritz_levels, refined_levels):
        found = find(grams, (-0.5, 0.5), 0.05)
        np.testing.assert_allclose(found.energies, [0.01], atol=1e-9)
        assert found.residuals[0] < 1e-6
