"""Energies that are zero but for rounding have no sign, in any table."""

import re

import pytest
import toymodels

# t3: the middle of its gap; graphene: levels at K
TABLES = {
    "edge-project": ("t3", ["--cut", 8, "--points", 5]),
    "band": ("graphene", ["--path", "K,G", "--points", 3, "--text", "-"]),
    "c3-chern": ("graphene", ["--bands", "1:2"]),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zero")
    return {
        "t3": toymodels.haldane(t3=-0.5).write(folder / "t3.h5"),
        "graphene": toymodels.haldane(t2=0.0).write(folder / "graphene.h5"),
    }


@pytest.mark.parametrize("command", TABLES)
def test_no_energy_is_minus_zero(models, invoke, command):
    model, words = TABLES[command]
    done = invoke(command, models[model], *words)
    assert done.exit_code == 0, done.stderr
    assert re.search(r"(^|\s)0\.000+\s", done.stdout)
    assert not re.search(r"-0\.0+(?![0-9])", done.stdout)
