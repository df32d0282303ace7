"""build-twist and build-dataset as a user runs them."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest

import moireio
from moireio.formats.openmx import dat

FAKE = """#!/usr/bin/env bash
# Stands for OpenMX: what it does depends on the folder's name and on $FAKE.
name=${1%.dat}
mode=$FAKE
case "$mode:$name" in
  mixed:slide_00_00) mode=ok ;;
  mixed:slide_00_01) mode=fail ;;
  mixed:slide_01_00) mode=hang ;;
  mixed:slide_01_01) mode=kill ;;
esac
echo "$name" >> "$COUNT"
case "$mode" in
  ok) cp "$GOOD" "$name.scfout"; cp "$OUT" "$name.out" ;;
  fail) echo "starting"; echo "Error: cannot open C_PBE19.vps"; exit 3 ;;
  hang) head -c 100 "$GOOD" > "$name.scfout"; sleep 600 ;;
  kill) head -c 100 "$GOOD" > "$name.scfout"; kill -9 $$ ;;
  loose) cp "$GOOD" "$name.scfout"; cp "$LOOSE" "$name.out" ;;
esac
"""


def test_pipe_into_info(run, tmp_path):
    made = run("build-twist", "graphene", "--index", "2", "1", "--basis", "C=C6.0-s2p2d1")
    text = run("h5-info", stdin=made.stdout).text
    assert "C28, 28 atoms, 2 layers" in text
    assert "-21.786789" in text
    assert "C6.0-s2p2d1, 13 orbitals" in text
    (tmp_path / "a.h5").write_bytes(made.stdout)
    assert run("h5-validate", tmp_path / "a.h5").code == 0
    with moireio.open(tmp_path / "a.h5") as file:
        assert file.basis.valence(file.structure) == 28 * 4
        assert file.moire.layers[1].matrix.tolist() == [[1, 2], [-2, 3]]
        assert file.moire.place == "none"


@pytest.mark.parametrize("suffix", ["h5", "zarr", "zarr.zip"])
def test_strain_stands_in_the_file(invoke, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    words = ["graphene", "hBN", "--angle", "10.9", "--max-strain", "0.01", "--strain-on"]
    done = invoke("build-twist", *words, "second", "-o", path, "-q")
    assert done.exit_code == 0, done.output
    assert invoke("h5-validate", path).exit_code == 0
    with moireio.open(path) as file:
        assert file.moire.place == "second"
        below, above = file.moire.layers
        assert not below.strain.any()
        assert above.strain.any()
        for layer in (below, above):
            assert np.abs(layer.cell - file.structure.cell[:2, :2]).max() < 1e-9


def test_validate_finds_a_wrong_record(invoke, tmp_path):
    from dataclasses import replace

    path = tmp_path / "a.h5"
    assert invoke("build-twist", "graphene", "--index", "2", "1", "-o", path).exit_code == 0
    with moireio.open(path) as file:
        structure, moire = file.structure, file.moire
    layers = (moire.layers[0], replace(moire.layers[1], angle=-21.0))
    with moireio.create(str(tmp_path / "b.h5")) as writer:
        writer.structure(structure)
        writer.basis(moireio.Basis())
        writer.moire(replace(moire, layers=layers))
    found = invoke("h5-validate", tmp_path / "b.h5")
    assert found.exit_code == 1
    assert "/moire/1" in found.output


def test_list_and_pick(invoke, tmp_path):
    words = ["build-twist", "graphene", "hBN", "--angle", "0:30", "--max-atoms", "600"]
    rows = json.loads(invoke(*words, "--list", "--json", "--limit", "5").output)
    assert len(rows) == 5
    assert [r["cost"] for r in rows] == sorted(r["cost"] for r in rows)
    done = invoke(*words, "--pick", "3", "-o", tmp_path / "c.h5")
    assert done.exit_code == 0, done.output
    with moireio.open(tmp_path / "c.h5") as file:
        assert len(file.structure) == rows[2]["atoms"]
        assert file.moire.layers[1].angle == pytest.approx(rows[2]["angle"], abs=1e-6)
        strains = [layer.strain for layer in file.moire.layers]
        assert np.allclose(strains, rows[2]["strains"], atol=1e-12)
    table = invoke(*words, "--list", "--limit", "5").output
    assert len(table.splitlines()) == 7


def test_heterostrain_beyond_the_tolerance_is_refused_and_listed(invoke, tmp_path):
    words = ["build-twist", "graphene", "--angle", "3.68", "--max-atoms", "3000"]
    words += ["--strain", "2", "0.006", "--strain-tolerance", "1e-5"]
    refused = invoke(*words, "-o", tmp_path / "a.h5")
    assert refused.exit_code == 1
    assert "the nearest" in refused.output
    assert not (tmp_path / "a.h5").exists()
    listed = invoke(*words, "--list")
    assert listed.exit_code == 0
    assert "none within" in listed.output


@pytest.mark.parametrize(
    "words",
    [
        ["graphene"],
        ["graphene", "--index", "2", "1", "--angle", "3"],
        ["graphene", "--angle", "x"],
        ["graphene", "--index", "2", "1", "--strain", "7", "0.01"],
        ["graphene", "--index", "2", "1", "--pattern", "0a"],
        ["graphene", "--index", "2", "1", "--shift", "3", "0", "0"],
        ["graphene", "--index", "2", "1", "--basis", "C6.0-s2p2d1"],
    ],
)
def test_wrong_usage(invoke, tmp_path, words):
    assert invoke("build-twist", *words, "-o", tmp_path / "a.h5").exit_code == 2
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["unobtainium", "--index", "2", "1"],
        ["graphene", "--index", "2", "2"],
        ["graphene", "--index", "2", "1", "--interlayer", "1.0"],
        ["graphene", "--index", "2", "1", "--basis", "C=N6.0-s2p2d1"],
        ["graphene", "--angle", "1.0", "--max-atoms", "50"],
        ["phosphorene", "--index", "2", "1"],
        ["graphene", "--index", "2", "1", "--pattern", "00"],
    ],
)
def test_bad_input_is_one_line(run, tmp_path, words):
    run("build-twist", *words, "-o", tmp_path / "a.h5", check=False).assert_one_line_error()
    assert not os.listdir(tmp_path)


def test_picture(invoke, tmp_path):
    from PIL import Image

    path = tmp_path / "a.png"
    done = invoke("build-twist", "graphene", "--index", "6", "5", "--plot", path)
    assert done.exit_code == 0, done.output
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3).astype(int)
    for colour in ((0x1F, 0x4E, 0x8C), (0xD1, 0x60, 0x2A)):  # both layers are in it
        assert (np.abs(pixels - colour).sum(axis=1) < 60).sum() > 500


@pytest.fixture
def dataset(invoke, tmp_path, data, monkeypatch):
    """A small dataset and a program that stands for OpenMX."""
    fake = tmp_path / "fake"
    fake.write_text(FAKE)
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    text = (data / "gr_ab.out").read_text(errors="replace")
    loose = tmp_path / "loose.out"
    kept = [n for n in text.splitlines() if "SCF=" not in n or int(n.split()[1]) <= 7]
    loose.write_text("\n".join(kept) + "\n")
    monkeypatch.setenv("GOOD", str(data / "gr_ab.scfout"))
    monkeypatch.setenv("OUT", str(data / "gr_ab.out"))
    monkeypatch.setenv("LOOSE", str(loose))
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    words = ["make", "graphene", "--slide", "2", "2", "--supercell", "1", "1"]
    done = invoke("build-dataset", *words, "-o", tmp_path / "set")
    assert done.exit_code == 0, done.output
    return tmp_path / "set", str(fake)


def states(invoke, folder):
    rows = json.loads(invoke("build-dataset", "status", folder, "--json").output)
    return {row["name"]: (row["state"], row["reason"]) for row in rows}


def test_runs_that_succeed_fail_hang_and_are_killed(invoke, dataset, tmp_path, monkeypatch):
    folder, fake = dataset
    assert {s for s, _ in states(invoke, folder).values()} == {"missing"}
    runs = ["run", folder, "--command", fake, "--timeout", "1"]
    monkeypatch.setenv("FAKE", "mixed")
    done = invoke("build-dataset", *runs, "-j", "2")
    assert done.exit_code == 1
    assert "3 of 4 calculations failed" in done.output
    found = states(invoke, folder)
    assert found["slide_00_00"] == ("done", "")
    assert found["slide_00_01"][1] == "exit code 3: Error: cannot open C_PBE19.vps"
    assert "did not end within 1 s" in found["slide_01_00"][1]
    assert "killed by signal 9" in found["slide_01_01"][1]
    # a second run does only what is missing: nothing here, and with --retry what failed
    monkeypatch.setenv("FAKE", "ok")
    assert invoke("build-dataset", *runs).exit_code == 0
    assert len((tmp_path / "count").read_text().split()) == 4
    assert invoke("build-dataset", *runs, "--retry").exit_code == 0
    again = (tmp_path / "count").read_text().split()[4:]
    assert sorted(again) == ["slide_00_01", "slide_01_00", "slide_01_01"]
    assert {s for s, _ in states(invoke, folder).values()} == {"done"}
    collected = invoke("build-dataset", "collect", folder)
    assert collected.exit_code == 0, collected.output
    assert len(list((folder / "blocks").glob("*.h5"))) == 4
    assert "0 of them new" in invoke("build-dataset", "collect", folder).output


def test_no_convergence_is_a_failure(invoke, dataset, monkeypatch):
    folder, fake = dataset
    for path in folder.glob("*/*.dat"):
        path.write_text(path.read_text().replace("scf.maxIter 200", "scf.maxIter 7"))
    monkeypatch.setenv("FAKE", "loose")
    assert invoke("build-dataset", "run", folder, "--command", fake).exit_code == 1
    assert all("not converged after 7 steps" in r for _, r in states(invoke, folder).values())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_goes_on(invoke, dataset, tmp_path, monkeypatch, number):
    folder, fake = dataset
    monkeypatch.setenv("FAKE", "hang")
    words = [sys.executable, "-m", "moireio", "build-dataset", "run", str(folder)]
    process = subprocess.Popen([*words, "--command", fake], stderr=subprocess.PIPE)
    count = tmp_path / "count"
    deadline = time.monotonic() + 60
    while not (count.exists() and count.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert states(invoke, folder)["slide_00_00"][0] == "running"
    # another run leaves the claimed folder alone
    monkeypatch.setenv("FAKE", "ok")
    other = invoke("build-dataset", "run", folder, "--command", fake)
    assert other.exit_code == 0, other.output
    found = states(invoke, folder)
    assert found["slide_00_00"][0] == "running"
    assert [found[n][0] for n in sorted(found)[1:]] == ["done"] * 3
    process.send_signal(number)
    process.wait(30)
    deadline = time.monotonic() + 20
    while states(invoke, folder)["slide_00_00"][0] == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert states(invoke, folder)["slide_00_00"][0] == "interrupted"
    assert invoke("build-dataset", "run", folder, "--command", fake).exit_code == 0
    assert {s for s, _ in states(invoke, folder).values()} == {"done"}
    assert (tmp_path / "count").read_text().split().count("slide_00_00") == 2


def test_dataset_is_reproducible_and_not_overwritten(invoke, dataset, tmp_path):
    folder, _ = dataset
    words = ["make", "graphene", "--slide", "2", "2", "--supercell", "1", "1"]
    assert invoke("build-dataset", *words, "-o", tmp_path / "again").exit_code == 0
    one, two = (json.loads((f / "manifest.json").read_text()) for f in (folder, tmp_path / "again"))
    assert one == two
    assert (folder / "runs.txt").read_text().split() == [r["name"] for r in one["structures"]]
    refused = invoke("build-dataset", *words, "-o", folder)
    assert refused.exit_code == 1
    assert "not empty" in refused.output
    refused = invoke("build-dataset", "status", tmp_path)
    assert refused.exit_code == 1
    refused = invoke("build-dataset", "run", folder, "--command", "/no/such/program")
    assert refused.exit_code == 1
    assert {s for s, _ in states(invoke, folder).values()} == {"missing"}


def test_twisted_and_mixed_datasets(invoke, tmp_path):
    words = ["make", "MoTe2", "--soc", "--twist", "2", "1", "--twist", "3", "2", "--copies", "2"]
    assert invoke("build-dataset", *words, "-o", tmp_path / "tw").exit_code == 0
    rows = json.loads((tmp_path / "tw" / "manifest.json").read_text())["structures"]
    assert [r["atoms"] for r in rows] == [42, 42, 114, 114]
    words = ["make", "MoTe2", "WSe2", "--slide", "1", "2", "--supercell", "1", "1"]
    refused = invoke("build-dataset", *words, "-o", tmp_path / "mix")
    assert refused.exit_code == 1
    assert "--max-strain" in refused.output
    words += ["--max-strain", "0.04"]
    done = invoke("build-dataset", *words, "-o", tmp_path / "mix")
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "mix" / "manifest.json").read_text())["structures"]
    assert len(rows) == 2
    words = ["make", "graphene", "hBN", "--slide", "1", "1"]
    assert invoke("build-dataset", *words, "-o", tmp_path / "gb").exit_code == 0
    rows = json.loads((tmp_path / "gb" / "manifest.json").read_text())["structures"]
    assert rows[0]["atoms"] == 36


def test_the_report_is_about_what_was_built(invoke, tmp_path):
    words = ["build-twist", "graphene", "--index", "2", "1", "--force", "-o", tmp_path / "a.h5"]
    done = invoke(*words, "--repeat", 2, 3, "--strain", "all", "0.01", "--json")
    assert "168 atoms in 2 × 3 cells, all layers strained by xx 1.0000 yy -0.1600" in done.stderr
    assert "note: --index 2 1 turns clockwise (-21.7868°)" in done.stderr
    built = json.loads(done.stdout)
    assert (built["atoms"], built["repeat"]) == (168, [2, 3])
    assert [layer["layer"] for layer in built["layers"]] == [1, 2]
    assert built["layers"][1]["strain"][0][0] == pytest.approx(0.01)
    assert built["angle"] == pytest.approx(-21.786789, abs=1e-6)
    done = invoke(*words, "--ribbon", 4)
    assert "112 atoms (a ribbon, 4 cells wide, open along vector 1), no strain" in done.stderr
    assert "no --repeat" in invoke(*words, "--ribbon", 4, "--repeat", 2, 2).stderr
    words = ["build-twist", "graphene", "--index", "1", "2"]
    assert "note" not in invoke(*words, "-o", tmp_path / "b.h5").stderr
    refused = invoke(*words, "--json")
    assert refused.exit_code == 2
    assert "give -o FILE" in refused.stderr


def test_a_layer_with_eight_decimals_finds_exact_cells(invoke, tmp_path):
    path = tmp_path / "g.xyz"
    path.write_text(
        '2\nLattice="1.23 -2.13042249 0.0 1.23 2.13042249 0.0 0.0 0.0 100.0" pbc="T T F"\n'
        "C 0.0 0.0 50.0\nC 1.23 0.71014083 50.0\n"
    )
    words = ["build-twist", path, "--interlayer", 3.35, "--list", "--json"]
    done = invoke(*words, "--angle", 21.787)
    assert "the lattice is taken as hexagonal, 2.46 Å; it differs" in done.stderr
    cells = json.loads(done.stdout)
    assert [(c["atoms"], np.abs(c["strains"]).max()) for c in cells] == [(28, 0.0)]
    best = json.loads(invoke(*words, "--angle", 1.1).stdout)[0]
    assert best["atoms"] == 11164
    assert best["angle"] == pytest.approx(1.084549, abs=1e-6)


@pytest.mark.parametrize(("name", "atoms"), [("graphene", 4), ("phosphorene", 8)])
def test_angle_zero_is_listed_at_once(invoke, name, atoms):
    begin = time.process_time()
    (cell,) = json.loads(invoke("build-twist", name, "--angle", 0, "--list", "--json").stdout)
    assert (cell["atoms"], cell["angle"]) == (atoms, 0.0)
    assert time.process_time() - begin < 10  # they were 29 s and 100 s


def test_strain_on_layers_by_number(invoke, tmp_path):
    words = ["build-twist", "graphene", "hBN", "--angle", 10.9, "--max-strain", 0.01, "--strain-on"]
    for number, other in ((1, 2), (2, 1)):
        path = tmp_path / f"{number}.h5"
        done = invoke(*words, number, "-o", path)
        assert f"layer {number} strained by" in done.stderr
        assert f"layer {other}" not in done.stderr


def test_one_bad_output_names_its_calculation(invoke, dataset, data, monkeypatch):
    """And does not stop the set: the others are reported, collected and run."""
    folder, fake = dataset
    outputs = {
        "slide_00_00": (data / "gr_ab.out").read_text(errors="replace"),
        "slide_00_01": "SCF=  1  NormRD=  1.0  Uele=  -0.5\nSCF=  2  NormRD=  1.0  Uele=  -",
        "slide_01_00": "SCF=  2  NormRD=  1.0  Uele=  -0.5\n",
    }
    for name, text in outputs.items():
        shutil.copy(data / "gr_ab.scfout", folder / name / f"{name}.scfout")
        (folder / name / f"{name}.out").write_text(text)
    assert states(invoke, folder) == {
        "slide_00_00": ("done", ""),
        "slide_00_01": ("running", ""),  # OpenMX, started by somebody else, still writes
        "slide_01_00": (
            "failed", "slide_01_00.out: its history begins with step 2, 1 is expected"
        ),
        "slide_01_01": ("missing", ""),
    }  # fmt: skip
    collected = invoke("build-dataset", "collect", folder)
    assert collected.exit_code == 0, collected.output
    assert "not collected: 1 failed, 1 running, 1 missing (see status)" in collected.stderr
    assert [path.stem for path in (folder / "blocks").glob("*.h5")] == ["slide_00_00"]
    monkeypatch.setenv("FAKE", "ok")
    assert invoke("build-dataset", "run", folder, "--command", fake).exit_code == 0
    assert states(invoke, folder)["slide_01_01"] == ("done", "")


def test_spin_orbit_coupling_on_request(invoke, tmp_path):
    words = ["build-twist", "MoTe2", "--index", 1, 2, "--basis", "Mo=Mo7.0-s3p2d2", "--force"]
    for more, spin in (((), "none"), (("--soc",), "spinor")):
        done = invoke(*words, *more, "-o", tmp_path / "m.dat")
        assert done.exit_code == 0, done.output
        found = dat.read(tmp_path / "m.dat")
        assert found.spin == spin
        assert found.keywords.word("scf.SpinOrbit.Coupling") == ("on" if more else "off")
        assert found.species == {"Mo": "Mo7.0-s3p2d2", "Te": "Te7.0-s3p2d2"}
    assert invoke(*words, "-o", tmp_path / "m.h5").exit_code == 0
    assert invoke("convert-h", tmp_path / "m.h5", "--soc", "-o", tmp_path / "n.dat").exit_code == 0
    assert dat.read(tmp_path / "n.dat").spin == "spinor"
    for command in (words, ["convert-h", tmp_path / "m.h5"]):
        refused = invoke(*command, "--soc", "-o", tmp_path / "n.h5")
        assert (refused.exit_code, "--soc is for OpenMX inputs" in refused.stderr) == (2, True)
    refused = invoke("convert-h", tmp_path / "m.h5", "--soc", "-o", tmp_path / "n.cif")
    assert "n.cif: only an OpenMX input has spin-orbit coupling (write a .dat)" in refused.stderr
