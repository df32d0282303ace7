"""Blocks against their partners, as they are read.

The block of the pair (j, i, −R) is the adjoint of that of (i, j, R), or minus it. A file can be
read in runs of atoms, in any order, and the two blocks are seldom in memory together. So each
block B is reduced to one number, uᵀBv with fixed vectors u and v, and its partner B′ to vᵀB′u, the
complex conjugate for an adjoint. A change of one element changes its number. That is a single pass
over what is read anyway; only pairs whose numbers differ are looked at element by element.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.operators.blocks import (
    OperatorMeta,
    OperatorSource,
    adjoint,
    block_offsets,
    by_shape,
    components,
    read_pairs,
    take_blocks,
)
from moireio.operators.views import View, require_partners
from moireio.system.pairs import Pairs, pair_name

TOLERANCE = {"float32": 1e-5, "complex64": 1e-5, "float64": 1e-9, "complex128": 1e-9}
LARGEST = 1e12  # of any element, in the operator's unit
MOST = 1000  # pairs that are looked at element by element


class PartnerCheck:
    """Compares blocks with their partners, whenever both were read.

    Parameters
    ----------
    meta : OperatorMeta
        Name, parity and storage.
    sizes : (N,) array of int
        Rows that each atom takes in a block.
    pairs : Pairs
        All stored pairs.
    label : str
        The file, for messages.

    Raises
    ------
    DamagedError
        If a pair of a "full" operator has no partner, one of an "upper" operator belongs to the
        other half, or an on-site block is absent.
    """

    def __init__(
        self, meta: OperatorMeta, sizes: npt.NDArray[np.int64], pairs: Pairs, label: str
    ) -> None:
        self._meta, self._sizes, self._pairs, self._label = meta, sizes, pairs, label
        self._upper = pairs.upper()
        self._partner: npt.NDArray[np.int64] | None = None
        if meta.storage == "upper":
            if not self._upper.all():
                place = int(np.flatnonzero(~self._upper)[0])
                raise self._damaged(f"{self.name_of(place)} does not belong in upper storage")
        elif meta.parity:
            self._partner = require_partners(pairs, f"{label}: /{meta.name}")
        self._onsite = pairs.onsite()
        if (self._onsite < 0).any():
            atom = int(np.flatnonzero(self._onsite < 0)[0])
            raise self._damaged(f"the on-site block of atom {atom} is absent")
        kind = np.result_type(meta.dtype, np.float64)
        self._values = np.full((meta.components, len(pairs)), np.nan, dtype=kind)
        self._seen = np.zeros(len(pairs), dtype=bool)

    def name_of(self, index: int) -> str:
        """Return the name of a pair for messages."""
        pairs = self._pairs
        i = int(np.searchsorted(pairs.indptr, index, side="right")) - 1
        return pair_name(i, pairs.j[index], pairs.R[index])

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(
            f"/{self._meta.name}: {what}",
            path=self._label,
            remedy="the file was altered, or what made it failed: make it again",
        )

    def add(
        self, i0: int, i1: int, data: npt.NDArray, offsets: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.int64]:
        """Take the blocks of a run of atoms.

        Parameters
        ----------
        i0, i1 : int
            The run.
        data : (n,) or (c, n) array
            Its blocks.
        offsets : (p + 1,) array of int
            Where each begins in `data`.

        Returns
        -------
        (m,) array of int64
            Pairs of which both blocks were read, and that seem to break the rule; the worst first.

        Raises
        ------
        DamagedError
            If a number is not finite, or too large for anything.
        """
        span = self._pairs.rows(i0, i1)
        if self._seen[span].all():
            return np.zeros(0, dtype=np.int64)
        rows = np.repeat(self._sizes[i0:i1], np.diff(self._pairs.indptr[i0 : i1 + 1]))
        upper, values = self._upper[span], self._values[:, span]
        own = self._onsite[i0:i1] - span.start
        turned = np.empty((len(values), len(own)), dtype=values.dtype)
        with np.errstate(all="ignore"):
            for shape, group in by_shape(rows, self._sizes[self._pairs.j[span]]):
                here = np.flatnonzero(np.isin(group, own))
                for c, flat in enumerate(components(data)):
                    both = _project(flat, offsets[:-1], group, shape)
                    values[c, group] = np.where(upper[group], both[0], both[1])
                    turned[c, np.searchsorted(own, group[here])] = both[1, here]
        self._seen[span] = True
        peak = np.abs(values).max(axis=0, initial=0)
        for place in np.flatnonzero(~(peak <= LARGEST / 4)):  # the weights are 1/4 at least
            self._refuse(int(place), span.start, data, offsets)
        if not self._meta.parity:
            return np.zeros(0, dtype=np.int64)
        sign, limit = self._meta.parity, TOLERANCE[self._meta.dtype] / 4
        gap = np.zeros(span.stop - span.start)
        if self._partner is not None:
            partner = self._partner[span]
            ready = self._seen[partner]
            gap = np.abs(values - sign * self._values[:, partner].conj()).max(axis=0, initial=0)
            gap[~ready] = 0
        gap[own] = np.abs(values[:, own] - sign * turned.conj()).max(axis=0, initial=0)
        broken = np.flatnonzero(gap > limit)
        return span.start + broken[np.argsort(-gap[broken], kind="stable")][:MOST]

    def _refuse(
        self, place: int, start: int, data: npt.NDArray, offsets: npt.NDArray[np.integer]
    ) -> None:
        """Raise if a block has numbers that are not finite, or too large."""
        block = np.abs(data[..., offsets[place] : offsets[place + 1]])
        name, unit = self.name_of(start + place), self._meta.unit
        if not np.isfinite(block).all():
            raise self._damaged(f"{name} has numbers that are not finite (NaN or inf)")
        if block.max() > LARGEST:
            text = f"{block.max():.1e}" + ("" if unit == "1" else f" {unit}")
            raise self._damaged(f"{name} has numbers as large as {text}")

    def require(self, source: OperatorSource, suspects: npt.NDArray[np.int64]) -> None:
        """Raise if one of some pairs breaks the rule.

        Parameters
        ----------
        source : OperatorSource
            Gives the blocks.
        suspects : (m,) array of int64
            The pairs, from `add`.

        Raises
        ------
        DamagedError
            With atoms, R, the deviation of the worst pair, and what is allowed.
        """
        if len(suspects) == 0:
            return
        gaps = deviations(source, self._partner, suspects)
        worst = int(gaps.argmax())
        if gaps[worst] > TOLERANCE[self._meta.dtype]:
            raise self._broken(int(suspects[worst]), float(gaps[worst]))

    def _broken(self, index: int, deviation: float) -> DamagedError:
        """Return the error of a pair that breaks the rule."""
        meta = self._meta
        rule = "adjoint" if meta.parity > 0 else "negative adjoint"
        unit = "" if meta.unit == "1" else f" {meta.unit}"
        onsite = self._onsite.searchsorted(index) < len(self._onsite) and index in self._onsite
        whose = "its own" if onsite else "its partner's"
        return self._damaged(
            f"{self.name_of(index)} differs from {whose} {rule} by {deviation:.1e}{unit}, "
            f"{TOLERANCE[meta.dtype]:.0e} is allowed"
        )


class CheckedView(View):
    """An operator whose blocks are compared with what those of a block file obey, as they pass.

    Parameters
    ----------
    source : OperatorSource
        The operator.
    label : str
        Where it is from, for messages.

    Raises
    ------
    DamagedError
        If a pair has no partner, or an on-site block is absent.
    """

    def __init__(self, source: OperatorSource, label: str) -> None:
        super().__init__(source)
        self._check = PartnerCheck(self.meta, self.sizes, self.pairs, label)
        self._elements = block_offsets(self.pairs.block_elements(self.sizes))

    def rows(self, i0: int, i1: int) -> npt.NDArray[Any]:
        """Return all blocks of the atoms ``i0 <= i < i1``.

        Raises
        ------
        DamagedError
            If a number is not finite or too large for anything, or a block is not the adjoint of
            its partner, where that has passed too.
        """
        data = self._source.rows(i0, i1)
        span = self.pairs.rows(i0, i1)
        offsets = self._elements[span.start : span.stop + 1] - self._elements[span.start]
        self._check.require(self._source, self._check.add(i0, i1, data, offsets))
        return data


def deviations(
    source: OperatorSource,
    partner: npt.NDArray[np.integer] | None,
    indices: npt.NDArray[np.integer],
) -> npt.NDArray[np.float64]:
    """Return how far the blocks of some pairs are from their partners' adjoints.

    Parameters
    ----------
    source : OperatorSource
        Gives the blocks.
    partner : (n,) array of int64 or None
        Partner of every pair; None with "upper" storage, where on-site blocks are their own.
    indices : (m,) array of int
        The pairs.

    Returns
    -------
    (m,) array
        Largest element of |O_ij(R) − parity · O_ji(−R)†|; inf where one is not a number.
    """
    pairs, sizes, parity = source.pairs, source.sizes, source.meta.parity
    own, offsets = read_pairs(source, indices)
    other, places = read_pairs(source, indices if partner is None else partner[indices])
    out = np.zeros(len(indices))
    rows = sizes[np.searchsorted(pairs.indptr, indices, side="right") - 1]
    for shape, group in by_shape(rows, sizes[pairs.j[indices]]):
        for mine, theirs in zip(components(own), components(other), strict=True):
            a = take_blocks(mine, offsets[:-1][group], shape)
            b = take_blocks(theirs, places[:-1][group], shape[::-1])
            gap = np.abs(a - adjoint(b, parity)).max(axis=(1, 2), initial=0)
            out[group] = np.fmax(out[group], np.where(np.isnan(gap), np.inf, gap))
    return out


@cache
def _vectors(size: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the vectors u and v: elements of either sign between 0.5 and 1.5."""
    u, v = np.random.default_rng(size).uniform(0.5, 1.5, (2, size))
    signs = np.random.default_rng(size + 1).choice([-1.0, 1.0], (2, size))
    return u * signs[0], v * signs[1]


@cache
def _weights(shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the weights of the elements in uᵀBv and in vᵀBu, shape (2, rows·columns)."""
    (u_row, v_row), (u_column, v_column) = map(_vectors, shape)
    products = np.outer(u_row, v_column), np.outer(v_row, u_column)
    return np.stack([p.ravel() for p in products])


@cache
def _complex_weights(shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the weights of real and imaginary parts in both numbers' real and imaginary parts."""
    real = _weights(shape)
    return np.concatenate([np.kron(real, part) for part in ([1.0, 0.0], [0.0, 1.0])])


def _project(
    flat: npt.NDArray,
    offsets: npt.NDArray[np.integer],
    group: npt.NDArray[np.intp],
    shape: tuple[int, int],
) -> npt.NDArray:
    """Return uᵀBv and vᵀBu of blocks of one shape, shape (2, p)."""
    whole = len(group) == len(offsets) and flat.flags.c_contiguous
    blocks = flat if whole else take_blocks(flat, offsets[group], shape)
    blocks = blocks.reshape(len(group), shape[0] * shape[1])
    # BLAS takes this product three times as fast as its transpose.
    if blocks.dtype.kind != "c":
        return _weights(shape) @ blocks.astype(np.float64, copy=False).T
    parts = blocks.astype(np.complex128, copy=False).view(np.float64)
    sums = _complex_weights(shape) @ parts.T
    return sums[:2] + 1j * sums[2:]
