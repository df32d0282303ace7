"""The model that comes along: from the twist to bands without any other input."""

import json
import os

import pytest

import moireio
from moireio.models import shipped as models
from moireio.network.modelfile import read

MEV = 1e-3


@pytest.fixture(scope="module")
def graphene():
    path = models.model_with(["C"])
    assert path is not None
    return path


def test_it_is_small_and_tells_how_it_was_made(graphene):
    assert os.path.getsize(graphene) < 10e6
    model = read(graphene)
    assert model.basis["C"].name == "C6.0-s2p2d1"
    assert model.basis["C"].radial is not None
    assert model.basis["C"].valence == 4
    record = model.training
    tested = set(record["structures"]["test"])
    assert {"tbg_2-1", "tbg_3-2", "gt_aba", "ood_mono", "ood_uni02"} < tested
    used = {*record["structures"]["training"], *record["structures"]["validation"]}
    assert not used & tested
    assert record["after"]["test"]["C-C"]["mean"] < 1.0


def test_it_is_described(run, graphene):
    text = run("h5-info", graphene).text
    assert "C (C6.0-s2p2d1)" in text
    assert "test C-C" in text
    known = json.loads(run("h5-info", graphene, "--json").text)
    assert known["radial_functions"]
    assert known["structures"]["test"] == 10


def test_pipe_to_bands(run, tmp_path):
    """One command line; Dirac points at K within the meV that symmetry and the model leave."""
    run("build-twist", "graphene", "--index", 2, 1, "-o", tmp_path / "a.h5")
    run("overlap", tmp_path / "a.h5", "-o", tmp_path / "s.h5")
    done = run("predict-h", tmp_path / "s.h5", "-o", tmp_path / "h.h5")
    assert "expected |ΔH| 0." in done.stderr
    assert "warning" not in done.stderr
    run("band", tmp_path / "h.h5", "--path", "GMKG", "-n", 31, "--in-place")
    with moireio.open(tmp_path / "h.h5") as file:
        bands = file.bands()
        assert file.electrons.count == 28 * 4
        corner = bands.path.label_index[list(bands.path.labels).index("K")]
        four = bands.energies[0, corner, 54:58]
        assert four[3] - four[0] < 20 * MEV
        assert bands.energies[0, 0, 56] - bands.energies[0, 0, 55] > 1.0


def test_against_the_calculation_of_the_clone(run, made, tmp_path):
    """AB graphene, which was not among the data."""
    run("predict-h", made["gr_ab"], "-o", tmp_path / "h.h5", "--storage", "full")
    done = run("compare-h", tmp_path / "h.h5", made["gr_ab"])
    mean = float(next(line for line in done.text.splitlines() if line.startswith("all")).split()[1])
    assert mean < 3.0


@pytest.mark.parametrize("name", ["tbg_2-1", "tbg_3-2"])
def test_against_openmx(run, shared, tmp_path, name):
    """Cells that it never saw: below 1 meV in the mean."""
    from moireio.formats.calculations import open_calculation
    from moireio.network.training.parallel import Workers
    from moireio.network.training.report import report
    from moireio.network.training.samples import make_sample, mean_level

    model = read(models.model_with(["C"]))
    with open_calculation(str(shared / "tbg" / name)) as c:
        mu = mean_level(c) - model.training["level"]
        sample = make_sample(c, model.network, model.targets, mu, free_zero=model.free_zero)
    found = report(model, [sample], Workers())["C-C"]
    assert found["mean"] < 1.0


def test_what_it_does_not_know(run, tmp_path):
    run("build-twist", "WSe2", "--index", 2, 1, "-o", tmp_path / "a.h5")
    done = run("overlap", tmp_path / "a.h5", "-o", tmp_path / "s.h5", check=False)
    done.assert_one_line_error()
    assert "no basis for species" in done.stderr
    words = ["--basis", "C=C7.0-s2p2d1"]
    run("build-twist", "graphene", "--index", 2, 1, *words, "-o", tmp_path / "b.h5")
    done = run("overlap", tmp_path / "b.h5", "-o", tmp_path / "s.h5", check=False)
    done.assert_one_line_error()
    assert "give --pao" in done.stderr
    assert models.model_with(["C", "H"]) is None


def test_molybdenum_ditelluride_against_openmx(run, shared, tmp_path):
    """The 21.79° cell, which it was not trained on: elements, and levels at Γ next to the gap."""
    from scipy.linalg import eigh

    from moireio.formats.openmx import band
    from moireio.spectrum.sums import bloch_sums

    source, out = tmp_path / "s.h5", tmp_path / "h.h5"
    run("deeph2h5", shared / "mote2" / "tmt_2-1", "-o", source)
    done = run("predict-h", source, "-o", out)
    assert "mote2-bilayer" in done.stderr
    done = run("compare-h", out, source)
    mean = float(next(line for line in done.text.splitlines() if line.startswith("all")).split()[1])
    assert mean < 1.0
    true = band.read(shared / "openmx" / "tmt_2-1" / "tmt_2-1.Band")
    filled = (true.energies[0, 0] < true.fermi).sum()
    with moireio.open(out) as file:
        (H,), S, _ = bloch_sums(file)
    near = [filled - 4, filled + 3]
    found = eigh(H.dense([0, 0, 0]), S.dense([0, 0, 0]), eigvals_only=True, subset_by_index=near)
    error = found - true.energies[0, 0, near[0] : near[1] + 1]
    error -= error[:4].mean()
    assert abs(error).max() < 15 * MEV


def test_sparse_levels_of_a_twisted_cell(run, tmp_path):
    """988 orbitals: the sparse solver's levels are LAPACK's, and none is missing."""
    import numpy as np

    from moireio.spectrum.choice import SolverChoice

    run("build-twist", "graphene", "--index", 3, 2, "-o", tmp_path / "a.h5")
    run("overlap", tmp_path / "a.h5", "-o", tmp_path / "s.h5")
    run("predict-h", tmp_path / "s.h5", "-o", tmp_path / "h.h5")
    with moireio.open(tmp_path / "h.h5") as file:
        path = moireio.make_path(file.structure, "0.1,0.23,0 0,0,0", 2)
        filled = round(file.electrons.count / 2)
        window = filled - 20, filled + 19
        exact = moireio.solve_bands(file, path, band_range=window, solver="dense")
        for how in ({}, {"verify_count": True}):
            choice = SolverChoice("sparse", jobs=1, options=how)
            found = moireio.solve_bands(file, path, band_range=window, solver=choice)
            assert np.abs(found.energies - exact.energies).max() < 1e-8
