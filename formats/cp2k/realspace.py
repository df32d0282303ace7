"""Matrices in real space of CP2K: its output with the CSR files.

Layout: the output, whose table "KS CSR write| n periodic images" gives the cell R of each CSR file,
and the files themselves (`moireio.formats.cp2k.csr`), in Hartree of 27.21138386 eV. R counts cells
between atoms moved to [−½, ½), neither those of the input nor those of the output. With
``UPPER_TRIANGULAR T`` elements below the diagonal are left out. Orbitals are m = −l … l; their
shells are in the output at ``PRINT_LEVEL MEDIUM``, else in the basis file. Cell and coordinates are
those of the input where it lies beside the output and agrees with it, since the output has few
decimals. Kept: structure, shells, H (both spins), S, Fermi level, number of electrons. Lost: radial
functions. A calculation at Γ alone has one matrix for all cells: each pair of atoms is given to its
nearest images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import MissingFileError, MoireioError, naming
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.elements import OrbitalMap, source_from_matrices
from moireio.formats.assembly.images import at_nearest_images
from moireio.formats.assembly.orders import NATURAL
from moireio.formats.assembly.placing import on_faces, settled_by_overlap, wrapped
from moireio.formats.assembly.shells import parse_shells_option, shells_of_m, structure_and_basis
from moireio.formats.cp2k import inp
from moireio.formats.cp2k.csr import NAME, CsrFiles, Elements, find_matrices, has_matrices
from moireio.formats.cp2k.out import Output, is_output, read_output
from moireio.formats.structures.text import plain_name
from moireio.formats.text.streams import require_companions
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis
from moireio.system.structure import Structure
from moireio.units import Constants

BOHR_ANGSTROM, HARTREE_EV = 0.52917720859, 27.21138386
OPERATORS = {"hamiltonian": "KS", "overlap": "S"}
LIMITS = {"hamiltonian": 1e-3, "overlap": 1e-5}
#: Deviations of the output's numbers from the input's: half of their last digits, and rounding.
CELL_DIGITS, POSITION_DIGITS = 6e-4, 2e-6


def detect(path: str) -> bool:
    """Return whether a path is a CP2K output, or CSR files that it wrote.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    bool
        By contents and names.
    """
    if os.path.isfile(path) and NAME.fullmatch(plain_name(path)):
        return True
    if os.path.isdir(path):
        names = [os.path.join(path, name) for name in sorted(os.listdir(path))]
        outputs = (name for name in names if plain_name(name).endswith((".out", ".log")))
        found = has_matrices(path) or any(has_matrices(name) for name in names)
        return found or any(is_output(name) for name in outputs)  # it names what is missing
    return has_matrices(path) or is_output(path)


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
        CP2K's output, compressed or not; or a CSR file, their folder or their archive. The others
        are found beside it.
    label : str, optional
        The name that messages show.
    companions : sequence of str
        Files that lie elsewhere: the output, CSR files, their folder or archive, the input, basis
        files.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.
    shells : str, optional
        Shells of kinds whose basis neither the output nor a basis file gives, as
        ``C=s2p2d1,Fe=sspd``.

    Returns
    -------
    Calculation
        With atoms moved as the cells of the matrices count them.

    Raises
    ------
    MoireioError
        If the output or the matrices are missing, damaged, or do not fit each other.
    """
    label = label or path
    require_companions(companions)
    places = [path, *companions]
    file = _output_of(places, label)
    output = read_output(file)
    folder = os.path.dirname(file)
    near = [os.path.join(folder, name) for name in sorted(os.listdir(folder or "."))]
    archives = [name for name in near if os.path.isfile(name) and has_matrices(name)]
    beside = [os.path.dirname(path), folder or ".", *archives]
    matrices = find_matrices([p for p in [*places, *beside] if p], output.project, file)
    if matrices.of_k:
        raise MoireioError(
            f"{matrices.project}-KS_SPIN_1_K_1.csr is a matrix at a k point",
            path=label,
            remedy="write them with REAL_SPACE T",
        )
    structure, basis, used, notes = _structure(output, file, companions, near, shells)
    along = _periodic(output)
    moved, moves = wrapped(structure, -0.5, low_included=True, along=along)
    orbitals = OrbitalMap.make(moved, basis, NATURAL)
    with naming(label):
        gamma = 0 in matrices.numbers("KS", 1) + matrices.numbers("S", 1)
        spins = _require_files(matrices, output, file, gamma)
    read_in = matrices.read(len(orbitals))
    cells: dict[str, npt.NDArray[np.int64]] = {}
    listed: dict[str, list[list[Any]]] = {}
    for name, matrix in OPERATORS.items():
        channels = spins if matrix == "KS" else 1
        numbers = matrices.numbers(matrix, 1)
        if not numbers:
            continue
        cells[name] = np.zeros((1, 3), dtype=np.int64) if gamma else output.cells[matrix]
        listed[name] = [
            [_sparse(read_in[matrix, spin + 1, number], len(orbitals)) for number in numbers]
            for spin in range(channels)
        ]
    partners = {name: _partners(found) for name, found in listed.items()}
    for name, found in listed.items():
        notes += _without_diagonal(name, cells[name], found)
    if gamma:
        cells, listed, note = at_nearest_images(structure, orbitals, listed, pbc or along)
        moved = structure
        notes.append(note)
    operators = {
        name: source_from_matrices(
            name,
            cells[name],
            found if len(found) == 2 else found[0],
            orbitals,
            label=matrices.place or label,
            spin="collinear" if len(found) == 2 else "none",
            scale=HARTREE_EV if name == "hamiltonian" else 1.0,
            partners=partners[name],
            limit=LIMITS[name],
        )
        for name, found in listed.items()
    }
    if not gamma:
        if moves.any():
            notes.append(
                f"{int(moves.any(axis=1).sum())} of {len(moved)} atoms moved into the cell around "
                "the origin, between whose atoms CP2K counts R"
            )
        checked = operators.get("overlap", operators.get("hamiltonian"))
        moved, note = settled_by_overlap(moved, checked, label, on_faces(moved, -0.5))
        notes += [note] if note else []
    if matrices.steps > 1:
        notes.append(f"the last of {matrices.steps} steps is read, {matrices.step}")
    if output.run_type not in ("", "ENERGY", "ENERGY_FORCE", "WAVEFUNCTION_OPTIMIZATION"):
        notes.append(
            f"the run is a {output.run_type}: coordinates are those that the output prints last, "
            "which may not be those of the matrices"
        )
    if "hamiltonian" not in operators:
        notes.append("no KS files (&KS_CSR_WRITE): H is not known")
    if "overlap" not in operators:
        notes.append("no S files (&S_CSR_WRITE): S is not known")
    fermi = None if output.fermi is None else output.fermi * HARTREE_EV
    count = float(sum(output.electrons[-spins:])) if output.electrons else None
    return assemble(
        label,
        moved,
        basis,
        operators,
        electrons=Electrons(count=count, fermi=fermi),
        notes=notes,
        files=[file, *used, *_paths(matrices)],
        pbc=pbc,
        constants=Constants(BOHR_ANGSTROM, HARTREE_EV),
        described=None if gamma else "an input or basis file",
    )


def _paths(matrices: CsrFiles) -> list[str]:
    """Return the files of the matrices: the archive, or each."""
    if os.path.isfile(matrices.place):
        return [matrices.place]
    return [os.path.join(matrices.place, matrices.members[key]) for key in sorted(matrices.members)]


def _output_of(places: Sequence[str], label: str) -> str:
    """Return CP2K's output: one of the files given, or the only one in their folders."""
    for place in places:
        if os.path.isfile(place) and is_output(place):
            return place
    for place in places:
        if not os.path.exists(place):
            raise MissingFileError(path=place)
    folders = [p if os.path.isdir(p) else os.path.dirname(p) or "." for p in places]
    for folder in dict.fromkeys([*folders, *(os.path.dirname(f) or "." for f in folders)]):
        names = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
        found = [n for n in names if ".csr" not in n and os.path.isfile(n) and is_output(n)]
        if len(found) == 1:
            return found[0]
        if found:
            break
    raise MissingFileError(
        "needs CP2K's output, whose table KS CSR write| gives the cell of each CSR file",
        path=label,
        remedy="name the output as the source or in `companions`",
    )


def _require_files(matrices: CsrFiles, output: Output, file: str, gamma: bool) -> int:
    """Return the number of spins after a check that every matrix has its files."""
    spins = 2 if output.n_spins == 2 or matrices.numbers("KS", 2) else 1
    for name, matrix in OPERATORS.items():
        for spin in range(1, (spins if matrix == "KS" else 1) + 1):
            numbers = matrices.numbers(matrix, spin)
            if not numbers and spin == 1:
                continue
            table = output.cells.get(matrix)
            if not gamma and table is None:
                raise MissingFileError(
                    f"has no table {matrix} CSR write| of the cells of the CSR files",
                    path=file,
                    remedy="it is of another calculation, or cut short",
                )
            expected = [0] if gamma or table is None else list(range(1, len(table) + 1))
            if numbers != expected:
                missing = sorted(set(expected) - set(numbers)) or [-1]
                raise MissingFileError(
                    f"lists {len(expected)} files of {name} for spin {spin}, but there are "
                    f"{len(numbers)}"
                    + (f"; that of cell {missing[0]} is missing" if missing[0] >= 0 else ""),
                    path=file,
                    remedy="the files are of another calculation, or some are missing",
                )
    if not matrices.numbers("KS", 1) and not matrices.numbers("S", 1):
        raise MissingFileError("has no files of KS or S", path=file)
    return spins


def _sparse(elements: Elements, rows: int) -> Any:
    from scipy.sparse import coo_array

    row, column, value = elements
    return coo_array((value, (row, column)), (rows, rows))


def _partners(channels: list[list[Any]]) -> Any:
    """Return "missing" where all matrices are upper triangles, else "given"."""
    lower = any((m.row > m.col).any() for found in channels for m in found)
    upper = any((m.row < m.col).any() for found in channels for m in found)
    return "missing" if upper and not lower else "given"


def _without_diagonal(
    name: str, cells: npt.NDArray[np.int64], channels: list[list[Any]]
) -> list[str]:
    """Return a note on orbitals without an element with themselves, which is never that small."""
    home = np.flatnonzero(~cells.any(axis=1))
    notes = []
    for spin, found in enumerate(channels, 1):
        matrices = [found[place] for place in home]
        there = np.zeros(found[0].shape[0], dtype=bool)
        for matrix in matrices:
            there[matrix.row[matrix.row == matrix.col]] = True
        if not there.all():
            absent = np.flatnonzero(~there)
            notes.append(
                f"the {name} of orbital {absent[0] + 1} with itself is not in the file of R = 0"
                + (f", spin {spin}" if len(channels) > 1 else "")
                + f" (nor those of {len(absent) - 1} others)" * (len(absent) > 1)
                + ": is a line lost?"
            )
    return notes


def _structure(
    output: Output,
    file: str,
    companions: Sequence[str],
    near: Sequence[str],
    shells: str | None,
) -> tuple[Structure, Basis, list[str], list[str]]:
    """Return structure and basis, the files they are from besides the output, and notes."""
    used: list[str] = []
    notes: list[str] = []
    inputs = [p for p in companions if os.path.isfile(p) and inp.is_input(p)]
    inputs += [p for p in near if plain_name(p) == output.input_name and inp.is_input(p)]
    given = inp.read_input(inputs[0]) if inputs else None
    cell, positions = output.cell(), output.positions
    numbers, kinds = output.numbers, [output.kinds.get(kind, "") for kind in output.atom_kinds]
    if given is not None:
        used.append(inputs[0])
    if given is not None and _agrees(given, output):
        cell = given.cell if given.cell is not None else cell
        if given.positions is not None:
            positions = given.positions
        if not kinds:
            kinds = given.kinds
            found = [given.number(kind) for kind in kinds]
            if None in found:
                raise MoireioError(
                    f"kind {kinds[found.index(None)]} is of no known element", path=inputs[0]
                )
            numbers = [number for number in found if number is not None]
    elif cell is not None and len(positions):
        notes.append(
            "cell and coordinates have the few decimals of CP2K's output: no input beside it "
            "agrees with it"
        )
    if cell is None or not len(positions):
        raise MissingFileError(
            "prints no " + ("coordinates" if cell is not None else "cell"),
            path=file,
            remedy="the input is needed beside it (or PRINT_LEVEL MEDIUM)",
        )
    momenta, basis_files = _momenta(output, file, companions, near, given, kinds, numbers, shells)
    used += basis_files
    valence = {
        kind: output.valence[number]
        for kind, number in zip(kinds, output.atom_kinds, strict=False)
        if number in output.valence
    }
    with naming(file):
        structure, basis = structure_and_basis(
            cell, positions, numbers, kinds, momenta, pbc=_periodic(output), valence=valence
        )
    return structure, basis, used, notes


def _periodic(output: Output) -> list[bool]:
    """Return along which vectors CP2K's cell is periodic."""
    return [letter in output.periodicity.upper() for letter in "XYZ"]


def _agrees(given: inp.Input, output: Output) -> bool:
    """Return whether cell and coordinates of an input are those of the output."""
    if output.vectors is not None and given.cell is not None:
        if np.abs(given.cell - output.vectors).max() > CELL_DIGITS:
            return False
        if len(output.positions) and given.positions is not None:
            if given.positions.shape != output.positions.shape:
                return False
            return bool(np.abs(given.positions - output.positions).max() < POSITION_DIGITS)
    return given.cell is not None


def _momenta(
    output: Output,
    file: str,
    companions: Sequence[str],
    near: Sequence[str],
    given: inp.Input | None,
    kinds: Sequence[str],
    numbers: Sequence[int],
    shells: str | None,
) -> tuple[list[tuple[int, ...]], list[str]]:
    """Return the shells of every atom, and the basis files they are from."""
    from ase.data import chemical_symbols

    option = parse_shells_option(shells)
    printed = {output.kinds[number]: found for number, found in output.shells.items()}
    sets: dict[str, dict] | None = None
    used: list[str] = []
    momenta = []
    for atom, (kind, number) in enumerate(zip(kinds, numbers, strict=True)):
        symbol = chemical_symbols[number]
        if kind in option or symbol in option:
            momenta.append(option.get(kind, option.get(symbol)))
            continue
        if kind in printed:
            momenta.append(printed[kind])
            continue
        if atom in output.orbitals:
            momenta.append(shells_of_m(output.orbitals[atom], f"atom {atom + 1}"))
            continue
        if sets is None:
            files = [p for p in [*companions, *near] if os.path.isfile(p) and inp.is_basis_file(p)]
            sets = {path: inp.read_basis_file(path) for path in files}
        name = given.basis_sets.get(kind, given.basis_sets.get(symbol)) if given else None
        holding = [p for p, found in sets.items() if (symbol, (name or "").upper()) in found]
        if name is None or not holding:
            what = f"basis set {name} of {kind}" if name else f"basis of {kind}"
            raise MissingFileError(
                f"does not print the {what}",
                path=file,
                remedy="give the basis file in `companions`"
                + ("" if name else ", and the input")
                + f", or the shells with `shells` as in {kind}=s2p2d1",
            )
        momenta.append(sets[holding[0]][symbol, name.upper()])
        used += [holding[0]] if holding[0] not in used else []
    return momenta, used
