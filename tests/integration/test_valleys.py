"""K, K' and M from every source of a structure: the same letters, points and spectra."""

import json

import numpy as np
import pytest
from deeph_folders import folder_of

import moireio
from moireio.formats.structures import files as structure_files
from moireio.kspace.corners import special_points
from moireio.kspace.path import make_path
from moireio.spectrum.states import solve_states
from moireio.system.structure import Structure


def bands(invoke, path, *options):
    """Return the JSON of band, and its notes."""
    done = invoke("band", path, "--json", *options)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_strained_twisted_layer(tmp_path, invoke):
    """Letters of a moiré cell without a threefold axis: the corners continued, and a note."""
    for strain, noted in (("0.005", True), ("0.005,0,0.005", False)):
        cell, made = tmp_path / f"{noted}.h5", tmp_path / f"h{noted}.h5"
        arguments = ["graphene", "graphene", "--index", 2, 1, "--strain", "all", strain, "-o", cell]
        assert invoke("build-twist", *arguments).exit_code == 0
        assert invoke("tb-h", cell, "-m", "graphene-nn", "-o", made).exit_code == 0
        found, notes = bands(invoke, made, "--path", "GMKK'G", "-n", 9)
        k = np.array(found["k"])[found["label_index"]]
        third = 1 / 3
        expected = [[0, 0], [0.5, 0], [2 * third, third], [-2 * third, -third], [0, 0]]
        np.testing.assert_allclose(k[:, :2], expected, atol=1e-12)
        assert ("no threefold axis" in notes) == noted
        for command in (["flat-band", made, "-n", 5], ["compare-h", made, made, "--bands", 1]):
            done = invoke(*command)
            assert done.exit_code == 0, done.stderr
            assert done.stderr.count("no threefold axis") == noted


def command(invoke, *words):
    done = invoke(*words)
    assert done.exit_code == 0, done.stderr
    return done


def graphene(angle=0.0, setting=60, heights=(10.0, 10.0)):
    """One layer in a cell of 60° or 120° with the same first vector, turned."""
    a = 2.46
    cell = np.array([[a, 0, 0], [a / 2, a * np.sqrt(0.75), 0], [0, 0, 20]])
    positions = np.array([[0, 0, heights[0]], [a / 2, a / np.sqrt(12), heights[1]]])
    if setting == 120:
        cell[1] -= cell[0]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    return Structure(cell @ turn, positions @ turn, [6, 6], [0, 0], ["C"], [True] * 3)


def test_graphene_from_every_source(tmp_path, invoke):
    """The same S at G, M, K and K', and the same bands of the shipped model.

    POSCAR, cif, .dat and both folders of DeepH; cells of 60° and 120°; turned by 17°, where the
    cif file brings its own axes.
    """
    sources = {
        "a.vasp": graphene(),
        "a.cif": graphene(17.0),
        "a.dat": graphene(17.0, 120),
        "b.vasp": graphene(-43.0, 120),
    }
    overlaps = {}
    for name, structure in sources.items():
        structure_files.write(str(tmp_path / name), structure)
        overlaps[name] = tmp_path / f"{name}.s.h5"
        notes = command(invoke, "overlap", tmp_path / name, "-o", overlaps[name]).stderr
        assert "note: not periodic along c: a vacuum of 20.0 Å, above 6.4 Å" in notes
    for layout in ("deeph-dock", "deeph"):
        folder = folder_of(overlaps["a.vasp"], tmp_path / layout, layout)
        overlaps[layout] = tmp_path / f"{layout}.s.h5"
        notes = command(invoke, "deeph2h5", folder, "-o", overlaps[layout]).stderr
        assert "not periodic along c, where no pair of atoms" in notes
    spectra, energies = [], []
    for name, path in overlaps.items():
        with moireio.open(path) as file:
            assert file.structure.pbc.tolist() == [True, True, False]
            points, default = special_points(file.structure)
            assert (list(points), default) == (["G", "M", "K", "K'"], "GMKG")
            assert points["K"][1] == pytest.approx(-1 / 3 if name in ("a.dat", "b.vasp") else 1 / 3)
            matrices = [file.overlap.at_k(k).toarray() for k in points.values()]
        spectra.append([np.linalg.eigvalsh(S) for S in matrices])
        if name in ("b.vasp", "deeph-dock"):
            continue
        made = tmp_path / f"{name}.h5"
        command(invoke, "predict-h", path, "--precision", "float64", "-q", "-o", made)
        found, _ = bands(invoke, made, "--path", "GMKK'G", "-n", 9)
        energies.append(np.array(found["energies"]))
    for other in spectra[1:]:
        np.testing.assert_allclose(other, spectra[0], atol=1e-6)
    for other in energies[1:]:
        np.testing.assert_allclose(other, energies[0], atol=1e-6)
    last = tmp_path / "deeph.h5"  # what failed on a structure periodic in three directions
    assert bands(invoke, last, "-n", 4)[0]["labels"] == ["G", "M", "K", "G"]
    command(invoke, "dos", last, "--mesh", 3, 3, "-q", "--json")
    _, notes = bands(
        invoke, last, "--fermi", "auto", "--electrons", 8, "--path", "G", "--mesh", 6, 6
    )
    assert "(6 × 6 × 1 k points)" in notes


def test_a_layer_on_both_sides_of_the_border(tmp_path, invoke):
    """z = 0.2 and 19.8: one layer, whose spectra are those of the layer inside the cell."""
    spectra = []
    for name, heights in (("inside", (10.2, 9.8)), ("cut", (0.2, 19.8))):
        structure_files.write(str(tmp_path / f"{name}.vasp"), graphene(heights=heights))
        made = tmp_path / f"{name}.h5"
        notes = command(invoke, "overlap", tmp_path / f"{name}.vasp", "-o", made).stderr
        assert ("1 of 2 atoms moved" in notes) == (name == "cut")
        with moireio.open(made) as file:
            assert np.ptp(file.structure.positions[:, 2]) == pytest.approx(0.4)
            assert not file.overlap.pairs.R[:, 2].any()
            spectra.append(np.linalg.eigvalsh(file.overlap.at_k([2 / 3, 1 / 3, 0]).toarray()))
    np.testing.assert_allclose(spectra[1], spectra[0], atol=1e-12)


def test_the_answer_of_the_user(tmp_path, invoke):
    structure_files.write(str(tmp_path / "a.vasp"), graphene())
    made = tmp_path / "a.h5"
    done = command(
        invoke, "tb-h", tmp_path / "a.vasp", "-m", "graphene-nn", "--pbc", "TTT", "-o", made
    )
    assert "periodic" not in done.stderr
    with moireio.open(made) as file:
        assert file.structure.pbc.all()
    command(invoke, "tb-h", tmp_path / "a.vasp", "-m", "graphene-nn", "-o", made, "--force")
    with moireio.open(made) as file:
        assert file.structure.pbc.tolist() == [True, True, False]
    for words, message in (
        (["--pbc", "TT"], "expected three letters T or F"),
        (["--pbc", "xyz"], "expected three letters T or F"),
    ):
        done = invoke("overlap", tmp_path / "a.vasp", *words, "-o", tmp_path / "b.h5")
        assert (done.exit_code, message in done.stderr) == (2, True)
    done = invoke("overlap", made, "--pbc", "TTF", "-o", tmp_path / "b.h5")
    assert (done.exit_code, "a block file has its own" in done.stderr) == (2, True)
    command(invoke, "overlap", tmp_path / "a.vasp", "-o", tmp_path / "s.h5")
    folder = folder_of(tmp_path / "s.h5", tmp_path / "d")
    done = invoke("deeph2h5", folder, "--pbc", "TFF", "-o", tmp_path / "b.h5")
    assert done.exit_code == 1
    assert "is periodic along b: pair (0, 0, R = -2 1 0) crosses its cells" in done.stderr
    assert "another --pbc" in done.stderr
    command(invoke, "deeph2h5", folder, "--pbc", "TTT", "-o", tmp_path / "b.h5")
    with moireio.open(tmp_path / "b.h5") as file:
        assert file.structure.pbc.all()


def test_valleys_of_molybdenum_telluride(tmp_path, shared, invoke):
    """From .scfout and both folders of DeepH: the same bands, and ↑ in the same valley."""
    original = tmp_path / "s.h5"
    source = shared / "openmx" / "mote2_mx_soc" / "mote2_mx_soc.scfout"
    command(invoke, "openmx2h5", source, "-o", original)
    with moireio.open(original) as file:
        top = round(file.electrons.count) - 1
    files = [original]
    for layout in ("deeph-dock", "deeph"):
        folder = folder_of(original, tmp_path / layout, layout)
        files.append(tmp_path / f"{layout}.h5")
        command(invoke, "deeph2h5", folder, "-o", files[-1])
    levels, weights = [], []
    for path in files:
        with moireio.open(path) as file:
            kpath = make_path(file.structure, "GMKK'G", 4)
            levels.append(moireio.solve_bands(file, kpath).energies[0])
            points = special_points(file.structure)[0]
            up = np.concatenate([np.repeat([1, 0], n) for n in file.basis.sizes(file.structure)])
            for valley in ("K", "K'"):
                state = solve_states(file, points[valley], band_range=(top, top))[0]
                assert state.coefficients.shape[1] == 1
                S = file.overlap.at_k(points[valley], spinor=True)
                populations = (state.coefficients.conj() * (S @ state.coefficients)).real
                weights.append(float(up @ populations[:, 0]))
    for other in levels[1:]:
        np.testing.assert_allclose(other, levels[0], atol=1e-7)
    np.testing.assert_allclose(weights, 3 * [0.997, 0.003], atol=1e-3)
