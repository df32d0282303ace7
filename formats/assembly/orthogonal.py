"""Requirements of formats whose models have S = 1 and one spin."""

from __future__ import annotations

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.plain import is_orthogonal
from moireio.operators.blocks import OperatorSource
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource
from moireio.system.basis import Basis
from moireio.system.structure import Structure


def require_orthogonal(calculation: Calculation, program: str) -> None:
    """Raise if the orbitals of a calculation are not orthonormal.

    Parameters
    ----------
    calculation : Calculation
        Any.
    program : str
        The one that has no overlap, for the message.

    Raises
    ------
    MoireioError
        If S is not 1.
    """
    if not is_orthogonal(calculation):
        raise MoireioError(
            f"its orbitals overlap, and models of {program} have S = 1",
            path=calculation.label,
            remedy="orthogonalise them first: the format wannier90 does so",
        )


def one_spin(source: OperatorSource, spin: int | None, label: str) -> int:
    """Return which component of a Hamiltonian a model without spin takes.

    Parameters
    ----------
    source : OperatorSource
        The Hamiltonian.
    spin : {0, 1}, optional
        The user's choice.
    label : str
        The file, for messages.

    Returns
    -------
    int
        0 where there is one component.

    Raises
    ------
    MoireioError
        If there are two and `spin` is neither 0 nor 1.
    """
    if source.meta.components == 1:
        return 0
    if spin not in (0, 1):
        raise MoireioError(
            "its Hamiltonian has two spins, the model has one",
            path=label,
            remedy="choose with `spin`: 0 is up, 1 is down",
        )
    return spin


def unit_overlap(structure: Structure, basis: Basis) -> ArraySource:
    """Return S of orthogonal orbitals, for formats that have no mark for them.

    Parameters
    ----------
    structure : Structure
        The atoms.
    basis : Basis
        Their orbitals.

    Returns
    -------
    ArraySource
        1 on every atom.
    """
    sizes = basis.sizes(structure)
    blocks = {(atom, atom, (0, 0, 0)): np.eye(size) for atom, size in enumerate(sizes)}
    return ArraySource.from_blocks(operator_type("overlap").meta(), sizes, blocks)
