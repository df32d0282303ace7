"""Mean-field objects of PySCF with periodic boundary conditions, and their H(k) and S(k)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moireio.blockfile.calculation import Calculation


def read(mean_field: Any, **options: Any) -> Calculation:
    """Return a mean-field object as a calculation; see `moireio.formats.pyscf.objects.read`."""
    from moireio.formats.pyscf.objects import read

    return read(mean_field, **options)


def from_arrays(*args: Any, **options: Any) -> Calculation:
    """Return H(k) and S(k) as a calculation; see `moireio.formats.pyscf.objects.from_arrays`."""
    from moireio.formats.pyscf.objects import from_arrays

    return from_arrays(*args, **options)
