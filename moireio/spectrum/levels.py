"""Levels at all k points of a set of eigenproblems, kept and restored as they are found."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.runtime.memory import size_text, usable_memory
from moireio.runtime.progress import Progress

if TYPE_CHECKING:
    from moireio.spectrum.checkpoint import Checkpoint
    from moireio.spectrum.problems import EigenproblemSet, Reduction


def solve_levels(
    problems: "EigenproblemSet",
    band_range: tuple[int, int] | None = None,
    *,
    channels: Sequence[int] | None = None,
    columns: tuple[int, npt.DTypeLike] | None = None,
    reduce: "Reduction | None" = None,
    checkpoint: "Checkpoint | None" = None,
    progress: Progress | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any] | None]:
    """Solve a set of eigenproblems at all its k points.

    Parameters
    ----------
    problems : EigenproblemSet
        H and S at some k points; with states if `columns` are wanted.
    band_range : tuple of two int, optional
        First and last band (inclusive, from 0); by default all.
    channels : sequence of int, optional
        Spin channels; by default all.
    columns : tuple of (int, numpy dtype), optional
        Numbers that are kept for every level besides its energy, and their type: those that
        `reduce` returns, or without it the coefficients of the state.
    reduce : callable, optional
        From (problem, energies, states) to an (nb, columns) array.
    checkpoint : Checkpoint, optional
        Keeps what is finished, and has what an interrupted run finished.
    progress : Progress, optional
        Steps are k points.

    Returns
    -------
    energies : (ns, nk, nb) array
        eV. Where solvers leave combinations of orbitals out, as many levels as there are at every
        k point.
    kept : (ns, nk, nb, columns) array or None
        What was wanted of the states.

    Raises
    ------
    MoireioError
        If memory does not suffice, or S is not positive definite.
    """
    all_channels, points, n_orbitals = problems.shape
    channels = range(all_channels) if channels is None else channels
    width = n_orbitals if band_range is None else band_range[1] - band_range[0] + 1
    shape: tuple[int, ...] = (len(channels), points, width)
    energies, counts = np.full(shape, np.nan), np.full(shape[:2], width)
    kept: npt.NDArray[Any] | None = None
    if columns is not None:
        count, dtype = columns
        shape = (*shape, count)
        kept = np.zeros(shape, dtype) if checkpoint is None else checkpoint.array(shape, dtype)

    def put(task: tuple[int, int], levels: npt.NDArray[np.float64]) -> tuple[int, int]:
        place = channels.index(task[0]), task[1]
        energies[place][: len(levels)] = levels
        counts[place] = len(levels)
        return place

    tasks = [(channel, point) for channel in channels for point in range(points)]
    finished = {} if checkpoint is None else checkpoint.finished
    if problems.anchored(tasks, band_range):
        finished = {}  # the anchors were kept instead, from which all levels follow at once
        if checkpoint is not None:
            problems.restored, problems.keep_anchor = checkpoint.anchors, checkpoint.add_anchor
            problems.confirmed = dict(checkpoint.finished)
    for task, levels in finished.items():
        put(task, levels)
    if progress and finished:
        progress(len(finished), len(tasks))
    missing = [task for task in tasks if task not in finished]
    for task, levels, states in problems.levels(missing, band_range, reduce):
        place = put(task, levels)
        if kept is not None:
            kept[place][: len(levels)] = states.T if reduce is None else states
        if checkpoint is not None:
            checkpoint.add(task, levels)
        if progress:
            progress(1, len(tasks))
    fewest = int(counts.min(initial=width))
    return energies[:, :, :fewest], None if kept is None else kept[:, :, :fewest]


def check_result(numbers: float, memory: float | None, what: str, remedy: str) -> None:
    """Refuse a result that does not fit into memory.

    Parameters
    ----------
    numbers : float
        Real numbers in double precision that the result has.
    memory : float or None
        Bytes that may be used; by default nearly all that are free.
    what : str
        What needs them, in the plural.
    remedy : str
        What makes the result smaller.

    Raises
    ------
    MoireioError
        If they are too many.
    """
    limit = usable_memory(memory)
    if 8 * numbers > limit:
        raise MoireioError(
            f"{what} need at least {size_text(8 * numbers)}, {size_text(limit)} may be used",
            remedy=f"{remedy}, or raise `memory`",
        )
