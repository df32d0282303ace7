"""Writing a ``.scfout``: a repeated cell, or another byte order, of an existing one.

The layout is that of `moireio.formats.openmx.scfout`. Only what that reader keeps is carried
over; unused numbers are written as 0.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.formats.openmx.header import LINE_BYTES, Header
from moireio.formats.openmx.scfout import open_scfout
from moireio.runtime.files import write_whole
from moireio.units import BOHR_ANGSTROM

PIECE_BYTES = 16 << 20


def write(
    path: str | os.PathLike[str],
    header: Header,
    matrices: Iterable[Iterable[npt.NDArray[np.float64]]],
    byte_order: str = "=",
) -> None:
    """Write a ``.scfout``.

    Parameters
    ----------
    path : str or path-like
        File to make.
    header : Header
        Everything but the matrices; `pair_i` ascending, every atom its own first neighbour.
    matrices : iterable of iterable of array
        For every matrix of the layout, in the order of the file, pieces of its numbers.
    byte_order : {"=", "<", ">"}
        Byte order of the file.
    """
    n = header.n_atoms
    cells, index = np.unique(header.pair_R, axis=0, return_inverse=True)
    # Cell 0 comes first, as in OpenMX's own files.
    home = int(np.flatnonzero(~cells.any(axis=1))[0])
    order = [home, *(c for c in range(len(cells)) if c != home)]
    rank = np.argsort(order)
    cells = cells[order]
    switch = header.switch

    def padded(rows):
        return np.column_stack([np.zeros(len(rows), dtype=rows.dtype), rows])

    with write_whole(path) as part, open(part, "wb") as stream:

        def put(values, kind):
            stream.write(np.ascontiguousarray(values, dtype=byte_order + kind).tobytes())

        put([n, switch + 4 * header.layout, 0, 0, 0, len(cells) - 1], "i4")
        if header.layout:
            put([header.order_max], "i4")
        put(padded(cells @ header.cell), "f8")
        put(padded(cells), "i4")
        put(header.orbitals, "i4")
        put(np.bincount(header.pair_i, minlength=n) - 1, "i4")
        put(header.pair_j + 1, "i4")
        put(rank[index.ravel()], "i4")
        put(padded(header.cell), "f8")
        put(padded(2 * np.pi * np.linalg.inv(header.cell).T), "f8")
        put(padded(header.positions), "f8")
        for matrix in matrices:
            for piece in matrix:
                put(piece, "f8")
        put([3], "i4")
        numbers = [header.fermi, header.temperature, *6 * [0.0]]
        put([*numbers, header.electron_count, header.total_spin], "f8")
        lines = header.text.split("\n") if header.text else []
        put([len(lines)], "i4")
        for line in lines:
            stream.write((line + "\n").encode()[: LINE_BYTES - 1].ljust(LINE_BYTES, b"\0"))


def repeat(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    counts: Sequence[int] = (1, 1, 1),
    byte_order: str = "=",
    text: bool = True,
) -> None:
    """Write a ``.scfout`` of a repeated cell: the same physics, any size.

    Parameters
    ----------
    source : str or path-like
        An existing ``.scfout``.
    target : str or path-like
        File to make.
    counts : tuple of three int
        Repetitions along the lattice vectors; (1, 1, 1) rewrites the file.
    byte_order : {"=", "<", ">"}
        Byte order of the new file.
    text : bool
        Append the input text.

    Raises
    ------
    MoireioError
        If a count is not positive.
    """
    counts = np.asarray(counts, dtype=np.int64)
    if counts.shape != (3,) or (counts < 1).any():
        raise MoireioError(f"repetitions {counts.tolist()} are not three positive numbers")
    with open_scfout(source) as file:
        header, n = file.header, file.header.n_atoms
        grid = np.array(list(np.ndindex(*counts)), dtype=np.int64)
        copies = len(grid)
        place = grid[:, None, :] + header.pair_R[None, :, :]
        R, inside = np.divmod(place, counts)
        image = np.ravel_multi_index(tuple(np.moveaxis(inside, -1, 0)), tuple(counts))
        positions = header.positions + (grid @ header.cell)[:, None, :]
        new = replace(
            header,
            orbitals=np.tile(header.orbitals, copies),
            pair_i=(np.arange(copies)[:, None] * n + header.pair_i).ravel(),
            pair_j=(image * n + header.pair_j).ravel(),
            pair_R=R.reshape(-1, 3),
            cell=header.cell * counts[:, None],
            positions=positions.reshape(-1, 3),
            electron_count=header.electron_count * copies,
            total_spin=header.total_spin * copies,
        )
        new = replace(new, text=_repeat_text(new) if text else "")
        total = (header.matrix_end - header.matrix_start) // header.matrix_bytes
        write(target, new, (_pieces(file, m, copies) for m in range(total)), byte_order)


def _pieces(file, matrix, copies):
    """Yield the numbers of a repeated matrix: rows of all copies are those of the original."""
    header = file.header
    begin = header.matrix_start + matrix * header.matrix_bytes
    whole = np.frombuffer(
        file.raw(begin, header.matrix_bytes), dtype=np.dtype(header.byte_order + "f8")
    )
    many = max(1, PIECE_BYTES // max(1, whole.nbytes))
    for done in range(0, copies, many):
        yield np.tile(whole, min(many, copies - done))


def _repeat_text(header):
    """Return the input text with the coordinates of the repeated cell, Å."""
    out, rows, skipping = [], [], None
    for line in header.text.split("\n"):
        words = line.split()
        name = words[0].lower() if words else ""
        if skipping is not None:
            if name == f"{skipping}>":
                skipping = None
            elif skipping == "atoms.speciesandcoordinates":
                rows.append(words)
            continue
        if name in ("<atoms.speciesandcoordinates", "<atoms.unitvectors"):
            skipping = name[1:]
            continue
        if name not in (
            "atoms.number",
            "atoms.speciesandcoordinates.unit",
            "atoms.unitvectors.unit",
        ):
            out.append(line)
    positions = header.positions * BOHR_ANGSTROM
    out += [f"Atoms.Number {len(positions)}", "Atoms.SpeciesAndCoordinates.Unit Ang"]
    out.append("<Atoms.SpeciesAndCoordinates")
    for number, xyz in enumerate(positions):
        words = rows[number % len(rows)]
        where = " ".join(f"{v:.12f}" for v in xyz)
        out.append(f" {number + 1} {words[1]} {where} {' '.join(words[5:])}")
    out += ["Atoms.SpeciesAndCoordinates>", "Atoms.UnitVectors.Unit Ang", "<Atoms.UnitVectors"]
    out += [" " + " ".join(f"{v:.12f}" for v in row) for row in header.cell * BOHR_ANGSTROM]
    out.append("Atoms.UnitVectors>")
    return "\n".join(out)
