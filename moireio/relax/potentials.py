"""Potentials of layered materials: the table behind `auto`, and LAMMPS inputs of one's own."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MissingFileError, MoireioError
from moireio.relax.lammps import LammpsSetup, potentials_folder
from moireio.system.layers import assign_layers, joined_positions, layer_normal
from moireio.system.structure import Structure

WAYS = (
    "train a force field (docs/howto-force-field.md) and relax with `calculator` deepmd:FILE or "
    "mace:FILE, bring LAMMPS parameters with lammps:FILE.in, or take a universal model such as "
    "chgnet with `d3` pbe"
)
#: Commands of LAMMPS that a file of one's own may hold; others are set by moireio or harm.
ALLOWED = (
    "pair_style pair_coeff pair_modify special_bonds kspace_style kspace_modify variable set mass "
    "neighbor neigh_modify comm_modify newton suffix group plugin"
)
SKIPPED = ("units", "atom_style", "boundary", "atom_modify", "dimension", "clear", "log", "echo")
DIVISIONS = ("element", "layer", "side")
_FREE_GAP = 20.0  # Å of vacuum that a stack needs


@dataclass(frozen=True)
class LayerPotential:
    """A potential inside layers of one material."""

    elements: tuple[str, ...]
    ratio: tuple[int, ...]
    style: str
    file: str
    each: bool = False
    sides: bool = False
    source: str = ""


@dataclass(frozen=True)
class PairPotential:
    """A potential between layers."""

    layers: tuple[str, ...]
    style: str
    cutoff: float
    file: str
    source: str = ""


@cache
def potential_table() -> tuple[dict[str, LayerPotential], tuple[PairPotential, ...]]:
    """Return the table of potentials that come with LAMMPS.

    Returns
    -------
    layers : dict of str to LayerPotential
        By the names of the layers.
    pairs : tuple of PairPotential
        Between them.
    """
    import tomllib

    text = resources.files("moireio.relax").joinpath("potentials.toml").read_text("utf-8")
    table = tomllib.loads(text)

    def frozen(entry: dict[str, Any]) -> dict[str, Any]:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}

    layers = {name: LayerPotential(**frozen(entry)) for name, entry in table["layers"].items()}
    return layers, tuple(PairPotential(**frozen(entry)) for entry in table["pairs"])


def layer_materials(structure: Structure) -> list[str]:
    """Return the material of each layer, as the table names it.

    Parameters
    ----------
    structure : Structure
        A stack of layers.

    Returns
    -------
    list of str
        From the bottom to the top.

    Raises
    ------
    MoireioError
        If a layer is in no row of the table.
    """
    layers, _ = potential_table()
    symbols = np.array(structure.element_symbols)
    layer = layers_of(structure)
    names = []
    for number in range(int(layer.max(initial=-1)) + 1):
        kinds, counts = np.unique(symbols[layer == number], return_counts=True)
        found = dict(zip(kinds.tolist(), counts.tolist(), strict=True))
        name = next((n for n, row in layers.items() if _is_of(found, row)), None)
        if name is None:
            text = "".join(f"{k}{c if c > 1 else ''}" for k, c in _formula(found).items())
            raise MoireioError(
                f"layer {number + 1} ({text}): no potential that comes with LAMMPS holds it",
                remedy=WAYS,
            )
        names.append(name)
    return names


def layers_of(structure: Structure) -> npt.NDArray[np.int32]:
    """Return the layer of each atom, from 0: as stored, else by the gaps in height."""
    return assign_layers(structure) if structure.layer is None else structure.layer


def _is_of(found: dict[str, int], row: LayerPotential) -> bool:
    if set(found) != set(row.elements):
        return False
    units = [found[e] / r for e, r in zip(row.elements, row.ratio, strict=True)]
    return len(set(units)) == 1


def _formula(found: dict[str, int]) -> dict[str, int]:
    divisor = int(np.gcd.reduce(list(found.values()))) if found else 1
    return {kind: count // divisor for kind, count in found.items()}


def pair_potential(materials: Sequence[str]) -> PairPotential | None:
    """Return the potential between all layers of a stack.

    Parameters
    ----------
    materials : sequence of str
        As `layer_materials` returns.

    Returns
    -------
    PairPotential or None
        None for a single layer.

    Raises
    ------
    MoireioError
        If there is none.
    """
    if len(materials) < 2:
        return None
    for row in potential_table()[1]:
        if set(materials) <= set(row.layers):
            return row
    pair = "/".join(dict.fromkeys(materials)) if len(set(materials)) > 1 else materials[0]
    raise MoireioError(f"{pair}: no potential between these layers comes with LAMMPS", remedy=WAYS)


def automatic_setup(structure: Structure) -> LammpsSetup:
    """Return the potentials of the table for a stack of layers.

    Parameters
    ----------
    structure : Structure
        Layers of the table, with vacuum above them.

    Returns
    -------
    LammpsSetup
        One type for each layer, element and (in layers with metals) side.

    Raises
    ------
    MoireioError
        If the table has no potential, or the structure is no slab.
    """
    materials = layer_materials(structure)
    between = pair_potential(materials)
    _require_slab(structure)
    folder = potentials_folder()
    rows = [potential_table()[0][name] for name in materials]
    sides = [row.sides for row in rows]
    types, labels = atom_types(structure, sides)
    styles, coefficients = [], []
    instances: list[tuple[str, LayerPotential, set[int]]] = []
    for number, row in enumerate(rows):
        shared = None if row.each else next((i for i in instances if i[1] is row), None)
        if shared is None:
            instances.append((row.style, row, {number}))
        else:
            shared[2].add(number)
    files = []
    for position, (style, row, numbers) in enumerate(instances):
        alike = [i for i, other in enumerate(instances) if other[0] == style]
        index = f" {alike.index(position) + 1}" if len(alike) > 1 else ""
        path = os.path.join(folder, row.file)
        files.append(path)
        names = " ".join(element if n in numbers else "NULL" for n, element, _ in labels)
        styles.append(style)
        coefficients.append(f"pair_coeff * * {style}{index} {_quoted(path)} {names}")
    if between is not None:
        path = os.path.join(folder, between.file)
        files.append(path)
        styles.append(f"{between.style} {between.cutoff:g} 1")
        names = " ".join(element for _, element, _ in labels)
        coefficients.append(f"pair_coeff * * {between.style} {_quoted(path)} {names}")
    return LammpsSetup(
        commands=(f"pair_style hybrid/overlay {' '.join(styles)}", *coefficients),
        types=types,
        masses=_masses([element for _, element, _ in labels]),
        molecules=layers_of(structure) + 1,
        files=tuple(dict.fromkeys(files)),
    )


def _require_slab(structure: Structure) -> None:
    if structure.pbc.all():
        height = joined_positions(structure) @ layer_normal(structure)
        period = abs(structure.cell[2] @ layer_normal(structure))
        if period - np.ptp(height) < _FREE_GAP:
            raise MoireioError(
                f"the layers repeat along the third vector with less than {_FREE_GAP:g} Å between",
                remedy="`calculator` auto is for layers in vacuum; name another",
            )


def atom_types(
    structure: Structure, sides: Sequence[bool]
) -> tuple[npt.NDArray[np.int32], list[tuple[int, str, int]]]:
    """Divide atoms into types by layer, element, and side of the layer.

    Parameters
    ----------
    structure : Structure
        A stack of layers.
    sides : sequence of bool
        For each layer, whether atoms beside its metals are divided into those below and above.

    Returns
    -------
    types : (N,) array
        From 1.
    labels : list of (int, str, int)
        Layer, element and side (−1, 0, 1) of each type.
    """
    layer = layers_of(structure)
    symbols = np.array(structure.element_symbols)
    side = np.zeros(len(structure), dtype=int)
    for number in np.flatnonzero(sides):
        members = np.flatnonzero(layer == number)
        side[members] = _sides(structure, members)
    labels = sorted(set(zip(layer.tolist(), symbols.tolist(), side.tolist(), strict=True)))
    index = {label: n for n, label in enumerate(labels, 1)}
    keys = zip(layer.tolist(), symbols.tolist(), side.tolist(), strict=True)
    return np.array([index[key] for key in keys], dtype=np.int32), labels


def _sides(structure: Structure, members: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return 0 for metals, −1 and 1 for atoms below and above the three nearest of them."""
    from scipy.spatial import cKDTree

    from moireio.system.neighbours import neighbour_list

    part = Structure(
        structure.cell,
        joined_positions(structure)[members],
        structure.numbers[members],
        np.zeros(len(members), dtype=int),
        ("X",),
        structure.pbc,
    )
    kinds, counts = np.unique(part.numbers, return_counts=True)
    metal = part.numbers == kinds[counts.argmin()]
    height = part.positions @ layer_normal(structure)
    i, j, d = neighbour_list(part, 3.5, "ijd")
    bonds = ~metal[i] & metal[j]
    i, j, d = i[bonds], j[bonds], d[bonds]
    order = np.lexsort((d, i))
    i, j = i[order], j[order]
    rank = np.arange(len(i)) - np.searchsorted(i, i)
    near = rank < 3
    below = np.bincount(i[near], height[j[near]], len(members))
    number = np.bincount(i[near], minlength=len(members))
    lone = ~metal & (number == 0)
    if lone.any():
        tree = cKDTree(part.positions[metal])
        _, nearest = tree.query(part.positions[lone])
        below[lone], number[lone] = height[metal][nearest], 1
    middle = below / np.maximum(number, 1)
    return np.where(metal, 0, np.where(height > middle, 1, -1))


def input_setup(path: str, structure: Structure) -> LammpsSetup:
    """Return the potentials of a LAMMPS input of one's own.

    Parameters
    ----------
    path : str
        A file with ``pair_style``, ``pair_coeff`` and the like. A line ``# types: element``
        (default), ``# types: layer`` or ``# types: side`` chooses how atoms are divided into
        types: by element in the order of the structure's species, by layer and element, or by
        layer, element and side of the metals. Molecule-IDs are the layers. Parameter files are
        sought beside the file and among those that come with lammps.
    structure : Structure
        The structure.

    Returns
    -------
    LammpsSetup
        Its commands, with full paths.

    Raises
    ------
    MoireioError
        If it cannot be read, or holds a command that moireio gives itself.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except OSError as error:
        raise MissingFileError(
            f"cannot be read: {error.strerror}", path=path, remedy="name a LAMMPS input"
        ) from error
    except UnicodeDecodeError as error:
        raise MoireioError("is no text", path=path, remedy="name a LAMMPS input") from error
    division = "element"
    if found := re.search(r"^\s*#\s*types:\s*(\S+)", text, re.MULTILINE):
        division = found[1]
        if division not in DIVISIONS:
            raise MoireioError(
                f"types: {division} is not known", path=path, remedy=f"one of {DIVISIONS}"
            )
    commands, files = _commands(path, text)
    if division == "element":
        symbols = structure.element_symbols
        names = list(dict.fromkeys(symbols))
        types = np.array([names.index(s) + 1 for s in symbols], dtype=np.int32)
    else:
        count = int(layers_of(structure).max(initial=0)) + 1
        types, labels = atom_types(structure, [division == "side"] * count)
        names = [element for _, element, _ in labels]
    return LammpsSetup(commands, types, _masses(names), layers_of(structure) + 1, (path, *files))


def _commands(path: str, text: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the commands of an input, and the parameter files that they name."""
    folders = (os.path.dirname(os.path.abspath(path)), potentials_folder())
    commands, files = [], []
    for line in re.sub(r"&\s*\n", " ", text).splitlines():
        line = line.split("#")[0].strip()
        if not line:
            continue
        name = line.split()[0]
        if name == "units" and line.split()[1:] != ["metal"]:
            raise MoireioError(f"{line!r}: units are metal", path=path, remedy="eV and Å")
        if name in SKIPPED:
            continue
        if name not in ALLOWED.split():
            raise MoireioError(
                f"the command {name!r} has no place in it",
                path=path,
                remedy="potentials only: " + ", ".join(ALLOWED.split()),
            )
        words = []
        for word in shlex.split(line):
            there = [p for f in folders if os.path.isfile(p := os.path.join(f, word))]
            if name == "pair_coeff" and there:
                files.append(there[0])
                word = there[0]
            words.append(_quoted(word))
        commands.append(" ".join(words))
    if not any(command.startswith("pair_style") for command in commands):
        raise MoireioError("has no pair_style", path=path, remedy="name a LAMMPS input")
    return tuple(commands), list(dict.fromkeys(files))


def _quoted(word: str) -> str:
    return f'"{word}"' if re.search(r"\s", word) else word


def _masses(elements: Sequence[str]) -> tuple[float, ...]:
    from ase.data import atomic_masses, atomic_numbers

    return tuple(float(atomic_masses[atomic_numbers[e]]) or 1.0 for e in elements)
