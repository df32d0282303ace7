"""irreps as a user runs it."""

import json


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
    done = invoke("irreps", made["o2_col"])
    assert done.exit_code == 1


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
