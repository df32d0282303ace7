"""Edges of half-infinite layers: a chain's closed form, and the same counts as wide ribbons."""

import numpy as np
import pytest
import toymodels

import moireio
from moireio.errors import MoireioError
from moireio.topology.surface import edge_green, edge_weights, semi_infinite_edges


def test_a_chain_that_is_not_orthogonal():
    """G = (a − √(a² − 4bc))/(2bc) with a = z − ε, b = c = z s − t."""
    z, eps, t, s = 0.3 + 0.05j, 0.1, -1.0, 0.12
    matrices = [np.array([[v]], dtype=complex) for v in (eps, t, 1, s)]
    low, high = edge_green(z, matrices)
    a, b = z - eps, z * s - t
    roots = (a + np.array([1, -1]) * np.sqrt(a * a - 4 * b * b)) / (2 * b * b)
    expected = roots[np.argmin(np.abs(roots * b))]  # it decays into the chain
    assert low[0, 0] == pytest.approx(expected, abs=1e-12)
    assert high[0, 0] == pytest.approx(expected, abs=1e-12)


def test_weights_are_those_of_a_long_ribbon(tmp_path):
    """Tr(G S₀₀) of the outermost of 30 cells, by inversion, of a random model with S ≠ 1."""
    model = toymodels.random_c3(119, filled=1)
    k, z, cells = 0.23, -3.4 + 0.3j, 30
    H, S = {}, {}
    turns = np.arange(3) / 3
    for operator, number in ((H, 0), (S, 1)):
        whole = [model.matrices((turn, k, 0))[number] for turn in turns]
        for m in (-1, 0, 1):
            phases = np.exp(-2j * np.pi * m * turns) / 3
            operator[m] = sum(p * w for p, w in zip(phases, whole, strict=True))
    n = len(H[0])
    ribbon = np.zeros((cells * n, cells * n), dtype=complex)
    for x in range(cells):
        for m in (-1, 0, 1):
            if 0 <= x + m < cells:
                y = x + m
                ribbon[x * n : (x + 1) * n, y * n : (y + 1) * n] = z * S[m] - H[m]
    G = np.linalg.inv(ribbon)
    expected = [
        -np.trace(G[part, part] @ S[0]).imag / np.pi for part in (slice(n), slice(-n, None))
    ]
    with moireio.open(model.write(tmp_path / "x.h5")) as file:
        low, high = edge_weights(file, 0, [k], [z.real], z.imag)
    assert (low[0, 0], high[0, 0]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_counts_of_chern_insulators(axis, tmp_path):
    sign = (-1, 1)[axis]
    for model, energy, chern in (
        (toymodels.haldane(M=0.1), 0.0, -1),
        (toymodels.haldane(M=0.8), 0.0, 0),
        (toymodels.random_c3(119, filled=1), -3.706, -3),
        (toymodels.random_c3(119, filled=1).conjugated(), -3.706, 3),
    ):
        with moireio.open(model.write(tmp_path / "x.h5")) as file:
            (gap,) = semi_infinite_edges(file, axis, [energy], points=11).gaps
        assert (gap.low.net, gap.high.net) == (-chern * sign, chern * sign)
        assert gap.low.crossings == gap.high.crossings == abs(chern)


def test_pairs_of_kane_and_mele_are_one_and_three(tmp_path):
    model = toymodels.kane_mele().other_images([[0, 0, 0], [1, 0, 0]])
    with moireio.open(model.write(tmp_path / "x.h5")) as file:
        (gap,) = semi_infinite_edges(file, 0, [-0.04], points=21).gaps
    assert (gap.low.net, gap.low.up, gap.low.down, gap.low.crossings) == (0, -1, 1, 2)
    assert (gap.high.net, gap.high.up, gap.high.down, gap.high.crossings) == (0, 1, -1, 6)
    # a ribbon of 40 cells: test_edges
    assert gap.low.k == pytest.approx((0.48671, 0.51329), abs=1e-4)
    k = np.array(gap.high.k)
    assert np.allclose(k + k[::-1], 1, atol=1e-4)


def test_two_states_at_one_maximum(tmp_path):
    """BHZ: ↑ and ↓ cross at Γ, closer to each other than the weights resolve."""
    with moireio.open(toymodels.bhz(mixing=0.1).write(tmp_path / "x.h5")) as file:
        (gap,) = semi_infinite_edges(file, 0, [0.1], points=11).gaps
    assert (gap.low.up, gap.low.down, gap.high.up, gap.high.down) == (-1, 1, 1, -1)


def test_a_map_and_what_cannot_end(tmp_path):
    with moireio.open(toymodels.haldane(M=0.1).write(tmp_path / "x.h5")) as file:
        edges = semi_infinite_edges(file, 0, [0.0], points=21, energy_window=(-0.4, 0.4))
        with pytest.raises(MoireioError, match="half-infinite layers end along vector 3"):
            semi_infinite_edges(file, 2, [0.0])
    assert edges.semi_infinite
    assert edges.energies.shape == (21, 0)
    k = edges.k[edges.map.low[:, 10].argmax()]
    assert abs(k - edges.gaps[0].low.k[0]) < 1 / 21
