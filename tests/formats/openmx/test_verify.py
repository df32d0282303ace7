"""Damage that the parts of a .scfout show of each other."""

import numpy as np
import pytest

from moireio.errors import DamagedError
from moireio.formats.openmx.header import read_header
from moireio.formats.openmx.scfout import open_scfout
from moireio.formats.openmx.scfout_write import repeat


def altered(data, name, place, value, kind="=f8"):
    """The bytes of a file with one number of its own; `place` finds it by the header."""
    raw = bytearray((data / f"{name}.scfout").read_bytes())
    at = place(read_header(bytes(raw), name))
    raw[at : at + np.dtype(kind).itemsize] = np.array([value], kind).tobytes()
    return raw


def position_place(atom, axis):
    return lambda h: h.matrix_start - 32 * h.n_atoms + 32 * atom + 8 * (axis + 1)


def number_place(n):
    return lambda h: h.matrix_end + 4 + 8 * n


def element(matrix, pair, row, column):
    """Place of an element of a block, pairs in the order of the file."""

    def place(h):
        sizes = h.orbitals[h.pair_i] * h.orbitals[h.pair_j]
        at = int(sizes[:pair].sum()) + row * int(h.orbitals[h.pair_j[pair]]) + column
        return h.matrix_start + matrix * h.matrix_bytes + 8 * at

    return place


def open_altered(tmp_path, raw, **options):
    path = tmp_path / "x.scfout"
    path.write_bytes(raw)
    return open_scfout(path, **options)


@pytest.mark.parametrize("name", ["gr_ab", "gr_ab_v38", "hbn_soc", "o2_col"])
def test_positions_are_checked_where_the_text_does_not_tell(tmp_path, data, name):
    """By the position matrices, to 1e-3 Bohr."""
    open_altered(tmp_path, (data / f"{name}.scfout").read_bytes(), check_coordinates=False).close()
    header = read_header((data / f"{name}.scfout").read_bytes(), name)
    for change in (2e-3, -0.5):
        moved = header.positions[1, 1] + change
        raw = altered(data, name, position_place(1, 1), moved)
        with pytest.raises(DamagedError, match=r"positions and position matrices differ by") as e:
            open_altered(tmp_path, raw, check_coordinates=False)
        assert "\n" not in str(e.value)


def test_cutoffs_are_those_of_the_neighbour_lists(tmp_path, data):
    """A name is no proof: OpenMX takes the cutoff from the orbital file."""
    raw = (data / "gr_ab.scfout").read_bytes()
    for name in (b"C5.0", b"C7.0"):
        with open_altered(tmp_path, raw.replace(b"C6.0-", name + b"-")) as file:
            assert file.basis["C"].cutoff is None
            label = name.decode() + "-s2p2d1"
            note = f"the neighbours do not fit the cutoff in the name {label}: it is left unknown"
            assert file.notes == [note]
    with open_altered(tmp_path, raw.replace(b" C6.0-", b" C6O9-")) as file:
        assert (file.basis["C"].cutoff, file.notes) == (None, [])


@pytest.mark.parametrize(
    ("number", "value", "complaint"),
    [
        (0, 1e300, r"the Fermi level \(Hartree\) is 1e\+300, -10 to 10 is expected"),
        (0, np.nan, r"the Fermi level \(Hartree\) is nan"),
        (1, np.nan, r"the temperature \(K\) is nan"),
        (1, 600.0, r"has an electronic temperature of 600 K, but its input text 300 K"),
        (5, np.inf, "a dipole moment is inf"),
        (8, 1e5, "the number of electrons is 100000, 0 to 104 is expected"),
        (9, -1e5, "the total spin is -100000"),
    ],
)
def test_numbers_behind_the_matrices(tmp_path, data, number, value, complaint):
    raw = altered(data, "gr_ab", number_place(number), value)
    with pytest.raises(DamagedError, match=complaint):
        open_altered(tmp_path, raw)


@pytest.mark.parametrize("value", [1e200, -1e9, np.nan, np.inf])
def test_positions_without_sense(tmp_path, data, value):
    raw = altered(data, "gr_ab", position_place(2, 2), value)
    with pytest.raises(DamagedError, match=r"the position of an atom \(3, z\) is .* Bohr"):
        open_altered(tmp_path, raw)


@pytest.mark.parametrize(
    ("name", "matrix", "pair", "value", "operator", "complaint"),
    [
        ("hbn_soc", 2, 30, 1e300, "hamiltonian", r"contains 2\.7e\+301 eV, up to 3e\+04 makes"),
        ("hbn_soc", 2, 30, np.nan, "hamiltonian", "contains nan eV"),
        ("hbn_soc", 2, 30, 0.4, "hamiltonian", "one element breaks time reversal by"),
        ("hbn_soc", 3, 30, -3e-3, "hamiltonian", "one element breaks time reversal by"),
        ("hbn_soc", 1, 0, -3.0, "hamiltonian", "one element breaks time reversal by"),
        ("gr_ab", 0, 0, 1e300, "hamiltonian", r"of atom 0 with itself is 2\.7e\+301 eV"),
        ("gr_ab", 1, 0, 0.7, "overlap", "of atom 0 with itself is 0.7, 1 is expected"),
        ("gr_ab", 1, 0, np.nan, "overlap", "and of its partner differ by nan"),
        ("o2_col", 0, 0, -1e5, "hamiltonian", r"of atom 0 with itself is 2\.7e\+06 eV"),
        ("gr_ab", 2, 0, 0.5, "position", r"of atom 0 with itself is 2\.6e-01 Å"),
        ("gr_ab", 8, 0, 1e9, "density", r"of an orbital of atom 0 with itself is 2\.0e\+09"),
    ],
)
def test_elements_without_a_partner(tmp_path, data, name, matrix, pair, value, operator, complaint):
    """Diagonal elements on site, and ↑↓: by their size, and by symmetries of all others."""
    raw = altered(data, name, element(matrix, pair, 1, 1), value)
    with (
        open_altered(tmp_path, raw) as file,
        pytest.raises(DamagedError, match=complaint) as error,
    ):
        file.operator(operator).rows(0, len(file.structure))
    assert str(error.value).startswith(f"{tmp_path / 'x.scfout'}: the {operator} of ")


def test_repeated_cells_pass(tmp_path, data):
    repeat(data / "gr_ab.scfout", tmp_path / "x.scfout", (2, 1, 1))
    with open_scfout(tmp_path / "x.scfout", check_coordinates=False) as file:
        assert file.basis["C"].cutoff is not None
        file.operator("hamiltonian").rows(0, 8)
