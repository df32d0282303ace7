"""Model files."""

import json

import h5py
import numpy as np
import pytest
from systems import (
    hamiltonian,
    random_structure,
    small_model,
)

from moireio.errors import MoireioError
from moireio.network.modelfile import read, write

CASES = [(False, False), (True, False), (False, True), (True, True)]


@pytest.fixture(scope="module")
def models():
    return {case: small_model(*case) for case in CASES}


def test_model_file_round_trip(models, tmp_path):
    for number, (case, model) in enumerate(models.items()):
        path = str(tmp_path / f"{number}.h5")
        model.training = {"structures": 3}
        write(path, model)
        again = read(path)
        assert again.digest() == model.digest()
        assert again.training == {"structures": 3}
        assert again.names == model.names
        assert again.basis["C"].same_radial(model.basis["C"])
        _, a = hamiltonian(model, random_structure(1))
        _, b = hamiltonian(again, random_structure(1))
        assert (a == b).all(), case


def described(**changes):
    """A change of the settings in a model file by somebody who makes its checksums again."""

    def change(file):
        text = json.loads(file["model/settings"][0])
        text["settings"] |= changes
        del file["model/settings"], file["model"].attrs["metadata_crc"]
        file["model/settings"] = np.array([json.dumps(text)], dtype=h5py.string_dtype())

    return change


def without(file):
    """A file that lacks a weight."""
    del file["model/weights/lin_edge.weight"]


def shorter(file):
    """A weight that is shorter than the settings say, under a seal made again."""
    name = "model/weights/blocks.1.edge.sc.weight"
    values = file[name][:-1]
    del file[name], file["model/weights"].attrs["metadata_crc"]
    file[name] = values


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.attrs.modify("format", "moireio"), "is not a model file"),
        (lambda file: file.attrs.modify("format_version", "9.0"), "has model format 9.0"),
        (without, "/model/weights: attributes, shapes or texts do not fit their checksum"),
        (shorter, "blocks.1.edge.sc.weight has .* numbers, .* expected by the settings"),
        (described(harmonics_lmax=10**9), "harmonics_lmax is 1000000000, 0 to 12 expected"),
        (described(blocks=50), "expected by the settings|has no weight"),
        (described(mid_node="9999999x0e"), "mid_node has 9999999 channels"),
        (described(blocks="two"), "blocks is 'two', 1 to 64 expected"),
        (described(convention=None), "its contents do not fit each other"),
    ],
)
def test_damaged_model_files(models, tmp_path, damage, message):
    """One line that names the file, before a network is made."""
    path = tmp_path / "m.h5"
    write(str(path), models[False, True])
    with h5py.File(path, "r+") as file:
        damage(file)
        if "metadata_crc" in file.attrs and damage is not without:
            del file.attrs["metadata_crc"]
    with pytest.raises(MoireioError, match=message) as error:
        read(str(path))
    assert "m.h5" in str(error.value)
