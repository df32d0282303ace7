"""Registries as a user keeps them."""

import json
import shutil
import subprocess
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
import torch
from e3_runs import export
from systems import small_model

from moireio.models.shipped import model_with
from moireio.network.modelfile import read

SHELLS = {"C": "s2p2d1", "N": "s1"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory, data):
    """moireio's own model, with AB graphene as test cell; a copy of it; one of DeepH-E3."""
    from click.testing import CliRunner

    from moireio.tools.models import main

    folder, runs = tmp_path_factory.mktemp("registry"), tmp_path_factory.mktemp("runs")
    model = small_model(dtype=torch.float32, **SHELLS)
    export(model, runs / "e3" / "model")
    (runs / "card.toml").write_text('licence = "MIT"\n[domain]\nangles = [4, 60]\n')
    words = ["--registry", str(folder), "-q"]
    ab, card = str(data / "gr_ab.scfout"), str(runs / "card.toml")
    for line in (
        ["add", model_with(["C"]), "--test", ab, "--data", ab, "--card", card, *words],
        ["add", str(runs / "e3" / "model"), "--author", "N. N.", *words],
    ):
        done = CliRunner().invoke(main, line)
        assert done.exit_code == 0, done.output
    shutil.copy(folder / "graphene-bilayer.h5", folder / "twin.h5")
    return folder


def listed(invoke, registry, *words):
    done = invoke("models", *words, "--registry", registry, "--json")
    return done.exit_code, json.loads(done.stdout)


def test_list_and_show(invoke, registry, data):
    from moireio.formats.calculations import open_calculation
    from moireio.network.training.parallel import Workers
    from moireio.network.training.report import report
    from moireio.network.training.samples import make_sample, mean_level

    code, rows = listed(invoke, registry, "list")
    assert code == 0
    assert [row["name"] for row in rows] == ["e3", "graphene-bilayer", "twin"]
    e3, graphene, _ = rows
    assert (e3["elements"], e3["spin"], e3["status"]) == (["C", "N"], "none", "ok")
    assert graphene["basis"] == {"C": "C6.0-s2p2d1"}
    assert graphene["layers"] == [2]
    # the training's own report of the same cell
    model = read(model_with(["C"]))
    with open_calculation(str(data / "gr_ab.scfout")) as c:
        mu = mean_level(c) - model.training["level"]
        sample = make_sample(c, model.network, model.targets, mu, free_zero=model.free_zero)
    expected = report(model, [sample], Workers())["C-C"]["mean"]
    assert graphene["test"] == [{"cell": "gr_ab", "mean_meV": pytest.approx(expected, rel=1e-3)}]
    _, card = listed(invoke, registry, "show", "graphene-bilayer")
    assert card["domain"]["angles"] == [4, 60]
    assert card["domain"]["distances"] == pytest.approx([3.35, 3.35], abs=1e-3)
    assert card["licence"] == "MIT"
    text = invoke("models", "show", "graphene-bilayer", "--registry", registry).stdout
    assert f"gr_ab: mean |ΔH| {expected:.2f}" in text


def test_verify(invoke, registry, tmp_path):
    code, rows = listed(invoke, registry, "verify", "graphene-bilayer", "e3")
    assert code == 0
    assert rows[0]["checks"][0]["found_meV"] == rows[0]["checks"][0]["expected_meV"]
    assert rows[1]["checks"][0]["why"].startswith("there are no test cells")
    shutil.copy(registry / "twin.h5", tmp_path / "wrong.h5")
    with h5py.File(tmp_path / "wrong.h5", "a") as file:
        blocks = file["model/cells/0/blocks"]
        blocks[...] = blocks[...] + np.float32(0.01)
    done = invoke("models", "verify", "--registry", tmp_path)
    assert done.exit_code == 1
    assert "gr_ab DIFFERS: 0." in done.stdout
    with h5py.File(tmp_path / "wrong.h5", "a") as file:
        del file["model/cells/0/blocks"]
    done = invoke("models", "verify", "--registry", tmp_path)
    assert done.exit_code == 1
    assert "wrong " in done.stdout
    (tmp_path / "wrong.h5").write_bytes(b"\x89HDF\r\n\x1a\n and nothing")
    done = invoke("models", "verify", "--registry", tmp_path)
    assert done.exit_code == 1
    assert "DIFFERS" in done.stdout


def test_choose(invoke, registry, data, tmp_path):
    code, found = listed(invoke, registry, "choose", data / "gr_ab.scfout")
    assert (code, found["chosen"]) == (0, "graphene-bilayer")
    first, second, last = found["ranking"]
    assert first["fits"]
    assert 0.2 < first["expected_error_meV"] < 1
    assert second["name"] == "twin"
    assert "the same model as graphene-bilayer" in second["why"]
    assert last["expected_error_meV"] is None
    cells = {"Si": 5.43, "C": 3.567}  # silicon, and diamond, which no model of layers knows
    for symbol, a in cells.items():
        lines = ["x", str(a), "0 .5 .5", ".5 0 .5", ".5 .5 0", symbol, "2", "D"]
        (tmp_path / f"{symbol}.vasp").write_text("\n".join([*lines, "0 0 0", ".25 .25 .25"]))
        done = invoke("models", "choose", tmp_path / f"{symbol}.vasp", "--registry", "shipped")
        assert done.exit_code == 1
        assert "chosen: none fits" in done.stdout


def test_choose_before_there_is_a_basis(invoke, tmp_path):
    """What build-twist writes is chosen for as the same structure in a POSCAR."""
    found = []
    for name in ("s.h5", "s.vasp"):
        cell = tmp_path / name
        assert invoke("build-twist", "graphene", "--index", "1", "2", "-o", cell).exit_code == 0
        found.append(listed(invoke, "shipped", "choose", cell))
    block_file, poscar = found
    assert (block_file[0], block_file[1]["chosen"]) == (0, "graphene-bilayer")
    error = [f[1]["ranking"][0]["expected_error_meV"] for f in found]
    assert poscar[0] == 0
    np.testing.assert_allclose(error[0], error[1], rtol=1e-4)


def test_suggest_takes_a_model_of_a_registry(invoke, registry, tmp_path):
    cells = [tmp_path / "near.vasp", tmp_path / "far.vasp"]
    for cell, distance in zip(cells, ("3.35", "3.0"), strict=True):
        words = ["--index", "1", "2", "--interlayer", distance, "-o", cell]
        assert invoke("build-twist", "graphene", *words).exit_code == 0
    words = ["--data", cells[0], "--model", "twin", "--registry", registry, "-n", "1", "--json"]
    done = invoke("build-dataset", "suggest", *cells, *words)
    assert [row["structure"] for row in json.loads(done.stdout)] == [str(cells[1])]


def test_predict_h_takes_what_the_gate_chooses(invoke, registry, made, tmp_path, monkeypatch):
    monkeypatch.setenv("MOIREIO_MODELS", str(registry))
    done = invoke("predict-h", made["gr_ab"], "-o", tmp_path / "h.h5")
    assert done.exit_code == 0, done.output
    assert "model graphene-bilayer, of 3: expects 0." in done.stderr
    done = invoke("predict-h", made["hbn_soc"], "-o", tmp_path / "x.h5")
    assert done.exit_code == 1
    assert "no model of the registries knows B, N" in done.stderr


def test_export_and_remove(invoke, registry, tmp_path):
    copy, own = tmp_path / "copy.h5", tmp_path / "own"
    done = invoke("models", "export", "twin", "-o", copy, "--registry", registry)
    assert done.exit_code == 0, done.output
    done = invoke("models", "add", copy, "--registry", own)
    assert done.exit_code == 0, done.output
    _, rows = listed(invoke, own, "list")
    assert rows[0]["test"][0]["cell"] == "gr_ab"
    assert invoke("models", "add", copy, "--registry", own).exit_code == 1
    assert invoke("models", "remove", "copy", "--registry", own).exit_code == 0
    assert listed(invoke, own, "list") == (0, [])
    done = invoke("models", "remove", "graphene-bilayer", "--registry", "shipped")
    assert done.exit_code == 1


class Page(HTMLParser):
    """Open tags, links and texts of a page."""

    VOID = ("meta", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.ids, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.links += [named[k] for k in ("href", "src") if k in named]
        self.ids += [named["id"]] if "id" in named else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_page(invoke, registry, tmp_path):
    shutil.copytree(registry, tmp_path / "r")
    shutil.copy(registry / "twin.h5", tmp_path / "r" / "<b>&.h5")
    (tmp_path / "r" / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n and nothing")
    done = invoke("models", "page", tmp_path / "site", "--registry", tmp_path / "r")
    assert done.exit_code == 0, done.output
    page = Page((tmp_path / "site" / "index.html").read_text())
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links} == set(page.ids)
    text = " ".join(page.text)
    assert "<b>&" in text
    assert "damaged" in text
    assert text.count("Bands of gr_ab") == 3
    assert "prefers-color-scheme: dark" in text
    assert invoke("models", "page", tmp_path / "site", "--registry", registry).exit_code == 1


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium")
def test_page_in_a_browser(invoke, registry, tmp_path):
    """Drawn from the file, in light and dark."""
    from matplotlib.image import imread

    invoke("models", "page", tmp_path / "site", "--registry", registry)
    page = f"file://{tmp_path}/site/index.html"
    brightness = {}
    for scheme, number in (("light", 1), ("dark", 0)):
        target = tmp_path / f"{scheme}.png"
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=900,1500"]
        words.append(f"--blink-settings=preferredColorScheme={number}")
        words.append(f"--user-data-dir={tmp_path}/{scheme}")
        command = ["chromium", *words, f"--screenshot={target}", page]
        subprocess.run(command, check=True, capture_output=True, timeout=100)
        picture = imread(target)[..., :3]
        brightness[scheme] = float(picture[3, 3].mean())
        assert picture.reshape(-1, 3).std(axis=0).max() > 0.02  # there is something on it
    assert brightness["light"] > 0.9
    assert brightness["dark"] < 0.2


def test_a_trilayer_by_pairs(invoke, shared, tmp_path):
    """ABA graphene: within the stated estimates of OpenMX, and of the direct prediction."""
    import moireio

    source, pairs, direct = (tmp_path / f"{n}.h5" for n in ("source", "pairs", "direct"))
    invoke("convert-h", shared / "tbg" / "gt_aba", "-o", source, "-q")
    done = invoke("predict-h", "--models", "graphene-bilayer", source, "-o", pairs)
    assert done.exit_code == 0, done.output
    assert "layers 2, 3" in done.stderr
    assert "they differ by" in done.stderr
    assert invoke("h5-validate", pairs).exit_code == 0
    assert invoke("predict-h", source, "-o", direct).exit_code == 0

    def mean(*files):
        lines = invoke("compare-h", *files).stdout.splitlines()
        return float(next(line for line in lines if line.startswith("all")).split()[1])

    with moireio.open(pairs) as a, moireio.open(direct) as b:
        own, others = (f.hamiltonian.expected_error.mean() * 1e3 for f in (a, b))
    assert mean(pairs, source) < min(own, 1.0)
    assert mean(pairs, direct) < own + others
