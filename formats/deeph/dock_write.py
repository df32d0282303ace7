"""Writing DeepH-dock's data folders; the layout is that of `moireio.formats.deeph.dock`.

Kept: structure, shells and names of bases, H, S, Fermi level, whether S = 1. Lost: other operators
and results, cutoffs and valences, along which vectors the structure is periodic. Energies are eV as
in the block file, whatever a program takes for a Hartree. Atoms keep their order: where elements
alternate, POSCAR names them once for each run.
"""

from __future__ import annotations

import itertools
import json
import os

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError, naming
from moireio.formats.deeph.dock import DockFolder
from moireio.formats.deeph.split import HKB
from moireio.formats.deeph.write_common import (
    FolderContents,
    contents,
    new_hdf5,
    runs,
    text_of,
)
from moireio.operators.blocks import OperatorSource, block_offsets
from moireio.runtime.files import write_folder
from moireio.system.basis import parse_name

FILES = {*DockFolder.described, *DockFolder.names.values(), HKB, "dft", "basis", "K_PATH"}


def write(calculation: Calculation, path: str, *, force: bool = False) -> None:
    """Write a folder; it appears whole or not at all.

    Parameters
    ----------
    calculation : Calculation
        With H or S.
    path : str
        The folder.
    force : bool
        Replace a data folder of DeepH-dock.

    Raises
    ------
    MoireioError
        If the layout cannot hold the calculation, or the folder exists.
    """
    found = contents(calculation)
    with write_folder(path, FILES.__contains__, force) as folder:
        for name, source in found.operators.items():
            with naming(calculation.label):
                _write_operator(os.path.join(folder, DockFolder.names[name]), source)
        with open(os.path.join(folder, "POSCAR"), "w", encoding="utf-8") as stream:
            stream.write(_poscar(found))
        with open(os.path.join(folder, "info.json"), "w", encoding="utf-8") as stream:
            json.dump(_info(found), stream, indent=1)


def _write_operator(path: str, source: OperatorSource) -> None:
    """Write the blocks of an operator, run by run of atoms."""
    pairs, sizes = source.pairs, np.asarray(source.sizes)
    bounds = block_offsets(pairs.block_elements(sizes))
    with new_hdf5(path) as file:
        listed = np.column_stack([pairs.R, pairs.i, pairs.j]).astype(np.int64)
        file.create_dataset("atom_pairs", data=listed)
        shapes = np.stack([sizes[pairs.i], sizes[pairs.j]], axis=1).astype(np.int64)
        file.create_dataset("chunk_shapes", data=shapes)
        file.create_dataset("chunk_boundaries", data=bounds)
        dtype = np.dtype(source.meta.dtype)
        is_real = source.meta.spin != "spinor"
        dtype = np.zeros(1, dtype).real.dtype if is_real else dtype
        entries = file.create_dataset("entries", (int(bounds[-1]),), dtype)
        for span, offsets, data in runs(source):
            begin = int(bounds[span.start])
            if is_real and np.iscomplexobj(data):
                if data.imag.any():
                    raise MoireioError(
                        f"has a complex {source.meta.name} without spinors; DeepH-dock's is real",
                        remedy="write the format deeph",
                    )
                data = data.real
            entries[begin : begin + int(offsets[-1])] = data


def _poscar(found: FolderContents) -> str:
    """Return the structure as POSCAR, Cartesian."""
    structure = found.structure
    symbols = structure.to_ase().get_chemical_symbols()
    groups = [(symbol, len(list(group))) for symbol, group in itertools.groupby(symbols)]
    names = " ".join(symbol for symbol, _ in groups)
    counts = " ".join(str(count) for _, count in groups)
    return (
        f"written by moireio\n1.0\n{text_of(structure.cell)}{names}\n{counts}\nCartesian\n"
        + text_of(structure.positions)
    )


def _info(found: FolderContents) -> dict[str, object]:
    """Return the settings of ``info.json``."""
    structure, basis = found.structure, found.basis
    info: dict[str, object] = {
        "atoms_quantity": len(structure),
        "orbits_quantity": int(basis.sizes(structure).sum()),
        "orthogonal_basis": bool(basis.orthogonal),
        "spinful": found.spinful,
        "fermi_energy_eV": found.fermi,
        "elements_orbital_map": {name: list(shells) for name, shells in found.shells.items()},
    }
    labels = {}
    symbols = structure.to_ase().get_chemical_symbols()
    for symbol, name in zip(symbols, structure.species_of_atoms, strict=True):
        text = basis[name].name
        if text is not None and labels.setdefault(symbol, text) != text:
            labels[symbol] = ""  # two names for one element: neither is kept
    kept = {symbol: text for symbol, text in labels.items() if _names(text, found.shells[symbol])}
    return info | ({"basis": kept} if kept else {})


def _names(text: str, shells: tuple[int, ...]) -> bool:
    """Return whether a text is the name of a basis with some shells."""
    try:
        return parse_name(text)[0].l == shells
    except MoireioError:
        return False
