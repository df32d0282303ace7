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
