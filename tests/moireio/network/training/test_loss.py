"""Errors of blocks, losses."""

import numpy as np
import pytest
import torch
from training_data import data, new_small_model, samples

from moireio.network.inference.hamiltonian import HamiltonianSource
from moireio.network.inference.passes import Predictor
from moireio.network.training.calibrate import calibrate
from moireio.network.training.loss import LossModule, block_errors, mean_loss, without_layer_shifts
from moireio.network.training.samples import make_sample


@pytest.mark.parametrize("spin", [False, True])
def test_training_and_prediction_agree(spin):
    """What training calls the prediction is what predict-h writes."""
    model = new_small_model(spin)
    made = samples(model, spin=spin)
    calibrate(model, made)
    sample = made[0]
    predictor = Predictor(model, sample.graph)
    with torch.no_grad():
        found = block_errors(model, sample)
        predictor.run()
    source = HamiltonianSource(predictor)
    flat = source.rows(0, len(sample.species))
    blocks, at, i = {}, 0, source.pairs.i
    for p in range(len(source.pairs)):
        shape = source.sizes[i[p]], source.sizes[source.pairs.j[p]]
        size = int(shape[0] * shape[1])
        key = int(i[p]), int(source.pairs.j[p]), tuple(source.pairs.R[p])
        blocks[key] = flat[at : at + size].reshape(shape)
        at += size
    checked = 0
    for kind, gap in found:
        value = (gap + kind.blocks).numpy()
        for n, edge in enumerate(kind.edges.tolist()):
            if edge >= len(sample.graph):
                key = (edge - len(sample.graph),) * 2 + ((0, 0, 0),)
            else:
                bonds = sample.graph.bonds
                first = int(sample.graph.first(np.array([edge]))[0])
                key = first, int(bonds.j[edge]), tuple(bonds.R[edge])
            if key in blocks:
                assert np.abs(blocks[key] - value[n]).max() < 1e-10
                checked += 1
    assert checked == len(blocks)


def flat(errors):
    """All elements in one array."""
    return np.concatenate([d.detach().numpy().ravel() for _, d in errors])


@pytest.mark.parametrize("spin", [False, True])
def test_a_free_zero_is_the_best_one(spin):
    """No multiple of S is left in the errors, and H + μS has the same errors as H."""
    model = new_small_model(spin)
    one, two = (
        make_sample(data(0, spin, mu), model.network, model.targets, free_zero=True)
        for mu in (0.0, 1.7)
    )
    with torch.no_grad():
        first, second = block_errors(model, one), block_errors(model, two)
        fixed = block_errors(model, make_sample(data(0, spin), model.network, model.targets))
    assert np.abs(flat(first) - flat(second)).max() < 1e-10
    S = np.concatenate([group.overlap.numpy().ravel() for group, _ in first])
    plain = flat(fixed)
    mu = (S @ plain.real) / (S @ S)
    assert abs(mu) > 0.1
    assert np.abs(flat(first) - (plain - mu * S)).max() < 1e-10


def test_levels_of_layers_count_for_their_weight():
    """The minimum over the levels, against a least-squares solution of all equations at once."""
    model = new_small_model()
    sample = make_sample(data(1), model.network, model.targets, free_zero=True)
    with torch.no_grad():
        errors = block_errors(model, sample)
    n = len(sample.species)
    sample.layers = torch.arange(n) % 3 % 2  # of other sizes
    layer = sample.layers.numpy()
    columns = np.zeros((sample.elements, 2))
    at = 0
    for group, _ in errors:
        S = group.overlap.numpy()
        for e, (i, j) in enumerate(zip(group.geometry.i, group.geometry.j, strict=True)):
            for atom in (int(i), int(j)):
                columns[at : at + S[e].size, layer[atom]] += S[e].ravel() / 2
            at += S[e].size
    assert at == sample.elements
    of_atoms = np.eye(2)[layer]
    spread = of_atoms - of_atoms.mean(axis=0)
    for weight in (1e-3, 0.3, 30.0):
        left, penalty = without_layer_shifts(errors, sample.layers, weight)
        matrix = np.vstack([columns, np.sqrt(weight) * spread])
        right = np.concatenate([flat(errors), np.zeros(n)])
        levels = np.linalg.lstsq(matrix, right, rcond=None)[0]
        assert np.ptp(levels) > 1e-4
        assert np.abs(flat(left) - (flat(errors) - columns @ levels)).max() < 1e-9
        assert float(penalty) == pytest.approx(weight * ((spread @ levels) ** 2).sum())
    with torch.no_grad():
        loss = LossModule(model, "mse", layer_weight=0.3)(sample)
        left, penalty = without_layer_shifts(errors, sample.layers, 0.3)
        assert float(loss) == pytest.approx(float(mean_loss(left) + penalty / sample.elements))
        heavy = LossModule(model, "mse", layer_weight=1e9)(sample)
        assert float(heavy) == pytest.approx(float(mean_loss(errors)), rel=1e-6)


def test_layers_exchange_charge():
    """A shift of one layer against the other costs its weight alone."""
    model = new_small_model()
    sample = make_sample(data(1), model.network, model.targets, free_zero=True)
    sample.layers = torch.arange(len(sample.species)) % 2
    shift = torch.tensor([0.1, -0.1], dtype=torch.float64)[sample.layers]
    errors = []
    for group in sample.all_blocks():
        mean = (shift[group.geometry.i] + shift[group.geometry.j]) / 2
        errors.append((group, mean[:, None, None] * group.overlap))
    left, penalty = without_layer_shifts(errors, sample.layers, 1e-6)
    assert np.abs(flat(left)).max() < 1e-6
    assert float(penalty) == pytest.approx(1e-6 * float((shift - shift.mean()).square().sum()))
