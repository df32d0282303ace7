"""Two-centre blocks against the table of Slater and Koster, and the laws they obey."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from slater_koster import SHELLS, integrals, spd_model
from systems import random_structure, rotation_of_orbitals

from moireio.tightbinding.slaterkoster import angular_parts, channel_weights

ROOT3 = np.sqrt(3)


def table(one, two, V, d):
    """The table's E for shells of rising l, d from the first atom to the second."""
    x, y, z = p = np.asarray(d)
    axes = (1, 2, 0)  # p = y, z, x
    flat, zz, diff = x * x + y * y, z * z - (x * x + y * y) / 2, x * x - y * y
    dyads = {0: (0, 1), 1: (1, 2), 3: (0, 2)}  # xy, yz, xz
    if one + two == "ss":
        return np.array([[V[0]]])
    if one + two == "sp":
        return np.array([[p[i] * V[0] for i in axes]])
    if one + two == "pp":
        s, pi = V
        return np.array([[p[i] * p[j] * (s - pi) + (i == j) * pi for j in axes] for i in axes])
    if one + two == "sd":
        row = [ROOT3 * x * y, ROOT3 * y * z, zz, ROOT3 * x * z, ROOT3 / 2 * diff]
        return np.array([row]) * V[0]
    if one + two == "pd":
        s, pi = V
        out = np.empty((3, 5))
        for row, i in enumerate(axes):
            for column, (j, k) in dyads.items():
                if i in (j, k):
                    other = k if i == j else j
                    out[row, column] = (
                        ROOT3 * p[i] ** 2 * p[other] * s + p[other] * (1 - 2 * p[i] ** 2) * pi
                    )
                else:
                    out[row, column] = x * y * z * (ROOT3 * s - 2 * pi)
        out[0, 2], out[0, 4] = (
            y * zz * s - ROOT3 * y * z * z * pi,
            ROOT3 / 2 * y * diff * s - y * (1 + diff) * pi,
        )
        out[1, 2], out[1, 4] = (
            z * zz * s + ROOT3 * z * flat * pi,
            ROOT3 / 2 * z * diff * s - z * diff * pi,
        )
        out[2, 2], out[2, 4] = (
            x * zz * s - ROOT3 * x * z * z * pi,
            ROOT3 / 2 * x * diff * s + x * (1 - diff) * pi,
        )
        return out
    s, pi, de = V
    out = np.empty((5, 5))
    for a, (i, j) in dyads.items():
        k = 3 - i - j
        square = p[i] ** 2 * p[j] ** 2
        out[a, a] = (
            3 * square * s + (p[i] ** 2 + p[j] ** 2 - 4 * square) * pi + (p[k] ** 2 + square) * de
        )
        for b, other in dyads.items():
            if a != b:
                (shared,) = {i, j} & set(other)
                q, r = ({i, j} - {shared}).pop(), (set(other) - {shared}).pop()
                out[a, b] = (
                    p[q]
                    * p[r]
                    * (
                        3 * p[shared] ** 2 * s
                        + (1 - 4 * p[shared] ** 2) * pi
                        + (p[shared] ** 2 - 1) * de
                    )
                )
    out[2, 2] = zz * zz * s + 3 * z * z * flat * pi + 3 / 4 * flat * flat * de
    out[4, 4] = 3 / 4 * diff * diff * s + (flat - diff * diff) * pi + (z * z + diff * diff / 4) * de
    out[2, 4] = out[4, 2] = (
        ROOT3 / 2 * diff * zz * s - ROOT3 * z * z * diff * pi + ROOT3 / 4 * (1 + z * z) * diff * de
    )
    out[0, 4] = out[4, 0] = x * y * diff * (3 / 2 * s - 2 * pi + de / 2)
    out[1, 4] = out[4, 1] = y * z * (3 / 2 * diff * s - (1 + 2 * diff) * pi + (1 + diff / 2) * de)
    out[3, 4] = out[4, 3] = x * z * (3 / 2 * diff * s + (1 - 2 * diff) * pi - (1 - diff / 2) * de)
    out[0, 2] = out[2, 0] = ROOT3 * x * y * (zz * s - 2 * z * z * pi + (1 + z * z) / 2 * de)
    for a, q in ((1, y), (3, x)):
        out[a, 2] = out[2, a] = ROOT3 * q * z * (zz * s + (flat - z * z) * pi - flat / 2 * de)
    return out


@pytest.mark.parametrize("seed", range(4))
def test_against_the_table(seed):
    """Every element of s, p, d; reversed shells are the table seen from the other atom."""
    values = integrals(seed)
    model = spd_model({("C", "N"): values})
    d = Rotation.random(random_state=seed).apply([0, 0, 1.7])
    unit = d / np.linalg.norm(d)
    block = model.blocks("hopping", "C", "N", d[:, None])[:, :, 0]
    spans = dict(zip(SHELLS, (slice(0, 1), slice(1, 4), slice(4, 9)), strict=True))
    for n, one in enumerate(SHELLS):
        for k, two in enumerate(SHELLS):
            V = [v for key, v in values.items() if key.startswith(f"{one}{two}_")]
            expected = table(one, two, V, unit) if n <= k else table(two, one, V, -unit).T
            np.testing.assert_allclose(block[spans[one], spans[two]], expected, atol=1e-14)
    turned = model.blocks("hopping", "N", "C", -d[:, None])[:, :, 0]
    np.testing.assert_allclose(turned, block.T, atol=1e-14)


def test_along_z():
    """Only equal m meet, with the channel's integral."""
    values = integrals()
    block = spd_model({("C", "N"): values}).blocks("hopping", "C", "N", np.array([[0.0], [0], [2]]))
    assert block[0, 2, 0] == pytest.approx(values["sp_sigma"])
    assert block[2, 0, 0] == pytest.approx(-values["ps_sigma"])
    assert block[6, 6, 0] == pytest.approx(values["dd_sigma"])
    for m, channel in ((5, "pi"), (7, "pi"), (4, "delta"), (8, "delta")):
        assert block[m, m, 0] == pytest.approx(values[f"dd_{channel}"])


@given(st.integers(0, 2**32 - 1))
def test_rotation_and_parity(seed):
    rng = np.random.default_rng(seed)
    model = spd_model({("C", "N"): integrals(seed % 7, decay=True)})
    turn = Rotation.random(random_state=seed).as_matrix()
    d = rng.normal(size=(3, 5))
    D = rotation_of_orbitals((0, 1, 2), turn)
    before = model.blocks("hopping", "C", "N", d)
    after = model.blocks("hopping", "C", "N", turn @ d)
    np.testing.assert_allclose(after, np.einsum("ab,bcn,dc->adn", D, before, D), atol=1e-9)
    signs = np.repeat([1, -1, 1], [1, 3, 5])
    inverted = model.blocks("hopping", "C", "N", -d)
    np.testing.assert_allclose(inverted, signs[:, None, None] * signs[:, None] * before, atol=1e-12)


def test_incomplete_shells_are_parts_of_whole_ones():
    values = integrals(3)
    whole = spd_model({("C", "N"): values})
    words = ["s", "pz", "py", "dx2-y2", "dxy"]
    part = spd_model({("C", "N"): values}, words)
    d = np.random.default_rng(1).normal(size=(3, 4))
    chosen = [0, 1, 2, 4, 8]  # s, y, z, xy, x²−y²
    expected = whole.blocks("hopping", "C", "N", d)[np.ix_(chosen, chosen)]
    np.testing.assert_allclose(part.blocks("hopping", "C", "N", d), expected, atol=1e-14)
    atoms = random_structure(0)
    basis = part.basis(atoms)
    assert basis["C"].l == (0, 1, 1, 2, 2)
    assert basis["C"].m == (0, -1, 0, -2, 2)
    assert basis.sizes(atoms).tolist() == [5, 5, 5]
    assert whole.basis(atoms)["C"].l == (0, 1, 2)
    assert whole.basis(atoms)["C"].m is None


@pytest.mark.parametrize("l1", range(3))
@pytest.mark.parametrize("l2", range(3))
def test_channels_along_the_bond(l1, l2):
    """With d along z, Σ_L T_μL Σ_M G Y_LM is 1 for m1 = m2 = ±μ and 0 elsewhere."""
    from moireio.system.harmonics import harmonics

    weights, momenta = channel_weights(l1, l2)
    values = harmonics(l1 + l2, np.array([[0.0], [0], [1]]))
    everything = range(2 * l1 + 1), range(2 * l2 + 1)
    angular = angular_parts(l1, l2, values, *everything)
    sign = (-1) ** (l1 + l2) if l1 > l2 else 1
    for mu in range(len(momenta)):
        block = np.zeros((2 * l1 + 1, 2 * l2 + 1))
        for n, part in enumerate(angular):
            for place, value in part.items():
                block[place] += weights[mu, n] * value[0]
        expected = np.zeros_like(block)
        for m in {mu, -mu}:
            expected[l1 + m, l2 + m] = sign
        np.testing.assert_allclose(block, expected, atol=1e-13)
