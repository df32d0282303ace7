"""How many bands are filled, in all and of each spin."""

import pytest
from toymodels import haldane, of_both_spins

import moireio
from moireio.spectrum.filled_bands import filled_bands, filled_of_spins


def test_filled_bands_of_a_file(made):
    with moireio.open(made["gr_ab"]) as file:
        assert filled_bands(file) == 8
        assert filled_bands(file, -1e3) == 0
        assert filled_of_spins(file) == (8,)


def test_filled_bands_by_the_fermi_level(made, invoke, tmp_path):
    """Data folders of DeepH have a Fermi level, but no number of electrons."""
    from deeph_folders import folder_of

    folder = folder_of(made["hbn_soc"], tmp_path / "dock")
    assert invoke("convert-h", folder, "-o", tmp_path / "x.h5").exit_code == 0
    with moireio.open(tmp_path / "x.h5") as file:
        assert file.electrons.count is None
        assert filled_bands(file) == 8


@pytest.mark.parametrize(
    ("exchange", "electrons", "filled", "middle"),
    [
        (7.0, 2, (2, 0), 3.5),
        (7.0, 1, (1, 0), 0.0),
        (7.0, 3, (2, 1), 7.0),
        (-7.0, 1, (0, 1), -7.0),
        (0.3, 2, (1, 1), 0.15),
    ],
)
def test_filled_bands_of_magnets(tmp_path, exchange, electrons, filled, middle):
    layer = haldane(M=0.2)
    path = of_both_spins(layer, layer, exchange, electrons).write(tmp_path / "x.h5")
    with moireio.open(path) as file:
        assert filled_of_spins(file) == filled
        assert filled_of_spins(file, energy=middle) == filled


def test_filled_bands_where_spins_do_not_decide(tmp_path, made):
    layer = haldane(M=0.2)
    path = of_both_spins(layer, layer, 0.0, 1).write(tmp_path / "x.h5")
    with moireio.open(path) as file:  # one electron in two equal bands
        assert filled_of_spins(file) == (0.5, 0.5)
    with moireio.open(made["o2_col"]) as file:  # a triplet
        assert filled_of_spins(file) == (7, 5)
