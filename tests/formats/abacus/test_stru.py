"""ABACUS's STRU."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.abacus.stru import read_stru

TEXT = """ATOMIC_SPECIES
Fe1 55.8 Fe.upf upf201
O 16.0 O.upf

NUMERICAL_ORBITAL
Fe_gga_8au_100Ry_4s2p2d1f.orb
O_gga_7au_100Ry_2s2p1d.orb // comment

LATTICE_CONSTANT
2.0  # Bohr
LATTICE_VECTORS
3 0 0
0 4 0
0 1 5
ATOMIC_POSITIONS
KIND

Fe1
2.0
1
@A 1 1 0 mag 2.0
O
0.0
2
@B
@C m 0 0 0
"""
CELL = 2 * 0.529177 * np.array([[3, 0, 0], [0, 4, 0], [0, 1, 5.0]])


def stru(tmp_path, kind, points=("0.5 0 0", "0 0.25 0", "-1 0 1.5")):
    text = TEXT.replace("KIND", kind)
    for letter, point in zip("ABC", points, strict=True):
        text = text.replace(f"@{letter}", point)
    (tmp_path / "STRU").write_text(text)
    return read_stru(str(tmp_path / "STRU"))


# in Cartesian coordinates, as ABACUS's source has it: not half of some of the lattice vectors
MIDDLE = CELL.sum(axis=0) / 2
POINTS = np.array([[0.5, 0, 0], [0, 0.25, 0], [-1, 0, 1.5]])


@pytest.mark.parametrize(
    ("kind", "positions"),
    [
        ("Direct", POINTS @ CELL),
        ("Cartesian", POINTS * 2 * 0.529177),
        ("Cartesian_au", POINTS * 0.529177),
        ("Cartesian_angstrom", POINTS),
        ("Cartesian_angstrom_center_xy", POINTS + MIDDLE * [1, 1, 0]),
        ("Cartesian_angstrom_center_xz", POINTS + MIDDLE * [1, 0, 1]),
        ("Cartesian_angstrom_center_yz", POINTS + MIDDLE * [0, 1, 1]),
        ("Cartesian_angstrom_center_xyz", POINTS + MIDDLE),
    ],
)
def test_coordinates(tmp_path, kind, positions):
    found = stru(tmp_path, kind)
    assert np.allclose(found.structure.cell, CELL, rtol=1e-15)
    assert np.allclose(found.structure.positions, positions, rtol=0, atol=1e-14)
    assert found.structure.species_of_atoms == ["Fe1", "O", "O"]
    assert found.structure.numbers.tolist() == [26, 8, 8]
    assert found.orbital_files["O"] == "O_gga_7au_100Ry_2s2p1d.orb"
    assert found.order is None


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("KIND", "Polar", "line 16: the kind of coordinates 'Polar'"),
        ("\n2\n@B", "\n3\n@B", "ends after 2 of 3 O"),
        ("LATTICE_VECTORS", "LATTICE_PARAMETERS", "no LATTICE_VECTORS"),
        ("2.0  #", "x  #", "line 10: 1 numbers expected"),
        ("2.0  #", "-2.0  #", "line 10: a positive lattice constant expected"),
        ("3 0 0\n", "3 0\n", "line 12: 3 numbers expected"),
        ("LATTICE_CONSTANT", "ATOMIC_SPECIES", "for the second time"),
    ],
)
def test_faults_are_named(tmp_path, old, new, text):
    content = TEXT.replace(old, new).replace("KIND", "Direct").replace("@A", "0 0 0")
    (tmp_path / "STRU").write_text(content.replace("@B", "0 0 1").replace("@C", "0 1 0"))
    with pytest.raises(MoireioError, match=text):
        read_stru(str(tmp_path / "STRU"))


def test_the_element_of_a_label_that_is_none(tmp_path):
    """ABACUS takes it from the pseudopotential, which is named in ATOMIC_SPECIES."""
    text = TEXT.replace("KIND", "Direct").replace("Fe1", "Iron_up")
    for letter, point in zip("ABC", ("0.5 0 0", "0 0.25 0", "-1 0 1.5"), strict=True):
        text = text.replace(f"@{letter}", point)
    (tmp_path / "STRU").write_text(text)
    structure = read_stru(str(tmp_path / "STRU")).structure
    assert structure.numbers.tolist() == [26, 8, 8]
    assert structure.species_names == ("Iron_up", "O")
