"""Errors of blocks, losses."""

import numpy as np
import pytest
import torch
from training_data import new_small_model, samples

from moireio.network.inference.hamiltonian import HamiltonianSource
from moireio.network.inference.passes import Predictor
from moireio.network.training.calibrate import calibrate
from moireio.network.training.loss import block_errors


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
