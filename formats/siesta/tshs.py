"""SIESTA's ``.TSHS`` (TranSIESTA), version 1.

Layout: unformatted records. The version; numbers of atoms, orbitals, orbitals of the supercell,
spin components and elements; cells of the supercell; lattice vectors and positions (Bohr); whether
only Γ, whether only S; k mesh; Fermi level (Ry), electrons, temperature; step and first atom; last
orbital of every atom; elements of every row; then row by row columns, S, H of every spin component
(Ry); the cell of each supercell index, unless only Γ. It has no species: they come from the files
beside it.
"""

from __future__ import annotations

import numpy as np

from moireio.errors import MoireioError
from moireio.formats.siesta.records import Records
from moireio.formats.siesta.stored import BOHR, RYDBERG_EV, Stored, read_rows, require_sizes


def read_tshs(content: bytes | memoryview, path: str) -> Stored:
    """Read a TSHS file.

    Parameters
    ----------
    content : bytes-like
        The file.
    path : str
        Its name, for messages.

    Returns
    -------
    Stored
        Its contents, without species.

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
    if len(first) != 4 or np.frombuffer(first, f"{records.order}i4")[0] != 1:
        raise MoireioError(
            "is no TSHS file of version 1", path=path, remedy="SIESTA 4.1 and later write them"
        )
    head = records.numbers("its sizes", "i4", 5)
    atoms, orbitals, in_supercell, components, elements = (int(n) for n in head)
    require_sizes(atoms, orbitals, components, path, room)
    n_cells, rest = divmod(in_supercell, orbitals)
    records.numbers("the supercell", "i4", 3)
    cell, positions = records.fields("the lattice", ("f8", 9), ("f8", 3 * atoms))
    only_gamma, _, only_overlap = (bool(n) for n in records.numbers("the flags", "i4", 3))
    records.fields("the k mesh", ("i4", 9), ("f8", 3))
    fermi, charge, _ = records.numbers("the Fermi level", "f8", 3)
    records.numbers("the step", "i4", 2)
    last = records.numbers("the last orbital of every atom", "i4", atoms + 1)
    counts = records.numbers("the lengths of rows", "i4", orbitals).astype(np.int64)
    item = 4 + 8 * (1 + (0 if only_overlap else components))
    fits = rest == 0 and 0 < 12 * n_cells <= room + 12 and elements * item <= room
    if not fits or counts.min() < 0 or counts.sum() != elements:
        raise records.damaged(
            f"announces {elements} elements of {in_supercell} orbitals in {room} bytes"
        )
    columns = read_rows(records, "columns", "i4", counts) - 1
    overlap = read_rows(records, "S", "f8", counts)
    hamiltonian = None
    if not only_overlap:
        channels = [read_rows(records, "H", "f8", counts) for _ in range(components)]
        hamiltonian = np.stack(channels)
    cells = np.zeros((1, 3), dtype=np.int64)
    if not only_gamma:
        cells = records.numbers("the cells", "i4", 3 * n_cells).astype(np.int64).reshape(-1, 3)
    if len(cells) != n_cells:
        raise records.damaged(f"has {n_cells} cells, but says that there is only one")
    return Stored(
        path,
        cell.reshape(3, 3) * BOHR,
        positions.reshape(atoms, 3) * BOHR,
        np.diff(last.astype(np.int64)),
        cells,
        counts,
        columns,
        overlap,
        hamiltonian,
        fermi=None if only_overlap else float(fermi) * RYDBERG_EV,
        electrons=float(charge) or None,
    )
