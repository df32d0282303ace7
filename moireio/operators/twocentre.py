"""Operators whose blocks are functions of the vector between two atoms, by runs of atoms."""

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.operators.blocks import OperatorMeta, block_offsets, scatter
from moireio.system.basis import Basis
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure

BATCH = 1024


class PairSource(ABC):
    """An operator made of two-centre integrals; a subclass fills them in.

    Parameters
    ----------
    structure : Structure
        The atoms.
    basis : Basis
        Orbitals of its species.
    pairs : Pairs
        Whose blocks there are.
    meta : OperatorMeta
        Name, unit, storage and so on.
    """

    def __init__(
        self, structure: Structure, basis: Basis, pairs: Pairs, meta: OperatorMeta
    ) -> None:
        self.structure, self.pairs, self.meta = structure, pairs, meta
        self.sizes = basis.sizes(structure)
        names = list(basis.species)
        self._n_species = len(names)
        index = np.array([names.index(n) for n in structure.species_names])
        self._species = index[structure.species]
        self._upper = pairs.upper()

    @abstractmethod
    def _fill(
        self,
        out: npt.NDArray[np.float64],
        offsets: npt.NDArray[np.int64],
        species: tuple[int, int],
        swapped: bool,
        vectors: npt.NDArray[np.float64],
    ) -> None:
        """Compute the blocks of pairs of the same two species.

        Parameters
        ----------
        out : (n,) or (components, n) array
            Where they go, by `place_blocks`.
        offsets : (p,) array of int
            Where each begins.
        species : (int, int)
            Indices into the basis, the first not above the second.
        swapped : bool
            The pairs run from the second species to the first.
        vectors : (3, p) array
            From the atom of the first species to that of the second, Å.
        """

    def rows(self, i0: int, i1: int) -> npt.NDArray[np.float64]:
        """Return all blocks of the atoms ``i0 <= i < i1``, as `OperatorSource.rows`.

        Parameters
        ----------
        i0, i1 : int
            The run.

        Returns
        -------
        (n,) or (3, n) array
            Pair after pair.
        """
        structure, span = self.structure, self.pairs.rows(i0, i1)
        i = np.repeat(np.arange(i0, i1), np.diff(self.pairs.indptr[i0 : i1 + 1]))
        j, R = self.pairs.j[span], self.pairs.R[span]
        offsets = block_offsets(self.sizes[i] * self.sizes[j])
        lead = () if self.meta.components == 1 else (self.meta.components,)
        out = np.empty((*lead, int(offsets[-1])))
        # Both partners are computed from the same vector, so that they are exact adjoints: from the
        # species of lower index to the other, or, for equal species, as in "upper" storage.
        species_i, species_j = self._species[i], self._species[j]
        swapped = np.where(species_i == species_j, ~self._upper[span], species_i > species_j)
        first, second = np.where(swapped, j, i), np.where(swapped, i, j)
        shift = np.where(swapped[:, None], -R, R)
        c = structure.cell
        steps = shift[:, 0, None] * c[0] + shift[:, 1, None] * c[1] + shift[:, 2, None] * c[2]
        vectors = ((structure.positions[second] + steps) - structure.positions[first]).T
        species_pair = self._species[first] * self._n_species + self._species[second]
        code = species_pair * 2 + swapped
        order = np.argsort(code, kind="stable")
        bounds = np.flatnonzero(np.diff(code[order], prepend=-1, append=-1))
        for begin, end in pairwise(bounds):
            pair, turned = divmod(int(code[order[begin]]), 2)
            species = divmod(pair, self._n_species)
            for start in range(begin, end, BATCH):
                members = order[start : min(end, start + BATCH)]
                self._fill(out, offsets[members], species, bool(turned), vectors[:, members])
        return out


def place_blocks(
    flat: npt.NDArray[Any], offsets: npt.NDArray[np.int64], blocks: npt.NDArray[Any], swapped: bool
) -> None:
    """Write blocks where they belong.

    Parameters
    ----------
    flat : (n,) array
        Changed in place.
    offsets : (p,) array of int
        Where each block begins.
    blocks : (rows, columns, p) array
        From the first species to the second.
    swapped : bool
        Write their transposes.
    """
    blocks = blocks.transpose((2, 1, 0) if swapped else (2, 0, 1))
    scatter(flat, offsets, np.ascontiguousarray(blocks).reshape(len(offsets), -1))
