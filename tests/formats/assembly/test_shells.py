"""Shells in options and lists of orbitals."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.assembly.shells import (
    parse_shells,
    parse_shells_option,
    shells_of_m,
    structure_and_basis,
)


def test_texts():
    assert parse_shells("s2p2d1") == (0, 0, 1, 1, 2)
    assert parse_shells("sspD") == (0, 0, 1, 2)
    assert parse_shells_option("C=sp, Fe=s2d") == {"C": (0, 1), "Fe": (0, 0, 2)}
    assert parse_shells_option(None) == {}


@pytest.mark.parametrize("text", ["C", "C=", "=s", "C=x", "C=s0", "C=s999"])
def test_unreadable_texts(text):
    with pytest.raises(MoireioError):
        parse_shells_option(text)


def test_lists_of_orbitals():
    assert shells_of_m([0, 1, 1, 1, 0, 2, 2, 2, 2, 2], "x") == (0, 1, 0, 2)
    for wrong in ([1, 1], [0, 1, 1, 0], [9], [-1]):
        with pytest.raises(MoireioError, match="atom 4 has an"):
            shells_of_m(wrong, "atom 4")


def test_one_label_with_two_bases():
    """Atoms of one element with other shells are another species."""
    structure, basis = structure_and_basis(
        np.eye(3) * 4, np.zeros((4, 3)) + np.arange(4)[:, None], [6, 6, 1, 6],
        ["C", "C", "H", "C"], [(0, 1), (0,), (0,), (0, 1)], valence={"C": 4.0},
    )  # fmt: skip
    assert structure.species_of_atoms == ["C", "C_2", "H", "C"]
    assert [basis[name].l for name in ("C", "C_2", "H")] == [(0, 1), (0,), (0,)]
    assert [basis[name].valence for name in ("C", "C_2", "H")] == [4.0, 4.0, None]
