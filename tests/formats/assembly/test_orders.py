"""OpenMX's order of the orbitals, function by function."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.assembly.orders import OPENMX
from moireio.system.harmonics import harmonics, unit_vectors


def openmx_functions(x, y, z):
    """Return OpenMX's functions of each shell at points of the unit sphere, without their norm."""
    return {
        0: [np.ones_like(x)],
        1: [x, y, z],
        2: [3 * z**2 - 1, x**2 - y**2, x * y, x * z, y * z],
        3: [
            5 * z**3 - 3 * z,
            x * (5 * z**2 - 1),
            y * (5 * z**2 - 1),
            z * (x**2 - y**2),
            x * y * z,
            x**3 - 3 * x * y**2,
            3 * y * x**2 - y**3,
        ],
    }


@pytest.mark.parametrize("momentum", range(4))
def test_the_order_is_that_of_the_functions(momentum):
    """Each of OpenMX's functions is a positive multiple of the harmonic that it is taken for."""
    vectors = unit_vectors(np.random.default_rng(0).normal(size=(3, 50)))[1]
    ours = harmonics(3, vectors)[momentum**2 : (momentum + 1) ** 2]
    openmx = np.array(openmx_functions(*vectors)[momentum])[OPENMX.to_ours([momentum])[0]]
    scale = (openmx * ours).sum(axis=1) / (ours * ours).sum(axis=1)
    assert (scale > 0).all()
    np.testing.assert_allclose(openmx, scale[:, None] * ours, atol=1e-13)


def test_shells_follow_one_another():
    """Every shell is reordered within itself, behind the shells before it."""
    momenta = (0, 2, 1, 0, 3, 1)
    start = np.cumsum([0] + [2 * momentum + 1 for momentum in momenta])
    parts = [OPENMX.to_ours([m])[0] + at for m, at in zip(momenta, start[:-1], strict=True)]
    order = OPENMX.to_ours(momenta)[0]
    assert order.tolist() == np.concatenate(parts).tolist()
    assert sorted(order) == list(range(start[-1]))


def test_there_is_no_shell_above_f():
    with pytest.raises(MoireioError, match="the order of OpenMX's g orbitals is not known"):
        OPENMX.to_ours([0, 4])[0]
