"""Small files of DeepH's folders, read within bounds."""

import json
import os
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MissingFileError, MoireioError, first_line
from moireio.formats.structures.text import read_text
from moireio.formats.text.streams import beside, expanded, opened

if TYPE_CHECKING:
    import h5py

SETTINGS_BYTES = 1 << 24
NUMBER = 1e6  # Å, and more than any number of these tables


def file_in(folder: str, name: str) -> str:
    """Return the path of a file of a folder, compressed or not.

    Parameters
    ----------
    folder : str
        The folder.
    name : str
        Name of the file as it is when it is not compressed.

    Returns
    -------
    str
        That of the compressed file where there is no other; the plain one where there is none.
    """
    return beside(folder, name) or os.path.join(folder, name)


def read_json(path: str, kind: type = dict) -> Any:
    """Read a JSON file of settings.

    Parameters
    ----------
    path : str
        The file.
    kind : type
        dict or list: what it holds.

    Returns
    -------
    dict or list
        Its contents.

    Raises
    ------
    MoireioError
        If it is absent, too large, or no JSON of that kind.
    """
    if not os.path.isfile(path):
        raise MissingFileError(path=path)
    with opened(path) as stream:
        raw = stream.read(SETTINGS_BYTES + 1)
    if len(raw) > SETTINGS_BYTES:
        what = f"has more than {SETTINGS_BYTES >> 20} MiB, too much for settings"
        raise MoireioError(what, path=path)
    try:
        value = json.loads(raw)
    except RecursionError as error:
        raise MoireioError("is not JSON that can be read: nested too deeply", path=path) from error
    except ValueError as error:
        raise MoireioError(f"is not JSON: {first_line(error)}", path=path) from error
    if not isinstance(value, kind):
        expected = {dict: "an object, { … }", list: "a list, [ … ]"}[kind]
        raise MoireioError(f"holds {_shown(value)}, {expected} expected", path=path)
    return value


def flag(info: dict[str, Any], name: str, path: str) -> bool | None:
    """Return a setting that is true or false.

    Parameters
    ----------
    info : dict
        Settings.
    name : str
        Its name.
    path : str
        Their file, for messages.

    Returns
    -------
    bool or None
        None where there is none.

    Raises
    ------
    MoireioError
        If it is neither.
    """
    value = info.get(name)
    if value is None or isinstance(value, bool):
        return value
    if value in (0, 1) and not isinstance(value, str):
        return bool(value)
    raise MoireioError(f"{name} is {_shown(value)}, true or false expected", path=path)


def energy(info: dict[str, Any], name: str, path: str) -> float | None:
    """Return a setting that is an energy.

    Parameters
    ----------
    info : dict
        Settings.
    name : str
        Its name.
    path : str
        Their file, for messages.

    Returns
    -------
    float or None
        eV; None where there is none.

    Raises
    ------
    MoireioError
        If it is no number, or none that is an energy.
    """
    value = info.get(name)
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not abs(value) < NUMBER:  # NaN is not below it either
        raise MoireioError(f"{name} is {_shown(value)}, an energy in eV expected", path=path)
    return float(value)


def read_table(path: str) -> list[npt.NDArray[np.float64]]:
    """Read a table of numbers.

    Parameters
    ----------
    path : str
        A text file; what follows a # is a comment.

    Returns
    -------
    list of (n,) arrays
        The numbers of each line that has some.

    Raises
    ------
    MoireioError
        If it is absent, too large, or has what is no finite number.
    """
    rows = []
    for number, words in table_lines(path):
        try:
            row = np.array([float(word) for word in words])
        except ValueError:
            row = np.array([np.nan])
        if not (np.abs(row) <= NUMBER).all():
            wrong = next(word for word in words if not _fits(word))
            raise MoireioError(
                f"line {number}: {_shown(wrong)} is no number up to {NUMBER:.0e}", path=path
            )
        rows.append(row)
    return rows


def table_lines(path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of a table that are not empty.

    Parameters
    ----------
    path : str
        A text file; what follows a # is a comment.

    Yields
    ------
    number : int
        Number of the line, from 1.
    words : list of str
        Its words.
    """
    if not os.path.isfile(path):
        raise MissingFileError(path=path)
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            yield number, words


def require(
    rows: list[npt.NDArray[np.float64]], shape: tuple[int, int], path: str, meaning: str
) -> npt.NDArray[np.float64]:
    """Return a table as an array.

    Parameters
    ----------
    rows : list of arrays
        From `read_table`.
    shape : (int, int)
        Lines, and numbers in each.
    path : str
        Its file, for messages.
    meaning : str
        What the table is, for messages.

    Returns
    -------
    array
        The same numbers.

    Raises
    ------
    MoireioError
        If it has another.
    """
    n, m = shape
    if len(rows) != n:
        raise MoireioError(f"has {len(rows)} lines, {n} expected: {meaning}", path=path)
    for number, row in enumerate(rows, 1):
        if len(row) != m:
            raise MoireioError(
                f"line {number} has {len(row)} numbers, {m} expected: {meaning}", path=path
            )
    return np.array(rows)


@contextmanager
def open_hdf5(path: str) -> "Iterator[h5py.File]":
    """Open an HDF5 file, compressed or not; what h5py finds wrong becomes a `MoireioError`.

    Parameters
    ----------
    path : str
        The file.

    Yields
    ------
    h5py.File
        Open for reading.

    Raises
    ------
    MoireioError
        If it is absent, not HDF5, or damaged.
    """
    import h5py

    if not os.path.isfile(path):
        raise MissingFileError(path=path)
    image = expanded(path)
    if image is None and path.startswith("/proc/self/fd/"):  # of a pipe: HDF5 looks for a real path
        with open(path, "rb") as stream:
            image = stream.read()
    try:
        file = h5py.File(path if image is None else h5py.h5f.open_file_image(image), "r")
    except (OSError, RuntimeError, ValueError) as error:  # ValueError: of an image
        text = first_line(error)
        if "truncated" in text:
            raise DamagedError("is cut short", path=path, remedy="make it again") from error
        what = f"is not an HDF5 file that can be read: {text}"
        raise MoireioError(what, path=path) from error
    with file:
        try:
            yield file
        except (MoireioError, MemoryError):
            raise
        except Exception as error:  # h5py raises whatever a damaged file makes it
            raise DamagedError(
                f"cannot be read: {first_line(error)}",
                path=path,
                remedy="the file is damaged; make it again",
            ) from error


def _fits(word):
    try:
        return abs(float(word)) <= NUMBER
    except ValueError:
        return False


def _shown(value):
    return reprlib.repr(value)
