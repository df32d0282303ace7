"""Operators of a block file: H, S, position, momentum and density as sparse blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError
from moireio.operators.blocks import (
    OperatorMeta,
    OperatorSource,
    block_offsets,
    checksum,
    read_pairs,
    row_bytes,
    slab_bounds,
)
from moireio.operators.catalogue import SPINS, operator_type
from moireio.operators.partners import PartnerCheck, deviations
from moireio.operators.views import FullView, require_partners
from moireio.runtime.progress import Progress
from moireio.store.base import Container, verify
from moireio.system.pairs import Pairs, pair_name

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from moireio.operators.bloch import BlochSum


@dataclass(frozen=True, eq=False)
class Slab:
    """The blocks of a run of atoms.

    Parameters
    ----------
    i0, i1 : int
        The atoms ``i0 <= i < i1``.
    i, j : (p,) arrays of int
        Atoms of the pairs.
    R : (p, 3) array of int
        Cells of the pairs.
    data : (n,) or (c, n) array
        Blocks one after another, each row-major.
    offsets : (p + 1,) array of int64
        Where each block begins in `data`.
    sizes : (N,) array of int
        Rows (and columns) that an atom takes, spin included.
    """

    i0: int
    i1: int
    i: npt.NDArray[np.integer]
    j: npt.NDArray[np.integer]
    R: npt.NDArray[np.integer]
    data: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self.j)

    def __iter__(self) -> Iterator[tuple[int, int, tuple[int, ...], npt.NDArray[Any]]]:
        """Yield ``(i, j, R, block)``; the block has shape (rows, columns) or (c, rows, columns)."""
        for p in range(len(self)):
            shape = (self.sizes[self.i[p]], self.sizes[self.j[p]])
            block = self.data[..., self.offsets[p] : self.offsets[p + 1]]
            yield (
                int(self.i[p]),
                int(self.j[p]),
                tuple(int(v) for v in self.R[p]),
                block.reshape(*self.data.shape[:-1], *shape),
            )


class Operator:
    """One operator of an open block file, read by runs of atoms.

    Parameters
    ----------
    container : Container
        The open file.
    name : str
        Its group, as "hamiltonian".
    orbitals : (N,) array of int
        Orbitals of every atom, spin not counted.
    """

    def __init__(self, container: Container, name: str, orbitals: npt.ArrayLike) -> None:
        self._container = container
        self.name = name
        self.label = container.label
        self.meta = _read_meta(container, name)
        self.sizes = np.asarray(orbitals, dtype=np.int64) * self.meta.spin_factor
        self._indptr = self._index("indptr")
        self._row_offset = self._index("row_offset")
        n = len(self.sizes)
        if len(self._indptr) != n + 1 or len(self._row_offset) != n + 1:
            raise self._damaged(f"indptr or row_offset is not for the {n} atoms of /structure")
        n_pairs = int(self._indptr[-1])
        shapes = {"j": (n_pairs,), "R": (n_pairs, 3), "crc": (n,)}
        for array, shape in shapes.items():
            found = container.info(f"{name}/{array}").shape
            if found != shape:
                raise self._damaged(f"{array} has shape {found}, expected {shape}")
        shape = container.info(f"{name}/data").shape
        lead = () if self.meta.components == 1 else (self.meta.components,)
        if shape[:-1] != lead or shape[-1:] < tuple(self._row_offset[-1:]):
            raise self._damaged(f"data has shape {shape}, expected {(*lead, self._row_offset[-1])}")

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(f"/{self.name}: {what}", path=self.label)

    def _index(self, array: str) -> npt.NDArray[np.integer]:
        values = self._container.read(f"{self.name}/{array}")
        if values.ndim != 1 or values.dtype.kind not in "iu" or len(values) == 0:
            raise self._damaged(f"{array} is not a list of integers")
        if values[0] != 0 or (np.diff(values) < 0).any():
            raise self._damaged(f"{array} does not rise from 0")
        return values

    def __repr__(self) -> str:
        """Return a summary such as ``<hamiltonian: 4 atoms, 856 pairs, eV, spin none, full>``."""
        return (
            f"<{self.name}: {self.n_atoms} atoms, {self.n_pairs} pairs, {self.meta.unit}, "
            f"spin {self.meta.spin}, {self.meta.storage}>"
        )

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.sizes)

    @property
    def n_pairs(self) -> int:
        """Number of stored pairs."""
        return int(self._indptr[-1])

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of H(k) and its like: (n, n), spin included for spinors."""
        n = int(self.sizes.sum())
        return (n, n)

    @cached_property
    def pairs(self) -> Pairs:
        """All stored pairs (`moireio.system.pairs.Pairs`), checked for order and range."""
        j, R = self._read_pairs(0, self.n_pairs)
        pairs = Pairs(self._indptr, j, R)
        if (np.diff(pairs.keys()) <= 0).any():
            raise self._damaged("the pairs are not sorted by (i, j, R), or one occurs twice")
        return pairs

    @cached_property
    def partner(self) -> npt.NDArray[np.integer]:
        """Index of the partner (j, i, −R) of every pair of a "full" operator, shape (n,)."""
        return require_partners(self.pairs, f"{self.label}: /{self.name}")

    @cached_property
    def crc(self) -> npt.NDArray[np.integer]:
        """CRC-32 of every atom's pairs and blocks, shape (N,)."""
        return self._container.read(f"{self.name}/crc")

    @cached_property
    def expected_error(self) -> npt.NDArray[np.float64] | None:
        """Expected mean |ΔH| of every atom's blocks, shape (N,); None where it is unknown."""
        if "expected_error" not in self._container.arrays(self.name):
            return None
        values = self._container.read(f"{self.name}/expected_error")
        if values.shape != (self.n_atoms,) or not (values >= 0).all():
            raise self._damaged(f"expected_error is not {self.n_atoms} numbers above zero")
        return values

    def _read_pairs(
        self, p0: int, p1: int
    ) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
        j = self._container.read(f"{self.name}/j", p0, p1)
        R = self._container.read(f"{self.name}/R", p0, p1, axis=0)
        if len(j) and (j.min() < 0 or j.max() >= self.n_atoms):
            raise self._damaged(f"j names an atom outside 0..{self.n_atoms - 1}")
        return j, R

    def rows(self, i0: int, i1: int, check: bool = True) -> npt.NDArray[Any]:
        """Return all stored blocks of the atoms ``i0 <= i < i1`` without their pairs.

        Parameters
        ----------
        i0, i1 : int
            The run of atoms.
        check : bool
            Compare the checksum of every atom, and blocks with their partners.

        Returns
        -------
        (n,) or (c, n) array
            Blocks one after another.

        Raises
        ------
        DamagedError
            If a checksum differs, a number is not finite, or a block is not the adjoint of its
            partner (where that was read too, now or before).
        """
        return self._slab(i0, i1, check).data

    def slab(self, i0: int, i1: int) -> Slab:
        """Return the stored blocks of the atoms ``i0 <= i < i1``, compared with what they obey.

        Parameters
        ----------
        i0, i1 : int
            The run of atoms.

        Returns
        -------
        Slab
            Pairs and blocks; with "upper" storage only those that are stored.

        Raises
        ------
        DamagedError
            If a checksum differs, a number is not finite, or a block is not the adjoint of its
            partner (where that was read too, now or before).
        """
        return self._slab(i0, i1, True)

    def _slab(self, i0: int, i1: int, check: bool) -> Slab:
        if not 0 <= i0 <= i1 <= self.n_atoms:
            raise MoireioError(
                f"/{self.name}: atoms {i0}:{i1} are outside 0:{self.n_atoms}", path=self.label
            )
        p0, p1 = int(self._indptr[i0]), int(self._indptr[i1])
        j, R = self._read_pairs(p0, p1)
        i = np.repeat(np.arange(i0, i1, dtype=np.int32), np.diff(self._indptr[i0 : i1 + 1]))
        offsets = block_offsets(self.sizes[i] * self.sizes[j])
        first = self._indptr[i0 : i1 + 1] - p0
        length = np.diff(offsets[first])
        begin = self._row_offset[i0:i1]
        if len(begin) and (begin + length > self._row_offset[i0 + 1 : i1 + 1]).any():
            raise self._damaged("row_offset does not fit the sizes of the blocks")
        data = self._read_data(begin, length)
        if check:
            for a in range(i1 - i0):
                low, high = first[a], first[a + 1]
                found = checksum(j[low:high], R[low:high], data[..., offsets[low] : offsets[high]])
                if found != self.crc[i0 + a]:
                    raise DamagedError(
                        f"/{self.name}: the checksum of atom {i0 + a} does not fit its blocks",
                        path=self.label,
                        remedy="the file was altered; make it again",
                    )
            suspects = self._partner_check.add(i0, i1, data, offsets)
            self._partner_check.require(_Unchecked(self), suspects)
        return Slab(i0, i1, i, j, R, data, offsets, self.sizes)

    @cached_property
    def _partner_check(self) -> PartnerCheck:
        return PartnerCheck(self.meta, self.sizes, self.pairs, self.label)

    def _read_data(
        self, begin: npt.NDArray[np.integer], length: npt.NDArray[np.integer]
    ) -> npt.NDArray[Any]:
        """Read rows, stepping over the padding between slabs."""
        name = f"{self.name}/data"
        if len(begin) == 0 or length.sum() == 0:
            return self._container.read(name, 0, 0)
        cuts = np.flatnonzero(begin[1:] != (begin + length)[:-1]) + 1
        parts = []
        for low, high in zip([0, *cuts], [*cuts, len(begin)], strict=True):
            stop = int(begin[high - 1] + length[high - 1])
            parts.append(self._container.read(name, int(begin[low]), stop))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def block(self, i: int, j: int, R: npt.ArrayLike = (0, 0, 0)) -> npt.NDArray[Any]:
        """Return one block ⟨i,0|O|j,R⟩, whether it or its partner is stored.

        Parameters
        ----------
        i, j : int
            Atoms from 0.
        R : sequence of three int
            Cell of the second atom.

        Returns
        -------
        (rows, columns) or (c, rows, columns) array
            The block.

        Raises
        ------
        MoireioError
            If the pair is not among the stored ones.
        """
        cell = np.asarray(R, dtype=np.int64)
        place = int(self.pairs.find(i, j, cell)[0])
        turned = place < 0 and self.meta.storage == "upper"
        if turned:
            place = int(self.pairs.find(j, i, -cell)[0])
        if place < 0:
            raise MoireioError(f"/{self.name} has no {pair_name(i, j, cell)}", path=self.label)
        data, _ = read_pairs(self, [place])
        shape = (self.sizes[j], self.sizes[i]) if turned else (self.sizes[i], self.sizes[j])
        block = data.reshape(*data.shape[:-1], *shape)
        if turned:
            block = np.swapaxes(block, -1, -2).conj() * self.meta.parity
        return block

    def at_k(
        self,
        k: npt.ArrayLike,
        *,
        component: int | None = None,
        dense: bool = False,
        spinor: bool = False,
    ) -> csr_array | npt.NDArray[Any]:
        """Return the operator at a k point, Σ_R e^{+2πi k·R} O(R).

        Parameters
        ----------
        k : sequence of three float
            Fractional coordinates in the reciprocal cell.
        component : int, optional
            Spin channel of a collinear operator (0 up, 1 down), or axis of a vector.
        dense : bool
            A NumPy array instead of SciPy's CSR.
        spinor : bool
            Repeat a spinless operator for both spins, in the order of spinor blocks.

        Returns
        -------
        (n, n) scipy.sparse.csr_array or array
            In the order of the atoms; real where k is time-reversal invariant and O(R) real.
        """
        assembler = self.assembler(component=component, spinor=spinor)
        return assembler.dense(k) if dense else assembler.csr(k)

    def assembler(self, *, component: int | None = None, spinor: bool = False) -> BlochSum:
        """Return (and keep) the `moireio.operators.bloch.BlochSum` that `at_k` uses.

        Parameters
        ----------
        component : int, optional
            As in `at_k`.
        spinor : bool
            As in `at_k`.

        Returns
        -------
        moireio.operators.bloch.BlochSum
            Holding the blocks in memory.
        """
        from moireio.operators.bloch import BlochSum

        if self.meta.components > 1 and component not in range(self.meta.components):
            what = "spin channel 0 or 1" if self.meta.components == 2 else "axis 0, 1 or 2"
            raise MoireioError(f"/{self.name}: at_k needs component = {what}")
        key = (component, spinor)
        cache = self.__dict__.setdefault("_assemblers", {})
        if key not in cache:
            cache[key] = BlochSum.from_source(self, component=component or 0, spinor=spinor)
        return cache[key]

    def full(self) -> OperatorSource:
        """Return the operator as a source with both partners of every pair.

        Returns
        -------
        OperatorSource
            Itself where it is stored "full".
        """
        return FullView(self) if self.meta.storage == "upper" else self

    def check(self, progress: Progress | None = None) -> None:
        """Read everything once and compare the checksums.

        Parameters
        ----------
        progress : Progress, optional
            Called after every run of atoms with its bytes of blocks, and those of the operator.

        Raises
        ------
        DamagedError
            If one differs.
        """
        nbytes = row_bytes(self)
        for i0, i1 in slab_bounds(nbytes):
            data = self.rows(i0, i1)
            if progress is not None:
                progress(data.nbytes, int(nbytes.sum()))

    def deviation(self, i0: int, i1: int) -> npt.NDArray[np.float64]:
        """Return how far stored blocks of a run of atoms are from their partners' adjoints.

        Parameters
        ----------
        i0, i1 : int
            The run of atoms.

        Returns
        -------
        deviation : (p,) array
            Largest element of |O_ij(R) − parity · O_ji(−R)†| of each pair of the run.
        """
        span = self.pairs.rows(i0, i1)
        # Of "upper" storage only on-site blocks, their own partners, can be asked for.
        partner = self.partner if self.meta.storage == "full" else None
        return deviations(_Unchecked(self), partner, np.arange(span.start, span.stop))


class _Unchecked:
    """An operator whose checksums are not compared, to look at a damaged file."""

    def __init__(self, operator: Operator) -> None:
        self.meta, self.sizes, self.pairs = operator.meta, operator.sizes, operator.pairs
        self._operator = operator

    def rows(self, i0: int, i1: int) -> npt.NDArray[Any]:
        return self._operator.rows(i0, i1, check=False)


def _read_meta(container: Container, name: str) -> OperatorMeta:
    attributes = verify(container, name)
    data = container.info(f"{name}/data")
    kinds = {"unit": str, "spin": str, "storage": str, "parity": int, "source": str}
    values: dict[str, Any] = {}
    for key, kind in kinds.items():
        value = attributes.pop(key, None)
        if not isinstance(value, kind):
            raise DamagedError(f"/{name} has no valid attribute {key!r}", path=container.label)
        values[key] = value
    choices = {"spin": SPINS, "storage": ("full", "upper"), "parity": (1, -1, 0)}
    for key, allowed in choices.items():
        if values[key] not in allowed:
            raise DamagedError(f"/{name}: {key} = {values[key]!r} is unknown", path=container.label)
    if data.dtype not in ("float32", "float64", "complex64", "complex128"):
        raise DamagedError(f"/{name}/data has type {data.dtype}", path=container.label)
    residual = attributes.pop("residual", 0.0)
    return OperatorMeta(
        name=name,
        components=operator_type(name).components(values["spin"]),
        dtype=data.dtype,
        residual=float(residual) if isinstance(residual, (int, float)) else float("nan"),
        extra=attributes,
        **values,
    )
