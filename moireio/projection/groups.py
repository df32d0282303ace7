"""Groups of orbitals onto which states are projected (by `moireio.projection.mulliken`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.basis import SHELL_LETTERS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from moireio.blockfile.reader import BlockFile
    from moireio.symmetry.crystal import Symmetry
    from moireio.system.basis import Basis
    from moireio.system.structure import Structure

KEYS = ("element", "atom", "shell", "orbital", "layer", "spin")
HARMONICS = (
    ("s",),
    ("py", "pz", "px"),
    ("dxy", "dyz", "dz2", "dxz", "dx2-y2"),
    ("fy(3x2-y2)", "fxyz", "fyz2", "fz3", "fxz2", "fz(x2-y2)", "fx(x2-3y2)"),
)


@dataclass(frozen=True, eq=False)
class Projection:
    """Some ways to sort the orbitals of a system into groups.

    Parameters
    ----------
    names : tuple of str
        Name of each projection, such as "element,shell".
    labels : tuple of str
        Labels of all groups, one projection after another.
    way : (ng,) array of int
        Index into `names` of every group.
    groups : (nw, n_orbitals) array of int
        Group of every row of H in every way.
    atoms : (n_orbitals,) array of int
        Atom of every row.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    way: npt.NDArray[np.integer]
    groups: npt.NDArray[np.integer]
    atoms: npt.NDArray[np.integer]

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.labels)

    @cached_property
    def indicator(self) -> "csr_array":
        """Sparse matrix (ng, n_orbitals) with a 1 where a row of H belongs to a group."""
        from scipy.sparse import csr_array

        ways, n = self.groups.shape
        columns = np.tile(np.arange(n), ways)
        ones = np.ones(len(columns))
        return csr_array((ones, (self.groups.ravel(), columns)), shape=(len(self), n))

    def image(
        self, operation: "Symmetry", flipped: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.integer] | None:
        """Return the group that every group goes to under an operation.

        Parameters
        ----------
        operation : Symmetry
            Operation of the crystal, time reversal, or both.
        flipped : (n_orbitals,) array of int
            Row with the other spin, for every row; the rows themselves where there is no spin.

        Returns
        -------
        (ng,) array of int or None
            None if a group falls apart, or single orbitals or spins would have to be turned.
        """
        if operation.spatial and any({"orbital", "spin"} & set(n.split(",")) for n in self.names):
            return None
        n = self.groups.shape[1]
        first = np.searchsorted(self.atoms, operation.atoms)  # rows follow the atoms
        rows = first[self.atoms] + np.arange(n) - np.searchsorted(self.atoms, self.atoms)
        if operation.time_reversal:
            rows = flipped[rows]
        out = np.full(len(self), -1)
        for group in self.groups:
            out[group] = group[rows]
            if (out[group] != group[rows]).any():
                return None
        return out


def make_projection(file: "BlockFile", ways: Sequence[str]) -> Projection:
    """Sort the orbitals of a block file into groups.

    Parameters
    ----------
    file : BlockFile
        With structure, basis and Hamiltonian.
    ways : sequence of str
        One or several each of "element", "atom", "shell", "orbital", "layer" and "spin", joined
        by commas.

    Returns
    -------
    Projection
        Labels such as "C pz layer 1 up"; atoms count from 0, layers from 1 at the bottom.

    Raises
    ------
    MoireioError
        If a word is unknown, or the file has no layers or no spin.
    """
    structure, spinor = file.structure, file.hamiltonian.meta.spin == "spinor"
    atoms, degrees, orders, spins = orbital_rows(structure, file.basis, 2 if spinor else 1)
    symbols = structure.element_symbols
    elements = {s: n for n, s in enumerate(dict.fromkeys(symbols))}
    rank_and_text = {
        "element": lambda r: (elements[symbols[atoms[r]]], symbols[atoms[r]]),
        "atom": lambda r: (atoms[r], f"{symbols[atoms[r]]}{atoms[r]}"),
        "shell": lambda r: (degrees[r], SHELL_LETTERS[degrees[r]]),
        "orbital": lambda r: ((degrees[r], orders[r]), _harmonic(degrees[r], orders[r])),
        "layer": lambda r: (structure.layer[atoms[r]], f"layer {structure.layer[atoms[r]] + 1}"),
        "spin": lambda r: (spins[r], ("up", "down")[spins[r]]),
    }
    names, labels, way, groups = [], [], [], []
    for text in dict.fromkeys(ways):
        words = [w.strip() for w in text.split(",")]
        _check(file, words, spinor)
        # atom includes element: "C C0" would be redundant
        words = [w for w in KEYS if w in words and not (w == "element" and "atom" in words)]
        words = [w for w in words if not (w == "shell" and "orbital" in words)]
        entries = [[rank_and_text[w](r) for w in words] for r in range(len(atoms))]
        keys = [tuple(rank for rank, _ in entry) for entry in entries]
        texts = {k: " ".join(t for _, t in e) for k, e in zip(keys, entries, strict=True)}
        ordered = {k: n + len(labels) for n, k in enumerate(sorted(texts))}
        groups.append([ordered[k] for k in keys])
        way += [len(names)] * len(ordered)
        labels += [texts[k] for k in ordered]
        names.append(",".join(words))
    shape = (len(names), len(atoms))
    groups = np.array(groups, dtype=np.int64).reshape(shape)
    return Projection(tuple(names), tuple(labels), np.array(way, np.int32), groups, atoms)


def _check(file, words, spinor):
    for word in words:
        if word not in KEYS:
            raise MoireioError(
                f"no projection is called {word!r}", path=file.label, remedy=", ".join(KEYS)
            )
    if "layer" in words and file.structure.layer is None:
        raise MoireioError(
            "the structure has no layers",
            path=file.label,
            remedy="build-twist records them, and readers find them in what is periodic in a plane",
        )
    if "spin" in words and not spinor:
        collinear = file.hamiltonian.meta.spin == "collinear"
        raise MoireioError(
            "spin up and down are apart anyway" if collinear else "the states have no spin",
            path=file.label,
            remedy="leave out spin, which is for spinors",
        )


def orbital_rows(
    structure: "Structure", basis: "Basis", copies: int = 1
) -> list[npt.NDArray[np.int64]]:
    """Return atom, l, m and spin of every row of H.

    Parameters
    ----------
    structure : Structure
        The atoms.
    basis : Basis
        Their orbitals.
    copies : int
        2 for spinors.

    Returns
    -------
    list of four (n,) arrays of int64
        In this order; spin is 0 for up, 1 for down.
    """
    of_species = {}
    for name in structure.species_names:
        species = basis[name]
        degrees = np.concatenate([np.full(2 * v + 1, v) for v in species.l])
        orders = np.concatenate([np.arange(-v, v + 1) for v in species.l])
        if species.m is not None:
            # an incomplete shell: one function for each m, each of its radial function
            degrees, orders = _incomplete(species)
        of_species[name] = degrees, orders
    counts = [len(of_species[name][0]) for name in structure.species_names]
    counts = np.array(counts, dtype=np.int64)[structure.species]
    starts = copies * (np.cumsum(counts) - counts)
    rows = np.zeros((4, copies * int(counts.sum())), dtype=np.int64)
    for number, name in enumerate(structure.species_names):
        atoms = np.flatnonzero(structure.species == number)
        degrees, orders = of_species[name]
        for spin in range(copies):
            places = starts[atoms, None] + spin * len(degrees) + np.arange(len(degrees))
            for row, values in zip(rows, (atoms[:, None], degrees, orders, spin), strict=True):
                row[places] = values
    return list(rows)


def _incomplete(basis):
    """Return l and m of every orbital of a basis that lists its m."""
    degrees, at = [], 0
    m = list(basis.m)
    for n, degree in enumerate(basis.l):
        left = len(basis.l) - n - 1  # every later radial function has at least one orbital
        count = 0
        while at + count < len(m) - left and count < 2 * degree + 1:
            if count and m[at + count] <= m[at + count - 1]:
                break
            count += 1
        degrees += [degree] * count
        at += count
    if len(degrees) != len(m) or any(abs(v) > d for v, d in zip(m, degrees, strict=True)):
        raise MoireioError(f"the m of basis {basis.label} do not fit its shells")
    return np.array(degrees, dtype=np.int64), np.array(m, dtype=np.int64)


def _harmonic(degree, order):
    if degree < len(HARMONICS):
        return HARMONICS[degree][order + degree]
    return f"{SHELL_LETTERS[degree]}{order:+d}"


def flipped_rows(sizes: npt.NDArray[np.integer], spinor: bool) -> npt.NDArray[np.integer]:
    """Return the row with the other spin, for every row.

    Parameters
    ----------
    sizes : (N,) array of int
        Rows of every atom, spin included.
    spinor : bool
        Whether the first half of an atom's rows is spin up and the second spin down.

    Returns
    -------
    (n_orbitals,) array of int
        Without spin the rows themselves.
    """
    first = np.concatenate([[0], np.cumsum(sizes)])
    rows = np.arange(first[-1])
    if not spinor:
        return rows
    half = np.repeat(np.asarray(sizes) // 2, sizes)
    within = rows - np.repeat(first[:-1], sizes)
    return np.where(within < half, rows + half, rows - half)
