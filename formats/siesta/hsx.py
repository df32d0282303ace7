"""SIESTA's ``.HSX``, versions 1 and 2 (SIESTA 5).

Layout: unformatted records. The version; whether numbers are double; numbers of atoms, orbitals,
spin components and species, cells of the supercell; lattice vectors (Bohr), Fermi level (Ry),
electrons, temperature; the cell of each supercell index, positions, species and last orbital of
every atom; label, valence and number of orbitals of each species; n, l, zeta of its orbitals;
(version 2: k mesh); elements of every row; then row by row columns, H of every spin component (Ry),
S. Version 0 (SIESTA 4) is another layout: `hsx_old`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from moireio.errors import MoireioError
from moireio.formats.siesta.records import Records
from moireio.formats.siesta.stored import (
    BOHR,
    RYDBERG_EV,
    Species,
    Stored,
    read_rows,
    require_sizes,
    shells_of,
)

LABEL = 20  # characters
#: SIESTA writes the largest number where the Fermi level has not been calculated.
NO_FERMI = 1e30


def read_hsx(content: bytes | memoryview, path: str) -> Stored:
    """Read an HSX file.

    Parameters
    ----------
    content : bytes-like
        The file.
    path : str
        Its name, for messages.

    Returns
    -------
    Stored
        Its contents.

    Raises
    ------
    MoireioError
        If it is of another version.
    DamagedError
        If it is cut short or contradicts itself.
    """
    records = Records(content, path)
    room = records.left
    first = records.next("the version")
    version = int(np.frombuffer(first, f"{records.order}i4")[0]) if len(first) == 4 else None
    if version not in (1, 2):
        raise MoireioError(
            "is no HSX file of version 0, 1 or 2", path=path, remedy="SIESTA writes them"
        )
    double = bool(records.numbers("its precision", "i4", 1)[0])
    head = records.numbers("its sizes", "i4", 7).astype(np.int64)
    atoms, orbitals, components, kinds = (int(n) for n in head[:4])
    n_cells = int(np.prod([int(n) for n in head[4:]], dtype=object))
    require_sizes(atoms, orbitals, components, path, room)
    # species may have no atoms
    if not (0 < (LABEL + 12) * kinds <= room and 0 < 12 * n_cells <= room):
        raise records.damaged(f"announces {kinds} species and {n_cells} cells")
    cell, fermi, charge, _ = records.fields(
        "the lattice", ("f8", 9), ("f8", 1), ("f8", 1), ("f8", 1)
    )
    offsets, positions, isa, last = records.fields(
        "the atoms", ("i4", 3 * n_cells), ("f8", 3 * atoms), ("i4", atoms), ("i4", atoms)
    )
    written_by_siesta = float(charge[0]) != 0.0
    species = read_species(records, kinds, with_valence=written_by_siesta)
    if not (isa.min() >= 1 and isa.max() <= kinds):
        raise records.damaged(f"names a species outside 1..{kinds}")
    if version == 2:
        records.fields("the k mesh", ("i4", 9), ("f8", 3))
    counts = records.numbers("the lengths of rows", "i4", orbitals).astype(np.int64)
    item = 8 if double else 4
    if counts.min() < 0 or int(counts.sum()) * (4 + item * (components + 1)) > room:
        raise records.damaged(f"announces {int(counts.sum())} elements in {room} bytes")
    columns = read_rows(records, "columns", "i4", counts) - 1
    real = f"f{item}"
    hamiltonian = np.stack([read_rows(records, "H", real, counts) for _ in range(components)])
    overlap = read_rows(records, "S", real, counts)
    known = abs(float(fermi[0])) < NO_FERMI
    sizes = np.diff(last.astype(np.int64), prepend=0)
    if not written_by_siesta and last[0] == 0:  # sisl 0.20 writes the first orbital instead
        sizes = np.diff(last.astype(np.int64), append=orbitals)
    stored = Stored(
        path,
        cell.reshape(3, 3) * BOHR,
        positions.reshape(atoms, 3) * BOHR,
        sizes,
        offsets.reshape(n_cells, 3).astype(np.int64),
        counts,
        columns,
        overlap,
        hamiltonian,
        fermi=float(fermi[0]) * RYDBERG_EV if known else None,
        electrons=float(charge[0]) if written_by_siesta else None,
        species=species,
        kinds=isa.astype(np.int64) - 1,
    )
    if not known:
        stored.notes.append("the file has no Fermi level")
    for kind, one in enumerate(species):
        size = sum(2 * momentum + 1 for momentum in one.shells)
        if (stored.sizes[stored.kinds == kind] != size).any():
            raise records.damaged(f"has atoms {one.label} that have not its {size} orbitals")
    return stored


def read_species(
    records: Records, kinds: int, *, with_valence: bool, by_orbital: bool = False
) -> list[Species]:
    """Read labels, valences and shells.

    Parameters
    ----------
    records : Records
        The file.
    kinds : int
        Number of species.
    with_valence : bool
        Whether valences are those of a calculation.
    by_orbital : bool
        Whether every orbital has a record of its own.

    Returns
    -------
    list of Species
        In the order of the file.
    """
    entry = np.dtype([("label", f"S{LABEL}"), ("valence", "f8"), ("orbitals", "i4")])
    record = records.next("the species")
    if len(record) != kinds * entry.itemsize:
        raise records.damaged(f"has {len(record)} bytes of species, {kinds} species expected")
    table: Any = np.frombuffer(record, entry.newbyteorder(records.order))
    species = []
    for row in table:
        label = row["label"].decode("ascii", "replace").strip("\0 ")
        count = int(row["orbitals"])
        if not label.isprintable() or not label or count < 1:
            raise records.damaged(f"has a species called {label!r} with {count} orbitals")
        if 12 * count > records.left:
            raise records.damaged(f"announces {count} orbitals of {label}")
        pieces = range(count if by_orbital else 1)
        quantum = b"".join(bytes(records.next(f"the orbitals of {label}")) for _ in pieces)
        if len(quantum) != 12 * count:
            raise records.damaged(f"has {len(quantum)} bytes for the {count} orbitals of {label}")
        numbers = np.frombuffer(quantum, f"{records.order}i4").reshape(count, 3)
        shells = shells_of(numbers, label, records.path)
        valence = float(row["valence"]) if with_valence else None
        species.append(Species(label, shells, valence=valence))
    return species
