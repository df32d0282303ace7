"""Files of H(k) and S(k) at chosen k points.

H(k) = Σ_R e^{+2πi k·R} H(R), eV; rows are a block file's orbitals: atom after atom, for spinors all
up orbitals of an atom before its down ones, and S is then there for both spins. Four forms:

- ``npz``: one NumPy archive, ``k`` (nk, 3), ``H`` and ``S`` (nk, n, n), complex; with collinear
  spin ``H`` is (2, nk, n, n). Above `MOST_DENSE` rows instead ``H0_data``, ``H0_indices``,
  ``H0_indptr``, ``S0_data`` … of CSR matrices (data (2, nnz) with collinear spin) and ``shape``.
- ``mtx``: MatrixMarket, ``OUT.H.0000.mtx``, ``OUT.S.0000.mtx`` …, complex Hermitian: the lower
  triangle. With collinear spin ``OUT.H_up.0000.mtx`` and ``OUT.H_down.0000.mtx``.
- ``petsc``: PETSc's binary files for a build with complex numbers, ``OUT.H.0000.petsc`` …, with
  32-bit indices.
- ``petsc-real``: the same for a build with real numbers: H acts as a real matrix of 2n rows on (Re
  x₀, Im x₀, Re x₁, …), and every level is there twice.

The last three come with ``OUT.k.txt``, the k points, which forms of one OUT share: they must be the
same for all of them. S of an orthogonal basis is 1.
"""

from __future__ import annotations

import glob
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import ExistingFileError, MoireioError, unwritable
from moireio.operators.bloch import BlochSum
from moireio.runtime.files import require_free, write_whole
from moireio.runtime.progress import Progress
from moireio.runtime.replace import place
from moireio.runtime.workdirs import prefix_beside, work_folder
from moireio.solvers.petsc_file import write_matrix

FORMS = ("npz", "mtx", "petsc", "petsc-real")
MOST_DENSE = 4000
DIGITS = 17
TABLE = "k.txt"
_MATRIX = re.compile(r"\.(?:H|H_up|H_down|S)\.\d{4,}\.(?:mtx|petsc)")


def form_of(path: str, name: str | None = None) -> str:
    """Return the form of files that a user asks for.

    Parameters
    ----------
    path : str
        Name of the output.
    name : str, optional
        Name of the form, which comes before the suffix.

    Returns
    -------
    str
        One of `FORMS`.

    Raises
    ------
    MoireioError
        If it is none of them.
    """
    found = name or os.path.splitext(path)[1][1:].lower()
    if found not in FORMS:
        raise MoireioError(
            f"{name!r} is no form of matrices at k points"
            if name
            else "has no suffix of matrices at k points",
            path=None if name else path,
            remedy=f"use .npz, .mtx or .petsc, or name one of {', '.join(FORMS)}",
        )
    return found


def write(
    calculation: Calculation,
    k: npt.ArrayLike,
    path: str,
    *,
    form: str | None = None,
    force: bool = False,
    inputs: Iterable[str] = (),
    progress: Progress | None = None,
) -> list[str]:
    """Write H(k) and S(k), one k point after another.

    Parameters
    ----------
    calculation : Calculation
        With a Hamiltonian.
    k : (nk, 3) array
        Fractional coordinates.
    path : str
        The archive, or what the names of the files begin with; a suffix of the form is left out.
    form : {"npz", "mtx", "petsc", "petsc-real"}, optional
        By default that of the suffix.
    force : bool
        Replace existing files.
    inputs : iterable of str
        Files that were read, which are not replaced.
    progress : Progress, optional
        Called with k points that were written, and all of them; H and S are counted together.

    Returns
    -------
    list of str
        Notes for the user.

    Raises
    ------
    MoireioError
        If files exist already or cannot be written, or if others of this name are there, which
        belong to other k points. Then nothing is written.
    """
    form = form_of(path, form)
    points = np.asarray(k, dtype=np.float64).reshape(-1, 3)
    sums, notes = _sums(calculation)
    steps = _Steps(progress, len(points) * len(sums))
    if form == "npz":
        require_free(path, force=force, inputs=inputs)
        with write_whole(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            _write_npz(archive, points, sums, steps)
        return notes
    suffix = "petsc" if form == "petsc-real" else form
    stem = path.removesuffix(f".{suffix}")
    if not os.path.basename(stem):
        raise MoireioError("is no name of files", path=path)
    numbers = [f"{number:04d}.{suffix}" for number in range(len(points))]
    names = [f"{letter}.{number}" for letter in _letters(sums) for number in numbers]
    table = _table(points)
    kept = _table_is(f"{stem}.{TABLE}", table)
    names += [] if kept else [TABLE]
    require_free(*(f"{stem}.{name}" for name in names), force=force, inputs=inputs)
    _require_no_others(stem, set(names), suffix if kept else None)
    _write_files(stem, names, force, _writer(form, points, sums, table, steps))
    return notes


def _table(points: npt.NDArray[np.float64]) -> str:
    """Return the text of OUT.k.txt."""
    rows = "\n".join(" ".join(map(repr, k)) for k in points.tolist())
    return "# k1 k2 k3, fractional, one line for each file\n" + rows + "\n"


def _table_is(path: str, table: str) -> bool:
    """Return whether a file holds these k points already, as another form left it."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read(len(table) + 1) == table
    except (OSError, UnicodeDecodeError):
        return False


def _require_no_others(stem: str, names: set[str], suffix: str | None) -> None:
    """Refuse where matrices are left that are not of these k points; `suffix` alone counts."""
    for path in sorted(glob.glob(f"{glob.escape(stem)}.*.{suffix or '*'}")):
        end = path.removeprefix(stem)
        if _MATRIX.fullmatch(end) is not None and end[1:] not in names:
            raise ExistingFileError(
                f"is of another run, to whose k points {stem}.{TABLE} would not belong",
                path=path,
                remedy="remove the matrices of that run, or name another output",
            )


Sums = dict[str, list[Callable[[npt.NDArray[np.float64], bool], Any]]]


class _Steps:
    """Counts matrices."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total = progress, total

    def __call__(self) -> None:
        if self._progress is not None:
            self._progress(1, self._total)


def _sums(calculation: Calculation) -> tuple[Sums, list[str]]:
    """Return functions of k that give H (of each spin) and S, and notes."""
    from scipy.sparse import eye_array

    source = calculation.hamiltonian
    spinor = source.meta.spin == "spinor"
    channels = [BlochSum.from_source(source, component=c) for c in range(source.meta.components)]

    def at(one: BlochSum) -> Callable[[npt.NDArray[np.float64], bool], Any]:
        return lambda k, dense: one.dense(k) if dense else one.csr(k)

    sums: Sums = {"H": [at(one) for one in channels]}
    rows = channels[0].n_orbitals
    if calculation.overlap is not None:
        sums["S"] = [at(BlochSum.from_source(calculation.overlap, spinor=spinor))]
    elif calculation.basis.orthogonal:
        sums["S"] = [lambda k, dense: np.eye(rows) if dense else eye_array(rows, format="csr")]
    else:
        return sums, ["S is not known: there is H alone"]
    return sums, []


def _letters(sums: Sums) -> list[str]:
    """Return the names of the matrices: H or H_up and H_down, S."""
    names = ["H"] if len(sums["H"]) == 1 else ["H_up", "H_down"]
    return [*names, *(["S"] if "S" in sums else [])]


def _write_npz(
    archive: zipfile.ZipFile, points: npt.NDArray[np.float64], sums: Sums, steps: _Steps
) -> None:
    """Write one array after another; dense ones k by k."""
    _member(archive, "k", points.dtype, points.shape, iter([points]))
    rows = sums["H"][0](points[0], False).shape[0]
    for letter, channels in sums.items():
        if rows <= MOST_DENSE:
            shape: tuple[int, ...] = (len(points), rows, rows)
            shape = (2, *shape) if len(channels) == 2 else shape

            def matrices(one_each: Any = channels) -> Iterator[npt.NDArray[Any]]:
                for channel in one_each:
                    for k in points:
                        yield channel(k, True).astype(np.complex128)
                        if channel is one_each[0]:
                            steps()

            _member(archive, letter, np.dtype(np.complex128), shape, matrices())
            continue
        for number, k in enumerate(points):
            found = [channel(k, False) for channel in channels]
            data = np.array([one.data for one in found], dtype=np.complex128)
            arrays = {
                "data": data if len(found) == 2 else data[0],
                "indices": found[0].indices,
                "indptr": found[0].indptr,
            }
            for name, array in arrays.items():
                full = f"{letter}{number}_{name}"
                _member(archive, full, array.dtype, array.shape, iter([array]))
            steps()
    if rows > MOST_DENSE:
        shape_of = np.array([rows, rows])
        _member(archive, "shape", shape_of.dtype, shape_of.shape, iter([shape_of]))


def _member(
    archive: zipfile.ZipFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    parts: Iterator[npt.NDArray[Any]],
) -> None:
    """Write an array of an archive part by part."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": shape,
        }
        np.lib.format.write_array_header_1_0(stream, header)
        for part in parts:
            stream.write(memoryview(np.ascontiguousarray(part)).cast("B"))


def _writer(
    form: str, points: npt.NDArray[np.float64], sums: Sums, table: str, steps: _Steps
) -> Callable[[str], None]:
    """Return a function that writes all files into a folder."""

    def write_all(folder: str) -> None:
        with open(os.path.join(folder, TABLE), "w", encoding="utf-8") as stream:
            stream.write(table)
        channels = [channel for listed in sums.values() for channel in listed]
        for number, k in enumerate(points):
            for letter, channel in zip(_letters(sums), channels, strict=True):
                suffix = "petsc" if form == "petsc-real" else form
                target = os.path.join(folder, f"{letter}.{number:04d}.{suffix}")
                matrix = channel(k, False).astype(np.complex128)
                if form == "mtx":
                    unit = "1" if letter == "S" else "eV"
                    with open(target, "wb") as binary:
                        _write_mtx(binary, matrix, f"{letter}(k), {unit}, k = {k.tolist()}")
                else:
                    write_matrix(target, matrix, form == "petsc-real")
                if not letter.endswith("_down"):
                    steps()

    return write_all


def _write_mtx(stream: IO[bytes], matrix: Any, comment: str) -> None:
    from scipy.io import mmwrite

    mmwrite(stream, matrix, comment, field="complex", precision=DIGITS, symmetry="hermitian")


def _write_files(
    stem: str, names: list[str], force: bool, write_all: Callable[[str], None]
) -> None:
    """Make files beside their targets, then give them their names."""
    targets = [f"{stem}.{name}" for name in names]
    real = os.path.realpath(stem)
    try:
        with work_folder(prefix_beside(real), os.path.dirname(real)) as work:
            write_all(work)
            for name, target in zip(names, targets, strict=True):
                place(os.path.join(work, name), os.path.realpath(target), force=force)
    except FileExistsError as error:
        raise ExistingFileError("exists already", path=error.filename or stem) from error
    except OSError as error:
        if isinstance(error, MoireioError):
            raise
        raise unwritable(error, stem) from error
