"""ABACUS's matrices, read and written."""

import gzip
import json
import shutil

import numpy as np
import pytest
import scipy.linalg as sl
from abacus_files import (
    RYDBERG,
    abacus_rows,
    at_k,
    dense_cells,
    inside,
    naive_csr,
    write_binary,
    write_csr,
)
from foreign_levels import assert_same_blocks, levels, matrices_at, overlap_misfit
from helpers import random_operator

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MissingFileError, MoireioError
from moireio.formats.abacus.files import read
from moireio.formats.abacus.stru import read_stru
from moireio.formats.abacus.write import write
from moireio.formats.registry import detect_format
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure

H, S, DOWN = "data-HR-sparse_SPIN0.csr", "data-SR-sparse_SPIN0.csr", "data-HR-sparse_SPIN1.csr"
SHELLS = {"C": (0, 0, 1, 2), "Mo": (0, 1, 1, 2, 3), "H": (0, 1)}
NUMBERS = {"C": 6, "Mo": 42, "H": 1}
KS = np.random.default_rng(8).normal(size=(5, 3))


@pytest.fixture
def foreign(shared):
    return shared / "foreign"


def system(names, spin, seed=5):
    """A slab with random operators, atoms outside the cell."""
    rng = np.random.default_rng(seed)
    species = list(dict.fromkeys(names))
    structure = Structure(
        np.diag([4.0, 5.0, 20.0]) + rng.normal(size=(3, 3)) * 0.2,
        rng.normal(size=(len(names), 3)) * 4,
        [NUMBERS[name] for name in names],
        [species.index(name) for name in names],
        species,
        [True, True, False],
    )
    basis = Basis({name: SpeciesBasis(SHELLS[name]) for name in species})
    sizes = basis.sizes(structure)
    h, _ = random_operator(seed, sizes, spin=spin)
    s, _ = random_operator(seed + 1, sizes, name="overlap")
    s.data *= 0.005
    for atom in s.pairs.onsite():
        begin = int((sizes[s.pairs.i] * sizes[s.pairs.j])[:atom].sum())
        n = int(sizes[s.pairs.i[atom]])
        s.data[begin : begin + n * n] += np.eye(n).ravel()
    return Calculation(
        "made", structure, basis, {"hamiltonian": h, "overlap": s}, electrons=Electrons(12.0, -3.5)
    )


def stru(structure, folder="."):
    """STRU of gathered atoms with orbital files named by their shells."""
    names = list(dict.fromkeys(structure.species_of_atoms))
    text = "ATOMIC_SPECIES\n" + "".join(f"{name} 1.0 {name}.upf\n" for name in names)
    text += "\nNUMERICAL_ORBITAL\n"
    for name in names:
        counts = "".join(f"{SHELLS[name].count(v)}{'spdf'[v]}" for v in sorted(set(SHELLS[name])))
        text += f"{name}_gga_8au_100Ry_{counts}.orb  # with a comment\n"
    text += "\nLATTICE_CONSTANT\n1.889726878  // Bohr\n\nLATTICE_VECTORS\n"
    text += "".join(" ".join(f"{v:.12f}" for v in row) + "\n" for row in structure.cell)
    text += "\nATOMIC_POSITIONS\nDirect\n"
    fractional = structure.positions @ np.linalg.inv(structure.cell)
    for name in names:
        inside = [
            f for f, of in zip(fractional, structure.species_of_atoms, strict=True) if of == name
        ]
        text += f"\n{name} #label\n0.0\n{len(inside)}\n"
        text += "".join(" ".join(f"{v:.14f}" for v in row) + " 1 1 1 mag 0.5\n" for row in inside)
    return text


def test_bands_of_pyatb(foreign):
    reference = json.loads((foreign / "abacus_si" / "reference.json").read_text())
    with read(str(foreign / "abacus_si" / f"{H}.gz")) as calculation:
        assert calculation.basis["Si"].l == (0, 0, 1, 1, 2)
        for k, expected in zip(reference["k"], reference["eV_pyatb"], strict=True):
            found = levels(calculation, k)[0]
            assert np.abs(found[: len(expected)] - expected).max() < 2e-8


@pytest.mark.parametrize(
    ("folder", "k"), [("abacus_si_multik", [0.5, 0, 0]), ("abacus_c_soc_atom", [0, 0, 0])]
)
def test_matrices_that_abacus_prints_itself(foreign, folder, k):
    """``data-1-H`` and ``-S``: upper triangles at one k, in ABACUS's rows and Ry."""
    name = next(iter(foreign.joinpath(folder).glob(f"{H}*")))
    with read(str(name)) as calculation:
        structure, basis = calculation.structure, calculation.basis
        spins = 2 if calculation.hamiltonian.meta.spin == "spinor" else 1
        for operator, file, unit in (
            (calculation.hamiltonian, "data-1-H", RYDBERG),
            (calculation.overlap, "data-1-S", 1),
        ):
            text = (foreign / folder / file).read_text()
            numbers = np.array(
                [float(w) for w in text.translate(str.maketrans("(),", "   ")).split()]
            )
            n = int(numbers[0])
            printed = np.zeros((n, n), dtype=complex)
            printed[np.triu_indices(n)] = numbers[1::2] + 1j * numbers[2::2]
            rows, signs = abacus_rows(
                structure, basis, spins if operator.meta.spin == "spinor" else 1
            )
            found = matrices_at(operator, k)[0][np.ix_(rows, rows)] * np.outer(signs, signs) / unit
            if len(found) < n:
                found = np.kron(found, np.eye(2))
            assert np.abs(np.triu(found - printed)).max() < 5e-6


def test_orbitals_in_the_overlap_of_atoms_of_known_direction(foreign):
    with read(str(foreign / "abacus_si" / f"{H}.gz")) as calculation:
        for momentum in (1, 2):
            assert overlap_misfit(calculation, momentum) < 1e-7


def test_form_of_2025(foreign):
    folder = foreign / "abacus_new_format_h"
    reference = json.loads((folder / "reference.json").read_text())
    with read(str(folder / "hrs1_nao.csr"), shells="H=1s,O=1s1p") as calculation:
        assert calculation.structure.formula == "H2O"
        assert any("srs1_nao.csr" in note for note in calculation.notes)
        for k, expected in zip(reference["k"], reference["eigenvalues_of_H_alone"], strict=True):
            found = levels(calculation, k)[0] / RYDBERG
            assert np.abs(found - expected).max() < 1e-9
    with pytest.raises(MissingFileError, match="shells of H are unknown: no STRU"):
        read(str(folder / "hrs1_nao.csr"))


def test_two_fermi_levels_are_left_out(foreign, tmp_path):
    text = (foreign / "abacus_new_format_h" / "hrs1_nao.csr").read_text()
    for number, level in ((1, 2.5), (2, 2.75)):
        head = f" 2 # number of spin directions\n {number} # spin index, E_Fermi = {level} eV\n"
        one = text.replace(" 1 # number of spin directions\n 1 # spin index\n", head)
        (tmp_path / f"hrs{number}_nao.csr").write_text(one)
    up = str(tmp_path / "hrs1_nao.csr")
    with read(up, shells="H=1s,O=1s1p") as calculation:
        assert calculation.hamiltonian.meta.spin == "collinear"
        assert calculation.electrons is None or calculation.electrons.fermi is None
        assert any("2.5 eV and 2.75 eV: left out" in note for note in calculation.notes)
    down = tmp_path / "hrs2_nao.csr"
    down.write_text(down.read_text().replace("2.75 eV", "2.5 eV"))
    with read(up, shells="H=1s,O=1s1p") as calculation:
        assert calculation.electrons.fermi == 2.5


def test_lattice_by_name(foreign, tmp_path):
    """latname of INPUT, of the folder of STRU, stands for the lattice vectors."""
    source, run = foreign / "abacus_c_soc_atom", tmp_path / "OUT.C"
    run.mkdir()
    for name in (H, S):
        shutil.copy(source / name, run)
    stru = (source / "STRU").read_text().replace("1.89035917", "18.9035917")
    begin, end = stru.index("LATTICE_VECTORS"), stru.index("ATOMIC_POSITIONS")
    (tmp_path / "STRU").write_text(stru[:begin] + "LATTICE_PARAMETERS\n1.0\n" + stru[end:])
    with pytest.raises(MoireioError, match=r"STRU: has no LATTICE_VECTORS.*latname of INPUT"):
        read(str(run))
    (tmp_path / "INPUT").write_text("INPUT_PARAMETERS\nlatname  st  # tetragonal\nnspin 4\n")
    with read(str(run)) as named, read(str(source)) as given:
        assert np.allclose(named.structure.cell, given.structure.cell, rtol=1e-12)
        assert_same_blocks(given.hamiltonian, named.hamiltonian, rtol=0, atol=0)
    (tmp_path / "INPUT").write_text("latname cubic\n")
    with pytest.raises(MoireioError, match="STRU: the latname 'cubic' is none of"):
        read(str(run))


def test_hamiltonio_reads_the_same(foreign, tmp_path):
    api = pytest.importorskip("HamiltonIO.abacus.abacus_api")
    for name in (H, S):
        found = next(iter((foreign / "abacus_si").glob(f"{name}*")))
        raw = found.read_bytes()
        (tmp_path / name).write_bytes(gzip.decompress(raw) if found.suffix == ".gz" else raw)
    n, cells, theirs, _ = api.read_HR_SR(1, False, str(tmp_path / H), str(tmp_path / S))
    with read(str(tmp_path / H), companions=[str(foreign / "abacus_si" / "STRU")]) as calculation:
        rows, signs = abacus_rows(calculation.structure, calculation.basis)
        ours = dense_cells(calculation.hamiltonian, rows, signs)[0]
    assert n == len(rows)
    for R, matrix in zip(np.asarray(cells).tolist(), theirs, strict=True):
        assert np.abs(ours.get(tuple(R), np.zeros((n, n))) - matrix).max() < 1e-12


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_hamiltonio_reads_what_is_written(tmp_path, spin):
    api = pytest.importorskip("HamiltonIO.abacus.abacus_api")
    made = system(["Mo", "C", "H"], spin)
    out = tmp_path / "out"
    write(made, str(out))
    names = [str(out / H), str(out / DOWN)] if spin == "collinear" else str(out / H)
    nspin = {"none": 1, "collinear": 2, "spinor": 4}[spin]
    _, cells, *channels, overlap = api.read_HR_SR(nspin, False, names, str(out / S))
    for k in KS:
        phases = np.exp(2j * np.pi * np.asarray(cells) @ k)
        for channel, theirs in enumerate(channels):
            h, s = (np.einsum("r,rab->ab", phases, m) for m in (theirs, overlap))
            found = sl.eigh(h, s, eigvals_only=True)
            assert np.abs(found - levels(made, k)[channel]).max() < 1e-9 * np.abs(found).max()


@pytest.mark.parametrize("form", ["old", "no step", "2025", "binary", "binary 2025", "compressed"])
@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_every_form_and_spin(tmp_path, form, spin):
    """Several species with f shells, a slab, atoms outside the cell, R without elements."""
    made = system(["C", "C", "Mo", "H"], spin)
    structure, basis = made.structure, made.basis
    spins = 2 if spin == "spinor" else 1
    rows, signs = abacus_rows(structure, basis, spins)
    plain = abacus_rows(structure, basis)
    moves = inside(structure)
    assert len(np.unique(moves, axis=0)) > 1
    channels = dense_cells(made.hamiltonian, rows, signs, moves)
    (overlap,) = dense_cells(made.overlap, *plain, moves)
    if spin == "spinor":
        overlap = {R: np.kron(M, np.eye(2)).astype(complex) for R, M in overlap.items()}
    names = (H, S, DOWN)
    if "2025" in form:
        ending = "dat" if "binary" in form else "csr"
        names = tuple(f"{start}_nao.{ending}" for start in ("hrs1", "sr", "hrs2"))
    empty = {
        (9, 0, 0): np.zeros_like(next(iter(overlap.values()))),
        (-9, 0, 0): 0 * next(iter(overlap.values())),
    }
    atoms = "\n".join(
        [
            "user_defined_lattice",
            "1.0",
            *(" ".join(f"{v:.6g}" for v in row) for row in structure.cell),
            "C Mo H",
            "2 1 1",
            "Direct",
            *(
                " ".join(f"{v:.12f}" for v in row)
                for row in structure.positions @ np.linalg.inv(structure.cell) + moves
            ),
        ]
    )
    for letter, name, matrices, unit in zip(
        "HSH", names, (channels[0], overlap, channels[-1]), (RYDBERG, 1, RYDBERG), strict=True
    ):
        if name == names[2] and spin != "collinear":
            continue
        if "binary" in form:
            write_binary(
                tmp_path / name,
                matrices | empty,
                unit=unit,
                form="old" if form == "binary" else "2025",
            )
        else:
            kind = "2025" if form == "2025" else "old"
            write_csr(
                tmp_path / name,
                letter,
                matrices | empty,
                unit=unit,
                form=kind,
                atoms=atoms,
                step=form != "no step",
            )
        if form == "compressed":
            with (
                open(tmp_path / name, "rb") as raw,
                gzip.open(tmp_path / f"{name}.gz", "wb") as out,
            ):
                shutil.copyfileobj(raw, out)
            (tmp_path / name).unlink()
    (tmp_path / "STRU").write_text(stru(structure))
    if form != "2025":  # whose header has it
        (tmp_path / "running_scf.log").write_text(
            " E_Fermi   -0.1   -1.5\n E_Fermi   -0.2617   -3.5606\n"
        )
    source = tmp_path / (names[0] + (".gz" if form == "compressed" else ""))
    assert detect_format(str(source)).name == "abacus"
    assert detect_format(str(tmp_path)).name == "abacus"
    with read(str(source)) as calculation:
        assert calculation.electrons.fermi == pytest.approx(-3.5606)
        assert np.allclose(calculation.structure.positions, structure.positions, atol=1e-5)
        assert calculation.structure.pbc.tolist() == [True, True, False]
        for name in ("hamiltonian", "overlap"):
            one, two = made.operator(name), calculation.operator(name)
            assert one.meta.spin == two.meta.spin
            assert_same_blocks(one, two, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_written_files_in_an_independent_reader_and_back(tmp_path, spin):
    """Interleaved species: the same levels at random k, and the same blocks."""
    made = system(["Mo", "C", "Mo", "H", "C"], spin)
    target = tmp_path / "out"
    write(made, str(target))
    overlap = naive_csr(target / S)
    for channel, name in enumerate((H, DOWN) if spin == "collinear" else (H,)):
        matrices = naive_csr(target / name)
        for k in KS:
            found = sl.eigh(at_k(matrices, k) * RYDBERG, at_k(overlap, k), eigvals_only=True)
            assert np.abs(found - levels(made, k)[channel]).max() < 1e-9 * np.abs(found).max()
    with read(str(target)) as again:
        assert again.structure.species_of_atoms == made.structure.species_of_atoms
        assert np.allclose(again.structure.cell, made.structure.cell, rtol=1e-15, atol=0)
        assert np.allclose(again.structure.positions, made.structure.positions, atol=1e-13)
        assert again.electrons == made.electrons
        assert {n: b.l for n, b in again.basis.species.items()} == {
            n: b.l for n, b in made.basis.species.items()
        }
        for name in ("hamiltonian", "overlap"):
            one, two = made.operator(name), again.operator(name)
            assert_same_blocks(one, two, rtol=1e-15, atol=0)
    stored = read_stru(str(target / "STRU"))
    bare = (target / "STRU").read_text().replace("# atom", "# was")
    (target / "STRU").write_text(bare)
    fractional = read_stru(str(target / "STRU")).structure.positions @ np.linalg.inv(
        made.structure.cell
    )
    assert stored.order is not None
    assert ((fractional > -1e-12) & (fractional < 1)).all()
    with pytest.raises(MoireioError, match="exists"):
        write(made, str(target))
    write(made, str(target), force=True)


def test_shells_out_of_order_are_sorted(tmp_path):
    made = system(["C", "H"], "none")
    turned = Basis({"C": SpeciesBasis((2, 0, 1, 0)), "H": SpeciesBasis((1, 0))})
    other = Calculation("made", made.structure, turned, made.operators)
    write(other, str(tmp_path / "out"))
    assert any("order of l" in note for note in other.notes)
    with read(str(tmp_path / "out")) as again:
        assert again.basis["C"].l == (0, 0, 1, 2)
        for k in KS:
            assert np.allclose(levels(again, k), levels(other, k), rtol=1e-10)


def test_what_is_missing_is_named(foreign, tmp_path):
    folder = foreign / "abacus_si"
    shutil.copy(folder / f"{H}.gz", tmp_path)
    with pytest.raises(MissingFileError, match="no STRU is beside it"):
        read(str(tmp_path / f"{H}.gz"))
    text = (folder / "STRU").read_text()
    (tmp_path / "STRU").write_text(text.replace("_2s2p1d", ""))
    with pytest.raises(MissingFileError, match=r"shells of Si are unknown: Si_gga_8au_60Ry\.orb"):
        read(str(tmp_path / f"{H}.gz"))
    (tmp_path / "running_scf.log").write_text(
        " atom label = Si\n L=0, number of zeta = 2\n L=1, number of zeta = 2\n"
        " L=2, number of zeta = 1\n EFERMI = 6.25 eV\n"
    )
    with read(str(tmp_path / f"{H}.gz")) as calculation:
        assert any(S in note for note in calculation.notes)
        assert calculation.electrons.fermi == 6.25
        assert "overlap" not in calculation.operators
    with pytest.raises(MoireioError, match="has 26 orbitals; the 2 atoms with Si s1p1 have 8"):
        read(str(tmp_path / f"{H}.gz"), shells="Si=1s1p")
    with pytest.raises(MoireioError, match=r"holds S\(R\)"):
        read(str(folder / S))


@pytest.mark.parametrize(
    ("name", "text"),
    [("INPUT", "INPUT_PARAMETERS\nnspin\t2 # up, down\n"), ("running_scf.log", "   nspin = 2\n")],
)
def test_spin_down_is_missing(tmp_path, name, text):
    folder = tmp_path / "out"
    write(system(["C", "H"], "collinear"), str(folder))
    (folder / "running_scf.log").unlink()
    with read(str(folder)) as calculation:
        assert calculation.hamiltonian.meta.spin == "collinear"
    (folder / DOWN).unlink()
    (folder / name).write_text(text)
    with pytest.raises(MoireioError, match=f"is of spin up alone: {name} has .*and {DOWN} is not"):
        read(str(folder))
    (folder / H).unlink()
    assert detect_format(str(folder)).name == "abacus"
    with pytest.raises(MoireioError, match=f"has no .*{H}"):
        read(str(folder))


def test_folder_of_a_run(tmp_path):
    """OUT.… with H and log, STRU above; S under the name of 2025."""
    made = system(["C", "H"], "none")
    write(made, str(tmp_path / "out"))
    run = tmp_path / "run" / "OUT.ABACUS"
    run.mkdir(parents=True)
    for old, new in ((H, "hrs1_nao.csr"), (S, "sr_nao.csr"), ("running_scf.log",) * 2):
        shutil.copy(tmp_path / "out" / old, run / new)
    shutil.copy(tmp_path / "out" / "STRU", run.parent)
    for source in (run, run.parent, run / "hrs1_nao.csr"):
        assert detect_format(str(source)).name == "abacus"
        with read(str(source)) as calculation:
            assert calculation.electrons == made.electrons
            for name in ("hamiltonian", "overlap"):
                one, two = made.operator(name), calculation.operator(name)
                assert_same_blocks(one, two, rtol=1e-15, atol=0)
    (run / "STRU_ION_D").write_text("LATTICE_CONSTANT\n1\n")  # of the end of a relaxation
    with pytest.raises(MoireioError, match="STRU_ION_D: has no LATTICE_VECTORS"):
        read(str(run))
    with read(str(run), companions=[str(run.parent / "STRU")]) as calculation:
        assert calculation.structure.formula == "CH"
    with pytest.raises(MoireioError, match=r"is H of spin down .*hrs1_nao"):
        read(str(run / "hrs2_nao.csr"))


def test_several_steps(tmp_path):
    made = system(["C", "H"], "none")
    rows, signs = abacus_rows(made.structure, made.basis)
    (matrices,) = dense_cells(made.hamiltonian, rows, signs, inside(made.structure))
    write_csr(tmp_path / "last", "H", matrices)
    write_csr(tmp_path / "first", "H", {R: 2 * M for R, M in matrices.items()})
    text = (tmp_path / "first").read_text() + (tmp_path / "last").read_text().replace(
        "STEP: 0", "STEP: 1"
    )
    (tmp_path / H).write_text(text)
    (tmp_path / "STRU").write_text(stru(made.structure))
    with read(str(tmp_path / H)) as calculation:
        assert any("last of 2 ionic steps" in note for note in calculation.notes)
        assert np.allclose(calculation.hamiltonian.data, made.hamiltonian.data, rtol=1e-8)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t[: len(t) // 2], "cut short|expected"),
        (lambda t: "\n".join(t.split("\n")[:30]), "cut short"),
        (lambda t: "", "is empty"),
        (lambda t: t.replace("number of H(R): ", "number of H(R): 1"), "ends after"),
        (lambda t: t.replace("Dimension of H(R): ", "Dimension of H(R): 9"), "expected|announces"),
        (lambda t: t.replace("e-01 ", "e-01 nan ", 1), "not finite|expected"),
        (lambda t: t + "1 1 1 3\n", "after the last R"),
        (lambda t: t.replace(" 0 1 2", " 0 1 77", 1), "outside 0"),
    ],
)
def test_damage_is_named_with_its_line(tmp_path, change, text):
    made = system(["C", "H"], "none")
    write(made, str(tmp_path / "out"))
    file = tmp_path / "out" / H
    file.write_text(change(file.read_text()))
    with pytest.raises(MoireioError, match=text) as caught:
        read(str(file))
    assert str(caught.value).startswith(str(file))


def test_missing_partner(tmp_path):
    made = system(["C", "H"], "none")
    rows, signs = abacus_rows(made.structure, made.basis)
    (matrices,) = dense_cells(made.hamiltonian, rows, signs, inside(made.structure))
    del matrices[1, 0, 0]
    write_csr(tmp_path / H, "H", matrices)
    (tmp_path / "STRU").write_text(stru(made.structure))
    with pytest.raises(DamagedError, match="partner differ"):
        read(str(tmp_path / H))


def test_matrices_of_two_forms_in_one_folder(tmp_path):
    """As of two versions of ABACUS: which of them is read is noted."""
    write(system(["C", "H"], "none"), str(tmp_path / "a"))
    assert not [note for note in read(str(tmp_path / "a")).notes if "is read" in note]
    for letter in "HS":
        text = (tmp_path / "a" / f"data-{letter}R-sparse_SPIN0.csr").read_text()
        (tmp_path / "a" / f"{letter.lower()}rs1_nao.csr").write_text(text)
    (note,) = [note for note in read(str(tmp_path / "a")).notes if "is read" in note]
    assert note == "hrs1_nao.csr is read; its folder has data-HR-sparse_SPIN0.csr too"
