"""irreps as a user runs it."""

import json

import numpy as np
import toymodels


def test_table_and_json(invoke, made, tmp_path):
    done = invoke("irreps", made["gr_ab"], "--bands", "v2:c2", "--points", "G,K")
    assert done.exit_code == 0, done.stderr
    assert "# K: little group D3 (32)" in done.stdout
    found = json.loads(
        invoke("irreps", made["gr_ab"], "--bands", "v2:c2", "--points", "K", "--json").stdout
    )
    assert list(found["points"]) == ["K"]
    assert [level["label"] for level in found["points"]["K"]["levels"]] == ["A1", "E", "A2"]


def test_refusals(invoke, made):
    done = invoke("irreps", made["hbn_soc"], "--z2")
    assert done.exit_code == 1
    assert "has no Z2 from parities" in done.stderr
    done = invoke("irreps", made["gr_ab"], "--points", "X")
    assert done.exit_code == 1
    assert "there is no corner X (known: G, M, K, K')" in done.stderr


def test_either_spin_by_itself(invoke, tmp_path):
    layers = toymodels.haldane(M=0.2), toymodels.haldane(M=0.2, phi=-np.pi / 2)
    path = toymodels.of_both_spins(*layers, 7.0, 3).write(tmp_path / "both.h5")
    words = ["--bands", "v1:v1", "--points", "G,K", "--json"]
    both = json.loads(invoke("irreps", path, *words).stdout)
    assert [(one["spin"], one["bands"]) for one in both] == [("up", [2, 2]), ("down", [1, 1])]
    for one, layer, higher in zip(both, layers, (0.0, 7.0), strict=True):
        alone = layer.write(tmp_path / f"{one['spin']}.h5")
        number = one["bands"][0]
        words = ["--bands", f"{number}:{number}", "--points", "G,K", "--json"]
        expected = json.loads(invoke("irreps", alone, *words).stdout)["points"]
        for label, point in one["points"].items():
            (level,), (same,) = point["levels"], expected[label]["levels"]
            assert level["label"] == same["label"] != "?"
            assert abs(level["energy"] - same["energy"] - higher) < 1e-9
    text = invoke("irreps", path, "--bands", "1:2", "--points", "K").stdout
    assert [line for line in text.splitlines() if "spin" in line] == ["# spin up", "# spin down"]


def test_oxygen_is_a_triplet(invoke, made):
    words = ["--bands", "v2:v1", "--points", "G", "--json"]
    found = json.loads(invoke("irreps", made["o2_col"], *words).stdout)
    labels = [sorted(n["label"] for n in one["points"]["G"]["levels"]) for one in found]
    assert [one["bands"] for one in found] == [[6, 7], [4, 5]]  # 12 valence electrons
    assert labels == [["B2g", "B3g"], ["B2u", "B3u"]]  # πg of spin up, πu of spin down


def test_a_supercell_has_the_irreps_of_its_cell(invoke, tmp_path):
    found = {}
    for name, words in (("cell", ()), ("supercell", ("--repeat", 2, 2))):
        bare, path = tmp_path / f"{name}-bare.h5", tmp_path / f"{name}.h5"
        assert invoke("build-twist", "graphene", "--index", 1, 2, *words, "-o", bare).exit_code == 0
        assert invoke("tb-h", bare, "-m", "moon-koshino", "-o", path).exit_code == 0
        bands = "1:8" if name == "cell" else "1:24"
        done = invoke("irreps", path, "--bands", bands, "--points", "G", "--json")
        found[name] = json.loads(done.stdout)["points"]["G"]["levels"]
    assert max(level["deviation"] for level in found["supercell"]) < 1e-6
    alone = {round(level["energy"], 6): level["label"] for level in found["cell"]}
    folded = {round(level["energy"], 6): level["label"] for level in found["supercell"]}
    common = alone.keys() & folded.keys()
    assert len(common) >= 3
    assert {e: alone[e] for e in common} == {e: folded[e] for e in common}
