"""Primitive cells of TBPLaS: `read` takes one of its objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moireio.blockfile.calculation import Calculation


def read(cell: Any) -> Calculation:
    """Return a primitive cell as a calculation; see `moireio.formats.tbplas.objects.read`."""
    from moireio.formats.tbplas.objects import read

    return read(cell)
