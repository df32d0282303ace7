"""Writing DeepH's older data folders; the layout is that of `moireio.formats.deeph.folder`.

Kept: structure, shells, H, S, Fermi level. Lost: other operators and results, names of bases,
cutoffs and valences, along which vectors the structure is periodic. Energies are eV as in the block
file, whatever a program takes for a Hartree. The reciprocal vectors and the list of R, which
DeepH-pack wants too, are written with them.
"""

from __future__ import annotations

import json
import os

import h5py
import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import naming
from moireio.formats.assembly.orders import OPENMX
from moireio.formats.deeph.folder import DeepHFolder
from moireio.formats.deeph.write_common import (
    FolderContents,
    contents,
    new_hdf5,
    runs,
    text_of,
)
from moireio.operators.blocks import OperatorSource, by_shape, scatter, take_blocks
from moireio.runtime.files import write_folder

FILES = {
    *DeepHFolder.described,
    *DeepHFolder.names.values(),
    "rlat.dat",
    "R_list.dat",
    *(f"{stem}{suffix}" for stem in ("rh", "rh_pred", "rc") for suffix in (".h5", ".npz")),
}


def write(calculation: Calculation, path: str, *, force: bool = False) -> None:
    """Write a folder; it appears whole or not at all.

    Parameters
    ----------
    calculation : Calculation
        With H or S.
    path : str
        The folder.
    force : bool
        Replace a data folder of this layout.

    Raises
    ------
    MoireioError
        If the layout cannot hold the calculation, or the folder exists.
    """
    found = contents(calculation)
    with naming(calculation.label):
        orders = _orders(found)
    with write_folder(path, FILES.__contains__, force) as folder:
        for name, source in found.operators.items():
            spinor = source.meta.spin == "spinor"
            both = [np.concatenate([o, o + len(o)]) if spinor else o for o in orders]
            target = os.path.join(folder, DeepHFolder.names[name])
            _write_operator(target, source, both, found.structure.species)
        for name, text in _texts(found).items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as stream:
                stream.write(text)


def _orders(found):
    """Return for each species which of moireio's orbitals stands at each place of OpenMX's."""
    orders = []
    for name in found.structure.species_names:
        places = OPENMX.to_ours(found.basis[name].l)[0]
        theirs = np.empty(len(places), dtype=np.int64)
        theirs[places] = np.arange(len(places))
        orders.append(theirs)
    return orders


def _write_operator(path: str, source: OperatorSource, orders: list, species: np.ndarray) -> None:
    """Write the blocks of an operator, run by run of atoms, one dataset for each."""
    pairs, sizes = source.pairs, np.asarray(source.sizes)
    i, j = pairs.i, pairs.j
    names = [
        f"[{a}, {b}, {c}, {first + 1}, {second + 1}]".encode()
        for (a, b, c), first, second in zip(pairs.R.tolist(), i.tolist(), j.tolist(), strict=True)
    ]
    spaces: dict[tuple[int, int], h5py.h5s.SpaceID] = {}
    with new_hdf5(path) as file:
        kind = h5py.h5t.py_create(np.dtype(source.meta.dtype), logical=True)
        for span, offsets, data in runs(source):
            ordered = _ordered(data, offsets, i[span], j[span], sizes, orders, species)
            for pair in range(span.start, span.stop):
                shape = int(sizes[i[pair]]), int(sizes[j[pair]])
                if shape not in spaces:
                    spaces[shape] = h5py.h5s.create_simple(shape)
                begin = int(offsets[pair - span.start])
                block = ordered[begin : begin + shape[0] * shape[1]].reshape(shape)
                dataset = h5py.h5d.create(file.id, names[pair], kind, spaces[shape])
                dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, block)


def _ordered(data, offsets, i, j, sizes, orders, species):
    """Return blocks with the orbitals in OpenMX's order."""
    out = np.empty_like(data)
    for shape, group in by_shape(sizes[i], sizes[j]):
        kinds = species[i[group]].astype(np.int64) * len(orders) + species[j[group]]
        for kind in np.unique(kinds):
            rows, columns = (orders[a] for a in divmod(int(kind), len(orders)))
            members = group[kinds == kind]
            blocks = take_blocks(data, offsets[members], shape).reshape(len(members), -1)
            order = (rows[:, None] * shape[1] + columns).ravel()
            scatter(out, offsets[members], blocks[:, order])
    return out


def _texts(found: FolderContents) -> dict[str, str]:
    """Return the files of structure and basis."""
    structure = found.structure
    cells = [source.pairs.R for source in found.operators.values()]
    listed = np.unique(np.concatenate(cells), axis=0).tolist()
    info: dict[str, object] = {"isspinful": found.spinful}
    if found.fermi is not None:
        info["fermi_level"] = found.fermi
    if found.basis.orthogonal:
        info["isorthogonal"] = True
    shells = [" ".join(map(str, found.basis[n].l)) for n in structure.species_of_atoms]
    return {
        "lat.dat": text_of(structure.cell.T),
        "rlat.dat": text_of(2 * np.pi * np.linalg.inv(structure.cell)),
        "site_positions.dat": text_of(structure.positions.T),
        "element.dat": "".join(f"{number}\n" for number in structure.numbers),
        "orbital_types.dat": "".join(f"{line}\n" for line in shells),
        "R_list.dat": "".join(" ".join(map(str, R)) + "\n" for R in listed),
        "info.json": json.dumps(info),
    }
