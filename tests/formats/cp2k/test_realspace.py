"""CP2K's CSR files: its own runs, and files of a naive writer."""

import gzip
import json
import shutil

import numpy as np
import pytest
from foreign_cells import CELL, Example, cp2k_matrix, cp2k_text, write_cp2k
from foreign_levels import levels, matrices_at, overlap_misfit

from moireio.errors import MoireioError
from moireio.formats.cp2k import realspace
from moireio.formats.cp2k.inp import is_basis_file, read_basis_file, read_input

HARTREE = 27.21138386


@pytest.fixture(scope="module")
def example():
    return Example()


@pytest.mark.parametrize(
    ("name", "agreement"), [("cp2k_graphene/gr", 1e-7), ("cp2k_fe_uks/fe", 3.5e-6)]
)
def test_bands_are_those_of_cp2k(shared, name, agreement):
    """At CP2K's own k points, both spins; orbitals and atoms are where S has them."""
    folder = shared / "foreign" / name.split("/")[0]
    calculation = realspace.read(str(folder / f"{name.split('/')[1]}.out.gz"))
    reference = json.loads((folder / "reference.json").read_text())
    found = np.array([levels(calculation, k) for k in reference["k"]]).transpose(1, 0, 2)
    assert np.abs(found - reference["eV"]).max() < agreement
    if "fermi_hartree" in reference:
        assert calculation.electrons.fermi == pytest.approx(reference["fermi_hartree"] * HARTREE)
    assert calculation.electrons.count == {"gr": 8, "fe": 16}[name[-2:]]
    for momentum in {l for basis in calculation.basis.species.values() for l in basis.l} - {0}:  # noqa: E741
        assert overlap_misfit(calculation, momentum) < 1e-5


def test_atoms_are_those_of_the_matrices(shared):
    """Graphene's second atom is at (1/3, -1/3), which neither the input nor the output has."""
    path = shared / "foreign" / "cp2k_graphene" / "csr.tar.gz"  # the archive is enough
    calculation = realspace.read(str(path))
    fractional = calculation.structure.positions @ np.linalg.inv(calculation.structure.cell)
    assert np.abs(fractional[:, :2] - [[0, 0], [1 / 3, -1 / 3]]).max() < 1e-9
    assert any("2 of 2 atoms moved into the cell" in note for note in calculation.notes)
    assert not calculation.structure.pbc[2]


def test_overlap_is_that_of_pyscf(shared):
    """The same basis between the same atoms, at k where the phase of a wrong cell would show."""
    gto = pytest.importorskip("pyscf.pbc.gto")
    calculation = realspace.read(str(shared / "foreign" / "cp2k_graphene" / "gr.out.gz"))
    structure = calculation.structure
    cell = gto.M(
        a=structure.cell,
        atom=[("C", place) for place in structure.positions],
        basis="gth-szv",
        pseudo="gth-pade",
        unit="A",
        verbose=0,
        precision=1e-10,
    )
    order = [0, 2, 3, 1, 4, 6, 7, 5]  # s, x, y, z there; s, y, z, x here
    for k in ((0, 0, 0), (0.13, 0.27, 0), (-0.21, 0.37, 0)):
        expected = cell.pbc_intor("int1e_ovlp", kpts=cell.get_abs_kpts([k]))[0]
        found = matrices_at(calculation.overlap, k)[0]
        assert np.abs(found - expected[np.ix_(order, order)]).max() < 2e-7


@pytest.mark.parametrize("form", ["text", "upper", "binary", "archive"])
@pytest.mark.parametrize("spins", [1, 2])
def test_every_form_gives_the_same_blocks(tmp_path, form, spins):
    example = Example(spins=spins)
    shifts = (1, 0, 0), (0, -2, 0), (0, 0, 1)
    options = {form: True} if form != "text" else {}
    path = write_cp2k(tmp_path, example, shifts=shifts, **options)
    calculation = realspace.read(str(path))
    example.assert_equal(calculation, 1e-11, HARTREE)
    assert calculation.operators["hamiltonian"].meta.spin == ("none", "collinear")[spins - 1]
    assert [calculation.basis[n].l for n in ("C", "Mo", "H")] == [(0, 1), (0, 1, 2), (0,)]
    assert np.abs(calculation.structure.positions - example.structure.positions).max() < 1e-6
    assert calculation.electrons.fermi == pytest.approx(-0.1 * HARTREE)
    assert calculation.electrons.count == 7 * spins
    fast = realspace.read(str(tmp_path / "csr.tar.gz")) if form == "archive" else calculation
    assert fast.digest(["overlap"]) == calculation.digest(["overlap"])


def test_the_input_gives_the_digits(tmp_path, example):
    """Cell and coordinates have few decimals in the output; an input of another run is ignored."""
    path = write_cp2k(tmp_path, example)
    rows = "\n".join(f"{n} {x!r} {y!r} {z!r}" for n, (x, y, z) in zip(
        ("C", "Mo", "H"), example.structure.positions.tolist(), strict=True))  # fmt: skip
    vectors = "\n".join(f"{n} {x!r} {y!r} {z!r}" for n, (x, y, z) in zip(
        "ABC", CELL.tolist(), strict=True))  # fmt: skip
    text = (
        f"&FORCE_EVAL\n &SUBSYS\n  &CELL\n{vectors}\n  &END CELL\n  &COORD\n{rows}\n  &END COORD\n"
    )
    text += " &END SUBSYS\n&END FORCE_EVAL\n"
    coarse = realspace.read(str(path))
    assert np.abs(coarse.structure.cell - CELL).max() < 2e-3
    assert any("few decimals" in note for note in coarse.notes)
    (tmp_path / "x.inp").write_text(text)
    fine = realspace.read(str(path))
    assert np.abs(fine.structure.cell - CELL).max() == 0
    assert np.abs(fine.structure.positions - example.structure.positions).max() < 1e-14
    (tmp_path / "x.inp").write_text(text.replace("A 6.0", "A 6.1"))
    other = realspace.read(str(path))
    assert np.abs(other.structure.cell - coarse.structure.cell).max() == 0


def test_shells_come_from_a_basis_file_or_an_option(tmp_path, example):
    path = write_cp2k(tmp_path, example, basis=False)
    with pytest.raises(MoireioError, match=r"x.out: does not print the basis of C .*companion"):
        realspace.read(str(path))
    calculation = realspace.read(str(path), shells="C=sp,Mo=s1p1d1,H=s")
    example.assert_equal(calculation, 1e-11, HARTREE)
    entry = "{} SZV SZV-q{}\n 1\n 2 0 {} 1{}\n 0.5{}\n"
    entries = [
        entry.format(name, n, top, " 1" * (top + 1), " 0.1" * (top + 1))
        for n, (name, top) in enumerate((("C", 1), ("Mo", 2), ("H", 0)))
    ]
    (tmp_path / "BASIS").write_text("# basis sets\n" + "".join(entries))
    kinds = "".join(f"  &KIND {n}\n   BASIS_SET SZV\n  &END\n" for n in ("C", "Mo", "H"))
    (tmp_path / "x.inp").write_text(f"&FORCE_EVAL\n &SUBSYS\n{kinds} &END\n&END\n")
    example.assert_equal(realspace.read(str(path)), 1e-11, HARTREE)


def test_a_real_basis_file():
    """DZVP-MOLOPT-SR-GTH of Fe: two s below the valence, as CP2K counts them."""
    pyscf = pytest.importorskip("pyscf.pbc.gto.basis")
    path = pyscf.__path__[0] + "/BASIS_MOLOPT"
    assert is_basis_file(path)
    sets = read_basis_file(path)
    assert sets["Fe", "SZV-MOLOPT-SR-GTH"] == (0, 0, 1, 2)
    assert sets["C", "DZVP-MOLOPT-GTH"] == (0, 0, 1, 1, 2)


def test_a_matrix_at_gamma_is_cut_into_nearest_images(tmp_path):
    """Levels at Gamma stay those of the sum; blocks of distant cells are where atoms are near."""
    example = Example(reach=3.0)
    for matrix, name in (("KS", "hamiltonian"), ("S", "overlap")):
        total = sum(example.matrices(name).values())
        (tmp_path / f"x-{matrix}_SPIN_1-1_0.csr").write_bytes(cp2k_matrix(total))
    (tmp_path / "x.out").write_text(cp2k_text(example))
    calculation = realspace.read(str(tmp_path / "x.out"))
    example.assert_equal(calculation, 1e-11, HARTREE)
    assert any("Gamma" in note for note in calculation.notes)
    wide = Example()
    for matrix, name in (("KS", "hamiltonian"), ("S", "overlap")):
        total = sum(wide.matrices(name).values())
        (tmp_path / f"x-{matrix}_SPIN_1-1_0.csr").write_bytes(cp2k_matrix(total))
    calculation = realspace.read(str(tmp_path / "x.out"))
    assert any("bands are right at Gamma only" in note for note in calculation.notes)
    found = matrices_at(calculation.hamiltonian, (0, 0, 0))[0]
    expected = HARTREE * sum(wide.matrices("hamiltonian").values())
    assert np.abs(found - expected).max() < 1e-10


def test_shells_from_labels_of_a_printed_matrix(tmp_path, example):
    """AO_MATRICES prints element and orbital of every row, column after column."""
    path = write_cp2k(tmp_path, example, basis=False)
    labels = (
        ["2s", "2py", "2pz", "2px"],
        ["3s", "3py", "3pz", "3px", "4d-2", "4d-1", "4d0", "4d+1", "4d+2"],
        ["1s"],
    )
    rows, number = [], 0
    for atom, (names, symbol) in enumerate(zip(labels, ("C", "Mo", "H"), strict=True), 1):
        for label in names:
            number += 1
            rows.append(f"{number:8d}{atom:6d} {symbol:<2} {label:<6}   {0.1:10.6f}  {-0.5:10.6f}")
    text = " OVERLAP MATRIX\n\n" + "\n".join([*rows, "", "   3  4", *rows]) + "\n"
    path.write_text(path.read_text() + text)
    calculation = realspace.read(str(path))
    assert [calculation.basis[n].l for n in ("C", "Mo", "H")] == [(0, 1), (0, 1, 2), (0,)]
    example.assert_equal(calculation, 1e-11, HARTREE)


def test_atoms_stay_along_vectors_that_are_not_periodic(tmp_path):
    """With PERIODIC XY CP2K moves atoms along a and b alone."""
    example = Example()
    flat = {key: block for key, block in example.S.items() if key[2][2] == 0}
    example.S, example.H = flat, {key: example.H[key] for key in flat}
    path = write_cp2k(tmp_path, example, shifts=((1, 0, 1), (0, 0, 1), (0, -1, 1)))
    path.write_text(path.read_text() + " CELL| Periodicity                             XY\n")
    calculation = realspace.read(str(path))
    moved = calculation.structure.positions - example.structure.positions
    assert np.abs(moved @ np.linalg.inv(CELL) - [0, 0, 1]).max() < 1e-5
    example.assert_equal(calculation, 1e-11, HARTREE)


def test_of_several_steps_the_last_is_read(tmp_path, example):
    path = write_cp2k(tmp_path, example)
    for old in tmp_path.glob("*-1_0.csr"):
        shutil.copy(old, str(old).replace("-1_0", "-1_2"))
        old.write_text("1 1 5.0\n")
    calculation = realspace.read(str(path))
    example.assert_equal(calculation, 1e-11, HARTREE)
    assert any("last of 2 steps" in note for note in calculation.notes)


def _cut_out(folder):
    text = (folder / "x.out").read_text()
    (folder / "x.out").write_text(text[: text.index("\n        11 ")])


def _other_cell(number):
    """Change the third number of a cell in the table of H."""

    def change(folder):
        lines = (folder / "x.out").read_text().split("\n")
        at = next(n for n, line in enumerate(lines) if "KS CSR write" in line) + 3
        words = lines[at].split()
        while words[3] == number:
            at += 1
            words = lines[at].split()
        lines[at] = "   ".join(["      ", *words[:3], number])
        (folder / "x.out").write_text("\n".join(lines))

    return change


def _no_table(folder):
    text = (folder / "x.out").read_text()
    (folder / "x.out").write_text(text[: text.index(" KS CSR")])


def _append(name, line):
    def change(folder):
        path = folder / name
        path.write_text(path.read_text() + line)

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "x.out").unlink(), r"needs CP2K's output.*companion"),
        (_cut_out, r"x.out.*announces \d+ periodic images of KS, but lists 10"),
        (_no_table, r"x.out: has no table KS CSR write"),
        (_other_cell("8"), r"x.out: lists the cell \[.*, 8\], but not \[.*, -8\]"),
        (_other_cell("0"), r"x.out: lists the cell \[.*\] twice"),
        (lambda f: (f / "x-KS_SPIN_1_R_7-1_0.csr").unlink(), "cell 7 is missing"),
        (
            _append("x-KS_SPIN_1_R_3-1_0.csr", "1 2\n"),
            r"R_3-1_0.csr: line \d+: row, column and value",
        ),
        (_append("x-S_SPIN_1_R_3-1_0.csr", "1 99 1.0\n"), "R_3-1_0.csr: line .* orbitals 1 and 99"),
        (_append("x-S_SPIN_1_R_3-1_0.csr", "1 4 nan\n"), r"R_3-1_0.csr: line .*found '1 4 nan'"),
        (_append("x-S_SPIN_1_R_3-1_0.csr", "1 4 1E5\n"), "twice|differ"),
        (lambda f: (f / "x-S_SPIN_1_R_3-1_0.csr").write_bytes(b"\0ELF"), "neither text nor"),
        (_append("x.out", " KS CSR write|   1 periodic images\n Number\n 1 0 0 q\n"), "expected"),
    ],
)
def test_damage_is_named(tmp_path, example, damage, message):
    path = write_cp2k(tmp_path, example)
    damage(tmp_path)
    source = path if path.exists() else next(tmp_path.glob("*.csr"))
    with pytest.raises(MoireioError, match=message):
        realspace.read(str(source))


def test_files_of_k_points_are_refused(tmp_path, example):
    path = write_cp2k(tmp_path, example)
    for file in tmp_path.glob("*.csr"):
        file.rename(str(file).replace("_R_", "_K_"))
    with pytest.raises(MoireioError, match=r"at a k point .*REAL_SPACE T"):
        realspace.read(str(path))


def test_detection(tmp_path, example):
    path = write_cp2k(tmp_path, example, archive=True)
    (tmp_path / "x.out.gz").write_bytes(gzip.compress(path.read_bytes()))
    for name in ("x.out", "x.out.gz", "csr.tar.gz"):
        assert realspace.detect(str(tmp_path / name))
    (tmp_path / "csr.tar.gz").unlink()
    (tmp_path / "x.out").unlink()
    assert realspace.detect(str(tmp_path))  # so that the message names what is missing
    with pytest.raises(MoireioError, match="has no CSR files beside it"):
        realspace.read(str(tmp_path))
    (tmp_path / "y.out").write_text("something else")
    assert not realspace.detect(str(tmp_path / "y.out"))


def test_units_and_angles_of_an_input(tmp_path):
    path = tmp_path / "x.inp"
    path.write_text(
        "&FORCE_EVAL\n&SUBSYS\n&CELL\nABC [bohr] 2 4 6\nALPHA_BETA_GAMMA 90 90 120\n&END CELL\n"
        "&COORD\nSCALED\nFe1 0.5 0 0\n&END COORD\n&KIND Fe1\nELEMENT Fe\nBASIS_SET ORB SZV\n&END\n"
    )
    found = read_input(str(path))
    bohr = 0.52917720859
    assert found.cell == pytest.approx(
        bohr * np.array([[2, 0, 0], [-2, 4 * 0.75**0.5, 0], [0, 0, 6]]), abs=1e-12
    )
    assert found.positions == pytest.approx(np.array([[bohr, 0, 0]]))
    assert (found.number("Fe1"), found.basis_sets) == (26, {"Fe1": "SZV"})


def test_a_lost_line_of_an_orbital_with_itself_is_noted(tmp_path, example):
    """Others are found by their partners; those that are 0 or below the threshold are left out."""
    path = write_cp2k(tmp_path, example)
    good = realspace.read(str(path))
    assert not any("with itself" in note for note in good.notes)
    number = list(example.matrices("overlap")).index((0, 0, 0)) + 1
    home = tmp_path / f"x-KS_SPIN_1_R_{number}-1_0.csr"
    lines = home.read_text().split("\n")
    diagonal = [n for n, line in enumerate(lines) if line.split()[:1] == line.split()[1:2] != []]
    del lines[diagonal[2]]
    home.write_text("\n".join(lines))
    (note,) = [note for note in realspace.read(str(path)).notes if "with itself" in note]
    assert note.startswith("the hamiltonian of orbital 3 with itself is not in the file of R = 0")


@pytest.mark.parametrize("kept", [-9, -4])
def test_an_archive_is_checked_to_its_end(tmp_path, example, kept):
    """Its members end before the checksum of the compression."""
    path = write_cp2k(tmp_path, example, archive=True)
    realspace.read(str(path))
    archive = tmp_path / "csr.tar.gz"
    raw = archive.read_bytes()
    for damaged in (raw[:kept], raw[:-8] + b"\1\2\3\4" + raw[-4:]):
        archive.write_bytes(damaged)
        with pytest.raises(MoireioError, match=r"csr\.tar\.gz"):
            realspace.read(str(path))


@pytest.mark.parametrize("upper", [False, True])
def test_an_empty_file_of_the_cell_itself_is_noted(tmp_path, example, upper):
    """An empty file is a zero matrix, which the on-site energies of no calculation are."""
    path = write_cp2k(tmp_path, example, upper=upper)
    number = list(example.matrices("overlap")).index((0, 0, 0)) + 1
    (tmp_path / f"x-KS_SPIN_1_R_{number}-1_0.csr").write_text("")
    (note,) = [note for note in realspace.read(str(path)).notes if "with itself" in note]
    assert note.startswith("the hamiltonian of orbital 1 with itself is not in the file of R = 0")
    assert "others): is a line lost?" in note
