"""Model files."""

import pytest
from systems import (
    hamiltonian,
    random_structure,
    small_model,
)

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
