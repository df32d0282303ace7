"""CP2K's CSR files: one matrix each, in a folder or in an archive.

Layout: ``PROJECT-KS_SPIN_1_R_7-1_0.csr`` holds lines with row, column (from 1) and value in
Hartree, elements below a threshold left out; an empty file is a zero matrix. 1 is the spin, 7 the
number of the cell, whose table is in the output, and 1_0 the step. Binary files (``BINARY T``) hold
the same as Fortran records. Calculations at Γ alone have no ``_R_7``.
"""

from __future__ import annotations

import contextlib
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MissingFileError, MoireioError, first_line
from moireio.formats.structures.text import COMPRESSED, plain_name
from moireio.formats.text.streams import opened
from moireio.formats.text.tables import NumberFile

NAME = re.compile(
    r"(?P<project>.+)-(?P<matrix>KS|S)_SPIN_(?P<spin>[12])(?:_(?P<of>[RK])_(?P<cell>\d{1,6}))?"
    r"(?:-(?P<step>\d+(?:_\d+)*))?\.csr"
)
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
#: Where the search for CSR files in any archive ends: members, and bytes of one.
MOST_LOOKED_AT, LARGE = 1000, 64 << 20
RECORD = np.dtype(
    [("before", "<i4"), ("row", "<i4"), ("column", "<i4"), ("value", "<f8"), ("after", "<i4")]
)

Elements = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]


@dataclass(eq=False)
class CsrFiles:
    """The matrices of one step of one calculation.

    Parameters
    ----------
    place : str
        The folder or the archive.
    project : str
        Beginning of the names.
    step : str
        End of the names.
    steps : int
        How many steps there are, of which this is the last.
    members : dict of (str, int, int) to str
        Path or member of each file by matrix ("KS", "S"), spin (from 1) and number of the cell
        (from 1; 0 for calculations at Γ alone).
    of_k : bool
        Whether the files are of k points instead of cells.
    """

    place: str
    project: str
    step: str
    steps: int
    members: dict[tuple[str, int, int], str] = field(default_factory=dict)
    of_k: bool = False

    def numbers(self, matrix: str, spin: int) -> list[int]:
        """Return the numbers of the cells of which there are files, ascending."""
        return sorted(c for m, s, c in self.members if (m, s) == (matrix, spin))

    def read(self, rows: int) -> dict[tuple[str, int, int], Elements]:
        """Read all files.

        Parameters
        ----------
        rows : int
            Orbitals of the cell.

        Returns
        -------
        dict of (str, int, int) to (row, column, value)
            From 0, Hartree.

        Raises
        ------
        MoireioError
            With the file and line that cannot be read.
        """
        found = {}
        wanted = {member: key for key, member in self.members.items()}
        for name, stream in _streams(self.place, list(wanted)):
            found[wanted[name]] = read_matrix(stream, os.path.join(self.place, name), rows)
        return found


def read_matrix(stream: BinaryIO, label: str, rows: int) -> Elements:
    """Read one file.

    Parameters
    ----------
    stream : binary file
        Text or Fortran records.
    label : str
        Its name, for messages.
    rows : int
        Orbitals of the cell.

    Returns
    -------
    row, column : (n,) arrays of int64
        From 0.
    value : (n,) array
        In the unit of the file.

    Raises
    ------
    MoireioError
        If a line is none of three numbers, or an orbital is out of range.
    """
    start = stream.read(4)
    if start == b"\x10\0\0\0":
        raw = start + stream.read(RECORD.itemsize * rows * rows + 1)
        if len(raw) % RECORD.itemsize:
            raise DamagedError("is cut short", path=label)
        records = np.frombuffer(raw, dtype=RECORD)
        if ((records["before"] != 16) | (records["after"] != 16)).any():
            raise DamagedError("is binary, but not of rows, columns and real values", path=label)
        row, column, value = (records[name] for name in ("row", "column", "value"))
        if not np.isfinite(value).all():
            raise DamagedError("has a number that is not finite", path=label)
    else:
        if b"\0" in start:
            raise DamagedError("is neither text nor Fortran records", path=label)
        text = NumberFile(label, _Rejoined(start, stream))
        table = text.rest(3, rows * rows, "row, column and value")
        row, column, value = table.T
    if len(value) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    indices = np.stack([row, column])
    wrong = ((indices < 1) | (indices > rows) | (indices != np.round(indices))).any(axis=0)
    if wrong.any():
        line = int(np.flatnonzero(wrong)[0])
        raise DamagedError(
            f"line {line + 1}: orbitals {row[line]:g} and {column[line]:g}, integers of 1 to "
            f"{rows} expected",
            path=label,
            remedy="it is damaged, or the output is of another calculation",
        )
    flat = (row.astype(np.int64) - 1) * rows + column.astype(np.int64) - 1
    if len(np.unique(flat)) < len(flat):
        raise DamagedError("holds an element twice", path=label)
    return row.astype(np.int64) - 1, column.astype(np.int64) - 1, np.ascontiguousarray(value)


class _Rejoined:
    """A stream whose first bytes were read already."""

    def __init__(self, start: bytes, stream: BinaryIO) -> None:
        self._start, self._stream = start, stream

    def read(self, size: int = -1) -> bytes:
        start, self._start = self._start, b""
        return start + self._stream.read(size)


def is_archive(path: str) -> bool:
    """Return whether a file is an archive, by its name."""
    return path.lower().endswith(ARCHIVES) and os.path.isfile(path)


def has_matrices(path: str) -> bool:
    """Return whether an archive or a folder holds CSR files.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    bool
        False also for what cannot be read.
    """
    if not (os.path.isdir(path) or is_archive(path)):
        return False
    try:
        for count, name in enumerate(_looked_at(path)):
            if NAME.fullmatch(plain_name(name)):
                return True
            if count == MOST_LOOKED_AT:
                break
    except MoireioError:
        pass
    return False


def find_matrices(places: Sequence[str], project: str, label: str) -> CsrFiles:
    """Return the matrices of a calculation.

    Parameters
    ----------
    places : sequence of str
        Folders, archives and files among which they are; the first that has some counts.
    project : str
        The project that CP2K's output names; empty if it names none.
    label : str
        The output, for messages.

    Returns
    -------
    CsrFiles
        Those of the last step.

    Raises
    ------
    MoireioError
        If there are none, or only those of other projects.
    """
    for place in places:
        if os.path.isdir(place) or is_archive(place):
            names = [name for name in _names(place) if NAME.fullmatch(plain_name(name))]
            if names:
                return _chosen(place, names, project)
    files = [p for p in places if os.path.isfile(p) and NAME.fullmatch(plain_name(p))]
    if files:
        return _chosen("", files, project)
    raise MissingFileError(
        "has no CSR files beside it, as PROJECT-KS_SPIN_1_R_1-1_0.csr",
        path=label,
        remedy="they are written with &KS_CSR_WRITE and &S_CSR_WRITE, REAL_SPACE T; name their "
        "folder or .tar.gz in `companions`",
    )


def _chosen(place: str, names: Sequence[str], project: str) -> CsrFiles:
    """Return the files of a project and of its last step."""
    parsed = [(name, NAME.fullmatch(plain_name(name))) for name in names]
    matches = [(name, match) for name, match in parsed if match is not None]
    projects = sorted({match["project"] for _, match in matches})
    if project not in projects:
        if len(projects) > 1:
            raise MoireioError(
                f"holds CSR files of {len(projects)} projects: {', '.join(projects)[:80]}",
                path=place or names[0],
                remedy=f"the output is of project {project}",
            )
        project = projects[0]
    mine = [(name, match) for name, match in matches if match["project"] == project]
    steps = sorted({match["step"] or "" for _, match in mine}, key=_step)
    found = CsrFiles(place, project, steps[-1], len(steps))
    for name, match in mine:
        if (match["step"] or "") != found.step:
            continue
        found.of_k |= match["of"] == "K"
        key = match["matrix"], int(match["spin"]), int(match["cell"] or 0)
        if key in found.members:
            raise MoireioError(
                f"holds {os.path.basename(name)} twice", path=place or name, remedy="remove one"
            )
        found.members[key] = name
    return found


def _step(text: str) -> list[int]:
    return [int(number[:9]) for number in text.split("_") if number]


def _names(place: str) -> list[str]:
    """Return the names in a folder, or those of the files in an archive."""
    if os.path.isdir(place):
        return sorted(os.listdir(place))
    with _archive(place) as archive:
        return [member.name for member in archive if member.isfile()]


def _looked_at(place: str) -> Iterator[str]:
    """Yield the names in a folder, or the first ones in an archive, up to a large file."""
    if os.path.isdir(place):
        yield from os.listdir(place)
        return
    with _archive(place) as archive:
        for member in archive:
            yield member.name
            if member.size > LARGE:
                return


def _streams(place: str, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield files of a folder or an archive, each opened."""
    if not is_archive(place):
        for name in names:
            with opened(os.path.join(place, name)) as stream:
                yield name, stream
        return
    wanted = set(names)
    with _archive(place, whole=True) as archive:
        for member in archive:
            if not member.isfile() or member.name not in wanted:
                continue
            wanted.discard(member.name)
            stream = archive.extractfile(member)
            assert stream is not None
            suffix = os.path.splitext(member.name)[1].lower()
            with COMPRESSED[suffix](stream) if suffix in COMPRESSED else stream as text:
                yield member.name, text


@contextlib.contextmanager
def _archive(path: str, whole: bool = False) -> Iterator[tarfile.TarFile]:
    """Open an archive; where it is read as a whole, to the checksum of its compression."""
    with opened(path) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                yield archive
            while whole and stream.read(1 << 20):
                pass
        except tarfile.TarError as error:
            raise DamagedError(
                f"is an archive that cannot be read: {first_line(error)}",
                path=path,
                remedy="it is damaged or cut short; make it again",
            ) from error
