"""Files of other programs, compressed or not."""

import bz2
import gzip
import lzma

import pytest

from moireio.errors import MissingFileError, MoireioError
from moireio.formats.text.streams import beside, expanded, first_bytes, lines


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_every_compression(tmp_path, pack):
    path = tmp_path / "x"
    path.write_bytes(pack(b"one\r\n\ntwo"))
    assert list(lines(str(path))) == ["one", "", "two"]
    assert first_bytes(str(path), 3) == b"one"
    assert expanded(str(path)) == (None if pack is bytes else b"one\r\n\ntwo")


def test_what_cannot_be_read(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(bytes(range(1, 256)) * 900)[:-40])
    with pytest.raises(MoireioError, match=r"x.gz: its compressed data is damaged or cut short"):
        list(lines(str(path)))
    (tmp_path / "y").write_bytes(b"a\0b")
    with pytest.raises(MoireioError, match="y: is binary"):
        list(lines(str(tmp_path / "y")))
    with pytest.raises(MissingFileError):
        list(lines(str(tmp_path / "absent")))
    with pytest.raises(MoireioError, match="is a folder"):
        list(lines(str(tmp_path)))
    assert first_bytes(str(tmp_path / "absent")) == b""


def test_files_beside(tmp_path):
    (tmp_path / "b.out.gz").write_bytes(b"")
    assert beside(str(tmp_path), "a.out", "b.out") == str(tmp_path / "b.out.gz")
    assert beside(str(tmp_path), "c.out") is None
