"""Bands of another file on the path of a band structure."""

from dataclasses import replace

import numpy as np
import pytest

import moireio
from moireio.bands.overlay import (
    OverlayData,
    check_overlay,
    common_zero,
    differences,
    place_overlay,
    read_overlay,
)
from moireio.bands.paths import choose_path
from moireio.errors import MoireioError
from moireio.results.bands import BandStructure


@pytest.fixture
def file(made):
    with moireio.open(made["gr_ab"]) as file:
        yield file


def bands_on(file, path, points=9):
    """Zeros on a path: nothing is solved."""
    found = moireio.make_path(file.structure, path, points)
    return BandStructure(found, np.zeros((1, len(found), 2)), fermi=0.0)


def data(file, bands, name="x", formula=None):
    return OverlayData(name, bands, file.structure.cell, formula)


def pieces(file, base, other, points=9):
    """Return the ends of the pieces of an overlay: numbers of places with a letter."""
    drawn = bands_on(file, base, 33)
    placed = place_overlay(file, drawn, data(file, bands_on(file, other, points)), "none")
    parts = np.split(placed.distance, placed.breaks)
    corners = np.unique(drawn.path.distance[drawn.path.label_index])
    ends = [[p[0], p[-1]] for p in parts]
    nearest = [[int(np.abs(corners - end).argmin()) for end in pair] for pair in ends]
    assert np.array(ends) == pytest.approx(corners[nearest], abs=1e-6)
    return nearest


def test_points_of_another_list_find_their_place(file):
    bands = moireio.solve_bands(file, moireio.make_path(file.structure, "GMK", 9), bands=4)
    some = [8, 2, 5]
    extra = np.vstack([bands.path.k[some], [[0.11, 0.3, 0]]])
    other = moireio.solve_bands(file, choose_path(file, kpoints=extra), bands=4)
    placed = place_overlay(file, bands, data(file, other), "none")
    assert placed.distance == pytest.approx(bands.path.distance[sorted(some)])
    assert placed.energies[0] == pytest.approx(bands.energies[0][sorted(some)], abs=1e-8)
    assert placed.missing == 1
    assert placed.breaks.tolist() == [2]  # neighbours in the list are joined
    shifted = place_overlay(file, bands, data(file, other), "fermi")
    assert shifted.energies == pytest.approx(placed.energies - other.fermi)


@pytest.mark.parametrize(
    ("base", "other", "ends"),
    [
        ("GMKG", "GMKG", [[0, 3]]),
        ("GMKG", "GKMG", [[0, 3]]),  # the other way round
        ("GMKG", "GM,KG", [[0, 1], [2, 3]]),  # nothing between M and K
        ("GMKG", "GK", [[0, 0], [2, 3]]),  # a lone point at the first Γ
        ("GM,KG", "GMKG", [[0, 1], [1, 2]]),  # M and K share a place
        ("MK,MG", "GMK", [[0, 1], [1, 2]]),
    ],
)
def test_lines_break_where_the_overlay_or_the_path_does(file, base, other, ends):
    assert pieces(file, base, other) == ends


def test_a_corner_without_a_point_is_not_crossed(file):
    k = np.array([[0, 0, 0], [0.3, 0, 0], [0.6, 0.2, 0], [2 / 3, 1 / 3, 0]])  # not M
    other = BandStructure(choose_path(file, kpoints=k), np.zeros((1, 4, 2)))
    placed = place_overlay(
        file, bands_on(file, "G 0.5,0,0".replace("G", "0,0,0"), 9), data(file, other), "none"
    )
    assert len(placed.distance) == 2
    base = bands_on(file, "0,0,0 0.5,0,0 0.6,0.2,0 0.66666666667,0.33333333333,0", 33)
    placed = place_overlay(file, base, data(file, other), "none")
    assert np.diff(placed.distance).min() > 0.1
    assert placed.breaks.tolist() == [2]


def test_corners_without_letters_are_found(file):
    path = moireio.make_path(file.structure, "GMKG", 30)
    bare = replace(path, label_index=np.zeros(0, int), labels=())
    bands = BandStructure(bare, np.zeros((1, len(bare), 2)))
    placed = place_overlay(file, bands, data(file, bands_on(file, "GMKG", 12)), "none")
    assert placed.missing == 0
    assert placed.breaks.tolist() == []


def test_the_number_of_electrons_of_a_band_file_is_that_of_the_bands(made):
    """Other files are not given it."""
    with moireio.open(made["hbn_soc"]) as file:
        bands = moireio.solve_bands(file, moireio.make_path(file.structure, "GMK", 5))
        bare = BandStructure(bands.path, bands.energies)
        placed = place_overlay(file, bands, data(file, bare), "vbm")
        assert placed.energies[0, :, 7].max() == pytest.approx(0, abs=1e-9)
        with pytest.raises(MoireioError, match=r"^pred\.h5: .*electrons"):
            place_overlay(file, bands, data(file, bare, "pred.h5", "BN"), "vbm")


def test_levels_that_are_unknown_name_the_overlay(file):
    bands = bands_on(file, "GM")
    other = data(file, replace(bands, fermi=None), "pred.h5")
    with pytest.raises(MoireioError, match=r"^pred\.h5: the Fermi level is unknown"):
        place_overlay(file, bands, other, "fermi")


def test_the_level_that_all_have(file):
    bands = bands_on(file, "GM")
    unknown = data(file, replace(bands, fermi=None), "x", "C4")
    filled = data(file, replace(bands, fermi=None, electrons=2.0), "y", "C4")
    assert common_zero(bands, []) == "fermi"
    assert common_zero(bands, [data(file, bands)]) == "fermi"
    assert common_zero(replace(bands, electrons=4.0), [filled]) == "vbm"
    assert common_zero(replace(bands, electrons=4.0), [filled, unknown]) == "none"
    assert common_zero(replace(bands, fermi=None), []) == "none"


def test_bands_of_a_file(file, made):
    bands = moireio.solve_bands(file, moireio.make_path(file.structure, "GM", 3))
    found = read_overlay(str(made["gr_ab"]), bands, {})
    placed = place_overlay(file, bands, found, "none")
    assert placed.missing == 0
    assert placed.distance == pytest.approx(bands.path.distance)
    assert placed.energies == pytest.approx(bands.energies)
    assert differences(file, bands, found) == []
    some = read_overlay(str(made["gr_ab"]), bands, {"bands": 4})
    assert some.bands.energies.shape == (1, 3, 4)


def test_other_crystals_are_named(file, made):
    bands = bands_on(file, "GM")
    with moireio.open(made["hbn_soc"]) as other:
        found = OverlayData("b.h5", bands, other.structure.cell, other.structure.formula)
    elements, cell = differences(file, bands, found)
    assert elements == f"it is BN, {file.label} is C4"
    assert cell.startswith("its cell has 2.5040, 2.5040 Å, 60.00°, that of")
    assert "2.4600, 2.4600 Å, 60.00°" in cell
    turned = file.structure.cell @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]])
    turned[2] *= 2  # the vacuum does not count
    full = replace(bands, energies=np.zeros((1, len(bands.path), 52)))
    assert differences(file, full, OverlayData("x.Band", full, turned)) == []
    (count,) = differences(file, bands, OverlayData("x.Band", bands, turned))
    assert count == f"it has 2 bands, {file.label} 52: another basis or material"
    wide = file.structure.cell.copy()
    wide[1] = -wide[0] + wide[1]
    (angle,) = differences(file, full, OverlayData("x.Band", full, wide))
    assert "120.00°" in angle


def test_a_file_without_bands_is_refused_before_any_work(file, made, tmp_path):
    check_overlay(str(made["gr_ab"]))
    with moireio.create(str(tmp_path / "s.h5")) as writer:
        writer.structure(file.structure)
        writer.history("test")
    with pytest.raises(MoireioError, match="has neither /bands nor /hamiltonian"):
        check_overlay(str(tmp_path / "s.h5"))


def test_none_on_the_path(file):
    path = moireio.make_path(file.structure, "0.1,0.3,0 0.1,0.31,0", 2)
    other = OverlayData("o.Band", BandStructure(path, np.zeros((1, 2, 2))), file.structure.cell)
    with pytest.raises(MoireioError, match=r"^o\.Band: none of its k points"):
        place_overlay(file, bands_on(file, "GM", 3), other, "none")
