"""PySCF with periodic boundary conditions: mean-field objects on a k mesh, taken as they are.

Units are Hartree and Bohr; p orbitals are x, y, z, others m = −l … l without the Condon–Shortley
sign; H is (nk, n, n), with two spins (2, nk, n, n), for spinors (nk, 2n, 2n) with all up orbitals
of the cell before the down ones. Kept: cell, shells, H, S, Fermi level, number of electrons. Lost:
exponents, pseudopotentials, density matrices. H(R) follows from the mesh
(`formats.assembly.meshes`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.meshes import calculation_on_mesh
from moireio.formats.assembly.orders import PYSCF
from moireio.results.electrons import Electrons
from moireio.system.basis import SHELL_LETTERS, Basis, SpeciesBasis
from moireio.system.structure import Structure
from moireio.units import Constants

BOHR = 0.52917721092  # Å; PySCF's own, so that coordinates come back digit for digit
HARTREE = 27.211386245988  # eV, CODATA 2018; PySCF's energies are Hartree
#: Smallest eigenvalue of S(k) below which PySCF may leave out orbitals.
DEPENDENT = 1e-6
_LABEL = re.compile(r"\s*(\d+)\s+(\S+)\s+(\d+)([a-z])(\S*)\s*")


def read(
    mean_field: Any,
    *,
    hamiltonian: npt.ArrayLike | None = None,
    overlap: npt.ArrayLike | None = None,
    real: bool = False,
    pbc: Sequence[bool] | None = None,
) -> Calculation:
    """Return a mean-field object as a calculation.

    Parameters
    ----------
    mean_field : pyscf.pbc KRHF, KUHF, KROHF, KGHF, KRKS, KUKS, KROKS, KGKS, or one at Γ
        After its calculation, with all k points of a mesh, or one of each pair k, −k.
    hamiltonian, overlap : arrays, optional
        Instead of its ``get_fock()`` and ``get_ovlp()``, Hartree.
    real : bool
        Take the real parts of H(R) and S(R) even if imaginary ones are more than rounding.
    pbc : sequence of three bool, optional
        Whether it is periodic along each vector; by default where orbitals reach across it.

    Returns
    -------
    Calculation
        With structure, shells, H, S and electrons.

    Raises
    ------
    MoireioError
        If it is no such object, its orbitals are Cartesian, or its k points are no mesh.
    """
    label = f"PySCF {type(mean_field).__name__}"
    cell = getattr(mean_field, "cell", None)
    if cell is None or not hasattr(cell, "lattice_vectors"):
        raise MoireioError(
            "has no cell", path=label, remedy="a mean-field object of pyscf.pbc is expected"
        )
    if getattr(cell, "cart", False):
        raise MoireioError(
            "has Cartesian d orbitals", path=label, remedy="make the cell with cart=False"
        )
    points = getattr(mean_field, "kpts", None)
    points = getattr(points, "kpts_ibz", points)  # of a KPoints object: those that are computed
    if points is None:
        points = getattr(mean_field, "kpt", np.zeros(3))
    k = np.asarray(cell.get_scaled_kpts(np.reshape(points, (-1, 3))))
    s = np.asarray(mean_field.get_ovlp() if overlap is None else overlap)
    h: Any = hamiltonian
    if h is None and getattr(mean_field, "mo_coeff", ()) is None:
        raise MoireioError("has no orbitals yet", path=label, remedy="call its kernel() first")
    if h is None:  # the arguments are needed by KROHF
        h = mean_field.get_fock(s1e=s, dm=mean_field.make_rdm1())
    if hasattr(h, "focka"):  # of an open shell with one set of orbitals
        h = np.array([h.focka, h.fockb])
    h = np.asarray(h)
    if h.ndim == 2 or (h.ndim == 3 and len(k) == 1 and len(h) == 2 and s.ndim == 2):
        h = h[..., None, :, :] if h.ndim == 3 else h[None]  # a calculation at one k
    s = s[None] if s.ndim == 2 else s
    return from_arrays(
        h,
        s,
        k,
        cell.lattice_vectors(),
        cell.atom_coords(),
        cell.ao_labels(fmt=None),
        symbols=[cell.atom_symbol(atom) for atom in range(cell.natm)],
        fermi=_fermi(mean_field),
        electrons=float(np.sum(cell.nelec)),
        dimension=int(getattr(cell, "dimension", 3)),
        real=real,
        pbc=pbc,
        label=label,
    )


def from_arrays(
    hamiltonian: npt.ArrayLike,
    overlap: npt.ArrayLike,
    k: npt.ArrayLike,
    cell: npt.ArrayLike,
    coordinates: npt.ArrayLike,
    labels: Sequence[Any],
    *,
    symbols: Sequence[str] | None = None,
    fermi: float | None = None,
    electrons: float | None = None,
    dimension: int = 3,
    real: bool = False,
    pbc: Sequence[bool] | None = None,
    label: str = "PySCF",
) -> Calculation:
    """Return matrices of PySCF as a calculation.

    Parameters
    ----------
    hamiltonian : (nk, n, n), (2, nk, n, n) or (nk, 2n, 2n) array
        ``get_fock()``, Hartree.
    overlap : (nk, n, n) or (nk, 2n, 2n) array
        ``get_ovlp()``.
    k : (nk, 3) array
        Fractional coordinates, ``cell.get_scaled_kpts(kpts)``.
    cell : (3, 3) array
        ``cell.lattice_vectors()``, Bohr.
    coordinates : (N, 3) array
        ``cell.atom_coords()``, Bohr.
    labels : sequence of n str or tuple
        ``cell.ao_labels()``, with or without ``fmt=None``.
    symbols : sequence of N str, optional
        ``cell.atom_symbol``; by default those of the labels.
    fermi : float, optional
        Fermi level, Hartree.
    electrons : float, optional
        Number of electrons in the cell.
    dimension : int
        Number of periodic directions.
    real : bool
        Take the real parts of H(R) and S(R) even if imaginary ones are more than rounding.
    pbc : sequence of three bool, optional
        Whether it is periodic along each vector; by default where orbitals reach across it.
    label : str
        The name that messages show.

    Returns
    -------
    Calculation
        With structure, shells, H, S and electrons.

    Raises
    ------
    MoireioError
        If the arrays do not fit, or the points are no mesh.
    """
    atoms, momenta = _shells(labels, label)
    at = np.asarray(coordinates, dtype=np.float64).reshape(-1, 3)
    if len(atoms) != len(at):
        raise MoireioError(
            f"has {len(at)} atoms, but labels of orbitals of {len(atoms)}", path=label
        )
    structure, basis = _structure(
        np.asarray(cell, dtype=np.float64), at, symbols or atoms, momenta, dimension
    )
    n = int(basis.sizes(structure).sum())
    h, s = np.asarray(hamiltonian), np.asarray(overlap)
    is_spinor = h.ndim == 3 and h.shape[-1] == 2 * n
    if is_spinor and s.shape[-1] == 2 * n:
        s = s[..., :n, :n]
    notes = []
    smallest = min((float(np.linalg.eigvalsh(one)[0]) for one in s), default=1.0)
    if smallest < DEPENDENT:
        notes.append(
            f"orbitals are nearly dependent: S(k) has the eigenvalue {smallest:.1e}; PySCF leaves "
            "such combinations out and fills its list of levels with 1e30"
        )
    known = Electrons(
        count=electrons, fermi=None if fermi is None or not np.isfinite(fermi) else fermi * HARTREE
    )
    return calculation_on_mesh(
        label,
        structure,
        basis,
        PYSCF,
        k,
        h * HARTREE,
        s,
        spinor="blocks" if is_spinor else None,
        electrons=known if known.known() else None,
        notes=notes,
        real=real,
        pbc=pbc,
        constants=Constants(BOHR, HARTREE),
    )


def _shells(labels: Sequence[Any], label: str) -> tuple[list[str], list[tuple[int, ...]]]:
    """Return the symbol and the l of the radial functions of each atom."""
    parsed = []
    for entry in labels:
        text = entry if isinstance(entry, str) else "{} {} {}{}".format(*entry)
        match = _LABEL.fullmatch(text)
        if match is None or match[4] not in SHELL_LETTERS:
            raise MoireioError(
                f"{text!r:.40} is no label of an orbital",
                path=label,
                remedy="as in '0 C 2px', from cell.ao_labels()",
            )
        parsed.append((int(match[1]), match[2], match[3] + match[4], match[4]))
    symbols: list[str] = []
    momenta: list[list[int]] = []
    place = 0
    while place < len(parsed):
        atom, symbol, shell, letter = parsed[place]
        momentum = SHELL_LETTERS.index(letter)
        members = parsed[place : place + 2 * momentum + 1]
        if len(members) <= 2 * momentum or {(m[0], m[2]) for m in members} != {(atom, shell)}:
            raise MoireioError(
                f"the shell {shell} of atom {atom} has not {2 * momentum + 1} orbitals",
                path=label,
                remedy="Cartesian orbitals cannot be converted",
            )
        if atom == len(symbols):
            symbols.append(symbol)
            momenta.append([])
        if atom != len(symbols) - 1:
            raise MoireioError(f"orbitals of atom {atom} are out of order", path=label)
        momenta[atom].append(momentum)
        place += 2 * momentum + 1
    return symbols, [tuple(one) for one in momenta]


def _structure(
    cell: npt.NDArray[np.float64],
    coordinates: npt.NDArray[np.float64],
    symbols: Sequence[str],
    momenta: Sequence[tuple[int, ...]],
    dimension: int,
) -> tuple[Structure, Basis]:
    """Return the atoms and their shells: a species for every symbol with a basis of its own."""
    from ase.data import atomic_numbers

    names: dict[tuple[str, tuple[int, ...]], str] = {}
    numbers = []
    for symbol, shells in zip(symbols, momenta, strict=True):
        element = re.match(r"[A-Z][a-z]?", symbol.capitalize())
        ghost = symbol.upper().startswith(("GHOST", "X-"))
        numbers.append(0 if ghost or element is None else atomic_numbers.get(element[0], 0))
        taken = sum(s == symbol for s, _ in names)
        names.setdefault((symbol, shells), symbol if not taken else f"{symbol}_{taken + 1}")
    keys = list(names)
    species = [keys.index(key) for key in zip(symbols, momenta, strict=True)]
    structure = Structure(
        cell * BOHR,
        coordinates * BOHR,
        numbers,
        species,
        list(names.values()),
        [axis < dimension for axis in range(3)],
    )
    return structure, Basis({names[key]: SpeciesBasis(l=key[1]) for key in keys})


def _fermi(mean_field: Any) -> float | None:
    """Return the Fermi level in Hartree, or the highest filled level; None if there is none."""
    energies = getattr(mean_field, "mo_energy", None)
    if energies is None:
        return None
    find = getattr(mean_field, "get_fermi", None)
    if find is not None:
        values = np.ravel(find())  # one for each spin
    else:
        lists = [
            np.concatenate([np.ravel(one) for one in part]) if np.ndim(part[0]) else np.ravel(part)
            for part in (energies, mean_field.mo_occ)
        ]
        values = lists[0][lists[1] > 0]
    return float(values.max()) if values.size and np.abs(values).max() < 1e10 else None
