"""Bounded reading of text, and small helpers of the readers."""

import bz2
import gzip
import lzma

import pytest

from moireio.errors import MoireioError
from moireio.formats.structures import text as st

POSCAR = "C\n1.0\n 2.46 0 0\n 1.23 2.13 0\n 0 0 20\nC\n2\nCartesian\n0 0 0\n1.23 0.71 0\n"


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip), (".bz2", bz2), (".xz", lzma)])
def test_compressed_text(tmp_path, suffix, pack):
    path = tmp_path / f"POSCAR{suffix}"
    path.write_bytes(pack.compress(POSCAR.encode()))
    assert st.read_text(str(path)) == POSCAR
    assert st.plain_name(str(path)) == "POSCAR"
    path.write_bytes(pack.compress(POSCAR.encode())[:-20])
    with pytest.raises(MoireioError, match="damaged or cut short"):
        st.read_text(str(path))


def test_a_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.vasp.gz"
    with gzip.open(path, "wb", compresslevel=9) as stream:
        for _ in range(20):
            stream.write(b" " * 2**20)
    with pytest.raises(MoireioError, match=r"expand to more than 16 MiB"):
        st.read_text(str(path))


@pytest.mark.parametrize(("content", "words"), [(b"\n \n", "is empty"), (b"a\x00b", "is binary")])
def test_what_is_no_text(tmp_path, content, words):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(MoireioError, match=words):
        st.read_text(str(tmp_path / "x"))
    with pytest.raises(MoireioError, match="is a folder"):
        st.read_text(str(tmp_path))


def test_last_digit():
    assert st.last_digit(["1.23", "-2.13042249", "100"]) == pytest.approx(5e-9)
    assert st.last_digit(["1.5E-02"]) == pytest.approx(5e-4)
    assert st.last_digit(["3", "1e5"]) == 0


def test_elements():
    assert [st.atomic_number(w) for w in ("C", "mo", "42", "X", "Xy", "999")] == [
        6, 42, 42, 0, None, None,
    ]  # fmt: skip
    labels = ["Mo_pv", "S1", "C/0a1b", "Cu2+", "carbon"]
    assert [st.labelled_element(w) for w in labels] == [42, 16, 6, 29, None]
    assert st.atomic_number_of_mass(12.011) == 6
    assert st.atomic_number_of_mass(5.5) is None
