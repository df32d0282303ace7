"""From OpenMX's ``.scfout`` to a block file."""

import os
import threading
from concurrent.futures import as_completed
from dataclasses import dataclass

import numpy as np

from moireio.blockfile.reader import open_blockfile
from moireio.blockfile.stream import check_stdout, source_file, write_target
from moireio.errors import MoireioError, first_line
from moireio.formats.openmx import scfout
from moireio.operators.views import CastView, UpperView
from moireio.results.kpath import KPathSegments
from moireio.runtime.processes import worker_pool

SUFFIX = {"h5": ".h5", "zarr": ".zarr", "zip": ".zarr.zip"}
SLAB_BYTES = 1 << 20


def convert(
    source,
    target,
    *,
    operators=("hamiltonian", "overlap"),
    storage=None,
    precision=None,
    container=None,
    compression="none",
    dat=None,
    check_coordinates=True,
    force=False,
    arguments=(),
    progress=None,
):
    """Convert one ``.scfout``.

    Parameters
    ----------
    source : str
        The ``.scfout``; "-" is standard input.
    target : str
        Block file to make; "-" is standard output.
    operators : sequence of str
        Which operators to take.
    storage : {"full", "upper"}, optional
        By default full. Position matrices always are.
    precision : {"float32", "float64"}, optional
        By default float64.
    container : {"h5", "zarr", "zip"}, optional
        By default told from the target's name.
    compression : str
        How arrays are stored.
    dat : str, optional
        OpenMX input file, where the ``.scfout`` carries none.
    check_coordinates : bool
        Compare the coordinates with those of the input text.
    force : bool
        Replace an existing target.
    arguments : sequence of str
        For the history.
    progress : Progress, optional
        Called with bytes of blocks that were written, and those of all operators.

    Returns
    -------
    list of str
        What could not be verified.

    Raises
    ------
    MoireioError
        If the file is damaged or lacks something; then nothing is written.
    """
    if target == "-":
        check_stdout()
    with (
        source_file(source) as (path, label),
        scfout.read(path, dat, check_coordinates, label) as file,
    ):
        sources = [file.operator(name) for name in operators]
        # The digest reads the file once more, on its own thread and without the lock.
        digest = _Background(file.digest, operators)
        with write_target(
            target, force=force, container=container, compression=compression
        ) as writer:
            writer.structure(file.structure)
            writer.basis(file.basis)
            writer.electrons(file.electrons)
            if file.kpath:
                points = np.array([[start, end] for _, start, end, _ in file.kpath])
                labels = tuple(ends for *_, ends in file.kpath)
                counts = np.array([count for count, *_ in file.kpath])
                writer.kpath(KPathSegments(points, labels, counts))
            views = [_Recorded(operator, storage, precision) for operator in sources]
            writer.operators(views, progress, SLAB_BYTES)
            name = os.path.basename(label)
            writer.history("openmx2h5", arguments, [(name, digest.result())])
        return file.warnings + [_residual_note(s) for s in sources if s.residual > usual(s)]


def usual(operator):
    """Return how far matrices of OpenMX are from their partner rule at most, in good files.

    Parameters
    ----------
    operator : ScfoutOperator
        Which.

    Returns
    -------
    float
        About ten times the largest seen, in the operator's unit.
    """
    return scfout.LIMITS[operator.meta.name] * 1e-3 if operator.meta.parity > 0 else float("inf")


def _residual_note(operator):
    unit = "" if operator.meta.unit == "1" else f" {operator.meta.unit}"
    return (
        f"the {operator.meta.name} is {operator.residual:.1e}{unit} away from Hermitian, more than "
        "OpenMX's usually are: is the file intact?"
    )


class _Recorded:
    """An operator in the storage and precision asked for, with the residual of the original."""

    def __init__(self, operator, storage, precision):
        self._operator = view = operator
        if storage == "upper" and operator.meta.parity:
            view = UpperView(view)
        if precision == "float32":
            view = CastView(view, precision)
        self._view = view
        self.meta, self.pairs, self.sizes = view.meta, view.pairs, view.sizes

    @property
    def residual(self):
        return self._operator.residual

    def rows(self, i0, i1):
        return self._view.rows(i0, i1)


class _Background:
    """A function's result, computed on another thread."""

    def __init__(self, function, *args):
        self._value = self._error = None
        self._thread = threading.Thread(target=self._run, args=(function, args), daemon=True)
        self._thread.start()

    def _run(self, function, args):
        try:
            self._value = function(*args)
        except Exception as error:
            self._error = error

    def result(self):
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value


@dataclass(frozen=True)
class Task:
    """One file of many.

    Parameters
    ----------
    source, target : str
        From and to.
    done : bool
        The target exists, is newer than the source, and holds what is asked for.
    stale : bool
        The target exists, but is not done.
    """

    source: str
    target: str
    done: bool
    stale: bool


def plan_folder(sources, folder, container="h5", force=False, operators=()):
    """Choose the targets of several files.

    Parameters
    ----------
    sources : sequence of str
        The ``.scfout`` files.
    folder : str
        Where the block files go.
    container : {"h5", "zarr", "zip"}
        What they are.
    force : bool
        Convert again what is done.
    operators : sequence of str
        What a finished file must hold.

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
    stems = [os.path.splitext(os.path.basename(s))[0] for s in absolute]
    if len(set(stems)) < len(stems):
        top = os.path.commonpath([os.path.dirname(s) for s in absolute])
        stems = [os.path.splitext(os.path.relpath(s, top))[0] for s in absolute]
    if len(set(stems)) < len(stems):
        twice = next(s for s in stems if stems.count(s) > 1)
        raise MoireioError("two files would go to the same name", path=twice)
    tasks = []
    for source, stem in zip(sources, stems, strict=True):
        target = os.path.join(folder, stem + SUFFIX[container])
        exists = os.path.lexists(target)
        fresh = exists and os.path.exists(source)
        fresh = fresh and os.path.getmtime(target) >= os.path.getmtime(source)
        fresh = fresh and _holds(target, operators)
        tasks.append(Task(source, target, done=fresh and not force, stale=exists and not fresh))
    return tasks


def _holds(target, operators):
    """Tell whether a file is a block file with these operators."""
    try:
        with open_blockfile(target) as file:
            return set(operators) <= set(file.operators)
    except MoireioError:
        return False


def convert_all(tasks, jobs=None, **settings):
    """Convert many files in processes.

    Parameters
    ----------
    tasks : sequence of Task
        What to convert.
    jobs : int, optional
        Processes; by default one per core.
    **settings : dict
        As of `convert`.

    Yields
    ------
    (Task, MoireioError or str or None, list of str or None)
        As they end: the task, what went wrong, the notes.
    """
    jobs = min(jobs or os.cpu_count() or 1, len(tasks) or 1)
    force = settings.pop("force", False)
    with worker_pool(jobs) as pool:
        futures = {}
        for task in tasks:
            os.makedirs(os.path.dirname(task.target) or ".", exist_ok=True)
            future = pool.submit(
                convert, task.source, task.target, force=force or task.stale, **settings
            )
            futures[future] = task
        for future in as_completed(futures):
            try:
                yield futures[future], None, future.result()
            except MoireioError as error:
                yield futures[future], error, None
            except Exception as error:
                text = f"{futures[future].source}: {type(error).__name__}: {first_line(error)}"
                yield futures[future], text, None
