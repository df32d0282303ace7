"""Shells in options and lists of orbitals."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats import matrices
from moireio.formats.assembly.shells import (
    parse_shells,
    parse_shells_option,
    shells_of_m,
    structure_and_basis,
)
from moireio.formats.calculations import open_calculation
from moireio.formats.registry import named_format
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure


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


TARGETS = {
    "abacus": "folder", "cp2k": "folder", "deeph": "folder", "deeph-dock": "folder",
    "deeptb": "folder", "siesta": "x.HSX", "hamgnn": "x.npz", "wanniertools": "wt_hr.dat",
}  # fmt: skip


@pytest.mark.parametrize("program", TARGETS)
@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("C", "C_2"), (6, 6)),
        (("C1", "C2"), (6, 6)),
        (("C a", "C b"), (6, 6)),
        (("C#1", "C!2"), (6, 6)),
        (("C//1", "N"), (6, 7)),
        (("Carbon_surface_up", "H"), (6, 1)),
        (("Gh", "C"), (0, 6)),
        (("N", "C"), (6, 7)),
    ],
)
def test_what_is_written_with_any_names_of_species_is_read_again(tmp_path, program, names, numbers):
    """Or it is refused in one line, and nothing is written."""
    structure = Structure(3 * np.eye(3), [[0, 0, 0], [1, 1, 1]], numbers, [0, 1], names, [True] * 3)
    basis = Basis({names[0]: SpeciesBasis((0, 1)), names[1]: SpeciesBasis((0, 0))})
    h = np.diag(np.arange(6.0))
    calculation = matrices.read(
        {(0, 0, 0): h}, {(0, 0, 0): np.eye(6)}, structure=structure, shells=basis
    )
    if program == "siesta":
        pytest.importorskip("sisl")
    target = str(tmp_path / TARGETS[program])
    given = {"hamgnn": {"program": "openmx"}}.get(program, {})
    try:
        named_format(program).write(calculation, target, **given)
    except MoireioError as error:
        refusal = str(error)
    else:
        refusal = None
    if refusal is not None:
        assert "\n" not in refusal
        assert list(tmp_path.iterdir()) == []
        return
    given = {"hamgnn": {"code": "openmx"}}.get(program, {})
    with open_calculation(target, **given) as found:
        assert found.structure.numbers.tolist() == list(numbers)
        assert [found.basis[name].l for name in found.structure.species_of_atoms] == [
            (0, 1),
            (0, 0),
        ]
