"""Block files into every format that is written, and back; matrices at chosen k points.

Formats with a writer are taken from the registry: a new one is tried with all systems, and must
give back every element to the last bit unless `DIGITS` has its name.
"""

import json
import os
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest
from foreign_levels import blocks_of, levels
from helpers import naive_at_k, random_operator, random_system, write_file
from scipy.linalg import eigvalsh

from moireio.blockfile.calculation import read
from moireio.errors import MoireioError
from moireio.formats import matrices
from moireio.formats.registry import FORMATS, detect_format
from moireio.operators.bloch import BlochSum
from moireio.operators.views import ArraySource
from moireio.system.basis import Basis, SpeciesBasis
from moireio.tools import chern, edge_project
from moireio.tools.convert_h import main as command

SYSTEMS = ("none", "collinear", "spinor", "molecule", "sites", "sites_spinor")
SYSTEMS += ("gr_ab", "hbn_soc", "o2_col")
COLLINEAR, SITES = ("collinear", "o2_col"), ("sites", "sites_spinor")
#: Largest error of an element (eV for H) and of a coordinate (Å) of formats that are no copies.
DIGITS = {
    "abacus": (1e-13, 1e-12),  # Ry to eV: the last bit
    "cp2k": (1e-14, 1e-9),  # Hartree to eV
    "siesta": (1e-12, 1e-12),
    "hamgnn": (2e-6, 2e-6),  # single precision
}
NOT_ORTHOGONAL = set(SYSTEMS) - set(SITES)
#: Systems that a format cannot hold, and words of the message.
HOLDS_NOT = {
    "abacus": {"sites": "complex"},
    "cp2k": dict.fromkeys(("spinor", "sites_spinor", "hbn_soc"), "spinors") | {"sites": "complex"},
    "deeph": dict.fromkeys(COLLINEAR, "collinear") | dict.fromkeys(SITES, "no element"),
    "deeph-dock": dict.fromkeys(COLLINEAR, "collinear") | dict.fromkeys(SITES, "no element"),
    "deeptb": dict.fromkeys(COLLINEAR, "spin-polarised") | dict.fromkeys(SITES, "empty atoms"),
    "hamgnn": dict.fromkeys(SITES, "lacks H or S"),
    "siesta": {"sites": "complex"},
    "tbmodels": dict.fromkeys(NOT_ORTHOGONAL, "overlap is not 1")
    | dict.fromkeys(COLLINEAR, "two spins"),
    "wannier90": dict.fromkeys(NOT_ORTHOGONAL, "overlap is not 1"),
    "wanniertools": dict.fromkeys(COLLINEAR, "collinear"),
}
#: Options for systems with a spin that the format has no name for.
OPTIONS = {("tbmodels", "sites_spinor"): {"spinor": "interleaved"}}
WRITTEN = [name for name, row in FORMATS.items() if row.write is not None and name != "moireio"]


def random_file(path, spin, reach=1):
    """Elements in turn, atoms outside the cell, periodic along two vectors or none."""
    structure, basis = random_system(11, 5)
    structure = replace(structure, pbc=[reach > 0, reach > 0, False])
    sizes = basis.sizes(structure)
    # of the molecule fewer pairs of H than of S
    hamiltonian, _ = random_operator(3, sizes, spin=spin, reach=reach, fill=1.0 if reach else 0.5)
    overlap, blocks = random_operator(4, sizes, name="overlap", reach=reach, fill=1.0)
    for (i, j, R), block in blocks.items():
        same = i == j and R == (0, 0, 0)
        blocks[i, j, R] = np.eye(len(block)) if same else 0.01 * block
    overlap = ArraySource.from_blocks(overlap.meta, sizes, blocks)
    return write_file(path, structure, basis, hamiltonian, overlap)


def sites_file(path, spinor):
    """Orbitals without shells, two of them at one place."""
    rng = np.random.default_rng(7)
    rows = 8 if spinor else 4
    half = {
        cell: rng.normal(size=(rows, rows)) + 1j * rng.normal(size=(rows, rows))
        for cell in ((0, 0, 0), (0, 1, 0), (1, -1, 0))
    }
    centres = [[0, 0, 0], [1.5, -4, 0.3], [0, 0, 0], [3, 0.2, 0.1]]
    cell = np.diag([3.0, 3.5, 12])
    model = matrices.read(half, cell=cell, centres=centres, partners="half", spinor=spinor)
    return write_file(path, model.structure, model.basis, model.hamiltonian)


@pytest.fixture(scope="module")
def systems(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("systems")
    spins = ("none", "collinear", "spinor")
    files = {spin: random_file(folder / f"{spin}.h5", spin) for spin in spins}
    files["molecule"] = random_file(folder / "molecule.h5", "none", reach=0)
    files["sites"] = sites_file(folder / "sites.h5", None)
    files["sites_spinor"] = sites_file(folder / "sites_spinor.h5", "blocks")
    return files | {case: made[case] for case in ("gr_ab", "hbn_soc", "o2_col")}


def convert_h(*words):
    command.main([*map(str, words), "--quiet"], standalone_mode=False)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("name", WRITTEN)
def test_round_trip(systems, tmp_path, name, system):
    """Block file → other program's files → memory."""
    row = FORMATS[name]
    middle = str(tmp_path / f"middle{row.suffixes[0] if row.suffixes else ''}")
    options = OPTIONS.get((name, system), {})
    words = HOLDS_NOT.get(name, {}).get(system)
    with read(str(systems[system])) as before:
        if words is not None:
            with pytest.raises(MoireioError, match=words):
                row.write(before, middle, **options)
            assert os.listdir(tmp_path) == []
            return
        try:
            row.write(before, middle, **options)
        except MoireioError as error:
            if "is not installed" in str(error) or "the package" in str(error):
                pytest.skip(str(error))
            raise
        assert detect_format(middle).name == name
        with row.read(middle, **options) as after:
            assert_equal(before, after, *DIGITS.get(name, (0, 1e-12)))


def test_round_trip_of_commands(systems, tmp_path):
    """With options of the formats, found by content on the way back."""
    for name, system in (("deeph-dock", "none"), ("tbmodels", "sites_spinor")):
        middle, back = tmp_path / f"{name}", tmp_path / f"{name}.h5"
        given = OPTIONS.get((name, system), {})
        options = [part for key in given for part in ("--option", f"{key}={given[key]}")]
        convert_h(systems[system], "--to", name, "-o", middle, *options)
        convert_h(middle, "-o", back, *options)
        with read(str(systems[system])) as before, read(str(back)) as after:
            assert_equal(before, after, 0, 1e-12)


def test_small_model(made, tmp_path):
    """p_z of graphene as a block file and as Wannier90's file: the same matrices.

    Sites of the latter are the centres of the functions, and r is counted from there.
    """
    words = ("--orthogonalise", "4x4", "--projections", "C:pz", "--window", "-9", "4")
    convert_h(made["gr_ab"], "-o", tmp_path / "pz.h5", *words)
    convert_h(made["gr_ab"], "-o", tmp_path / "pz_tb.dat", *words, "--smearing", "2")
    convert_h(tmp_path / "pz_tb.dat", "-o", tmp_path / "back.h5")
    with read(str(tmp_path / "pz.h5")) as model, read(str(tmp_path / "back.h5")) as back:
        assert len(model.structure) == 4
        assert any("root mean square" in note for note in history(tmp_path / "pz.h5"))
        for name in ("hamiltonian", "position"):
            for k in ([0, 0, 0], [0.25, 0.5, 0], [0.1, 0.7, 0]):
                for axis in range(model.operator(name).meta.components):
                    sums = [
                        BlochSum.from_source(one.operator(name), component=axis).dense(k)
                        + np.diag(one.structure.positions[:, axis] * (name == "position"))
                        for one in (model, back)
                    ]
                    np.testing.assert_allclose(*sums, atol=1e-9)
    for missing in (words[:4], words[2:], words[4:]):
        with pytest.raises(click.UsageError, match=r"needs|belongs"):
            convert_h(made["gr_ab"], "-o", tmp_path / "x.h5", *missing)


def history(path):
    """Notes of the last command."""
    import moireio

    with moireio.open(str(path)) as file:
        return file.history[-1].notes


def test_wannier_functions_to_chern_numbers(shared, tmp_path):
    """Haldane's model from a ``_hr.dat``: C against plaquettes of the file's own matrices."""
    from click.testing import CliRunner

    from moireio.formats.wannier90.matrices import read_hr
    from moireio.tools.chern import main as chern

    folder = shared / "foreign" / "tbmodels_haldane"
    (tmp_path / "x_hr.dat").write_text((folder / "haldane_hr.dat").read_text())
    cell = "1 0 0\n0.5 0.8660254037844386 0\n0 0 9"
    (tmp_path / "x.win").write_text(f"begin unit_cell_cart\n{cell}\nend unit_cell_cart\n")
    (tmp_path / "x_centres.xyz").write_text("2\n\nX 0 0 0\nX 0.5 0.2886751346 0\n")
    convert_h(tmp_path / "x_hr.dat", "-o", tmp_path / "x.h5")
    done = CliRunner().invoke(chern, [str(tmp_path / "x.h5"), "--energy", "0", "--json", "-q"])
    found = read_hr(str(folder / "haldane_hr.dat"))
    assert json.loads(done.output)["chern"] == plaquettes(found.cells, found.hamiltonian)


def plaquettes(cells, matrices, n=20):
    """Chern number of the lowest band: Berry phases, −arg of closed products, over 2π."""
    k = np.stack(np.meshgrid(*[np.arange(n) / n] * 2, [0.0], indexing="ij"), axis=-1)[:, :, 0]
    total = np.tensordot(np.exp(2j * np.pi * k @ cells.T), matrices, 1)
    u = np.linalg.eigh(total)[1][..., 0]
    corners = [u, np.roll(u, -1, 0), np.roll(u, (-1, -1), (0, 1)), np.roll(u, -1, 1)]
    product = 1
    for one, two in zip(corners, corners[1:] + corners[:1], strict=True):
        product = product * (one.conj() * two).sum(axis=-1)
    return round(-np.angle(product).sum() / (2 * np.pi))


def assert_equal(before, after, error, length):
    """Both are the same system, whichever order and cell its atoms have."""
    places, moves = matched(before.structure, after.structure, length)
    np.testing.assert_array_equal(after.structure.pbc, before.structure.pbc)
    for old, new in enumerate(places):
        name, other = before.structure.species_of_atoms[old], after.structure.species_of_atoms[new]
        assert after.basis[other].l == before.basis[name].l
        if before.structure.numbers[old]:
            assert after.structure.numbers[new] == before.structure.numbers[old]
    for name in ("hamiltonian", "overlap"):
        mine, theirs = getattr(before, name), getattr(after, name)
        if mine is None:
            assert before.basis.orthogonal
            assert after.basis.orthogonal or is_unit(theirs)
            continue
        assert theirs.meta.spin == mine.meta.spin
        found = {(i, j, *R): block for i, j, R, block in blocks_of(theirs)}
        for i, j, R, block in blocks_of(mine):
            key = (places[i], places[j], *(R - moves[j] + moves[i]))
            other = found.pop(key, np.zeros_like(block))  # blocks of zeros may be left out
            np.testing.assert_allclose(other, block, rtol=0, atol=error)
        for block in found.values():  # of elements that a file lists with others
            assert np.abs(block).max() <= error
    fermi = [None if c.electrons is None else c.electrons.fermi for c in (before, after)]
    if None not in fermi:
        assert fermi[1] == pytest.approx(fermi[0], abs=max(error, 1e-9))


def is_unit(overlap):
    return all(
        (block == (np.eye(block.shape[1]) if i == j and not R.any() else 0)).all()
        for i, j, R, block in blocks_of(overlap)
    )


def matched(before, after, length):
    """The atom of `after` for each of `before`, and its move in lattice vectors."""
    np.testing.assert_allclose(after.cell, before.cell, rtol=0, atol=length)
    places, moves = [], []
    for position in before.positions:
        reduced = (after.positions - position) @ np.linalg.inv(before.cell)
        whole = np.rint(reduced)
        gaps = np.linalg.norm((reduced - whole) @ before.cell, axis=1)
        places.append(int(gaps.argmin()))
        moves.append(whole[places[-1]].astype(int))
        assert gaps.min() <= 2 * length + 1e-15
    assert sorted(places) == list(range(len(after.positions)))
    return places, np.array(moves)


def test_matrices_at_k_points(made, tmp_path):
    """The command, with levels of the block file that was read."""
    points = tmp_path / "k.txt"
    points.write_text("# two\n0 0 0\n0.1 0.2 0  a comment\n")
    convert_h(made["hbn_soc"], "--kpoints", points, "-o", tmp_path / "x.npz")
    convert_h(made["hbn_soc"], "--kpoints", points, "-o", tmp_path / "x.mtx")
    convert_h(made["hbn_soc"], "--kpoints", points, "--to", "petsc-real", "-o", tmp_path / "y")
    names = [f"{o}.000{n}" for o in "HS" for n in (0, 1)]
    made_here = {f"x.{name}.mtx" for name in names} | {f"y.{name}.petsc" for name in names}
    made_here |= {"x.npz", "x.k.txt", "y.k.txt", "k.txt"}
    assert set(os.listdir(tmp_path)) == made_here
    archive = np.load(tmp_path / "x.npz")
    with read(str(made["hbn_soc"])) as calculation:
        for k, h, s in zip(archive["k"], archive["H"], archive["S"], strict=True):
            np.testing.assert_allclose(eigvalsh(h, s), levels(calculation, k)[0], atol=1e-10)
    with pytest.raises(MoireioError, match=r"x\.npz: exists already"):
        convert_h(made["hbn_soc"], "--kpoints", points, "-o", tmp_path / "x.npz")
    with pytest.raises(click.UsageError, match="--kpoints needs -o"):
        convert_h(made["hbn_soc"], "--kpoints", points)


HALDANE = {"pythtb": ("haldane", -1), "kwant": ("kwant", 1)}


@pytest.mark.parametrize("package", HALDANE)
def test_pipes_of_the_howto(tmp_path, monkeypatch, capsys, package):
    """Haldane's model of another package, to Chern numbers and edge states."""
    file, number = HALDANE[package]
    try:
        import_module(package)
    except (ImportError, ValueError):  # ValueError: built for another NumPy
        pytest.skip(f"{package} is not installed")
    page = Path(__file__).resolve().parents[2] / "docs" / "howto-convert.md"
    codes = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S)
    monkeypatch.chdir(tmp_path)
    exec(next(code for code in codes if f"import {package}\n" in code), {})
    chern.main([f"{file}.h5", "--bands", "1:1", "-q"], standalone_mode=False)
    fields = capsys.readouterr().out.splitlines()[-1].split()
    assert fields[2:4] == [str(number)] * 2
    words = [f"{file}.h5", "--cut", "16", "--energy", "0", "-q"]
    edge_project.main(words, standalone_mode=False)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-2:]]
    assert [(row[1], row[2], row[-2]) for row in rows] == [
        ("low", f"{number:+d}", "yes"),
        ("high", f"{-number:+d}", "yes"),
    ]


@pytest.mark.parametrize("spin", ["none", "spinor"])
@pytest.mark.parametrize("name", WRITTEN)
def test_atoms_without_orbitals(tmp_path, name, spin):
    """Formats of sites have the other atoms; those of programs with bases refuse such atoms."""
    structure, _ = random_system(11, 5)
    basis = Basis({"C": SpeciesBasis((0, 1)), "Mo": SpeciesBasis(()), "H": SpeciesBasis((0,))})
    basis = replace(basis, orthogonal=True)
    sizes = basis.sizes(structure)
    assert 0 in sizes
    hamiltonian, blocks = random_operator(3, sizes, spin=spin, fill=1.0)
    sources = [hamiltonian]
    if name == "hamgnn":  # which needs S
        sources.append(random_operator(4, sizes, name="overlap")[0])
    path = write_file(tmp_path / "x.h5", structure, basis, *sources)
    row = FORMATS[name]
    middle = str(tmp_path / f"middle{row.suffixes[0] if row.suffixes else ''}")
    expected = eigvalsh(naive_at_k(blocks, sizes * (2 if spin == "spinor" else 1), [0.1, 0.2, 0]))
    with read(str(path)) as before:
        found = np.linalg.eigvalsh(BlochSum.from_source(before.hamiltonian).dense([0.1, 0.2, 0]))
        np.testing.assert_allclose(found, expected, atol=1e-12)
        if name not in ("tbmodels", "wannier90", "wanniertools"):
            words = "spinors" if (name, spin) == ("cp2k", "spinor") else "Mo have no orbitals"
            with pytest.raises(MoireioError, match=words):
                row.write(before, middle)
            assert os.listdir(tmp_path) == ["x.h5"]
            return
        if name == "tbmodels":
            pytest.importorskip("tbmodels")
        row.write(before, middle)
    with row.read(middle) as after:
        np.testing.assert_allclose(levels(after, [0.1, 0.2, 0])[0], expected, atol=1e-12)
        noted = [note for note in after.notes if "have no orbitals and are left out" in note]
        assert len(noted) == (name == "wanniertools")
