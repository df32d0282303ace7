"""Lattices and models of pybinding: `read` takes one of its objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moireio.blockfile.calculation import Calculation


def read(model: Any) -> Calculation:
    """Return a lattice as a calculation; see `moireio.formats.pybinding.objects.read`."""
    from moireio.formats.pybinding.objects import read

    return read(model)
