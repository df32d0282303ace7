"""A Hamiltonian in Wannier functions as a calculation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError, naming
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.dense import source_from_dense, symmetrise_matrices
from moireio.formats.assembly.elements import OrbitalMap, Spinor
from moireio.formats.assembly.sites import NO_CENTRES, sites
from moireio.formats.structures.text import plain_name
from moireio.formats.wannier90.beside import (
    Beside,
    centres_of,
    find_beside,
    is_hamiltonian,
    is_other_form,
    other_spin,
    seed_of,
)
from moireio.formats.wannier90.centres import other_atoms
from moireio.formats.wannier90.matrices import Matrices, read_matrices
from moireio.formats.wannier90.win import Win
from moireio.formats.wannier90.wsvec import read_wsvec
from moireio.system.structure import Structure

GROUP = "x_wannier90"
#: Deviation from Hermitian beyond which H counts as damaged, eV; rounding stays below 2e-6. The
#: position matrices are finite differences in k, which are Hermitian for dense meshes only.
LIMIT = 1e-3
USUAL_RESIDUAL = {"hamiltonian": 1e-5, "position": 1.0}
#: Two functions that are up and down of one orbital are closer than this, Å.
PAIRED = 0.5
#: Lattice vectors of two files that differ by more are of two runs, Å.
SAME_CELL = 1e-3
SAME_POSITION = 1e-6  # of position matrices of up and down


#: Arrangements of spinor functions.
ORDERS: dict[str, Spinor] = {"alternating": "interleaved", "blocks": "blocks"}


@dataclass(eq=False)
class OneSpin:
    """What is read for one Hamiltonian.

    Parameters
    ----------
    path : str
        Its file.
    matrices : Matrices
        With all weights applied.
    centres : (n, 3) array or None
        Å.
    win : Win or None
        Its input.
    beside : Beside
        Files beside it.
    notes : list of str
        Remarks for the user.
    """

    path: str
    matrices: Matrices
    centres: npt.NDArray[np.float64] | None
    win: Win | None
    beside: Beside
    notes: list[str] = field(default_factory=list)


def read_calculation(
    path: str,
    *,
    label: str | None,
    companions: Sequence[str],
    pbc: Sequence[bool] | None,
    spinor_order: str | None = None,
) -> Calculation:
    """Read a Hamiltonian with the files beside it.

    Parameters
    ----------
    path : str
        ``_hr.dat`` or ``_tb.dat``.
    label : str, optional
        The name that messages show.
    companions : sequence of str
        Further files: those of Wannier90, or a structure file for the lattice. A second Hamiltonian
        is that of the down spin.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.
    spinor_order : {"alternating", "blocks"}, optional
        How spinor functions are arranged; by default alternating, unless centres show blocks.

    Returns
    -------
    Calculation
        The operators are in memory.
    """
    if spinor_order not in (None, *ORDERS):
        raise MoireioError(f"`spinor_order` is {spinor_order!r}", remedy=" or ".join(ORDERS))
    seconds = [
        name for name in companions if is_hamiltonian(name) and not is_other_form(name, path)
    ]
    if any(os.path.realpath(name) == os.path.realpath(path) for name in seconds):
        raise MoireioError("is given twice", path=label or path)
    if len(seconds) > 1:
        raise MoireioError(
            f"{len(seconds)} further Hamiltonians are given; one, of the down spin, is possible",
            path=label or path,
        )
    rest = [name for name in companions if name not in seconds]
    if not seconds:
        up = _read_one(path, rest)
        notes = up.notes
    else:
        other = seconds[0]
        up = _read_one(path, [name for name in rest if _may_belong(name, path, other)])
        down = _read_one(other, [name for name in rest if _may_belong(name, other, path)])
        notes = up.notes
        if down.matrices.n != up.matrices.n:
            raise MoireioError(
                f"has {down.matrices.n} functions, but {path} has {up.matrices.n}",
                path=seconds[0],
            )
        notes = [*notes, *(note for note in down.notes if note not in notes)]
        return _collinear(up, down, label or path, notes, pbc)
    twin = other_spin(path)
    if twin is not None and is_hamiltonian(twin):
        notes.append(f"{twin} may be of the other spin: give it as one of `companions` for both")
    return _single(up, label or path, notes, pbc, spinor_order)


def _may_belong(companion: str, hamiltonian: str, other: str) -> bool:
    """Return whether a file may go with a Hamiltonian, by names, else by folders."""
    own, theirs = (_fits(companion, name) for name in (hamiltonian, other))
    if own != theirs:
        return own
    if not own:  # a structure file, or one with a name of its own
        return True
    folder = os.path.realpath(os.path.dirname(companion))
    beside = [os.path.realpath(os.path.dirname(name)) == folder for name in (hamiltonian, other)]
    return beside[0] or not beside[1]


def _fits(companion: str, hamiltonian: str) -> bool:
    """Return whether a file has the name that goes with a Hamiltonian."""
    seed = plain_name(seed_of(hamiltonian))
    return bool(seed) and plain_name(companion).startswith((f"{seed}_", f"{seed}."))


def _read_one(path: str, companions: Sequence[str]) -> OneSpin:
    """Read a Hamiltonian and what is beside it."""
    beside = find_beside(path, companions)
    raw = read_matrices(path)
    n = raw.n
    win = beside.win(n)
    notes: list[str] = []
    native = raw.comment.lower().startswith("written on")
    raw.cell = _cell(path, raw, win, beside, native, notes)
    if win is not None and native and win.mesh is not None:
        notes += _other_run(raw, win, win.mesh)
    images = None
    wsvec = beside.take("_wsvec.dat")
    if wsvec is not None:
        images = read_wsvec(wsvec, raw.cells, n)
        own = raw.cells[images.element // (n * n)]
        mesh = None if win is None else win.mesh
        if win is not None and mesh is not None and ((images.cells - own) % mesh).any():
            raise MoireioError(
                "moves functions by lattice vectors that are no multiples of "
                f"{' '.join(map(str, mesh))}, mp_grid of {win.path}",
                path=wsvec,
                remedy="one of the two is of another run",
            )
        if (
            win is not None
            and not win.flag("use_ws_distance", True)
            and (images.cells != own).any()
        ):
            notes.append(
                f"{win.path} has use_ws_distance = false, but {wsvec} is there: elements belong to "
                "the cells that it names, and bands differ from those of Wannier90 without it"
            )
    elif (native or (raw.degeneracy > 1).any()) and not (
        win is not None and not win.flag("use_ws_distance", True)
    ):
        notes.append(
            f"no {beside.name_of('_wsvec.dat')} beside it: bands differ from those of Wannier90 "
            "with use_ws_distance = true, its default since 3.0 (by 0.16 to 0.87 eV in three "
            "examples)"
        )
    moved = win is not None and win.flag("translate_home_cell", False)
    centres = centres_of(raw.cells, raw.position)
    if centres is None:
        centres = beside.centres(n, moved)
        listed = beside.paths.get("_centres.xyz")
        if win is not None and listed in beside.files:
            remark = other_atoms(str(listed), n, win)
            notes += [] if remark is None else [remark]
        if moved and "_centres.xyz" in beside.paths:
            notes.append(
                f"translate_home_cell is true: {beside.name_of('_centres.xyz')} has centres moved "
                "away from those to which R refers, and is not used"
            )
    weighted = raw.weighted(images)
    matrices = weighted.with_home()
    if matrices is not weighted:
        notes.append(f"{path} does not list R = 0: energies of the functions are 0")
    return OneSpin(path, matrices, centres, win, beside, notes)


def _other_run(raw: Matrices, win: Win, mesh: tuple[int, int, int]) -> list[str]:
    """Return a note where R are not those of the k mesh and the lattice of an input."""
    weight, points = float((1.0 / raw.degeneracy).sum()), mesh[0] * mesh[1] * mesh[2]
    if abs(weight - points) > 1e-6:
        return [
            f"the degeneracies add up to {weight:g} cells, but mp_grid of {win.path} has "
            f"{points} points: one of the two is of another run"
        ]
    steps = np.array([*np.ndindex(3, 3, 3)]) - 1
    images = (raw.cells[:, None] + steps * mesh) @ raw.cell
    lengths = np.linalg.norm(images, axis=-1)
    far = lengths[:, len(steps) // 2] - lengths.min(axis=1)
    if far.max() < SAME_CELL:
        return []
    R = " ".join(str(n) for n in raw.cells[int(far.argmax())])
    return [
        f"R = {R} is {far.max():.2g} Å longer than its image in the lattice of {win.path}, where "
        "Wannier90 takes the shortest: one of the two is of another run"
    ]


def _cell(
    path: str, raw: Matrices, win: Win | None, beside: Beside, native: bool, notes: list[str]
) -> npt.NDArray[np.float64]:
    """Return the lattice vectors from whatever file has them."""
    stated = None if win is None else win.cell
    if raw.cell is not None:
        if stated is not None and np.abs(stated - raw.cell).max() > SAME_CELL:
            raise MoireioError(
                f"its lattice vectors differ from those of {path} by "
                f"{np.abs(stated - raw.cell).max():.1e} Å",
                path=win.path if win is not None else path,
                remedy="they are of two runs",
            )
        if win is None:
            notes.append(
                f"no {beside.name_of('.win')} beside it: read as functions without spin (spinors = "
                ".true. there means spinors), and the atoms are not known"
            )
        return raw.cell
    cell = stated if stated is not None else beside.lattice()
    if cell is not None:
        return cell
    unknown = "beside it: the lattice vectors are not known"
    if native:
        raise MoireioError(
            f"no {beside.name_of('.win')} {unknown}",
            path=path,
            remedy="put it there, or give it or a structure file with `companions`",
        )
    notes.append(
        f"no {beside.name_of('.win')}, and no wt.in that names it, {unknown}, cubic ones of 1 Å "
        "stand for them: k is right, lengths and curvature mean nothing (give it or a structure "
        "file with `companions`)"
    )
    return np.eye(3)


def _single(
    one: OneSpin,
    label: str,
    notes: list[str],
    pbc: Sequence[bool] | None,
    spinor_order: str | None,
) -> Calculation:
    """Return the calculation of one Hamiltonian, spinless or of spinors."""
    n, centres = one.matrices.n, one.centres
    spinful = one.win is not None and one.win.flag("spinors", False)
    if spinful and n % 2:
        notes.append(f"{n} spinor functions cannot be up and down of orbitals: read without spin")
        spinful = False
    spinor: Spinor | None = _spinor_order(one, spinor_order, notes) if spinful else None
    if spinor is not None:
        n //= 2
        notes.append(
            "up and down are the spins of the projections; Wannier functions of spinors are no "
            "eigenstates of spin"
        )
        if centres is not None:
            centres = _joint(centres, spinor)
    structure, basis, orbitals = _sites(one, centres, n, spinor, label, notes)
    spin = "none" if spinor is None else "spinor"
    matrices = one.matrices
    residual = symmetrise_matrices(
        matrices.cells, matrices.hamiltonian, name="hamiltonian", label=one.path, limit=LIMIT
    )
    operators = {
        "hamiltonian": source_from_dense(
            "hamiltonian",
            matrices.cells,
            [matrices.hamiltonian],
            orbitals,
            spin=spin,
            residual=residual,
        )
    }
    if matrices.position is not None and spinor is not None:
        notes.append("the position matrices are left out: a block file has none with spin")
    elif matrices.position is not None:
        operators["position"] = _position(one, structure, orbitals, notes)
    return _finish(label, structure, basis, operators, [one], notes, pbc)


def _collinear(
    up: OneSpin, down: OneSpin, label: str, notes: list[str], pbc: Sequence[bool] | None
) -> Calculation:
    """Return the calculation of two Hamiltonians, of up and down."""
    for one in (up, down):
        if one.win is not None and one.win.flag("spinors", False):
            raise MoireioError(
                "has spinors = .true.: it is no Hamiltonian of one spin", path=one.win.path
            )
    assert up.matrices.cell is not None
    assert down.matrices.cell is not None
    gap = np.abs(up.matrices.cell - down.matrices.cell).max()
    if gap > SAME_CELL:
        raise MoireioError(
            f"its lattice vectors differ from those of {up.path} by {gap:.1e} Å", path=down.path
        )
    n = up.matrices.n
    if up.centres is not None and down.centres is not None:
        apart = np.linalg.norm(up.centres - down.centres, axis=1)
        if apart.max() > PAIRED:
            notes.append(
                f"function {int(apart.argmax()) + 1} of up and of down are {apart.max():.2f} Å "
                "apart; the sites are those of up"
            )
    structure, basis, orbitals = _sites(up, up.centres, n, None, label, notes)
    cells = np.unique(np.concatenate([up.matrices.cells, down.matrices.cells]), axis=0)
    residual, spins = 0.0, []
    for one in (up, down):
        matrices = one.matrices
        found = symmetrise_matrices(
            matrices.cells, matrices.hamiltonian, name="hamiltonian", label=one.path, limit=LIMIT
        )
        residual = max(residual, found)
        number = {tuple(cell): place for place, cell in enumerate(cells.tolist())}
        whole = np.zeros((len(cells), n, n), dtype=np.complex128)
        whole[[number[tuple(cell)] for cell in matrices.cells.tolist()]] = matrices.hamiltonian
        spins.append(whole)
    operators = {
        "hamiltonian": source_from_dense(
            "hamiltonian", cells, spins, orbitals, spin="collinear", residual=residual
        )
    }
    given = [one.matrices.position for one in (up, down)]
    same = (
        np.array_equal(up.matrices.cells, down.matrices.cells)
        and given[0] is not None
        and given[1] is not None
        and np.abs(given[0] - given[1]).max() <= SAME_POSITION
    )
    if same:
        operators["position"] = _position(up, structure, orbitals, notes)
    elif any(position is not None for position in given):
        notes.append(
            "the position matrices are left out: those of up and down differ, a block file has one"
        )
    return _finish(label, structure, basis, operators, [up, down], notes, pbc)


def _sites(
    one: OneSpin,
    centres: npt.NDArray[np.float64] | None,
    n: int,
    spinor: Spinor | None,
    label: str,
    notes: list[str],
) -> tuple[Structure, Any, OrbitalMap]:
    if centres is None:
        files = " or ".join(one.beside.name_of(s) for s in ("_centres.xyz", ".wout"))
        notes.append(f"{NO_CENTRES} ({files} has them)")
    assert one.matrices.cell is not None
    with naming(label):
        return sites(one.matrices.cell, centres, n, spinor=spinor)


def _spinor_order(one: OneSpin, given: str | None, notes: list[str]) -> Spinor:
    """Return how up and down functions are arranged."""
    if given is not None:
        return ORDERS[given]
    if one.centres is not None:
        half = one.matrices.n // 2
        apart = {
            "interleaved": one.centres[0::2] - one.centres[1::2],
            "blocks": one.centres[:half] - one.centres[half:],
        }
        mean = {name: float(np.linalg.norm(d, axis=1).mean()) for name, d in apart.items()}
        if mean["interleaved"] > PAIRED and mean["blocks"] < 0.5 * mean["interleaved"]:
            notes.append(
                "all up functions come before all down ones, by their centres (partners are "
                f"{mean['blocks']:.2f} Å apart, {mean['interleaved']:.2f} Å if they alternated)"
            )
            return "blocks"
        if mean["interleaved"] > PAIRED:
            notes.append(
                f"functions 1 and 2, 3 and 4 … count as up and down of one orbital, but are "
                f"{mean['interleaved']:.2f} Å apart on average"
            )
    else:
        named = one.win is not None and one.win.one_spin_projections
        notes.append(
            "functions 1 and 2, 3 and 4 … are read as up and down of one orbital"
            + (", although projections name single spins" if named else "")
            + " (`spinor_order` can be blocks, if all up functions come first)"
        )
    return "interleaved"


def _joint(centres: npt.NDArray[np.float64], spinor: Spinor) -> npt.NDArray[np.float64]:
    """Return the centre of each up and down function together; of up where they are far apart."""
    half = len(centres) // 2
    up, down = centres[0::2], centres[1::2]
    if spinor == "blocks":
        up, down = centres[:half], centres[half:]
    near = np.linalg.norm(up - down, axis=1) < PAIRED
    return np.where(near[:, None], 0.5 * (up + down), up)


def _position(one: OneSpin, structure: Structure, orbitals: OrbitalMap, notes: list[str]) -> Any:
    """Return ⟨m,0|r − τ_m|n,R⟩ with S = 1."""
    matrices = one.matrices
    assert matrices.position is not None
    site = np.repeat(np.arange(len(structure)), orbitals.sizes)[orbitals.rows]
    home = int(np.flatnonzero(~matrices.cells.any(axis=1))[0])
    residual = 0.0
    for axis, component in enumerate(matrices.position):
        np.einsum("mm->m", component[home])[...] -= structure.positions[site, axis]
        found = symmetrise_matrices(matrices.cells, component, name="position", label=one.path)
        residual = max(residual, found)
    if residual > LIMIT:
        notes.append(
            f"the position matrices deviate from Hermitian by up to {residual:.2f} Å, as finite "
            "differences in k do; their Hermitian part is kept"
        )
    return source_from_dense(
        "position", matrices.cells, list(matrices.position), orbitals, residual=residual
    )


def _finish(
    label: str,
    structure: Structure,
    basis: Any,
    operators: dict[str, Any],
    spins: Sequence[OneSpin],
    notes: list[str],
    pbc: Sequence[bool] | None,
) -> Calculation:
    files = [name for one in spins for name in (one.path, *one.beside.files)]
    calculation = assemble(
        label,
        structure,
        basis,
        operators,
        notes=notes,
        files=list(dict.fromkeys(files)),
        pbc=pbc,
        usual_residual=USUAL_RESIDUAL,
    )
    win = spins[0].win
    if win is not None and len(win.numbers):
        calculation.extra[GROUP] = {"numbers": win.numbers, "positions": win.positions}
    return calculation
