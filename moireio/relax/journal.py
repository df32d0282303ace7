"""The state of a relaxation beside its output, from which an interrupted run goes on."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from typing import Any

import numpy as np

from moireio.errors import DamagedError, MissingFileError, MoireioError
from moireio.runtime.files import write_whole
from moireio.system.structure import Structure

SUFFIX = ".part.npz"


class Journal:
    """A file that is written after every step.

    Parameters
    ----------
    path : str
        Its name.
    structure : Structure
        The structure at the beginning.
    identity : dict
        What else a run that goes on must agree in; values that JSON has.
    """

    def __init__(self, path: str, structure: Structure, identity: dict[str, Any]) -> None:
        self.path = path
        self._keys = {"structure": structure_digest(structure)} | {
            name: json.dumps(value, sort_keys=True) for name, value in identity.items()
        }

    def save(self, **state: Any) -> None:
        """Write the state; the file is replaced at once.

        Parameters
        ----------
        **state : array or number
            What is to be kept.
        """
        arrays: dict[str, Any] = {f"key_{k}": np.array(v) for k, v in self._keys.items()}
        arrays |= {name: np.asarray(value) for name, value in state.items()}
        with write_whole(self.path) as part, open(part, "wb") as stream:
            np.savez(stream, **arrays)

    def load(self) -> dict[str, Any]:
        """Read the state.

        Returns
        -------
        dict of str to array
            As it was saved.

        Raises
        ------
        MoireioError
            If there is none, or it is that of another structure or calculator.
        """
        if not os.path.exists(self.path):
            raise MissingFileError(
                "there is nothing to go on with", path=self.path, remedy="run without `resume`"
            )
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                state = {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DamagedError(
                "is damaged", path=self.path, remedy="run without `resume`"
            ) from error
        for name, value in self._keys.items():
            if str(state.pop(f"key_{name}", "")) != value:
                raise MoireioError(
                    f"belongs to a run with another {name}",
                    path=self.path,
                    remedy="run without `resume`",
                )
        return state

    def remove(self) -> None:
        """Remove the file, if there is one."""
        if os.path.exists(self.path):
            os.remove(self.path)


def structure_digest(structure: Structure) -> str:
    """Return the SHA-256 of cell, positions, elements, periodicity and layers."""
    digest = hashlib.sha256()
    for array in (structure.cell, structure.positions, structure.numbers, structure.pbc):
        digest.update(np.ascontiguousarray(array).tobytes())
    if structure.layer is not None:
        digest.update(structure.layer.tobytes())
    return digest.hexdigest()
