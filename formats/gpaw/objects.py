"""GPAW's LCAO mode: matrices from ``gpaw.lcao.tools.get_lcao_hamiltonian``.

Units are eV and Å; orbitals of a shell are m = −l … l without the Condon–Shortley sign. GPAW's
phase is e^{−2πi k·R}: its matrices are the conjugates of moireio's. Kept: atoms, shells, H, S,
Fermi level, number of electrons. Lost: projectors and pseudopotentials. H(R) follows from the mesh
(`formats.assembly.meshes`), beyond which GPAW keeps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.meshes import calculation_on_mesh
from moireio.formats.assembly.orders import NATURAL
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure


def read(
    calculator: Any,
    hamiltonian: npt.ArrayLike,
    overlap: npt.ArrayLike,
    *,
    real: bool = False,
    pbc: Sequence[bool] | None = None,
) -> Calculation:
    """Return a calculation of GPAW's LCAO mode.

    Parameters
    ----------
    calculator : gpaw.GPAW
        After its calculation, with all k points of a mesh, or one of each pair k, −k.
    hamiltonian, overlap : (ns, nk, n, n) and (nk, n, n) arrays
        ``H, S = gpaw.lcao.tools.get_lcao_hamiltonian(calculator)``, eV.
    real : bool
        Take the real parts of H(R) and S(R) even if imaginary ones are more than rounding.
    pbc : sequence of three bool, optional
        Whether it is periodic along each vector; by default GPAW's.

    Returns
    -------
    Calculation
        With structure, shells, H, S and electrons.

    Raises
    ------
    MoireioError
        If it is no such object, or its k points are no mesh.
    """
    label = f"GPAW {type(calculator).__name__}"
    atoms = getattr(calculator, "atoms", None)
    setups = getattr(calculator, "setups", None) or getattr(
        getattr(calculator, "wfs", None), "setups", None
    )
    if atoms is None or setups is None:
        raise MoireioError(
            "has no atoms or setups", path=label, remedy="a calculator of GPAW is expected"
        )
    count = getattr(calculator, "get_number_of_electrons", lambda: None)()
    return from_arrays(
        hamiltonian,
        overlap,
        calculator.get_ibz_k_points(),
        np.asarray(atoms.cell),
        atoms.numbers,
        atoms.positions,
        [_momenta(setup, label) for setup in setups],
        fermi=calculator.get_fermi_level(),
        electrons=count,
        real=real,
        pbc=[bool(v) for v in atoms.pbc] if pbc is None else pbc,
        label=label,
    )


def from_arrays(
    hamiltonian: npt.ArrayLike,
    overlap: npt.ArrayLike,
    k: npt.ArrayLike,
    cell: npt.ArrayLike,
    numbers: npt.ArrayLike,
    positions: npt.ArrayLike,
    shells: Sequence[Sequence[int]],
    *,
    fermi: float | None = None,
    electrons: float | None = None,
    real: bool = False,
    pbc: Sequence[bool] | None = None,
    label: str = "GPAW",
) -> Calculation:
    """Return matrices of GPAW as a calculation.

    Parameters
    ----------
    hamiltonian : (ns, nk, n, n) array
        ``H_skMM``, eV.
    overlap : (nk, n, n) array
        ``S_kMM``.
    k : (nk, 3) array
        Fractional coordinates.
    cell : (3, 3) array
        Lattice vectors as rows, Å.
    numbers : (N,) array of int
        Atomic numbers.
    positions : (N, 3) array
        Å.
    shells : sequence of N sequences of int
        l of every basis function of each atom.
    fermi : float, optional
        Fermi level, eV.
    electrons : float, optional
        Number of electrons in the cell.
    real : bool
        Take the real parts of H(R) and S(R) even if imaginary ones are more than rounding.
    pbc : sequence of three bool, optional
        Whether it is periodic along each vector; by default where pairs cross it.
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
    from ase.data import chemical_symbols

    Z = np.asarray(numbers, dtype=np.int32)
    if len(shells) != len(Z):
        raise MoireioError(f"has {len(Z)} atoms, but the shells of {len(shells)}", path=label)
    names: dict[tuple[int, tuple[int, ...]], str] = {}
    keys = [(int(z), tuple(map(int, momenta))) for z, momenta in zip(Z, shells, strict=True)]
    for key in keys:
        symbol = chemical_symbols[key[0]]
        taken = sum(z == key[0] for z, _ in names)
        names.setdefault(key, symbol if not taken else f"{symbol}_{taken + 1}")
    listed = list(names)
    structure = Structure(
        np.asarray(cell, dtype=np.float64),
        np.asarray(positions, dtype=np.float64),
        Z,
        [listed.index(key) for key in keys],
        list(names.values()),
        [True] * 3 if pbc is None else pbc,
    )
    basis = Basis({name: SpeciesBasis(l=key[1]) for key, name in names.items()})
    known = Electrons(
        count=None if electrons is None else float(electrons),
        fermi=None if fermi is None or not np.isfinite(fermi) else float(fermi),
    )
    return calculation_on_mesh(
        label,
        structure,
        basis,
        NATURAL,
        k,
        np.conj(np.asarray(hamiltonian)),
        np.conj(np.asarray(overlap)),
        electrons=known if known.known() else None,
        real=real,
        pbc=pbc,
    )


def _momenta(setup: Any, label: str) -> list[int]:
    """Return the l of the basis functions of an atom."""
    functions = getattr(setup, "basis_functions_J", None) or getattr(setup, "phit_j", None)
    if functions is None:
        raise MoireioError("has a setup without basis functions: LCAO mode expected", path=label)
    return [int(f.l if hasattr(f, "l") else f.get_angular_momentum_number()) for f in functions]
