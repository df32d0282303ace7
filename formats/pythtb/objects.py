"""Models of PythTB 1.8 (``tb_model``) and 2.x (``TBModel``), taken as they are.

Kept: lattice, orbital positions, energies and hoppings; of each pair of partners PythTB has one.
Orbitals with spin (``nspin = 2``) become spinors. Lost: position operators of Wannier functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.hoppings import Hoppings, calculation_of_model

# Names of the same quantity in 2.x and in 1.8.
NAMES = {
    "lattice": ("lat_vecs", "_lat"),
    "orbitals": ("orb_vecs", "_orb"),
    "periodic": ("periodic_dirs", "_per"),
    "spins": ("nspin", "_nspin"),
    "energies": ("onsite", "_site_energies"),
    "hoppings": ("hoppings", "_hoppings"),
}


def read(model: Any) -> Calculation:
    """Return a model as a calculation.

    Parameters
    ----------
    model : pythtb.TBModel or pythtb.tb_model
        Its lengths are taken as Å, its energies as eV.

    Returns
    -------
    Calculation
        With structure, basis and Hamiltonian; S = 1.

    Raises
    ------
    MoireioError
        If it is not such a model, or has more than three dimensions.
    """
    label = f"PythTB {type(model).__name__}"
    found = {what: _attribute(model, names, label) for what, names in NAMES.items()}
    if getattr(model, "parameters", None):
        raise MoireioError(
            "has parameters without values", path=label, remedy="set them with its set_parameters"
        )
    reduced = np.asarray(found["orbitals"], dtype=np.float64)
    n, dimension = reduced.shape
    if dimension > 3:
        raise MoireioError(f"has {dimension} dimensions, at most 3 are possible", path=label)
    lattice = np.asarray(found["lattice"], dtype=np.float64).reshape(dimension, dimension)
    spins = int(found["spins"])
    hoppings = Hoppings(n * spins, label)
    for orbital, energy in enumerate(found["energies"]):
        # halves: partners are added to them
        hoppings.add(orbital * spins, orbital * spins, (0, 0, 0), np.asarray(energy) / 2)
    for hopping in found["hoppings"]:
        if isinstance(hopping, dict):
            amplitude, R = hopping["amplitude"], hopping.get("lattice_vector", ())
            i, j = hopping["from_orbital"], hopping["to_orbital"]
        else:
            amplitude, i, j, *rest = hopping
            R = rest[0] if rest else ()
        hoppings.add(int(i) * spins, int(j) * spins, _padded(R), amplitude)
    notes = []
    if getattr(model, "_assume_position_operator_diagonal", True) is False:
        notes.append("PythTB: the position operator of its Wannier functions is left out")
    periodic = [axis in list(found["periodic"]) for axis in range(dimension)]
    cells, matrices = hoppings.matrices()
    return calculation_of_model(
        label,
        lattice,
        periodic,
        reduced @ lattice,
        cells,
        matrices,
        partners="half",
        spinor="interleaved" if spins == 2 else None,
        notes=notes,
    )


def _attribute(model: Any, names: tuple[str, ...], label: str) -> Any:
    """Return an attribute that has another name in another version."""
    for name in names:
        if hasattr(model, name):
            return getattr(model, name)
    raise MoireioError(
        f"has no {names[0]}", path=label, remedy="a tb_model or TBModel of PythTB is expected"
    )


def _padded(R: Any) -> tuple[int, ...]:
    cell = [] if R is None else [int(n) for n in np.asarray(R).ravel()]
    return (*cell, *[0] * (3 - len(cell)))
