"""SIESTA's ``.HSX`` of version 0 (SIESTA 4).

Layout: unformatted records. Orbitals of the cell and of the supercell, spin components, elements;
whether there is only Γ; if not, the orbital in the cell of every one in the supercell; elements of
every row; row by row columns, then H of every spin component (Ry), then S, all single precision;
number of electrons and temperature; row by row x_j − x_i of the elements (Bohr), left out by some
at Γ; species with label, valence and number of orbitals; n, l, zeta of each orbital; atoms, their
species, atom and index of every orbital. Lattice and positions come from the ``.XV`` beside it;
the cells R follow from x_j − x_i. There is no Fermi level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.formats.siesta.beside import Vectors
from moireio.formats.siesta.hsx import LABEL, read_species
from moireio.formats.siesta.records import Records
from moireio.formats.siesta.stored import BOHR, Stored, read_rows, require_sizes

FIRST = 16  # bytes of the first record
FARTHEST = 1e4  # Bohr
FAR = 0.01  # from a lattice vector, in fractions of the lattice vectors


def is_old(content: bytes | memoryview, path: str) -> bool:
    """Return whether an HSX file is of version 0.

    Parameters
    ----------
    content : bytes-like
        The file.
    path : str
        Its name, for messages.

    Returns
    -------
    bool
        By the length of its first record.
    """
    return len(Records(content, path).next("the sizes")) == FIRST


def read_hsx_old(content: bytes | memoryview, path: str, vectors: Vectors) -> Stored:
    """Read an HSX file of version 0.

    Parameters
    ----------
    content : bytes-like
        The file.
    path : str
        Its name, for messages.
    vectors : Vectors
        Lattice and positions of the same calculation.

    Returns
    -------
    Stored
        Its contents.

    Raises
    ------
    MoireioError
        If lattice and positions are of another calculation.
    DamagedError
        If it is cut short or contradicts itself.
    """
    records = Records(content, path)
    room = records.left
    head = records.numbers("its sizes", "i4", 4).astype(np.int64)
    orbitals, supercell, components, elements = (int(n) for n in head)
    require_sizes(1, orbitals, components, path, room)
    n_cells = supercell // orbitals
    if not (n_cells * orbitals == supercell <= room and 0 <= elements <= room):
        raise records.damaged(f"announces {supercell} orbitals of a supercell of {orbitals}")
    gamma = bool(records.numbers("whether there is only Γ", "i4", 1)[0])
    if not gamma:
        records.numbers("the orbitals of the supercell", "i4", supercell)
    counts = records.numbers("the lengths of rows", "i4", orbitals).astype(np.int64)
    if counts.min() < 0 or counts.sum() != elements or elements * 4 * (components + 2) > room:
        raise records.damaged(f"announces {elements} elements, its rows {int(counts.sum())}")
    columns = read_rows(records, "columns", "i4", counts) - 1
    hamiltonian = np.stack([read_rows(records, "H", "f4", counts) for _ in range(components)])
    overlap = read_rows(records, "S", "f4", counts)
    charge = records.fields("the electrons", ("f8", 1), ("f8", 1))[0]
    following = records.next("distances or species")
    distances = None
    if len(following) == 12 * counts[0] and len(following) != 4:
        first = np.frombuffer(following, f"{records.order}f4")
        rest = read_rows(records, "distances", "f4", 3 * counts[1:])
        distances = np.concatenate([first, rest]).reshape(-1, 3)
        if not (np.abs(distances) < FARTHEST).all():
            raise records.damaged("has a distance between atoms that is none")
        following = records.next("the number of species")
    if len(following) != 4:
        raise records.damaged(f"has {len(following)} bytes of the number of species, 4 expected")
    kinds = int(np.frombuffer(following, f"{records.order}i4")[0])
    if not 0 < (LABEL + 12) * kinds <= records.left:
        raise records.damaged(f"announces {kinds} species")
    species = read_species(records, kinds, with_valence=True, by_orbital=True)
    atoms = int(records.numbers("the number of atoms", "i4", 1)[0])
    if not 0 < atoms <= orbitals:
        raise records.damaged(f"announces {atoms} atoms")
    isa = records.numbers("the species of atoms", "i4", atoms).astype(np.int64)
    if not (isa.min() >= 1 and isa.max() <= kinds):
        raise records.damaged(f"names a species outside 1..{kinds}")
    size = np.array([sum(2 * momentum + 1 for momentum in one.shells) for one in species])
    sizes = size[isa - 1]
    if int(sizes.sum()) != orbitals:
        raise records.damaged(f"has {orbitals} orbitals, its atoms {int(sizes.sum())}")
    if len(vectors.positions) != atoms:
        raise MoireioError(
            f"has {len(vectors.positions)} atoms, {path} {atoms}",
            path=vectors.path,
            remedy="they are of different runs",
        )
    stored = Stored(
        path,
        vectors.cell * BOHR,
        vectors.positions * BOHR,
        sizes,
        np.zeros((max(n_cells, 1), 3), dtype=np.int64),
        counts,
        columns,
        overlap,
        hamiltonian,
        electrons=float(charge[0]),
        species=species,
        kinds=isa - 1,
        notes=["HSX files of SIESTA 4 have no Fermi level", "their numbers have seven digits"],
    )
    if distances is not None and not gamma:
        stored.cells = _cells(stored, distances, vectors)
    elif n_cells > 1:
        raise records.damaged("has no distances, from which the cells R follow")
    return stored


def _cells(
    stored: Stored, distances: npt.NDArray[np.floating], vectors: Vectors
) -> npt.NDArray[np.int64]:
    """Return the cell R of each part of the supercell."""
    atom: Any = np.repeat(np.arange(len(stored.sizes)), stored.sizes)
    orbitals = len(atom)
    row = atom[np.repeat(np.arange(orbitals), stored.counts)]
    number, orbital = np.divmod(stored.columns, orbitals)
    shift = distances - (vectors.positions[atom[orbital]] - vectors.positions[row])
    R = np.linalg.solve(vectors.cell.T, shift.T.astype(np.float64)).T
    cells = stored.cells.copy()
    cells[number] = np.rint(R)
    if R.size and np.abs(R - cells[number]).max() > FAR:
        raise MoireioError(
            f"its atoms are not at the distances that {stored.path} has",
            path=vectors.path,
            remedy="give the .XV of the same run in `companions`",
        )
    return cells
