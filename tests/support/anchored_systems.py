"""Systems small enough for LAPACK whose levels are found from anchors, and the comparison."""

from dataclasses import dataclass
from unittest import mock

import numpy as np
from scipy.linalg import eigh

from moireio.operators.bloch import BlochSum
from moireio.spectrum.anchors import driver
from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.driver import Use, anchored_levels
from moireio.spectrum.anchors.factors import AnchorFactors
from moireio.spectrum.anchors.settings import Anchoring
from moireio.system.structure import Structure

ROUNDING = 2e-10  # eV: errors of LAPACK, and of small matrices by interpolation


def carbon(cell, positions, pbc=(True, True, False)):
    """A structure of carbon atoms only."""
    count = len(positions)
    return Structure(cell, positions, [6] * count, [0] * count, ["C"], pbc)


def sum_of(sizes, blocks):
    """The Bloch sum of all blocks, by (i, j, R)."""
    keys = sorted(blocks)
    return BlochSum(
        sizes,
        np.array([key[0] for key in keys]),
        np.array([key[1] for key in keys]),
        np.array([key[2] for key in keys]),
        np.concatenate([np.ravel(blocks[key]) for key in keys]),
        parity=0,
    )


def blocks_of(total):
    """All blocks of a Bloch sum, by (i, j, R)."""
    width = np.diff(total.atom_start)
    found = {}
    for row, column, cells, values in total.all_blocks():
        for r, c, cell, block in zip(row, column, cells, values, strict=True):
            i = int(np.searchsorted(total.atom_start, r, side="right") - 1)
            j = int(np.searchsorted(total.atom_start, c, side="right") - 1)
            whole = found.setdefault(
                (i, j, tuple(cell.tolist())), np.zeros((width[i], width[j]), values.dtype)
            )
            a, b = r - total.atom_start[i], c - total.atom_start[j]
            whole[a : a + block.shape[0], b : b + block.shape[1]] += block
    return found


def supercell(structure, repeats, *operators):
    """A supercell of a structure and its operators (None stays None)."""
    repeats = np.asarray(repeats)
    cells = np.stack(np.meshgrid(*[np.arange(n) for n in repeats], indexing="ij"), -1)
    cells = cells.reshape(-1, 3)
    count = len(structure)
    positions = np.concatenate([structure.positions + cell @ structure.cell for cell in cells])
    whole = Structure(
        structure.cell * repeats[:, None],
        positions,
        np.tile(structure.numbers, len(cells)),
        np.tile(structure.species, len(cells)),
        structure.species_names,
        structure.pbc,
    )
    number = {tuple(cell): n for n, cell in enumerate(cells.tolist())}
    sums = []
    for operator in operators:
        if operator is None:
            sums.append(None)
            continue
        blocks = {}
        for (i, j, R), block in blocks_of(operator).items():
            for n, cell in enumerate(cells):
                outer, inner = np.divmod(cell + np.array(R), repeats)
                key = n * count + i, number[tuple(inner.tolist())] * count + j
                blocks[(*key, tuple(outer.tolist()))] = block
        sums.append(sum_of(np.tile(np.diff(operator.atom_start), len(cells)), blocks))
    return whole, *sums


def line(corners, points):
    """k points along straight lines, the corners once."""
    corners = np.asarray(corners, dtype=float)
    pieces = [
        a + np.arange(n)[:, None] / n * (b - a)
        for a, b, n in zip(corners[:-1], corners[1:], points, strict=True)
    ]
    return np.concatenate([*pieces, corners[-1:]])


@dataclass
class Found:
    """Levels from anchors beside those of LAPACK."""

    energies: np.ndarray
    exact: np.ndarray
    bounds: np.ndarray
    accuracy: object
    states: dict
    direct: set

    @property
    def errors(self):
        return np.abs(self.energies - self.exact)

    @property
    def ratio(self):
        """The largest error as a multiple of its bound."""
        return float((self.errors / (self.bounds + ROUNDING)).max())


class Exact:
    """LAPACK's levels and states of H and S."""

    def __init__(self, hamiltonian, overlap):
        self.hamiltonian, self.overlap, self.known = hamiltonian, overlap, {}

    def pairs(self, k):
        key = tuple(np.asarray(k).tolist())
        if key not in self.known:
            s = None if self.overlap is None else self.overlap.dense(k)
            self.known[key] = eigh(self.hamiltonian.dense(k), s)
        return self.known[key]


def solve_from_anchors(
    structure,
    hamiltonian,
    overlap,
    k,
    band_range,
    *,
    tolerance=1e-5,
    anchors=(),
    states=False,
    exact=None,
    corrected=True,
    **options,
):
    """Solve by `anchored_levels`, with LAPACK at the anchors and as the reference.

    With `corrected` the factors of anchors are kept, matrices with errors of some 1e-3, and levels
    may be counted.
    """
    exact = exact or Exact(hamiltonian, overlap)
    first, last = band_range
    solved, inverse = [], []

    def respond(vectors):
        return inverse[0] @ vectors if inverse else None

    def keep():
        own = inverse[0]
        return lambda vectors: own @ vectors, 0.0

    def solve(point, wider, use):
        solved.append(point)
        energies, vectors = exact.pairs(k[point])
        if corrected and use is Use.ANCHOR:
            middle = 0.5 * (energies[first] + energies[last]) + 1.7e-3
            h, s = (
                m.dense(k[point]) if m else np.eye(len(vectors)) for m in (hamiltonian, overlap)
            )
            inverse[:] = [np.linalg.inv(h - middle * s)]
            inverse[0] *= 1 + 1e-3 * np.cos(np.arange(len(vectors)))
        part = slice(wider[0], wider[1] + 1)
        vectors = vectors[:, :0] if use is Use.LEVELS else vectors[:, part]
        return Anchor(k[point], energies[part], vectors, wider[0])

    def count(point, energy):
        return int((exact.pairs(k[point])[0] < energy).sum())

    if corrected:
        options.setdefault("quick_count", count)
    reference = np.array([exact.pairs(point)[0][first : last + 1] for point in k])
    energies = np.full(reference.shape, np.nan)
    kept = {}
    settings = Anchoring(tolerance=tolerance, anchors={0: list(anchors)})
    found = anchored_levels(
        hamiltonian,
        overlap,
        structure,
        k,
        band_range,
        solve,
        settings,
        states=states,
        factors=AnchorFactors(respond, keep, inverse.clear),
        **options,
    )
    seen = []
    with mock.patch.object(driver, "CORRECTED", 0 if corrected else np.inf):
        for point, levels, vectors, accuracy in found:  # noqa: B007
            energies[point] = levels
            seen.append(point)
            kept[point] = vectors
    assert sorted(seen) == list(range(len(k)))
    return Found(energies, reference, accuracy.bounds, accuracy, kept, set(solved))


def bilayer():
    """Graphene in AB stacking, one orbital an atom, with an S."""
    cell = np.array([[2.46, 0, 0], [1.23, 2.46 * np.sqrt(0.75), 0], [0, 0, 25]])
    positions = np.array([[1, 1, 0], [2, 2, 0], [2, 2, 0], [3, 3, 0]]) / 3 @ cell
    positions[2:, 2] = 3.35
    structure = carbon(cell, positions)
    hopping, overlap = {}, {}
    for R in np.ndindex(5, 5):
        R = (R[0] - 2, R[1] - 2, 0)
        vectors = positions[None] + np.array(R) @ cell - positions[:, None]
        length = np.linalg.norm(vectors, axis=-1)
        for i, j in np.argwhere(length < 4.0).tolist():
            r = length[i, j]
            own = r < 1e-6
            along = 0.0 if own else (vectors[i, j, 2] / r) ** 2
            value = -2.7 * np.exp(-(r - 1.42) / 0.453) * (1 - along)
            value += 0.48 * np.exp(-(r - 3.35) / 0.453) * along
            hopping[i, j, R] = np.full((1, 1), 0.0 if own else value)
            overlap[i, j, R] = np.full((1, 1), 1.0 if own else -0.02 * value)
    return structure, sum_of([1] * 4, hopping), sum_of([1] * 4, overlap)


GMKG = line([[0, 0, 0], [0.5, 0, 0], [2 / 3, 1 / 3, 0], [0, 0, 0]], [10, 7, 13])
