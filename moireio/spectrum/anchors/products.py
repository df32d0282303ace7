"""Products of H(k) and S(k) with many vectors, at the speed of dense matrix products.

Atoms that are close in space are treated together: their rows of H, with the columns of all atoms
that they reach, are a dense matrix, more than half full. The phases of k go to the vectors, so
that the matrices stay those of the blocks, real ones where H(R) is real.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.runtime.threads import blas_threads

if TYPE_CHECKING:
    from moireio.operators.bloch import BlochSum
    from moireio.system.structure import Structure

ROWS = 250  # of a cluster, about: with more of them matrices are emptier, with fewer too flat
TURNS = 500  # steps of the table of phases
COLUMNS = 96


@dataclass(frozen=True, eq=False)
class _Cluster:
    """Rows of some atoms.

    Parameters
    ----------
    rows : (r,) array of int
        Their indices in the whole matrix.
    columns : (c,) array of int
        Rows of the vectors that they need, those of the same cell first.
    cells : (c, 3) array of int
        The cell of each column.
    matrices : list of (r, c) array
        The rows of H, and those of S, each of the type of its blocks unless it was rounded.
    errors : list of float
        Norm of the row of H that was changed most by rounding, and of S; see `_largest_row`.
    """

    rows: npt.NDArray[np.integer]
    columns: npt.NDArray[np.integer]
    cells: npt.NDArray[np.integer]
    matrices: list[npt.NDArray]
    errors: list[float]

    @property
    def inside(self) -> int:
        """How many columns are in the same cell."""
        outside = np.flatnonzero(self.cells.any(axis=1))
        return int(outside[0]) if len(outside) else len(self.columns)


class BlochProducts:
    """Products of H and S with vectors in the gauge with positions.

    In this gauge the phase of a block (i, j, R) is e^{2πi k·(R + s_j − s_i)}, s the fractional
    position of an atom, so that matrices and states at k and k + G differ, and those at
    neighbouring k as little as possible.

    Parameters
    ----------
    hamiltonian : moireio.operators.bloch.BlochSum
        H.
    overlap : moireio.operators.bloch.BlochSum or None
        S; None where the basis is orthogonal.
    structure : Structure
        Positions of the atoms.
    threads : int
        Threads, each of which treats clusters of its own.
    rounded : bool
        Keep matrices in single precision: half of the memory.

    Attributes
    ----------
    places : (n, 3) array
        Fractional position of the atom of every orbital.
    kind : numpy dtype
        In which states and changes of states are to be kept.
    """

    def __init__(
        self,
        hamiltonian: "BlochSum",
        overlap: "BlochSum | None",
        structure: "Structure",
        threads: int = 1,
        rounded: bool = False,
    ) -> None:
        self.n_orbitals, self._threads = hamiltonian.n_orbitals, threads
        self.kind = np.dtype(np.complex64 if rounded else np.complex128)
        starts = hamiltonian.atom_start
        sizes = np.diff(starts)
        self._atom = np.repeat(np.arange(len(sizes)), sizes)
        fractional = structure.positions @ np.linalg.inv(structure.cell)
        self.places = fractional[self._atom]
        operators = [hamiltonian] if overlap is None else [hamiltonian, overlap]
        self.orthogonal = overlap is None
        self.is_real = all(operator.dtype.kind == "f" for operator in operators)
        self._given = operators, structure.positions, starts
        self._clusters = _make_clusters(*self._given, rounded)
        self._vectors, self._sizes = self._blocks(operators)

    def _blocks(
        self, operators: "list[BlochSum]"
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the fractional distances of the atoms of all blocks, and their norms."""
        vectors, sizes = [np.zeros((0, 3), np.float32)], [np.zeros(0, np.float32)]
        for operator in operators:
            for row, column, cells, blocks in operator.all_blocks():
                vectors.append((self.places[column] + cells - self.places[row]).astype("f4"))
                sizes.append(np.linalg.norm(blocks, axis=(1, 2)).astype("f4"))
        return np.concatenate(vectors), np.concatenate(sizes)

    @property
    def nbytes(self) -> int:
        """Bytes of the matrices."""
        return sum(m.nbytes for cluster in self._clusters for m in cluster.matrices)

    def restore(self) -> None:
        """Make matrices as precise as they were given, where they were rounded."""
        if self.kind == np.complex64:
            self.kind, self._clusters = np.dtype(np.complex128), []  # their memory first
            self._clusters = _make_clusters(*self._given, rounded=False)

    def rounding(self, energy: float) -> float:
        """Return about how far H − E S is from what was given, because it was rounded.

        Rounding errors of different elements are as independent of each other as the elements of a
        random matrix, whose norm is at most twice that of its largest row (Bandeira, van Handel,
        Ann. Probab. 44, 2479 (2016)). Those of equal elements, as of a shell of neighbours, are
        equal: their sum counts as one.

        Parameters
        ----------
        energy : float
            E, eV.

        Returns
        -------
        float
            Norm, eV; 0 where nothing was rounded.
        """
        errors = np.max([cluster.errors for cluster in self._clusters], axis=0)
        return float(2 * (errors @ [1.0, abs(energy)][: len(errors)]))

    def turns(
        self, direction: npt.ArrayLike
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return how phases move along a line in k space, and how large their blocks are.

        Parameters
        ----------
        direction : (3,) array
            Δk, fractional coordinates.

        Returns
        -------
        phases : (b,) array
            |2π Δk·(R + s_j − s_i)|, radians, ascending, rounded up.
        sizes : (b,) array
            Norms of the blocks of H and S with about that phase, eV (of S 1): the mean over atoms
            of their sums.
        """
        delta = 2 * np.pi * np.asarray(direction, dtype=float)
        phases = np.abs(self._vectors @ delta)
        edges = np.linspace(0, float(phases.max(initial=1e-9)), TURNS + 1)
        place = np.minimum(np.searchsorted(edges, phases), TURNS)
        sizes = np.bincount(place, self._sizes, TURNS + 1)
        return edges, sizes / (1 + int(self._atom[-1]))

    def phases(self, k: npt.ArrayLike) -> npt.NDArray[np.complex128]:
        """Return e^{2πi k·s} of every orbital.

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates.

        Returns
        -------
        (n,) array
            By which the cell-periodic part of a state is multiplied for its coefficients.
        """
        return np.exp(2j * np.pi * (self.places @ np.asarray(k, dtype=float)))

    def __call__(
        self, k: npt.ArrayLike, vectors: npt.NDArray, energy: float = 0.0, single: bool = False
    ) -> tuple[npt.NDArray[np.complexfloating], npt.NDArray[np.complexfloating]]:
        """Return (H(k) − energy S(k)) V and S(k) V in the gauge with positions.

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates.
        vectors : (n, m) array
            V, one in a column.
        energy : float
            eV.
        single : bool
            Multiply in single precision: half the time, errors of about 1e-5 eV in H V.

        Returns
        -------
        h, s : (n, m) arrays
            The products, H in eV.
        """
        kind = np.complex64 if single else np.complex128
        h = np.empty(vectors.shape, kind)
        s = vectors if self.orthogonal else np.empty(vectors.shape, kind)

        def put(cluster: _Cluster, part: slice, product: npt.NDArray) -> None:
            size = len(cluster.rows)
            below = vectors[cluster.rows, part] if self.orthogonal else product[size:]
            if not self.orthogonal:
                s[cluster.rows, part] = below
            h[cluster.rows, part] = product[:size] - energy * below

        self._multiply(k, vectors, put, single=single)
        return h, s

    def at(self, k: npt.ArrayLike) -> "ProductsAt":
        """Return the products at one k, in the phases of H(k).

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates.

        Returns
        -------
        ProductsAt
            For a solver.
        """
        return ProductsAt(self, k)

    def overlap(self, k: npt.ArrayLike, vectors: npt.NDArray) -> npt.NDArray[np.complexfloating]:
        """Return S(k) V in the gauge with positions.

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates.
        vectors : (n, m) array
            V, one in a column.

        Returns
        -------
        (n, m) array
            The product; that of vectors in single precision is in single precision.
        """
        if self.orthogonal:
            return vectors
        single = vectors.dtype == np.complex64
        s = np.empty(vectors.shape, vectors.dtype if single else np.complex128)

        def put(cluster: _Cluster, part: slice, product: npt.NDArray) -> None:
            s[cluster.rows, part] = product

        self._multiply(k, vectors, put, only_overlap=True, single=single)
        return s

    def _multiply(
        self,
        k: npt.ArrayLike,
        vectors: npt.NDArray,
        put: Callable[[_Cluster, slice, npt.NDArray], None],
        only_overlap: bool = False,
        single: bool = False,
        positions: bool = True,
    ) -> None:
        """Call `put` with the products of each cluster and some vectors.

        Vectors are in the gauge with positions, or in the phases of H(k); then they may be real.
        """
        k = np.asarray(k, dtype=float)
        real = np.dtype(np.float32 if single else np.float64)
        kind = np.dtype(f"c{2 * real.itemsize}") if positions or np.iscomplexobj(vectors) else real
        phase = (self.phases(k) if positions else np.ones(self.n_orbitals)).astype(kind)
        begins = range(0, vectors.shape[1], COLUMNS)
        parts = [slice(begin, begin + COLUMNS) for begin in begins]

        def turn(part: slice) -> npt.NDArray:
            given = np.ascontiguousarray(vectors[:, part], kind)
            return phase[:, None] * given if positions else given

        def work(cluster: _Cluster) -> None:
            chosen = cluster.matrices[1:] if only_overlap else cluster.matrices
            numbers = [kind if np.iscomplexobj(m) else real for m in chosen]
            chosen = [m.astype(n, copy=False) for m, n in zip(chosen, numbers, strict=True)]
            size, inside = len(cluster.rows), cluster.inside
            factor = np.exp(2j * np.pi * (cluster.cells[inside:] @ k))[:, None]
            factor = (factor if kind != real else np.rint(factor.real)).astype(kind)
            back = np.tile(phase[cluster.rows].conj(), len(chosen))[:, None]
            for part, rows in zip(parts, turned, strict=True):
                gathered = rows.take(cluster.columns, axis=0, mode="clip")
                gathered[inside:] *= factor
                product = np.empty((len(chosen) * size, rows.shape[1]), kind)
                # of real matrices, real and imaginary parts of vectors are columns of their own
                for place, (matrix, number) in enumerate(zip(chosen, numbers, strict=True)):
                    own = product[place * size : (place + 1) * size]
                    np.matmul(matrix, gathered.view(number), out=own.view(number))
                if positions:
                    product *= back
                put(cluster, part, product)

        with blas_threads(1), ThreadPoolExecutor(self._threads) as pool:
            turned = list(pool.map(turn, parts))
            for _ in pool.map(work, self._clusters):
                pass


class ProductsAt:
    """Products with H and S of one k, in the phases of H(k) (see `moireio.solvers.base.Products`).

    Parameters
    ----------
    products : BlochProducts
        Those of all k.
    k : (3,) array
        Fractional coordinates.
    """

    def __init__(self, products: BlochProducts, k: npt.ArrayLike) -> None:
        self._products, self._k = products, k

    def overlap(self, vectors: npt.NDArray) -> npt.NDArray:
        """Return S times vectors.

        Parameters
        ----------
        vectors : (n, b) array
            Real ones only where H and S are real at this k.

        Returns
        -------
        (n, b) array
            Numbers of the type of the vectors.
        """
        out = np.empty(vectors.shape, vectors.dtype)

        def put(cluster: _Cluster, part: slice, product: npt.NDArray) -> None:
            out[cluster.rows, part] = product

        self._products._multiply(self._k, vectors, put, only_overlap=True, positions=False)
        return out

    def shifted(self, vectors: npt.NDArray, sigma: float) -> npt.NDArray:
        """Return H − σS times vectors.

        Parameters
        ----------
        vectors : (n, b) array
            Real ones only where H and S are real at this k.
        sigma : float
            eV.

        Returns
        -------
        (n, b) array
            Numbers of the type of the vectors.
        """
        out = np.empty(vectors.shape, vectors.dtype)

        def put(cluster: _Cluster, part: slice, product: npt.NDArray) -> None:
            size = len(cluster.rows)
            below = vectors[cluster.rows, part] if len(product) == size else product[size:]
            out[cluster.rows, part] = product[:size] - sigma * below

        self._products._multiply(self._k, vectors, put, positions=False)
        return out


def _make_clusters(
    operators: "list[BlochSum]",
    positions: npt.NDArray,
    starts: npt.NDArray[np.integer],
    rounded: bool,
) -> list[_Cluster]:
    """Return the rows of all atoms, in groups of atoms that are close in space."""
    sizes = np.diff(starts)
    group = np.empty(len(positions), dtype=int)
    members = _bisected(positions, np.arange(len(positions)), sizes)
    for number, atoms in enumerate(members):
        group[atoms] = number
    pieces: list[list[list[tuple]]] = [[[] for _ in operators] for _ in members]
    for which, operator in enumerate(operators):
        for row, column, cells, blocks in operator.all_blocks():
            owner = group[np.searchsorted(starts, row, side="right") - 1]
            order = np.argsort(owner, kind="stable")
            bounds = np.searchsorted(owner[order], np.arange(len(members) + 1))
            for number in range(len(members)):
                chosen = order[bounds[number] : bounds[number + 1]]
                if len(chosen):
                    piece = row[chosen], column[chosen], cells[chosen], blocks[chosen]
                    pieces[number][which].append(piece)
    return [
        _cluster(np.sort(atoms), parts, starts, rounded)
        for atoms, parts in zip(members, pieces, strict=True)
    ]


def _bisected(
    positions: npt.NDArray, atoms: npt.NDArray[np.integer], sizes: npt.NDArray[np.integer]
) -> list[npt.NDArray[np.integer]]:
    """Return atoms in groups, halved along their longest extension until groups are small."""
    if len(atoms) < 2 or sizes[atoms].sum() <= ROWS:
        return [atoms] if len(atoms) else []
    axis = int(np.argmax(np.ptp(positions[atoms], axis=0)))
    order = atoms[np.argsort(positions[atoms, axis], kind="stable")]
    half = len(order) // 2
    return [*_bisected(positions, order[:half], sizes), *_bisected(positions, order[half:], sizes)]


def _cluster(
    atoms: npt.NDArray[np.integer],
    parts: list[list[tuple]],
    starts: npt.NDArray[np.integer],
    rounded: bool,
) -> _Cluster:
    """Return some atoms' rows, from the blocks of each operator."""
    sizes = np.diff(starts)
    rows = np.concatenate([np.arange(starts[a], starts[a + 1]) for a in atoms])
    ends = np.zeros((0, 4), dtype=int)
    for part in parts:
        found = [
            np.column_stack([np.searchsorted(starts, column, side="right") - 1, cells])
            for _, column, cells, _ in part
        ]
        ends = np.concatenate([ends, *found])
    unique, inverse = np.unique(ends, axis=0, return_inverse=True)
    order = np.argsort(unique[:, 1:].any(axis=1), kind="stable")
    unique, inverse = unique[order], np.argsort(order)[inverse.ravel()]
    width = sizes[unique[:, 0]]
    first = np.concatenate([[0], np.cumsum(width)])
    within = np.arange(first[-1]) - np.repeat(first[:-1], width)
    columns = np.repeat(starts[unique[:, 0]], width) + within
    place = np.zeros(int(rows.max()) + 1, dtype=int)
    place[rows] = np.arange(len(rows))
    matrices, errors = [], []
    done = 0
    for part in parts:
        kinds = [blocks.dtype for _, _, _, blocks in part]
        own = np.zeros((len(rows), len(columns)), np.result_type(np.float32, *kinds))
        for row, column, _, blocks in part:
            image = inverse[done : done + len(row)]
            done += len(row)
            begin = first[image] + column - starts[unique[image, 0]]
            r = place[row][:, None, None] + np.arange(blocks.shape[1])[:, None]
            c = begin[:, None, None] + np.arange(blocks.shape[2])
            own[r, c] += blocks
        kept = own.astype(np.complex64 if own.dtype.kind == "c" else np.float32) if rounded else own
        matrices.append(kept)
        errors.append(_largest_row(np.abs(own - kept), np.abs(kept)) if rounded else 0.0)
    cells = np.repeat(unique[:, 1:], width, axis=0)
    return _Cluster(rows, columns, cells, matrices, errors)


def _largest_row(errors: npt.NDArray, sizes: npt.NDArray) -> float:
    """Return the largest norm of a row of errors, those of elements of equal size added up."""
    sums, largest = errors.sum(axis=1), 0.0
    for row in np.argsort(-sums):
        if sums[row] <= largest:
            break
        group = np.unique(sizes[row], return_inverse=True)[1]
        largest = max(largest, float(np.linalg.norm(np.bincount(group, errors[row]))))
    return largest
