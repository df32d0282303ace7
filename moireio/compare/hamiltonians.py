"""Two Hamiltonians of one structure: how far apart they are."""

from dataclasses import dataclass, field

import numpy as np

from moireio.errors import MoireioError
from moireio.operators.bloch import BlochSum
from moireio.operators.blocks import by_shape, read_pairs, row_bytes, slab_bounds, take_blocks
from moireio.spectrum.levels import solve_levels
from moireio.spectrum.problems import EigenproblemSet, SolverChoice

TOLERANCE = 1e-4


@dataclass(eq=False)
class PairErrors:
    """Errors between two species, in the order first – second.

    Parameters
    ----------
    one, two : str
        The species.
    mean : float
        Mean of |ΔH| over all elements of all blocks, eV.
    by_orbitals : (rows, columns) array
        Mean over blocks for every element, eV.
    largest : float
        The largest single |ΔH|, eV.
    where : (int, int, tuple)
        Atoms and cell of that block.
    blocks : int
        How many.
    """

    one: str
    two: str
    mean: float
    by_orbitals: np.ndarray
    largest: float
    where: tuple
    blocks: int

    @property
    def worst_orbitals(self):
        """Largest of the means over blocks, eV: what papers call the maximum."""
        return float(self.by_orbitals.max())


@dataclass(eq=False)
class Comparison:
    """Errors of a Hamiltonian.

    Parameters
    ----------
    mu : float
        The energies of the first lie so much higher: ΔH = H_A − H_B − μS, eV.
    pairs : list of PairErrors
        By pair of species.
    onsite : float
        Mean of |ΔH| over the on-site blocks alone, eV.
    only : (int, int)
        Pairs that only one of the two has; they are not compared.
    bands : dict
        Mean |ΔE| of bands below and above the gap, eV, if they were compared.
    """

    mu: float
    pairs: list
    onsite: float
    only: tuple
    bands: dict = field(default_factory=dict)

    @property
    def mean(self):
        """Mean of |ΔH| over all elements, eV."""
        weights = [p.blocks * p.by_orbitals.size for p in self.pairs]
        return float(np.average([p.mean for p in self.pairs], weights=weights))


def compare(first, second):
    """Compare two Hamiltonians of one structure, over all directed pairs with the on-site ones.

    Parameters
    ----------
    first, second : Calculation
        With full storage; the second is the reference, and its overlap (or else the first's)
        fixes what a common shift of the energies is. Without either there is no shift.

    Returns
    -------
    Comparison
        |ΔH| is the complex modulus.

    Raises
    ------
    MoireioError
        If structures, orbitals or spin differ.
    """
    _check(first, second)
    A, B = first.hamiltonian, second.hamiltonian
    S = second.overlap if second.overlap is not None else first.overlap
    i = B.pairs.i
    place = A.pairs.find(i, B.pairs.j, B.pairs.R)
    both = np.flatnonzero(place >= 0)
    only = len(A.pairs) - len(both), len(B.pairs) - len(both)
    overlap = None
    if S is not None:
        overlap = S.pairs.find(i, B.pairs.j, B.pairs.R)
        if (overlap[both] < 0).any():
            raise MoireioError("its overlap lacks pairs of the Hamiltonian", path=second.label)
    bounds = slab_bounds(row_bytes(B))
    sums = np.zeros(2)
    for group in _runs(both, i, bounds) if S is not None else ():
        a, b, s, _ = _load(A, B, S, place, overlap, group)
        sums += [(np.conj(s) * (a - b)).real.sum(), (s * s).sum()]
    mu = float(sums[0] / sums[1]) if sums[1] else 0.0
    names, species = second.structure.species_names, second.structure.species
    found, onsite = {}, [0.0, 0]
    for group in _runs(both, i, bounds):
        a, b, s, offsets = _load(A, B, S, place, overlap, group)
        gap = np.abs(a - b - (mu * s if s is not None else 0))
        own = (i[group] == B.pairs.j[group]) & ~B.pairs.R[group].any(axis=1)
        for shape, members in by_shape(B.sizes[i[group]], B.sizes[B.pairs.j[group]]):
            blocks = take_blocks(gap, offsets[:-1][members], shape)
            site = own[members]
            onsite[0] += float(blocks[site].sum())
            onsite[1] += int(blocks[site].size)
            code = species[i[group[members]]], species[B.pairs.j[group[members]]]
            for pair in set(zip(*(c.tolist() for c in code), strict=True)):
                mine = (code[0] == pair[0]) & (code[1] == pair[1])
                _collect(found, pair, blocks[mine], group[members][mine], B.pairs, i)
    rows = [
        PairErrors(
            names[one],
            names[two],
            float(total.mean() / count),
            total / count,
            largest,
            where,
            count,
        )
        for (one, two), (total, count, largest, where) in sorted(found.items())
    ]
    return Comparison(mu, rows, onsite[0] / max(1, onsite[1]), only)


def _check(first, second):
    one, two = first.structure, second.structure
    if len(one) != len(two) or (one.numbers != two.numbers).any():
        raise MoireioError(f"has not the atoms of {second.label}", path=first.label)
    if max(np.abs(one.cell - two.cell).max(), np.abs(one.positions - two.positions).max()) > (
        TOLERANCE
    ):
        raise MoireioError(
            f"its cell or positions differ from those of {second.label}",
            path=first.label,
            remedy="a comparison needs the same structure, atom by atom",
        )
    A, B = first.hamiltonian, second.hamiltonian
    if A.meta.spin != B.meta.spin or A.meta.components > 1:
        raise MoireioError(
            f"has spin {A.meta.spin}, {second.label} has {B.meta.spin}",
            path=first.label,
            remedy="collinear Hamiltonians are not compared",
        )
    if (A.sizes != B.sizes).any():
        raise MoireioError(f"has other orbitals than {second.label}", path=first.label)


def _runs(both, i, bounds):
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


def _collect(found, pair, blocks, numbers, pairs, i):
    total, count, largest, where = found.get(pair, (0.0, 0, -1.0, None))
    peak = blocks.max(axis=(1, 2))
    worst = int(peak.argmax())
    if peak[worst] > largest:
        n = int(numbers[worst])
        largest = float(peak[worst])
        where = int(i[n]), int(pairs.j[n]), tuple(int(v) for v in pairs.R[n])
    found[pair] = total + blocks.sum(axis=0), count + len(blocks), largest, where


def compare_bands(
    first, second, path, count, mu=0.0, *, solver=None, checkpoint=None, progress=None, note=None
):
    """Compare the bands of two Hamiltonians next to the gap.

    Parameters
    ----------
    first, second : Calculation
        With full storage; the second is the reference, and tells the number of electrons; its
        overlap serves both.
    path : KPath
        k points.
    count : int
        How many bands below and how many above the gap.
    mu : float
        Subtracted from the energies of the first, eV.
    solver : SolverChoice, optional
        How to solve.
    checkpoint : Checkpoint, optional
        Keeps what is finished, and has what an interrupted run finished.
    progress : Progress, optional
        Steps are k points of either Hamiltonian.
    note : callable, optional
        Called with each remark, a line of text.

    Returns
    -------
    below, above : (count,) arrays
        Mean |ΔE| over the path, eV, from the gap away.
    energies : tuple of two (nk, 2·count) arrays
        Those of both, eV.

    Raises
    ------
    MoireioError
        If S is missing or not positive definite, what is filled is unknown, or memory does not
        suffice.
    """
    spinor = second.hamiltonian.meta.spin == "spinor"
    sums = [BlochSum.from_source(c.hamiltonian) for c in (first, second)]
    solver = solver or SolverChoice()
    # the two Hamiltonians stand where the spin channels of one would
    problems = EigenproblemSet(sums, _overlap(first, second, spinor), path.k, solver, 2 * count)
    try:
        filled = _occupied(second, spinor, problems)
        bands = filled - count, filled + count - 1
        if bands[0] < 0 or bands[1] >= sums[0].n_orbitals:
            raise MoireioError(f"there are not {count} bands on both sides of the gap")
        energies, _ = solve_levels(problems, bands, checkpoint=checkpoint, progress=progress)
        for line in problems.notes() if note else ():
            note(line)
    finally:
        problems.close()
    if energies.shape[2] < 2 * count:
        raise MoireioError(f"there are not {count} bands on both sides of the gap")
    a, b = energies[0] - mu, energies[1]
    mean = np.abs(a - b).mean(axis=0)
    return mean[:count][::-1], mean[count:], (a, b)


def _overlap(first, second, spinor):
    """Return S(k) of the reference, or else of the other; None where the basis is orthogonal."""
    S = second.overlap if second.overlap is not None else first.overlap
    if S is None:
        if second.basis.orthogonal:
            return None
        raise MoireioError(
            "has no /overlap",
            path=second.label,
            remedy="a command that writes it comes earlier in the pipeline",
        )
    return BlochSum.from_source(S, spinor=spinor)


def _occupied(second, spinor, problems):
    electrons = second.basis.valence(second.structure)
    if electrons is not None:
        return round(electrons) if spinor else round(electrons / 2)
    fermi = second.electrons.fermi if second.electrons is not None else None
    if fermi is None:
        raise MoireioError(
            "neither the number of electrons nor the Fermi level is known", path=second.label
        )
    return problems.count_below(1, 0, fermi)


def twist_angle(*calculations):
    """Return the twist angle that a calculation's file tells.

    Parameters
    ----------
    *calculations : Calculation
        Of the same structure.

    Returns
    -------
    float or None
        Largest difference of two layers' angles, degrees; None if no file tells.
    """
    for calculation in calculations:
        if calculation.moire is not None:
            angles = [layer.angle for layer in calculation.moire.layers]
            return float(max(angles) - min(angles))
    return None
