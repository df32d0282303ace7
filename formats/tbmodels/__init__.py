"""Models of TBmodels: `read` takes one of its objects, `write` makes one; files are `hdf5`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moireio.blockfile.calculation import Calculation


def read(model: Any, *, spinor: str | None = None) -> Calculation:
    """Return a model as a calculation; see `moireio.formats.tbmodels.objects.read`."""
    from moireio.formats.tbmodels.objects import read

    return read(model, spinor=spinor)


def write(calculation: Calculation, **options: Any) -> Any:
    """Return a model of a calculation; see `moireio.formats.tbmodels.objects.write`."""
    from moireio.formats.tbmodels.objects import write

    return write(calculation, **options)
