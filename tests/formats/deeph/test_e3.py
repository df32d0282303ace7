"""DeepH-E3's checkpoints and data folders."""

import os

import h5py
import numpy as np
import pytest
import torch
from e3_runs import export
from systems import hamiltonian, random_structure, small_model

from moireio.errors import MoireioError
from moireio.formats.deeph import e3 as deephe3
from moireio.formats.deeph import folder as deeph
from moireio.formats.openmx.orbitals import permutation
from moireio.network.graph import Graph
from moireio.network.inference.hamiltonian import HamiltonianSource
from moireio.network.inference.passes import Predictor
from moireio.network.linear import CONVENTIONS

MODELS = {
    ("graphene", "g1_02"): False,
    ("hbn_soc", "hbn_soc_d1"): True,
}


@pytest.mark.parametrize("spin", [False, True])
@pytest.mark.parametrize("generation", list(CONVENTIONS))
def test_a_folder_gives_the_network_back(tmp_path, spin, generation):
    model = small_model(spin, dtype=torch.float32)
    export(model, tmp_path / "run", generation)
    found = deephe3.model(str(tmp_path / "run"))
    assert found.network.settings.convention == CONVENTIONS[generation]
    assert found.targets == model.targets
    assert found.names == ("C", "N")
    settings = model.network.settings
    assert found.network.settings == settings.with_(convention=CONVENTIONS[generation])
    assert found.training["e3nn"] == generation
    if generation == "0.5":
        found.basis = model.basis
        _, a = hamiltonian(model, random_structure(3))
        _, b = hamiltonian(found, random_structure(3))
        assert (a == b).all()


def test_versions_that_are_not_recorded(tmp_path):
    """Without buffers the version is that of DeepH-E3's requirements; one that is given wins."""
    export(small_model(dtype=torch.float32), tmp_path / "run")
    path = tmp_path / "run" / "best_model.pkl"
    state = torch.load(path, weights_only=True)["state_dict"]
    folder = str(tmp_path / "run")
    for version, expected in (("0.3.5", "0.3.5"), ("0.4.4", "0.4.4"), ("0.4+", "0.5")):
        convention = deephe3.model(folder, version).network.settings.convention
        assert convention == CONVENTIONS[expected]
    bare = {k: v for k, v in state.items() if "_w3j_" not in k}
    torch.save({"state_dict": bare}, path)
    model = deephe3.model(folder)
    assert model.training["e3nn"] is None
    assert model.network.settings.convention == CONVENTIONS["0.3.5"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: os.remove(d / "best_model.pkl"), "no such file"),
        (lambda d: (d / "best_model.pkl").write_bytes(b"nothing"), "is not a checkpoint"),
        (lambda d: os.remove(d / "src" / "train.ini"), "no such file"),
        (lambda d: (d / "src" / "target_blocks.json").write_text("{"), "is not JSON"),
        (lambda d: (d / "src" / "dataset_info.json").write_text("{}"), "is not one of DeepH-E3"),
        (
            lambda d: (d / "src" / "train.ini").write_text("[network]\nirreps_mid = 8x0e+4x1o\n"),
            "expected (src/ is of another run)",
        ),
        (
            lambda d: (d / "src" / "train.ini").write_text("[network]\nirreps_mid = 8x0\n"),
            "is not a representation",
        ),
        (
            lambda d: (d / "src" / "train.ini").write_text(
                "[network]\nspherical_basis_irreps = 8x0e\n"
            ),
            "spherical Bessel basis is not supported",
        ),
    ],
)
def test_damaged_folders(tmp_path, damage, message):
    export(small_model(dtype=torch.float32), tmp_path / "run")
    damage(tmp_path / "run")
    with pytest.raises(MoireioError) as error:
        deephe3.model(str(tmp_path / "run"))
    assert message in str(error.value)
    assert "run" in str(error.value)


def predicted(model, folder):
    """Return raw blocks of a data folder by DeepH's keys, in its order of orbitals."""
    keys = next(folder / n for n in ("overlaps.h5", "hamiltonians.h5") if (folder / n).exists())
    data = deeph.open_folder(str(folder))
    name = "overlap" if keys.name == "overlaps.h5" else "hamiltonian"
    pairs = data.operator(name).pairs
    numbers = list(model.targets.numbers)
    species = np.array([numbers.index(z) for z in data.structure.numbers])
    predictor = Predictor(model, Graph(data.structure, pairs, species))
    predictor.run()
    source = HamiltonianSource(predictor, raw=True)
    flat, at, i = source.rows(0, len(species)), 0, source.pairs.i
    orders = []
    for shells in model.targets.shells:
        order = np.argsort(permutation(shells))
        orders.append(np.r_[order, order + len(order)] if model.targets.spinful else order)
    out = {}
    for p in range(len(pairs)):
        j = int(pairs.j[p])
        shape = source.sizes[i[p]], source.sizes[j]
        block = flat[at : at + shape[0] * shape[1]].reshape(shape)
        at += block.size
        key = str([*map(int, pairs.R[p]), int(i[p]) + 1, j + 1])
        out[key] = block[np.ix_(orders[species[i[p]]], orders[species[j]])]
    return out


@pytest.mark.parametrize(("name", "structure"), MODELS)
@pytest.mark.parametrize(
    ("file", "version", "precision", "tolerance"),
    [
        ("hamiltonians_pred_f64.h5", "0.5", torch.float64, 1e-12),
        ("hamiltonians_pred.h5", "0.4+", torch.float32, 1e-6),
        ("hamiltonians_pred.h5", None, torch.float32, 1e-6),
        ("hamiltonians_pred_e3nn035.h5", "0.3.5", torch.float32, 1e-6),
    ],
)
def test_predictions_of_deeph_e3(shared, name, structure, file, version, precision, tolerance):
    """Its own predictions; tolerance in units of the largest element."""
    base = shared / "deephe3" / name
    model = deephe3.model(str(base / "model"), version)
    assert model.targets.spinful == MODELS[name, structure]
    model.network.to(precision)
    folder = base / "structures" / structure
    blocks = predicted(model, folder)
    with h5py.File(folder / file) as stored:
        assert len(stored) > 10
        gaps = [np.abs(blocks[key] - stored[key][()]).max() for key in stored]
        largest = max(np.abs(stored[key][()]).max() for key in stored)
    assert max(gaps) < tolerance * largest
