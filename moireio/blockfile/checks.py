"""Checks of a block file: schema, checksums, Hermiticity, positive overlap, patterns."""

from dataclasses import dataclass

import numpy as np

from moireio.blockfile.operator import checksum
from moireio.blockfile.reader import FORMAT_VERSION
from moireio.blockfile.schema import violations
from moireio.errors import MoireioError, first_line
from moireio.operators.blocks import (
    adjoint,
    block_offsets,
    by_shape,
    components,
    read_pairs,
    row_bytes,
    slab_bounds,
)
from moireio.operators.blocks import take_blocks as take
from moireio.operators.catalogue import operator_type
from moireio.runtime.progress import share
from moireio.system.pairs import pair_name

TOLERANCE = {"float32": 1e-5, "complex64": 1e-5, "float64": 1e-9, "complex128": 1e-9}
DENSE_ORBITALS = 3000
SPARSE_ORBITALS = 10_000


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or was not checked.

    Parameters
    ----------
    where : str
        Group or array.
    what : str
        What was found.
    level : {"error", "note"}
        A note does not make the file invalid.
    """

    where: str
    what: str
    level: str = "error"

    def __str__(self):
        """Return one line."""
        return f"{self.level}: {self.where}: {self.what}"


def validate(file, samples=4, progress=None):
    """Check everything that a block file promises.

    Parameters
    ----------
    file : BlockFile
        The open file.
    samples : int
        k points at which the overlap must be positive definite: Γ, and pseudo-random ones.
    progress : Progress, optional
        Called with bytes of blocks that were checked, and those of all operators.

    Returns
    -------
    list of Finding
        Empty if all is well.
    """
    newer = file.minor > int(FORMAT_VERSION.split(".")[1])
    found = [Finding(where, what) for where, what in violations(file.container, newer)]
    for part in ("structure", "moire", "basis", "electrons", "kpath", "history"):
        if part in file or part in ("structure", "basis"):
            try:
                getattr(file, part)
            except MoireioError as error:
                found.append(Finding(f"/{part}", error.what))
            except Exception as error:
                found.append(Finding(f"/{part}", f"cannot be understood: {first_line(error)}"))
    for name in file.groups:
        if name == "bands" or name.startswith("bands-"):
            found += _check_bands(file, name)
        elif name == "dos" or name.startswith("dos-"):
            found += _check_dos(file, name)
    if not found:
        found += _check_moire(file)
        if not file.basis.covers(file.structure):
            found.append(Finding("/basis", "some species have none yet", "note"))
    operators = {}
    for name in file.operators:
        try:
            operators[name] = file.operator(name)
            _ = operators[name].pairs
        except MoireioError as error:
            operators.pop(name, None)
            found.append(Finding(f"/{name}", error.what.removeprefix(f"/{name}: ")))
    sound = {}
    step = share(progress, sum(int(row_bytes(o).sum()) for o in operators.values()))
    for name, operator in operators.items():
        found += (wrong := _check_operator(operator, step))
        sound[name] = not wrong
    for name, operator in operators.items():
        row = operator_type(name)
        outside = []
        if row.within in operators:
            outside = _check_pattern(operator, operators[row.within])
        if row.shifted in operators and sound[name] and not outside:
            found += _check_shifted(file, operator, operators[row.shifted])
        if row.positive:
            found += _check_positive(operator, samples)
        found += outside
    if (
        "overlap" not in operators
        and "hamiltonian" in operators
        and "basis" in file
        and not file.basis.orthogonal
    ):
        found.append(Finding("/overlap", "not computed yet", "note"))
    return found


def _check_moire(file):
    """Check that every layer's matrix, strain and angle make the cell of the structure."""
    moire, structure = file.moire, file.structure
    if moire is None:
        return []
    found = []
    for number, layer in enumerate(moire.layers):
        cell = layer.cell * np.array(moire.repeat)[:, None]
        rows = [n for n in (0, 1) if n + 1 != moire.open_axis]
        gap = np.abs(cell[rows] - structure.cell[rows, :2]).max()
        if gap > 1e-8 * np.abs(structure.cell).max():
            text = f"matrix, strain and angle do not make the cell (off by {gap:.1e} Å)"
            found.append(Finding(f"/moire/{number}", text))
    if structure.layer is not None and int(structure.layer.max(initial=0)) >= len(moire.layers):
        found.append(Finding("/moire", "has fewer layers than /structure"))
    return found


def _check_bands(file, name):
    try:
        bands = file.bands(name)
    except (MoireioError, ValueError, TypeError) as error:
        return [Finding(f"/{name}", getattr(error, "what", str(error)))]
    bad = [a for a in ("k", "distance") if not np.isfinite(getattr(bands.path, a)).all()]
    bad += [] if np.isfinite(bands.energies).all() else ["energies"]
    if file.has_states(name):
        try:
            points = [(n, c) for c in range(len(bands.energies)) for n in range(len(bands.path))]
            bad += (
                [] if all(np.isfinite(file.states(*p, name)).all() for p in points) else ["states"]
            )
        except MoireioError as error:
            return [Finding(f"/{name}/states", error.what)]
    return [Finding(f"/{name}/{a}", "contains a number that is not finite") for a in bad]


def _check_dos(file, name):
    try:
        dos = file.dos(name)
    except (MoireioError, ValueError, TypeError) as error:
        return [Finding(f"/{name}", getattr(error, "what", str(error)))]
    arrays = [a for a in ("energies", "total", "projected", "error") if getattr(dos, a) is not None]
    bad = [a for a in arrays if not np.isfinite(getattr(dos, a)).all()]
    return [Finding(f"/{name}/{a}", "contains a number that is not finite") for a in bad]


def _check_operator(operator, progress):
    """Check order, on-site blocks, checksums, finite numbers and partners."""
    where, found, pairs = f"/{operator.name}", [], operator.pairs
    absent = np.flatnonzero(pairs.onsite() < 0)
    if len(absent):
        found.append(
            Finding(where, f"{len(absent)} on-site blocks are absent, as of atom {absent[0]}")
        )
    stored_half = operator.meta.storage == "upper"
    if stored_half and not pairs.upper().all():
        wrong = int(np.flatnonzero(~pairs.upper())[0])
        found.append(Finding(where, f"{_name(pairs, wrong)} does not belong in upper storage"))
    closed = True
    if not stored_half:
        alone = np.flatnonzero(pairs.partner() < 0)
        closed = len(alone) == 0
        if not closed:
            text = f"{_name(pairs, alone[0])} has no partner ({len(alone)} such pairs)"
            found.append(Finding(where, text))
    altered, not_finite, worst, asymmetric = [], [], (0.0, -1), 0
    limit, nbytes = TOLERANCE[operator.meta.dtype], row_bytes(operator)
    try:
        for i0, i1 in slab_bounds(nbytes):
            slab = operator._slab(i0, i1, False)
            for atom in range(i0, i1):
                span = pairs.rows(atom, atom + 1)
                first = pairs.indptr[i0]
                a, b = slab.offsets[span.start - first], slab.offsets[span.stop - first]
                row = slab.data[..., a:b]
                if checksum(pairs.j[span], pairs.R[span], row) != operator.crc[atom]:
                    altered.append(atom)
                if not np.isfinite(row).all():
                    not_finite.append(atom)
            if closed and not stored_half and operator.meta.parity:
                gaps = operator.deviation(i0, i1)
                asymmetric += int((gaps > limit).sum())
                top = int(gaps.argmax()) if len(gaps) else 0
                if len(gaps) and gaps[top] > worst[0]:
                    worst = (float(gaps[top]), int(pairs.indptr[i0]) + top)
            if progress is not None:
                progress(slab.data.nbytes, int(nbytes.sum()))
    except MoireioError as error:
        return [*found, Finding(where, error.what.removeprefix(f"{where}: "))]
    if altered:
        text = f"the checksum of {len(altered)} atoms does not fit their blocks, as of atom"
        found.append(Finding(where, f"{text} {altered[0]}"))
    if not_finite:
        text = f"{len(not_finite)} atoms have numbers that are not finite (NaN), as atom"
        found.append(Finding(where, f"{text} {not_finite[0]}"))
    if asymmetric:
        rule = "adjoint" if operator.meta.parity > 0 else "negative adjoint"
        text = f"{_name(pairs, worst[1])} differs from its partner's {rule} by {worst[0]:.1e}"
        unit = "" if operator.meta.unit == "1" else f" {operator.meta.unit}"
        found.append(Finding(where, f"{text}{unit} ({asymmetric} such pairs)"))
    return found


def _check_shifted(file, operator, origin):
    """Check P_ij(R) = P_ji(−R)† + (τ_j + R − τ_i) O_ij(R), where O = `origin`."""
    structure, pairs, sizes = file.structure, operator.pairs, operator.sizes
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


def _check_pattern(operator, other):
    """Check that the pairs of an operator are among those of another."""
    inner, outer = operator.pairs, other.pairs
    if "upper" in (operator.meta.storage, other.meta.storage):
        inner, outer = inner.with_partners(), outer.with_partners()
    outside = np.flatnonzero(outer.find(inner.i, inner.j, inner.R) < 0)
    if not len(outside):
        return []
    text = f"{_name(inner, outside[0])} is not among those of /{other.name}"
    return [Finding(f"/{operator.name}", f"{text} ({len(outside)} such pairs)")]


def _check_positive(operator, samples):
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


def _is_positive(overlap, k, n):
    if n <= DENSE_ORBITALS:
        from scipy.linalg import LinAlgError, cholesky

        s = overlap.at_k(k, dense=True)
        if not np.isfinite(s).all():
            return False
        try:
            cholesky(s, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return False
        return True
    return _sparse_is_positive(overlap.at_k(k))


def _sparse_is_positive(matrix):
    """Tell from the pivots of an LU without row exchanges, which then is an LDL†."""
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


def _name(pairs, index):
    return pair_name(pairs.i[index], pairs.j[index], pairs.R[index])
