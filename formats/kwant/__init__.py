"""Builders of Kwant: `read` takes one, `write` makes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moireio.blockfile.calculation import Calculation


def read(builder: Any, params: Mapping[str, Any] | None = None) -> Calculation:
    """Return a builder as a calculation; see `moireio.formats.kwant.objects.read`."""
    from moireio.formats.kwant.objects import read

    return read(builder, params)


def write(calculation: Calculation, *, spin: int | None = None) -> Any:
    """Return a builder of a calculation; see `moireio.formats.kwant.objects.write`."""
    from moireio.formats.kwant.objects import write

    return write(calculation, spin=spin)
