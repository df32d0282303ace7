"""compare-h of collinear Hamiltonians."""

import json

import toymodels


def test_a_table_for_each_spin(invoke, tmp_path):
    layer = toymodels.haldane(M=0.2)
    files = [
        toymodels.of_both_spins(layer, layer, exchange, 2).write(tmp_path / f"{exchange}.h5")
        for exchange in (0.3, 0.5)
    ]
    up, down = json.loads(invoke("compare-h", *files, "--json").stdout)
    assert (up["spin"], down["spin"]) == ("up", "down")
    assert abs(up["mu"] - down["mu"]) < 1e-12
    # there is no S: no shift is removed, and spin down differs by 0.2 eV on either site
    assert up["mean"] == 0
    assert abs(down["onsite"] - 0.2) < 1e-12
    lines = invoke("compare-h", *files).stdout.splitlines()
    assert [line for line in lines if line.startswith("spin")] == ["spin up", "spin down"]
    table = tmp_path / "x.csv"
    assert invoke("compare-h", *files, *files, "--csv", table).exit_code == 0
    rows = [line.split(",") for line in table.read_text("utf-8").splitlines()]
    assert [row[2] for row in rows] == ["spin", "up", "down", "up", "down"]
    for option in (("--bands", 1), ("--plot", tmp_path / "x.png")):
        done = invoke("compare-h", *files, *option)
        assert done.exit_code == 1
        assert f"(leave out {option[0]}" in done.stderr
