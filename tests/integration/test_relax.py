"""relax as a user runs it."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from relaxing import bilayer, needs_lammps

import moireio
from moireio.formats.structures import files as structure_files
from moireio.system.basis import Basis

FACTORY = """
import os, signal
from ase.calculators.emt import EMT

class Killed(EMT):
    count = 0
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.count += 1
        if self.count == int(os.environ.get("KILL_AT", "0")):
            os.kill(os.getpid(), signal.SIGKILL)

def make():
    return Killed()
"""
EMT = "ase.calculators.emt:EMT"


@pytest.fixture
def cell(invoke, tmp_path):
    """A twisted bilayer of 28 atoms with S."""
    path = tmp_path / "cell.h5"
    words = ("graphene", "--index", 1, 2, "-q", "-o", tmp_path / "bare.h5")
    assert invoke("build-twist", *words).exit_code == 0
    assert invoke("overlap", tmp_path / "bare.h5", "-o", path).exit_code == 0
    return path


@needs_lammps
def test_what_is_kept_and_what_is_left_out(invoke, cell, tmp_path):
    out = tmp_path / "out.h5"
    done = invoke("relax", cell, "-o", out, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["calculator"], found["converged"]) == ("auto", True)
    assert set(found["files"]) == {"CH.rebo", "BNCH.ILP"}
    assert found["energy_after_eV"] < found["energy_before_eV"]
    assert set(found["distances_A"]) == set(found["local_twist_deg"]) == {"AA", "AB", "BA", "SP"}
    assert (found["group_before"], found["group_after"]) == ("P622", "P622")
    assert "note: left out, of the former positions, with the R of their pairs: /overlap" in (
        done.stderr
    )
    assert invoke("h5-validate", out).exit_code == 0
    assert "relax        auto, " in invoke("h5-info", out).stdout
    with moireio.open(cell) as before, moireio.open(out) as after:
        assert "overlap" not in after
        assert after.basis.species.keys() == before.basis.species.keys()
        assert (after.structure.layer == before.structure.layer).all()
        assert [m.angle for m in after.moire.layers] == [m.angle for m in before.moire.layers]
        assert (after.structure.cell == before.structure.cell).all()
        record = after.result("relax")
        assert after.history[-1].command == "relax"
        moved = after.structure.positions - before.structure.positions
    np.testing.assert_allclose(record.displacements, moved - moved.mean(axis=0), atol=1e-10)
    again = invoke("overlap", out, "-o", tmp_path / "again.h5")
    assert again.exit_code == 0
    with moireio.open(tmp_path / "again.h5") as file:  # the record stays
        assert file.result("relax").energy_after == record.energy_after


@needs_lammps
def test_a_free_cell_and_that_of_the_potential(invoke, cell, tmp_path):
    cells = {}
    for name in ("fixed", "free", "potential"):
        out = tmp_path / f"{name}.h5"
        done = invoke("relax", cell, "-o", out, "--cell", name, "--fmax", 1e-3)
        assert done.exit_code == 0, done.stderr
        assert invoke("h5-validate", out).exit_code == 0  # /moire makes the cell
        with moireio.open(out) as file:
            cells[name] = np.linalg.norm(file.structure.cell[0])
            lattice = file.moire.layers[0].lattice[0, 0]
    assert lattice == pytest.approx(2.4602, abs=1e-4)
    assert cells["potential"] / cells["fixed"] == pytest.approx(2.4602 / 2.46, abs=1e-4)
    assert cells["free"] < cells["fixed"]  # layers attract


def test_pipes_and_structure_files(run, invoke, cell, tmp_path):
    words = ("--calculator", EMT, "--steps", 1, "-q")
    (tmp_path / "x.h5").write_bytes(run("relax", *words, stdin=cell.read_bytes()).stdout)
    assert invoke("relax", tmp_path / "x.h5", *words, "-o", tmp_path / "x.xyz").exit_code == 0
    assert invoke("relax", tmp_path / "x.xyz", *words, "-o", tmp_path / "y.h5").exit_code == 0
    with moireio.open(tmp_path / "y.h5") as file:
        structure = structure_files.read(str(tmp_path / "x.xyz"))
        assert len(file.structure) == len(structure) == 28
        assert file.result("relax").steps == 1


@pytest.mark.parametrize(
    ("pattern", "pairs", "drawn"),
    [("0011", [[2, 3]], "layers 2 and 3"), ("0101", [[1, 2], [2, 3], [3, 4]], "layers 1 and 2")],
)
def test_every_two_layers_with_a_moire_pattern(invoke, tmp_path, pattern, pairs, drawn):
    path, out = tmp_path / "cell.h5", tmp_path / "out.h5"
    words = ["--pattern", pattern, "--index", 1, 2]
    for distance in (3.3, 3.4, 3.5):
        words += ["--interlayer", distance]
    assert invoke("build-twist", *["graphene"] * 4, *words, "-o", path).exit_code == 0
    words = ["-c", EMT, "--steps", 0, "--json", "--plot", tmp_path / "x.svg"]
    done = invoke("relax", path, "-o", out, *words)
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert [pair["layers"] for pair in found["pairs"]] == pairs
    for pair in found["pairs"]:
        distance = (3.3, 3.4, 3.5)[pair["layers"][0] - 1]
        assert pair["distances_A"] == pytest.approx(
            dict.fromkeys(("AA", "AB", "BA", "SP"), distance)
        )
    assert found["distances_A"] == found["pairs"][0]["distances_A"]
    assert f"distance of {drawn}, Å: AA 3." in done.stderr
    with moireio.open(out) as file:
        assert file.result("relax").as_json()["pairs"] == found["pairs"]


def test_layers_that_stand_upright(invoke, cell, tmp_path):
    def relaxed(source, out):
        words = ["-c", EMT, "--steps", 2, "--json", "-o", out, "--plot", f"{out}.png"]
        done = invoke("relax", source, *words)
        assert done.exit_code == 0, done.stderr
        with moireio.open(out) as file:
            return json.loads(done.stdout), file.result("relax").displacements

    with moireio.open(cell) as file:
        flat = file.structure
    noise = np.random.default_rng(0).normal(size=flat.positions.shape) * 0.02
    flat = replace(flat, positions=flat.positions + noise)
    order, turn = [1, 2, 0], np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    upright = replace(
        flat,
        cell=flat.cell[order] @ turn,
        pbc=flat.pbc[order],
        positions=flat.positions @ turn,
    )
    for name, structure in (("flat", flat), ("upright", upright)):
        structure_files.write(str(tmp_path / f"{name}.vasp"), structure, Basis(), "", False)
    one, moved = relaxed(tmp_path / "flat.vasp", tmp_path / "flat.h5")
    other, turned = relaxed(tmp_path / "upright.vasp", tmp_path / "upright.h5")
    assert other["energy_after_eV"] == pytest.approx(one["energy_after_eV"], abs=1e-6)
    assert turned == pytest.approx(moved @ turn, abs=1e-5)
    assert other["inplane_A"] == pytest.approx(one["inplane_A"], abs=1e-5)


def test_what_does_not_converge(invoke, cell, tmp_path):
    words = ("relax", cell, "--calculator", EMT, "--fmax", 1e-9)
    stopped = invoke(*words, "--steps", 1, "-o", tmp_path / "a.h5")
    assert stopped.exit_code == 0
    with moireio.open(tmp_path / "a.h5") as file:
        assert not file.result("relax").converged
    resumed = invoke(*words, "--steps", 2, "-o", tmp_path / "a.h5", "--resume", "--force")
    assert resumed.exit_code == 0
    with moireio.open(tmp_path / "a.h5") as file:
        assert file.result("relax").steps == 2


def test_usage(invoke, cell, tmp_path):
    for words, message in (
        (("--json",), "--json prints on standard output: give -o FILE"),
        (("--resume",), "--resume needs -o FILE"),
        (("--in-place", "-o", tmp_path / "x.h5"), "exclude each other"),
    ):
        done = invoke("relax", cell, *words)
        assert (done.exit_code, message in done.stderr) == (2, True)
    done = invoke("relax", cell, "-c", "chgnet", "-o", tmp_path / "x.h5")
    assert done.exit_code == 1
    assert "(--d3 pbe adds it, --d3 none goes without)" in done.stderr
    assert not (tmp_path / "x.h5").exists()


def test_a_single_layer(invoke, tmp_path):
    """Pictures are refused before the layer is relaxed; gained symmetry is no warning."""
    path, out = tmp_path / "x.vasp", tmp_path / "out.h5"
    structure = bilayer("graphene", "graphene", 3.4)
    one = structure.layer == 0
    noise = np.random.default_rng(0).normal(size=(int(one.sum()), 3)) * 0.01
    layer = replace(
        structure,
        positions=structure.positions[one] + noise,
        numbers=structure.numbers[one],
        species=structure.species[one],
        layer=None,
    )
    structure_files.write(str(path), layer, Basis(), "", False)
    words = ["-c", EMT, "--fmax", 1e-6]
    done = invoke("relax", path, "-o", out, *words, "--plot", tmp_path / "x.png")
    assert done.exit_code == 1
    assert "x.vasp: there are no two layers to draw (leave out --plot)" in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.vasp"]
    done = invoke("relax", path, "-o", out, *words)
    assert done.exit_code == 0, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("group ")
    before, after = last.removeprefix("group ").removesuffix(" after").split(" before, ")
    assert before != after


def test_killed_and_resumed(tmp_path):
    start = bilayer("graphene", "graphene", 3.4, (0.2, 0.1))
    noise = np.random.default_rng(0).normal(size=start.positions.shape) * 0.05
    cell = tmp_path / "start.xyz"
    structure_files.write(str(cell), replace(start, positions=start.positions + noise), Basis())
    (tmp_path / "killed.py").write_text(FACTORY)
    out, whole = tmp_path / "out.h5", tmp_path / "whole.h5"

    def relax(target, *words, kill_at=0):
        command = [sys.executable, "-m", "moireio", "relax", cell, "-o", target, *words]
        command += ["-c", "killed:make", "--fmax", "1e-2"]
        environment = os.environ | {"KILL_AT": str(kill_at)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)

    assert relax(whole).returncode == 0
    assert relax(out, kill_at=5).returncode == -9
    assert not out.exists()
    done = relax(out, "--resume")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out.h5.part.npz").exists()
    with moireio.open(out) as one, moireio.open(whole) as other:
        first, second = one.result("relax"), other.result("relax")
    assert first.energy_before == second.energy_before
    assert first.energy_after == pytest.approx(second.energy_after, abs=1e-4)
