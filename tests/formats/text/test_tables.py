"""Tables of numbers in text files."""

import bz2
import gzip
import lzma

import numpy as np
import pytest

from moireio.errors import DamagedError, MissingFileError, MoireioError
from moireio.formats.text import tables
from moireio.formats.text.tables import NumberFile


def whole(path, count, columns):
    """All numbers of a table that begins with the first line."""
    with NumberFile(str(path)) as file:
        runs = [run.columns(0, columns) for run in file.rows(count, columns, "numbers")]
    return np.concatenate(runs)


@pytest.mark.parametrize("layout", ["%8.3f %6d\n", "%g\t%d \n", " %.3f  %d\r\n"])
@pytest.mark.parametrize("piece", [100, 1 << 20])
def test_any_layout_and_any_piece(tmp_path, monkeypatch, layout, piece):
    monkeypatch.setattr(tables, "PIECE", piece)
    values = np.column_stack([np.round(np.random.default_rng(1).normal(size=500), 3), range(500)])
    path = tmp_path / "table"
    path.write_bytes("".join(layout % tuple(row) for row in values).encode())
    np.testing.assert_array_equal(whole(path, 500, 2), values)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files(tmp_path, compress):
    path = tmp_path / "table"
    path.write_bytes(compress(b"1 2\n3 4\n"))
    np.testing.assert_array_equal(whole(path, 2, 2), [[1, 2], [3, 4]])
    path.write_bytes(compress(b"1 2\n" * 1000)[:-12])
    with pytest.raises(DamagedError, match="cut short"):
        whole(path, 1000, 2)


def test_blank_lines_do_not_count_and_no_end_of_line_is_needed(tmp_path):
    path = tmp_path / "table"
    path.write_text("\n1 2\n\n  \n3 4\n5 6")
    np.testing.assert_array_equal(whole(path, 3, 2), [[1, 2], [3, 4], [5, 6]])


def test_numbers_of_fortran_and_columns_that_touch(tmp_path):
    path = tmp_path / "table"
    path.write_text("1.5D+01 2 ! a comment\n1d0 3\n")
    np.testing.assert_array_equal(whole(path, 2, 2), [[15, 2], [1, 3]])
    path.write_text("    1    2\n-100010000\n" * 100)
    np.testing.assert_array_equal(whole(path, 200, 2), [[1, 2], [-1000, 10000]] * 100)


@pytest.mark.parametrize("text", [b"", b"1 2\n", b"1 2"])
def test_the_end_of_the_file(tmp_path, text):
    path = tmp_path / "table"
    path.write_bytes(text)
    with NumberFile(str(path)) as file:
        if text:
            next(file.rows(1, 2, "numbers"))
        file.skip_blank()
        assert file.at_end
        with pytest.raises(DamagedError, match="cut short"):
            next(file.rows(1, 2, "numbers"))
        assert list(file.words("numbers")) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2\n3 x\n", "line 2: numbers expected, found '3 x'"),
        ("1 2\n3\n", "line 2"),
        ("1 2\n3 4 5\n", "line 2"),
        ("1 2\n3 nan\n", "line 2"),
        ("1 2\n", "ends where numbers, 2 lines of which 1 are there"),
    ],
)
def test_damage_is_named(tmp_path, text, words):
    path = tmp_path / "table"
    path.write_text(text)
    with pytest.raises(DamagedError, match=words):
        whole(path, 2, 2)


def test_header_lines(tmp_path):
    path = tmp_path / "table"
    path.write_text("a comment\n 4 ! functions\n1 2 3\n x\n")
    with NumberFile(str(path)) as file:
        assert file.line("a comment") == "a comment"
        assert file.whole("a count", 1) == [4]
        assert file.whole("counts") == [1, 2, 3]
        with pytest.raises(DamagedError, match="line 4: a count expected, found 'x'"):
            file.whole("a count", 1)
        with pytest.raises(DamagedError, match="announces 9 of these"):
            file.require_room(100, 7, "9 of these")


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(MoireioError, match="is a folder"):
        NumberFile(str(tmp_path))
    with pytest.raises(MissingFileError):
        NumberFile(str(tmp_path / "absent"))
    (tmp_path / "long").write_bytes(b"1" * (3 << 20))
    with NumberFile(str(tmp_path / "long")) as file, pytest.raises(DamagedError, match="no end"):
        file.line("a comment")
