"""build-dataset --forces as a user runs it, with a program that stands for OpenMX."""

import json
import stat

import ase.io
import numpy as np
import pytest

from moireio.formats.openmx import dat

FAKE = """#!/usr/bin/env bash
# Writes the forces of AB graphene, and its stress on standard output.
name=${1%.dat}
case "$name" in
  *_001) sed 's/coordinates.forces>//' "$OUT" > "$name.out" ;;
  *) cp "$OUT" "$name.out" ;;
esac
printf 'Stress tensor (Hartree/bohr^3)\\n***\\n\\n'
printf ' 0.001 0.0 0.0 \\n 0.0 0.002 0.0\\n 0.0 0.0 0.003\\n'
"""


@pytest.fixture
def folder(invoke, tmp_path, data, monkeypatch):
    fake = tmp_path / "fake"
    fake.write_text(FAKE)
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("OUT", str(data / "gr_ab.out"))
    words = ["--forces", "--slide", "2", "1", "--supercell", "1", "1", "--copies", "2"]
    done = invoke("build-dataset", "make", "graphene", *words, "-o", tmp_path / "set")
    assert done.exit_code == 0, done.output
    return tmp_path / "set"


def test_inputs_ask_for_dispersion_and_stress_without_spin(folder):
    names = (folder / "runs.txt").read_text().split()
    assert names == [f"slide_0{i}_00_00{n}" for i in (0, 1) for n in (0, 1)]
    keywords = dat.read(str(folder / names[0] / f"{names[0]}.dat")).keywords
    assert keywords.word("scf.dftD") == "on"
    assert keywords.word("version.dftD") == "3"
    assert keywords.values["dftd.intdirection"] == ["1", "1", "0"]
    assert keywords.word("scf.stress.tensor") == "on"
    assert keywords.word("scf.SpinPolarization") == "off"
    assert keywords.word("MD.Type") == "nomd"
    assert keywords.word("HS.fileout") == "off"


def test_defaults_are_28_stackings(invoke, tmp_path):
    words = ["--forces", "--copies", "1", "--supercell", "1", "1"]
    assert invoke("build-dataset", "make", "MoTe2", *words, "-o", tmp_path / "s").exit_code == 0
    assert len((tmp_path / "s" / "runs.txt").read_text().split()) == 28


def test_forces_are_collected_and_missing_ones_reported(invoke, folder, tmp_path):
    run = ["run", folder, "--command", tmp_path / "fake"]
    assert invoke("build-dataset", *run).exit_code == 1
    rows = json.loads(invoke("build-dataset", "status", folder, "--json").output)
    assert [row["state"] for row in rows] == ["done", "failed", "done", "failed"]
    assert "has no forces" in rows[1]["reason"]
    refused = invoke("build-dataset", "collect", folder)
    assert refused.exit_code == 2
    assert "collect --forces" in refused.output
    done = invoke("build-dataset", "collect", folder, "--forces")
    assert done.exit_code == 0, done.output
    assert "2 failed" in done.output
    assert "no dispersion" in done.output
    arrays = folder / "forces" / "deepmd" / "C4" / "set.000"
    forces = np.load(arrays / "force.npy").reshape(2, 4, 3)
    unit = 27.2113845 / 0.529177249
    assert forces[0, 0, 0] == pytest.approx(-0.000100974224 * unit, rel=1e-14)
    volume = 707.338584334008  # Bohr³, in the .out
    virial = np.load(arrays / "virial.npy")[0].reshape(3, 3)
    np.testing.assert_allclose(
        virial, -volume * 27.2113845 * np.diag([1e-3, 2e-3, 3e-3]), rtol=1e-9
    )
    images = ase.io.read(folder / "forces" / "all.xyz", ":")
    assert len(images) == 2
    assert np.array_equal(images[1].get_forces(), forces[1])
    assert "not empty" in invoke("build-dataset", "collect", folder, "--forces").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--forces", "--soc"], "without spin"),
        (["--distances", "0", "1"], "belong to --forces"),
        (["--forces", "--distances", "1", "0"], "lower one comes first"),
        (["--forces", "--twist", "2", "1", "--cell-strain", "0.01"], "for slid cells"),
    ],
)
def test_options_that_do_not_go_together(invoke, tmp_path, words, said):
    refused = invoke("build-dataset", "make", "graphene", *words, "-o", tmp_path / "set")
    assert refused.exit_code == 2
    assert said in refused.output


def test_a_template_with_spin_is_refused(invoke, tmp_path):
    template = tmp_path / "t.dat"
    template.write_text("scf.XcType GGA-PBE\nscf.SpinPolarization nc\n")
    words = ["--forces", "--template", template, "--copies", "1", "-o", tmp_path / "set"]
    refused = invoke("build-dataset", "make", "graphene", *words)
    assert refused.exit_code == 1
    assert "needs no spin" in refused.output
    template.write_text("scf.XcType GGA-PBE\nscf.dftD off\nscf.energycutoff 777\n")
    words = [*words[:-1], tmp_path / "kept", "--slide", "1", "1", "--supercell", "1", "1"]
    assert invoke("build-dataset", "make", "graphene", *words).exit_code == 0
    keywords = dat.read(next((tmp_path / "kept").glob("*/*.dat"))).keywords
    assert keywords.word("scf.dftD") == "on"
    assert keywords.word("scf.energycutoff") == "777"
