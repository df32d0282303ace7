"""Calculations from what the reader of a format has found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import naming
from moireio.formats.assembly.elements import with_zeros
from moireio.formats.assembly.placing import with_moves
from moireio.formats.assembly.twocentre import misfit
from moireio.operators.views import ArraySource
from moireio.results.electrons import Electrons
from moireio.runtime.files import digest_files
from moireio.system.basis import Basis
from moireio.system.pairs import Pairs
from moireio.system.periodicity import settle_blocks
from moireio.system.structure import Structure
from moireio.units import Constants


def assemble(
    label: str,
    structure: Structure,
    basis: Basis,
    operators: Mapping[str, ArraySource],
    *,
    electrons: Electrons | None = None,
    notes: Iterable[str] = (),
    files: Sequence[str] = (),
    pbc: Sequence[bool] | None = None,
    usual_residual: Mapping[str, float] | None = None,
    constants: Constants | None = None,
    described: str | None = None,
) -> Calculation:
    """Put structure, basis and operators together, and decide along which vectors it is periodic.

    Parameters
    ----------
    label : str
        The file, for messages and the history.
    structure : Structure
        The atoms, to whose positions the R of the operators refer.
    basis : Basis
        Their orbitals.
    operators : mapping of str to ArraySource
        By name.
    electrons : Electrons, optional
        Their number, Fermi level and so on.
    notes : iterable of str
        What could not be verified, and what is lost.
    files : sequence of str
        Files that were read.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.
    usual_residual : mapping of str to float, optional
        How far each operator of an intact file is from Hermitian at most, in its unit.
    constants : Constants, optional
        With which the program's numbers became Å and eV.
    described : str, optional
        The files that structure and basis are from: a note is made where S is not that of these
        atoms and orbitals. By default it is not looked at.

    Returns
    -------
    Calculation
        Atoms are moved by lattice vectors, and R with them, where a slab crosses the cell's face.
        Pairs that H has and S has not, since programs leave out small elements, have zeros in S.

    Raises
    ------
    MoireioError
        If `pbc` is false along a vector that pairs cross.
    """
    lists = [(source.pairs.i, source.pairs.j, source.pairs.R) for source in operators.values()]
    with naming(label):
        settled, moves, note = settle_blocks(structure, lists, pbc)

    if moves.any():
        operators = {name: with_moves(source, moves) for name, source in operators.items()}
    notes = [*notes, *([] if note is None else [note])]
    if "overlap" in operators:
        if described is not None:
            remark = misfit(settled, basis, operators["overlap"], described)
            notes += [] if remark is None else [remark]
        overlap = _covering(operators["overlap"], operators)
        operators = {**operators, "overlap": overlap}
    paths = tuple(files)
    return Calculation(
        label,
        settled,
        basis,
        dict(operators),
        electrons=electrons,
        notes=notes,
        files=paths,
        usual_residual=usual_residual or {},
        constants=constants or Constants(),
        digest=lambda names: digest_files(*paths),
    )


def _covering(overlap: ArraySource, operators: Mapping[str, ArraySource]) -> ArraySource:
    """Return the overlap with zeros for the pairs that other operators have and it has not."""
    added = []
    for source in operators.values():
        pairs = source.pairs
        absent = overlap.pairs.find(pairs.i, pairs.j, pairs.R) < 0
        added.append((pairs.i[absent], pairs.j[absent], pairs.R[absent]))
    lists = [(overlap.pairs.i, overlap.pairs.j, overlap.pairs.R), *added]
    rows = np.concatenate([np.column_stack([i, j, R]) for i, j, R in lists])
    if len(rows) == len(overlap.pairs):
        return overlap
    rows = np.unique(rows, axis=0)
    n_atoms = overlap.pairs.n_atoms
    return with_zeros(overlap, Pairs.sort(n_atoms, rows[:, 0], rows[:, 1], rows[:, 2:])[0])
