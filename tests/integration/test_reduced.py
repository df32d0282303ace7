"""`band --reduced`: a small model of bands near a k point."""

import numpy as np
import pytest

import moireio
from moireio.spectrum.anchors.model import ReducedModel


@pytest.fixture(scope="module")
def bilayer(run, tmp_path_factory):
    """Twisted graphene of 28 orbitals."""
    path = tmp_path_factory.mktemp("reduced") / "tb.h5"
    run("build-twist", "graphene", "--index", 1, 2, "-q", "-o", path)
    run("tb-h", path, "-m", "moon-koshino", "--in-place", "-q")
    return path


def test_a_model_from_the_command(invoke, bilayer, tmp_path):
    """Its levels are those of H; the note says where and how well."""
    out = tmp_path / "m.npz"
    words = ["-p", "GK", "-n", 3, "--bands", 2, "--reduced-radius", 0.02, "--json"]
    done = invoke("band", bilayer, *words, "--reduced", out)
    assert done.exit_code == 0
    assert "reduced model of 2 bands" in done.stderr
    assert "within 0.02 of 0.666667 0.333333 0" in done.stderr
    model = ReducedModel.read(str(out))
    assert model.bands == (13, 14)
    k = np.array([2 / 3 + 0.015, 1 / 3 - 0.01, 0])
    with moireio.open(bilayer) as file:
        exact = np.linalg.eigvalsh(file.hamiltonian.at_k(k).toarray())[13:15]
    assert np.abs(model.levels(k) - exact).max() <= model.error <= 1e-5


@pytest.mark.parametrize(
    ("words", "code", "match"),
    [
        (["--reduced", "m.npz"], 2, "--reduced needs --bands or --energy-range"),
        (["--bands", 2, "--reduced", "-"], 2, "--reduced needs the name of a file"),
        (["--bands", 2, "--reduced-at", "K"], 2, "--reduced-at needs --reduced"),
        (["--bands", 2, "--reduced-radius", 0.1], 2, "--reduced-radius needs --reduced"),
        (["--bands", 2, "--reduced", "m.npz", "--reduced-at", "GK"], 1, "more than one k point"),
    ],
)
def test_options_that_make_no_sense(run, bilayer, tmp_path, words, code, match):
    done = run("band", bilayer, "-p", "GK", "-n", 3, *words, cwd=tmp_path, check=False)
    assert done.code == code
    assert match in done.stderr
    assert not (tmp_path / "m.npz").exists()
