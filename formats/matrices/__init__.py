"""Matrices in memory, {R: matrix}, dense or sparse, and files of H(k) and S(k) at chosen k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moireio.blockfile.calculation import Calculation


def read(
    hamiltonian: Any = None,
    overlap: Mapping[Sequence[int], Any] | None = None,
    **options: Any,
) -> Calculation:
    """Return matrices as a calculation; see `moireio.formats.matrices.cells.read`."""
    from moireio.formats.matrices.cells import read

    return read(hamiltonian, overlap, **options)


def write(calculation: Calculation, name: str = "hamiltonian", **options: Any) -> Any:
    """Return the matrices of an operator; see `moireio.formats.matrices.cells.write`."""
    from moireio.formats.matrices.cells import write

    return write(calculation, name, **options)
