"""LAMMPS data files."""

import io

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.structures import lammps
from moireio.moire import build, cells, layers

HEAD = (
    "x\n\n2 atoms\n2 atom types\n0 2.46 xlo xhi\n0 2.13 ylo yhi\n0 20 zlo zhi\n1.23 0 0 xy xz yz\n"
)
MASSES = "\nMasses\n\n1 10.81\n2 14.007 # N\n"
ATOMS = "\nAtoms # atomic\n\n2 2 1.23 0.71 10\n1 1 0 0 10\n"


def read(text):
    return lammps.read(text, "a.lmp")


@pytest.fixture(scope="module")
def bilayer():
    one = layers.named("MoTe2")
    return build.build([one, one], cells.from_index(one.lattice, one.lattice, 2, 1))[0]


def test_round_trip_with_layers(bilayer):
    back = read(lammps.text(bilayer, "a comment"))
    assert back.numbers.tolist() == bilayer.numbers.tolist()
    assert back.layer.tolist() == bilayer.layer.tolist()
    gram = bilayer.cell @ bilayer.cell.T
    assert np.allclose(back.cell @ back.cell.T, gram, atol=1e-9)
    fractional = bilayer.positions @ np.linalg.inv(bilayer.cell)
    assert np.allclose(back.positions @ np.linalg.inv(back.cell), fractional, atol=1e-9)


def test_ase_reads_the_same(bilayer):
    from ase.io.lammpsdata import read_lammps_data

    atoms = read_lammps_data(io.StringIO(lammps.text(bilayer)))
    assert atoms.numbers.tolist() == bilayer.numbers.tolist()
    assert (atoms.arrays["mol-id"] - 1).tolist() == bilayer.layer.tolist()


def test_elements_by_mass_and_by_name():
    found = read(HEAD + MASSES + ATOMS)
    assert found.numbers.tolist() == [5, 7]
    assert found.cell[1].tolist() == [1.23, 2.13, 0]
    assert found.positions[1].tolist() == [1.23, 0.71, 10]
    assert found.layer is None


@pytest.mark.parametrize(
    ("row", "style"), [("2 {} 7 {}", "charge"), ("2 7 {} {}", ""), ("2 1 {} 0.5 {}", "full")]
)
def test_styles(row, style):
    rows = [row.format(kind, xyz) for kind, xyz in ((2, "1.23 0.71 10"), (1, "0 0 10"))]
    rows[1] = "1" + rows[1][1:]
    found = read(f"{HEAD}{MASSES}\nAtoms # {style}\n\n" + "\n".join(rows))
    assert found.numbers.tolist() == [5, 7]
    assert found.positions[1].tolist() == [1.23, 0.71, 10]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + ATOMS, "no section Masses"),
        (HEAD + MASSES + ATOMS.replace("0 0 10", "0 0 1 0"), "has 6 columns instead of 5"),
        (HEAD + MASSES.replace("10.81", "5.5") + ATOMS, "5.5 is no element's mass"),
        (HEAD + MASSES.replace("14.007", "32.06") + ATOMS, "32.06 is not the mass of N"),
        (HEAD + MASSES + ATOMS.replace("1 1 0", "2 1 0"), "atom 2 comes twice"),
        (HEAD + MASSES + ATOMS.replace("1 1 0", "1 3 0"), "type 3 has no mass"),
        (HEAD + MASSES + ATOMS + "3 1 0 0 0\n", "Atoms goes on after the 2 lines"),
        (HEAD.replace("2 atoms", "9 atoms") + MASSES + ATOMS, "Atoms has 9 lines, but the file"),
        (HEAD.replace("0 20", "0 -20") + MASSES + ATOMS, "not below the upper"),
        (HEAD.replace("0 20 zlo zhi", "") + MASSES + ATOMS, "no bounds zlo zhi"),
        (HEAD + MASSES + ATOMS.replace("atomic", "x"), "the atom style 'x' is not read"),
    ],
)
def test_wrong_lines(text, words):
    with pytest.raises(MoireioError, match=words):
        read(text)
