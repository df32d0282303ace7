"""OpenMX inputs (``.dat``): complete calculations of H(R) and S(R).

Written: species, cell and atoms in Å, exchange and correlation, grid cut-off, k mesh by density,
spin-orbit coupling, convergence, ``HS.fileout on``; for forces instead of H and S: Grimme's D3
dispersion with the damping of Becke and Johnson, the stress tensor, no spin. With a template,
which is an OpenMX input of the user's own, only what belongs to the structure is replaced, and
everything else is kept.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from moireio.errors import MoireioError, naming
from moireio.formats.openmx.dat import EMPTY
from moireio.formats.openmx.keywords import split
from moireio.system.basis import Basis, SpeciesBasis, parse_name
from moireio.system.structure import Structure

FUNCTIONALS = {"GGA-PBE": "PBE", "LDA": "CA", "LSDA-CA": "CA", "LSDA-PW": "CA"}
_STRUCTURAL = {
    "system.name",
    "hs.fileout",
    "species.number",
    "definition.of.atomic.species",
    "atoms.number",
    "atoms.speciesandcoordinates.unit",
    "atoms.speciesandcoordinates",
    "atoms.unitvectors.unit",
    "atoms.unitvectors",
    "scf.kgrid",
    "band.dispersion",
    "band.nkpath",
    "band.kpath",
    "band.kpath.unitcell",
    "scf.fixed.grid",
    "md.current.iter",
    "md.fixed.xyz",
    "md.init.velocity",
    "md.init.velocity.prev",
    "scf.restart",
    "geoopt.restart",
}


@dataclass(frozen=True)
class OpenMXSettings:
    """Settings of a calculation of OpenMX.

    Parameters
    ----------
    name : str
        ``System.Name``, with which its files begin.
    functional : str
        One of `FUNCTIONALS`.
    cutoff : float
        Grid cut-off, Ry.
    criterion : float
        Convergence of the energy, Hartree.
    spacing : float
        Largest distance of k points, Å⁻¹ with the 2π; one point along directions without periods.
    spin_orbit : bool
        Non-collinear with spin-orbit coupling.
    temperature : float
        Electronic, K.
    max_iterations : int
        Most iterations of the self-consistency.
    data_path : str
        OpenMX's ``DFT_DATA19`` folder, as the calculation sees it.
    data_base : str
        Year with which the names of pseudopotentials end.
    template : str, optional
        Text of an input whose settings are kept instead.
    forces : bool
        Forces for a force field: with dispersion and stress, without spin; no ``.scfout``.
    """

    name: str = "openmx"
    functional: str = "GGA-PBE"
    cutoff: float = 300.0
    criterion: float = 4e-8
    spacing: float = 0.3
    spin_orbit: bool = False
    temperature: float = 300.0
    max_iterations: int = 200
    data_path: str = "../DFT_DATA19"
    data_base: str = "19"
    template: str | None = None
    forces: bool = False


@lru_cache(maxsize=1)
def _species():
    with open(os.path.join(os.path.dirname(__file__), "species.toml"), "rb") as stream:
        return tomllib.load(stream)


def usual_basis(element: str) -> str | None:
    """Return the name of OpenMX's usual basis of an element.

    Parameters
    ----------
    element : str
        Its symbol.

    Returns
    -------
    str or None
        Such as ``C6.0-s2p2d1``; None if there is none in the table.
    """
    return _species().get(element, {}).get("basis")


def default_basis(structure: Structure, names: Mapping[str, str] | None = None) -> Basis:
    """Return a basis for every species of a structure.

    Parameters
    ----------
    structure : Structure
        The atoms.
    names : dict of str to str, optional
        Basis names by species, which come before the defaults.

    Returns
    -------
    Basis
        With the electrons of the pseudo-atoms.

    Raises
    ------
    MoireioError
        If a species has no default, or a name does not fit its element.
    """
    names, species = dict(names or {}), {}
    elements = dict(zip(structure.species_of_atoms, structure.element_symbols, strict=True))
    for name in structure.species_names:
        element = elements.get(name, name)
        basis_name = names.pop(name, None) or usual_basis(element)
        if basis_name is None:
            what = "the empty atoms" if element == "X" else element
            raise MoireioError(
                f"no default basis for {what}",
                remedy=f"give `basis` {name}=NAME: an orbital file and shells, as in Mo7.0-s3p2d1",
            )
        species[name] = named_basis(element, basis_name)
    if names:
        raise MoireioError(f"`basis` names {min(names)}, of which there is no atom")
    return Basis(species)


def named_basis(element: str, name: str) -> SpeciesBasis:
    """Return the basis of one species by its name.

    Parameters
    ----------
    element : str
        Its symbol.
    name : str
        Such as ``C6.0-s2p2d1``.

    Returns
    -------
    SpeciesBasis
        With the electrons of the 2019 pseudo-atom, where they are known.

    Raises
    ------
    MoireioError
        If the name is malformed or belongs to another element.
    """
    parsed, symbol = parse_name(name)
    if element == "X":  # an empty atom: no nucleus, no electrons, the orbitals of any element
        return replace(parsed, valence=0.0)
    if symbol != element:
        raise MoireioError(f"basis {name} is not one of {element}")
    electrons = _species().get(element, {}).get("electrons")
    return SpeciesBasis(l=parsed.l, name=name, cutoff=parsed.cutoff, valence=electrons)


def mesh(structure: Structure, spacing: float) -> tuple[int, int, int]:
    """Return the k mesh with no larger distance than given.

    Parameters
    ----------
    structure : Structure
        The cell.
    spacing : float
        Å⁻¹ with the 2π.

    Returns
    -------
    tuple of three int
        Points along each reciprocal vector.
    """
    lengths = np.linalg.norm(structure.reciprocal, axis=1)
    counts = np.maximum(1, np.ceil(lengths / spacing - 1e-9).astype(int))
    return tuple(int(n) if p else 1 for n, p in zip(counts, structure.pbc, strict=True))


def text(structure: Structure, settings: OpenMXSettings, basis: Basis | None = None) -> str:
    """Return a complete input.

    Parameters
    ----------
    structure : Structure
        Cell and atoms.
    settings : OpenMXSettings
        Settings of the calculation.
    basis : Basis, optional
        With names; by default that of `default_basis`.

    Returns
    -------
    str
        The text.

    Raises
    ------
    MoireioError
        If a basis or the number of a pseudo-atom's electrons is unknown.
    """
    basis = basis if basis is not None and basis.species else default_basis(structure)
    if settings.template is not None:
        # Columns of the atoms and names of pseudopotentials follow the user's settings.
        keywords = split(settings.template, "the template", _STRUCTURAL)
        spin = keywords.word("scf.SpinPolarization", "off").lower()
        if settings.forces and spin != "off":
            raise MoireioError(
                f"the template has scf.SpinPolarization {spin}; a force field needs no spin",
                remedy="set it to off in the template",
            )
        if settings.forces and keywords.word("MD.Type", "nomd").lower() != "nomd":
            raise MoireioError(
                "the template moves the atoms (MD.Type); every structure is calculated as it is",
                remedy="set MD.Type nomd in the template",
            )
        spinor = spin == "nc"
        functional = keywords.word("scf.XcType", "LDA").upper()  # OpenMX's default
        settings = replace(settings, spin_orbit=spinor, functional=functional)
        with naming("the template"):
            body = _body(structure, settings, basis)
        return body + _kept(settings.template)
    body = _body(structure, settings, basis)
    spin = "NC" if settings.spin_orbit else "off"
    coupling = "on" if settings.spin_orbit else "off"
    return body + "\n".join(
        [
            "System.CurrrentDirectory ./",
            f"DATA.PATH {settings.data_path}",
            "level.of.stdout 1",
            "level.of.fileout 0",
            f"scf.XcType {settings.functional}",
            f"scf.SpinPolarization {spin}",
            f"scf.SpinOrbit.Coupling {coupling}",
            f"scf.ElectronicTemperature {settings.temperature:g}",
            f"scf.energycutoff {settings.cutoff:g}",
            f"scf.maxIter {settings.max_iterations}",
            f"scf.criterion {settings.criterion:g}",
            "scf.EigenvalueSolver Band",
            "scf.Mixing.Type rmm-diisk",
            "scf.Init.Mixing.Weight 0.20",
            "scf.Min.Mixing.Weight 0.001",
            "scf.Max.Mixing.Weight 0.40",
            "scf.Mixing.History 20",
            "scf.Mixing.StartPulay 6",
            "MD.Type nomd",
            "MD.maxIter 1",
            "",
        ]
    )


def _body(structure, settings, basis):
    """Return the part of an input that belongs to the structure."""
    if settings.functional not in FUNCTIONALS:
        raise MoireioError(
            f"functional {settings.functional} is not known",
            remedy="use one of: " + ", ".join(FUNCTIONALS),
        )
    suffix = FUNCTIONALS[settings.functional] + settings.data_base
    elements = dict(zip(structure.species_of_atoms, structure.element_symbols, strict=True))
    used = [name for name in structure.species_names if name in elements]
    lines = [
        f"System.Name {settings.name}",
        f"HS.fileout {'off' if settings.forces else 'on'}",
        f"Species.Number {len(used)}",
        "<Definition.of.Atomic.Species",
    ]
    half = {}
    for name in used:
        orbitals = basis[name]
        if orbitals.name is None or orbitals.valence is None:
            raise MoireioError(
                f"species {name}: the name of its basis or its electrons are unknown",
                remedy="give `basis`",
            )
        half[name] = orbitals.valence / 2
        empty = elements[name] == "X"
        pseudopotential = EMPTY if empty else f"{elements[name]}_{suffix}"
        lines.append(f" {name} {orbitals.name} {pseudopotential}")
    lines += [
        "Definition.of.Atomic.Species>",
        f"Atoms.Number {len(structure)}",
        "Atoms.SpeciesAndCoordinates.Unit Ang",
        "<Atoms.SpeciesAndCoordinates",
    ]
    tail = " 0.0 0.0 0.0 0.0 0 off" if settings.spin_orbit else ""
    atoms = zip(structure.species_of_atoms, structure.positions, strict=True)
    for number, (name, (x, y, z)) in enumerate(atoms, 1):
        spins = f"{half[name]:.1f} {half[name]:.1f}"
        lines.append(f" {number} {name} {x:.12f} {y:.12f} {z:.12f} {spins}{tail}")
    lines += ["Atoms.SpeciesAndCoordinates>", "Atoms.UnitVectors.Unit Ang", "<Atoms.UnitVectors"]
    lines += [" {:.12f} {:.12f} {:.12f}".format(*row) for row in structure.cell]
    lines += ["Atoms.UnitVectors>", "scf.Kgrid {} {} {}".format(*mesh(structure, settings.spacing))]
    if settings.forces:
        # They stand before those of a template: of equal keywords OpenMX takes the first.
        directions = " ".join(str(int(periodic)) for periodic in structure.pbc)
        lines += [
            "scf.dftD on",
            "version.dftD 3",
            "DFTD3.damp bj",
            f"DFTD.IntDirection {directions}",
            "scf.stress.tensor on",
        ]
    return "\n".join(lines) + "\n"


def _kept(template):
    """Return a template without the part that belongs to its structure."""
    kept, skipping = [], None
    for line in template.splitlines():
        word = line.split("#")[0].split()[:1]
        name = word[0].lower() if word else ""
        if skipping is not None:
            if name == f"{skipping}>":
                skipping = None
            continue
        if name.startswith("<") and name[1:] in _STRUCTURAL:
            skipping = name[1:]
            continue
        if name not in _STRUCTURAL:
            kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n") + "\n"
