"""An operator of a data folder of DeepH, given by runs of atoms."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, naming
from moireio.formats.deeph.blocks import BlockFile
from moireio.formats.deeph.checks import BlockName, Norms, check_elements, name_of, within
from moireio.operators.blocks import OperatorMeta, adjoint, block_offsets, by_shape, scatter
from moireio.operators.views import require_partners

ROUNDING = 8  # in units of the last digit of the largest element
BATCH_BYTES = 1 << 19  # what a few temporary arrays of this size need stays in the cache


class FolderOperator:
    """Blocks of a file, each the mean with its partner's adjoint, in moireio's order of orbitals.

    Parameters
    ----------
    meta : OperatorMeta
        Name, unit, spin and so on.
    sizes : (N,) array of int
        Rows that an atom takes in a block, spin included.
    blocks : BlockFile
        The blocks.
    orders : sequence of arrays
        For each species, where its orbitals stand in the file; spin included.
    species : (N,) array of int
        Species of the atoms.
    path : str
        The file, for messages.
    name : callable
        Returns how messages call the block of (i, j, R).
    limit : float
        A larger deviation of a block from its partner's adjoint counts as damage.
    symmetrise : bool
        Take the mean; else blocks are as stored.

    Raises
    ------
    DamagedError
        If a pair has no partner, or an orbital no positive norm in the overlap.
    """

    def __init__(
        self,
        meta: OperatorMeta,
        sizes: npt.NDArray[np.int64],
        blocks: BlockFile,
        orders: list[npt.NDArray[np.int64]],
        species: npt.NDArray[np.integer],
        path: str,
        name: BlockName,
        limit: float,
        symmetrise: bool = True,
    ) -> None:
        self.meta, self.sizes, self.pairs = meta, sizes, blocks.pairs
        self.residual = 0.0
        self._blocks, self._path, self._name, self._limit = blocks, path, name, limit
        self._orders, self._species = orders, species.astype(np.int64)
        self._in_order = [np.array_equal(order, np.arange(len(order))) for order in orders]
        self._named = blocks.pairs  # names in messages are those of the file
        self._partner = require_partners(blocks.pairs, path) if symmetrise else None
        self._compared, self._is_mean = np.zeros((2, len(blocks.pairs)), dtype=bool)
        self._norms = self._diagonals() if meta.name == "overlap" else None
        self._lock = threading.Lock()

    def _diagonals(self):
        """Return the norms of all orbitals."""
        diagonals: list[npt.NDArray[np.float64]] = [np.empty(0)] * len(self.sizes)
        onsite = self.pairs.onsite()
        for shape, atoms in by_shape(self.sizes, self.sizes):
            norms = self._blocks.take(onsite[atoms], shape).diagonal(axis1=1, axis2=2).real
            for atom, values in zip(atoms.tolist(), norms, strict=True):
                diagonals[atom] = values
        return Norms(diagonals, self.sizes, self._path, self._name)

    def rows(self, i0: int, i1: int) -> npt.NDArray[np.inexact]:
        """Return all blocks of the atoms ``i0 <= i < i1``, made to obey the partner rule."""
        with self._lock, naming(self._path):
            return self._rows(i0, i1)

    def _rows(self, i0, i1):
        span = self.pairs.rows(i0, i1)
        i = np.repeat(np.arange(i0, i1), np.diff(self.pairs.indptr[i0 : i1 + 1]))
        j = self.pairs.j[span]
        offsets = block_offsets(self.sizes[i] * self.sizes[j])
        out = np.empty(int(offsets[-1]), dtype=self.meta.dtype)
        kinds = self._species[i] * len(self._orders) + self._species[j]
        for kind in np.unique(kinds):
            first, second = divmod(int(kind), len(self._orders))
            group = np.flatnonzero(kinds == kind)
            shape = int(self.sizes[i[group[0]]]), int(self.sizes[j[group[0]]])
            step = max(1, BATCH_BYTES // (shape[0] * shape[1] * out.itemsize))
            for places in np.split(group, range(step, len(group), step)):
                in_order = self._blocks.in_order
                if in_order or (self._in_order[first] and self._in_order[second]):
                    if len(group) == len(i):  # they lie one after another
                        target = out[offsets[places[0]] : offsets[places[-1] + 1]]
                        self._mean(places + span.start, shape, target.reshape(-1, *shape))
                        continue
                    flat = self._mean(places + span.start, shape).reshape(len(places), -1)
                else:
                    rows, columns = self._orders[first], self._orders[second]
                    flat = self._mean(places + span.start, shape).reshape(len(places), -1)
                    flat = flat[:, (rows[:, None] * shape[1] + columns).ravel()]
                scatter(out, offsets[places], flat)
        return out

    def _mean(self, members, shape, out=None):
        """Return (in `out`) the finished blocks of some pairs, in the file's order of orbitals.

        A block that is its partner's adjoint to the last bit is the mean, and so is its partner.
        """
        blocks = self._blocks.take(members, shape)
        if out is None:
            out = np.empty(blocks.shape, dtype=blocks.dtype)
        if self._partner is None:
            self._check(blocks, members)
            out[...] = blocks
            return out
        rest = np.flatnonzero(~self._is_mean[members])
        if len(rest) < len(members):
            out[...] = blocks
            blocks, members = blocks[rest], members[rest]
        partners = self._partner[members]
        # Turned once: all that follows is three times as fast with neighbouring elements.
        theirs = np.ascontiguousarray(adjoint(self._blocks.take(partners, shape[::-1])))
        new = np.flatnonzero(~self._compared[members])
        if len(new):
            run = slice(new[0], new[-1] + 1)
            self._compare(blocks[run], theirs[run], members[run], partners[run])
        if not self._is_mean[members].all():
            np.add(blocks, theirs, out=theirs)
            out[rest] = np.multiply(theirs, 0.5, out=theirs)
        elif len(rest) == len(out):
            out[...] = blocks
        return out

    def _compare(self, blocks, theirs, members, partners):
        """Check blocks and their partners, whose adjoints are `theirs`, once for each two."""
        self._check(blocks, members)
        same = (_bits(blocks) == _bits(theirs)).all(axis=1)
        if not same.all():
            gap = blocks - theirs
            if gap.dtype.kind == "f":
                top = float(np.maximum(gap.max(initial=0.0), -gap.min(initial=0.0)))
            else:
                top = float(np.abs(gap).max(initial=0.0))
            if not top <= self._limit:
                self._require_near(np.abs(gap), blocks, members, partners)
            self.residual = max(self.residual, top)
        if self._norms is not None or not within(theirs):
            self._check(adjoint(theirs), partners)
        self._compared[members] = self._compared[partners] = True
        self._is_mean[members] = self._is_mean[partners] = same

    def _check(self, blocks, members):
        """Raise if an element cannot be right by itself."""
        check_elements(blocks, self._named, members, self._path, self._name)
        if self._norms is not None:
            self._norms.check(blocks, self._named, members)

    def _require_near(self, gap, blocks, members, partners):
        """Raise if blocks and their partners differ by more than rounding explains."""
        rounding = ROUNDING * np.finfo(blocks.dtype).eps * float(np.abs(blocks).max())
        worst = gap.reshape(len(gap), -1).max(axis=1)
        place = int(np.argmax(np.where(np.isnan(worst), np.inf, worst)))
        limit = max(self._limit, rounding)
        if worst[place] <= limit:
            return
        if not np.isfinite(worst[place]):
            one = partners[place : place + 1]
            theirs = self._blocks.take(one, gap.shape[:0:-1])
            check_elements(theirs, self._named, one, self._path, self._name)
        pair = min(int(members[place]), int(partners[place]))
        unit = "" if self.meta.unit == "1" else f" {self.meta.unit}"
        raise DamagedError(
            f"the {self.meta.name} of {name_of(self._named, pair, self._name)} "
            f"and of its partner differ by {worst[place]:.1e}{unit}",
            path=self._path,
            remedy=f"at most {limit:.0e}{unit} is rounding: the file is damaged, make it again",
        )


def _bits(blocks):
    """Return the bits of blocks as integers, a row for each block."""
    number = np.dtype(f"u{min(8, blocks.itemsize)}")
    return blocks.reshape(len(blocks), -1).view(number)
