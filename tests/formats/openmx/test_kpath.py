"""OpenMX's band paths: k points of conventional cells, and numbers that make no sense."""

import struct

import numpy as np
import pytest

import moireio
from moireio.errors import MoireioError
from moireio.formats.openmx import dat

TEXT = """
Species.Number 1
<Definition.of.Atomic.Species
 C C6.0-s1p1 C_PBE19
Definition.of.Atomic.Species>
Atoms.Number 2
Atoms.SpeciesAndCoordinates.Unit FRAC
<Atoms.SpeciesAndCoordinates
 1 C 0.00 0.00 0.00 2.0 2.0
 2 C 0.25 0.25 0.25 2.0 2.0
Atoms.SpeciesAndCoordinates>
Atoms.UnitVectors.Unit {unit}
<Atoms.UnitVectors
{cell}
Atoms.UnitVectors>
<Band.KPath.UnitCell
{conventional}
Band.KPath.UnitCell>
Band.Nkpath 5
<Band.kpath
 15 0.0 0.0 0.0   1.0 0.0 0.0   g X
 15 1.0 0.0 0.0   1.0 0.5 0.0   X W
 15 1.0 0.5 0.0   0.5 0.5 0.5   W L
 15 0.5 0.5 0.5   0.0 0.0 0.0   L g
 15 0.0 0.0 0.0   0.75 0.75 0.0  g K
Band.kpath>
"""
# Cells as people write them; the conventional constant is 2c.
FCC = {
    "diamond": (1.78, [[1, 1, 0], [1, 0, 1], [0, 1, 1]], "Ang"),
    "silicon": (2.7155, [[0, 1, 1], [1, 0, 1], [1, 1, 0]], "Ang"),
    "GaAs": (5.34, [[1, 0, 1], [1, 1, 0], [0, 1, 1]], "AU"),
}


def rows(matrix):
    return "\n".join(" ".join(f"{v:.6f}" for v in row) for row in np.asarray(matrix, dtype=float))


def fcc(name):
    half, shape, unit = FCC[name]
    cell = half * np.array(shape)
    return TEXT.format(unit=unit, cell=rows(cell), conventional=rows(2 * half * np.eye(3)))


@pytest.mark.parametrize("name", FCC)
def test_corners_of_fcc_crystals(name):
    """X, W, L and K as OpenMX's manual defines them: in units of 2π/a, a of the cubic cell."""
    text = dat.parse(fcc(name), name)
    constant = np.linalg.norm(text.cell[0]) * np.sqrt(2)
    reciprocal = 2 * np.pi * np.linalg.inv(text.cell).T
    corners = {"g": np.zeros(3)}
    for segment in text.kpath:
        for label, k in zip(segment.labels, (segment.start, segment.end), strict=True):
            corners.setdefault(label, np.array(k))
            np.testing.assert_allclose(corners[label], k, atol=1e-14)
    expected = {"X": [1, 0, 0], "W": [1, 0.5, 0], "L": [0.5, 0.5, 0.5], "K": [0.75, 0.75, 0]}
    for label, k in expected.items():
        np.testing.assert_allclose(
            corners[label] @ reciprocal, 2 * np.pi / constant * np.array(k), atol=1e-9
        )
    if name == "diamond":
        np.testing.assert_allclose(corners["X"], [0.5, 0.5, 0], atol=1e-14)
    assert sorted(np.abs(corners["X"]).round(12)) == [0, 0.5, 0.5]


def test_without_a_cell_of_its_own_the_points_stay():
    text = fcc("diamond")
    start, end = text.index("<Band.KPath.UnitCell"), text.index("Band.Nkpath")
    assert dat.parse(text[:start] + text[end:], "x").kpath[0].end == [1, 0, 0]


def test_the_command_takes_a_point_of_the_primitive_cell(tmp_path, invoke):
    """X of the conventional cell is (½, ½, 0) of the primitive one, and its energies that of X."""
    (tmp_path / "x.dat").write_text(fcc("diamond"))
    (tmp_path / "m.toml").write_text(
        'name = "sp"\ncitation = "none"\n[species.C]\norbitals = ["s", "p"]\n'
        "onsite = { s = -3.0, p = 3.7 }\nvalence = 4\n[[bond]]\n"
        'species = ["C", "C"]\ncutoff = 1.7\n'
        "ss_sigma = -5.0\nsp_sigma = 4.7\npp_sigma = 5.5\npp_pi = -1.55\n"
    )
    made = tmp_path / "x.h5"
    done = invoke("tb-h", tmp_path / "x.dat", "-m", tmp_path / "m.toml", "-o", made)
    assert done.exit_code == 0, done.output
    table = np.loadtxt(invoke("band", made, "--path", tmp_path / "x.dat", "-q").output.splitlines())
    direct = np.loadtxt(
        invoke("band", made, "--path", "0,0,0 X=0.5,0.5,0", "-n", 2, "-q").output.splitlines()
    )
    np.testing.assert_allclose(table[14, 1:4], [0.5, 0.5, 0], atol=1e-12)
    np.testing.assert_allclose(table[14, 4:], direct[-1, 4:], atol=1e-7)
    assert np.abs(table[14, 4:] - table[0, 4:]).max() > 1


def test_the_path_that_a_scfout_keeps(tmp_path, data, invoke):
    """The text at the end of a .scfout has a cell of its own for the path: --path input."""
    raw = (data / "gr_ab.scfout").read_bytes()
    count = next(n for n in range(1, 999) if struct.unpack("=i", raw[-256 * n - 4 :][:4]) == (n,))
    matrices, lines = raw[: -256 * count - 4], raw[-256 * count :]
    own = ["<Band.KPath.UnitCell", "2.46 0 0", "0 4.26084498662 0", "0 0 20"]
    added = b"".join((t + "\n").encode().ljust(256, b"\0") for t in [*own, "Band.KPath.UnitCell>"])
    path = tmp_path / "x.scfout"
    path.write_bytes(matrices + struct.pack("=i", count + 5) + lines + added)
    done = invoke("openmx2h5", path, "-o", tmp_path / "x.h5")
    assert done.exit_code == 0, done.output
    with moireio.open(tmp_path / "x.h5") as file:
        # k·a of the rectangle's (½, 0) and (⅔, ⅓), for a2 = (a + b) / 2
        np.testing.assert_allclose(file.kpath.points[0, 1], [0.5, 0.25, 0], atol=1e-8)
        np.testing.assert_allclose(file.kpath.points[1, 1], [2 / 3, 0.5, 0], atol=1e-8)
    table = np.loadtxt(invoke("band", tmp_path / "x.h5", "-p", "input", "-q").output.splitlines())
    np.testing.assert_allclose(table[7, 1:4], [0.5, 0.25, 0], atol=1e-8)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("15 0.0 0.0 0.0   1.0", "15 1e400 0.0 0.0   1.0", "line 1 of Band.kpath .* 1e400"),
        ("15 0.0 0.0 0.0   1.0", "2147483648 0.0 0.0 0.0   1.0", "asks for 2147483648 points"),
        ("15 1.0 0.5", "-3 1.0 0.5", "line 3 of Band.kpath asks for -3 points"),
        ("15 1.0 0.5", "15 1.0 nan", "line 3 of Band.kpath has the coordinate nan"),
        ("15 1.0 0.5", "15.5 1.0 0.5", "line 3 of Band.kpath is not a number of points"),
        ("0.5 0.5 0.5   W L", "W L", "line 3 of Band.kpath is cut short"),
        ("0.000000 3.560000 0.000000", "3.560000 0.000000 0.000000", "not independent"),
        ("0.000000 3.560000 0.000000\n", "", "<Band.KPath.UnitCell> has 2 lines"),
    ],
)
def test_numbers_that_make_no_sense(tmp_path, made, invoke, before, after, message):
    text = fcc("diamond")
    assert before in text
    with pytest.raises(MoireioError, match=rf"x\.dat: .*{message}"):
        dat.parse(text.replace(before, after, 1), "x.dat")
    (tmp_path / "x.dat").write_text(text.replace(before, after, 1))
    done = invoke("band", made["gr_ab"], "-q", "-p", tmp_path / "x.dat")
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith(f"error: {tmp_path / 'x.dat'}: ")


def test_a_path_of_another_file(tmp_path, data, made, invoke):
    """A file without a path is named; one with another cell is a note."""
    whole = (data / "gr_ab.dat").read_text()
    (tmp_path / "x.dat").write_text(whole[: whole.index("<Band.kpath")])
    done = invoke("band", made["gr_ab"], "-q", "-p", tmp_path / "x.dat")
    assert done.stderr.startswith(f"error: {tmp_path / 'x.dat'}: has no table Band.kpath")
    assert "its cell" not in invoke("band", made["gr_ab"], "-p", data / "gr_ab.dat").stderr
    assert "its cell" not in invoke("band", made["gr_ab"], "-p", data / "gr_ab.Band").stderr
    for name in ("hbn_soc.dat", "hbn_soc.Band"):
        done = invoke("band", made["gr_ab"], "-p", data / name)
        assert done.exit_code == 0, done.stderr
        assert "its cell (2.504 x 2.504 Å along periodic vectors) is not that of" in done.stderr
