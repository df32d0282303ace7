"""Errors of bands in the loss."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.linalg import eigh
from training_data import data, new_small_model

from moireio.errors import MoireioError
from moireio.formats.calculations import open_calculation
from moireio.formats.models import load_model
from moireio.network.training.config import TrainingConfig
from moireio.network.training.loop import Training
from moireio.network.training.loss import block_errors
from moireio.network.training.samples import make_sample, mean_level
from moireio.network.training.windowstates import BandWindow, points_near_level, spread_points
from moireio.operators.bloch import BlochSum

WINDOW = BandWindow(-4.0, 4.0, 3)


def summed(source, k, copies=1):
    """O(k), block by block."""
    pairs, sizes = source.pairs, source.sizes
    start = np.concatenate([[0], np.cumsum(sizes)]) * copies
    out, at = np.zeros((start[-1],) * 2, complex), 0
    flat = source.rows(0, len(sizes))
    for p, (i, j) in enumerate(zip(pairs.i, pairs.j, strict=True)):
        block = flat[at : at + sizes[i] * sizes[j]].reshape(sizes[i], sizes[j])
        at += block.size
        block = np.kron(np.eye(copies), block) * np.exp(2j * np.pi * pairs.R[p] @ k)
        out[start[i] : start[i + 1], start[j] : start[j + 1]] += block
    return out


def with_level(seed, spin=False):
    """A structure whose Fermi level is the middle of its levels at Γ."""
    made = data(seed, spin=spin)
    S = summed(made.overlap, np.zeros(3), 2 if spin else 1)
    levels = eigh(summed(made.hamiltonian, np.zeros(3)), S, eigvals_only=True)
    made.electrons = SimpleNamespace(fermi=float(np.median(levels)))
    return made


@pytest.mark.parametrize("spin", [False, True])
def test_first_order_of_the_levels(spin):
    """The projected error is the derivative of the levels from H to the prediction."""
    model, made = new_small_model(spin), with_level(0, spin)
    sample = make_sample(made, model.network, model.targets, window=WINDOW)
    with torch.no_grad():
        errors = block_errors(model, sample)
        found = [sample.states.projected(errors, n).numpy() for n in range(3)]
    # the same errors as an operator on the pairs of H
    pairs, sizes = made.hamiltonian.pairs, made.hamiltonian.sizes
    by_key, bonds = {}, sample.graph.bonds
    for group, blocks in errors:
        for edge, block in zip(group.edges.tolist(), blocks.numpy(), strict=True):
            if edge >= len(sample.graph):
                key = (edge - len(sample.graph),) * 2 + ((0, 0, 0),)
            else:
                first = int(sample.graph.first(np.array([edge]))[0])
                key = first, int(bonds.j[edge]), tuple(bonds.R[edge])
            by_key[key] = block
    keys = zip(pairs.i, pairs.j, map(tuple, pairs.R), strict=True)
    flat = np.concatenate([by_key[key].ravel() for key in keys])
    change = SimpleNamespace(pairs=pairs, sizes=sizes, rows=lambda a, b: flat)
    for k, matrix in zip(sample.states.points.numpy(), found, strict=True):
        assert len(matrix) > 2
        H, S = summed(made.hamiltonian, k), summed(made.overlap, k, 2 if spin else 1)
        D, step = summed(change, k), 1e-6
        low, high = (eigh(H + s * D, S, eigvals_only=True) for s in (-step, step))
        middle = (low + high) / 2 - made.electrons.fermi
        inside = (middle > WINDOW.low) & (middle < WINDOW.high)
        slopes = ((high - low) / (2 * step))[inside]
        assert np.sum(slopes) == pytest.approx(np.trace(matrix).real, abs=1e-6)
        # levels that are not nearly degenerate
        gaps = np.diff(middle, prepend=-np.inf, append=np.inf)
        alone = (np.minimum(gaps[:-1], gaps[1:]) > 0.02)[inside]
        assert spin or alone.sum() > 2
        assert np.abs(slopes - np.diag(matrix).real)[alone].max(initial=0) < 1e-4
        states = eigh(H, S)[1][:, inside]
        expected = (np.abs(states.conj().T @ D @ states) ** 2).sum() / inside.sum()
        number = next(n for n, one in enumerate(found) if one is matrix)
        assert float(sample.states.loss(errors, number)) == pytest.approx(expected)


def test_points_are_spread():
    """In two dimensions no two of 30 points are nearer than half a square grid's spacing."""
    k = spread_points([True, True, False], 30)
    assert not k[0].any()
    assert not k[:, 2].any()
    assert (np.abs(k - 0.5) <= 0.5).all()
    apart = (k[:, None] - k)[..., :2]
    distance = np.linalg.norm(apart - np.rint(apart), axis=-1) + np.eye(30)
    assert distance.min() > 0.5 / np.sqrt(30)


def test_points_where_bands_touch(made):
    """Graphene's levels meet the Fermi level at K and K', which 12 spread points miss."""
    with open_calculation(str(made["gr_ab"])) as calculation:
        H, S = (BlochSum.from_source(o) for o in (calculation.hamiltonian, calculation.overlap))
        fermi, periodic = calculation.electrons.fermi, calculation.structure.pbc

    def gap(k):
        return np.abs(eigh(H.dense(k), S.dense(k), eigvals_only=True) - fermi).min()

    corners = np.array([[2, 1, 0], [1, 2, 0]]) / 3
    near = points_near_level(H, S, periodic, fermi, 6)
    apart = np.linalg.norm(near[:, None] - corners, axis=2)
    assert len(near) == 6
    assert apart.min(axis=1).max() < 0.06
    assert len(set(apart.argmin(axis=1))) == 2
    assert max(map(gap, near)) < 0.5 < min(map(gap, spread_points(periodic, 12)))
    # none where only few of many points can be looked at
    shape = SimpleNamespace(dense=lambda k: np.eye(900))
    assert len(points_near_level(shape, shape, periodic, 0.0, 6)) == 0
    assert len(points_near_level(H, S, [False] * 3, fermi, 6)) == 0


@pytest.mark.parametrize("weight", [0.1, 0.0])
def test_bands_are_learnt_for_their_weight(made, weight):
    """A few steps from the shipped model, its weights off by 0.3 %, on OpenMX's AB graphene."""
    model = load_model("graphene-bilayer")
    torch.manual_seed(0)
    with torch.no_grad():
        for values in model.network.parameters():
            values.mul_(1 + 0.003 * torch.randn_like(values))
    with open_calculation(str(made["gr_ab"])) as calculation:
        mu = mean_level(calculation) - model.training["level"]
        window = BandWindow(-4.0, 4.0, 4)
        sample = make_sample(calculation, model.network, model.targets, mu, window, model.free_zero)
    with torch.no_grad():
        before = float(sample.states.mean_loss(block_errors(model, sample)))
    plan = TrainingConfig(
        learning_rate=3e-5, min_learning_rate=1e-6, band_weight=weight, band_window=window
    )
    training = Training(model, [sample], [sample], plan)
    rows = [training.epoch() for _ in range(8)]
    with torch.no_grad():
        after = float(sample.states.mean_loss(block_errors(model, sample)))
    if weight:
        assert rows[-1]["validation_bands_meV"] == pytest.approx(after**0.5 * 1e3, rel=1e-4)
        assert after < 0.5 * before
    else:
        assert after > 0.8 * before
        assert "validation_bands_meV" not in rows[-1]


def test_what_bands_need():
    """An unknown Fermi level, an empty window, and a window without states are named."""
    model, made = new_small_model(), with_level(0)
    with pytest.raises(MoireioError, match="no states between 300 and 301 eV"):
        make_sample(made, model.network, model.targets, window=BandWindow(300, 301))
    made.electrons = None
    with pytest.raises(MoireioError, match=r"made 0.*has no Fermi level"):
        make_sample(made, model.network, model.targets, window=WINDOW)
    with pytest.raises(MoireioError, match="`band_window` 1 to 1 eV is empty"):
        BandWindow(1, 1)
