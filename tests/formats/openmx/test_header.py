"""What a .scfout says beside its matrices."""

import mmap

import numpy as np
import pytest
from naive_scfout import Naive

from moireio.errors import DamagedError, MoireioError
from moireio.formats.openmx.header import read_header
from moireio.formats.openmx.scfout import open_scfout
from moireio.formats.openmx.scfout_write import repeat

NAMES = ["gr_ab", "gr_ab_v38", "hbn_soc", "o2_col"]


def test_without_input_text(tmp_path, data):
    repeat(data / "gr_ab.scfout", tmp_path / "x.scfout", text=False)
    with pytest.raises(MoireioError, match="`dat`"):
        open_scfout(tmp_path / "x.scfout")
    with open_scfout(tmp_path / "x.scfout", dat=data / "gr_ab.dat") as file:
        assert file.basis["C"].name == "C6.0-s2p2d1"
    with pytest.raises(DamagedError, match="4 atoms"):
        open_scfout(tmp_path / "x.scfout", dat=data / "hbn_soc.dat")


@pytest.mark.parametrize("layout", [1, 2, 4, 17])
def test_unknown_layouts(tmp_path, data, layout):
    raw = bytearray((data / "gr_ab.scfout").read_bytes())
    raw[4:8] = np.array([4 * layout], "=i4").tobytes()
    (tmp_path / "x.scfout").write_bytes(raw)
    with pytest.raises(DamagedError, match=f"layout {layout}"):
        open_scfout(tmp_path / "x.scfout")


@pytest.mark.parametrize("name", NAMES)
def test_the_header_equals_a_naive_reading(data, name):
    """Pairs in the order of the file, counts, and the numbers behind the matrices."""
    path = data / f"{name}.scfout"
    header, naive = read_header(path.read_bytes(), str(path)), Naive(path)
    pairs = zip(header.pair_i, header.pair_j, header.pair_R.tolist(), strict=True)
    assert [(i, j, tuple(R)) for i, j, R in pairs] == naive.keys
    assert header.orbitals.tolist() == list(naive.orbitals)
    np.testing.assert_array_equal(header.cell, naive.cell)
    np.testing.assert_array_equal(header.positions, naive.positions)
    assert (header.fermi, header.temperature) == (naive.fermi, naive.temperature)
    assert (header.electron_count, header.total_spin) == (naive.electrons, naive.spin)
    assert "Atoms.SpeciesAndCoordinates" in header.text


@pytest.mark.parametrize("name", NAMES)
def test_operators_share_no_matrix(data, name):
    """Every matrix that is numbered exists, and belongs to one operator."""
    path = data / f"{name}.scfout"
    header = read_header(path.read_bytes(), str(path))
    operators = ("hamiltonian", "overlap", "position", "momentum", "density")
    numbers = [m for operator in operators for m in header.matrices_of(operator)]
    assert len(set(numbers)) == len(numbers)
    count = (header.matrix_end - header.matrix_start) // header.matrix_bytes
    assert 0 <= min(numbers) <= max(numbers) < count


def test_a_file_that_is_cut_short_anywhere(data):
    """It is refused in one line that names the file, wherever it ends."""
    path = data / "gr_ab.scfout"
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        header = read_header(raw, str(path))
        start, end = header.matrix_start, header.matrix_end
        for length in (0, 23, 24, 200, start - 1, start, end - 1, end + 87, header.tail_end - 1):
            with pytest.raises(DamagedError, match=r"gr_ab\.scfout: is cut short") as raised:
                read_header(raw[:length], str(path))
            assert "\n" not in str(raised.value)
        assert read_header(raw[: header.tail_end], str(path)).text == header.text


def moved_text(raw, motion, old=b" 1.230000000000 0.71", new=b" 1.250000000000 0.71"):
    """The file with an MD.Type of its own, and other initial coordinates (lines of 256 bytes)."""
    line, other = b"MD.Type nomd\n", b"MD.Type " + motion + b"\n"
    assert old in raw
    assert line in raw
    return raw.replace(old, new, 1).replace(line, other.ljust(len(line), b"\0"), 1)


@pytest.mark.parametrize("motion", [b"opt", b"NVE", b"RFC"])
def test_a_relaxed_file_holds_the_first_coordinates_in_its_text(tmp_path, data, motion):
    """A difference is no damage there: the numbers are the last ones. A note says so."""
    path, raw = tmp_path / "x.scfout", (data / "gr_ab.scfout").read_bytes()
    path.write_bytes(moved_text(raw, motion))
    with open_scfout(path) as file, open_scfout(data / "gr_ab.scfout") as other:
        assert (file.structure.positions == other.structure.positions).all()
        (note,) = file.notes
    assert note.startswith(f"MD.Type is {motion.decode().lower()}: cell and positions are the last")
    assert note.endswith("(the position of atom 2 by 0.02 Å)")


def test_a_cell_that_was_optimised(tmp_path, data):
    path, raw = tmp_path / "x.scfout", (data / "gr_ab.scfout").read_bytes()
    path.write_bytes(moved_text(raw, b"rf", b" 20.000000000000\n", b" 20.500000000000\n"))
    with open_scfout(path) as file:
        assert file.structure.cell[2, 2] == 20.0
        assert "MD.Type is rf" in file.notes[0]
        assert "(the cell by 0.5 Å" in file.notes[0]


def test_coordinates_of_a_file_that_did_not_move(tmp_path, data):
    path, raw = tmp_path / "x.scfout", (data / "gr_ab.scfout").read_bytes()
    path.write_bytes(raw.replace(b" 1.230000000000 0.71", b" 1.230000000500 0.71"))
    open_scfout(path).close()
    path.write_bytes(raw.replace(b" 1.230000000000 0.71", b" 1.230000010000 0.71"))
    with pytest.raises(DamagedError, match=r"the position of atom 2 differs .* by 1\.0e-08 Å"):
        open_scfout(path)
    path.write_bytes(moved_text(raw, b"opt", b" 1.230000000000 0.71", b" 1.230000000000 0.71"))
    with open_scfout(path) as file:
        assert file.notes == []
