"""Files of the other byte order, and of repeated cells."""

import sys

import numpy as np
import pytest
from helpers import convert
from naive_scfout import Naive

import moireio
from moireio.errors import MoireioError
from moireio.formats.openmx.scfout import open_scfout
from moireio.formats.openmx.scfout_write import repeat


@pytest.mark.parametrize("name", ["gr_ab", "gr_ab_v38", "hbn_soc", "o2_col"])
def test_the_other_byte_order(tmp_path, data, name):
    """A file of the other byte order gives the same block file, number by number."""
    original = data / f"{name}.scfout"
    other = ">" if sys.byteorder == "little" else "<"
    repeat(original, tmp_path / "swapped.scfout", byte_order=other)
    swapped = (tmp_path / "swapped.scfout").read_bytes()
    assert (
        swapped[:8]
        == np.frombuffer(original.read_bytes()[:8], "=i4").astype(other + "i4").tobytes()
    )
    with open_scfout(original) as a, open_scfout(tmp_path / "swapped.scfout") as b:
        n = len(a.structure)
        assert a.operators == b.operators
        assert (a.structure.positions == b.structure.positions).all()
        for operator in a.operators:
            assert (a.operator(operator).rows(0, n) == b.operator(operator).rows(0, n)).all()


@pytest.mark.parametrize("name", ["gr_ab", "o2_col"])
def test_a_repeated_cell_has_the_folded_bands(tmp_path, data, made, name):
    repeat(data / f"{name}.scfout", tmp_path / "big.scfout", (2, 1, 1))
    convert(str(tmp_path / "big.scfout"), str(tmp_path / "big.h5"))
    point = np.array([0.2, 0.3, 0.0])
    with moireio.open(tmp_path / "big.h5") as big, moireio.open(made[name]) as small:
        assert len(big.structure) == 2 * len(small.structure)
        assert moireio.validate(big) == []

        def energies(file, k):
            path = moireio.KPath(np.array([k]), np.zeros(1), np.zeros(0, int), ())
            return moireio.solve_bands(file, path).energies

        parts = [energies(small, (point + np.array([m, 0, 0])) / [2, 1, 1]) for m in (0, 1)]
        expected = np.sort(np.concatenate(parts, axis=2), axis=2)
        error = np.abs(energies(big, point) - expected)
        assert error[expected < 20].max() < 1e-8
        # Which triangle of S is kept depends on the order of the atoms; high states feel it.
        assert error.max() < 1e-6


@pytest.mark.parametrize("name", ["gr_ab", "gr_ab_v38", "hbn_soc", "o2_col"])
def test_a_rewritten_file_is_the_same_to_a_naive_reader(tmp_path, data, name):
    """Every number that moireio keeps, in a reading that knows nothing of the writer."""
    repeat(data / f"{name}.scfout", tmp_path / "x.scfout")
    before, after = Naive(data / f"{name}.scfout"), Naive(tmp_path / "x.scfout")
    assert after.keys == before.keys
    for part in ("orbitals", "cell", "positions", "fermi", "temperature", "electrons", "spin"):
        np.testing.assert_array_equal(getattr(after, part), getattr(before, part))
    for part in ("h", "ih", "position", "momentum", "density", "idensity"):
        for new, old in zip(getattr(after, part), getattr(before, part), strict=True):
            assert all((new[key] == old[key]).all() for key in before.keys)
    assert all((after.s[key] == before.s[key]).all() for key in before.keys)


@pytest.mark.parametrize("counts", [(1, 1), (2, 0, 1), (1, 1, -1)])
def test_repetitions_that_are_not_positive(tmp_path, data, counts):
    with pytest.raises(MoireioError, match="are not three positive numbers"):
        repeat(data / "gr_ab.scfout", tmp_path / "x.scfout", counts)
    assert not (tmp_path / "x.scfout").exists()
