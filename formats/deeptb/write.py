"""Writing data folders of DeePTB; the layout is that of `moireio.formats.deeptb.h5`.

Kept: structure, shells, H, S. Lost: Fermi level, other operators and results. Shells are ordered by
l, as ``basis.dat`` has them; both partners of every pair are written, and one frame.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.losses import note_losses, note_order_of_shells, require_orbitals
from moireio.formats.assembly.orthogonal import unit_overlap
from moireio.formats.deeph.write_common import new_hdf5
from moireio.formats.deeptb.h5 import FILES
from moireio.operators.blocks import OperatorSource
from moireio.operators.views import stored_as
from moireio.runtime.files import write_folder
from moireio.system.basis import Basis, shell_counts
from moireio.system.structure import Structure

WRITTEN = {
    "hamiltonians.h5", "overlaps.h5", "atomic_numbers.dat", "positions.dat", "cell.dat", "pbc.dat",
    "basis.dat", "info.json",
}  # fmt: skip


def write(calculation: Calculation, path: str, *, force: bool = False) -> None:
    """Write a folder of DeePTB with one frame.

    Parameters
    ----------
    calculation : Calculation
        With H, S or both.
    path : str
        The folder to make.
    force : bool
        Replace a folder that exists.

    Raises
    ------
    MoireioError
        If an element has two bases or an incomplete shell, H is spin-polarised, or the folder
        cannot be written.
    """
    structure, basis = calculation.structure, calculation.basis
    require_orbitals(calculation, "DeePTB")
    sorted_basis, elements = _sorted_basis(calculation)
    names = [name for name in FILES if name in calculation.operators]
    if not names:
        raise MoireioError("has neither H nor S", path=calculation.label)
    for name in names:
        if calculation.operator(name).meta.spin == "collinear":
            raise MoireioError(
                "is spin-polarised, for which DeePTB has no place",
                path=calculation.label,
                remedy="write another format",
            )
    operators = {name: calculation.operator(name) for name in names}
    if basis.orthogonal and "overlap" not in operators:
        operators["overlap"] = unit_overlap(structure, basis)
    note_losses(calculation, "DeePTB's folders", fermi=False)
    note_order_of_shells(calculation, "DeePTB")
    with write_folder(path, WRITTEN.__contains__, force) as part:
        for name, operator in operators.items():
            source = stored_as(operator, "full")
            order = _sorting(structure, basis, source.meta.spin == "spinor")
            _write_blocks(os.path.join(part, FILES[name][0]), source, order)
        _write_texts(part, structure, sorted_basis, elements)


def _sorted_basis(calculation: Calculation) -> tuple[Basis, dict[str, str]]:
    """Return the basis with shells ordered by l, and the species of each element."""
    structure, basis = calculation.structure, calculation.basis
    elements: dict[str, str] = {}
    for symbol, species in zip(structure.element_symbols, structure.species_of_atoms, strict=True):
        if symbol == "X":
            raise MoireioError("has empty atoms, for which DeePTB has no place",
                               path=calculation.label)  # fmt: skip
        other = elements.setdefault(symbol, species)
        if basis[other].l != basis[species].l or basis[species].m is not None:
            what = "an incomplete shell" if basis[species].m is not None else "two bases"
            raise MoireioError(
                f"{symbol} has {what}, for which basis.dat has no place", path=calculation.label
            )
    found = {name: replace(basis[name], l=tuple(sorted(basis[name].l))) for name in basis.species}
    return Basis(found, orthogonal=basis.orthogonal), elements


def _sorting(structure: Structure, basis: Basis, spinor: bool) -> list[npt.NDArray[np.int64]]:
    """Return for each atom which of its rows come one after another when shells go by l."""
    of_species = {}
    for name in structure.species_names:
        momenta = basis[name].l
        starts = np.concatenate([[0], np.cumsum([2 * v + 1 for v in momenta])])
        by_l = sorted(range(len(momenta)), key=lambda shell: momenta[shell])
        rows = [np.arange(starts[s], starts[s + 1]) for s in by_l]
        one = np.concatenate(rows).astype(np.int64)
        of_species[name] = np.concatenate([one, one + len(one)]) if spinor else one
    return [of_species[name] for name in structure.species_of_atoms]


def _write_blocks(path: str, source: OperatorSource, order: list[npt.NDArray[np.int64]]) -> None:
    """Write the blocks of an operator as frame 0."""
    pairs, sizes = source.pairs, np.asarray(source.sizes)
    spaces: dict[tuple[int, int], Any] = {}
    with new_hdf5(path) as file:
        group = file.create_group("0")
        kind = h5py.h5t.py_create(np.dtype(source.meta.dtype), logical=True)
        for i in range(pairs.n_atoms):
            span, flat = pairs.rows(i, i + 1), source.rows(i, i + 1)
            at = 0
            for j, R in zip(pairs.j[span].tolist(), pairs.R[span].tolist(), strict=True):
                shape = int(sizes[i]), int(sizes[j])
                block = flat[at : at + shape[0] * shape[1]].reshape(shape)
                at += block.size
                if shape not in spaces:
                    spaces[shape] = h5py.h5s.create_simple(shape)
                name = "_".join(map(str, (i, j, *R))).encode()
                dataset = h5py.h5d.create(group.id, name, kind, spaces[shape])
                block = np.ascontiguousarray(block[np.ix_(order[i], order[j])])
                dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, block)


def _write_texts(folder: str, structure: Structure, basis: Basis, elements: dict[str, str]) -> None:
    """Write the text files: structure, basis and DeePTB's ``info.json``."""
    along = [bool(value) for value in structure.pbc]
    tables = {
        "cell.dat": [" ".join(map(repr, row)) for row in structure.cell.tolist()],
        "positions.dat": [" ".join(map(repr, row)) for row in structure.positions.tolist()],
        "atomic_numbers.dat": [str(number) for number in structure.numbers.tolist()],
        "pbc.dat": [str(int(value)) for value in along],
    }
    shells = {symbol: _deeptb_shells(basis[name].l) for symbol, name in elements.items()}
    tables["basis.dat"] = [str(shells)]
    info = {"nframes": 1, "natoms": len(structure), "pos_type": "cart", "pbc": along}
    tables["info.json"] = [json.dumps(info)]
    for name, rows in tables.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as stream:
            stream.write("\n".join(rows) + "\n")


def _deeptb_shells(momenta: Sequence[int]) -> str:
    """Return sorted shells as ``2s2p1d``."""
    return re.sub(r"([a-z])(\d+)", r"\2\1", shell_counts(momenta))
