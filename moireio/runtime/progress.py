"""Progress of long work: one contract for the whole library."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A callable that every function of the library that takes long accepts as `progress`."""

    def __call__(self, steps: int, total: int, /) -> None:
        """Take note of progress.

        Parameters
        ----------
        steps : int
            Steps done since the last call: bytes, k points, atoms or epochs.
        total : int
            All steps of the work, the same in every call.
        """


def share(progress: Progress | None, total: int, length: int | None = None) -> Progress | None:
    """Return the progress of one part of a longer piece of work.

    Parameters
    ----------
    progress : Progress or None
        Progress of the whole.
    total : int
        All steps of the whole.
    length : int, optional
        Steps of the whole that the part takes, where it counts in steps of another size.

    Returns
    -------
    Progress or None
        To be passed to the part; None where nobody follows the whole.
    """
    if progress is None:
        return None
    if length is None:
        return lambda steps, _: progress(steps, total)
    done = 0

    def step(steps: int, part: int) -> None:
        nonlocal done
        before, done = done, done + steps
        part = max(part, 1)
        progress(done * length // part - before * length // part, total)

    return step
