"""Regular meshes of k points, and the symmetry that makes some of them equivalent.

An operation x → W x + t of the crystal (fractional coordinates) turns k into W⁻ᵀ k. Time reversal
turns it into −k. Which operations a Hamiltonian obeys is for the caller to check.
"""

from dataclasses import dataclass, field
from itertools import permutations

import numpy as np

from moireio.errors import MoireioError

SYMPREC = 5e-3  # Å
VACUUM = 20.0  # Å
MOST_POINTS = 5_000_000


@dataclass(frozen=True, eq=False)
class KMesh:
    """A regular mesh k = (n + shift) / shape.

    Parameters
    ----------
    shape : (int, int, int)
        Points along each reciprocal vector; 1 where the structure is not periodic.
    shift : (float, float, float)
        Displacement in steps of the mesh; 0 is centred at Γ.
    """

    shape: tuple
    shift: tuple = (0.0, 0.0, 0.0)

    def __len__(self):
        """Return the number of points."""
        return int(np.prod(self.shape))

    @property
    def k(self):
        """Fractional coordinates, the last index fastest; shape (n, 3)."""
        places = np.indices(self.shape).reshape(3, -1).T
        return (places + np.asarray(self.shift)) / np.asarray(self.shape)

    def index(self, k):
        """Return which points of the mesh some k are.

        Parameters
        ----------
        k : (n, 3) array
            Fractional coordinates, in any cell.

        Returns
        -------
        (n,) array of int or None
            Indices; None if one of them is no point of the mesh.
        """
        shape = np.asarray(self.shape)
        places = k * shape - np.asarray(self.shift)
        whole = np.rint(places).astype(np.int64)
        if np.abs(places - whole).max(initial=0) > 1e-6:
            return None
        return np.ravel_multi_index(tuple((whole % shape).T), self.shape)

    def simplices(self, reciprocal):
        """Cut the cell into segments, triangles or tetrahedra with mesh points as corners.

        Every parallelepiped of the mesh is cut along its shortest diagonal.

        Parameters
        ----------
        reciprocal : (3, 3) array
            Reciprocal lattice vectors as rows.

        Returns
        -------
        (m, d + 1) array of int
            Corners; d is the number of axes with more than one point, and m = d! times the
            number of points.
        """
        axes = [n for n in range(3) if self.shape[n] > 1]
        steps = [reciprocal[n] / self.shape[n] for n in axes]
        signs = np.array(np.meshgrid(*[[1, -1]] * len(axes))).reshape(len(axes), -1).T
        if len(axes):
            lengths = [np.linalg.norm(s @ np.array(steps)) for s in signs]
            sign = signs[int(np.argmin(np.round(lengths, 9)))]
        places = np.indices(self.shape).reshape(3, -1).T
        out = []
        for order in permutations(range(len(axes))):
            corner = places.copy()
            corners = [corner]
            for n in order:
                corner = corner.copy()
                corner[:, axes[n]] += sign[n]
                corners.append(corner)
            wrapped = [tuple((c % self.shape).T) for c in corners]
            out.append(np.stack([np.ravel_multi_index(c, self.shape) for c in wrapped], axis=1))
        return np.concatenate(out)


@dataclass(frozen=True, eq=False)
class Symmetry:
    """One operation that may turn one k point into an equivalent one.

    Parameters
    ----------
    rotation : (3, 3) array of int
        k' = rotation @ k, fractional coordinates of the reciprocal cell. Time reversal's sign
        is in it.
    atoms : (N,) array of int
        Atom a goes to atom ``atoms[a]``.
    reverses : bool
        Whether it holds time reversal, so that spins turn round.
    moves : bool
        Whether it turns or mirrors space; time reversal alone does not.
    """

    rotation: np.ndarray
    atoms: np.ndarray
    reverses: bool = False
    moves: bool = False


@dataclass(frozen=True, eq=False)
class ReducedMesh:
    """The points of a mesh that differ, and where all others come from.

    Parameters
    ----------
    mesh : KMesh
        The whole mesh.
    k : (n, 3) array
        The points that differ, fractional.
    weights : (n,) array
        Their share of the mesh; the sum is 1.
    point : (len(mesh),) array of int
        Point of `k` that every point of the mesh is equivalent to.
    operation : (len(mesh),) array of int
        Index of the symmetry that takes the point of the mesh there.
    symmetries : tuple of Symmetry
        All that were used; the first is the identity.
    """

    mesh: KMesh
    k: np.ndarray
    weights: np.ndarray
    point: np.ndarray
    operation: np.ndarray
    symmetries: tuple = field(default=())

    def __len__(self):
        """Return the number of points that differ."""
        return len(self.k)


def make_mesh(structure, counts=None, spacing=None, shift=None):
    """Make a mesh for a structure.

    Parameters
    ----------
    structure : Structure
        Its cell, and which of its axes are periodic.
    counts : sequence of int, optional
        Points along the periodic axes, or along all three.
    spacing : float, optional
        Largest distance of neighbouring points, Å⁻¹ with the 2π, instead of `counts`.
    shift : sequence of float, optional
        In steps of the mesh, along the periodic axes or all three; by default 0.

    Returns
    -------
    KMesh
        With one point along axes that are not periodic.

    Raises
    ------
    MoireioError
        If the numbers do not fit the structure.
    """
    periodic = np.flatnonzero(structure.pbc)
    if counts is None:
        if not (np.isfinite(spacing) and spacing > 0):
            raise MoireioError(f"a mesh spacing of {spacing} makes no sense", remedy="1/Å, > 0")
        lengths = np.linalg.norm(structure.reciprocal[periodic], axis=1)
        counts = np.maximum(np.ceil(lengths / spacing - 1e-9), 1)
    shape = _along(structure, counts, "--mesh", 1).astype(int)
    offset = np.zeros(3) if shift is None else _along(structure, shift, "--shift", 0)
    if (shape < 1).any():
        raise MoireioError("a mesh needs at least one point along every axis")
    if np.prod(shape.astype(float)) > MOST_POINTS:
        text = " × ".join(map(str, shape))
        raise MoireioError(f"the mesh {text} has too many points", remedy=f"≤ {MOST_POINTS:.0e}")
    return KMesh(tuple(shape.tolist()), tuple(offset.tolist()))


def _along(structure, values, option, neutral):
    """Return one number per lattice vector from one per periodic axis, or check all three."""
    values, pbc = np.asarray(values, dtype=float), structure.pbc
    out = np.full(3, float(neutral))
    if len(values) == 3:
        if (values[~pbc] != neutral).any():
            names = ", ".join("abc"[n] for n in np.flatnonzero(~pbc))
            raise MoireioError(
                f"the structure is not periodic along {names}", remedy=f"{option} {neutral} there"
            )
        return values
    if len(values) != pbc.sum():
        raise MoireioError(
            f"{option} has {len(values)} numbers, the structure has {pbc.sum()} periodic axes",
            remedy=f"{option} takes one number for each of them",
        )
    out[pbc] = values
    return out


def identity(structure):
    """Return the operation that does nothing, a `Symmetry` of a structure."""
    return Symmetry(np.eye(3, dtype=int), np.arange(len(structure)))


def point_group(structure, symprec=SYMPREC):
    """Find the operations of a crystal that act on its k points.

    Along axes that are not periodic the atoms are put into a large vacuum, so that repeated
    images make no symmetry; operations that mix these axes with periodic ones are left out.

    Parameters
    ----------
    structure : Structure
        Atoms are told apart by species.
    symprec : float
        Tolerance, Å.

    Returns
    -------
    list of Symmetry
        A group, the identity first; of several operations with the same rotation one is kept.
    """
    import spglib

    pbc = structure.pbc
    cell = _with_vacuum(structure)
    fractional = structure.positions @ np.linalg.inv(cell)
    fractional[:, ~pbc] += 0.5 - fractional[:, ~pbc].mean(axis=0)
    found = spglib.get_symmetry((cell, fractional, structure.species), symprec=symprec)
    out = [identity(structure)]
    if found is None:
        return out
    seen = {out[0].rotation.tobytes()}
    pairs = zip(found["rotations"], found["translations"], strict=True)
    upright = np.eye((~pbc).sum(), dtype=int)
    # of two that do the same to k, the one that does not turn the layer over
    for rotation, translation in sorted(
        pairs, key=lambda p: (p[0][np.ix_(~pbc, ~pbc)] != upright).any()
    ):
        if rotation[np.ix_(pbc, ~pbc)].any() or rotation[np.ix_(~pbc, pbc)].any():
            continue
        acting = np.rint(np.linalg.inv(rotation).T).astype(int)
        # what happens to axes without k points does not matter
        acting[np.ix_(~pbc, ~pbc)] = upright
        if acting.tobytes() in seen:
            continue
        moved = fractional @ rotation.T + translation
        atoms = _match(moved, fractional, cell, structure.species, 3 * symprec)
        if atoms is None:
            continue
        seen.add(acting.tobytes())
        out.append(Symmetry(acting, atoms, moves=True))
    return out if _is_group(out) else out[:1]


def _with_vacuum(structure):
    """Return a cell whose vectors along axes without periods are long and at right angles."""
    cell, pbc = structure.cell.copy(), structure.pbc
    if pbc.all():
        return cell
    vt = np.linalg.svd(cell[pbc], full_matrices=True)[2]
    normals = vt[pbc.sum() :]
    heights = structure.positions @ normals.T
    spans = np.ptp(heights, axis=0) if len(heights) else np.zeros(len(normals))
    # lengths differ, so that the box itself has no symmetry of its own
    cell[~pbc] = normals * (spans + VACUUM * (1 + 0.37 * np.arange(len(normals))))[:, None]
    return cell


def _match(moved, fractional, cell, species, tolerance):
    """Return which atom every moved atom lies on, or None."""
    from scipy.spatial import cKDTree

    wrapped = fractional % 1.0 % 1.0
    _, nearest = cKDTree(wrapped, boxsize=1.0).query(moved % 1.0 % 1.0)
    gap = moved - fractional[nearest]
    gap = (gap - np.rint(gap)) @ cell
    sound = np.linalg.norm(gap, axis=1).max(initial=0) < tolerance
    sound = sound and (species[nearest] == species).all()
    return nearest if sound and len(np.unique(nearest)) == len(species) else None


def _is_group(operations):
    keys = {o.rotation.tobytes() for o in operations}
    return all((a.rotation @ b.rotation).tobytes() in keys for a in operations for b in operations)


def with_time_reversal(operations):
    """Return operations together with their products with time reversal.

    Parameters
    ----------
    operations : list of Symmetry
        A group without time reversal.

    Returns
    -------
    list of Symmetry
        Twice as many.
    """
    turned = [Symmetry(-o.rotation, o.atoms, True, o.moves) for o in operations]
    return [*operations, *turned]


def generators(operations):
    """Return a few operations whose products act as the whole group does.

    Parameters
    ----------
    operations : list of Symmetry
        A group, the identity first.

    Returns
    -------
    list of Symmetry
        The identity is not among them.
    """
    out, made = [], {operations[0].rotation.tobytes()}
    # rotations of high order first: they make most of the others
    for one in sorted(operations, key=lambda o: -_order(o.rotation)):
        if one.rotation.tobytes() not in made:
            out.append(one)
            made = {o.rotation.tobytes() for o in products(operations[0], out)}
    return out


def products(one, operations):
    """Return the group that some operations make.

    Parameters
    ----------
    one : Symmetry
        The identity.
    operations : list of Symmetry
        Without time reversal.

    Returns
    -------
    list of Symmetry
        The identity first. Its members differ in what they do to k; each is a product of the
        operations given, atoms included.
    """
    made = {one.rotation.tobytes(): one}
    waiting = [one]
    while waiting:
        first = waiting.pop()
        for second in operations:
            rotation = second.rotation @ first.rotation
            if rotation.tobytes() not in made:
                both = Symmetry(rotation, second.atoms[first.atoms], moves=True)
                made[rotation.tobytes()] = both
                waiting.append(both)
    return list(made.values())


def _order(rotation):
    power = rotation
    for n in range(1, 13):
        if (power == np.eye(3)).all():
            return n
        power = power @ rotation
    return 0


def reduce_mesh(mesh, operations):
    """Keep one of every set of equivalent points.

    Parameters
    ----------
    mesh : KMesh
        All points.
    operations : list of Symmetry
        A group, the identity first. Those that do not map the mesh onto itself are not used.

    Returns
    -------
    ReducedMesh
        With weights.
    """
    k = mesh.k
    images, kept = [], []
    for one in operations:
        index = mesh.index(k @ one.rotation.T)
        if index is not None:
            images.append(index)
            kept.append(one)
    images = np.array(images)
    operation = images.argmin(axis=0)
    lowest = images.min(axis=0)
    chosen, point, counts = np.unique(lowest, return_inverse=True, return_counts=True)
    return ReducedMesh(mesh, k[chosen], counts / len(mesh), point, operation, tuple(kept))
