"""compare-h over a series of twist angles."""

import json

import pytest
import torch
from orbitals import write_pao
from systems import small_model

from moireio.network.modelfile import write


def test_series_of_angles(run, tmp_path):
    write_pao(tmp_path / "C7.0.pao")
    for seed in (0, 1):
        model = small_model(local=True, dtype=torch.float32, seed=seed, C="s2p2d1")
        write(str(tmp_path / f"m{seed}.h5"), model)
    files, angles = [], (32.204, 21.787)
    for index in ((1, 3), (2, 1)):
        name = f"{index[0]}{index[1]}"
        words = ["--index", *index, "--basis", "C=C7.0-s2p2d1", "-o", tmp_path / f"{name}.h5"]
        run("build-twist", "graphene", *words)
        run("overlap", tmp_path / f"{name}.h5", "--pao", tmp_path, "--in-place")
        for seed in (0, 1):
            out = tmp_path / f"{name}_{seed}.h5"
            run("predict-h", tmp_path / f"{name}.h5", "-m", tmp_path / f"m{seed}.h5", "-o", out)
            files.append(out)
    words = ["--bands", 3, "--points", 3]
    out = ["--plot", tmp_path / "a.png", "--csv", tmp_path / "a.csv"]
    done = run("compare-h", *files, *words, *out)
    lines = done.text.splitlines()
    assert len(lines) == 4
    for line, angle in zip(lines[2:], angles, strict=True):
        assert float(line.split()[0]) == pytest.approx(angle, abs=1e-3)
    assert (tmp_path / "a.png").stat().st_size > 10_000
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert rows[0].endswith("angle,atoms,mean,by_orbitals,largest,below,above")
    one = json.loads(run("compare-h", *files[2:], *words, "--json").text)
    assert float(rows[2].split(",")[4]) == pytest.approx(one["mean"] * 1e3, rel=1e-5)
    mean = 1e3 * sum(one["bands"]["above"]) / 3
    assert float(rows[2].split(",")[8]) == pytest.approx(mean, rel=1e-5)
    done = run("compare-h", *files[:3], check=False)
    assert done.code == 2
