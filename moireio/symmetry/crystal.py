"""Operations of a crystal, and what they do to k points and atoms."""

from dataclasses import dataclass

import numpy as np

SYMPREC = 5e-3  # Å
VACUUM = 20.0  # Å


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
