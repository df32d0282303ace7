"""Hamiltonians of sisl: `read` takes one, `write` makes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moireio.blockfile.calculation import Calculation


def read(hamiltonian: Any, **options: Any) -> Calculation:
    """Return a Hamiltonian of sisl as a calculation; see `moireio.formats.sisl.objects.read`."""
    from moireio.formats.sisl.objects import read

    return read(hamiltonian, **options)


def write(calculation: Calculation) -> Any:
    """Return sisl's Hamiltonian of a calculation; see `moireio.formats.sisl.objects.write`."""
    from moireio.formats.sisl.objects import write

    return write(calculation)
