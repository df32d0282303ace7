"""From H(k) on a mesh of k points to H(R), as codes with periodic boundary conditions need it.

H_ij(R) = 1/N Σ_k e^{−2πi k·R} H_ij(k). A mesh determines R only up to vectors T of its supercell.
The one of all R + T is taken for which τ_j + R + T − τ_i is shortest, several with equal weights
(Wigner–Seitz, as Wannier90's ``use_ws_distance``). H(k) of the mesh comes back exactly; between its
points it is an interpolation, whose error is estimated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.elements import OrbitalMap, Spinor, source_from_matrices
from moireio.formats.assembly.orders import OrbitalOrder
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis
from moireio.system.neighbours import reduced
from moireio.system.structure import Structure
from moireio.units import Constants

TOLERANCE = 1e-5  # in steps of the mesh; codes print six digits
MOST_ALONG_AXIS = 512
SAME = 1e-4  # Å; vectors that differ less are equally long
ROUNDING = 1e-10  # imaginary parts over the largest element
LIMIT = 1e-3  # deviation from Hermitian that is damage, eV and 1
MOST_BETWEEN = 4
LONGEST_DECAY = 3.0  # Å
FADED = 12.0  # in units of the decay; e^{−12} = 6e-6


@dataclass(frozen=True, eq=False)
class RegularMesh:
    """A complete mesh k = (n + shift) / shape.

    Parameters
    ----------
    shape : (int, int, int)
        Points along each reciprocal vector.
    shift : (3,) array
        In steps of the mesh, 0 ≤ shift < 1.
    k : (n, 3) array
        The points, in the order of the matrices.
    """

    shape: tuple[int, int, int]
    shift: npt.NDArray[np.float64]
    k: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls, k: npt.ArrayLike, label: str, *, pairs: bool = True
    ) -> tuple[RegularMesh, npt.NDArray[np.int64]]:
        """Find the mesh of a list of k points.

        Parameters
        ----------
        k : (n, 3) array
            Fractional coordinates: all points, or one of each pair k, −k.
        label : str
            For messages.
        pairs : bool
            Whether −k may be left out where k is there.

        Returns
        -------
        mesh : RegularMesh
            Its points: those given, then −k of those that lack it.
        added : (m,) array of int
            Which of the given k the further points are minus of.

        Raises
        ------
        MoireioError
            If the points are no regular mesh.
        """
        points = np.asarray(k, dtype=np.float64).reshape(-1, 3)
        if len(points) == 0 or not np.isfinite(points).all():
            raise MoireioError("has no k points, or such that are not finite", path=label)
        nothing = np.zeros(0, dtype=np.int64)
        for added in (nothing, _without_partner(points)) if pairs else (nothing,):
            whole = np.concatenate([points, -points[added]])
            axes = [_axis(whole[:, axis]) for axis in range(3)]
            if None in axes:
                continue
            shape = tuple(axis[0] for axis in axes if axis is not None)
            shift = np.array([axis[1] for axis in axes if axis is not None])
            steps = np.rint(whole * shape - shift).astype(np.int64) % shape
            if len(whole) == np.prod(shape) and len(np.unique(steps, axis=0)) == len(whole):
                return cls((shape[0], shape[1], shape[2]), shift, whole), added
        raise MoireioError(
            f"has {len(points)} k points that are no complete regular mesh",
            path=label,
            remedy="compute the matrices at all points of a mesh, without reduction by symmetry",
        )


def _without_partner(points: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the indices of the points k for which −k is not there."""
    keys = [tuple(p) for p in np.round(points % 1, 5) % 1]
    known = set(keys)
    return np.array(
        [n for n, p in enumerate(np.round(-points % 1, 5) % 1) if tuple(p) not in known],
        dtype=np.int64,
    )


def _axis(values: npt.NDArray[np.float64]) -> tuple[int, float] | None:
    """Return number and shift of equally spaced coordinates; None if they are not."""
    within = np.sort(values % 1)
    within = within[np.append(True, np.diff(within) > TOLERANCE)]
    if len(within) > 1 and within[0] + 1 - within[-1] < TOLERANCE:
        within = within[:-1]
    count = len(within)
    if count > MOST_ALONG_AXIS:
        return None
    # mean over circles: coordinates just below 1 are those just above 0
    phase = np.angle(np.exp(2j * np.pi * within * count).mean()) / (2 * np.pi)
    steps = within * count - phase
    if np.abs(steps - np.rint(steps)).max() > TOLERANCE * count:
        return None
    shift = float(phase % 1)
    return count, 0.0 if shift > 1 - TOLERANCE * count else shift


@dataclass(frozen=True, eq=False)
class Images:
    """The R of every pair of atoms that belong to a mesh.

    Parameters
    ----------
    cells : (m, 3) array of int64
        All R that occur.
    weights : (m, N, N) array
        Weight of each R for a pair of atoms; they add up to 1 over R that the mesh cannot
        distinguish.
    lengths : (m, N, N) array
        Distances of the pairs, Å.
    """

    cells: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.float64]

    @classmethod
    def shortest(
        cls, structure: Structure, shape: tuple[int, int, int], decay: float = 0.0
    ) -> Images:
        """Choose the shortest vectors between atoms.

        Parameters
        ----------
        structure : Structure
            The atoms.
        shape : (int, int, int)
            Points of the mesh.
        decay : float
            Å; longer vectors share in elements as e^{−length/decay}, with 0 only the shortest.

        Returns
        -------
        Images
            Nothing but R = 0 along vectors that the structure is not periodic along.
        """
        n, periodic = len(structure), np.flatnonzero(structure.pbc)
        between = structure.positions[None, :] - structure.positions[:, None]
        # along reduced vectors of the supercell a vector is brought near 0, then all neighbouring
        # images are compared
        whole = np.diag(np.array(shape, dtype=np.int64))[periodic]
        vectors = reduced(whole @ structure.cell) @ whole
        inverse = np.linalg.pinv(vectors @ structure.cell)
        around = list(product(range(-2, 3), repeat=len(periodic)))
        shifts = np.array(around, dtype=np.int64) @ vectors
        found: dict[tuple[int, ...], tuple[Any, Any]] = {}
        for step in np.ndindex(*shape):
            R = np.array(step)
            near = np.rint((between + R @ structure.cell) @ inverse).astype(np.int64)
            images = (R - near @ vectors)[:, :, None] + shifts
            lengths = np.linalg.norm(between[:, :, None] + images @ structure.cell, axis=-1)
            excess = lengths - lengths.min(axis=-1, keepdims=True)
            share = np.where(excess < SAME, 1.0, 0.0)
            if decay:
                share = np.where(excess < FADED * decay, np.exp(-excess / decay), 0.0)
            share /= share.sum(axis=-1, keepdims=True)
            for i, j, image in zip(*np.nonzero(share), strict=True):
                key = tuple(images[i, j, image].tolist())
                if key not in found:
                    found[key] = np.zeros((n, n)), np.zeros((n, n))
                found[key][0][i, j] = share[i, j, image]
                found[key][1][i, j] = lengths[i, j, image]
        cells = sorted(found)
        weights, lengths = (np.array([found[cell][part] for cell in cells]) for part in (0, 1))
        return cls(np.array(cells, dtype=np.int64), weights, lengths)


class MeshSum:
    """Matrices on a mesh as sums over R.

    Parameters
    ----------
    mesh : RegularMesh
        The k points.
    images : Images
        The R.
    atoms : (n,) array of int
        Atom of each row of the matrices.

    Attributes
    ----------
    left_out : float
        Largest imaginary part that was left out, and is more than rounding.
    """

    def __init__(self, mesh: RegularMesh, images: Images, atoms: npt.NDArray[np.int64]) -> None:
        self._mesh, self.images, self.atoms = mesh, images, atoms
        self.left_out = 0.0

    def matrices(self, values: npt.NDArray[Any], real: bool) -> npt.NDArray[Any]:
        """Return one matrix for each R.

        Parameters
        ----------
        values : (nk, n, n) array
            O(k) = Σ_R e^{+2πi k·R} O(R).
        real : bool
            Take the real parts. They are taken, too, where the imaginary ones are rounding.

        Returns
        -------
        (m, n, n) array
            O(R).
        """
        phases = np.exp(-2j * np.pi * (self.images.cells @ self._mesh.k.T)) / len(values)
        flat = (phases @ values.reshape(len(values), -1)).reshape(-1, *values.shape[1:])
        for one, weight in zip(flat, self.images.weights, strict=True):
            one *= weight[np.ix_(self.atoms, self.atoms)]
        imaginary = float(np.abs(flat.imag).max())
        if imaginary < ROUNDING * np.abs(flat).max():
            return np.ascontiguousarray(flat.real)
        if real:
            self.left_out = max(self.left_out, imaginary)
            return np.ascontiguousarray(flat.real)
        return np.asarray(flat)

    def decay(self, matrices: npt.NDArray[Any]) -> float:
        """Return the length in Å over which elements fall to 1/e, from a fit to all pairs."""
        n = self.images.weights.shape[1]
        most = np.zeros((len(matrices), n, n))
        rows = [np.flatnonzero(self.atoms == atom) for atom in range(n)]
        for i, j in product(range(n), repeat=2):
            most[:, i, j] = np.abs(matrices[:, rows[i]][:, :, rows[j]]).max(axis=(1, 2))
        kept = (self.images.weights > 0) & (most > 1e-12 * most.max())
        lengths = self.images.lengths[kept]
        if np.ptp(lengths) < SAME:
            return LONGEST_DECAY
        slope = np.polyfit(lengths, np.log(most[kept]), 1)[0]
        return float(min(-1 / slope, LONGEST_DECAY)) if slope < 0 else LONGEST_DECAY

    def at(self, matrices: npt.NDArray[Any], k: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return Σ_R e^{+2πi k·R} O(R) at one k."""
        return np.tensordot(np.exp(2j * np.pi * (self.images.cells @ k)), matrices, axes=1)

    def between(self, pbc: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Return some k points midway between those of the mesh along periodic vectors, (n, 3)."""
        half = np.where(pbc, 0.5, 0.0) / np.array(self._mesh.shape)
        points = self._mesh.k[:: max(1, len(self._mesh.k) // MOST_BETWEEN)][:MOST_BETWEEN]
        return np.asarray(points + half)


def calculation_on_mesh(
    label: str,
    structure: Structure,
    basis: Basis,
    order: OrbitalOrder,
    k: npt.ArrayLike,
    hamiltonian: npt.ArrayLike,
    overlap: npt.ArrayLike,
    *,
    spinor: Spinor | None = None,
    real: bool = False,
    electrons: Electrons | None = None,
    notes: Iterable[str] = (),
    pbc: Sequence[bool] | None = None,
    constants: Constants | None = None,
) -> Calculation:
    """Return H(k) and S(k) on a mesh as a calculation.

    Parameters
    ----------
    label : str
        The object or file, for messages.
    structure : Structure
        The atoms, to whose positions the phases refer.
    basis : Basis
        Their orbitals.
    order : OrbitalOrder
        The program's orbitals inside a shell.
    k : (nk, 3) array
        Fractional coordinates of a complete mesh, or of one of each pair k, −k where there is no
        spinor.
    hamiltonian : (nk, n, n), (1 or 2, nk, n, n) or (nk, 2n, 2n) array
        eV: without spin; collinear; spinor. Element (a, b) is Σ_R e^{+2πi k·R} ⟨a,0|H|b,R⟩.
    overlap : (nk, n, n) array
        Without spin.
    spinor : {"blocks", "interleaved"}, optional
        How rows of a spinor H are arranged.
    real : bool
        Without spinors: take the real parts of H(R) and S(R) even if imaginary ones are more than
        rounding.
    electrons : Electrons, optional
        What is known of them.
    notes : iterable of str
        For the user.
    pbc : sequence of three bool, optional
        Whether it is periodic along each vector; by default where pairs cross it.

    Returns
    -------
    Calculation
        Its H(k) and S(k) are the given ones at the points of the mesh; a note gives the estimated
        error between them.

    Raises
    ------
    MoireioError
        If the arrays do not fit, or the points are no mesh.
    """
    n = int(basis.sizes(structure).sum())
    h, s = np.asarray(hamiltonian), np.asarray(overlap)
    h = h[0] if h.ndim == 4 and len(h) == 1 else h
    count, rows = len(np.asarray(k).reshape(-1, 3)), 2 * n if spinor else n
    shapes = [(count, rows, rows)] if spinor else [(count, n, n), (2, count, n, n)]
    if h.shape not in shapes or s.shape != (count, n, n):
        raise MoireioError(
            f"has H {h.shape} and S {s.shape} for {count} k points and {n} orbitals",
            path=label,
            remedy="are the shells those of this calculation?",
        )
    if not (np.isfinite(h).all() and np.isfinite(s).all()):
        raise MoireioError("a matrix has a number that is not finite", path=label)
    mesh, added = RegularMesh.of(k, label, pairs=spinor is None)
    spins = list(h) if h.ndim == 4 else [h]
    if len(added):
        s = np.concatenate([s, s[added].conj()])
        spins = [np.concatenate([one, one[added].conj()]) for one in spins]
    images = Images.shortest(structure, mesh.shape)
    of_row = np.repeat(np.arange(len(structure)), basis.sizes(structure))
    of_spinor = {None: of_row, "blocks": np.tile(of_row, 2)}.get(spinor, np.repeat(of_row, 2))
    sums = MeshSum(mesh, images, of_spinor), MeshSum(mesh, images, of_row)
    real = real and spinor is None
    h_R = [sums[0].matrices(one, real) for one in spins]
    s_R = sums[1].matrices(s, real)
    notes = [*notes, _error(structure, mesh, sums, spins, s, h_R, s_R, spinor, electrons)]
    if sums[0].left_out:
        notes.append(
            f"imaginary parts of H(R) up to {sums[0].left_out:.1e} eV are left out (`real`): at "
            "the points of the mesh bands are exact but for these"
        )
    largest = max(float(np.abs(one.imag).max()) for one in (s_R, *h_R))
    if spinor is None and largest:
        notes.append(
            f"H(−k) is not the conjugate of H(k): H(R) has imaginary parts up to {largest:.1e} eV "
            "(where they are noise, `real` leaves them out)"
        )
    spin = "spinor" if spinor else "collinear" if len(spins) == 2 else "none"
    operators = {
        "hamiltonian": source_from_matrices(
            "hamiltonian",
            images.cells,
            h_R if spin == "collinear" else h_R[0],
            OrbitalMap.make(structure, basis, order, spinor=spinor),
            label=label,
            spin=spin,
            limit=LIMIT,
        ),
        "overlap": source_from_matrices(
            "overlap",
            images.cells,
            s_R,
            OrbitalMap.make(structure, basis, order),
            label=label,
            limit=LIMIT,
        ),
    }
    return assemble(
        label,
        structure,
        basis,
        operators,
        electrons=electrons,
        notes=notes,
        pbc=pbc,
        constants=constants,
    )


def _error(
    structure: Structure,
    mesh: RegularMesh,
    sums: tuple[MeshSum, MeshSum],
    spins: list[npt.NDArray[Any]],
    overlap: npt.NDArray[Any],
    h_R: list[npt.NDArray[Any]],
    s_R: npt.NDArray[Any],
    spinor: Spinor | None,
    electrons: Electrons | None,
) -> str:
    """Return the note about bands between the points of the mesh.

    Elements near the border of the Wigner–Seitz cell can be shared among images in other ways. The
    levels change in first order by what they change if longer vectors share in elements as these
    decay.
    """
    from scipy.linalg import LinAlgError, eigh

    name = " x ".join(map(str, mesh.shape))
    decay = max(sums[0].decay(h_R[0]), sums[1].decay(s_R))
    images = Images.shortest(structure, mesh.shape, decay)
    others = [MeshSum(mesh, images, one.atoms) for one in sums]
    h_other = [others[0].matrices(one, real=False) for one in spins]
    s_other = others[1].matrices(overlap, real=False)
    below, above = 0.0, 0.0
    for k in sums[0].between(structure.pbc):
        s, ds = sums[1].at(s_R, k), others[1].at(s_other, k) - sums[1].at(s_R, k)
        s, ds = _for_spinors(s, spinor), _for_spinors(ds, spinor)
        for one, other in zip(h_R, h_other, strict=True):
            h = sums[0].at(one, k)
            try:
                levels, states = eigh(h, s)
            except LinAlgError:
                return (
                    f"the k mesh {name} is too coarse: between its points S(k) is not positive "
                    "definite, and bands mean nothing there"
                )
            dh = others[0].at(other, k) - h
            change = np.einsum("an,ab,bn->n", states.conj(), dh, states).real
            change -= levels * np.einsum("an,ab,bn->n", states.conj(), ds, states).real
            occupied = _occupied(levels, electrons)
            below = max(below, float(np.abs(change[occupied]).max(initial=0)))
            above = max(above, float(np.abs(change[~occupied]).max(initial=0)))
    what = "half of the levels" if electrons is None or electrons.fermi is None else "E_F"
    return (
        f"from a k mesh {name}: bands are exact at its points; between them the estimated error is "
        f"{below:.1g} eV up to {what}, {above:.1g} eV above"
    )


def _for_spinors(matrix: npt.NDArray[Any], spinor: Spinor | None) -> npt.NDArray[Any]:
    """Return a spinless matrix for both spins."""
    if spinor is None:
        return matrix
    return np.kron(np.eye(2), matrix) if spinor == "blocks" else np.kron(matrix, np.eye(2))


def _occupied(
    levels: npt.NDArray[np.float64], electrons: Electrons | None
) -> npt.NDArray[np.bool_]:
    if electrons is None or electrons.fermi is None:
        return np.arange(len(levels)) < -(-len(levels) // 2)
    return levels <= electrons.fermi
