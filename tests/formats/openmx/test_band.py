"""OpenMX's .Band files against their own text."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.openmx import band
from moireio.units import BOHR_ANGSTROM, HARTREE_EV


def test_band_file(data, tmp_path):
    found = band.read(data / "o2_col.Band")
    assert found.energies.shape == (2, 8, 26)
    path = found.path()
    assert path.labels == ("G", "Z", "R")
    length = np.linalg.norm(found.reciprocal[2]) / 2
    assert path.distance[3] == pytest.approx(length)
    whole = (data / "gr_ab.Band").read_text()
    for cut in (0, 10, 300, 3000, len(whole) - 40):
        (tmp_path / "x.Band").write_text(whole[:cut])
        with pytest.raises(MoireioError, match=r"x\.Band"):
            band.read(tmp_path / "x.Band")


@pytest.mark.parametrize("name", ["gr_ab", "gr_ab_v38", "hbn_soc", "o2_col"])
def test_every_number_of_the_file(data, name):
    """k points, energies of both spins, Fermi level and reciprocal vectors."""
    path = data / f"{name}.Band"
    bands = band.read(path)
    lines = path.read_text().splitlines()
    n_bands, collinear, fermi = lines[0].split()
    body = [line.split() for line in lines[3 + int(lines[2]) :] if line.strip()]
    points = np.array([words[1:] for words in body[::2]], dtype=float)
    energies = np.array(body[1::2], dtype=float) * HARTREE_EV
    spins = 1 + int(collinear)
    assert bands.energies.shape == (spins, len(points) // spins, int(n_bands))
    for spin in range(spins):
        np.testing.assert_array_equal(bands.k, points[spin::spins])
        np.testing.assert_allclose(bands.energies[spin], energies[spin::spins], rtol=1e-14)
    assert bands.fermi == pytest.approx(float(fermi) * HARTREE_EV, rel=1e-14)
    reciprocal = np.array(lines[1].split(), dtype=float) / BOHR_ANGSTROM
    np.testing.assert_allclose(bands.reciprocal.ravel(), reciprocal, rtol=1e-14)


def test_the_path_of_graphene(data):
    """Γ-M-K-Γ of a hexagon: M-K is 1/√3, and K-Γ 2/√3, of Γ-M."""
    bands = band.read(data / "gr_ab.Band")
    structure = bands.band_structure()
    assert (structure.source, structure.fermi) == ("dft", bands.fermi)
    path = structure.path
    assert path.labels == ("G", "M", "K", "G")
    corners = path.distance[[0, 7, 15, 23]]
    lengths = np.diff(corners) / corners[1]
    np.testing.assert_allclose(lengths, [1, 3**-0.5, 2 * 3**-0.5], rtol=1e-6)
    assert path.distance[8] == path.distance[7]  # M ends one segment and begins the next


def test_names_of_band_files():
    assert band.is_band_file("a/b.Band")
    assert band.is_band_file("B.BAND")
    assert not band.is_band_file("a.Band/b.txt")


@pytest.mark.parametrize(
    ("line", "old", "new", "message"),
    [
        (0, "52", "999999999999", "line 1: the number of states: 999999999999 is out of range"),
        (0, "52", "53", "line 8: the first k point has 52 of 53 numbers"),
        (0, " 0 ", " 1 ", "48 lines behind the segments, 96 are expected for 24 k points"),
        (0, "-0.1348", "nan", "line 1: the Fermi level: 'nan.*' stands where a number"),
        (1, " ", " inf ", "line 2: the reciprocal cell has 10 of 9 numbers"),
        (1, " 0.0000", " 9e9", "line 2: a reciprocal vector: 9e9.* is out of range"),
        (3, "8", "-8", "line 4: the points of a segment: -8 is out of range"),
        (3, "0.5", "0.7", r"the k point of its segment is 0\.1"),
        (9, "-", "9", "line 10: an energy: .* is out of range|line 10: energies 1 and 2 do not"),
        (9, "-", "x", "line 10: an energy: 'x.*' stands where a number is expected"),
    ],
)
def test_a_head_that_makes_no_sense(data, tmp_path, line, old, new, message):
    lines = (data / "gr_ab.Band").read_text().splitlines()
    assert old in lines[line]
    lines[line] = lines[line].replace(old, new, 1)
    (tmp_path / "x.Band").write_text("\n".join(lines))
    with pytest.raises(MoireioError, match=rf"x\.Band: .*({message})"):
        band.read(tmp_path / "x.Band")
