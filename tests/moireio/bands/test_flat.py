"""Flat bands: widths and gaps, Mulliken weights, densities on a grid."""

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import toymodels
from scipy.linalg import eigh

import moireio
from moireio.bands.flat import flat_bands, flat_bands_of_spins
from moireio.errors import MoireioError
from moireio.projection.mulliken import atomic_populations
from moireio.projection.realspace import density_on_grid
from moireio.spectrum.states import solve_states


def run(*words):
    return subprocess.run(
        [sys.executable, "-m", "moireio", *map(str, words)], capture_output=True, text=True
    )


@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_width_and_gaps(made, solver):
    """Against numpy on all bands; graphene's π bands touch the others, boron nitride has a gap."""
    with moireio.open(made["hbn_soc"]) as file:
        path = moireio.make_path(file.structure, "GMKG", 13)
        exact = moireio.solve_bands(file, path).energies[0]
        filled = round(file.electrons.count)
        flat = flat_bands(file, path, 2, 0, solver=solver)
    assert flat.first == filled - 2
    own = exact[:, filled - 2 : filled]
    assert flat.width == pytest.approx(np.ptp(own), abs=1e-8)
    assert flat.widths == pytest.approx(np.ptp(own, axis=0), abs=1e-8)
    above = exact[:, filled].min() - own.max()
    assert flat.gap_above == pytest.approx(above, abs=1e-8)
    assert flat.gap_above > 1  # an insulator
    assert flat.gap_below == pytest.approx(own.min() - exact[:, filled - 3].max(), abs=1e-8)
    assert flat.isolated == (flat.gap_below > 0)


def test_all_bands_have_no_neighbours(made):
    with moireio.open(made["gr_ab"]) as file:
        path = moireio.make_path(file.structure, "GMKG", 5)
        flat = flat_bands(file, path, 8, 44)
        assert flat.gap_below is None
        assert flat.gap_above is None
        assert flat.isolated
        with pytest.raises(MoireioError, match="has only 52 bands"):
            flat_bands(file, path, 9, 1)
    with moireio.open(made["o2_col"]) as file, pytest.raises(MoireioError, match="collinear"):
        flat_bands(file, moireio.make_path(file.structure, "GX", 3))


@pytest.mark.parametrize("gap_energy", [None, 5.0])
def test_a_magnet_has_flat_bands_of_either_spin(tmp_path, gap_energy):
    """Those of two models without spin; all of spin up are filled, the lower one of spin down."""
    layers = toymodels.haldane(M=0.2), toymodels.haldane(M=0.5, t1=-0.4)
    path = toymodels.of_both_spins(*layers, 5.0, 3).write(tmp_path / "both.h5")
    with moireio.open(path) as file:
        corners = moireio.make_path(file.structure, "GMKG", 9)
        found = flat_bands_of_spins(file, corners, 1, 0, gap_energy)
    assert [(flat.first, flat.count) for flat in found] == [(1, 1), (0, 1)]
    for flat, layer in zip(found, layers, strict=True):
        levels = np.array([np.linalg.eigvalsh(layer.matrices(k)[0]) for k in corners.k])
        assert flat.width == pytest.approx(np.ptp(levels[:, flat.first]))
        gap = levels[:, 1].min() - levels[:, 0].max()
        assert (flat.gap_below if flat.first else flat.gap_above) == pytest.approx(gap)
        assert flat.isolated


@pytest.mark.parametrize(
    ("below", "above", "message"),
    [
        (1, 1, "spin down has only 2 bands, 0 of them filled"),
        (0, 2, "spin up has only 2 bands, 1 of them filled"),
    ],
)
def test_messages_name_the_spin(tmp_path, invoke, below, above, message):
    layer = toymodels.haldane(M=0.2)
    path = toymodels.of_both_spins(layer, layer, 7.0, 1).write(tmp_path / "x.h5")
    words = ("--below", below, "--above", above)
    done = invoke("flat-band", path, "-p", "GMK", *words)
    assert done.exit_code == 1
    assert done.stderr == f"error: {path}: {message}\n"
    kept = tmp_path / "kept.h5"
    assert invoke("band", path, "-p", "GMK", "-o", kept, "-q").exit_code == 0
    done = invoke("flat-band", kept, *words, "--gap-energy", 3.5)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {kept}: spin ")


def test_a_line_for_each_spin(invoke, made, tmp_path):
    words = ("-p", "GX", "-n", 3)
    lines = invoke("flat-band", made["o2_col"], *words).stdout.splitlines()
    assert [line.split()[-2:] for line in lines[2:]] == [
        ["up", "o2_col.h5"],
        ["down", "o2_col.h5"],
    ]
    kept = tmp_path / "bands.h5"
    assert invoke("band", made["o2_col"], *words, "-o", kept).exit_code == 0
    for source in (made["o2_col"], kept):
        asked = () if source == kept else words
        up, down = json.loads(invoke("flat-band", source, *asked, "--json").stdout)
        # of 12 valence electrons 7 are up
        assert [(one["spin"], one["first_band"]) for one in (up, down)] == [("up", 5), ("down", 3)]
    done = invoke("flat-band", made["o2_col"], *words, "--weights-plot", tmp_path / "x.png")
    assert "states of collinear spin are neither drawn nor written" in done.stderr


def test_bands_that_are_kept_without_their_neighbours(invoke, made, tmp_path):
    """Whether they are isolated is not known, nor claimed; those of the whole file are not."""
    found = {}
    for count in (4, 6, 52):
        out = tmp_path / f"{count}.h5"
        words = ["--bands", count, "-p", "GMKG", "-n", 9, "-o", out]
        assert invoke("band", made["gr_ab"], *words).exit_code == 0
        found[count] = json.loads(invoke("flat-band", out, "--json").stdout)
    assert (found[4]["gap_below_meV"], found[4]["isolated"]) == (None, None)
    assert found[6]["gap_below_meV"] < 0
    assert found[6]["isolated"] is False
    assert found[52]["isolated"] is False
    table = invoke("flat-band", tmp_path / "4.h5").stdout
    assert table.splitlines()[-1].split()[5] == "?"


@pytest.mark.parametrize("name", ["gr_ab", "hbn_soc"])
def test_weights_and_density(made, name):
    """Weights add up to one; the density's integral is the number of states (S is right)."""
    with moireio.open(made[name]) as file:
        spinor = file.hamiltonian.meta.spin == "spinor"
        filled = round(file.electrons.count / (1 if spinor else 2))
        k = np.array([0.2, 0.1, 0.0])
        (states,) = solve_states(file, k, band_range=(filled - 2, filled + 1))
        found = atomic_populations(file, k, states.coefficients)
        h = file.hamiltonian.at_k(k).toarray()
        s = file.overlap.at_k(k).toarray()
        if spinor:
            s = found_overlap(file, k)
        levels, vectors = eigh(h, s)
        assert states.energies == pytest.approx(levels[filled - 2 : filled + 2], abs=1e-9)
        assert found.atoms.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-9)
        n = filled - 2
        own = np.real(vectors[:, n].conj() * (s @ vectors[:, n]))
        edges = np.cumsum([0, *(file.basis.sizes(file.structure) * (1 + spinor))])
        if abs(levels[n + 1] - levels[n]) > 1e-4:
            expected = [own[a:b].sum() for a, b in pairwise(edges)]
            assert found.atoms[0] == pytest.approx(expected, abs=1e-7)


def found_overlap(file, k):
    return file.overlap.assembler(spinor=True).dense(k)


def test_density_integrates_to_the_states(made, tmp_path):
    """With OpenMX's orbitals: ∫|ψ|² is one, which S, coefficients and phases must agree on."""
    out = tmp_path / "o.h5"
    done = run("overlap", made["gr_ab"], "-o", out)  # radial functions of the shipped model
    assert done.returncode == 0, done.stderr
    with moireio.open(out) as file:
        assert "hamiltonian" in file
        k = np.array([0.2, 0.1, 0.0])
        (states,) = solve_states(file, k, band_range=(6, 8))
        for n in range(3):
            values = density_on_grid(
                file.structure, file.basis, k, states.coefficients[:, n : n + 1], 0.2
            )
            volume = abs(np.linalg.det(file.structure.cell))
            assert values.mean() * volume == pytest.approx(1.0, abs=3e-3)


def test_command(made, tmp_path):
    """Table, JSON, pictures; a file that keeps bands only gives the same."""
    bands = tmp_path / "b.h5"
    table, plot, picture = (tmp_path / n for n in ("t.txt", "p.png", "w.pdf"))
    words = [made["gr_ab"], "--below", 1, "--above", 1, "-n", 9]
    done = run("flat-band", *words, "--text", table, "--plot", plot, "--weights-plot", picture)
    assert done.returncode == 0, done.stderr
    assert plot.read_bytes()[1:4] == b"PNG"
    assert picture.read_bytes()[:4] == b"%PDF"
    row = table.read_text().splitlines()[2].split()
    first = json.loads(run("flat-band", *words, "--json").stdout)
    assert first["bands"] == 2
    assert float(row[2]) == pytest.approx(first["width_meV"], abs=1e-3)
    assert run("band", made["gr_ab"], "-p", "GMKG", "-n", 9, "-o", bands).returncode == 0
    with moireio.open(bands) as file:
        top = file.bands().energies[0][:, 7:9]
    assert first["width_meV"] == pytest.approx(1e3 * np.ptp(top), abs=1e-6)


def test_density_file_and_errors(made, tmp_path):
    done = run("flat-band", made["gr_ab"], "--density", tmp_path / "a.vtk")
    assert done.returncode == 1
    assert "is neither .cube nor .xsf" in done.stderr
    done = run("flat-band", made["gr_ab"], made["gr_ab"], "--weights-plot", tmp_path / "a.png")
    assert done.returncode == 2
    done = run("flat-band", made["gr_ab"], "-n", 3, "--density", tmp_path / "a.cube")
    assert done.returncode == 1
    assert "radial" in done.stderr
    assert not (tmp_path / "a.cube").exists()


def test_more_filled_bands_than_there_are(made, invoke, tmp_path):
    invoke("band", made["gr_ab"], "-p", "GK", "-n", 2, "-o", tmp_path / "b.h5")
    done = invoke("flat-band", tmp_path / "b.h5", "--below", 99)
    assert done.stderr == f"error: {tmp_path}/b.h5: has only 8 filled bands, not 99\n"
