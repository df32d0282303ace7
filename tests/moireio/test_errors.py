"""Errors: one line, the base classes that callers expect, pickling."""

import errno
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moireio.errors import (
    DamagedError,
    ExistingFileError,
    MissingFileError,
    MoireioError,
    first_line,
    unreadable,
    unwritable,
)

CLASSES = [MoireioError, DamagedError, MissingFileError, ExistingFileError]


@pytest.mark.parametrize("cls", CLASSES)
@given(what=st.text(min_size=1), path=st.none() | st.text(min_size=1), remedy=st.none() | st.text())
def test_an_error_is_one_line_and_survives_pickling(cls, what, path, remedy):
    error = cls(what, path=path, remedy=remedy)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert (again.what, again.path, again.remedy) == (what, path, remedy)
    assert str(again) == str(error)
    assert len(str(error).splitlines()) <= 1
    assert isinstance(error, ValueError)


def test_the_line_names_file_and_remedy():
    error = MoireioError("is\ntoo long", path="a.h5", remedy="cut  it")
    assert str(error) == "a.h5: is too long (cut it)"
    assert error.args == ("is\ntoo long",)


@pytest.mark.parametrize(
    ("cls", "base", "number"),
    [
        (MissingFileError, FileNotFoundError, errno.ENOENT),
        (ExistingFileError, FileExistsError, errno.EEXIST),
    ],
)
def test_errors_of_files_are_those_of_the_system(cls, base, number):
    with pytest.raises(base) as caught:
        raise cls("stands there", path="a.h5")
    assert isinstance(caught.value, MoireioError)
    assert caught.value.filename == "a.h5"
    assert caught.value.errno == number
    assert str(caught.value) == "a.h5: stands there"


def test_a_missing_file_needs_no_text():
    assert str(MissingFileError(path="a.h5")) == "a.h5: no such file"


def test_unreadable_files(tmp_path):
    absent = tmp_path / "absent"
    with pytest.raises(FileNotFoundError) as caught:
        absent.read_text()
    error = unreadable(caught.value, absent, "look")
    assert isinstance(error, FileNotFoundError)
    assert str(error) == f"{absent}: no such file (look)"
    with pytest.raises(OSError) as caught:  # noqa: PT011 - any of the system's
        tmp_path.read_text()
    error = unreadable(caught.value, tmp_path)
    assert not isinstance(error, OSError)
    assert str(error) == f"{tmp_path}: cannot be read: Is a directory"
    assert str(unwritable(caught.value, "b")) == "b: cannot be written: Is a directory"
    assert str(unreadable(OSError("odd"), "b")) == "b: cannot be read: odd"


def _fail(number):
    raise MissingFileError(path=f"{number}.h5")


def test_a_worker_can_raise_them():
    with ProcessPoolExecutor(1) as pool, pytest.raises(MissingFileError, match=r"^3\.h5: no such"):
        pool.submit(_fail, 3).result()


def test_first_line():
    assert first_line(RuntimeError("\n  one\ntwo")) == "one"
    assert first_line(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_missing_sources_are_found_missing(tmp_path):
    import moireio

    with pytest.raises(FileNotFoundError), moireio.open(tmp_path / "absent.h5"):
        pass
