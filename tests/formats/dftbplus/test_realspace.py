"""DFTB+'s matrices in real space: its own run, and files of a naive writer."""

import gzip
import json

import numpy as np
import pytest
from foreign_cells import CELL, FRACTIONS, Example, write_dftbplus
from foreign_levels import levels, overlap_misfit

from moireio.errors import MoireioError
from moireio.formats.dftbplus import realspace
from moireio.formats.dftbplus.hsd import read_input

HARTREE = 27.2113845


def test_water(shared):
    folder = shared / "foreign" / "dftbplus_h2o"
    calculation = realspace.read(str(folder / "hamreal1.dat"))
    reference = json.loads((folder / "reference.json").read_text())
    found = levels(calculation, (0, 0, 0))[0] / HARTREE
    assert np.abs(found - reference["hartree_dense_numpy"]).max() < 1e-14
    assert overlap_misfit(calculation, 1) < 1e-12
    assert calculation.structure.positions[0].tolist() == [0, -1, 0]
    assert any("before the charges are self-consistent" in note for note in calculation.notes)


@pytest.mark.parametrize("spins", [1, 2])
def test_cells_are_those_of_folded_atoms(tmp_path, spins):
    """The input's atoms lie elsewhere; both images of an atom are there, one of other pairs."""
    example = Example(spins=spins)
    write_dftbplus(tmp_path, example, shifts=((1, 0, 0), (0, -2, 0), (0, 0, 1)))
    calculation = realspace.read(str(tmp_path))
    example.assert_equal(calculation, 1e-12, HARTREE)
    assert calculation.electrons.fermi == pytest.approx(-0.1 * HARTREE)
    assert not any("self-consistent" in note for note in calculation.notes)
    fractional = calculation.structure.positions @ np.linalg.inv(CELL)
    assert ((fractional > -1e-9) & (fractional < 1)).all()


def test_without_an_input(tmp_path):
    """A gen file has the atoms; shells are an option, or those usual for a number of orbitals."""
    example = Example()
    write_dftbplus(tmp_path, example)
    (tmp_path / "dftb_in.hsd").unlink()
    calculation = realspace.read(str(tmp_path / "overreal.dat"))
    assert any("shells of C, Mo, H" in note for note in calculation.notes)
    example.assert_equal(calculation, 1e-12, HARTREE)
    calculation = realspace.read(str(tmp_path), shells="C=sp,Mo=spd,H=s")
    assert not any("shells" in note for note in calculation.notes)
    with pytest.raises(MoireioError, match=r"atom 1 \(C\) has 4 orbitals .*`shells`"):
        realspace.read(str(tmp_path), shells="C=spd")
    (tmp_path / "geo.gen").unlink()
    with pytest.raises(MoireioError, match=r"no dftb_in.hsd .*companion"):
        realspace.read(str(tmp_path))


@pytest.mark.parametrize("names", [("", ""), (" (up)", " (down)")])
@pytest.mark.parametrize("down", [-0.1, -0.12])
def test_fermi_levels_of_two_spins(tmp_path, names, down):
    """With a fixed spin there are two; one is kept, where they are the same."""
    write_dftbplus(tmp_path, Example(spins=2))
    text = "".join(
        f"Fermi level{name}:        {value:.10f} H           {value * HARTREE:.4f} eV\n"
        for name, value in zip(names, (-0.1, down), strict=True)
    )
    (tmp_path / "detailed.out").write_text(text)
    calculation = realspace.read(str(tmp_path))
    same = down == -0.1
    fermi = None if calculation.electrons is None else calculation.electrons.fermi
    assert fermi == (pytest.approx(-0.1 * HARTREE) if same else None)
    assert any("differ, neither is kept" in note for note in calculation.notes) != same


def test_a_file_of_another_name_is_not_passed_over(tmp_path):
    """What lies beside it would be read instead."""
    write_dftbplus(tmp_path, Example())
    (tmp_path / "hamreal1.dat").rename(tmp_path / "mine.dat")
    with pytest.raises(MoireioError, match=r"mine\.dat: has no name .*DFTB\+ does: hamreal1\.dat"):
        realspace.read(str(tmp_path / "mine.dat"))


def test_compressed_files(tmp_path):
    """Also the one that the input includes; a file that is named comes before one beside it."""
    example = Example()
    write_dftbplus(tmp_path, example)
    for file in list(tmp_path.iterdir()):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.write_text("2 C\n")
    (tmp_path / "geo.gen").unlink()
    for name in ("overreal.dat", "dftb_in.hsd", "detailed.out"):
        (tmp_path / name).unlink()
    example.assert_equal(realspace.read(str(tmp_path / "hamreal1.dat.gz")), 1e-12, HARTREE)


def _positions(path):
    return read_input(str(path)).geometry.positions


def test_every_geometry_of_an_input(tmp_path):
    """Gen with fractional coordinates, a POSCAR, and atoms that are written out."""
    rows = [f"{n} {n} {x!r} {y!r} {z!r}" for n, (x, y, z) in enumerate(FRACTIONS.tolist(), 1)]
    vectors = "\n".join(f"{x!r} {y!r} {z!r}" for x, y, z in CELL.tolist())
    expected = FRACTIONS @ CELL
    path = tmp_path / "dftb_in.hsd"
    gen = "\n".join(["3 F", "C Mo H", *rows, "0 0 0", vectors])
    path.write_text(f"Geometry = GenFormat {{\n{gen}\n}}\n")
    assert np.abs(_positions(path) - expected).max() < 1e-14
    path.write_text(f"Geometry {{\n GenFormat {{\n{gen}\n}} }}\n")
    assert np.abs(_positions(path) - expected).max() < 1e-14
    atoms = "\n".join(f"{n} " + " ".join(f"{x!r}" for x in p) for n, p in
                      enumerate((expected / 0.529177249).tolist(), 1))  # fmt: skip
    path.write_text(
        'Geometry = {\n TypeNames = { "C" "Mo" "H" }\n Periodic = Yes\n LatticeVectors [Angstrom] '
        f"= {{\n{vectors}\n}}\n TypesAndCoordinates = {{\n{atoms}\n}}\n}}\n"
    )
    assert np.abs(_positions(path) - expected).max() < 1e-12
    (tmp_path / "POSCAR").write_text(
        f"x\n1.0\n{vectors}\nC Mo H\n1 1 1\nDirect\n"
        + "\n".join(" ".join(map(str, p)) for p in FRACTIONS.tolist())
    )
    path.write_text('Geometry = VaspFormat {\n  <<< "POSCAR"\n}\n')
    found = read_input(str(path))
    assert np.abs(found.geometry.positions - expected).max() < 1e-12
    assert found.files == [str(tmp_path / "POSCAR")]


def test_selected_shells(tmp_path):
    path = tmp_path / "dftb_in.hsd"
    path.write_text(
        'Hamiltonian = DFTB { MaxAngularMomentum = {\n Si = SelectedShells { "sp" "s" } '
        '# more\n O = "p"; H = s\n} }\n'
    )
    assert read_input(str(path)).shells == {"Si": (0, 1, 0), "O": (0, 1), "H": (0,)}


def _replace(name, old, new):
    def change(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "geo.gen").unlink(), "geo.gen: is included, but there is no such file"),
        (lambda f: (f / "hamreal1.dat").unlink(), "hamreal2.dat, but not hamreal1"),
        (lambda f: (f / "hamreal2.dat").unlink(), "up electrons alone: .* no hamreal2.dat"),
        (lambda f: (f / "hamimag1.dat").write_text(""), "hamimag1.dat is of .* non-collinear"),
        (_replace("hamreal1.dat", "E+00", "E+y0"), r"hamreal1.dat: line \d+: \d numbers expected"),
        (_replace("hamreal1.dat", "E+00", "E+99 1"), r"hamreal1.dat: line \d+: \d numbers"),
        (_replace("overreal.dat", "          3\n", "          4\n"), "overreal.dat: line"),
        (_replace("geo.gen", "3 S", "4 S"), "geo.gen"),
        (_replace("geo.gen", "3 S", "2 S"), "geo.gen: has no origin|has 2 atoms"),
        (
            lambda f: (f / "overreal.dat").write_text(
                "\n".join((f / "overreal.dat").read_text().split("\n")[:300])
            ),
            "overreal.dat: (announces|line)",
        ),
    ],
)
def test_damage_is_named(tmp_path, damage, message):
    write_dftbplus(tmp_path, Example(spins=2))
    damage(tmp_path)
    with pytest.raises(MoireioError, match=message):
        realspace.read(str(tmp_path))


@pytest.mark.parametrize("content", ["", "Total energy: -1 H\n"])
def test_a_log_without_fermi_level(tmp_path, content):
    write_dftbplus(tmp_path, Example())
    (tmp_path / "detailed.out").write_text(content)
    calculation = realspace.read(str(tmp_path))
    assert calculation.electrons is None
    assert "detailed.out has no Fermi level: it is not known" in calculation.notes


def test_a_fermi_level_in_two_units(tmp_path):
    write_dftbplus(tmp_path, Example())
    (tmp_path / "detailed.out").write_text("Fermi level:     -0.1090000000 H    -2.7211 eV\n")
    with pytest.raises(MoireioError, match=r"detailed\.out: line 1: .* are not the same"):
        realspace.read(str(tmp_path))


def test_a_cell_that_is_none_is_named_with_its_file(tmp_path):
    write_dftbplus(tmp_path, Example())
    lines = (tmp_path / "geo.gen").read_text().split("\n")
    lines[7] = lines[6]
    (tmp_path / "geo.gen").write_text("\n".join(lines))
    with pytest.raises(MoireioError, match=r"geo\.gen: .*vectors are not independent"):
        realspace.read(str(tmp_path))
