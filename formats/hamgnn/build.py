"""Calculations from the graphs of HamGNN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MoireioError, naming
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.twocentre import MOST_PAIRS, violation
from moireio.formats.hamgnn.graphs import Graph, field
from moireio.formats.hamgnn.slots import CODES, HARTREE, Slots, codes_of
from moireio.operators.blocks import adjoint, block_offsets, by_shape, scatter, take_blocks
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource, require_partners, symmetrised
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.pairs import Pairs
from moireio.system.structure import HIGHEST_NUMBER, Structure
from moireio.units import BOHR_ANGSTROM

LIMITS = {"hamiltonian": 1e-3, "overlap": 1e-4}  # eV and 1; files have single precision
LARGEST = 1e6  # Hartree, Bohr
FARTHEST = 1 << 20
SAME = 1e-3  # relative, of lengths in one unit
RIGHT = 0.02  # violation of the two-centre rule by the right orbitals at most
CLEARLY = 10.0  # times more by all others
SUSPICIOUS = 0.05
DOWN_UP = 1e-5  # eV


@dataclass(frozen=True)
class Blocks:
    """The blocks of H as a graph or a prediction has them.

    Parameters
    ----------
    real : (n, ...) array
        On-site blocks, then those of the edges, Hartree.
    imaginary : (n, ...) array or None
        Imaginary parts of spinor blocks.
    """

    real: npt.NDArray[Any]
    imaginary: npt.NDArray[Any] | None


@dataclass(frozen=True)
class _Pattern:
    """Structure and pairs of a graph, and where their blocks stand.

    Parameters
    ----------
    structure : Structure
        The atoms.
    pairs : Pairs
        All pairs.
    order : (n,) array of int
        Row of the graph's blocks for every pair.
    nao : int
        Orbitals of every atom.
    used : (N, nao) array of bool
        Slots that each atom has.
    overlap : (n, nao, nao) array
        S by row.
    """

    structure: Structure
    pairs: Pairs
    order: npt.NDArray[np.int64]
    nao: int
    used: npt.NDArray[np.bool_]
    overlap: npt.NDArray[Any]


def calculation(
    graph: Graph,
    where: str,
    label: str,
    *,
    files: Sequence[str],
    code: str | None = None,
    hamiltonian: Blocks | None = None,
    notes: Sequence[str] = (),
    pbc: Sequence[bool] | None = None,
) -> Calculation:
    """Make a calculation of a graph.

    Parameters
    ----------
    graph : dict
        From `read_graphs`.
    where : str
        File and graph, for messages.
    label : str
        The name that messages of commands show.
    files : sequence of str
        Files that were read.
    code : {"openmx", "siesta", "abacus"}, optional
        The program that made the numbers; by default from the number of orbitals, or S.
    hamiltonian : Blocks, optional
        A prediction; by default the graph's own H.
    notes : sequence of str
        Remarks.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.

    Returns
    -------
    Calculation
        In memory.

    Raises
    ------
    MoireioError
        If the graph does not fit together, or the program cannot be found.
    """
    if code is not None and code not in CODES:
        raise MoireioError(f"no program is called {code!r}", remedy="known: " + ", ".join(CODES))
    with naming(where):
        pattern = _pattern(graph, where)
        slots, said = _slots(pattern, code, where)
        basis, indices, signs = _orbitals(pattern, slots)
        remarks = [*notes, *said]
        predicted = hamiltonian is not None
        if hamiltonian is None:
            hamiltonian = own_blocks(graph, pattern.nao, where)
        place = _Placer(pattern, basis, indices, signs)
        operators = {}
        if hamiltonian is not None:
            scale = HARTREE[slots.code]
            source = place.hamiltonian(hamiltonian, scale, where, predicted, remarks)
            operators["hamiltonian"] = source
        operators["overlap"] = place.overlap(where)
    remarks.append("HamGNN's files have no Fermi level and no number of electrons")
    if not predicted and "Hon0" in graph:
        remarks.append("Hon0 and Hoff0, H without the self-consistent potential, are not kept")
    return assemble(
        label,
        pattern.structure,
        basis,
        operators,
        notes=remarks,
        files=files,
        pbc=pbc,
        usual_residual={"hamiltonian": np.inf if predicted else 1e-4, "overlap": 1e-6},
    )


def own_blocks(graph: Graph, nao: int, where: str) -> Blocks | None:
    """Return H of a graph.

    Parameters
    ----------
    graph : dict
        The graph.
    nao : int
        Orbitals of every atom.
    where : str
        File and graph, for messages.

    Returns
    -------
    Blocks or None
        None where there is only S.
    """
    atoms, edges = len(graph["z"]), np.shape(graph["edge_index"])[-1]
    both = {name: _joined(graph, name, atoms, edges, where) for name in ("H", "iH")}
    real, imaginary = both["H"], both["iH"]
    if real is None:
        return None
    widths = {1: (nao**2, 4 * nao**2), 2: (nao**2,)}
    channels = real.shape[1] if real.ndim == 3 else 1
    spinor = channels == 1 and real.shape[-1] == 4 * nao**2
    if channels not in widths or real.shape[-1] not in widths[channels]:
        raise MoireioError(
            f"its Hon is {real.shape[1:]} for each atom; S has {nao} x {nao}, so {nao**2}, "
            f"2 x {nao**2} or {4 * nao**2} expected"
        )
    if spinor and imaginary is None:
        raise MoireioError("has spinor blocks in Hon, but no iHon: their imaginary parts")
    if imaginary is not None and imaginary.shape != real.shape:
        raise MoireioError(f"its iHon is {imaginary.shape[1:]} for each atom, Hon {real.shape[1:]}")
    return Blocks(real, imaginary if spinor else None)


def _joined(graph, name, atoms, edges, where):
    """Return on-site blocks and those of the edges, one after another; None without any."""
    on, off = f"{name}on", f"{name}off"
    if on not in graph and off not in graph:
        whole = {"H": "hamiltonian", "S": "overlap"}.get(name)
        if whole not in graph:
            return None
        width = np.shape(graph[whole])[-1] if np.ndim(graph[whole]) else 0
        return field(graph, whole, where, (atoms + edges, width))
    shape = np.shape(graph.get(on))[1:] if on in graph else (0,)
    parts = field(graph, on, where, (atoms, *shape)), field(graph, off, where, (edges, *shape))
    return np.concatenate(parts)


def _pattern(graph, where):
    """Return structure, pairs and orbitals of a graph."""
    z = field(graph, "z", where, (None,))
    n = len(z)
    wrong = (z != np.rint(z)) | (z < 1) | (z > HIGHEST_NUMBER)
    if n == 0 or wrong.any():
        raise DamagedError(f"its z are no atomic numbers 1 to {HIGHEST_NUMBER}")
    edges = _integers(field(graph, "edge_index", where, (2, None)), "edge_index", n - 1, 0)
    count = edges.shape[1]
    shift = field(graph, "cell_shift", where, (count, 3))
    shift = _integers(shift, "cell_shift", FARTHEST, -FARTHEST)
    structure = _structure(graph, z.astype(int), edges, shift, where)
    own = np.arange(n)
    i, j = np.concatenate([own, edges[0]]), np.concatenate([own, edges[1]])
    R = np.concatenate([np.zeros((n, 3), dtype=np.int64), shift])
    pairs, order = Pairs.sort(n, i, j, R)
    require_partners(pairs, where)
    S = _joined(graph, "S", n, count, where)
    if S is None:
        raise MoireioError("has neither Son and Soff nor overlap: without S orbitals are not known")
    nao = math.isqrt(S.shape[-1]) if np.ndim(S) == 2 else 0
    if np.shape(S) != (n + count, nao**2) or nao == 0:
        raise MoireioError(f"its S is {np.shape(S)}, {n + count} blocks of nao x nao expected")
    S = S.reshape(-1, nao, nao)
    norms = S[:n].diagonal(axis1=1, axis2=2)
    if not (norms >= 0).all() or not (np.abs(S) <= LARGEST).all():
        raise DamagedError("the overlap of an orbital with itself is negative, or not finite")
    return _Pattern(structure, pairs, order, nao, norms > 0, S)


def _integers(values, name, high, low):
    """Return an array of integers within bounds."""
    if not ((values >= low) & (values <= high)).all() or (values != np.rint(values)).any():
        raise DamagedError(f"its {name} are no integers from {low} to {high}")
    return values.astype(np.int64)


def _structure(graph, z, edges, shift, where):
    """Return the atoms, Å; the files mix Bohr and Å."""
    from ase import Atoms

    cell = np.asarray(graph.get("cell"), dtype=object)
    name = (1, 3, 3) if cell.ndim == 3 else (3, 3)
    cell = field(graph, "cell", where, name).reshape(3, 3).astype(np.float64)
    positions = field(graph, "pos", where, (len(z), 3)).astype(np.float64)
    moved = field(graph, "nbr_shift", where, (len(shift), 3)).astype(np.float64)
    for what, values in (("cell", cell), ("pos", positions), ("nbr_shift", moved)):
        if not (np.abs(values) <= LARGEST).all():
            raise DamagedError(f"its {what} has a number that is not finite, or too large")
    vectors = shift @ cell
    bohr = True
    if shift.any():
        ratio = float((moved * vectors).sum() / max((vectors**2).sum(), 1e-30))
        gap = np.abs(moved - ratio * vectors).max() / max(np.abs(moved).max(), 1e-30)
        units = {1.0: True, 1 / BOHR_ANGSTROM: False}
        fitting = [b for unit, b in units.items() if abs(ratio / unit - 1) < SAME]
        if not fitting or gap > SAME:
            raise DamagedError(
                "its nbr_shift is not cell_shift times cell, in Bohr or Å",
                remedy="the graph is not that of one structure",
            )
        bohr = fitting[0]
    elif "spin_length" in graph:
        bohr = False
    scale = BOHR_ANGSTROM if bohr else 1.0
    # The scripts for magnets keep positions of spinors in Å even where the cell is in Bohr.
    in_angstrom = not bohr or ("spin_length" in graph and "iHon" in graph)
    where_atoms = positions * (1.0 if in_angstrom else BOHR_ANGSTROM)
    return Structure.from_ase(Atoms(z, positions=where_atoms, cell=cell * scale, pbc=True))


def _slots(pattern, code, where):
    """Return the slots of the program that made the numbers, and remarks."""
    nao = pattern.nao
    programs = codes_of(nao)
    known = ", ".join(programs) or "13, 14, 15, 19, 26, 27, 40"
    if not programs or (code is not None and code not in programs):
        raise MoireioError(
            f"has {nao} orbitals for every atom, which HamGNN's scripts do not have"
            + (f" for {code}" if programs else ""),
            remedy=f"known: {known}",
        )
    found = {}
    refusals = []
    for program in programs:
        try:
            found[program] = _violation(pattern, Slots(nao, program))
        except MoireioError as error:
            refusals.append(error)
    if code is not None or len(programs) == 1:
        chosen = code or programs[0]
        if chosen not in found:
            raise refusals[0]
        others = min((v for name, v in found.items() if name != chosen), default=np.inf)
        remark = []
        if found[chosen] > SUSPICIOUS:
            better = f"; those of {min(found, key=found.get)} fit" if others < RIGHT else ""
            remark = [
                f"S between atoms is not that of {chosen}'s orbitals: {found[chosen]:.0%} of it "
                f"break the rule of two centres{better}"
            ]
        return Slots(nao, chosen), remark
    if not found:
        raise refusals[0]
    ranked = sorted(found, key=found.get)
    best = ranked[0]
    alone = all(found[other] > CLEARLY * max(found[best], 1e-6) for other in ranked[1:])
    if found[best] < RIGHT and (alone or _only_s(pattern, nao, best)):
        said = f"the orbitals are those of {best}, by S between atoms"
        return Slots(nao, best), [said] if alone else []
    listed = ", ".join(f"{name} {found[name]:.1e}" for name in ranked)
    raise MoireioError(
        f"has {nao} orbitals for every atom, which {' and '.join(programs)} have, and S between "
        f"atoms does not show whose they are (violations {listed})",
        remedy="name the program with `code`",
    )


def _only_s(pattern, nao, code):
    """Return whether all orbitals are s, which all programs have alike."""
    used = pattern.used.any(axis=0)
    return not any(used[at] for momentum, at in Slots(nao, code).shells if momentum)


def _violation(pattern, slots):
    """Return how far S is from two-centre integrals with the orbitals of a program."""
    basis, indices, signs = _orbitals(pattern, slots)
    structure, pairs = pattern.structure, pattern.pairs
    i, j = pairs.i, pairs.j
    vectors = structure.positions[j] + pairs.R @ structure.cell - structure.positions[i]
    names = structure.species_of_atoms
    near = np.argsort(np.linalg.norm(vectors, axis=1), kind="stable")[: len(structure) + MOST_PAIRS]
    blocks, momenta = [], []
    for pair in near.tolist():
        a, b = names[i[pair]], names[j[pair]]
        block = pattern.overlap[pattern.order[pair]][np.ix_(indices[a], indices[b])]
        blocks.append(block * np.outer(signs[a], signs[b]))
        momenta.append((basis[a].l, basis[b].l))
    return violation(blocks, vectors[near], momenta)


def _orbitals(pattern, slots):
    """Return the basis, and by species the slot and the sign of each of moireio's orbitals."""
    species: dict[str, SpeciesBasis] = {}
    indices, signs, used = {}, {}, {}
    for atom, name in enumerate(pattern.structure.species_of_atoms):
        mine = pattern.used[atom]
        if name in used:
            if not np.array_equal(mine, used[name]):
                raise DamagedError(f"atom {atom} has other orbitals than the first {name}")
            continue
        used[name] = mine
        species[name], theirs = slots.basis(mine, f"atom {atom} ({name})")
        places, signs[name] = slots.order.to_ours(species[name].l)
        indices[name] = theirs[places]
    return Basis(species), indices, signs


class _Placer:
    """Puts the blocks of a graph into moireio's order.

    Parameters
    ----------
    pattern : _Pattern
        Pairs and rows.
    basis : Basis
        Orbitals.
    indices, signs : dict of str to array
        Slot and sign of each orbital by species.
    """

    def __init__(self, pattern, basis, indices, signs):
        self._pattern, self._indices, self._signs = pattern, indices, signs
        structure = pattern.structure
        self._sizes = basis.sizes(structure)
        self._names = structure.species_names
        species = structure.species.astype(np.int64)
        self._kinds = species[pattern.pairs.i] * len(self._names) + species[pattern.pairs.j]

    def overlap(self, where):
        """Return S."""
        return self._source("overlap", "none", [self._flat(self._pattern.overlap, 1.0)], where)

    def hamiltonian(self, blocks, scale, where, predicted, remarks):
        """Return H, eV; remarks get what was found."""
        nao, rows = self._pattern.nao, len(self._pattern.order)
        if len(blocks.real) != rows:
            raise DamagedError(f"has {len(blocks.real)} blocks of H for {rows} pairs")
        for part in (blocks.real, blocks.imaginary):
            if part is not None and not (np.abs(part) <= LARGEST).all():
                raise DamagedError("an element of H is not finite, or too large")
        limit = np.inf if predicted else LIMITS["hamiltonian"]
        if blocks.imaginary is None:
            channels = blocks.real.reshape(rows, -1, nao, nao)
            flats = [self._flat(channels[:, c], scale) for c in range(channels.shape[1])]
            spin = "none" if len(flats) == 1 else "collinear"
            return self._source("hamiltonian", spin, flats, where, limit, predicted)
        shape = (rows, 2, nao, 2, nao)
        real, imaginary = blocks.real.reshape(shape), blocks.imaginary.reshape(shape)
        parts = {}
        for s in (0, 1):
            for t in (0, 1):
                flat = self._flat(real[:, s, :, t], scale).astype(np.complex128)
                flat.imag = self._flat(imaginary[:, s, :, t], scale)
                parts[s, t] = flat
        return self._spinor(parts, where, limit, predicted, remarks)

    def _flat(self, blocks, scale):
        """Return blocks of all pairs in moireio's order, one after another."""
        pairs, order = self._pattern.pairs, self._pattern.order
        offsets = block_offsets(pairs.block_elements(self._sizes))
        out = np.empty(int(offsets[-1]))
        for kind in np.unique(self._kinds):
            members = np.flatnonzero(self._kinds == kind)
            a, b = (self._names[n] for n in divmod(int(kind), len(self._names)))
            picked = blocks[
                order[members][:, None, None], self._indices[a][:, None], self._indices[b]
            ]
            factor = scale * np.outer(self._signs[a], self._signs[b])
            scatter(out, offsets[members], (picked * factor).reshape(len(members), -1))
        return out

    def _source(self, name, spin, flats, where, limit=None, predicted=False):
        """Return an operator, each channel the mean with its partners' adjoints."""
        kind = operator_type(name)
        limit = LIMITS[name] if limit is None else limit
        source = "model" if predicted else "dft"
        single = kind.meta(spin="none", dtype="float64", source=source)
        made = [
            symmetrised(ArraySource(single, self._sizes, self._pattern.pairs, flat), where, limit)
            for flat in flats
        ]
        if len(made) == 1:
            return made[0]
        meta = kind.meta(spin=spin, dtype="float64", source=source)
        meta = meta.with_(residual=max(one.meta.residual for one in made))
        data = np.stack([one.data for one in made])
        return ArraySource(meta, self._sizes, self._pattern.pairs, data)

    def _spinor(self, parts, where, limit, predicted, remarks):
        """Return H with spinor blocks: ↓↑ is the adjoint of the partner's ↑↓."""
        pairs, sizes = self._pattern.pairs, self._sizes
        partner = pairs.partner()
        meta = operator_type("hamiltonian").meta(
            spin="none", dtype="complex128", source="model" if predicted else "dft"
        )
        same = [
            symmetrised(ArraySource(meta, sizes, pairs, parts[s, s]), where, limit) for s in (0, 1)
        ]
        small = block_offsets(pairs.block_elements(sizes))[:-1]
        wide = block_offsets(pairs.block_elements(2 * sizes))
        out = np.empty(int(wide[-1]), dtype=np.complex128)
        gap = 0.0
        for shape, group in by_shape(sizes[pairs.i], sizes[pairs.j]):
            n, m = shape
            blocks = np.empty((len(group), 2, n, 2, m), dtype=np.complex128)
            for s in (0, 1):
                blocks[:, s, :, s] = take_blocks(same[s].data, small[group], shape)
            blocks[:, 0, :, 1] = take_blocks(parts[0, 1], small[group], shape)
            theirs = take_blocks(parts[0, 1], small[partner[group]], shape[::-1])
            blocks[:, 1, :, 0] = adjoint(theirs)
            stored = take_blocks(parts[1, 0], small[group], shape)
            gap = max(gap, float(np.abs(stored - blocks[:, 1, :, 0]).max(initial=0.0)))
            scatter(out, wide[group], blocks.reshape(len(group), -1))
        if gap > DOWN_UP:
            remarks.append(
                f"H is not Hermitian as stored: its down-up blocks are {gap:.3g} eV off the "
                "adjoints of the partners' up-down blocks, which are taken instead (HamGNN stores "
                "the conjugate of the same pair)"
            )
        meta = operator_type("hamiltonian").meta(
            spin="spinor", dtype="complex128", source="model" if predicted else "dft"
        )
        residual = max(one.meta.residual for one in same)
        return ArraySource(meta.with_(residual=residual), 2 * sizes, pairs, out)
