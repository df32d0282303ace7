"""Views of operators: stored halves, whole ones, other precisions, blocks in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

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
    expected_error_of,
    read_pairs,
    residual_of,
    scatter,
    take_blocks,
)
from moireio.system.pairs import Pairs, pair_name

RUN = 1 << 20  # elements that are worked on at once


class View:
    """An operator made from another.

    Parameters
    ----------
    source : OperatorSource
        The other.
    """

    def __init__(self, source: OperatorSource) -> None:
        self._source = source
        self.meta, self.pairs, self.sizes = source.meta, source.pairs, source.sizes

    @property
    def residual(self) -> float:
        """Largest deviation of the other from its partner rule."""
        return residual_of(self._source)

    @property
    def expected_error(self) -> npt.NDArray[np.float64] | None:
        """Expected errors by atom, where the other has them."""
        return expected_error_of(self._source)


class UpperView(View):
    """A "full" operator seen as "upper": only one of each pair of partners.

    Parameters
    ----------
    source : OperatorSource
        Stored "full", with parity +1 or −1.
    """

    def __init__(self, source: OperatorSource) -> None:
        super().__init__(source)
        self._kept = source.pairs.upper()
        self.pairs = source.pairs.select(self._kept)
        self.meta = source.meta.with_(storage="upper")

    def rows(self, i0: int, i1: int) -> npt.NDArray[Any]:
        """Return the kept blocks of the atoms ``i0 <= i < i1``."""
        pairs = self._source.pairs
        span = pairs.rows(i0, i1)
        elements = np.repeat(self.sizes[i0:i1], np.diff(pairs.indptr[i0 : i1 + 1]))
        elements = elements * self.sizes[pairs.j[span]]
        kept = np.repeat(self._kept[span], elements)
        return np.compress(kept, self._source.rows(i0, i1), axis=-1)


class FullView(View):
    """An "upper" operator seen as "full": absent partners are made from the present ones.

    Parameters
    ----------
    source : OperatorSource
        Stored "upper".

    Notes
    -----
    A row's blocks with i > j come from other rows, so a run of atoms reads the rows of its
    neighbours too: memory is bounded by a run and its surroundings.
    """

    def __init__(self, source: OperatorSource) -> None:
        super().__init__(source)
        self.pairs = source.pairs.with_partners()
        self.meta = source.meta.with_(storage="full")
        i = self.pairs.i
        direct = source.pairs.find(i, self.pairs.j, self.pairs.R)
        mirrored = source.pairs.find(self.pairs.j, i, -self.pairs.R)
        self._turned = direct < 0
        self._from = np.where(self._turned, mirrored, direct)

    def rows(self, i0: int, i1: int) -> npt.NDArray[Any]:
        """Return all blocks of the atoms ``i0 <= i < i1``."""
        span = self.pairs.rows(i0, i1)
        data, offsets = read_pairs(self._source, self._from[span])
        turned = self._turned[span]
        n_rows = np.repeat(self.sizes[i0:i1], np.diff(self.pairs.indptr[i0 : i1 + 1]))
        n_columns = self.sizes[self.pairs.j[span]]
        for shape, group in by_shape(n_rows[turned], n_columns[turned]):
            places = offsets[:-1][turned][group]
            for flat in components(data):
                blocks = adjoint(take_blocks(flat, places, shape[::-1]), self.meta.parity)
                scatter(flat, places, blocks.reshape(len(group), -1))
        return data


class CastView(View):
    """An operator in another precision.

    Parameters
    ----------
    source : OperatorSource
        Any operator.
    precision : {"float32", "float64"}
        Precision of the elements; complex operators take the complex type of that precision.
    """

    def __init__(self, source: OperatorSource, precision: str) -> None:
        super().__init__(source)
        self.meta = source.meta.with_(dtype=_dtype(source, precision))

    def rows(self, i0: int, i1: int) -> npt.NDArray[Any]:
        """Return all blocks of the atoms ``i0 <= i < i1``, converted."""
        return self._source.rows(i0, i1).astype(self.meta.dtype)


def stored_as(
    source: OperatorSource, storage: str | None = None, precision: str | None = None
) -> OperatorSource:
    """Return an operator in another storage or precision.

    Parameters
    ----------
    source : OperatorSource
        Any operator.
    storage : {"full", "upper"}, optional
        Both partners of every pair, or one; by default as it is. Operators whose partners are not
        adjoints (parity 0) are always full.
    precision : {"float32", "float64"}, optional
        Precision of the elements; by default as it is.

    Returns
    -------
    OperatorSource
        `source` itself where nothing changes.
    """
    if storage == "upper" and source.meta.storage == "full" and source.meta.parity:
        source = UpperView(source)
    elif storage == "full" and source.meta.storage == "upper":
        source = FullView(source)
    if precision and source.meta.dtype != _dtype(source, precision):
        source = CastView(source, precision)
    return source


def _dtype(source: OperatorSource, precision: str) -> str:
    """Return the element type of an operator in a precision, as "complex64" for "float32"."""
    is_complex = np.dtype(source.meta.dtype).kind == "c"
    return {"float32": "complex64", "float64": "complex128"}[precision] if is_complex else precision


def require_partners(pairs: Pairs, label: str) -> npt.NDArray[np.int64]:
    """Return the partner of every pair, or say which has none.

    Parameters
    ----------
    pairs : Pairs
        Pairs of a "full" operator.
    label : str
        The file, for the message.

    Returns
    -------
    (n,) array of int64
        Index of each pair's partner.

    Raises
    ------
    DamagedError
        If a pair is alone.
    """
    partner = pairs.partner()
    alone = np.flatnonzero(partner < 0)
    if len(alone):
        first = alone[0]
        name = pair_name(pairs.i[first], pairs.j[first], pairs.R[first])
        raise DamagedError(f"{name} has no partner ({len(alone)} such pairs)", path=label)
    return partner


class ArraySource:
    """An operator whose blocks are in memory, as from another code or a model.

    Parameters
    ----------
    meta : OperatorMeta
        Name, unit, spin and so on.
    sizes : (N,) array of int
        Rows that an atom takes in a block, spin included.
    pairs : Pairs
        The pairs.
    data : (n,) or (c, n) array
        Blocks one after another, each row-major.
    """

    def __init__(
        self, meta: OperatorMeta, sizes: npt.ArrayLike, pairs: Pairs, data: npt.NDArray[Any]
    ) -> None:
        self.meta, self.pairs = meta, pairs
        self.sizes = np.asarray(sizes, dtype=np.int64)
        self.data = data
        self._starts = block_offsets(pairs.block_elements(self.sizes))
        if data.shape[-1] != self._starts[-1]:
            raise ValueError(f"{self._starts[-1]} elements expected, {data.shape[-1]} given")

    @classmethod
    def from_blocks(
        cls,
        meta: OperatorMeta,
        sizes: npt.NDArray[np.integer],
        blocks: Mapping[tuple[int, int, tuple[int, int, int]], npt.ArrayLike],
    ) -> Self:
        """Make a source from a dict of blocks.

        Parameters
        ----------
        meta : OperatorMeta
            Name, unit, spin and so on; components and dtype are taken as they are.
        sizes : (N,) array of int
            Rows that an atom takes in a block, spin included.
        blocks : dict of (i, j, (R1, R2, R3)) to array
            Blocks (rows, columns), or (c, rows, columns).

        Returns
        -------
        ArraySource
            With the pairs sorted.
        """
        i, j, R = zip(*blocks, strict=True)
        pairs, order = Pairs.sort(len(sizes), i, j, R)
        listed = list(blocks.values())
        lead = () if meta.components == 1 else (meta.components,)
        flat = [np.asarray(listed[o]).reshape(*lead, -1) for o in order]
        return cls(meta, sizes, pairs, np.concatenate(flat, axis=-1).astype(meta.dtype))

    def rows(self, i0: int, i1: int) -> npt.NDArray[Any]:
        """Return all blocks of the atoms ``i0 <= i < i1``."""
        span = self.pairs.rows(i0, i1)
        return self.data[..., self._starts[span.start] : self._starts[span.stop]]


def symmetrised(
    source: ArraySource,
    label: str,
    limit: float = np.inf,
    name: Callable[[int, int, npt.NDArray[np.int32]], str] = pair_name,
) -> ArraySource:
    """Return a full operator in which every block is the mean with its partner's adjoint.

    Parameters
    ----------
    source : ArraySource
        Stored "full", without components.
    label : str
        The file, for messages.
    limit : float
        A larger deviation counts as damage, in the operator's unit.
    name : callable
        Returns how messages call the block of (i, j, R).

    Returns
    -------
    ArraySource
        The largest deviation found is its meta's `residual`.

    Raises
    ------
    DamagedError
        If a pair has no partner, or a block and its partner's adjoint differ by more than `limit`.
    """
    pairs, data = source.pairs, source.data
    partner = require_partners(pairs, label)
    offsets = block_offsets(pairs.block_elements(source.sizes))[:-1]
    out, residual = np.empty_like(data), 0.0
    for shape, every in by_shape(source.sizes[pairs.i], source.sizes[pairs.j]):
        step = max(1, RUN // max(shape[0] * shape[1], 1))
        for group in (every[begin : begin + step] for begin in range(0, len(every), step)):
            mine = take_blocks(data, offsets[group], shape)
            theirs = adjoint(take_blocks(data, offsets[partner[group]], shape[::-1]))
            gaps = np.abs(mine - theirs).reshape(len(group), -1).max(axis=1, initial=0.0)
            worst = int(gaps.argmax())
            residual = max(residual, float(gaps[worst]))
            if not gaps[worst] <= limit:
                pair = min(group[worst], partner[group[worst]])
                where = name(pairs.i[pair], pairs.j[pair], pairs.R[pair])
                unit = "" if source.meta.unit == "1" else f" {source.meta.unit}"
                raise DamagedError(
                    f"the {source.meta.name} of {where} and of its partner differ by "
                    f"{gaps[worst]:.1e}{unit}",
                    path=label,
                    remedy=f"at most {limit:.0e}{unit} is rounding: the file is damaged, make it "
                    "again",
                )
            scatter(out, offsets[group], ((mine + theirs) / 2).reshape(len(group), -1))
    return ArraySource(source.meta.with_(residual=residual), source.sizes, pairs, out)
