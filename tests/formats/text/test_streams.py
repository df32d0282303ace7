"""Files of other programs, compressed or not."""

import bz2
import gzip
import lzma

import pytest

from moireio.errors import MissingFileError, MoireioError
from moireio.formats.foreign import describe_file
from moireio.formats.structures.text import read_text
from moireio.formats.text.streams import beside, expanded, first_bytes, lines
from moireio.formats.text.tables import NumberFile


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


def test_a_byte_order_mark_is_no_text(tmp_path):
    """Editors on Windows begin a file with it; numbers could not be read then."""
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbf1 2\n3 4\n")
    assert list(lines(str(path))) == ["1 2", "3 4"]
    assert read_text(str(path)) == "1 2\n3 4\n"
    with NumberFile(str(path)) as file:
        assert file.line("numbers") == "1 2"
    path.write_bytes(b"\xef\xbb\xbf&TB_FILE\n")
    assert describe_file(str(path)) == "an input of WannierTools"
