"""What of a calculation a file of another program cannot hold."""

from __future__ import annotations

from collections.abc import Collection

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError


def note_losses(
    calculation: Calculation,
    files: str,
    kept: Collection[str] = ("hamiltonian", "overlap"),
    *,
    fermi: bool = True,
) -> None:
    """Add a note on what is lost to those of a calculation that is written.

    Parameters
    ----------
    calculation : Calculation
        Its notes get one more, unless nothing is lost.
    files : str
        What is written, in the plural, as "DeepH's folders".
    kept : collection of str
        Operators that have a place there.
    fermi : bool
        Whether the Fermi level has.
    """
    lost = [f"/{name}" for name in calculation.operators if name not in kept]
    lost += [f"/{name}" for name in ("moire", "kpath") if getattr(calculation, name) is not None]
    electrons = calculation.electrons
    if not fermi and electrons is not None and electrons.fermi is not None:
        lost.append("the Fermi level")
    if lost:
        calculation.notes.append(f"{files} do not hold " + ", ".join(lost))


def require_orbitals(calculation: Calculation, program: str) -> None:
    """Raise if an atom has no orbitals.

    Parameters
    ----------
    calculation : Calculation
        What is to be written.
    program : str
        The program that knows no such atoms.

    Raises
    ------
    MoireioError
        With the species.
    """
    for name in calculation.structure.species_of_atoms:
        if calculation.basis[name].size == 0:
            raise MoireioError(
                f"its atoms of {name} have no orbitals; those of {program} have some",
                path=calculation.label,
            )


def note_order_of_shells(calculation: Calculation, program: str) -> None:
    """Add a note where shells change places, since a program has them in the order of l.

    Parameters
    ----------
    calculation : Calculation
        Its notes get one more, unless all shells stay.
    program : str
        Its name.
    """
    names = set(calculation.structure.species_of_atoms)
    if any(list(calculation.basis[name].l) != sorted(calculation.basis[name].l) for name in names):
        calculation.notes.append(f"shells are written in the order of l, as {program} has them")
