"""What the writers of DeepH's two layouts have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import h5py
import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.losses import note_losses, require_orbitals
from moireio.operators.blocks import OperatorSource, block_offsets, row_bytes, slab_bounds
from moireio.operators.views import stored_as
from moireio.system.basis import Basis
from moireio.system.structure import Structure

OPERATORS = ("hamiltonian", "overlap")


@dataclass(frozen=True)
class FolderContents:
    """What a data folder of DeepH holds.

    Parameters
    ----------
    structure : Structure
        Each species is an element.
    basis : Basis
        Complete shells, the same for all atoms of an element.
    shells : dict of str to tuple of int
        By element, the l of its radial functions.
    operators : dict of str to OperatorSource
        H and S, stored "full".
    spinful : bool
        Whether H has spinor blocks.
    fermi : float or None
        Fermi level, eV.
    """

    structure: Structure
    basis: Basis
    shells: dict[str, tuple[int, ...]]
    operators: dict[str, OperatorSource]
    spinful: bool
    fermi: float | None


def contents(calculation: Calculation) -> FolderContents:
    """Return the parts of a calculation that go into a folder; others are named in its notes.

    Parameters
    ----------
    calculation : Calculation
        With H or S.

    Returns
    -------
    FolderContents
        Operators are not read yet.

    Raises
    ------
    MoireioError
        If DeepH's folders cannot hold it.
    """
    label, structure, basis = calculation.label, calculation.structure, calculation.basis
    require_orbitals(calculation, "DeepH")
    present = [name for name in OPERATORS if name in calculation.operators]
    if not present:
        raise MoireioError("has neither H nor S", path=label)
    operators = {name: stored_as(calculation.operator(name), "full") for name in present}
    spin = operators["hamiltonian"].meta.spin if "hamiltonian" in operators else "none"
    if spin == "collinear":
        raise MoireioError(
            "has collinear spin, which DeepH's folders cannot hold: they have no spin or spinors",
            path=label,
        )
    note_losses(calculation, "DeepH's folders", OPERATORS)
    return FolderContents(
        structure,
        basis,
        _shells(structure, basis, label),
        operators,
        spin == "spinor",
        None if calculation.electrons is None else calculation.electrons.fermi,
    )


def _shells(structure, basis, label):
    """Return the shells of every element."""
    symbols = structure.to_ase().get_chemical_symbols()
    shells: dict[str, tuple[int, ...]] = {}
    owner: dict[str, str] = {}
    for symbol, number, name in zip(
        symbols, structure.numbers, structure.species_of_atoms, strict=True
    ):
        if owner.get(symbol) == name:
            continue
        species = basis[name]
        if number < 1:
            raise MoireioError(
                f"the species {name} is no element; DeepH's folders know nothing else", path=label
            )
        if species.m is not None:
            raise MoireioError(
                f"the species {name} has incomplete shells; DeepH's folders hold whole ones",
                path=label,
            )
        if shells.setdefault(symbol, species.l) != species.l:
            raise MoireioError(
                f"the species {owner[symbol]} and {name} have different orbitals; DeepH's folders "
                f"hold one basis for all atoms of {symbol}",
                path=label,
            )
        owner[symbol] = name
    return shells


def runs(
    source: OperatorSource,
) -> Iterator[tuple[slice, npt.NDArray[np.int64], npt.NDArray[np.inexact]]]:
    """Yield the blocks of an operator by runs of atoms.

    Parameters
    ----------
    source : OperatorSource
        Without components.

    Yields
    ------
    span : slice
        Pairs of the run.
    offsets : (p + 1,) array of int
        Where each block begins.
    data : (n,) array
        The blocks.
    """
    elements = source.pairs.block_elements(np.asarray(source.sizes))
    for i0, i1 in slab_bounds(row_bytes(source)):
        span = source.pairs.rows(i0, i1)
        yield span, block_offsets(elements[span]), source.rows(i0, i1)


@contextlib.contextmanager
def new_hdf5(path: str) -> Iterator[h5py.File]:
    """Make an HDF5 file; what h5py raises when a disk is full becomes an OSError.

    Parameters
    ----------
    path : str
        File to make.

    Yields
    ------
    h5py.File
        Open for writing.
    """
    try:
        with h5py.File(path, "w") as file:
            yield file
    except RuntimeError as error:
        raise OSError(str(error)) from error


def text_of(values: npt.NDArray[np.float64]) -> str:
    """Return rows of numbers as text from which the same numbers are read.

    Parameters
    ----------
    values : (n, m) array
        Numbers.

    Returns
    -------
    str
        One line for each row.
    """
    return "".join(" ".join(map(repr, row)) + "\n" for row in np.asarray(values).tolist())
