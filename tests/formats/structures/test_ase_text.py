"""Formats that ASE reads, each by its name."""

import time
import warnings

import ase.io
import numpy as np
import pytest
from ase.build import mx2

from moireio.errors import MoireioError
from moireio.formats.structures import files as structure_files


@pytest.fixture(scope="module")
def sheet():
    atoms = mx2("MoS2", vacuum=8)
    atoms.pbc = True
    return atoms


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.cif", "cif"),
        ("a.xsf", "xsf"),
        ("a.gen", "gen"),
        ("a.res", "res"),
        ("a.cube", "cube"),
        ("a.pdb", "proteindatabank"),
        ("geometry.in", "aims"),
        ("qe.in", "espresso-in"),
        ("b.txt", "xsf"),
        ("c.txt", "cif"),
        ("d.txt", "gen"),
        ("e.txt", "vasp"),
        ("f.txt", "extxyz"),
        ("layer@6.01deg.vasp", "vasp"),
    ],
)
def test_formats(sheet, tmp_path, name, form):
    options = {"pseudopotentials": {"Mo": "m", "S": "s"}} if form == "espresso-in" else {}
    made = tmp_path / "made"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ase.io.write(made, sheet, format=form, **options)
    made.rename(tmp_path / name)
    found = structure_files.read(str(tmp_path / name))
    assert found.element_symbols == sheet.get_chemical_symbols()
    assert np.allclose(np.linalg.norm(found.cell, axis=1), sheet.cell.lengths(), atol=2e-3)
    distance = np.linalg.norm(found.positions[0] - found.positions[1])
    assert distance == pytest.approx(sheet.get_distance(0, 1), abs=2e-3)


def test_siesta_xv(sheet, tmp_path):
    bohr = 0.529177210903
    rows = [f"{' '.join(f'{x:.9f}' for x in v)} 0 0 0" for v in sheet.cell.array / bohr]
    rows.append(str(len(sheet)))
    for number, place in zip(sheet.numbers, sheet.positions / bohr, strict=True):
        rows.append(f"1 {number} {' '.join(f'{x:.9f}' for x in place)} 0 0 0")
    (tmp_path / "a.XV").write_text("\n".join(rows) + "\n")
    found = structure_files.read(str(tmp_path / "a.XV"))
    assert np.allclose(found.positions, sheet.positions, atol=1e-6)
    assert found.numbers.tolist() == sheet.numbers.tolist()


def test_composition_of_a_cif(sheet, tmp_path):
    path = tmp_path / "a.cif"
    ase.io.write(path, sheet, format="cif")
    lines = path.read_text().rstrip().split("\n")
    path.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.warns(UserWarning, match="make MoS, its _chemical_formula_sum is 'Mo1 S2'"):
        structure_files.read(str(path))


def test_brackets_that_do_not_close(sheet, tmp_path):
    path = tmp_path / "qe.in"
    ase.io.write(path, sheet, format="espresso-in", pseudopotentials={"Mo": "m", "S": "s"})
    text = path.read_text().replace("ATOMIC_POSITIONS", "! (\nATOMIC_POSITIONS")
    assert structure_files.read(_write(path, text)).formula == "MoS2"
    with pytest.raises(MoireioError, match="brackets that do not close"):
        structure_files.read(_write(path, text.replace("\nS ", "\nS (")))


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 2_000_000 + "x",
        "data_\n" * 300_000,
        " \n#\n" * 300_000 + "CRYSTALS\n",
        "C" * 2_000_000,
        "1\n" + "a" * 2_000_000 + "\nC 0 0 0\n",
        "1\n" + "k={" * 20_000 + "\nC 0 0 x\n",
        "x\n1.0\n" + "1" * 60_000 + " 0 0\n0 1 0\n0 0 9\nC\n1\nDirect\n0 0 0\n",
        "x\n\n1 atoms\n1 atom types\n0 2 xlo xhi\n" + "A" + " b" * 500_000 + "!\n",
    ],
    ids=range(8),
)
def test_long_lines_take_no_time(tmp_path, text):
    """The patterns of the readers take no more steps than a few times the length of a text."""
    import ase.io.cif  # noqa: F401

    begin = time.process_time()
    for name in ("a.txt", "a.cif"):
        path = _write(tmp_path / name, text)
        with pytest.raises(MoireioError):
            structure_files.read(path)
    assert time.process_time() - begin < 20


def test_more_atoms_than_fit(sheet, tmp_path):
    path = tmp_path / "a.cube"
    with path.open("w") as stream:
        ase.io.write(stream, sheet, format="cube")
    lines = path.read_text().split("\n")
    lines[2] = "999999999999" + lines[2].strip()[1:]
    with pytest.raises(MoireioError, match=r"a\.cube: cannot be read.*announces more"):
        structure_files.read(_write(path, "\n".join(lines)))


def _write(path, text):
    path.write_text(text)
    return str(path)


def test_cells_by_ibrav_are_refused_with_what_to_do(tmp_path):
    path = tmp_path / "scf.in"
    path.write_text(
        "&control\n/\n&system\n ibrav=4, a=2.46, c=20, nat=1, ntyp=1\n/\n&electrons\n/\n"
        "ATOMIC_SPECIES\nC 12.011 C.UPF\nATOMIC_POSITIONS crystal\nC 0 0 0\n"
    )
    with pytest.raises(MoireioError, match="CELL_PARAMETERS with ibrav = 0"):
        structure_files.read(str(path))
