"""The state of a training between two epochs, and the files that keep it."""

import csv
import math
import os
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from moireio.errors import MoireioError
from moireio.runtime.files import write_whole

STATE_FILE = "state.pt"
LOG_FILE = "log.csv"


@dataclass
class TrainingState:
    """How far a training has come.

    Parameters
    ----------
    epoch : int
        Epochs done.
    steps : int
        Steps of the optimiser done.
    best_loss : float
        Lowest validation loss.
    best_epoch : int
        Epoch in which that was.
    smoothed_loss : float
        Running mean of the validation loss.
    reference_loss : float
        Smoothed loss at the last progress.
    without_progress, cooling, far_above_best : int
        Counters of epochs: since the last progress, left of the cooldown, above twice the best
        loss.
    history : list of dict
        Rows of the log.
    """

    epoch: int = 0
    steps: int = 0
    best_loss: float = math.inf
    best_epoch: int = 0
    smoothed_loss: float = math.nan
    reference_loss: float = math.inf
    without_progress: int = 0
    cooling: int = 0
    far_above_best: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def write_state(folder: str, key: str, state: TrainingState, tensors: dict[str, Any]) -> None:
    """Write the state of a training and its log, all or nothing.

    Parameters
    ----------
    folder : str
        Folder of the training.
    key : str
        Identifies the training.
    state : TrainingState
        Numbers and history.
    tensors : dict
        Nested containers of tensors and numbers.
    """
    numbers = asdict(state)
    rows = numbers.pop("history")
    columns = list(rows[0]) if rows else []
    contents = {
        "key": key,
        "state": numbers,
        "tensors": tensors,
        "columns": columns,
        "history": [list(row.values()) for row in rows],
    }
    with write_whole(os.path.join(folder, STATE_FILE)) as part:
        torch.save(contents, part)
    with write_whole(os.path.join(folder, LOG_FILE)) as part, open(part, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(contents["history"])


def read_state(folder: str, key: str) -> tuple[TrainingState, dict[str, Any]] | None:
    """Read what `write_state` has written.

    Parameters
    ----------
    folder : str
        Folder of the training.
    key : str
        Identifies the training.

    Returns
    -------
    state : TrainingState
        Numbers and history.
    tensors : dict
        Nested containers of tensors and numbers, on the CPU.
        Instead of both None, if there is no state.

    Raises
    ------
    MoireioError
        If the file is damaged, or belongs to a training with another key.
    """
    path = os.path.join(folder, STATE_FILE)
    if not os.path.exists(path):
        return None
    try:
        contents = torch.load(path, weights_only=True, map_location="cpu")
        stored_key = contents["key"]
        rows = [dict(zip(contents["columns"], r, strict=True)) for r in contents["history"]]
        state = TrainingState(**contents["state"], history=rows)
        tensors = contents["tensors"]
    except OSError:
        raise
    except Exception as error:  # torch's unpickler raises whatever the bytes make it
        raise MoireioError(
            "is not the state of a training", path=path, remedy="remove it to begin again"
        ) from error
    if stored_key != key:
        raise MoireioError(
            "belongs to a training with other data, network or settings",
            path=path,
            remedy="remove it to begin again, or choose another `output`",
        )
    return state, tensors
