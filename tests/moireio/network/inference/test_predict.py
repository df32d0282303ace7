"""Predictions from block file to block file."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from systems import graph_of, random_structure, small_model

from moireio.errors import MoireioError
from moireio.network.inference.predict import PredictionTask, prepare
from moireio.system.basis import Basis


class File(dict):
    """As much of a block file as `prepare` reads."""

    label = "made"

    def __init__(self, atoms, basis, with_overlap=True):
        pairs = graph_of(atoms, basis).pairs
        operator = SimpleNamespace(pairs=pairs, meta=SimpleNamespace(storage="full"))
        super().__init__({"basis": basis} | ({"overlap": operator} if with_overlap else {}))
        self.structure, self.basis = atoms, basis

    def operator(self, name):
        return self[name]

    def digest(self):
        return "blake2b:0"


@pytest.fixture(scope="module")
def model():
    return small_model(local=True)


def test_precision_leaves_the_model_alone(model):
    file = File(random_structure(0), model.basis)
    task = prepare(model, file, "float32")
    assert isinstance(task, PredictionTask)
    assert task.model.network.dtype == torch.float32
    assert model.network.dtype == torch.float64
    assert task.basis is None
    assert task.steps == len(task.graph) * 4  # three passes of two blocks, and the blocks of H
    assert task.description().startswith(f"3 atoms, {len(task.graph) + 3} pairs, moireio model")


def test_radial_functions_of_the_model_are_taken(model):
    from dataclasses import replace

    bare = Basis({n: replace(b, radial=None) for n, b in model.basis.species.items()})
    task = prepare(model, File(random_structure(0), bare))
    assert task.basis["C"].same_radial(model.basis["C"])
    assert task.replaced_groups == ("electrons", "basis")


def test_refusals(model):
    atoms = random_structure(0)
    with pytest.raises(MoireioError, match="has no /overlap, whose pairs a prediction needs"):
        prepare(model, File(atoms, model.basis, with_overlap=False))
    with pytest.raises(MoireioError, match="has N, which the model does not know"):
        prepare(small_model(C="s1p1d1"), File(atoms, model.basis))
    other = small_model(C="s1p1", N="s2p1")
    with pytest.raises(MoireioError, match="was trained with shells s1p1"):
        prepare(other, File(atoms, model.basis))
    short = small_model(local=True)
    short.network.settings = short.network.settings.with_(reaches=(0.5, 0.5))
    with pytest.raises(MoireioError, match="pairs lie beyond the cutoff"):
        prepare(short, File(atoms, model.basis))
    assert np.isfinite(atoms.positions).all()
