"""DeepH-E3's checkpoints and data folders."""

import os

import h5py
import numpy as np
import pytest
import torch
from e3_runs import export
from systems import hamiltonian, random_structure, small_model

from moireio.errors import MoireioError
from moireio.formats.assembly.orders import OPENMX
from moireio.formats.deeph import e3 as deephe3
from moireio.formats.deeph import folder as deeph
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
    versions = ("0.3.5", "0.3.5"), ("0.4.4", "0.4.4"), ("0.5", "0.5"), ("0.4+", "0.5")
    for version, expected in versions:
        convention = deephe3.model(folder, version).network.settings.convention
        assert convention == CONVENTIONS[expected]
    bare = {k: v for k, v in state.items() if "_w3j_" not in k}
    torch.save({"state_dict": bare}, path)
    model = deephe3.model(folder)
    assert model.training["e3nn"] is None
    assert model.network.settings.convention == CONVENTIONS["0.3.5"]


@pytest.mark.parametrize(
    ("generation", "expected"), [("0.3.5", "0.4.4"), ("0.4.4", "0.4.4"), ("0.5", "0.5")]
)
def test_versions_from_0_4_on(tmp_path, generation, expected):
    """The signs in the checkpoint decide which; one from before keeps those it has."""
    export(small_model(dtype=torch.float32), tmp_path / "run", generation)
    found = deephe3.model(str(tmp_path / "run"), "0.4+")
    assert found.network.settings.convention == CONVENTIONS[expected]
    assert found.training["e3nn"] == generation


def ini(**settings):
    """A change of train.ini: settings of the network."""

    def change(folder):
        path = folder / "src" / "train.ini"
        lines = [f"{name} = {value}" for name, value in settings.items()]
        kept = [x for x in path.read_text().split("\n") if x.split(" ")[0] not in settings]
        path.write_text("\n".join([*kept, *lines, ""]))

    return change


def source(name, text):
    """A change of a file in src."""
    return lambda folder: (folder / "src" / name).write_text(text)


def state(**changes):
    """A change of weights; the new value may be computed from the old one."""

    def change(folder):
        path = folder / "best_model.pkl"
        weights = torch.load(path, weights_only=True)["state_dict"]
        for name, value in changes.items():
            key = next(key for key in weights if name in key)
            weights[key] = value(weights[key]) if callable(value) else value
        torch.save({"state_dict": weights}, path)

    return change


MANY = 999999999999999999999999


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: os.remove(d / "best_model.pkl"), "no such file"),
        (lambda d: (d / "best_model.pkl").write_bytes(b"nothing"), "is not a checkpoint"),
        (lambda d: os.remove(d / "src" / "train.ini"), "no such file"),
        (source("train.ini", "nothing"), "is not a settings file"),
        (source("target_blocks.json", "{"), "is not JSON"),
        (source("target_blocks.json", "{}"), "a list, [ … ] expected"),
        (source("target_blocks.json", '[{"6 8": [0, 0]}]'), "{'6 8': [0, 0]} is no target"),
        (source("target_blocks.json", '[{"6 7": [0]}]'), "{'6 7': [0]} is no target"),
        (source("target_blocks.json", "[3]"), "3 is no target"),
        (source("target_blocks.json", '[{"6 7": [0, 9]}]'), "shells (0, 9), which there is not"),
        (source("dataset_info.json", "{}"), "index_to_Z is None, atomic numbers expected"),
        (source("dataset_info.json", '{"index_to_Z": [6, 700]}'), "orbital_types is None, a list"),
        (
            source("dataset_info.json", '{"index_to_Z": [6, 7], "orbital_types": [[0], [0]]}'),
            "has no spinful",
        ),
        (ini(irreps_mid="8x0e+4x1o"), "expected by the settings (src/ is of another run"),
        (ini(irreps_mid="8x0"), "is not a representation"),
        (ini(irreps_mid="6x0e+4x1o+3x2e+2x3o+" + "1x0e+" * 10**5 + "1x0e"), "entries, 1 to 64"),
        (ini(irreps_mid=f"{MANY}x0e"), "is not a representation"),
        (ini(irreps_mid="6x0e+4x1o+2x2e+3x3o"), "expected by the settings"),
        (ini(spherical_basis_irreps="8x0e"), "spherical Bessel basis is not supported"),
        (ini(spherical_harmonics_lmax=MANY), "an integer of a few digits expected"),
        (ini(spherical_harmonics_lmax=999999999), "is 999999999, 0 to 12 expected"),
        (ini(spherical_harmonics_lmax=4), "expected by the settings (src/ is of another run"),
        (ini(num_blocks=999999999), "blocks is 999999999, 1 to 64 expected"),
        (ini(num_blocks=1), "expected by the settings (src/ is of another run"),
        (ini(num_blocks=3), "expected by the settings (src/ is of another run"),
        (ini(cutoff_radius="1e300"), "cutoff is 1e+300, above 0 up to 100 Å expected"),
        (ini(cutoff_radius="x"), "cutoff_radius is 'x', a number expected"),
        (ini(out_irreps="8x0e"), "does not have the representations of its targets"),
        (state(_w3j_=lambda w: 1.1 * w), "are no coupling coefficients of any version of e3nn"),
        (state(_w3j_=lambda w: w[:1]), "are no coupling coefficients: shape"),
        (state(norm=lambda w: w * float("nan")), "has numbers that are not finite"),
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
        order = np.argsort(OPENMX.to_ours(shells)[0])
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


def test_coupling_coefficients_of_two_versions(tmp_path):
    """Signs that contradict each other: a part of the checkpoint is of another run."""
    export(small_model(dtype=torch.float32), tmp_path / "run", "0.5")
    state(**{"node_update_blocks.1.conv.tp.tp._compiled": lambda w: -w})(tmp_path / "run")
    with pytest.raises(MoireioError, match=r"_w3j_1_2_2 has the signs of e3nn 0\.4, .* of 0\.5"):
        deephe3.model(str(tmp_path / "run"))
