"""What DeepH's two layouts of data folders have in common."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation, Operators
from moireio.errors import DamagedError, MoireioError, naming
from moireio.formats.deeph.blocks import BlockFile
from moireio.formats.deeph.direction import Reversed, look_at
from moireio.formats.deeph.files import file_in
from moireio.formats.deeph.source import FolderOperator
from moireio.formats.structures.text import plain_name
from moireio.formats.text.streams import beside
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource
from moireio.results.electrons import Electrons
from moireio.runtime.files import digest_files
from moireio.system.basis import Basis
from moireio.system.pairs import Pairs
from moireio.system.periodicity import moved_cells, settle_blocks
from moireio.system.structure import Structure

# Deviation from Hermitian beyond which blocks count as damaged, eV and 1. DFT codes stay below
# 1e-7; networks of DeepH-E3 are not Hermitian at all.
LIMITS = {"hamiltonian": 1e-3, "overlap": 1e-5, "predicted": np.inf}
USUAL_RESIDUAL = {"hamiltonian": 1e-6, "overlap": 1e-6}
USUAL_PREDICTED = 3.0  # eV; twice that of DeepH-E3's networks in the tests
# Cells; further ones do not fit into the sorted lists of pairs.
FARTHEST = 1 << 20


@dataclass(eq=False)
class DataFolder(ABC):
    """A structure with operators; each layout is a class with its own `_read`.

    Parameters
    ----------
    path : str
        The folder.
    structure : Structure
        One species per element.
    basis : Basis
        Without radial functions.
    spinful : bool
        Whether H has spinor blocks.
    electrons : Electrons
        The Fermi level.
    files : dict of str to tuple of str
        Paths of the operators that there are: one file each, or pieces.
    notes : list of str
        What could not be verified.
    lists : dict
        Lists of blocks that were read, by file.
    described : tuple of str
        Files of structure and basis.
    """

    path: str
    structure: Structure
    basis: Basis
    spinful: bool
    electrons: Electrons
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    lists: dict[str, Any] = field(default_factory=dict, repr=False)

    #: Whether all R are taken with the opposite sign.
    backwards = False
    names: ClassVar[dict[str, str]] = {}
    described: ClassVar[tuple[str, ...]] = ()
    first_atom: ClassVar[int]  # from which the names of blocks count atoms

    def calculation(
        self,
        *,
        label: str | None = None,
        predicted: bool = False,
        pbc: Sequence[bool] | None = None,
    ) -> Calculation:
        """Return the folder as a calculation.

        Parameters
        ----------
        label : str, optional
            The name that messages show.
        predicted : bool
            Take the predicted Hamiltonian instead of that of the DFT calculation.
        pbc : sequence of three bool, optional
            Whether the structure is periodic along each vector; by default where pairs cross it.

        Returns
        -------
        Calculation
            Its operators are read when they are asked for.

        Raises
        ------
        MoireioError
            If the folder has no operator, or no predicted Hamiltonian, or `pbc` does not fit.
        """
        files = {"hamiltonian": "predicted" if predicted else "hamiltonian", "overlap": "overlap"}
        present = [name for name, file in files.items() if file in self.files]
        if not present or (predicted and "hamiltonian" not in present):
            wanted = "predicted Hamiltonian" if predicted else "Hamiltonian or overlap"
            expected = " or ".join(self.names[f] for f in (["predicted"] if predicted else files))
            remedy = f"{expected} expected"
            if not predicted and "predicted" in self.files:
                remedy += "; with `predicted` the predicted one is read"
            raise MoireioError(f"has no {wanted}", path=label or self.path, remedy=remedy)

        notes = list(self.notes)
        if self.basis.orthogonal and "overlap" in present:
            self.basis = replace(self.basis, orthogonal=False)
            notes.append(
                f"its orbitals are called orthogonal, but it has {self.names['overlap']}: S counts"
            )
        for name, letter in (("hamiltonian", "H"), ("overlap", "S")):
            if name not in present:
                notes.append(f"no {self.names[name]}: {letter} is not known")
        self.backwards = False  # to look at what is stored
        self.backwards, remark = self._look_at_overlap(present)
        notes += [] if remark is None else [remark]
        if self.backwards:
            notes.append(
                "S fits the atoms with -R, not with R: all R are taken with the opposite sign "
                "(DeepH-dock had them so in conversions of FHI-aims before 2026)"
            )
        sign = -1 if self.backwards else 1
        lists = []
        for name in present:
            with naming(self.files[files[name]][0]):
                pairs = self._listed(files[name])
            lists.append((pairs.i, pairs.j, sign * pairs.R))
        with naming(label or self.path):
            structure, moves, note = settle_blocks(self.structure, lists, pbc)

        def load(name: str) -> FolderOperator:
            source = self.stored(files.get(name, name))
            if moves.any():
                pairs = source.pairs
                cells = moved_cells(pairs.i, pairs.j, pairs.R, moves)
                source.pairs = Pairs(pairs.indptr, pairs.j, cells)
            return source

        def digest(operators: Sequence[str]) -> str:
            paths = [file_in(self.path, name) for name in self.described]
            paths += [path for name in operators for path in self.files[files[name]]]
            return digest_files(*(path for path in paths if os.path.exists(path)))

        usual = USUAL_RESIDUAL | ({"hamiltonian": USUAL_PREDICTED} if predicted else {})
        return Calculation(
            label or self.path,
            structure,
            self.basis,
            Operators(present, load),
            electrons=self.electrons,
            notes=notes if note is None else [*notes, note],
            files=(
                *(file_in(self.path, name) for name in self.described),
                *(path for paths in self.files.values() for path in paths),
            ),
            usual_residual=usual,
            digest=digest,
        )

    def operator(self, name: str, symmetrise: bool = True) -> ArraySource:
        """Read all of an operator into memory; see `stored`."""
        source = self.stored(name, symmetrise)
        data = source.rows(0, len(self.structure))
        meta = source.meta.with_(residual=source.residual)
        return ArraySource(meta, source.sizes, source.pairs, data)

    def stored(self, name: str, symmetrise: bool = True) -> FolderOperator:
        """Return an operator whose blocks are read by runs of atoms.

        Parameters
        ----------
        name : {"hamiltonian", "overlap", "predicted"}
            Which.
        symmetrise : bool
            Take the mean of every block and its partner's adjoint; the deviation is recorded.

        Returns
        -------
        FolderOperator
            In moireio's order of orbitals.

        Raises
        ------
        MoireioError
            If the file is absent or does not fit the structure.
        DamagedError
            If it contradicts itself: blocks without partners; later, blocks further from
            Hermitian than rounding can explain.
        """
        if name not in self.files:
            raise MoireioError(f"has no {self.names.get(name, name)}", path=self.path)
        path = self.files[name][0]
        row = operator_type("hamiltonian" if name == "predicted" else name)
        spinor = row.spin_of("spinor" if self.spinful else "none") == "spinor"
        sizes = self.basis.sizes(self.structure) * (2 if spinor else 1)
        with naming(path):
            blocks = self._blocks(name, sizes, spinor)
            blocks = Reversed(blocks) if self.backwards else blocks
        meta = row.meta(
            spin="spinor" if spinor else "none",
            dtype=blocks.dtype.name,
            source="model" if name == "predicted" else "dft",
        )
        orders = [
            np.concatenate([o, o + len(o)]) if spinor else o
            for o in map(self.order, self.structure.species_names)
        ]
        with naming(path):
            return FolderOperator(
                meta,
                sizes,
                blocks,
                orders,
                self.structure.species,
                path,
                self.block_name,
                LIMITS[name],
                symmetrise,
            )

    def _look_at_overlap(self, present: Sequence[str]) -> tuple[bool, str | None]:
        """Return whether S shows that all R have the wrong sign, and a note if it fits neither."""
        if "overlap" not in present:
            return False, None
        try:
            return look_at(self.structure, self.basis, self.stored("overlap"))
        except MoireioError:  # what is damaged is found where it is used
            return False, None

    def block_name(self, i: int, j: int, R: npt.NDArray[np.int32]) -> str:
        """Return how the file calls the block of a pair, with the two elements.

        Parameters
        ----------
        i, j : int
            Atoms, from 0.
        R : (3,) array of int
            Cell of the second.

        Returns
        -------
        str
            For messages.
        """
        place = [*map(int, R), int(i) + self.first_atom, int(j) + self.first_atom]
        return f"block {place} ({self.elements(i, j)})"

    def elements(self, i: int, j: int) -> str:
        """Return the species of two atoms, for messages."""
        names = self.structure.species_of_atoms
        return f"{names[i]} and {names[j]}"

    @abstractmethod
    def order(self, species: str) -> npt.NDArray[np.int64]:
        """Return where the orbitals of a species stand in the file, in moireio's order."""

    @abstractmethod
    def _listed(self, name: str) -> Pairs:
        """Return the pairs of an operator without its blocks."""

    @abstractmethod
    def _blocks(self, name: str, sizes: npt.NDArray[np.int64], spinor: bool) -> BlockFile:
        """Return the blocks of an operator, in the order of the file's orbitals."""


def require_one_layout(path: str, own: Mapping[str, str], other: Mapping[str, str]) -> None:
    """Raise if a folder has operators of both layouts.

    Parameters
    ----------
    path : str
        The folder.
    own, other : dict of str to str
        File names of the operators in either layout.

    Raises
    ------
    MoireioError
        With one file of each.
    """
    found = [next(iter(files_of(path, names).values()), None) for names in (own, other)]
    if all(found):
        one, two = (os.path.basename(files[0]) for files in found if files)
        raise MoireioError(
            f"holds {one} and {two}: blocks in both of DeepH's layouts",
            path=path,
            remedy="move those that do not count to another folder",
        )


def sorted_pairs(
    n_atoms: int, listed: npt.NDArray[np.int64], first: int
) -> tuple[Pairs, npt.NDArray[np.int64]]:
    """Return the pairs of a list.

    Parameters
    ----------
    n_atoms : int
        Number of atoms.
    listed : (n, 5) array of int
        R1, R2, R3, i, j of every block.
    first : {0, 1}
        Number of the first atom.

    Returns
    -------
    pairs : Pairs
        In block-CSR order.
    order : (n,) array of int
        Place in the list of every pair.

    Raises
    ------
    MoireioError
        If there is no block, an atom or cell is out of range, or a block is there twice.
    DamagedError
        If an atom has no block with itself.
    """
    if len(listed) == 0:
        raise MoireioError("holds no blocks")
    atoms, cells = listed[:, 3:] - first, listed[:, :3]
    for values, low, high, what in (
        (atoms, 0, n_atoms - 1, f"an atom outside {first}..{n_atoms - 1 + first}"),
        (cells, -FARTHEST, FARTHEST, f"a cell beyond {FARTHEST}"),
    ):
        outside = ((values < low) | (values > high)).any(axis=1)
        if outside.any():
            place = int(np.flatnonzero(outside)[0])
            raise MoireioError(f"the block {listed[place].tolist()} names {what}")
    pairs, order = Pairs.sort(n_atoms, atoms[:, 0], atoms[:, 1], cells)
    absent = np.flatnonzero(pairs.onsite() < 0)
    if len(absent):
        atom = int(absent[0]) + first
        raise DamagedError(
            f"lacks the block {[0, 0, 0, atom, atom]} of an atom with itself",
            remedy=f"{len(absent)} of {n_atoms} atoms have none: is a part of the file missing?",
        )
    return pairs, order


def files_of(
    path: str, names: Mapping[str, str], pieces: bool = False
) -> dict[str, tuple[str, ...]]:
    """Return which operators a folder has.

    Parameters
    ----------
    path : str
        The folder.
    names : dict of str to str
        File name of every operator.
    pieces : bool
        Whether a file may be in pieces, ``NAME_0.h5``, ``NAME_1.h5`` … (one for each MPI process
        of the program that wrote it), and may be in the folder ``output`` inside.

    Returns
    -------
    dict of str to tuple of str
        Paths of those that exist, compressed or not.

    Raises
    ------
    MoireioError
        If a piece between others is missing.
    """
    found = {}
    for operator, name in names.items():
        for folder in (path, os.path.join(path, "output")) if pieces else (path,):
            whole = beside(folder, name)
            paths = () if whole is None else (whole,)
            paths = paths or (pieces_of(folder, name) if pieces else ())
            if paths:
                found[operator] = paths
                break
    return found


def pieces_of(folder: str, name: str) -> tuple[str, ...]:
    """Return the pieces of a file in a folder, in order.

    Parameters
    ----------
    folder : str
        Where they are.
    name : str
        Name of the whole file.

    Returns
    -------
    tuple of str
        Their paths; empty if there are none.

    Raises
    ------
    MoireioError
        If one between others is missing.
    """
    stem, suffix = os.path.splitext(name)
    pattern = re.compile(rf"{re.escape(stem)}_(\d{{1,6}}){re.escape(suffix)}")
    entries = os.listdir(folder) if os.path.isdir(folder) else []
    numbered = {
        int(match[1]): entry
        for entry in sorted(entries, reverse=True)  # one that is not compressed comes last
        if (match := pattern.fullmatch(plain_name(entry)))
    }
    for number in range(max(numbered, default=-1)):
        if number not in numbered and (number > 0 or 1 not in numbered):
            raise MoireioError(
                f"has {numbered[max(numbered)]}, but not {stem}_{number}{suffix}: one piece for "
                "each MPI process expected",
                path=folder,
            )
    return tuple(os.path.join(folder, numbered[number]) for number in sorted(numbered))
