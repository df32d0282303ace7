"""Wannier90's ``_hr.dat`` and what is read with it."""

import gzip
import shutil

import numpy as np
import pytest
from wannier_files import at_k, bands, hr_text, random_model, reference, tb_text, win_text, xyz_text

from moireio.errors import DamagedError, MoireioError
from moireio.formats.assembly.elements import matrices_from_source
from moireio.formats.assembly.sites import sites
from moireio.formats.wannier90 import files
from moireio.operators.bloch import BlochSum

K = np.random.default_rng(5).uniform(-0.5, 0.5, (5, 3))
CELL = np.diag([3.0, 4.0, 5.0])
CENTRES = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0], [2, 1, 0]], dtype=float)


@pytest.fixture
def model(tmp_path):
    """A random H with its lattice and centres, of a run of Wannier90 on an odd mesh."""
    cells, matrices = random_model(1, 4)
    (tmp_path / "x_hr.dat").write_text(hr_text(cells, matrices))
    (tmp_path / "x.win").write_text(win_text(CELL, 4, "use_ws_distance = .false."))
    (tmp_path / "x_centres.xyz").write_text(xyz_text(CENTRES))
    return tmp_path / "x_hr.dat", cells, matrices


@pytest.mark.parametrize(
    ("folder", "name", "tolerance"),
    [("qe_w90_si", "si", 1.3e-5), ("siesta_w90_si", "silicon", 2.2e-5)],
)
def test_bands_of_wannier90_with_images(shared, folder, name, tolerance):
    known = reference(shared / "foreign" / folder)
    path = str(shared / "foreign" / folder / f"{name}_hr.dat")
    assert files.detect(path)
    calculation = files.read(path)
    found = bands(calculation, known["k"])
    np.testing.assert_allclose(found, known["eV_use_ws_distance_true"], atol=tolerance)
    assert calculation.notes == []
    assert calculation.structure.species_of_atoms == ["X1"] * 4
    assert calculation.extra["x_wannier90"]["numbers"].tolist() == [14, 14]


def test_without_images_the_note_names_the_file_and_the_bands_are_the_plain_ones(shared, tmp_path):
    folder = shared / "foreign" / "qe_w90_si"
    for name in ("si_hr.dat", "si.win"):
        shutil.copy(folder / name, tmp_path / name)
    calculation = files.read(str(tmp_path / "si_hr.dat"))
    known = reference(folder)
    found = bands(calculation, known["k"])
    np.testing.assert_allclose(found, known["eV_use_ws_distance_false"], atol=1.3e-5)
    assert np.abs(found - known["eV_use_ws_distance_true"]).max() > 0.1
    assert any("si_wsvec.dat" in note for note in calculation.notes)
    assert any("si_centres.xyz" in note for note in calculation.notes)
    assert not calculation.structure.positions.any()


def test_two_files_of_one_spin_each(shared):
    folder = shared / "foreign" / "w90_fe_collinear_tb2j"
    known = reference(folder)
    up, down = (str(folder / f"Fe_{spin}_hr.dat.gz") for spin in ("up", "down"))
    calculation = files.read(up, companions=[down])
    assert calculation.hamiltonian.meta.spin == "collinear"
    for spin in (0, 1):
        np.testing.assert_allclose(
            bands(calculation, known["k"], spin), known["eV"][spin], atol=1e-10
        )
    assert calculation.structure.species_of_atoms == ["X9"]
    alone = files.read(up)
    assert any("Fe_down_hr.dat.gz" in note for note in alone.notes)


def test_sign_of_k(shared):
    folder = shared / "foreign" / "tbmodels_haldane"
    calculation = files.read(str(folder / "haldane_hr.dat"))
    known = reference(folder)
    np.testing.assert_allclose(bands(calculation, known["k"]), known["eV"], atol=1e-12)
    assert np.abs(bands(calculation, -np.array(known["k"])) - known["eV"]).max() > 0.2
    assert any("haldane.win" in note for note in calculation.notes)


def test_counts_with_comments_and_degeneracies_beyond_their_number(shared):
    folder = shared / "foreign" / "w90_bhz_wanniertools"
    known = reference(folder)
    found = bands(files.read(str(folder / "BHZ_hr.dat")), known["k"])
    np.testing.assert_allclose(found, known["eV"], atol=1e-12)


def test_matrices_are_those_of_the_file(model):
    path, cells, matrices = model
    calculation = files.read(str(path))
    structure, _, orbitals = sites(CELL, CENTRES, 4)
    np.testing.assert_allclose(calculation.structure.positions, structure.positions)
    listed, (found,) = matrices_from_source(calculation.hamiltonian, orbitals)
    for cell, matrix in zip(listed, found, strict=True):
        place = int(np.flatnonzero((cells == cell).all(axis=1))[0])
        np.testing.assert_array_equal(matrix.toarray(), matrices[place])
    assert calculation.notes == []


def test_degeneracies_divide(tmp_path):
    cells, matrices = random_model(2, 2)
    degeneracy = 1 + np.abs(cells).sum(axis=1)
    (tmp_path / "x_hr.dat").write_text(hr_text(cells, matrices, degeneracy, "a model"))
    calculation = files.read(str(tmp_path / "x_hr.dat"))
    for k in K:
        expected = np.linalg.eigvalsh(at_k(cells, matrices / degeneracy[:, None, None], k))
        np.testing.assert_allclose(bands(calculation, [k])[0], expected, atol=1e-12)


@pytest.mark.parametrize("order", ["alternating", "blocks"])
def test_spinors(tmp_path, order):
    """Rows of up and down are those of the file; the input says that they are spinors."""
    cells, matrices = random_model(3, 6)
    centres = np.array([[0.0, 0, 0], [1.5, 0, 0], [0, 1.5, 1]])
    every = np.tile(centres, (2, 1)) if order == "blocks" else np.repeat(centres, 2, axis=0)
    (tmp_path / "x_hr.dat").write_text(hr_text(cells, matrices, comment="model"))
    (tmp_path / "x.win").write_text(win_text(CELL, 6, "Spinors : T"))
    (tmp_path / "x_centres.xyz").write_text(xyz_text(every))
    calculation = files.read(str(tmp_path / "x_hr.dat"))
    assert calculation.hamiltonian.meta.spin == "spinor"
    np.testing.assert_allclose(calculation.structure.positions, centres)
    up = np.arange(3) if order == "blocks" else np.arange(0, 6, 2)
    rows = np.stack([up, up + (3 if order == "blocks" else 1)], axis=1).ravel()
    total = BlochSum.from_source(calculation.hamiltonian)
    for k in K:
        expected = at_k(cells, matrices, k)[np.ix_(rows, rows)]
        np.testing.assert_allclose(total.dense(k), expected, atol=1e-12)
    assert any("up" in note and "before" in note for note in calculation.notes) == (
        order == "blocks"
    )


def test_spinor_order_can_be_said(tmp_path):
    cells, matrices = random_model(4, 4)
    (tmp_path / "x_hr.dat").write_text(hr_text(cells, matrices, comment="model"))
    (tmp_path / "x.win").write_text(win_text(CELL, 4, "spinors = true"))
    path = str(tmp_path / "x_hr.dat")
    total = BlochSum.from_source(files.read(path, spinor_order="blocks").hamiltonian)
    np.testing.assert_allclose(total.dense(K[0]), at_k(cells, matrices, K[0]), atol=1e-12)
    swapped = at_k(cells, matrices, K[0])[np.ix_([0, 2, 1, 3], [0, 2, 1, 3])]
    total = BlochSum.from_source(files.read(path).hamiltonian)
    np.testing.assert_allclose(total.dense(K[0]), swapped, atol=1e-12)
    for spinors in ("true", "false"):
        (tmp_path / "x.win").write_text(win_text(CELL, 4, f"spinors = {spinors}"))
        with pytest.raises(MoireioError, match="alternating or blocks"):
            files.read(path, spinor_order="up")


def test_a_slab_is_not_periodic_along_its_vacuum(tmp_path):
    cells, matrices = random_model(6, 2)
    flat = cells[:, 2] == 0
    (tmp_path / "x_hr.dat").write_text(hr_text(cells[flat], matrices[flat], comment="model"))
    (tmp_path / "x.win").write_text(win_text(np.diag([3, 3, 20]), 2))
    calculation = files.read(str(tmp_path / "x_hr.dat"))
    assert calculation.structure.pbc.tolist() == [True, True, False]
    assert files.read(str(tmp_path / "x_hr.dat"), pbc=[True] * 3).structure.pbc.all()


def test_the_lattice_may_come_from_a_structure_file(model, tmp_path):
    path, _, _ = model
    (tmp_path / "x.win").unlink()
    with pytest.raises(MoireioError, match=r"no x\.win beside it: the lattice vectors"):
        files.read(str(path))
    rows = "\n".join(" ".join(map(str, row)) for row in CELL)
    (tmp_path / "POSCAR").write_text(f"x\n1.0\n{rows}\nC\n1\nDirect\n0 0 0\n")
    calculation = files.read(str(path), companions=[str(tmp_path / "POSCAR")])
    np.testing.assert_allclose(calculation.structure.cell, CELL)


def test_companions_elsewhere_and_compressed(model, tmp_path):
    path, _, _ = model
    other = tmp_path / "other"
    other.mkdir()
    (other / "x_hr.dat.gz").write_bytes(gzip.compress(path.read_bytes()))
    given = [str(tmp_path / name) for name in ("x.win", "x_centres.xyz")]
    one, two = files.read(str(path)), files.read(str(other / "x_hr.dat.gz"), companions=given)
    np.testing.assert_array_equal(one.hamiltonian.data, two.hamiltonian.data)
    np.testing.assert_array_equal(one.structure.positions, two.structure.positions)
    assert one.digest([]) != two.digest([])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: "", "ends where a comment should follow"),
        (lambda t: t[: len(t) // 2], "the file is cut short"),
        (lambda t: t.replace("           4\n", "           5\n", 1), "inside the 25 lines"),
        (lambda t: t.replace("          27\n", "          28\n", 1), "line 6"),
        (lambda t: t.replace("          27\n", "          26\n", 1), "goes on after"),
        (lambda t: t.replace("           4\n", "  1000000\n", 1), "are too few"),
        (lambda t: t + t[-50:], "goes on after"),
        (lambda t: t.replace("    1    1    1    4    4", "    1    1    1    4    3"), "twice"),
        (
            lambda t: t.replace("    1    1    1    4    4", "    1    1    1    4    9"),
            "from 1 to 4",
        ),
        (
            lambda t: t.replace("    0    0    0    2    1", "    0    0    1    2    1"),
            "R = 0 0 1",
        ),
        (lambda t: t[:-13] + "         NaN\n", "line 437"),
        (lambda t: t[:-13] + "************\n", "line 437"),
        (lambda t: t[:-13] + "  100.000000\n", "no partners"),
    ],
)
def test_damage_is_named(model, change, words):
    path, _, _ = model
    path.write_text(change(path.read_text()))
    with pytest.raises(DamagedError, match=words) as caught:
        files.read(str(path))
    assert str(path) in str(caught.value)


def test_centres_moved_to_the_home_cell_are_not_used(model, tmp_path):
    path, _, _ = model
    (tmp_path / "x.win").write_text(win_text(CELL, 4, "translate_home_cell = true"))
    calculation = files.read(str(path))
    assert not calculation.structure.positions.any()
    assert any("translate_home_cell" in note for note in calculation.notes)
    rows = [
        f"  WF centre and spread {i} ( {x}, {y}, {z} ) 1\n"
        for i, (x, y, z) in enumerate(CENTRES, 1)
    ]
    (tmp_path / "x.wout").write_text(" Final State\n" + "".join(rows))
    positions = files.read(str(path)).structure.positions
    np.testing.assert_array_equal(positions, [[0, 0, 0], [1, 1, 1], [2, 1, 0]])


def test_files_of_other_runs_are_refused(model, tmp_path):
    path, _, _ = model
    (tmp_path / "x.win").write_text(win_text(CELL, 7))
    with pytest.raises(MoireioError, match="num_wann = 7"):
        files.read(str(path))
    (tmp_path / "x.win").write_text(win_text(CELL, 4, "mp_grid = 4 4 4"))
    assert any("add up to 27 cells" in note for note in files.read(str(path)).notes)
    (tmp_path / "x_centres.xyz").write_text(xyz_text(CENTRES[:3]))
    with pytest.raises(MoireioError, match="has 3 centres, but there are 4"):
        files.read(str(path))


@pytest.mark.parametrize("folder", ["qe_w90_si/si", "siesta_w90_si/silicon"])
def test_the_cells_of_a_run_are_those_of_its_lattice(shared, tmp_path, folder):
    """Wannier90 takes the shortest R of each kind; in another lattice they are not the shortest."""
    source = shared / "foreign" / folder
    names = [f"{source.name}{end}" for end in ("_hr.dat", ".win", "_wsvec.dat")]
    for name in names:
        (tmp_path / name).write_text((source.parent / name).read_text())
    assert not [n for n in files.read(str(tmp_path / names[0])).notes if "another run" in n]
    win = (tmp_path / names[1]).read_text()
    mesh = next(line for line in win.split("\n") if line.strip().startswith("mp_grid"))
    count = int((tmp_path / names[0]).read_text().split("\n")[1])
    (tmp_path / names[1]).write_text(win_text(CELL, count, mesh))
    (note,) = [n for n in files.read(str(tmp_path / names[0])).notes if "another run" in n]
    assert "longer than its image in the lattice" in note


def test_tbmodels_reads_the_same(shared):
    tbmodels = pytest.importorskip("tbmodels")
    folder = shared / "foreign" / "qe_w90_si"
    theirs = tbmodels.Model.from_wannier_files(
        hr_file=str(folder / "si_hr.dat"),
        wsvec_file=str(folder / "si_wsvec.dat"),
        win_file=str(folder / "si.win"),
    )
    ours = bands(files.read(str(folder / "si_hr.dat")), K)
    np.testing.assert_allclose(ours, [theirs.eigenval(k) for k in K], atol=1e-10)


def test_the_other_form_of_a_run_is_no_other_spin(shared, tmp_path):
    """All files of a run, given from another folder: X_tb.dat has the centres."""
    folder = shared / "foreign" / "qe_w90_si"
    shutil.copy(folder / "si_hr.dat", tmp_path)
    given = [str(folder / f"si{end}") for end in (".win", "_tb.dat", "_wsvec.dat")]
    beside = files.read(str(folder / "si_hr.dat"))
    found = files.read(str(tmp_path / "si_hr.dat"), companions=given)
    assert found.hamiltonian.meta.spin == "none"
    np.testing.assert_array_equal(found.hamiltonian.data, beside.hamiltonian.data)
    np.testing.assert_array_equal(found.structure.positions, beside.structure.positions)
    assert found.structure.positions.any()
    shutil.copy(folder / "si_tb.dat", tmp_path)
    given = [str(folder / f"si{end}") for end in (".win", "_hr.dat", "_wsvec.dat")]
    found = files.read(str(tmp_path / "si_tb.dat"), companions=given)
    assert found.hamiltonian.meta.spin == "none"


def test_two_spins_of_one_name_in_two_folders(shared, tmp_path):
    source = shared / "foreign" / "w90_fe_collinear_tb2j"
    for spin in ("up", "down"):
        (tmp_path / spin).mkdir()
        for end in ("_hr.dat.gz", ".win"):
            shutil.copy(source / f"Fe_{spin}{end}", tmp_path / spin / f"fe{end}")
    one = files.read(
        str(source / "Fe_up_hr.dat.gz"), companions=[str(source / "Fe_down_hr.dat.gz")]
    )
    two = files.read(
        str(tmp_path / "up" / "fe_hr.dat.gz"), companions=[str(tmp_path / "down" / "fe_hr.dat.gz")]
    )
    np.testing.assert_array_equal(one.hamiltonian.data, two.hamiltonian.data)
    # their inputs elsewhere: each by its folder, or one for both
    (tmp_path / "w").mkdir()
    (tmp_path / "up" / "fe.win").rename(tmp_path / "w" / "fe.win")
    given = [str(tmp_path / "down" / name) for name in ("fe_hr.dat.gz", "fe.win")]
    with pytest.raises(MoireioError, match=r"no fe\.win beside it"):
        files.read(str(tmp_path / "up" / "fe_hr.dat.gz"), companions=given)
    given = [str(tmp_path / "down" / "fe_hr.dat.gz"), str(tmp_path / "w" / "fe.win")]
    three = files.read(str(tmp_path / "up" / "fe_hr.dat.gz"), companions=given)
    np.testing.assert_array_equal(one.hamiltonian.data, three.hamiltonian.data)


def test_companions_that_cannot_both_count(model, tmp_path):
    path, _, _ = model
    (tmp_path / "y").mkdir()
    other = shutil.copy(tmp_path / "x.win", tmp_path / "y")
    for given, words in (
        ([str(tmp_path / "x.win"), str(other)], "x.win: is given besides"),
        ([str(path)], "is given twice"),
    ):
        with pytest.raises(MoireioError, match=words):
            files.read(str(path), companions=given)
    (tmp_path / "wt.in").write_text("&TB_FILE\nHrfile = 'x_hr.dat'\n/\n")
    with pytest.raises(MoireioError, match=r"wt\.in: is WannierTools' input"):
        files.read(str(path), companions=[str(tmp_path / "wt.in")])


@pytest.mark.parametrize("form", ["hr", "tb"])
def test_r_0_may_be_left_out(tmp_path, form):
    """A chain without on-site energies; of positions nothing is known then."""
    cells = np.array([[1, 0, 0], [-1, 0, 0]])
    matrices = np.array([[[-1.5]], [[-1.5]]], dtype=complex)
    path = tmp_path / f"x_{form}.dat"
    if form == "hr":
        path.write_text(hr_text(cells, matrices, comment="a chain"))
    else:
        path.write_text(tb_text(cells, matrices, CELL, np.zeros((3, 2, 1, 1)) + 0.1))
    found = files.read(str(path))
    assert set(found.operators) == {"hamiltonian"}
    assert any("does not list R = 0" in note for note in found.notes)
    np.testing.assert_allclose(bands(found, [[0.1, 0, 0]]), [[-3 * np.cos(0.2 * np.pi)]])


@pytest.mark.parametrize(
    "change",
    [
        lambda head: [head[0], "", *head[1:3], "", *head[3:], ""],
        lambda head: [head[0], f"{head[1]}  # functions", f"{head[2]} ! R", *head[3:]],
        lambda head: [*head[:3], *" ".join(head[3:]).split()],
        lambda head: [*head[:3], " ".join(head[3:])],
        lambda head: [*head[:3], *(f"{line}  ! degeneracies" for line in head[3:])],
    ],
)
def test_other_programs_write_the_head_in_other_ways(model, change):
    path, _, _ = model
    expected = files.read(str(path)).hamiltonian.data
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*change(lines[:5]), *lines[5:]]))
    np.testing.assert_array_equal(files.read(str(path)).hamiltonian.data, expected)
    assert files.detect(str(path))


def test_an_input_that_contradicts_the_images(shared, tmp_path):
    folder = shared / "foreign" / "qe_w90_si"
    for name in ("si_hr.dat", "si_wsvec.dat"):
        shutil.copy(folder / name, tmp_path)
    win = (folder / "si.win").read_text()
    (tmp_path / "si.win").write_text(f"{win}\nuse_ws_distance = .false.\n")
    notes = files.read(str(tmp_path / "si_hr.dat")).notes
    assert any("use_ws_distance = false, but" in note for note in notes)
    assert not any(
        "use_ws_distance" in note for note in files.read(str(folder / "si_hr.dat")).notes
    )
    (tmp_path / "si.win").write_text(win.replace("mp_grid = 4 4 4", "mp_grid = 8 8 1"))
    with pytest.raises(MoireioError, match=r"si_wsvec\.dat: moves functions by .* of 8 8 1"):
        files.read(str(tmp_path / "si_hr.dat"))
