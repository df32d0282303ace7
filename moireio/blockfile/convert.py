"""Calculations of any code into block files, one or many."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

from moireio.blockfile.calculation import Calculation
from moireio.blockfile.checks import validate
from moireio.blockfile.reader import BlockFile, open_blockfile
from moireio.blockfile.stream import check_stdout, source_file, write_target
from moireio.blockfile.writer import BlockWriter
from moireio.errors import MoireioError, first_line
from moireio.operators.blocks import OperatorSource, residual_of
from moireio.operators.partners import CheckedView
from moireio.operators.views import stored_as
from moireio.runtime.processes import worker_pool
from moireio.runtime.progress import Progress
from moireio.runtime.threads import blas_threads, cores
from moireio.units import Constants

SUFFIX = {"h5": ".h5", "zarr": ".zarr", "zip": ".zarr.zip"}
SLAB_BYTES = 1 << 21  # small slabs stay in the processor's cache


@dataclass(frozen=True)
class Conversion:
    """How calculations become block files.

    Parameters
    ----------
    command : str
        Name of the command, for the history.
    operators : sequence of str, optional
        Which operators are taken; by default all that there are.
    storage : {"full", "upper"}, optional
        By default as they are. Operators of parity 0 are always full.
    precision : {"float32", "float64"}, optional
        By default as they are.
    container : {"h5", "zarr", "zip"}, optional
        By default that of the target's suffix.
    compression : {"none", "lzf", "gzip", "zstd"}
        How arrays are stored.
    force : bool
        Replace an existing target.
    arguments : sequence of str
        Command line, for the history.
    check : bool
        Check what is written, as `h5-validate` does: blocks as they pass, the rest before the
        file gets its name.
    """

    command: str
    operators: Sequence[str] | None = None
    storage: str | None = None
    precision: str | None = None
    container: str | None = None
    compression: str = "none"
    force: bool = False
    arguments: Sequence[str] = ()
    check: bool = False


def convert(
    calculation: Calculation,
    target: str,
    settings: Conversion,
    progress: Progress | None = None,
) -> list[str]:
    """Write a calculation into a block file, run by run of atoms.

    Parameters
    ----------
    calculation : Calculation
        From a reader of a format.
    target : str
        Block file to make; "-" is standard output.
    settings : Conversion
        Which operators, and how they are stored.
    progress : Progress, optional
        Called with bytes of blocks that were written, and those of all operators.

    Returns
    -------
    list of str
        What could not be verified.

    Raises
    ------
    MoireioError
        If an operator is absent or damaged; then nothing is written.
    """
    names = list(calculation.operators if settings.operators is None else settings.operators)
    sources = [calculation.operator(name) for name in names]
    views = [stored_as(source, settings.storage, settings.precision) for source in sources]
    if settings.check:
        views = [CheckedView(view, calculation.label) for view in views]
    # Threads of BLAS would only wait for each other: its products here are small.
    with ThreadPoolExecutor(1) as thread, blas_threads(1):
        # The digest reads the input once more, beside the conversion.
        digest = thread.submit(calculation.digest, names)
        with write_target(
            target,
            force=settings.force,
            container=settings.container,
            compression=settings.compression,
        ) as writer:
            if calculation.constants != Constants():
                writer.constants(calculation.constants)
            writer.structure(calculation.structure)
            writer.basis(calculation.basis)
            if calculation.moire is not None:
                writer.moire(calculation.moire)
            if calculation.electrons is not None:
                writer.electrons(calculation.electrons)
            if calculation.kpath is not None:
                writer.kpath(calculation.kpath)
            for group, arrays in calculation.extra.items():
                writer.extra(group, arrays)
            writer.operators(views, progress, SLAB_BYTES)
            notes = calculation.notes + _residual_notes(calculation, sources)
            if settings.check:
                notes += _findings(writer, names, calculation.label)
            inputs = [(os.path.basename(os.path.normpath(calculation.label)), digest.result())]
            writer.history(settings.command, settings.arguments, inputs, notes)
    return notes


def _findings(writer: BlockWriter, checked: Sequence[str], label: str) -> list[str]:
    """Return the remarks of a block file's checks; raise at the first error."""
    remarks = []
    for finding in validate(BlockFile(writer.container), checked=checked):
        text = f"{finding.where}: {finding.what}"
        if finding.level == "error":
            raise MoireioError(f"makes no valid block file: {text}", path=label)
        if not finding.where.startswith("/x_"):  # what was just written for another program
            remarks.append(text)
    return remarks


def _residual_notes(calculation: Calculation, sources: Sequence[OperatorSource]) -> list[str]:
    notes = []
    for source in sources:
        name, unit = source.meta.name, source.meta.unit
        residual = residual_of(source)
        if residual > calculation.usual_residual.get(name, float("inf")):
            value = f"{residual:.1e}" + ("" if unit == "1" else f" {unit}")
            notes.append(
                f"the {name} is {value} away from Hermitian, more than usual: is the file intact?"
            )
    return notes


Reader = Callable[..., contextlib.AbstractContextManager[Calculation]]


def convert_file(
    source: str,
    target: str,
    settings: Conversion,
    read: Reader,
    progress: Progress | None = None,
) -> list[str]:
    """Convert one file or folder.

    Parameters
    ----------
    source : str
        The file; "-" is standard input.
    target : str
        Block file to make; "-" is standard output.
    settings : Conversion
        Which operators, and how they are stored.
    read : callable
        Called with a path and `label`, the name for messages; returns an open `Calculation`.
    progress : Progress, optional
        As in `convert`.

    Returns
    -------
    list of str
        What could not be verified.

    Raises
    ------
    MoireioError
        If the file cannot be read, lacks an operator or is damaged; then nothing is written.
    """
    if target == "-":
        check_stdout()
    with source_file(source) as (path, label), read(path, label=label) as calculation:
        return convert(calculation, target, settings, progress)


@dataclass(frozen=True)
class Task:
    """One file of many.

    Parameters
    ----------
    source, target : str
        From and to.
    done : bool
        The target exists, is newer than the source, and holds the operators wanted.
    stale : bool
        The target exists, but is not done.
    """

    source: str
    target: str
    done: bool
    stale: bool


def plan_folder(
    sources: Sequence[str], folder: str, settings: Conversion, suffixes: Sequence[str] = ()
) -> list[Task]:
    """Choose the targets of several files.

    Parameters
    ----------
    sources : sequence of str
        The files.
    folder : str
        Where the block files go.
    settings : Conversion
        Its operators are those that a finished file must hold; with `force` no file is finished.
    suffixes : sequence of str
        Suffixes of the format, which are left out of the targets' names.

    Returns
    -------
    list of Task
        Named after the files; where two have the same name, after their folders too.

    Raises
    ------
    MoireioError
        If a file is named twice.
    """
    absolute = [os.path.abspath(s) for s in sources]
    if len(set(absolute)) < len(absolute):
        twice = next(s for s in absolute if absolute.count(s) > 1)
        raise MoireioError("is named twice", path=twice)
    stems = [os.path.basename(_without_suffix(s, suffixes)) for s in absolute]
    if len(set(stems)) < len(stems):
        top = os.path.commonpath([os.path.dirname(s) for s in absolute])
        stems = [os.path.relpath(_without_suffix(s, suffixes), top) for s in absolute]
    if len(set(stems)) < len(stems):
        twice = next(s for s in stems if stems.count(s) > 1)
        raise MoireioError("two files would go to the same name", path=twice)
    tasks = []
    for source, stem in zip(sources, stems, strict=True):
        target = os.path.join(folder, stem + SUFFIX[settings.container or "h5"])
        exists = os.path.lexists(target)
        fresh = exists and os.path.exists(source)
        fresh = fresh and os.path.getmtime(target) >= os.path.getmtime(source)
        fresh = fresh and _holds(target, settings.operators or ())
        done = fresh and not settings.force
        tasks.append(Task(source, target, done=done, stale=exists and not fresh))
    return tasks


def _without_suffix(path: str, suffixes: Sequence[str]) -> str:
    suffix = next((s for s in suffixes if path.lower().endswith(s.lower())), "")
    return path[: len(path) - len(suffix)]


def _holds(target: str, operators: Sequence[str]) -> bool:
    """Return whether a file is a block file with these operators."""
    try:
        with open_blockfile(target) as file:
            return set(operators) <= set(file.operators)
    except MoireioError:
        return False


def convert_all(
    tasks: Sequence[Task], settings: Conversion, read: Reader, jobs: int | None = None
) -> Iterator[tuple[Task, MoireioError | str | None, list[str]]]:
    """Convert many files in processes.

    Parameters
    ----------
    tasks : sequence of Task
        From `plan_folder`.
    settings : Conversion
        Which operators, and how they are stored. A stale target is replaced in any case.
    read : callable
        As in `convert_file`; must be picklable.
    jobs : int, optional
        Processes; by default one per core.

    Yields
    ------
    (Task, MoireioError or str or None, list of str)
        As they end: the task, what went wrong, the notes.
    """
    jobs = min(jobs or cores(), len(tasks) or 1)
    with worker_pool(jobs) as pool:
        futures = {}
        for task in tasks:
            os.makedirs(os.path.dirname(task.target) or ".", exist_ok=True)
            forced = replace(settings, force=settings.force or task.stale)
            future = pool.submit(convert_file, task.source, task.target, forced, read)
            futures[future] = task
        for future in as_completed(futures):
            try:
                yield futures[future], None, future.result()
            except MoireioError as error:
                yield futures[future], error, []
            except Exception as error:
                text = f"{futures[future].source}: {type(error).__name__}: {first_line(error)}"
                yield futures[future], text, []
