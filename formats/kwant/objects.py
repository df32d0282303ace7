"""Builders of Kwant with a translational symmetry in none to three directions.

Kept: periods, positions of sites, the matrices of sites and hoppings (values that are functions are
called). Lost: leads, families and tags of sites, and what Kwant calls ``norbs`` besides the number.
A site's orbitals become s functions at its position. Kwant has no overlap and no name for spin:
spinor blocks are written as matrices with all up orbitals of a site before the down ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.hoppings import Hoppings, calculation_of_model
from moireio.formats.assembly.orthogonal import one_spin, require_orthogonal
from moireio.operators.blocks import block_offsets, components


def read(builder: Any, params: Mapping[str, Any] | None = None) -> Calculation:
    """Return a builder as a calculation.

    Parameters
    ----------
    builder : kwant.Builder
        Its lengths are taken as Å, its energies as eV.
    params : mapping of str to value, optional
        Parameters of values that are functions.

    Returns
    -------
    Calculation
        With structure, basis and Hamiltonian; S = 1. Sites are in the fundamental domain.

    Raises
    ------
    MoireioError
        If it is not a builder, has no sites, or a value is no number or matrix.
    """
    label = f"Kwant {type(builder).__name__}"
    for name in ("symmetry", "site_value_pairs", "hopping_value_pairs"):
        if not hasattr(builder, name):
            raise MoireioError(
                f"has no {name}",
                path=label,
                remedy="a kwant.Builder is expected, before it is finalized",
            )
    symmetry, given = builder.symmetry, dict(params or {})
    energies = {}
    for site, value in builder.site_value_pairs():
        energies[site] = _matrix(_value(value, (site,), given, label), label)
    if not energies:
        raise MoireioError("has no sites", path=label)
    sizes = [len(block) for block in energies.values()]
    starts = dict(zip(energies, block_offsets(np.array(sizes))[:-1].tolist(), strict=True))
    hoppings = Hoppings(sum(sizes), label)
    for site, block in energies.items():
        hoppings.add(starts[site], starts[site], (0, 0, 0), block / 2)
    for (a, b), value in builder.hopping_value_pairs():
        block = _matrix(_value(value, (a, b), given, label), label)
        cell = np.zeros(3, dtype=int)
        R = np.array(symmetry.which(b), dtype=int) - np.array(symmetry.which(a), dtype=int)
        cell[: len(R)] = R
        first, second = symmetry.to_fd(a), symmetry.to_fd(b)
        if block.shape != (len(energies[first]), len(energies[second])):
            raise MoireioError(
                f"the hopping between {a} and {b} is {block.shape[0]} x {block.shape[1]}, the "
                f"sites have {len(energies[first])} and {len(energies[second])} orbitals",
                path=label,
            )
        hoppings.add(starts[first], starts[second], cell, block)
    positions = np.array([np.array(site.pos, dtype=float) for site in energies])
    periods = np.array(getattr(symmetry, "periods", []), dtype=float)
    periods = periods.reshape(-1, positions.shape[1])
    cells, matrices = hoppings.matrices()
    leads = len(getattr(builder, "leads", []))
    return calculation_of_model(
        label,
        periods,
        [True] * len(periods),
        np.repeat(positions, sizes, axis=0),
        cells,
        matrices,
        partners="half",
        notes=[f"Kwant: {leads} leads are left out"] if leads else [],
    )


def write(calculation: Calculation, *, spin: int | None = None) -> Any:
    """Return a builder of a calculation.

    Parameters
    ----------
    calculation : Calculation
        With a Hamiltonian and an orthogonal basis.
    spin : {0, 1}, optional
        Up or down, where spin is collinear.

    Returns
    -------
    kwant.Builder
        One family of sites for each atom, in the order of the atoms, periodic along the structure's
        periodic vectors; Å and eV.

    Raises
    ------
    MoireioError
        If Kwant is not installed, the basis is not orthogonal, or `spin` is needed.
    """
    try:
        import kwant
    except ImportError as error:
        raise MoireioError("Kwant is not installed", remedy="pip install kwant") from error
    require_orthogonal(calculation, "Kwant")
    source = calculation.hamiltonian
    channel = one_spin(source, spin, calculation.label)
    structure, pairs = calculation.structure, source.pairs
    periods = structure.cell[structure.pbc]
    symmetry = [kwant.TranslationalSymmetry(*periods)] if len(periods) else []
    builder = kwant.Builder(*symmetry)
    families = [
        kwant.lattice.Monatomic(structure.cell, position, name=f"{species}{atom}", norbs=int(size))
        for atom, (position, species, size) in enumerate(
            zip(structure.positions, structure.species_of_atoms, source.sizes, strict=True)
        )
    ]
    data = components(source.rows(0, len(structure)))[channel]
    offsets = block_offsets(pairs.block_elements(source.sizes))
    kept, first = pairs.upper(), pairs.i
    onsite = pairs.onsite()
    for atom in range(len(structure)):
        builder[families[atom](0, 0, 0)] = _block(data, offsets, onsite[atom], source.sizes[atom])
    for pair in np.flatnonzero(kept):
        i, j, R = int(first[pair]), int(pairs.j[pair]), pairs.R[pair].tolist()
        block = _block(data, offsets, pair, source.sizes[i])
        if pair != onsite[i] and block.any():
            builder[families[i](0, 0, 0), families[j](*R)] = block
    return builder


def _block(data: Any, offsets: Any, pair: int, rows: int) -> Any:
    return data[offsets[pair] : offsets[pair + 1]].reshape(int(rows), -1)


def _value(value: Any, sites: tuple[Any, ...], given: Mapping[str, Any], label: str) -> Any:
    """Return the value of a site or hopping; a function is called with the parameters it names."""
    if not callable(value):
        return value
    names = _parameters(value)[len(sites) :]
    missing = [name for name, needed in names if needed and name not in given]
    if missing:
        raise MoireioError(
            f"a value needs {', '.join(missing)}",
            path=label,
            remedy="give them as `params`",
        )
    return value(*sites, **{name: given[name] for name, _ in names if name in given})


def _parameters(function: Callable[..., Any]) -> list[tuple[str, bool]]:
    """Return the names of a function's arguments, each with whether it has no default."""
    listed = inspect.signature(function).parameters.values()
    return [(p.name, p.default is p.empty) for p in listed]


def _matrix(value: Any, label: str) -> Any:
    """Return a value as a matrix."""
    dense = value.toarray() if hasattr(value, "toarray") else value
    try:
        block = np.atleast_2d(np.asarray(dense, dtype=np.complex128))
    except (TypeError, ValueError):
        block = np.zeros(0)
    if block.ndim != 2:
        raise MoireioError(f"{value!r:.40} is no number or matrix", path=label)
    return block
