"""Errors of a Hamiltonian: its elements and its bands against those of a reference."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.blockfile.reader import ADDED_BY
from moireio.errors import MoireioError, naming
from moireio.operators.bloch import BlochSum
from moireio.operators.blocks import by_shape, read_pairs, row_bytes, slab_bounds, take_blocks
from moireio.runtime.progress import Progress
from moireio.spectrum.checkpoint import checkpointed, solver_key
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.levels import solve_levels
from moireio.spectrum.problems import EigenproblemSet

if TYPE_CHECKING:
    from moireio.blockfile.calculation import Calculation
    from moireio.results.kpath import KPath

TOLERANCE = 1e-4  # Å


@dataclass(frozen=True, eq=False)
class PairErrors:
    """Errors of the blocks between two species.

    Parameters
    ----------
    species : (str, str)
        Names of the species of rows and columns.
    mean : float
        Mean of |ΔH| over all elements of all blocks, eV.
    means : (rows, columns) array
        Mean of |ΔH| over the pairs of atoms, for every pair of orbitals, eV.
    largest : float
        Largest single |ΔH|, eV.
    location : (int, int, tuple of three int)
        Atoms and cell of the block with the largest |ΔH|.
    blocks : int
        Number of blocks.
    """

    species: tuple[str, str]
    mean: float
    means: npt.NDArray[np.float64]
    largest: float
    location: tuple[int, int, tuple[int, int, int]]
    blocks: int

    @property
    def largest_mean(self) -> float:
        """Maximum over pairs of orbitals of the mean over pairs of atoms, eV.

        Papers call it the maximum.
        """
        return float(self.means.max())


@dataclass(frozen=True, eq=False)
class BandErrors:
    """Errors of the bands next to the gap.

    Parameters
    ----------
    below, above : (count,) arrays
        Mean |ΔE| over the path, eV, beginning at the gap.
    """

    below: npt.NDArray[np.float64]
    above: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Errors of a Hamiltonian A against a reference B.

    Parameters
    ----------
    mu : float
        Common shift of the energies that was removed, eV: ΔH = H_A − H_B − μS.
    pairs : list of PairErrors
        Errors by pair of species.
    onsite : float
        Mean of |ΔH| over the on-site blocks alone, eV.
    unmatched : (int, int)
        Numbers of pairs that only A, only B has; they are not compared.
    """

    mu: float
    pairs: list[PairErrors]
    onsite: float
    unmatched: tuple[int, int]

    @property
    def mean(self) -> float:
        """Mean of |ΔH| over all elements, eV."""
        weights = [p.blocks * p.means.size for p in self.pairs]
        return float(np.average([p.mean for p in self.pairs], weights=weights))


def compare(first: "Calculation", second: "Calculation", channel: int | None = None) -> Comparison:
    """Compare two Hamiltonians of one structure, over all directed pairs with the on-site ones.

    Parameters
    ----------
    first, second : Calculation
        A, and the reference B, with full storage. The overlap of B (or else that of A) fixes the
        common shift of the energies. Without either there is no shift.
    channel : {0, 1}, optional
        Spin up or down, of collinear spin; the shift is that of both spins together.

    Returns
    -------
    Comparison
        |ΔH| is the complex modulus.

    Raises
    ------
    MoireioError
        If structures, orbitals or spin differ, or collinear spin is compared without `channel`.
    """
    _check(first, second)
    collinear = first.hamiltonian.meta.components == 2
    if collinear is not (channel is not None):
        raise MoireioError(
            "collinear Hamiltonians are compared spin by spin, others as a whole", path=first.label
        )
    A, B = first.hamiltonian, second.hamiltonian
    S = second.overlap if second.overlap is not None else first.overlap
    i = B.pairs.i
    place = A.pairs.find(i, B.pairs.j, B.pairs.R)
    both = np.flatnonzero(place >= 0)
    unmatched = len(A.pairs) - len(both), len(B.pairs) - len(both)
    overlap = None
    if S is not None:
        overlap = S.pairs.find(i, B.pairs.j, B.pairs.R)
        if (overlap[both] < 0).any():
            raise MoireioError("its overlap lacks pairs of the Hamiltonian", path=second.label)
    bounds = slab_bounds(row_bytes(B))
    sums = np.zeros(2)
    for group in _runs(both, i, bounds) if S is not None else ():
        a, b, s, _ = _load(A, B, S, place, overlap, group)
        sums += [(np.conj(s) * (a - b)).real.sum(), A.meta.components * (s * s).sum()]
    mu = float(sums[0] / sums[1]) if sums[1] else 0.0
    names, species = second.structure.species_names, second.structure.species
    totals: dict[tuple[int, int], tuple] = {}
    onsite, onsite_elements = 0.0, 0
    for group in _runs(both, i, bounds):
        a, b, s, offsets = _load(A, B, S, place, overlap, group)
        if channel is not None:
            a, b = a[channel], b[channel]
        errors = np.abs(a - b - (mu * s if s is not None else 0))
        is_onsite = (i[group] == B.pairs.j[group]) & ~B.pairs.R[group].any(axis=1)
        for shape, members in by_shape(B.sizes[i[group]], B.sizes[B.pairs.j[group]]):
            blocks = take_blocks(errors, offsets[:-1][members], shape)
            onsite_blocks = blocks[is_onsite[members]]
            onsite += float(onsite_blocks.sum())
            onsite_elements += int(onsite_blocks.size)
            codes = species[i[group[members]]], species[B.pairs.j[group[members]]]
            for pair in set(zip(*(c.tolist() for c in codes), strict=True)):
                chosen = (codes[0] == pair[0]) & (codes[1] == pair[1])
                _collect(totals, pair, blocks[chosen], group[members][chosen], B.pairs, i)
    rows = [
        PairErrors(
            (names[row], names[column]),
            float(total.mean() / count),
            total / count,
            largest,
            location,
            count,
        )
        for (row, column), (total, count, largest, location) in sorted(totals.items())
    ]
    return Comparison(mu, rows, onsite / max(1, onsite_elements), unmatched)


def _check(first, second):
    a, b = first.structure, second.structure
    if len(a) != len(b) or (a.numbers != b.numbers).any():
        raise MoireioError(f"does not have the atoms of {second.label}", path=first.label)
    if max(np.abs(a.cell - b.cell).max(), np.abs(a.positions - b.positions).max()) > TOLERANCE:
        raise MoireioError(
            f"its cell or positions differ from those of {second.label}",
            path=first.label,
            remedy="a comparison needs the same structure, atom by atom",
        )
    A, B = first.hamiltonian, second.hamiltonian
    if A.meta.spin != B.meta.spin:
        raise MoireioError(
            f"has spin {A.meta.spin}, {second.label} has {B.meta.spin}",
            path=first.label,
            remedy="a comparison needs the same kind of spin",
        )
    if (A.sizes != B.sizes).any():
        raise MoireioError(f"has other orbitals than {second.label}", path=first.label)


def _runs(both, i, bounds):
    """Yield the compared pairs of each run of atom rows."""
    for i0, i1 in bounds:
        group = both[(i[both] >= i0) & (i[both] < i1)]
        if len(group):
            yield group


def _load(A, B, S, place, overlap, group):
    a, _ = read_pairs(A, place[group])
    b, offsets = read_pairs(B, group)
    if S is None:
        return a, b, None, offsets
    s, at = read_pairs(S, overlap[group])
    if B.meta.spin_factor == 2:
        s = _both_spins(s, at, B, group, offsets)
    return a, b, s, offsets


def _both_spins(s, at, B, group, offsets):
    """Return spinless blocks repeated for both spins."""
    out = np.zeros(offsets[-1])
    i = B.pairs.i[group]
    for p in range(len(group)):
        rows, columns = B.sizes[i[p]] // 2, B.sizes[B.pairs.j[group[p]]] // 2
        block = s[at[p] : at[p + 1]].reshape(rows, columns)
        out[offsets[p] : offsets[p + 1]] = np.kron(np.eye(2), block).ravel()
    return out


def _collect(totals, pair, blocks, numbers, pairs, i):
    """Add the errors of some blocks to the totals of their pair of species."""
    total, count, largest, location = totals.get(pair, (0.0, 0, -1.0, None))
    peak = blocks.max(axis=(1, 2))
    worst = int(peak.argmax())
    if peak[worst] > largest:
        n = int(numbers[worst])
        largest = float(peak[worst])
        location = int(i[n]), int(pairs.j[n]), tuple(int(v) for v in pairs.R[n])
    totals[pair] = total + blocks.sum(axis=0), count + len(blocks), largest, location


def compare_bands(
    first: "Calculation",
    second: "Calculation",
    path: "KPath",
    count: int,
    mu: float = 0.0,
    *,
    solver: SolverChoice | None = None,
    checkpoint: str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    note: Callable[[str], object] | None = None,
) -> BandErrors:
    """Compare the bands of two Hamiltonians next to the gap.

    Parameters
    ----------
    first, second : Calculation
        A, and the reference B, with full storage. The overlap of B (or else that of A) serves
        both, and the electrons of B are counted.
    path : KPath
        k points.
    count : int
        How many bands below and how many above the gap.
    mu : float
        Subtracted from the energies of A, eV.
    solver : SolverChoice, optional
        How to solve.
    checkpoint : str, optional
        File that keeps finished k points during the run; it is removed at the end.
    resume : bool
        Continue from the file of an interrupted run.
    progress : Progress, optional
        Steps are k points of either Hamiltonian.
    note : callable, optional
        Called with each remark, a line of text: what the solver left out, or found to endanger
        the result.

    Returns
    -------
    BandErrors
        Mean |ΔE| of every band.

    Raises
    ------
    MoireioError
        If S is missing or not positive definite, the number of electrons is unknown, or memory
        does not suffice, or spins are collinear.
    """
    if second.hamiltonian.meta.components > 1:
        raise MoireioError(
            "bands of collinear Hamiltonians are not compared",
            path=second.label,
            remedy="leave out `bands`",
        )
    spinor = second.hamiltonian.meta.spin == "spinor"
    sums = [BlochSum.from_source(c.hamiltonian) for c in (first, second)]
    solver = solver or SolverChoice()
    overlap = _bloch_overlap(first, second, spinor)

    def key():
        return {
            "inputs": [_digest(calculation) for calculation in (first, second)],
            "k": path.k.tolist(),
            "bands": count,
            "solver": solver_key(solver),
        }

    with (
        naming(second.label),
        checkpointed(checkpoint, key, resume) as kept,
        # A and B stand where the spin channels of one Hamiltonian would
        EigenproblemSet(
            sums, overlap, path.k, solver, 2 * count, structure=second.structure
        ) as problems,
    ):
        occupied = _occupied(second, spinor, problems)
        band_range = occupied - count, occupied + count - 1
        energies = np.zeros((2, len(path), 0))
        if band_range[0] >= 0 and band_range[1] < problems.shape[2]:
            energies, _ = solve_levels(problems, band_range, checkpoint=kept, progress=progress)
        if energies.shape[2] < 2 * count:
            raise MoireioError(f"there are not {count} bands on both sides of the gap")
        for line in problems.notes() if note else ():
            note(line)
    mean = np.abs(energies[0] - mu - energies[1]).mean(axis=0)
    return BandErrors(mean[:count][::-1], mean[count:])


def _digest(calculation):
    """Return the digest that identifies a calculation in the checkpoint of a run."""
    return calculation.digest([n for n in ("hamiltonian", "overlap") if n in calculation.operators])


def _bloch_overlap(first, second, spinor):
    """Return S(k) of B, or else of A; None where the basis is orthogonal."""
    S = second.overlap if second.overlap is not None else first.overlap
    if S is not None:
        return BlochSum.from_source(S, spinor=spinor)
    if second.basis.orthogonal:
        return None
    raise MoireioError(
        "has no /overlap",
        path=second.label,
        remedy=ADDED_BY["overlap"],
    )


def _occupied(second, spinor, problems):
    """Return how many bands of B are occupied."""
    electrons = second.basis.valence(second.structure)
    if electrons is not None:
        return round(electrons) if spinor else round(electrons / 2)
    fermi = second.electrons.fermi if second.electrons is not None else None
    if fermi is None:
        raise MoireioError(
            "neither the number of electrons nor the Fermi level is known", path=second.label
        )
    return problems.count_below(1, 0, fermi)


def twist_angle(*calculations: "Calculation") -> float | None:
    """Return the twist angle in the file of a calculation.

    Parameters
    ----------
    *calculations : Calculation
        Calculations of the same structure.

    Returns
    -------
    float or None
        Largest difference of two layers' angles, degrees; None if no file has them.
    """
    for calculation in calculations:
        if calculation.moire is not None:
            angles = [layer.angle for layer in calculation.moire.layers]
            return float(max(angles) - min(angles))
    return None
