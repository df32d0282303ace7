"""Orbitals that belong to no shell: Wannier functions, and the orbitals of models.

A block file has atoms with shells. Such orbitals become s functions on sites: one site for each
distinct centre, without an element (number 0). Their species is called ``X1`` where a site has one
orbital, ``X2`` where it has two, and so on. Where no centres are known, all of them are on one site
at 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.formats.assembly.elements import OrbitalMap, Spinor
from moireio.operators.blocks import block_offsets
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure

#: Largest coordinate of a centre, Å.
FARTHEST = 1e6
#: Centres that are closer are one, Å: programs print six digits or more.
SAME = 1e-4
#: Orbitals without centres are on one site up to this number. Each has its own site at 0 beyond it,
#: so that a sparse H stays sparse.
MOST_AT_ONE_SITE = 512
NO_CENTRES = (
    "the centres of the orbitals are not known: positions are 0, so that Berry curvature, "
    "quantum metric and anything else that depends on positions mean nothing"
)


def sites(
    cell: npt.ArrayLike,
    centres: npt.ArrayLike | None,
    n: int,
    *,
    spinor: Spinor | None = None,
) -> tuple[Structure, Basis, OrbitalMap]:
    """Put orbitals without shells on sites.

    Parameters
    ----------
    cell : (3, 3) array
        Lattice vectors as rows, Å.
    centres : (n, 3) array or None
        Cartesian centre of each orbital, Å, not wrapped: the R of an operator refer to them as
        they are. None where they are not known (`NO_CENTRES` is the note for the user).
    n : int
        Number of orbitals, spin not counted.
    spinor : {"blocks", "interleaved"}, optional
        How the rows of a spinor matrix are arranged: all up orbitals, then all down; up and down of
        every orbital. By default the matrix is spinless.

    Returns
    -------
    structure : Structure
        Sites in the order in which their first orbitals are listed, periodic along all vectors.
    basis : Basis
        One s function for every orbital of a site; S = 1.
    orbitals : OrbitalMap
        Where the rows of a matrix in the order of `centres` stand.

    Raises
    ------
    MoireioError
        If there is no orbital, or numbers are not finite.
    """
    if n < 1:
        raise MoireioError("has no orbitals")
    if centres is None:
        site = np.zeros(n, dtype=np.int64) if n <= MOST_AT_ONE_SITE else np.arange(n)
        points = np.zeros((n, 3))
    else:
        points = np.asarray(centres, dtype=np.float64).reshape(n, 3)
        if not (np.abs(points) < FARTHEST).all():
            raise MoireioError(f"a centre is not finite, or farther than {FARTHEST:.0e} Å away")
        site = _grouped(points)
    counts = np.bincount(site)
    kinds = list(dict.fromkeys(counts.tolist()))
    _, first = np.unique(site, return_index=True)
    structure = Structure(
        cell=cell,
        positions=points[first],
        numbers=np.zeros(len(counts), dtype=np.int32),
        species=[kinds.index(count) for count in counts.tolist()],
        species_names=[f"X{count}" for count in kinds],
        pbc=[True, True, True],
    )
    basis = Basis({f"X{count}": SpeciesBasis((0,) * count) for count in kinds}, orthogonal=True)
    return structure, basis, _map(site, counts, spinor)


def _grouped(points: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the site of each orbital: those of one centre share one, in order of appearance."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    distinct, which = np.unique(np.round(points / SAME), axis=0, return_inverse=True)
    near = cKDTree(distinct).query_pairs(1.5, output_type="ndarray")
    count = len(distinct)
    graph = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1][which.ravel()]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[inverse]


def _map(
    site: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], spinor: Spinor | None
) -> OrbitalMap:
    """Return where the orbitals stand once they are gathered by site."""
    order = np.argsort(site, kind="stable")
    within = np.empty(len(site), dtype=np.int64)
    within[order] = np.arange(len(site)) - np.repeat(block_offsets(counts)[:-1], counts)
    starts = block_offsets(counts)[:-1][site]
    if spinor is None:
        return OrbitalMap(starts + within, np.ones(len(site)), counts)
    up = 2 * starts + within
    down = up + counts[site]
    rows = np.stack([up, down], axis=1 if spinor == "interleaved" else 0).ravel()
    return OrbitalMap(rows, np.ones(2 * len(site)), 2 * counts)
