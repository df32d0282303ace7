"""Matrices in real space of DFTB+ (``WriteRealHS = Yes``).

Layout: ``hamreal1.dat`` (``hamreal2.dat`` of the down electrons) and ``overreal.dat`` give the
number of atoms, the numbers of neighbours and orbitals of each, and one block for each pair of an
atom with a neighbour: two atoms, the cell of the second, and as many rows as the first has
orbitals. Hartree. One of each pair is there, and both cells ±R of an atom with its own images.
Cells are counted between atoms folded to [0, 1). Orbitals are m = −l … l; the shells are those of
``MaxAngularMomentum`` in ``dftb_in.hsd``, which also has the atoms. Kept: structure, shells, H, S,
the Fermi level of ``detailed.out``. Lost: radial functions; non-collinear matrices.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MissingFileError, MoireioError, naming
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.elements import OrbitalMap, source_from_matrices
from moireio.formats.assembly.orders import NATURAL
from moireio.formats.assembly.placing import on_faces, settled_by_overlap, wrapped
from moireio.formats.assembly.shells import parse_shells_option, structure_and_basis
from moireio.formats.dftbplus.hsd import BOHR_ANGSTROM, Geometry, Input, read_gen, read_input
from moireio.formats.structures.text import plain_name, read_text, shown
from moireio.formats.text.streams import (
    beside,
    finder,
    first_bytes,
    lines,
    require_known_name,
)
from moireio.formats.text.tables import NumberFile
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis
from moireio.system.boxes import complete_cell
from moireio.system.structure import Structure
from moireio.units import Constants

HARTREE_EV = 27.2113845
LIMITS = {"hamiltonian": 1e-3, "overlap": 1e-5}
INPUTS = ("dftb_in.hsd", "dftb_pin.hsd")
_SOURCE = re.compile(r"(?:hamreal[12]|overreal)\.dat")
_FERMI = re.compile(r"\s*Fermi level(?: \(\w+\))?:\s+(-?\d[\d.]*)\s+H\b(?:\s+(-?\d[\d.]*)\s+eV\b)?")
#: Shells of usual numbers of orbitals, where no input gives them.
USUAL = {1: (0,), 4: (0, 1), 9: (0, 1, 2), 16: (0, 1, 2, 3)}
LARGEST_ATOM = 200  # orbitals
FARTHEST = 1 << 20
SAME_IN_EV = 1e-3  # four decimals are written
SAME_LEVEL = 1e-6  # Hartree, of the Fermi levels of up and down


@dataclass(frozen=True, eq=False)
class Matrix:
    """The blocks of a file.

    Parameters
    ----------
    sizes : (N,) array of int64
        Orbitals of each atom.
    cells : (n, 3) array of int64
        The cells that occur.
    matrices : list of n coo_array
        ⟨i,0|O|j,R⟩, one of each pair.
    """

    sizes: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]
    matrices: list[Any]


def detect(path: str) -> bool:
    """Return whether a path is a matrix in real space of DFTB+, or a folder with one.

    Parameters
    ----------
    path : str
        Any file or folder.

    Returns
    -------
    bool
        By name and beginning.
    """
    if os.path.isdir(path):
        return beside(path, "hamreal1.dat", "overreal.dat") is not None
    named = _SOURCE.fullmatch(plain_name(path)) is not None
    return named and re.match(rb"\s*#\s*NATOM", first_bytes(path)) is not None


def read(
    path: str,
    *,
    label: str | None = None,
    companions: Sequence[str] = (),
    pbc: Sequence[bool] | None = None,
    shells: str | None = None,
) -> Calculation:
    """Read the matrices of a calculation.

    Parameters
    ----------
    path : str
        ``hamreal1.dat`` or another of them, or their folder. The others are found beside it.
    label : str, optional
        The name that messages show.
    companions : sequence of str
        Files that lie elsewhere: ``dftb_in.hsd``, a geometry in the gen format, matrices,
        ``detailed.out``.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.
    shells : str, optional
        Shells of types that no input gives, as ``C=sp,Ti=spd``.

    Returns
    -------
    Calculation
        With atoms moved as the cells of the matrices count them.

    Raises
    ------
    MoireioError
        If a file is missing, damaged, or does not fit the others.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    label = label or path
    known = _SOURCE.fullmatch(plain_name(path)) is not None
    require_known_name(path, label, known, "DFTB+", "hamreal1.dat, hamreal2.dat, overreal.dat")
    find = finder(path, companions)

    beyond = find("hamreal3.dat", "hamimag1.dat", "hamimag2.dat")
    if beyond is not None:
        raise MoireioError(
            f"{os.path.basename(beyond)} is of a calculation with non-collinear spins or "
            "spin-orbit coupling, which is not read",
            path=label,
        )
    found = {
        "hamiltonian": [f for f in (find("hamreal1.dat"), find("hamreal2.dat")) if f],
        "overlap": [f for f in (find("overreal.dat"),) if f],
    }
    if not any(found.values()):
        raise MissingFileError("has no hamreal1.dat and no overreal.dat", path=label)
    if find("hamreal2.dat") and not find("hamreal1.dat"):
        raise MissingFileError("has hamreal2.dat, but not hamreal1.dat", path=label)
    geometry, given_input, used = _input(find, companions, folder, label)
    if given_input and given_input.collinear and len(found["hamiltonian"]) == 1:
        raise MissingFileError(
            "is of the up electrons alone: the input has SpinPolarisation = Colinear, and no "
            "hamreal2.dat is beside it",
            path=label,
            remedy="give it in `companions`",
        )
    matrices = {
        name: [read_matrix(file) for file in files] for name, files in found.items() if files
    }
    first = next(iter(matrices.values()))[0]
    notes: list[str] = []
    structure, basis = _structure(geometry, given_input, first, shells, used[0], notes)
    if geometry.cell is not None:
        structure, moves = wrapped(structure, 0.0, low_included=True)
        if moves.any():
            notes.append(
                f"{int(moves.any(axis=1).sum())} of {len(structure)} atoms moved into the cell, "
                "between whose atoms DFTB+ counts R"
            )
    orbitals = OrbitalMap.make(structure, basis, NATURAL)
    operators = {}
    for name, parts in matrices.items():
        for part, file in zip(parts, found[name], strict=True):
            same = np.array_equal(part.sizes, first.sizes)
            if not same or not np.array_equal(part.cells, parts[0].cells):
                raise MoireioError("has other atoms, orbitals or cells than the others", path=file)
        operators[name] = source_from_matrices(
            name,
            parts[0].cells,
            [part.matrices for part in parts] if len(parts) == 2 else parts[0].matrices,
            orbitals,
            label=found[name][0],
            spin="collinear" if len(parts) == 2 else "none",
            scale=HARTREE_EV if name == "hamiltonian" else 1.0,
            source="tight-binding",
            partners="missing",
            limit=LIMITS[name],
        )
    if geometry.cell is not None:
        checked = operators.get("overlap", operators.get("hamiltonian"))
        faces = on_faces(structure, 0.0)
        structure, note = settled_by_overlap(structure, checked, label, faces)
        notes += [note] if note else []
    if "hamiltonian" not in operators:
        notes.append("no hamreal1.dat: H is not known")
    if "overlap" not in operators:
        notes.append("no overreal.dat: S is not known")
    if "hamiltonian" in operators and not (given_input and given_input.reads_charges):
        notes.append(
            "DFTB+ writes H before the charges are self-consistent, unless they are read "
            "(ReadInitialCharges = Yes)"
        )
    log = find("detailed.out")
    electrons = _fermi(log, notes) if log else None
    files = [*used, *found["hamiltonian"], *found["overlap"], *([log] if log else [])]
    return assemble(
        label,
        structure,
        basis,
        operators,
        electrons=electrons,
        notes=notes,
        files=files,
        pbc=(False,) * 3 if geometry.cell is None else pbc,
        constants=Constants(BOHR_ANGSTROM, HARTREE_EV),
        described="the geometry or dftb_in.hsd",
    )


def _input(
    find: Any, companions: Sequence[str], folder: str, label: str
) -> tuple[Geometry, Input | None, list[str]]:
    """Return the atoms, the input if there is one, and the files, that of the atoms first."""
    named = find(*INPUTS)
    named = next((c for c in companions if plain_name(c).endswith(".hsd")), named)
    given = read_input(named) if named else None
    gens = [c for c in companions if plain_name(c).endswith(".gen")]
    if not gens and (given is None or given.geometry is None):
        gens = [
            os.path.join(folder, name)
            for name in sorted(os.listdir(folder or "."))
            if plain_name(name).endswith(".gen")
        ]
        gens = gens if len(gens) == 1 else []
    if gens:
        with naming(gens[0]):
            geometry = read_gen(read_text(gens[0]))
        return geometry, given, [gens[0], *([named] if named else [])]
    if given is None or given.geometry is None or named is None:
        raise MissingFileError(
            "has no dftb_in.hsd with the geometry beside it",
            path=label,
            remedy="give dftb_in.hsd or a geometry in the gen format in `companions`",
        )
    included = [file for file in given.files if plain_name(file).endswith(".gen")]
    return given.geometry, given, list(dict.fromkeys([*included, named, *given.files]))


def _structure(
    geometry: Geometry,
    given: Input | None,
    matrix: Matrix,
    shells: str | None,
    path: str,
    notes: list[str],
) -> tuple[Structure, Basis]:
    """Return structure and basis with the atoms where the input has them."""
    if len(geometry.species) != len(matrix.sizes):
        raise MoireioError(
            f"has {len(geometry.species)} atoms, the matrices {len(matrix.sizes)}",
            path=path,
            remedy="the two are of different calculations",
        )
    known = {**(given.shells if given else {}), **parse_shells_option(shells)}
    guessed: list[str] = []
    momenta = []
    for atom, (name, size) in enumerate(zip(geometry.species, matrix.sizes.tolist(), strict=True)):
        found = known.get(name)
        if found is None:
            found = USUAL.get(size)
            guessed += [name] if name not in guessed else []
        if found is None or sum(2 * v + 1 for v in found) != size:
            what = "has no shells" if found is None else f"{found} for {name} are other orbitals"
            raise MoireioError(
                f"atom {atom + 1} ({name}) has {size} orbitals in the matrices; {what}",
                path=path,
                remedy=f"give its shells with `shells` as in {name}=spd",
            )
        momenta.append(found)
    if guessed:
        notes.append(
            f"the shells of {', '.join(guessed)} are those usual for the number of orbitals: no "
            "MaxAngularMomentum gives them"
        )
    with naming(path):
        cell = geometry.cell
        if cell is None:
            cell = complete_cell(np.zeros((3, 3)), geometry.positions)[0]
        return structure_and_basis(
            cell, geometry.positions, geometry.numbers, geometry.species, momenta
        )


def read_matrix(path: str) -> Matrix:
    """Read a matrix.

    Parameters
    ----------
    path : str
        Such as ``hamreal1.dat``, compressed or not.

    Returns
    -------
    Matrix
        As the file has it, Hartree or 1.

    Raises
    ------
    MoireioError
        With the line that cannot be read.
    """
    from scipy.sparse import coo_array

    blocks: dict[tuple[int, int, int], list[tuple[int, int, list[list[float]]]]] = {}
    seen: set[tuple[int, ...]] = set()
    with NumberFile(path) as file, naming(path):
        text = _Rows(file)
        (n_atoms,) = text.integers(1, "the number of atoms")
        sizes, neighbours = [], 0
        if not 0 < n_atoms < FARTHEST:
            raise DamagedError(f"has {n_atoms} atoms")
        for atom in range(1, n_atoms + 1):
            number, count, size = text.integers(3, "an atom, its neighbours and orbitals")
            if number != atom or not 0 < size <= LARGEST_ATOM or count < 0:
                raise DamagedError(f"line {text.line}: atom {number} with {size} orbitals")
            sizes.append(size)
            neighbours += count
        while (words := text.next()) is not None:
            i, _, j, *cell = text.as_integers(words, 6, "two atoms and a cell")
            if not (1 <= i <= n_atoms and 1 <= j <= n_atoms) or max(map(abs, cell)) > FARTHEST:
                raise DamagedError(f"line {text.line}: a pair of atoms {i} and {j}, cell {cell}")
            key = i, j, *cell
            if key in seen or (i != j and (j, i, *(-c for c in cell)) in seen):
                raise DamagedError(f"line {text.line}: the pair {i} {j} {cell} is there twice")
            seen.add(key)
            rows = [text.reals(sizes[j - 1]) for _ in range(sizes[i - 1])]
            blocks.setdefault((cell[0], cell[1], cell[2]), []).append((i - 1, j - 1, rows))
    if len(seen) != neighbours:
        raise DamagedError(
            f"announces {neighbours} pairs of atoms, and has {len(seen)}",
            path=path,
            remedy="it is cut short or damaged",
        )
    starts = np.concatenate([[0], np.cumsum(sizes)])
    total = int(starts[-1])
    matrices = []
    for listed in blocks.values():
        row = [np.repeat(np.arange(sizes[i]) + starts[i], sizes[j]) for i, j, _ in listed]
        column = [np.tile(np.arange(sizes[j]) + starts[j], sizes[i]) for i, j, _ in listed]
        values = np.concatenate([np.ravel(rows) for _, _, rows in listed])
        places = np.concatenate(row), np.concatenate(column)
        matrices.append(coo_array((values, places), (total, total)))
    cells = np.array(list(blocks), dtype=np.int64).reshape(-1, 3)
    return Matrix(np.array(sizes, dtype=np.int64), cells, matrices)


class _Rows:
    """Rows of numbers between lines of comment."""

    def __init__(self, text: NumberFile) -> None:
        self._text = text

    @property
    def line(self) -> int:
        return self._text.line_number

    def next(self) -> list[str] | None:
        while True:
            self._text.skip_blank()
            if self._text.at_end:
                return None
            words = self._text.line("a pair of atoms").split()
            if words and not words[0].startswith("#"):
                return words

    def integers(self, count: int, what: str) -> list[int]:
        return self.as_integers(self.next() or [], count, what)

    def as_integers(self, words: list[str], count: int, what: str) -> list[int]:
        try:
            values = [int(word) for word in words]
        except ValueError:
            values = []
        if len(values) != count:
            self._fail(what, words)
        return values

    def reals(self, count: int) -> list[float]:
        words = self.next() or []
        try:
            values = [float(word) for word in words]
        except ValueError:
            values = []
        if len(values) != count or not np.isfinite(values).all():
            self._fail(f"{count} numbers", words)
        return values

    def _fail(self, what: str, words: list[str]) -> None:
        raise DamagedError(
            f"line {self.line}: {what} expected, found {shown(' '.join(words))}",
            remedy="the file is damaged or cut short",
        )


def _fermi(path: str, notes: list[str]) -> Electrons | None:
    """Return the Fermi level of ``detailed.out``; none where those of up and down differ."""
    found = []
    for number, line in enumerate(lines(path), 1):
        match = _FERMI.match(line)
        if match is None:
            continue
        found.append(float(match[1]))
        if match[2] and abs(found[-1] * HARTREE_EV - float(match[2])) > SAME_IN_EV:
            raise DamagedError(
                f"line {number}: the Fermi level in H and that in eV are not the same", path=path
            )
    if not found:
        notes.append(f"{os.path.basename(path)} has no Fermi level: it is not known")
    if found and max(found) - min(found) > SAME_LEVEL:
        notes.append("the Fermi levels of up and down differ, neither is kept")
        return None
    return Electrons(fermi=found[0] * HARTREE_EV) if found else None
