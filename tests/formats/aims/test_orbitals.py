"""The list of FHI-aims's orbitals."""

import pytest

from moireio.errors import MoireioError
from moireio.formats.aims import orbitals


def test_stars_beyond_atom_999(tmp_path):
    """FHI-aims prints *** for atoms whose number has four digits."""
    rows = ["", "  fn.   type   at.   n   l   m"]
    for atom in range(1, 1003):
        number = f"{atom:3d}" if atom < 1000 else "***"
        rows.append(f"{atom:5d} atomic   {number}   1   0   0")
        if atom % 2:
            rows += [f"{atom:5d} atomic   {number}   2   1 {m:3d}" for m in (-1, 0, 1)]
    path = tmp_path / "basis-indices.out"
    path.write_text("\n".join(rows) + "\n")
    shells = orbitals.read_orbitals(str(path), ["C", "H"] * 501)
    assert shells == [(0, 1), (0,)] * 501


def test_an_atom_without_orbitals_is_of_another_calculation(tmp_path):
    path = tmp_path / "basis-indices.out"
    path.write_text("    1 atomic     1   1   0   0\n    2 atomic     2   1   0   0\n")
    assert orbitals.read_orbitals(str(path), ["H", "H"]) == [(0,), (0,)]
    with pytest.raises(MoireioError, match=r"no orbitals of atom 3, but geometry\.in has 3 atoms"):
        orbitals.read_orbitals(str(path), ["H", "H", "H"])


@pytest.mark.parametrize(
    "end", ["", "  Self-consistency cycle converged.\n", " Have a nice day.\n"]
)
def test_the_fermi_level_of_an_output_that_is_cut_short(tmp_path, end):
    path = tmp_path / "aims.out"
    path.write_text("  | Chemical potential (Fermi level):    -3.49150011 eV\n" + end)
    notes = []
    assert orbitals.read_log(str(path), notes).fermi == -3.49150011
    assert len(notes) == (end == "")
    assert not notes or "aims.out ends before the cycle is converged" in notes[0]
