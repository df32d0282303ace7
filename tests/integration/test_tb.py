"""``tb-h`` as a user runs it: levels against independent ones, pipes, errors."""

import json

import numpy as np
import pytest
from graphene_levels import CASES, POINTS, expected, found

import moireio
from moireio.solvers import mkl
from moireio.solvers.base import EigenProblem
from moireio.solvers.registry import make_solver
from moireio.tightbinding.modelfile import shipped

# Saito, Dresselhaus, Dresselhaus, Physical Properties of Carbon Nanotubes (1998), section 2.3.
NONORTHOGONAL = """
name = "saito"
[species.C]
orbitals = ["pz"]
valence = 1
[[bond]]
species = ["C", "C"]
cutoff = 2.0
pp_pi = -3.033
overlap = { pp_pi = 0.129 }
"""

# Rudenko, Yuan, Katsnelson, Phys. Rev. B 92, 085419 (2015): hoppings (eV) of the shells of
# black phosphorus, inside a layer and between two, as `above`, `cutoff` (Å).
INSIDE = {
    1: (-1.486, 2.0, 2.2307),
    2: (3.729, 2.2307, 2.4),
    3: (-0.252, 3.2, 3.324),
    4: (-0.071, 3.324, 3.4),
    5: (0.019, 3.4, 3.53),
    6: (0.186, 4.1, 4.31),
    7: (-0.063, 4.31, 4.5),
    8: (0.101, 5.13, 5.28),
    9: (-0.042, 5.28, 5.41),
    10: (0.073, 5.47, 5.492),
}
BETWEEN = [
    (0.524, 3.53, 3.7),
    (0.180, 3.7, 3.9),
    (-0.123, 4.9, 5.065),
    (-0.168, 5.065, 5.13),
    (0.005, 5.41, 5.47),
]


@pytest.fixture(scope="module")
def graphene(tmp_path_factory):
    """One layer, as a structure file."""
    from ase.build import graphene

    atoms = graphene(a=2.46, vacuum=10.0)
    atoms.pbc = [True, True, False]
    path = tmp_path_factory.mktemp("graphene") / "layer.xyz"
    atoms.write(path)
    return path


def levels(file, k):
    overlap = file.overlap.assembler() if file.overlap is not None else None
    problem = EigenProblem(file.hamiltonian.assembler(), overlap, np.array(k, dtype=float))
    return make_solver("dense").eigenvalues(problem)


def build(run, case, path, *more):
    done = run("build-twist", "graphene", *CASES[case]["build"])
    done = run("tb-h", "--model", "moon-koshino", *more, "-o", path, stdin=done.stdout)
    assert f"{CASES[case]['hoppings']} hoppings" in done.stderr
    return moireio.open(path)


@pytest.mark.skipif(mkl.library() is None, reason="too slow without MKL")
def test_levels_at_2_degrees(run, tmp_path):
    """Γ, M and K of 3268 atoms; the file is valid and states its origin."""
    with build(run, "2.005 rigid", tmp_path / "h.h5", "--storage", "full") as file:
        hamiltonian = file.hamiltonian
        assert len(hamiltonian.pairs) - len(file.structure) == 461620
        assert hamiltonian.meta.source == "tight-binding"
        assert hamiltonian.meta.storage == "full"
        assert file.basis.orthogonal
        assert (file.basis["C"].l, file.basis["C"].m) == ((1,), (0,))
        assert (file.basis["C"].name, file.basis["C"].cutoff) == ("moon-koshino", 4.0)
        assert file.electrons.count == 3268
        assert file.history[-1].command == "tb-h"
        for point in POINTS:
            assert np.abs(found(file, point) - expected("2.005 rigid", point)).max() < 1e-5
    assert run("h5-validate", tmp_path / "h.h5").code == 0


@pytest.mark.skipif(mkl.library() is None, reason="too slow without MKL")
@pytest.mark.parametrize("case", ["1.050 rigid", "1.050 corrugated"])
def test_levels_at_1_degree(run, tmp_path, case):
    """Γ of 11,908 atoms."""
    with build(run, case, tmp_path / "h.h5") as file:
        assert np.abs(found(file, "G") - expected(case, "G")).max() < 1e-5


def test_pipe_to_bands_around_the_gap(run, tmp_path):
    """The number of electrons gives the place of the gap: Dirac points of either layer at K."""
    built = run("build-twist", "graphene", "--index", 2, 1).stdout
    made = run("tb-h", "-m", "graphene-nn", stdin=built).stdout
    words = ["--path", "GMKG", "--bands", 8, "-n", 31, "-o", tmp_path / "b.h5"]
    run("band", *words, stdin=made)
    with moireio.open(tmp_path / "b.h5") as file:
        bands = file.bands()
        assert bands.source == "tight-binding"
        assert bands.first_band == 10
        corner = bands.path.label_index[list(bands.path.labels).index("K")]
        np.testing.assert_allclose(bands.energies[0, corner, 2:6], 0, atol=1e-9)


def test_one_layer_by_formula(run, tmp_path, graphene):
    """±t w and, with an overlap, (∓t w)/(1 ∓ s w), w = |1 + e^{..} + e^{..}|."""
    model = tmp_path / "saito.toml"
    model.write_text(NONORTHOGONAL)
    run("tb-h", graphene, "-m", "graphene-nn", "-o", tmp_path / "a.h5")
    run("tb-h", graphene, "-m", model, "-o", tmp_path / "b.h5")
    with moireio.open(tmp_path / "a.h5") as a, moireio.open(tmp_path / "b.h5") as b:
        assert not b.basis.orthogonal
        assert a.history[0].inputs == [str(graphene), "graphene-nn"]
        for k, w in (([0, 0, 0], 3), ([0.5, 0, 0], 1), ([1 / 3, 1 / 3, 0], 0)):
            np.testing.assert_allclose(levels(a, k), [-2.8 * w, 2.8 * w], atol=1e-9)
            expected = [-3.033 * w / (1 + 0.129 * w), 3.033 * w / (1 - 0.129 * w)]
            np.testing.assert_allclose(levels(b, k), expected, atol=1e-9)
    assert run("h5-validate", tmp_path / "b.h5").code == 0


def test_phosphorene_by_shells(run, tmp_path):
    """Levels at Γ of a layer by formula; the gap of two layers is that of the table by cells."""
    model = tmp_path / "phosphorene.toml"
    lines = ['name = "rudenko"', "[species.P]", 'orbitals = ["s"]', "valence = 1"]
    for t, above, cutoff in [*INSIDE.values(), *BETWEEN]:
        lines += ["[[bond]]", 'species = ["P", "P"]', f"above = {above}", f"cutoff = {cutoff}"]
        lines.append(f"ss_sigma = {t}")
    model.write_text("\n".join(lines))
    found = []
    for words in (["--interlayer", "15"], ["--shift", "2", "0.5", "0"]):
        done = run("build-twist", "phosphorene", "phosphorene", "--angle", "0", *words)
        run("tb-h", "-m", model, "-o", tmp_path / "h.h5", "--force", stdin=done.stdout)
        with moireio.open(tmp_path / "h.h5") as file:
            found.append(levels(file, [0, 0, 0]))
    t = {n: shell[0] for n, shell in INSIDE.items()}
    own = 2 * t[3] + 2 * t[7] + 4 * t[10]  # translations
    up = t[2] + t[6] + 2 * t[9]  # to the other half of the layer, by the steep bond
    along = 2 * t[1] + 2 * t[4] + 2 * t[8]  # in the same half
    signs = [(a, b) for a in (1, -1) for b in (1, -1)]
    expected = sorted(own + a * up + b * along + a * b * 4 * t[5] for a, b in signs)
    np.testing.assert_allclose(found[0][::2], expected, atol=1e-9)
    np.testing.assert_allclose(found[0][1::2], expected, atol=1e-9)
    assert expected[2] - expected[1] == pytest.approx(1.838)
    assert found[1][4] - found[1][3] == pytest.approx(1.1504315, abs=1e-7)


def test_storage_container_precision_and_processes(invoke, tmp_path, monkeypatch):
    from moireio.blockfile import writer

    monkeypatch.setattr(writer.BlockWriter.operator, "__defaults__", (None, 1 << 14, 1))
    source = tmp_path / "s.h5"
    invoke("build-twist", "graphene", "--index", 3, 2, "-o", source, "-q")
    made = {}
    for name, words in {
        "full.h5": ["--storage", "full", "-j", 1],
        "upper.zarr": ["-j", 3],
        "single.zarr.zip": ["--precision", "float32"],
    }.items():
        path = tmp_path / name
        done = invoke("tb-h", source, "-m", "trambly", *words, "-o", path, "-q")
        assert done.exit_code == 0, done.output
        with moireio.open(path) as file:
            made[name] = file.hamiltonian.at_k([0.1, 0.3, 0], dense=True)
    np.testing.assert_allclose(made["upper.zarr"], made["full.h5"], atol=1e-14)
    np.testing.assert_allclose(made["single.zarr.zip"], made["full.h5"], atol=1e-6)


def test_in_place_replaces_what_belongs_to_another_basis(invoke, made, tmp_path):
    from shutil import copy

    path = copy(made["gr_ab"], tmp_path / "a.h5")
    done = invoke("tb-h", path, "-m", "moon-koshino", "--in-place")
    assert done.exit_code == 0, done.output
    assert "left out, of another basis: /overlap, /position, /momentum, /density" in done.output
    with moireio.open(path) as file:
        assert file.operators == ["hamiltonian"]
        assert file.hamiltonian.shape == (4, 4)
        assert file.electrons.fermi is None
        assert [entry.command for entry in file.history][-1] == "tb-h"
    assert invoke("h5-validate", path).exit_code == 0


@pytest.mark.parametrize("name", ["a.h5", "a.zarr"])
def test_results_of_the_former_hamiltonian_do_not_stay(invoke, tmp_path, name):
    path = tmp_path / name
    invoke("build-twist", "graphene", "--index", 1, 0, "-o", path, "-q")
    assert invoke("tb-h", path, "-m", "moon-koshino", "--in-place", "-q").exit_code == 0
    invoke("band", path, "-n", 3, "--in-place", "-q")
    invoke("band", path, "-n", 2, "--in-place", "--name", "two", "-q")
    done = invoke("tb-h", path, "-m", "moon-koshino", "--in-place")
    assert "note: left out, of the former operators: /bands, /bands-two" in done.output
    with moireio.open(path) as file:
        assert "bands" not in file
        assert "bands-two" not in file
        assert [entry.command for entry in file.history].count("band") == 2
    assert invoke("h5-validate", path).exit_code == 0


def test_species_of_an_element_by_other_names(invoke, tmp_path):
    """A species that the model does not name is its element's."""
    from dataclasses import replace

    from moireio.blockfile.stream import write_target

    source = tmp_path / "s.h5"
    invoke("build-twist", "graphene", "--index", 1, 0, "-o", source, "-q")
    with moireio.open(source) as file:
        structure = file.structure
    names = replace(structure, species=structure.layer, species_names=("C_low", "C_high"))
    with write_target(str(tmp_path / "two.h5")) as writer:
        writer.structure(names)
        writer.basis(moireio.system.basis.Basis())
    for name in ("s", "two"):
        out = tmp_path / f"{name}-h.h5"
        done = invoke("tb-h", tmp_path / f"{name}.h5", "-m", "moon-koshino", "-o", out, "-q")
        assert done.exit_code == 0, done.output
    with moireio.open(tmp_path / "s-h.h5") as a, moireio.open(tmp_path / "two-h.h5") as b:
        assert set(b.basis.species) == {"C_low", "C_high"}
        k = [0.2, 0.1, 0]
        gap = a.hamiltonian.at_k(k, dense=True) - b.hamiltonian.at_k(k, dense=True)
        assert np.abs(gap).max() < 1e-13


def test_two_models_are_compared(invoke, tmp_path):
    """Incomplete shells have ticks of their own."""
    from moireio.system.basis import SpeciesBasis

    source, plot = tmp_path / "s.h5", tmp_path / "c.png"
    invoke("build-twist", "graphene", "--index", 2, 1, "-o", source, "-q")
    for name in ("moon-koshino", "trambly"):
        invoke("tb-h", source, "-m", name, "-o", tmp_path / f"{name}.h5", "-q")
    paths = [tmp_path / f"{name}.h5" for name in ("moon-koshino", "trambly")]
    done = invoke("compare-h", *paths, "--plot", plot)
    assert done.exit_code == 0, done.output
    assert plot.exists()
    assert SpeciesBasis((1, 2), m=(0, 2)).groups == [("pz", 1), ("dx2-y2", 1)]
    assert SpeciesBasis((0, 0, 1)).groups == [("s1", 1), ("s2", 1), ("p1", 3)]


def test_usual_paths_of_cells_that_are_not_hexagonal(invoke, tmp_path):
    """A ribbon, periodic along one vector, and a rectangular layer have no M, K."""
    words = ["build-twist", "graphene", "--index", 1, 2, "--ribbon", 1, "-o", tmp_path / "r.h5"]
    assert invoke(*words).exit_code == 0
    a = 2.46
    rows = [[0, 0], [0, a / 3**0.5], [a / 2, a * 0.75**0.5], [a / 2, a * 0.75**0.5 + a / 3**0.5]]
    lines = [f"C {x} {y} 0" for x, y in rows]
    head = f'4\nLattice="{a} 0 0 0 {a * 3**0.5} 0 0 0 20" Properties=species:S:1:pos:R:3\n'
    (tmp_path / "l.xyz").write_text(head + "\n".join(lines))
    for source, labels in ((tmp_path / "r.h5", ["G", "X"]), (tmp_path / "l.xyz", list("GXSYGS"))):
        out = tmp_path / "tb.h5"
        assert invoke("tb-h", "-m", "graphene-nn", source, "-o", out, "--force").exit_code == 0
        bands = json.loads(invoke("band", out, "-n", 8, "--json").stdout)
        assert bands["labels"] == labels
        flat = invoke("flat-band", out, "--points", 8, "--below", 1, "--above", 1, "--json")
        energies = np.array(bands["energies"])[0]
        half = energies.shape[1] // 2
        width = 1e3 * np.ptp(energies[:, half - 1 : half + 1])
        assert json.loads(flat.stdout)["width_meV"] == pytest.approx(width)
        done = invoke("compare-h", out, out, "--bands", 1, "--points", 8)
        assert "bands above the gap, mean |ΔE|, meV: 0.00" in done.stdout


def test_notes_on_a_series_name_the_file(invoke, tmp_path):
    """One of two cells is strained."""
    for name, *strain in (["a"], ["b", "--strain", "all", 0.005]):
        cell = tmp_path / f"{name}.h5"
        words = ["build-twist", "graphene", "--index", 1, 2, *strain, "-o", cell]
        assert invoke(*words).exit_code == 0
        assert invoke("tb-h", "-m", "graphene-nn", cell, "--in-place").exit_code == 0
    files = [tmp_path / "a.h5", tmp_path / "b.h5"]
    (note,) = invoke("flat-band", *files, "--points", 4).stderr.splitlines()
    assert note.startswith(f"note: {files[1]}: the lattice is hexagonal but for a strain of 0.58 %")


def test_list(run):
    text = run("tb-h", "--list").text
    for name in shipped():
        assert name in text
    assert "Phys. Rev. B 87, 205404 (2013)" in text


def test_refusals(run, tmp_path, graphene):
    from ase import Atoms

    Atoms("C2", [[0, 0, 0], [0, 0, 0.1]], cell=[5, 5, 9], pbc=True).write(tmp_path / "close.vasp")
    Atoms("BN", [[0, 0, 0], [0, 0, 1.4]], cell=[5, 5, 9], pbc=True).write(tmp_path / "bn.vasp")
    bad = tmp_path / "bad.toml"
    bad.write_text(NONORTHOGONAL.replace("valence = 1", "electrons = 1"))
    out = tmp_path / "x.h5"
    known = ["-m", "moon-koshino"]
    cases = {
        "atoms 0 and 1 are 0.100 Å apart": [tmp_path / "close.vasp", *known],
        "the model moon-koshino has no species B (it has C)": [tmp_path / "bn.vasp", *known],
        "no model of this name comes with moireio": [graphene, "-m", "moon"],
        f"error: {bad}: species.C: valence is missing": [graphene, "-m", bad],
        "no such file": [tmp_path / "absent.vasp", *known],
        "is an input too": [graphene, "-m", bad, "-o", bad],
    }
    for message, words in cases.items():
        done = run("tb-h", *words, *([] if "-o" in words else ["-o", out]), check=False)
        done.assert_one_line_error()
        assert message in done.stderr
        assert not out.exists()
    assert run("tb-h", graphene, check=False).code == 2
    assert run("tb-h", graphene, *known, "--in-place", check=False).code == 2
    done = run("tb-h", *known, stdin=b"", check=False)
    done.assert_one_line_error()
    assert "is empty" in done.stderr
