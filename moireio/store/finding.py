"""What a check of a block file finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or was not checked.

    Parameters
    ----------
    where : str
        Group or array.
    what : str
        Description in a few words.
    level : {"error", "note"}
        A note does not make the file invalid.
    """

    where: str
    what: str
    level: Literal["error", "note"] = "error"

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.level}: {self.where}: {self.what}"
