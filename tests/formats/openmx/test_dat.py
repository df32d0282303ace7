import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.openmx import dat
from moireio.formats.structures import files as structure_files
from moireio.system.basis import is_contracted, parse_name, uncontracted


def test_input_file(data):
    text = dat.read(data / "hbn_soc.dat")
    assert text.spin == "spinor"
    assert text.species == {"B": "B7.0-s2p2d1", "N": "N6.0-s2p2d1"} or list(text.species) == [
        "B",
        "N",
    ]
    assert text.charges.sum() == 8
    basis, elements = text.basis(electron_count=8.0)
    assert basis["N"].valence == 5
    assert elements == {"B": "B", "N": "N"}
    assert text.basis(electron_count=7.0)[0]["N"].valence is None  # a charged cell proves nothing
    assert [s[3] for s in text.kpath] == [("G", "M"), ("M", "K"), ("K", "G")]


def test_units_and_comments():
    lines = """
    # a comment
    Species.Number 1
    <Definition.of.Atomic.Species
      C1  C6.0-s2p2d1   C_PBE19   # trailing
    Definition.of.Atomic.Species>
    atoms.SpeciesAndCoordinates.unit  {unit}
    <Atoms.SpeciesAndCoordinates
      1  C1  {xyz}  2.0 2.0
    Atoms.SpeciesAndCoordinates>
    Atoms.UnitVectors.Unit AU
    <Atoms.UnitVectors
      10 0 0
      0 10 0
      0 0 20
    Atoms.UnitVectors>
    """
    bohr = 0.529177249
    for unit, xyz, expected in (
        ("Ang", "1.0 2.0 3.0", [1, 2, 3]),
        ("AU", "1.0 2.0 3.0", [bohr, 2 * bohr, 3 * bohr]),
        ("FRAC", "0.1 0.2 0.3", [bohr, 2 * bohr, 6 * bohr]),
    ):
        text = dat.parse(lines.format(unit=unit, xyz=xyz), "x.dat")
        assert text.positions[0] == pytest.approx(expected)
        assert text.cell[2] == pytest.approx([0, 0, 20 * bohr])
    with pytest.raises(MoireioError, match=r"x\.dat: line 7: .* is 'miles', expected ang or"):
        dat.parse(lines.format(unit="miles", xyz="0 0 0"), "x.dat")
    with pytest.raises(MoireioError, match="no basis for species"):
        dat.parse(lines.format(unit="Ang", xyz="0 0 0").replace("  C1  C6", "  C2  C6"), "x.dat")


@pytest.mark.parametrize(
    ("name", "momenta", "element", "radius"),
    [
        ("Mo7.0-s3p2d1", (0, 0, 0, 1, 1, 2), "Mo", 7.0),
        ("H5.0-s4>1p2>1", (0, 1), "H", 5.0),
        ("Fe6.0S-s2p1d1f1", (0, 0, 1, 2, 3), "Fe", 6.0),
        ("C6.0_1s_CH-s2p2", (0, 0, 1, 1), "C", 6.0),
    ],
)
def test_basis_names(name, momenta, element, radius):
    basis, symbol = parse_name(name)
    assert (basis.l, symbol) == (momenta, element)
    assert basis.cutoff == pytest.approx(radius * 0.529177249)


@pytest.mark.parametrize("name", ["Mo", "Mo7.0", "7.0-s2", "C6.0-x2", "C6.0-s2q", ""])
def test_bad_basis_names(name):
    with pytest.raises(MoireioError, match="basis name"):
        parse_name(name)


@pytest.mark.parametrize(
    "name", ["C6.0-s1>2", "C6.0-s2s1", "C6.0-s9999999999", "C6.0-s0", "C6.0-s51", "C6.0-s1 p1"]
)
def test_basis_names_without_sense(name):
    with pytest.raises(MoireioError, match="basis name"):
        parse_name(name)


@pytest.mark.parametrize("name", ["C2Si8-s2p1", "S0_7_1-s2p1", "H075-s2p1", "C_1-s2p1"])
def test_digits_of_a_virtual_atom_are_no_radius(name):
    """OpenMX takes the cutoff from the orbital file; only a name as C6.0 gives it."""
    basis, element = parse_name(name)
    assert (basis.cutoff, element) == (None, name[0])


def test_contractions_of_a_name():
    assert is_contracted("C6.0-s2>1p1")
    assert not is_contracted("C6.0_1s_CH-s1>1p2")
    assert uncontracted("C6.0-s4>2p1>1d1") == "C6.0-s4p1d1"


BORON_NITRIDE = """System.Name x
Species.Number 2
<Definition.of.Atomic.Species
 B B7.0-s2p1 B_PBE19
 N N6.0-s2p1 N_PBE19
Definition.of.Atomic.Species>
Atoms.Number 2
Atoms.SpeciesAndCoordinates.Unit Ang
<Atoms.SpeciesAndCoordinates
 1 B 0.0 0.0 5.0 1.5 1.5
 2 N 1.252 0.722842537 5.0 2.5 2.5
Atoms.SpeciesAndCoordinates>
Atoms.UnitVectors.Unit Ang
<Atoms.UnitVectors
 2.504 0.0 0.0
 1.252 2.16852761 0.0
 0.0 0.0 30.0
Atoms.UnitVectors>
scf.SpinPolarization off
"""


def test_the_first_of_equal_keywords_and_tables_counts():
    """As in OpenMX, whose NAME.dat# repeats keywords that its input had already."""
    twice = BORON_NITRIDE + BORON_NITRIDE.replace("off", "NC").replace("1.252", "9.9")
    text = dat.parse(twice + "MD.Type opt\nMD.Type nomd\n", "x.dat")
    assert (text.spin, text.motion) == ("none", "opt")
    assert text.positions[1, 0] == 1.252
    assert text.cell[1, 0] == 1.252


def test_tabs_comments_line_ends_and_capitals():
    plain = dat.parse(BORON_NITRIDE, "x.dat")
    text = BORON_NITRIDE.replace(" ", "\t").replace("\n", "   # words\r\n").upper()
    text = text.replace("B7.0-S2P1", "B7.0-s2p1").replace("N6.0-S2P1", "N6.0-s2p1")
    other = dat.parse(text, "x.dat")
    assert (other.positions == plain.positions).all()
    assert (other.species, other.spin) == (plain.species, plain.spin)


@pytest.mark.parametrize("name", ["x.dat#", "x.in", "x.inp", "x"])
def test_inputs_are_known_by_their_contents(tmp_path, name):
    path = tmp_path / name
    path.write_text(BORON_NITRIDE)
    assert dat.detect(path)
    structure, basis = structure_files.read_foreign(str(path))
    assert structure.element_symbols == ["B", "N"]
    assert basis["N"].name == "N6.0-s2p1"
    path.write_text(BORON_NITRIDE.replace("<", "(").replace(">", ")"))
    assert not dat.detect(path)
    assert not dat.detect(tmp_path)


def test_molecule_without_a_cell():
    """OpenMX chooses a box itself; here it is not periodic and wider than any orbital reaches."""
    head, _, rest = BORON_NITRIDE.partition("<Atoms.UnitVectors")
    text = dat.parse(head + rest.partition("Atoms.UnitVectors>")[2], "x.dat")
    structure = text.structure(text.basis()[1])
    assert not structure.pbc.any()
    assert (structure.positions == text.positions).all()
    assert structure.cell == pytest.approx(np.diag([21.252, 20.722842537, 20.0]))


def test_empty_atoms_have_no_electrons_and_no_element():
    text = BORON_NITRIDE.replace(" B B7.0-s2p1 B_PBE19", " B H6.0-s2p1 E").replace("1.5 1.5", "0 0")
    basis, elements = dat.parse(text, "x.dat").basis()
    assert (elements, basis["B"].valence) == ({"B": "X", "N": "N"}, 0.0)
    assert dat.parse(text, "x.dat").structure(elements).numbers.tolist() == [0, 7]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("1.252 0.7", "1e999 0.7", r"line 11: a coordinate: 1e999 is out of range"),
        ("1.252 0.7", "1e200 0.7", r"line 11: a coordinate: 1e200 is out of range"),
        ("1.252 0.7", "nan 0.7", r"line 11: a coordinate: 'nan' stands where a number"),
        ("1.252 0.7", "1.2_52 0.7", r"'1.2_52' stands where a number"),
        ("1.252 0.7", "1.252D+00 0.7", r"OpenMX stops reading at the D; write E"),
        ("0.722842537 5.0 2.5 2.5", "0.722842537", r"line 11 .*: 7 words expected, 4 found"),
        (" 2 N 1", " 3 N 1", r"line 11: atom 2 is numbered 3"),
        (" 2 N 1", " 2 C 1", r"line 11: .* no basis for species 'C' .*has B, N"),
        ("Atoms.Number 2", "Atoms.Number 3", r"line 7: Atoms.Number is 3, but .* has 2 lines"),
        ("Atoms.Number 2", "Atoms.Number two", r"line 7: Atoms.Number: 'two' stands where an int"),
        ("Species.Number 2", "Species.Number 1", r"Species.Number is 1, but .* has 2 lines"),
        ("30.0\nAtoms", "1e99\nAtoms", r"line 17: Atoms.UnitVectors: 1e99 is out of range"),
        (" 0.0 0.0 30.0\n", "", r"<Atoms.UnitVectors> has 2 lines, three vectors are expected"),
        ("0.0 0.0 30.0", "2.504 0.0 0.0", r"<Atoms.UnitVectors> are not independent"),
        ("Atoms.UnitVectors>", "", r"<Atoms.UnitVectors of line 14 does not end"),
        ("N_PBE19", "C_PBE19", r"species N has a basis of N, but the pseudopotential C_PBE19"),
        (" N N6.0", " B N6.0", r"line 5: species B is defined a second time"),
        (" N N6.0-s2p1", " N Zz6.0-s2p1", r"Zz \(from its basis name\) is no element"),
        ("Vectors.Unit Ang", "Vectors.Unit FRAC", r"line 13: .* is 'frac', expected ang or au"),
        ("B7.0-s2p1", "B7.0-s2q1", r"'B7.0-s2q1' is not a basis name"),
    ],
)
def test_what_makes_no_sense_is_named_with_its_line(old, new, complaint):
    assert old in BORON_NITRIDE
    with pytest.raises(MoireioError, match=complaint) as raised:
        dat.parse(BORON_NITRIDE.replace(old, new, 1), "x.dat").basis()
    assert str(raised.value).startswith("x.dat: ")


def test_parts_that_are_missing():
    no_cell = BORON_NITRIDE.replace("Unit Ang", "Unit FRAC", 1).partition("Atoms.UnitVectors.U")[0]
    with pytest.raises(MoireioError, match=r"fractional coordinates, but no table <Atoms.UnitV"):
        dat.parse(no_cell, "x.dat")
    with pytest.raises(MoireioError, match=r"x\.dat: has no atoms \(no table <Atoms.Species"):
        dat.parse("System.Name x\n", "x.dat").structure({})


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "x.dat"
    path.write_bytes(BORON_NITRIDE.encode() + b"\0" * 9)
    with pytest.raises(MoireioError, match=rf"is no text: byte {len(BORON_NITRIDE)} is zero"):
        dat.read(path)
