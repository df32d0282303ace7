"""Writing ``X_hr.dat`` and ``X_tb.dat`` with ``X.win`` and ``X_centres.xyz`` beside them.

All degeneracies are 1 and every element is in the cell where it belongs, so that no ``_wsvec.dat``
is needed. Numbers have all their digits in the form 1.2e-03, which every reader of words takes;
with `digits` they have so many after the point, six in Wannier90's own layout.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from moireio import __version__
from moireio.blockfile.calculation import Calculation
from moireio.errors import ExistingFileError, MoireioError
from moireio.formats.assembly.elements import OrbitalMap, matrices_from_source
from moireio.formats.assembly.losses import note_losses
from moireio.formats.assembly.plain import PlainHamiltonian, is_orthogonal, plain_hamiltonian
from moireio.formats.wannier90.beside import HAMILTONIANS, seed_of
from moireio.formats.wannier90.calculation import GROUP
from moireio.runtime.files import require_free, shared_texts, write_text

LARGEST = 64 << 30  # bytes of text; sparse formats are for larger ones
SPIN_NAMES = ("_up", "_dn")
PROGRAM = "Wannier90"
MOST_DIGITS = 17


def write_calculation(
    calculation: Calculation,
    path: str,
    kind: str,
    *,
    force: bool,
    orthogonalise: str | None,
    digits: int | None,
) -> None:
    """Write a Hamiltonian and the files beside it.

    Parameters
    ----------
    calculation : Calculation
        With H.
    path : str
        ``X_hr.dat`` or ``X_tb.dat``; two files ``X_up…`` and ``X_dn…`` where spin is collinear.
    kind : {"hr", "tb"}
        Which.
    force : bool
        Replace what exists.
    orthogonalise : str or None
        Mesh for Löwdin's orthogonalisation where S is not 1.
    digits : int or None
        Digits after the point; by default all.

    Raises
    ------
    MoireioError
        If the name has another ending, S is not 1, or a file exists.
    """
    require_digits(digits)
    ending = f"_{kind}.dat"
    seed = seed_of(path)
    if not seed or not path.endswith(ending):
        raise MoireioError(
            f"is no name of a Hamiltonian of {PROGRAM}", path=path, remedy=f"as X{ending}"
        )
    spin = calculation.hamiltonian.meta.spin
    names = [f"{seed}{one}" for one in SPIN_NAMES] if spin == "collinear" else [seed]
    targets = [name + ending for name in names]
    require_free(*targets, force=force, inputs=calculation.files)
    spinor = "interleaved" if spin == "spinor" else None
    orbitals = OrbitalMap.make(calculation.structure, calculation.basis, spinor=spinor)
    beside = _beside(calculation, names, ending, orbitals, force)
    plain = plain_hamiltonian(calculation, orbitals, orthogonalise, PROGRAM)
    _require_size(plain, len(orbitals), calculation.label)
    positions = None if kind == "hr" else _positions(calculation, orbitals, plain, spin)
    kept = ("hamiltonian", "overlap", *(() if kind == "hr" else ("position",)))
    note_losses(calculation, f"{PROGRAM}'s files", kept, fermi=False)
    if spin == "collinear":
        calculation.notes.append(f"one file each for up and down: {', '.join(targets)}")
    with ExitStack() as stack:
        for component, name in enumerate(names):
            stream = stack.enter_context(write_text(name + ending))
            if positions is None:
                write_hr(stream, plain, component, digits)
            else:
                _write_tb(stream, calculation, plain, component, positions, digits)
        for path, text in beside.items():
            stack.enter_context(write_text(path)).write(text)


def _beside(
    calculation: Calculation, names: Sequence[str], ending: str, orbitals: OrbitalMap, force: bool
) -> dict[str, str]:
    """Return the files beside the Hamiltonians that are not there as they should be."""
    texts = {".win": _win(calculation, orbitals), "_centres.xyz": _centres(calculation, orbitals)}
    wanted = {}
    for name in names:
        images = f"{name}_wsvec.dat"
        if os.path.lexists(images):
            raise ExistingFileError(
                f"is of another run: {name}{ending} would be read with it",
                path=images,
                remedy="name another output, or remove it",
            )
        others = [name + end for end in HAMILTONIANS if end != ending]
        own = {name + end: text for end, text in texts.items()}
        wanted |= shared_texts(own, others, force=force, inputs=calculation.files)
    return wanted


def _require_size(plain: PlainHamiltonian, n: int, label: str) -> None:
    nbytes = len(plain.cells) * n * n * 70
    if nbytes > LARGEST:
        raise MoireioError(
            f"{n} orbitals and {len(plain.cells)} lattice vectors make some "
            f"{nbytes / 2**30:.0f} GiB of text: the format lists zeros too",
            path=label,
            remedy="the sparse form of WannierTools does not",
        )


def _comment(calculation: Calculation) -> str:
    name = os.path.basename(os.path.normpath(calculation.label))
    return f" moireio {__version__}, from {name}\n"


def _counts(n: int, n_cells: int) -> Iterator[str]:
    yield f"{n:12d}\n{n_cells:12d}\n"
    for begin in range(0, n_cells, 15):
        yield f"{1:5d}" * min(15, n_cells - begin) + "\n"


def require_digits(digits: int | None) -> None:
    """Refuse numbers of digits that are none.

    Parameters
    ----------
    digits : int or None
        Digits after the point, or all.

    Raises
    ------
    MoireioError
        If there is none, or more than numbers have.
    """
    if digits is not None and not 1 <= digits <= MOST_DIGITS:
        raise MoireioError(
            f"`digits` is {digits}", remedy=f"1 to {MOST_DIGITS} digits after the point"
        )


def number_form(digits: int | None) -> str:
    """Return how numbers are formatted, apart from those before them however large they are.

    Parameters
    ----------
    digits : int or None
        Digits after the point; None for all.

    Returns
    -------
    str
        For the operator %.
    """
    return " %23.16e" if digits is None else f" %{digits + 5}.{digits}f"


def write_hr(stream: TextIO, plain: PlainHamiltonian, component: int, digits: int | None) -> None:
    """Write the text of ``_hr.dat``.

    Parameters
    ----------
    stream : text file
        Open for writing.
    plain : PlainHamiltonian
        H in the order of the file.
    component : int
        The spin.
    digits : int or None
        Digits after the point; None for all.
    """
    n = plain.dense(component, 0).shape[0]
    stream.write(f" written by moireio {__version__}\n")
    stream.writelines(_counts(n, len(plain.cells)))
    names = _names(n)
    for place, cell in enumerate(plain.cells.tolist()):
        start = _cell(cell)
        row = f"{start} %4d %4d{number_form(digits) * 2}\n"
        _write_rows(stream, row, names, [plain.dense(component, place)])


def _write_tb(
    stream: TextIO,
    calculation: Calculation,
    plain: PlainHamiltonian,
    component: int,
    positions: Positions,
    digits: int | None,
) -> None:
    n = plain.dense(component, 0).shape[0]
    stream.write(f" written by moireio {__version__}\n")
    for row in calculation.structure.cell.tolist():
        stream.write("".join(f" {x!r:>23}" for x in row) + "\n")
    stream.writelines(_counts(n, len(plain.cells)))
    names = _names(n)
    for place, cell in enumerate(plain.cells.tolist()):
        stream.write(f"\n{_cell(cell)}\n")
        row = f" %4d %4d   {number_form(digits) * 2}\n"
        _write_rows(stream, row, names, [plain.dense(component, place)])
    for cell in plain.cells.tolist():
        stream.write(f"\n{_cell(cell)}\n")
        row = f" %4d %4d   {number_form(digits) * 6}\n"
        _write_rows(stream, row, names, positions.of(cell))


def _cell(cell: Sequence[int]) -> str:
    return "".join(f" {number:4d}" for number in cell)


def _names(n: int) -> npt.NDArray[np.int64]:
    """Return m and n of every line of one R, m fastest."""
    second, first = np.divmod(np.arange(n * n), n)
    return np.stack([first, second], axis=1) + 1


def _write_rows(
    stream: TextIO,
    row: str,
    names: npt.NDArray[np.int64],
    matrices: Sequence[npt.NDArray[Any]],
) -> None:
    """Write the elements of some matrices of one R beside each other."""
    values = np.empty((len(names), 2 + 2 * len(matrices)), dtype=object)
    values[:, :2] = names
    for place, matrix in enumerate(matrices):
        turned = np.ascontiguousarray(matrix.T).ravel()
        values[:, 2 + 2 * place] = turned.real + 0.0
        values[:, 3 + 2 * place] = turned.imag + 0.0
    stream.write(row * len(names) % tuple(values.ravel().tolist()))


class Positions:
    """⟨m,0|r|n,R⟩ of every R.

    Parameters
    ----------
    centres : (n, 3) array
        Å; the diagonal at R = 0.
    cells : (n_cells, 3) array of int64, optional
        The lattice vectors of `matrices`.
    matrices : list of three lists of matrices, optional
        ⟨m,0|r − τ_m|n,R⟩ along x, y and z.
    """

    def __init__(
        self,
        centres: npt.NDArray[np.float64],
        cells: npt.NDArray[np.int64] | None = None,
        matrices: Sequence[Sequence[Any]] = (),
    ) -> None:
        self._centres, self._matrices = centres, matrices
        listed = [] if cells is None else cells.tolist()
        self._place = {tuple(cell): place for place, cell in enumerate(listed)}

    def of(self, cell: Sequence[int]) -> list[npt.NDArray[Any]]:
        """Return the three matrices of one R.

        Parameters
        ----------
        cell : sequence of three int
            The lattice vector.

        Returns
        -------
        list of (n, n) arrays
            Along x, y and z, Å.
        """
        n = len(self._centres)
        place = self._place.get(tuple(cell))
        out = []
        for axis in range(3):
            matrix = np.zeros((n, n))
            if place is not None:
                matrix = self._matrices[axis][place].toarray()
            if not any(cell):
                matrix = matrix + np.diag(self._centres[:, axis])
            out.append(matrix)
        return out


def _positions(
    calculation: Calculation, orbitals: OrbitalMap, plain: PlainHamiltonian, spin: str
) -> Positions:
    """Return the position matrices, or the centres alone where they are not known."""
    centres = _orbital_centres(calculation, orbitals)
    known = "position" in calculation.operators and is_orthogonal(calculation) and spin == "none"
    if not known:
        calculation.notes.append(
            "the position matrices are the centres of the orbitals alone, all others are 0"
        )
        return Positions(centres)
    cells, matrices = matrices_from_source(calculation.operator("position"), orbitals)
    absent = {tuple(cell) for cell in cells.tolist()} - {tuple(c) for c in plain.cells.tolist()}
    if absent:
        calculation.notes.append(
            f"position matrices of {len(absent)} lattice vectors at which H is 0 are left out"
        )
    return Positions(centres, cells, matrices)


def _orbital_centres(calculation: Calculation, orbitals: OrbitalMap) -> npt.NDArray[np.float64]:
    atoms = np.repeat(np.arange(len(calculation.structure)), orbitals.sizes)[orbitals.rows]
    return calculation.structure.positions[atoms]


def _atoms(calculation: Calculation) -> list[str]:
    """Return a line ``symbol x y z`` for each atom: those of the run, or those of the structure."""
    from ase.data import chemical_symbols

    given = calculation.extra.get(GROUP, {})
    numbers, positions = calculation.structure.numbers, calculation.structure.positions
    if {"numbers", "positions"} <= set(given):
        numbers, positions = given["numbers"], given["positions"]
    return [
        f"{chemical_symbols[int(number)]:2s} " + " ".join(f"{x!r:>22}" for x in point)
        for number, point in zip(numbers, np.asarray(positions).tolist(), strict=True)
        if number > 0
    ]


def _win(calculation: Calculation, orbitals: OrbitalMap) -> str:
    """Return an input with what readers of the Hamiltonian need."""
    structure = calculation.structure
    spinor = calculation.hamiltonian.meta.spin == "spinor"
    lines = [
        f"!{_comment(calculation).rstrip()}",
        f"num_wann = {len(orbitals)}",
        f"spinors = .{str(spinor).lower()}.",
        "use_ws_distance = .false.",
        "begin unit_cell_cart",
        "ang",
        *(" ".join(f"{x!r:>22}" for x in row) for row in structure.cell.tolist()),
        "end unit_cell_cart",
    ]
    atoms = _atoms(calculation)
    if atoms:
        lines += ["begin atoms_cart", "ang", *atoms, "end atoms_cart"]
    return "\n".join(lines) + "\n"


def _centres(calculation: Calculation, orbitals: OrbitalMap) -> str:
    centres = _orbital_centres(calculation, orbitals)
    rows = ["X  " + " ".join(f"{x!r:>22}" for x in point) for point in centres.tolist()]
    rows += _atoms(calculation)
    return "\n".join([f"{len(rows):6d}", _comment(calculation).rstrip(), *rows]) + "\n"
