"""Levels that errors of a predicted H put where no level is.

The orbitals are nearly linearly dependent: there are combinations c with c†Sc = 1 whose
coefficients are large, |c|² up to 1/(smallest eigenvalue of S). Their true levels lie tens or
hundreds of eV above the gap. Independent errors ε of the elements move a level by about ε |c|²
(first order), so that such combinations fall into the spectrum, or below it, where H is a little
wrong. States that belong there have |c|² of order one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, eigh

from moireio.errors import MoireioError
from moireio.operators.bloch import BlochSum
from moireio.operators.blocks import OperatorSource, block_offsets, read_pairs
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure

LARGE = 10.0  # |c|² that no true state near the gap or below it has
ABOVE = 3.0  # eV above the Fermi level, up to where |c|² is looked at
DENSE = 1500  # orbitals up to which the whole cell is solved
CLUSTER = 40  # atoms
CLUSTERS = 6
NAMED = 4  # atoms that are named
SHOWN = 4  # levels that are named


# Energy from the Fermi level (eV), |c|², k point (None in a cluster)
Level = tuple[float, float, tuple[float, ...] | None]


@dataclass(frozen=True)
class Ghost:
    """Levels of some atoms that should not be there.

    Parameters
    ----------
    atoms : tuple of int
        Where the states are.
    levels : list of (float, float, tuple of float or None)
        Energies from the Fermi level, eV, the highest occupied first; |c|² of the states; their
        k points, None in a cluster of atoms.
    """

    atoms: tuple[int, ...]
    levels: list[Level]

    def __str__(self) -> str:
        """Return a line for the user."""
        shown = self.levels if len(self.levels) <= SHOWN else [*self.levels[: SHOWN - 1], None]
        texts = []
        for level in shown:
            energy, _, k = level or self.levels[-1]
            place = "" if k is None else f" (k = {' '.join(f'{x:.3g}' for x in k)})"
            texts.append(("" if level else "… ") + f"{energy:+.2f} eV{place}")
        atoms = ", ".join(map(str, self.atoms))
        largest = max(weight for _, weight, _ in self.levels)
        return f"level at {', '.join(texts)} on atoms {atoms}, |c|² up to {largest:.0f}"


def find_ghosts(
    hamiltonian: OperatorSource,
    overlap: OperatorSource,
    structure: Structure,
    electrons: float,
    suspects: npt.NDArray[np.integer],
) -> list[Ghost]:
    """Look for levels that errors of H have put into the spectrum.

    Parameters
    ----------
    hamiltonian, overlap : OperatorSource
        H and S, stored full.
    structure : Structure
        The atoms.
    electrons : float
        Valence electrons of the cell.
    suspects : array of int
        Atoms, the most suspect first, as by their expected errors. Of cells with more than 1500
        orbitals only the surroundings of the first few are solved, as free clusters.

    Returns
    -------
    list of Ghost
        One for every group of atoms, in the order of their first levels.

    Raises
    ------
    MoireioError
        If S is not positive definite.
    """
    factor = hamiltonian.meta.spin_factor
    share = electrons * factor / 2
    if int(hamiltonian.sizes.sum()) <= DENSE:
        owner = np.repeat(np.arange(len(structure)), hamiltonian.sizes)
        H = BlochSum.from_source(hamiltonian)
        S = BlochSum.from_source(overlap, spinor=factor == 2)
        spectra = [
            _solve(H.dense(k, upper=True), S.dense(k, upper=True), round(share), k)
            for k in _points(structure)
        ]
        groups = [(spectra, owner)]
    else:
        groups = []
        for atoms, *matrices in _clusters(hamiltonian, overlap, structure, suspects):
            occupied = round(share * len(atoms) / len(structure))
            owner = np.repeat(atoms, hamiltonian.sizes[atoms])
            groups.append(([_solve(matrices[0], matrices[1], occupied, None)], owner))
    found: dict[tuple[int, ...], list[Level]] = {}
    for spectra, owner in groups:
        fermi = _filled(spectra)
        for spectrum in spectra:
            for n in np.flatnonzero(spectrum.large & (spectrum.levels < fermi + ABOVE)):
                weights = spectrum.weights[:, n]
                level = float(spectrum.levels[n] - fermi), float(weights.sum()), spectrum.k
                found.setdefault(_heaviest(weights, owner), []).append(level)
    ghosts = [Ghost(atoms, sorted(levels, key=_order)) for atoms, levels in found.items()]
    return sorted(ghosts, key=lambda ghost: _order(ghost.levels[0]))


def _order(level: Level) -> tuple[bool, float]:
    """Return a key that puts occupied levels first, the highest at the beginning."""
    return level[0] > 0, -level[0]


@dataclass(frozen=True, eq=False)
class _Spectrum:
    """Levels with |c|² of every orbital; which of them are suspect; how many are occupied."""

    levels: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    large: npt.NDArray[np.bool_]
    occupied: int
    k: tuple[float, ...] | None


def _heaviest(weights: npt.NDArray[np.float64], owner: npt.NDArray[np.int64]) -> tuple[int, ...]:
    """Return the atoms with most of a state."""
    by_atom = np.bincount(owner, weights)
    order = np.argsort(-by_atom, kind="stable")[:NAMED]
    return tuple(sorted(order[by_atom[order] > 0.1 * by_atom.max()].tolist()))


def _points(structure: Structure) -> Iterator[tuple[float, ...]]:
    """Yield Γ, M, K and some points between, one of k and −k."""
    periodic = structure.pbc
    steps = 4 if periodic.sum() < 3 else 2
    seen = set()
    for numbers in product(*(range(steps if p else 1) for p in periodic)):
        if tuple(-n % steps for n in numbers) not in seen:
            seen.add(numbers)
            yield tuple(n / steps for n in numbers)
    if periodic[0] and periodic[1]:
        yield from ((1 / 3, 1 / 3, 0.0), (1 / 3, -1 / 3, 0.0))


def _solve(H: npt.NDArray, S: npt.NDArray, occupied: int, k: tuple[float, ...] | None) -> _Spectrum:
    """Return the occupied levels and a few above; the upper triangles are read."""
    last = min(len(H), occupied + 8) - 1
    try:
        levels, states = eigh(H, S, lower=False, subset_by_index=(0, last))
    except LinAlgError:
        raise MoireioError(
            "/overlap is not positive definite", remedy="h5-validate says more"
        ) from None
    weights = np.abs(states) ** 2
    large = weights.sum(axis=0) > LARGE
    return _Spectrum(levels, weights, large, occupied, k)


def _filled(spectra: list[_Spectrum]) -> float:
    """Return up to which energy the levels that are no ghosts are filled."""
    kept, count = [], 0
    for clean in (True, False):
        for spectrum in spectra:
            right = spectrum.levels[~spectrum.large]
            own = right[: spectrum.occupied].max(initial=-np.inf)
            # where a ghost mixes with other states, the occupied ones are uncertain
            if not clean or not (spectrum.large & (spectrum.levels < own + ABOVE)).any():
                kept.append(right)
                count += spectrum.occupied
        if kept:
            break
    levels = np.sort(np.concatenate(kept))
    if len(levels) == 0:  # nothing but ghosts
        return float(np.median(np.concatenate([spectrum.levels for spectrum in spectra])))
    return float(levels[min(max(count, 1), len(levels)) - 1])


def _clusters(
    hamiltonian: OperatorSource,
    overlap: OperatorSource,
    structure: Structure,
    suspects: npt.NDArray[np.integer],
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray, npt.NDArray]]:
    """Yield atoms, H and S of the surroundings of the first suspects, none twice."""
    pairs, covered, count = hamiltonian.pairs, set(), 0
    for centre in suspects.tolist():
        if count == CLUSTERS:
            return
        if centre in covered:
            continue
        span = pairs.rows(centre, centre + 1)
        j, R = pairs.j[span].astype(np.int64), pairs.R[span].astype(np.int64)
        vectors = structure.positions[j] + R @ structure.cell - structure.positions[centre]
        near = np.argsort(np.linalg.norm(vectors, axis=1), kind="stable")[:CLUSTER]
        atoms, cells = j[near], R[near]
        covered.update(atoms[: CLUSTER // 4].tolist())
        count += 1
        H = _matrix(hamiltonian, hamiltonian.pairs, atoms, cells)
        S = _matrix(overlap, overlap.pairs, atoms, cells)
        if hamiltonian.meta.spin_factor == 2:
            S = _both_spins(S, overlap.sizes[atoms])
        yield atoms, H, S


def _matrix(
    source: OperatorSource,
    pairs: Pairs,
    atoms: npt.NDArray[np.int64],
    cells: npt.NDArray[np.int64],
) -> npt.NDArray:
    """Return the matrix of a free cluster."""
    n = len(atoms)
    one, two = np.divmod(np.arange(n * n), n)
    place = pairs.find(atoms[one], atoms[two], cells[two] - cells[one])
    one, two, place = (v[place >= 0] for v in (one, two, place))
    data, offsets = read_pairs(source, place)
    begin = block_offsets(source.sizes[atoms])
    out = np.zeros((begin[-1], begin[-1]), dtype=np.result_type(data, np.float64))
    for p, (a, b) in enumerate(zip(one, two, strict=True)):
        rows, columns = slice(begin[a], begin[a + 1]), slice(begin[b], begin[b + 1])
        shape = begin[a + 1] - begin[a], begin[b + 1] - begin[b]
        out[rows, columns] = data[offsets[p] : offsets[p + 1]].reshape(shape)
    return out


def _both_spins(S: npt.NDArray, sizes: npt.NDArray[np.int64]) -> npt.NDArray:
    """Return a spinless matrix for both spins, spin slow within every atom."""
    begin = block_offsets(sizes)
    place: list[int] = []
    spin: list[int] = []
    for a, size in enumerate(sizes.tolist()):
        for s in range(2):
            place += range(int(begin[a]), int(begin[a]) + size)
            spin += [s] * size
    chosen, same = np.array(place), np.array(spin)[:, None] == np.array(spin)
    return S[np.ix_(chosen, chosen)] * same
