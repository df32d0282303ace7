"""Matrices in real space of FHI-aims (``output_rs_matrices plain`` or ``hdf5``).

Layout: ``rs_indices.out`` holds three counts, the cells, and for each cell and each row the first
and last place of its elements (1-based; 0 and −1 where there are none), then the column of every
element; the last cell and the last element are dummies. ``rs_hamiltonian.out`` (``_up.out`` and
``_dn.out`` with spin) and ``rs_overlap.out`` hold one number a line, in Hartree; the HDF5 files
``rs_*.h5`` (``_up``, ``_down``) hold them as ``sparse_matrix``. An element of row b and column c in
the cell R is ⟨c,0|H|b,R⟩, only c ≤ b is stored, and R counts cells between atoms moved to
(−½, ½]. ``basis-indices.out`` lists the orbitals (m = −l … l, odd positive m negative) and
``geometry.in`` the atoms. Kept: structure, shells, H, S, Fermi level and electrons (``aims.out``).
Lost: radial functions; spin-orbit coupling, which aims does not write into H.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MissingFileError, MoireioError, naming
from moireio.formats.aims.geometry import Geometry, read_geometry
from moireio.formats.aims.orbitals import read_log, read_orbitals
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.elements import (
    OrbitalMap,
    require_partners_of_cells,
    source_from_matrices,
)
from moireio.formats.assembly.orders import AIMS
from moireio.formats.assembly.placing import on_faces, settled_by_overlap, wrapped
from moireio.formats.assembly.shells import structure_and_basis
from moireio.formats.deeph.files import open_hdf5
from moireio.formats.structures.text import plain_name, shown
from moireio.formats.text.streams import finder, require_known_name
from moireio.formats.text.tables import NumberFile
from moireio.store.hdf5_guard import own_dataset
from moireio.system.basis import Basis
from moireio.system.boxes import complete_cell
from moireio.system.structure import Structure
from moireio.units import Constants

BOHR_ANGSTROM, HARTREE_EV = 0.52917721, 27.2113845
LIMITS = {"hamiltonian": 1e-3, "overlap": 1e-5}
INDICES = "rs_indices.out"
_SOURCE = re.compile(r"rs_(?:indices\.out|(?:overlap|hamiltonian(?:_up|_dn|_down)?)\.(?:out|h5))")
LARGEST_BASIS = 10_000_000
FARTHEST = 1 << 20


@dataclass(frozen=True, eq=False)
class Pattern:
    """Which elements the matrices hold.

    Parameters
    ----------
    cells : (n_cells, 3) array of int64
        R.
    rows : list of (n,) arrays of int64
        For each cell the orbital b of every element.
    columns : list of (n,) arrays of int64
        For each cell the orbital c.
    places : list of (n,) arrays of int64
        For each cell where the element stands in the list of numbers.
    n_basis : int
        Orbitals.
    size : int
        Numbers in a file, with the dummy at its end.
    """

    cells: npt.NDArray[np.int64]
    rows: list[npt.NDArray[np.int64]]
    columns: list[npt.NDArray[np.int64]]
    places: list[npt.NDArray[np.int64]]
    n_basis: int
    size: int

    def matrices(self, values: npt.NDArray[np.float64]) -> list:
        """Return ⟨c,0|O|b,R⟩ as one sparse matrix a cell.

        Parameters
        ----------
        values : (size,) array
            The numbers of a file.

        Returns
        -------
        list of coo_array
            Rows c, columns b.
        """
        from scipy.sparse import coo_array

        shape = (self.n_basis, self.n_basis)
        return [
            coo_array((values[place], (column, row)), shape)
            for row, column, place in zip(self.rows, self.columns, self.places, strict=True)
        ]


def detect(path: str) -> bool:
    """Return whether a path is a matrix in real space of FHI-aims, or a folder with some.

    Parameters
    ----------
    path : str
        Any file or folder.

    Returns
    -------
    bool
        By its name.
    """
    if os.path.isdir(path):
        return any(_SOURCE.fullmatch(plain_name(name)) for name in os.listdir(path))
    return _SOURCE.fullmatch(plain_name(path)) is not None and os.path.isfile(path)


def read(
    path: str,
    *,
    label: str | None = None,
    companions: Sequence[str] = (),
    pbc: Sequence[bool] | None = None,
) -> Calculation:
    """Read the matrices of a calculation.

    Parameters
    ----------
    path : str
        One of its files ``rs_*``, or the folder. The others are found beside it.
    label : str, optional
        The name that messages show.
    companions : sequence of str
        Files that lie elsewhere: ``rs_indices.out``, ``basis-indices.out``, ``geometry.in``,
        ``control.in``, ``aims.out`` and the matrices.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.

    Returns
    -------
    Calculation
        With atoms moved as the cells of the matrices count them.

    Raises
    ------
    MoireioError
        If a file is missing, damaged, or does not fit the others.
    """
    label = label or path
    known = _SOURCE.fullmatch(plain_name(path)) is not None
    require_known_name(path, label, known, "FHI-aims", "rs_hamiltonian.out, rs_overlap.out")
    find = finder(path, companions)

    def need(what: str, *names: str) -> str:
        found = find(*names)
        if found is None:
            raise MissingFileError(
                f"has no {names[0]} beside it, {what}", path=label, remedy="give it in `companions`"
            )
        return found

    indices = need("which says where the elements belong", INDICES)
    listed = need("which lists the orbitals", "basis-indices.out")
    geometry_file = need("which holds the atoms", "geometry.in")
    control = find("control.in")
    geometry = read_geometry(geometry_file, control)
    pattern = read_indices(indices, periodic=geometry.cell is not None)
    structure, basis = _structure(geometry, listed, pattern.n_basis, geometry_file)
    files = _matrix_files(path, find, label)
    orbitals = OrbitalMap.make(structure, basis, AIMS)
    operators = {}
    for name, paths in files.items():
        if not paths:
            continue
        matrices = [pattern.matrices(read_values(file, pattern.size)) for file in paths]
        operators[name] = source_from_matrices(
            name,
            pattern.cells,
            matrices if len(paths) == 2 else matrices[0],
            orbitals,
            label=paths[0],
            spin="collinear" if len(paths) == 2 else "none",
            scale=HARTREE_EV if name == "hamiltonian" else 1.0,
            partners="missing",
            limit=LIMITS[name],
        )
    notes = []
    if geometry.cell is not None:
        structure, moves = wrapped(structure, -0.5, low_included=False)
        if moves.any():
            notes.append(
                f"{int(moves.any(axis=1).sum())} of {len(structure)} atoms moved into the cell "
                "around the origin, between whose atoms FHI-aims counts R"
            )
        checked = operators.get("overlap", operators.get("hamiltonian"))
        faces = on_faces(structure, -0.5)
        structure, note = settled_by_overlap(structure, checked, label, faces)
        notes += [note] if note else []
    if geometry.spin_orbit:
        notes.append(
            "control.in has include_spin_orbit, which FHI-aims adds later: its H is without "
            "spin-orbit coupling"
        )
    if not files["hamiltonian"]:
        notes.append("no rs_hamiltonian.out: H is not known")
    if not files["overlap"]:
        notes.append("no rs_overlap.out: S is not known")
    log = find("aims.out")
    electrons = read_log(log, notes) if log else None
    used = [indices, listed, geometry_file, *files["hamiltonian"], *files["overlap"]]
    used += [name for name in (control, log) if name]
    return assemble(
        label,
        structure,
        basis,
        operators,
        electrons=electrons,
        notes=notes,
        files=used,
        pbc=(False,) * 3 if geometry.cell is None else pbc,
        constants=Constants(BOHR_ANGSTROM, HARTREE_EV),
        described="geometry.in or basis-indices.out",
    )


def read_indices(path: str, *, periodic: bool) -> Pattern:
    """Read ``rs_indices.out``.

    Parameters
    ----------
    path : str
        The file, compressed or not.
    periodic : bool
        Whether the calculation is; else it lists no cells.

    Returns
    -------
    Pattern
        Without the dummies.

    Raises
    ------
    MoireioError
        If it contradicts itself.
    """
    with NumberFile(path) as text, naming(path):
        size, n_cells, n_basis = (
            _count(text, name)
            for name in ("n_hamiltonian_matrix_size", "n_cells_in_hamiltonian", "n_basis")
        )
        if not 0 < n_basis <= LARGEST_BASIS or n_cells < 1 or size < 1:
            raise DamagedError(f"has {n_basis} orbitals, {n_cells} cells and {size} elements")
        # The last cell is a dummy; a molecule has the cell 0 alone, which is not listed.
        listed = "not used" not in _heading(text, "cell_index")
        if listed != periodic:
            text.fail(
                "lists "
                + ("cells" if listed else "no cells")
                + ", but geometry.in has "
                + ("lattice vectors" if periodic else "none"),
                "the two are of different calculations",
            )
        cells = [_integers(text, 3, "a cell") for _ in range(n_cells)] if listed else [[0, 0, 0]]
        if listed and max(abs(v) for v in cells[-1]) >= FARTHEST:
            cells = cells[:-1]
        R = np.array(cells, dtype=np.int64)
        if (np.abs(R) >= FARTHEST).any():
            raise DamagedError(f"has a cell beyond {FARTHEST}")
        bounds = []
        for which in "12":
            _heading(text, f"index_hamiltonian({which}")
            bounds.append(
                np.stack([np.array(_integers(text, n_basis, "a row of places")) for _ in R])
            )
            for _ in range(n_cells - len(R)):
                text.line("a row of places")
        _heading(text, "column_index_hamiltonian")
        columns = text.rest(1, size, "a column")[:, 0]
        if len(columns) not in (size, size - 1) or (len(columns) < size and not columns[-1:].all()):
            raise DamagedError(
                f"lists {len(columns)} columns, {size} expected", remedy="it is cut short"
            )
        columns = columns.astype(np.int64)
        first, last = bounds
        there = (first > 0) & (last >= first)
        if (last[there] > len(columns)).any():
            raise DamagedError(f"has a place beyond its {size} elements")
        rows, of_columns, places = [], [], []
        uses = np.zeros(len(columns), dtype=np.int64)
        for cell in range(len(R)):
            b = np.flatnonzero(there[cell])
            lengths = last[cell, b] - first[cell, b] + 1
            if lengths.sum() > size:
                raise DamagedError(f"gives the cell {R[cell].tolist()} elements twice")
            ends = np.cumsum(lengths)
            begins = first[cell, b] - 1
            place = np.arange(lengths.sum()) + np.repeat(begins - ends + lengths, lengths)
            c = columns[place] - 1
            if len(c) and (c.min() < 0 or c.max() >= n_basis):
                raise DamagedError(f"has a column outside 1..{n_basis}")
            uses += np.bincount(place, minlength=len(uses))
            rows.append(np.repeat(b, lengths))
            of_columns.append(c)
            places.append(place)
        if listed:
            require_partners_of_cells(R)
        wrong = np.flatnonzero((uses != 1) & (columns > 0))
        if len(wrong):
            raise DamagedError(
                f"gives element {wrong[0] + 1} {uses[wrong[0]]} places, one expected",
                remedy="an entry of index_hamiltonian is damaged",
            )
    return Pattern(R, rows, of_columns, places, n_basis, size)


def _count(text: NumberFile, name: str) -> int:
    line = text.line(name)
    found = re.fullmatch(rf"\s*{name}:\s*(\d{{1,15}})\s*", line)
    if found is None:
        text.fail(f"{name} expected, found {shown(line)}")
    return int(found[1])


def _heading(text: NumberFile, name: str) -> str:
    text.skip_blank()
    line = text.line(name)
    if name not in line:
        text.fail(f"{name} expected, found {shown(line)}")
    return line


def _integers(text: NumberFile, count: int, what: str) -> list[int]:
    line = text.line(what)
    try:
        values = [int(word) for word in line.split()]
    except ValueError:
        values = []
    if len(values) != count or max(map(abs, values)) > 1 << 60:
        text.fail(f"{what}, {count} integers, expected, found {shown(line)}")
    return values


def read_values(path: str, size: int) -> npt.NDArray[np.float64]:
    """Read the numbers of a matrix.

    Parameters
    ----------
    path : str
        Text with one number a line, or HDF5; compressed or not.
    size : int
        How many are expected, with the dummy at the end.

    Returns
    -------
    (size,) or (size − 1,) array
        Finite. Without the dummy, which is 0, the last number is not 0: else a line is lost.

    Raises
    ------
    MoireioError
        If there are fewer or more.
    """
    if plain_name(path).endswith(".h5"):
        with open_hdf5(path) as file:
            try:
                dataset = own_dataset(file, "sparse_matrix", path)
            except KeyError as error:
                raise MoireioError("has no array sparse_matrix", path=path) from error
            if dataset.dtype.kind != "f" or dataset.size > size + 1:
                raise MoireioError(
                    f"its sparse_matrix is {dataset.dtype} {dataset.shape}, {size} real numbers "
                    "expected",
                    path=path,
                )
            values = np.ravel(dataset[()]).astype(np.float64)
        if not np.isfinite(values).all():
            place = int(np.flatnonzero(~np.isfinite(values))[0]) + 1
            raise DamagedError(f"element {place} of sparse_matrix is not finite", path=path)
    else:
        with NumberFile(path) as text:
            values = text.rest(1, size, "a number")[:, 0]
    if len(values) not in (size, size - 1) or (len(values) < size and not values[-1:].all()):
        raise DamagedError(
            f"holds {len(values)} numbers, {size} expected by {INDICES}",
            path=path,
            remedy="it is cut short, or of another calculation",
        )
    return values


def _matrix_files(path: str, find: Callable[..., str | None], label: str) -> dict[str, list[str]]:
    """Return the files of H, one or up and down, and of S."""
    one = find("rs_hamiltonian.out", "rs_hamiltonian.h5")
    spins = [
        find("rs_hamiltonian_up.out", "rs_hamiltonian_up.h5"),
        find("rs_hamiltonian_dn.out", "rs_hamiltonian_down.h5", "rs_hamiltonian_dn.h5"),
    ]
    of_a_spin = re.match(r"rs_hamiltonian_(?:up|d)", plain_name(path)) is not None
    if one is not None and not of_a_spin:
        spins = []
    hamiltonian = [file for file in spins or [one] if file is not None]
    if len(hamiltonian) < len(spins) and hamiltonian:
        raise MissingFileError(
            f"has {os.path.basename(hamiltonian[0])} beside it, but not that of the other spin",
            path=label,
            remedy="both belong to a calculation with `spin collinear`",
        )
    overlap = find("rs_overlap.out", "rs_overlap.h5")
    if not hamiltonian and overlap is None:
        raise MissingFileError("has no rs_hamiltonian.out and no rs_overlap.out", path=label)
    return {"hamiltonian": hamiltonian, "overlap": [overlap] if overlap else []}


def _structure(geometry: Geometry, listed: str, n_basis: int, path: str) -> tuple[Structure, Basis]:
    """Return structure and basis with the atoms where geometry.in has them."""
    shells = read_orbitals(listed, geometry.species)
    total = sum(2 * momentum + 1 for one in shells for momentum in one)
    if total != n_basis:
        raise MoireioError(
            f"lists {total} orbitals, but {INDICES} has {n_basis}",
            path=listed,
            remedy="the two are of different calculations",
        )
    with naming(path):
        cell = geometry.cell
        if cell is None:
            cell = complete_cell(np.zeros((3, 3)), geometry.positions)[0]
        return structure_and_basis(
            cell,
            geometry.positions,
            geometry.numbers,
            geometry.species,
            shells,
            valence=dict(zip(geometry.species, map(float, geometry.numbers), strict=True)),
        )
