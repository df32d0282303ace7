"""Models of PythTB: `read` takes one of its objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moireio.blockfile.calculation import Calculation


def read(model: Any) -> Calculation:
    """Return a model of PythTB as a calculation; see `moireio.formats.pythtb.objects.read`."""
    from moireio.formats.pythtb.objects import read

    return read(model)
