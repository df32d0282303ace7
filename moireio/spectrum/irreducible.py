"""Which symmetries of the crystal the Hamiltonian of a file obeys, tried on its own levels."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.kspace.mesh import KMesh, ReducedMesh, reduce_mesh
from moireio.projection.groups import Projection, flipped_rows
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.populations import solve_populations
from moireio.symmetry.crystal import (
    Symmetry,
    generated_group,
    generators,
    identity,
    point_group,
    with_time_reversal,
)
from moireio.symmetry.exact import GENERAL

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.operators.bloch import BlochSum

TOLERANCE = 5e-3  # eV
SMOOTH = 0.3  # eV, of populations that are compared
POPULATION_TOLERANCE = 0.02  # of the largest
ABOVE = 10.0  # eV above the filled states: higher levels of a small basis mean nothing


def reduced(
    file: "BlockFile",
    mesh: KMesh,
    sums: "Sequence[BlochSum]",
    overlap: "BlochSum | None",
    projection: Projection,
    *,
    solver: SolverChoice | None = None,
    use_group: bool = True,
    band_range: tuple[int, int] | None = None,
) -> tuple[ReducedMesh, list[str]]:
    """Reduce a mesh by the symmetries that hold.

    Time reversal is taken from H itself: real blocks, or blocks of spinors that obey it. The
    crystal's operations are tried at one general k point and its images: energies must agree to
    5 meV there, and populations to 2 %. If one does not hold, none is used.

    Parameters
    ----------
    file : BlockFile
        Its structure.
    mesh : KMesh
        The whole mesh.
    sums : list of BlochSum
        H, of either spin.
    overlap : BlochSum or None
        S.
    projection : Projection
        Groups that an operation must map onto each other.
    solver : SolverChoice, optional
        How to solve at the k points where operations are tried.
    use_group : bool
        Whether to try the crystal's operations.
    band_range : tuple of two int, optional
        First and last band (inclusive, from 0) that are compared; by default all, with a dense
        solver.

    Returns
    -------
    mesh : ReducedMesh
        What is left.
    notes : list of str
        What a user should know.
    """
    spinor = file.hamiltonian.meta.spin == "spinor"
    flipped = flipped_rows(sums[0].sizes, spinor)
    reverses = all(obeys_time_reversal(s, spinor) for s in sums)
    operations = [identity(file.structure)]
    if reverses:
        operations = with_time_reversal(operations)
        operations = [o for o in operations if projection.image(o, flipped) is not None]
    notes = [] if reverses else ["H breaks time reversal: k and −k are not equivalent"]
    plain = reduce_mesh(mesh, operations)
    if not use_group or len(plain) < 3:
        return plain, notes
    group = point_group(file.structure)
    group = [o for o in group if mesh.index(mesh.k @ o.rotation.T) is not None]
    group = [o for o in group if projection.image(o, flipped) is not None]
    # only products of what is tried: which atoms move where is then tried for all
    tried = generators(group)
    group = generated_group(group[0], tried)
    whole = with_time_reversal(group) if reverses else group
    best = reduce_mesh(mesh, whole)
    # trying them has its price
    if len(plain) - len(best) <= 1 + len(tried):
        return plain, notes
    levels = _levels_at_images(file, sums, overlap, projection, tried, solver, band_range)
    reason = _why_not(file, projection, flipped, tried, band_range, *levels)
    if reason is not None:
        notes.append(f"the crystal's symmetry is not used: {reason}")
        return plain, notes
    return best, notes


def obeys_time_reversal(total: "BlochSum", spinor: bool, tolerance: float = TOLERANCE) -> bool:
    """Return whether H(−k) is the image of H(k) under time reversal.

    Parameters
    ----------
    total : BlochSum
        H.
    spinor : bool
        T = −iσ_y K, else T = K.
    tolerance : float
        eV, by default 5 meV.

    Returns
    -------
    bool
        True if no element differs by more at a general k.
    """
    from scipy.sparse import csr_array

    if total.dtype.kind == "f":
        return True
    there, back = total.csr(GENERAL), total.csr(-GENERAL)
    image = there.conj()
    if spinor:
        # σ_y on both sides: rows exchange their spins, and ↑↓ changes its sign
        rows = flipped_rows(total.sizes, True)
        sign = np.where(rows > np.arange(total.n_orbitals), -1.0, 1.0)
        turn = csr_array(
            (sign, (np.arange(total.n_orbitals), rows)), shape=(total.n_orbitals, total.n_orbitals)
        )
        image = turn @ image @ turn.T
    gap = abs(image - back)
    return bool(gap.nnz == 0 or gap.max() < tolerance)


def _levels_at_images(
    file: "BlockFile",
    sums: "Sequence[BlochSum]",
    overlap: "BlochSum | None",
    projection: Projection,
    operations: Sequence[Symmetry],
    solver: SolverChoice | None,
    band_range: tuple[int, int] | None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return energies and populations at a general k point and at its images."""
    k = GENERAL * file.structure.pbc
    images = [k, *(o.rotation @ k for o in operations)]
    solver = solver or SolverChoice()
    if band_range is None:
        cutoff = {"overlap_cutoff": solver.options.get("overlap_cutoff")}
        solver = replace(solver, name="dense", options=cutoff)
    indicator = projection.indicator if len(projection) else None
    energies, weights, _ = solve_populations(
        sums,
        overlap,
        images,
        solver,
        indicator,
        band_range=band_range,
        sigma=file.electrons.fermi,
    )
    return energies, weights


def _why_not(
    file: "BlockFile",
    projection: Projection,
    flipped: npt.NDArray[np.integer],
    operations: Sequence[Symmetry],
    band_range: tuple[int, int] | None,
    energies: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
) -> str | None:
    """Return how an operation fails, as a text; None if all hold."""
    for channel, (levels, *others) in enumerate(energies):
        limit = _limit(file, levels, len(energies)) if band_range is None else np.inf
        compared = levels < limit
        for number, operation in enumerate(operations):
            gap = np.abs(others[number] - levels)[compared].max(initial=0)
            if gap > TOLERANCE:
                return f"levels at equivalent k points differ by {1000 * gap:.0f} meV"
            if len(projection):
                populations = weights[channel, 0]
                image = projection.image(operation, flipped)
                moved = weights[channel, number + 1][:, image]
                grid = np.arange(levels[0], limit + SMOOTH, SMOOTH / 2)
                before = _smooth(levels, populations, grid)
                gap = np.abs(before - _smooth(others[number], moved, grid)).max()
                if gap > POPULATION_TOLERANCE * before.max():
                    return "populations at equivalent k points differ"
    return None


def _limit(file: "BlockFile", energies: npt.NDArray[np.float64], channels: int) -> float:
    """Return the energy up to which levels are compared."""
    known = file.electrons.fermi
    if known is None and file.electrons.count is not None:
        held = 1 if channels == 2 or file.hamiltonian.meta.spin == "spinor" else 2
        index = int(file.electrons.count / held / channels)
        known = energies[min(index, len(energies) - 1)]
    return energies[-1] + 1 if known is None else known + ABOVE


def _smooth(
    energies: npt.NDArray[np.float64], weights: npt.NDArray[Any], grid: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    waves = np.exp(-0.5 * ((grid[:, None] - energies) / SMOOTH) ** 2)
    return waves @ weights


def images(
    mesh: ReducedMesh, projection: Projection, flipped: npt.NDArray[np.integer]
) -> npt.NDArray[np.int64]:
    """Return where each operation of a reduced mesh takes each group.

    Parameters
    ----------
    mesh : ReducedMesh
        From `reduced`.
    projection : Projection
        The groups.
    flipped : (n,) array of int
        Row with the other spin.

    Returns
    -------
    (operations, ng) array of int
        Groups.
    """
    targets = [projection.image(o, flipped) for o in mesh.symmetries]
    return np.array(targets, dtype=np.int64).reshape(len(targets), len(projection))


def averaged(
    mesh: ReducedMesh, values: npt.NDArray[np.float64], image: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """Average populations over all points of the mesh that a computed point stands for.

    Parameters
    ----------
    mesh : ReducedMesh
        From `reduced`.
    values : (nk, ng, …) array
        At the points that were computed.
    image : (operations, ng) array of int
        From `images`.

    Returns
    -------
    (nk, ng, …) array
        Averages.
    """
    if (image == np.arange(values.shape[1])).all():
        return values
    ways = len(mesh.symmetries)
    pairs, counts = np.unique(mesh.point * ways + mesh.operation, return_counts=True)
    size = np.bincount(pairs // ways, counts, len(mesh))
    out = np.zeros_like(values)
    for pair, count in zip(pairs, counts, strict=True):
        point, operation = divmod(int(pair), ways)
        out[point] += count / size[point] * values[point][image[operation]]
    return out
