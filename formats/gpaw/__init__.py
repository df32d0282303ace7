"""H(k) and S(k) of GPAW's LCAO mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moireio.blockfile.calculation import Calculation


def read(calculator: Any, hamiltonian: Any, overlap: Any, **options: Any) -> Calculation:
    """Return a calculation of GPAW's LCAO mode; see `moireio.formats.gpaw.objects.read`."""
    from moireio.formats.gpaw.objects import read

    return read(calculator, hamiltonian, overlap, **options)


def from_arrays(*args: Any, **options: Any) -> Calculation:
    """Return H(k) and S(k) as a calculation; see `moireio.formats.gpaw.objects.from_arrays`."""
    from moireio.formats.gpaw.objects import from_arrays

    return from_arrays(*args, **options)
