"""``edge-project`` as a user runs it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import toymodels

import moireio
from moireio.blockfile.stream import write_target
from moireio.topology.ribbon import RibbonSource, ribbon_structure

CUT = ("--cut", 12, "--points", 15)


@pytest.fixture(scope="module")
def haldane(tmp_path_factory):
    return toymodels.haldane(M=0.1).write(tmp_path_factory.mktemp("edges") / "haldane.h5")


def test_table_and_json(haldane, invoke):
    done = invoke("edge-project", haldane, *CUT, "--main-gap-chern", -1)
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines() if not line.startswith("#")]
    assert [row[1:8] for row in rows] == [
        ["low", "-1", "-", "-", "1", "-1", "yes"],
        ["high", "+1", "-", "-", "1", "-1", "yes"],
    ]
    words = ("--open", 2, "--energy", 0.1, "--energy", -0.1, "--json")
    found = json.loads(invoke("edge-project", haldane, *CUT, *words).stdout)
    assert (found["open"], found["periodic"], found["width"]) == (2, 1, 12)
    assert np.shape(found["energies"]) == np.shape(found["weights"]["low"]) == (15, 24)
    total = sum(np.array(found["weights"][name]) for name in ("low", "high", "middle"))
    assert np.allclose(total, 1)
    assert found["sz"] is None
    assert [(g["energy"], g["low"]["net"], g["high"]["net"]) for g in found["gaps"]] == [
        (0.1, 1, -1),
        (-0.1, 1, -1),
    ]
    assert [(g["chern"], g["agree"]) for g in found["gaps"]] == [(-1, True)] * 2
    assert "agreement" not in found


def test_spin_and_a_figure(tmp_path, invoke):
    source = toymodels.kane_mele().write(tmp_path / "km.h5")
    words = (source, *CUT, "--energy", -0.04, "--plot", tmp_path / "x.png")
    words += ("--text", tmp_path / "x.txt", "-o", tmp_path / "out.h5")
    assert invoke("edge-project", *words).exit_code == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    lines = (tmp_path / "x.txt").read_text("utf-8").splitlines()
    assert lines[3].split()[1:6] == ["low", "0", "-1", "+1", "2"]
    states = np.loadtxt([line for line in lines[5:] if line and not line.startswith("#")])
    assert states.shape == (15 * 48, 7)
    with moireio.open(tmp_path / "out.h5") as file:
        edges = file.result("edges")
        assert file.history[-1].command == "edge-project"
    assert np.allclose(states[:, 1], edges.energies.ravel(), atol=1e-8)
    assert np.allclose(states[:, 6], edges.spin[2].ravel(), atol=1e-5)
    done = invoke("h5-validate", tmp_path / "out.h5")
    assert done.stdout.endswith("valid\n")


@pytest.mark.parametrize(
    ("exchange", "electrons", "up", "down", "energy"),
    [(0.3, 2, -1, 1, 0.15), (7.0, 1, -1, 0, 0.0), (7.0, 3, 0, 1, 7.0)],
)
def test_the_gap_of_both_spins(invoke, tmp_path, exchange, electrons, up, down, energy):
    layers = toymodels.haldane(M=0.2), toymodels.haldane(M=0.2, phi=-np.pi / 2)
    path = toymodels.of_both_spins(*layers, exchange, electrons).write(tmp_path / "x.h5")
    done = invoke("edge-project", path, "--cut", 12, "--json")
    assert done.exit_code == 0, done.stderr
    (gap,) = json.loads(done.stdout)["gaps"]
    assert gap["energy"] == pytest.approx(energy)
    assert (gap["low"]["up"], gap["low"]["down"]) == (up, down)
    assert (gap["chern"], gap["agree"]) == (up + down, True)  # (periodic × open)_z < 0
    signs = [f"{n:+d}" if n else "0" for n in (up, down)]
    assert f"eV C is {signs[0]} of spin up, {signs[1]} of spin down" in done.stderr


def test_a_ribbon_too_narrow_to_be_compared(haldane, invoke):
    words = ("edge-project", haldane, "--points", 41)
    done = invoke(*words, "--cut", 1)
    rows = [line.split() for line in done.stdout.splitlines() if not line.startswith("#")]
    assert [(row[2], row[6], row[7]) for row in rows] == [("0", "-1", "?")] * 2
    assert "too narrow to be compared with C (give a larger --cut)" in done.stderr
    done = invoke(*words, "--cut", 5, "--main-gap-chern", 1, "--json")
    assert json.loads(done.stdout)["gaps"][0]["agree"] is False
    assert "narrow" not in done.stderr


def test_refusals(haldane, invoke, tmp_path):
    def error(*words, code=1):
        done = invoke("edge-project", haldane, *words, "-q")
        assert done.exit_code == code
        return done.stderr.splitlines()[-1]

    assert "periodic along 2 vectors, a ribbon along one (cut one from it with --cut)" in error()
    assert "1.5 eV is in no gap of the layer: band 2 passes it (give another --energy)" in error(
        *CUT, "--energy", 1.5
    )
    assert "a ribbon is cut along vector 3" in error(*CUT, "--open", 3)
    metal = toymodels.haldane(M=0.0, t2=0.0).write(tmp_path / "metal.h5")
    done = invoke("edge-project", metal, *CUT)
    assert "there is no gap above the filled bands (give --energy in eV)" in done.stderr


@pytest.mark.parametrize(
    ("name", "energy", "agreement", "z2"),
    [
        ("haldane", 0.0, (-1, -1, -1, -1), None),
        ("t3", 0.0, (-1, 2, 2, 2), None),
        ("kane-mele", -0.04, (0, 0, 0, 0), 1),
    ],
)
def test_four_ways_agree(tmp_path, invoke, name, energy, agreement, z2):
    models = {
        "haldane": toymodels.haldane(M=0.1),
        "t3": toymodels.haldane(t3=-0.5),
        "kane-mele": toymodels.kane_mele(),
    }
    bands = ("--bands", f"1:{models[name].filled}")
    source = models[name].write(tmp_path / "x.h5")
    for command in ("c3-chern", "chern"):
        assert invoke(command, source, *bands, "--in-place", "-q").exit_code == 0
    words = (source, "--cut", 16, "--open", 1, "--energy", energy, "--points", 15)
    done = invoke("edge-project", *words, "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    names = ("c3", "fukui", "wilson", "edges")
    assert found["agreement"] == dict(zip(names, agreement, strict=True))
    assert found["z2"] == {"wilson": z2, "edges": z2}


@pytest.mark.parametrize(
    ("name", "cut", "energy", "last", "z2"),
    [
        ("haldane", 1, 0.0, "c3 -1, fukui -1, wilson -1, edges ?: ?", None),
        ("kane-mele", 2, -0.04, "c3 0, fukui 0, wilson 0, edges ?, Z2 1, Z2 of edges ?: ?", 1),
    ],
)
def test_a_narrow_ribbon_does_not_disagree(tmp_path, invoke, name, cut, energy, last, z2):
    model = {"haldane": toymodels.haldane(M=0.1), "kane-mele": toymodels.kane_mele()}[name]
    source = model.write(tmp_path / "x.h5")
    for command in ("c3-chern", "chern"):
        words = ("--bands", f"1:{model.filled}", "--in-place", "-q")
        assert invoke(command, source, *words).exit_code == 0
    words = ("edge-project", source, "--cut", cut, "--energy", energy, "--points", 41)
    done = invoke(*words)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"agreement: {last}"
    assert done.stderr.count("too narrow to be compared with C (give a larger --cut)") == 1
    found = json.loads(invoke(*words, "--json").stdout)
    assert found["agreement"]["edges"] is None
    assert found["z2"] == {"wilson": z2, "edges": None}


def test_one_pipe(haldane, run):
    one = run("c3-chern", haldane, "--bands", "1:1", "-o", "-").stdout
    two = run("chern", "--bands", "1:1", "-o", "-", stdin=one).stdout
    done = run("edge-project", *CUT, "--open", 1, "--energy", 0, stdin=two)
    last = done.text.splitlines()[-1]
    assert last == "agreement: c3 -1, fukui -1, wilson -1, edges -1: yes"


def test_a_disagreement_is_an_error(haldane, tmp_path, invoke):
    wrong = tmp_path / "wrong.h5"
    assert invoke("chern", haldane, "--bands", "1:1", "-o", wrong).exit_code == 0
    with moireio.open(wrong) as file:
        numbers = file.result("chern")
    other = type(numbers)((replace(numbers.groups[0], chern=1, c3_mod3=None),))
    with moireio.open(haldane) as base, write_target(str(wrong), base=base, force=True) as out:
        out.result("chern", other)
    done = invoke("edge-project", wrong, *CUT)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "agreement: c3 ?, fukui +1, wilson -1, edges -1: no"
    assert done.stderr.splitlines()[-1].startswith(f"error: {wrong}: the Chern numbers of C3")


def test_a_ribbon_of_its_own(haldane, invoke, tmp_path):
    with moireio.open(haldane) as file, write_target(str(tmp_path / "r.h5")) as out:
        out.structure(ribbon_structure(file.structure, 12, 1))
        out.basis(file.basis)
        out.operator(RibbonSource(file.hamiltonian, 12, 1))
    words = ("--energy", 0.1, "--points", 15, "--json")
    own = json.loads(invoke("edge-project", tmp_path / "r.h5", *words).stdout)
    cut = json.loads(invoke("edge-project", haldane, "--cut", 12, "--open", 2, *words).stdout)
    assert (own["width"], own["open"], own["periodic"]) == (None, 2, 1)
    assert own["gaps"][0]["low"] == cut["gaps"][0]["low"]
    assert own["gaps"][0]["chern"] is None
    assert np.allclose(own["weights"]["high"], cut["weights"]["high"])
    known = ("--main-gap-chern", -1)
    own = json.loads(invoke("edge-project", tmp_path / "r.h5", *words, *known).stdout)
    assert own["gaps"][0]["agree"]


def test_half_infinite_layers(haldane, tmp_path, invoke):
    words = (haldane, "--semi-infinite", "--points", 15)
    found = json.loads(invoke("edge-project", *words, "--json").stdout)
    assert (found["semi_infinite"], found["width"], found["energies"][0]) == (True, None, [])
    assert [found["gaps"][0][edge]["net"] for edge in ("low", "high")] == [-1, 1]
    assert found["gaps"][0]["agree"]
    picture = tmp_path / "x.png"
    assert invoke("edge-project", *words, "--plot", picture).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    done = invoke("edge-project", *words, "--cut", 3)
    assert done.exit_code == 2
