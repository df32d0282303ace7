"""How long work reports its progress."""

from typing import Protocol


class Progress(Protocol):
    """What every function of the library that takes long accepts as `progress`."""

    def __call__(self, steps: int, total: int) -> None:
        """Take note of progress.

        Parameters
        ----------
        steps : int
            Steps done since the last call: bytes, k points, atoms or epochs.
        total : int
            All steps of the work, the same in every call.
        """
