"""Checks of operators: checksums, partners, patterns of pairs, positive overlap."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.operators.blocks import (
    OperatorMeta,
    adjoint,
    block_offsets,
    by_shape,
    checksum,
    components,
    read_pairs,
    row_bytes,
    slab_bounds,
)
from moireio.operators.blocks import take_blocks as take
from moireio.operators.catalogue import operator_type
from moireio.operators.partners import LARGEST, TOLERANCE
from moireio.runtime.progress import Progress, share
from moireio.store.finding import Finding
from moireio.system.pairs import Pairs, pair_name
from moireio.system.structure import Structure

DENSE_ORBITALS = 3000
SPARSE_ORBITALS = 10_000


class StoredOperator(Protocol):
    """An operator of a block file, as far as the checks need it."""

    name: str
    meta: OperatorMeta
    sizes: npt.NDArray[np.int64]

    @property
    def pairs(self) -> Pairs:
        """All stored pairs."""

    @property
    def partner(self) -> npt.NDArray[np.integer]:
        """Index of the partner of every pair of a "full" operator."""

    @property
    def crc(self) -> npt.NDArray[np.integer]:
        """CRC-32 of every atom's pairs and blocks."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of O(k)."""

    def rows(self, i0: int, i1: int, check: bool = True) -> npt.NDArray[Any]:
        """Return all stored blocks of a run of atoms."""

    def deviation(self, i0: int, i1: int) -> npt.NDArray[np.floating]:
        """Return how far blocks of a run of atoms are from their partners' adjoints."""

    def full(self) -> Any:
        """Return the operator with both partners of every pair."""

    def at_k(self, k: npt.ArrayLike, *, dense: bool = False) -> Any:
        """Return O(k)."""


def check_operators(
    operators: Mapping[str, StoredOperator],
    structure: Structure,
    samples: int = 4,
    progress: Progress | None = None,
    checked: Collection[str] = (),
) -> list[Finding]:
    """Check operators one by one, and against each other.

    Parameters
    ----------
    operators : mapping of str to StoredOperator
        By name.
    structure : Structure
        The atoms.
    samples : int
        k points at which the overlap must be positive definite: Γ, and pseudo-random ones.
    progress : Progress, optional
        Called with bytes of blocks that were checked, and those of all operators.
    checked : collection of str
        Operators whose blocks were compared one by one as they were written
        (`moireio.operators.partners.CheckedView`), and are not read for that again.

    Returns
    -------
    list of Finding
        Empty if all is well.
    """
    findings, sound = [], {}
    unread = {name: o for name, o in operators.items() if name not in checked}
    step = share(progress, sum(int(row_bytes(o).sum()) for o in unread.values()))
    for name, operator in operators.items():
        wrong = _check_operator(operator, step) if name in unread else []
        sound[name] = not wrong
        findings += wrong
    for name, operator in operators.items():
        row = operator_type(name)
        outside = []
        if row.within is not None and row.within in operators:
            outside = _check_pattern(operator, operators[row.within])
        origin = operators.get(row.shifted or "")
        if origin is not None and sound[name] and not outside:
            findings += _check_shifted(structure, operator, origin)
        if row.positive and sound[name]:
            findings += _check_positive(operator, samples)
        findings += outside
    return findings


def _check_operator(operator: StoredOperator, progress: Progress | None) -> list[Finding]:
    """Check order, on-site blocks, checksums, finite numbers and partners."""
    where, pairs = f"/{operator.name}", operator.pairs
    findings = []
    absent = np.flatnonzero(pairs.onsite() < 0)
    if len(absent):
        findings.append(
            Finding(where, f"{len(absent)} on-site blocks are absent, as of atom {absent[0]}")
        )
    stored_half = operator.meta.storage == "upper"
    if stored_half and not pairs.upper().all():
        wrong = int(np.flatnonzero(~pairs.upper())[0])
        findings.append(Finding(where, f"{_name(pairs, wrong)} does not belong in upper storage"))
    closed = True
    if not stored_half:
        alone = np.flatnonzero(pairs.partner() < 0)
        closed = len(alone) == 0
        if not closed:
            text = f"{_name(pairs, alone[0])} has no partner ({len(alone)} such pairs)"
            findings.append(Finding(where, text))
    altered, not_finite, too_large, worst, asymmetric = [], [], [], (0.0, -1), 0
    limit, nbytes = TOLERANCE[operator.meta.dtype], row_bytes(operator)
    offsets = block_offsets(pairs.block_elements(operator.sizes))
    try:
        for i0, i1 in slab_bounds(nbytes):
            data = operator.rows(i0, i1, check=False)
            begin = offsets[pairs.indptr[i0]]
            for atom in range(i0, i1):
                span = pairs.rows(atom, atom + 1)
                row = data[..., offsets[span.start] - begin : offsets[span.stop] - begin]
                if checksum(pairs.j[span], pairs.R[span], row) != operator.crc[atom]:
                    altered.append(atom)
                if not np.isfinite(row).all():
                    not_finite.append(atom)
                elif np.abs(row).max(initial=0) > LARGEST:
                    too_large.append(atom)
            if closed and not stored_half and operator.meta.parity:
                gaps = operator.deviation(i0, i1)
                asymmetric += int((gaps > limit).sum())
                top = int(gaps.argmax()) if len(gaps) else 0
                if len(gaps) and gaps[top] > worst[0]:
                    worst = (float(gaps[top]), int(pairs.indptr[i0]) + top)
            if progress is not None:
                progress(data.nbytes, int(nbytes.sum()))
    except MoireioError as error:
        return [*findings, Finding(where, error.what.removeprefix(f"{where}: "))]
    if altered:
        text = f"the checksum of {len(altered)} atoms does not fit their blocks, as of atom"
        findings.append(Finding(where, f"{text} {altered[0]}"))
    if not_finite:
        text = f"{len(not_finite)} atoms have numbers that are not finite (NaN), as atom"
        findings.append(Finding(where, f"{text} {not_finite[0]}"))
    if too_large:
        text = f"{len(too_large)} atoms have numbers beyond {LARGEST:.0e}, as atom"
        findings.append(Finding(where, f"{text} {too_large[0]}"))
    if asymmetric:
        rule = "adjoint" if operator.meta.parity > 0 else "negative adjoint"
        text = f"{_name(pairs, worst[1])} differs from its partner's {rule} by {worst[0]:.1e}"
        unit = "" if operator.meta.unit == "1" else f" {operator.meta.unit}"
        findings.append(Finding(where, f"{text}{unit} ({asymmetric} such pairs)"))
    return findings


def _check_shifted(
    structure: Structure, operator: StoredOperator, origin: StoredOperator
) -> list[Finding]:
    """Check P_ij(R) = P_ji(−R)† + (τ_j + R − τ_i) O_ij(R), where O = `origin`."""
    pairs, sizes = operator.pairs, operator.sizes
    source, where = origin.full(), f"/{operator.name}"
    there = source.pairs.find(pairs.i, pairs.j, pairs.R)
    limit = max(TOLERANCE[operator.meta.dtype], TOLERANCE[origin.meta.dtype])
    worst = (0.0, 0)
    for i0, i1 in slab_bounds(row_bytes(operator)):
        span = pairs.rows(i0, i1)
        i, j, R = pairs.i[span], pairs.j[span], pairs.R[span]
        data = operator.rows(i0, i1)
        offsets = block_offsets(sizes[i] * sizes[j])[:-1]
        partners, partner_at = read_pairs(operator, operator.partner[span])
        origins, origin_at = read_pairs(source, there[span])
        shift = structure.positions[j] + R @ structure.cell - structure.positions[i]
        for shape, group in by_shape(sizes[i], sizes[j]):
            block = take(components(origins)[0], origin_at[:-1][group], shape)
            for axis in range(3):
                mine = take(data[axis], offsets[group], shape)
                theirs = take(partners[axis], partner_at[:-1][group], shape[::-1])
                expected = adjoint(theirs) + shift[group, axis, None, None] * block
                gap = np.abs(mine - expected).max(axis=(1, 2))
                top = int(gap.argmax())
                if gap[top] > worst[0]:
                    worst = (float(gap[top]), span.start + int(group[top]))
    if worst[0] <= limit:
        return []
    text = f"{_name(pairs, worst[1])} breaks the rule for its partner by {worst[0]:.1e}"
    return [Finding(where, f"{text} {operator.meta.unit}")]


def _check_pattern(operator: StoredOperator, other: StoredOperator) -> list[Finding]:
    """Check that the pairs of an operator are among those of another."""
    inner, outer = operator.pairs, other.pairs
    if "upper" in (operator.meta.storage, other.meta.storage):
        inner, outer = inner.with_partners(), outer.with_partners()
    outside = np.flatnonzero(outer.find(inner.i, inner.j, inner.R) < 0)
    if not len(outside):
        return []
    text = f"{_name(inner, outside[0])} is not among those of /{other.name}"
    return [Finding(f"/{operator.name}", f"{text} ({len(outside)} such pairs)")]


def _check_positive(operator: StoredOperator, samples: int) -> list[Finding]:
    """Check that O(k) is positive definite at Γ and at pseudo-random k."""
    n, where = operator.shape[0], f"/{operator.name}"
    if n > SPARSE_ORBITALS:
        text = f"not checked for being positive definite: {n} orbitals"
        return [Finding(where, text, "note")]
    random = np.random.default_rng(0).random((max(samples - 1, 0), 3)) - 0.5
    periodic = operator.pairs.R.any(axis=0)
    try:
        for k in [np.zeros(3), *(random * periodic)]:
            if not _is_positive(operator, k, n):
                point = " ".join(f"{v:.4f}" for v in k)
                return [Finding(where, f"is not positive definite at k = {point}")]
    except MoireioError as error:
        return [Finding(where, f"cannot be summed: {error.what}")]
    return []


def _is_positive(overlap: StoredOperator, k: npt.ArrayLike, n: int) -> bool:
    if n <= DENSE_ORBITALS:
        s = overlap.at_k(k, dense=True)
        if not np.isfinite(s).all():
            return False
        try:
            np.linalg.cholesky(s)  # SciPy's takes half a second to import
        except np.linalg.LinAlgError:
            return False
        return True
    return _sparse_is_positive(overlap.at_k(k))


def _sparse_is_positive(matrix: Any) -> bool:
    """Decide by the pivots of an LU without row exchanges, which is an LDL† then."""
    from scipy.sparse.linalg import splu

    if not np.isfinite(matrix.data).all():
        return False
    options = {"SymmetricMode": True}
    try:
        lu = splu(
            matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options
        )
    except RuntimeError:  # a pivot of exactly zero
        return False
    if (lu.perm_r != lu.perm_c).any():
        return False
    return bool((lu.U.diagonal().real > 0).all())


def _name(pairs: Pairs, index: int) -> str:
    return pair_name(pairs.i[index], pairs.j[index], pairs.R[index])
