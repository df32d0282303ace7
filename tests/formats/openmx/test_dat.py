import pytest

from moireio.errors import MoireioError
from moireio.formats.openmx import dat
from moireio.system.basis import parse_name


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
    with pytest.raises(MoireioError, match=r"x\.dat: .*malformed"):
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
