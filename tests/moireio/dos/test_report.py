"""Tables of densities of states."""

import json

import numpy as np
import pytest

from moireio.dos.report import columns, dos_json, dos_table, fermi_line, header
from moireio.results.dos import DensityOfStates


def example(channels=1, **more):
    energies = np.linspace(-1, 1, 5)
    total = np.arange(5.0 * channels).reshape(channels, 5)
    projected = np.stack([total / 4, 3 * total / 4], axis=1)
    return DensityOfStates(
        energies, total, projected, ("C s", "C p"), ("element,shell",) * 2, **more
    )


@pytest.mark.parametrize("channels", [1, 2])
def test_table(channels):
    dos = example(channels, mesh=(4, 4, 1), width=0.1)
    names, values = columns(dos)
    assert len(names) == values.shape[1] == 1 + 3 * channels
    lines = dos_table(dos).splitlines()
    assert lines[0].startswith("# density of states, 1/eV and cell; 4 × 4 × 1 k points; Gaussians")
    assert "C_s" + "_up" * (channels - 1) in lines[-6]
    assert np.loadtxt(lines) == pytest.approx(values, abs=1e-6)


def test_the_fermi_level_and_its_gap():
    dos = example(fermi=-3.5, electrons=8.0, gap=1.25, fermi_from="levels")
    line = "Fermi level -3.5000 eV (electrons 8), in a gap of 1.2500 eV on this mesh"
    assert fermi_line(dos) == line
    assert header(dos)[1:] == ["energies are those of H, not counted from the Fermi level", line]
    assert header(example())[2] == "no Fermi level"
    assert fermi_line(example(fermi=1.0, fermi_from="file")) == (
        "Fermi level 1.0000 eV, as the file has it"
    )
    assert fermi_line(
        example(fermi=1, electrons=8, fermi_error=0.01, fermi_resolution=0.1, fermi_from="moments")
    ) == (
        "Fermi level 1.0000 ± 0.0100 eV (electrons 8); from moments, which resolve 0.1000 eV; ± is "
        "the error of random vectors"
    )


def test_json():
    out = json.loads(dos_json(example(fermi=0.5, vbm=0.25)))
    assert out["total"] == [[0, 1, 2, 3, 4]]
    assert out["labels"] == ["C s", "C p"]
    assert out["fermi"] == 0.5
    assert out["valence_top"] == 0.25
    assert out["gap"] is None
    assert out["error"] is None
    assert out["unit"] == "1/eV"
    assert out["energy_zero"] == "of the Hamiltonian"
    assert out["fermi_from"] is None
