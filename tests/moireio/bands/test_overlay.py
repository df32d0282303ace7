"""Bands of another file on the path of a band structure."""

import numpy as np
import pytest

import moireio
from moireio.bands.overlay import overlay_points
from moireio.errors import MoireioError
from moireio.results.bands import BandStructure


def test_points_of_another_list_find_their_place(made):
    with moireio.open(made["gr_ab"]) as file:
        bands = moireio.solve_bands(file, moireio.make_path(file.structure, "GMK", 9), bands=4)
        some = [8, 2, 5]
        extra = np.vstack([bands.path.k[some], [[0.11, 0.3, 0]]])
        from moireio.bands.paths import choose_path

        other = moireio.solve_bands(file, choose_path(file, kpoints=extra), bands=4)
        distance, energies, missing = overlay_points(file, bands, other, "x", "none")
        order = np.argsort(distance)
        assert distance[order] == pytest.approx(bands.path.distance[sorted(some)])
        assert energies[0][order] == pytest.approx(bands.energies[0][sorted(some)], abs=1e-8)
        assert missing == 1
        _, shifted, _ = overlay_points(file, bands, other, "x", "fermi")
        assert shifted == pytest.approx(energies - other.fermi)


def test_electrons_come_from_the_bands_that_are_drawn(made):
    """Bands without a number of electrons get that of the others for their valence maximum."""
    with moireio.open(made["hbn_soc"]) as file:
        bands = moireio.solve_bands(file, moireio.make_path(file.structure, "GMK", 5))
        bare = BandStructure(bands.path, bands.energies)
        _, energies, _ = overlay_points(file, bands, bare, "x", "vbm")
        assert energies[0, :, 7].max() == pytest.approx(0, abs=1e-9)
        none = BandStructure(bands.path, bands.energies)
        with pytest.raises(MoireioError, match="electrons"):
            overlay_points(file, none, none, "x", "vbm")


def test_bands_of_a_file(made):
    with moireio.open(made["gr_ab"]) as file:
        bands = moireio.solve_bands(file, moireio.make_path(file.structure, "GM", 3))
        distance, energies, missing = overlay_points(file, bands, None, made["gr_ab"], "none")
        assert missing == 0
        assert distance == pytest.approx(bands.path.distance)
        assert energies == pytest.approx(bands.energies)


def test_none_on_the_path(made):
    with moireio.open(made["gr_ab"]) as file:
        bands = moireio.solve_bands(file, moireio.make_path(file.structure, "GM", 3), bands=2)
        path = moireio.make_path(file.structure, "0.1,0.3,0 0.1,0.31,0", 2)
        other = BandStructure(path, np.zeros((1, 2, 2)))
        with pytest.raises(MoireioError, match="none of its k points"):
            overlay_points(file, bands, other, "other.Band", "none")
