"""The density of states of a block file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.dos.by_levels import LevelsRun
from moireio.dos.by_moments import DENSE_SIZE, MomentsRun
from moireio.errors import MoireioError, naming
from moireio.projection.groups import make_projection
from moireio.results.dos import DensityOfStates
from moireio.runtime.progress import Progress
from moireio.spectrum import irreducible as symmetry
from moireio.spectrum.checkpoint import checkpointed, solver_key
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.filling import FEW, electron_count
from moireio.spectrum.levels import check_result
from moireio.spectrum.selection import centred_range
from moireio.spectrum.sums import bloch_sums

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.kspace.mesh import KMesh

WIDTH = {"gaussian": 0.05, "kpm": 0.1}  # eV
ABOVE = 8.0  # eV shown above the zero
POINTS = 2001
FERMI = ("auto", "moments", "counts", "levels", "none")


@dataclass(frozen=True)
class EnergyGrid:
    """Energies at which a density of states is wanted.

    Parameters
    ----------
    energy_window : (float, float), optional
        Lowest and highest, eV counted from `zero`; by default from the lowest level to 8 eV above
        the zero, or to the highest level.
    points : int
        How many.
    zero : {"fermi", "vbm", "none"} or float, optional
        Origin of the window; by default the Fermi level if it is known.
    """

    energy_window: tuple[float, float] | None = None
    points: int = POINTS
    zero: str | float | None = None

    def energies(self, dos: DensityOfStates, low: float, high: float) -> npt.NDArray[np.float64]:
        """Return the energies.

        Parameters
        ----------
        dos : DensityOfStates
            With the levels that are known.
        low, high : float
            Lowest and highest energy with states, eV.

        Returns
        -------
        (points,) array
            eV.

        Raises
        ------
        MoireioError
            If the zero is unknown.
        """
        zero = self.zero
        if zero is None:
            zero = "fermi" if dos.fermi is not None else "none"
        shift = dos.zero(zero)
        if self.energy_window is not None:
            low, high = (shift + v for v in self.energy_window)
        elif zero != "none":
            high = max(min(high, shift + ABOVE), low + 1.0)
        return np.linspace(low, high, self.points)


@dataclass(frozen=True)
class Chebyshev:
    """Settings of the kernel polynomial method.

    Parameters
    ----------
    moments : int, optional
        Moments; by default as many as the width needs.
    vectors : int
        Random vectors.
    seed : int
        Seed of the random numbers.
    """

    moments: int | None = None
    vectors: int = 8
    seed: int = 0


def density_of_states(
    file: "BlockFile",
    mesh: "KMesh",
    *,
    project: Sequence[str] = (),
    method: str = "auto",
    width: float | None = None,
    grid: EnergyGrid | None = None,
    solver: str | SolverChoice = "auto",
    chebyshev: Chebyshev | None = None,
    fermi: str = "auto",
    temperature: float | None = None,
    use_symmetry: bool = True,
    jobs: int | None = None,
    checkpoint: str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> DensityOfStates:
    """Return the density of states of a block file on a mesh of k points.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian, and an overlap unless its basis is orthogonal.
    mesh : KMesh
        k points.
    project : sequence of str
        Groups of orbitals, such as "element,shell" (see `make_projection`).
    method : {"auto", "gaussian", "tetrahedron"}
        How levels are broadened; "auto" takes the tetrahedron method (linear; triangles in two
        dimensions) where the mesh has several points along every periodic axis, unless a width
        is given.
    width : float, optional
        Standard deviation, eV; by default 0.05 for Gaussians, 0.1 for kernel polynomials.
    grid : EnergyGrid, optional
        Energies of the result.
    solver : {"auto", "dense", "sparse", "kpm"} or SolverChoice
        All levels, those in the window of `grid` (at many k points of a large cell from a few
        anchors), or the kernel polynomial method; "auto" takes the latter above 6000 orbitals.
    chebyshev : Chebyshev, optional
        Settings of the latter.
    fermi : {"auto", "moments", "counts", "levels", "none"}
        How kernel polynomials find the Fermi level: from the moments; from them and counts of the
        levels below one to three energies (factors of H at every k; in a gap also its ends);
        from levels next to it (exact on the mesh, with gap and valence band maximum); or not.
        "auto" finds at most 64 levels up to 6000 orbitals, or where `grid` counts from the valence
        band maximum; else it counts where there is S, whose factors cost as much, and takes the
        moments where there is not. Where all levels are found, there are no moments.
    temperature : float, optional
        For the Fermi level, K; by default that of the file, or 300.
    use_symmetry : bool
        Whether to use the crystal's symmetry besides time reversal.
    jobs : int, optional
        Processes, or threads, where `solver` is a name; by default one per core.
    checkpoint : str, optional
        File that keeps finished k points during the run; it is removed at the end. The kernel
        polynomial method keeps none.
    resume : bool
        Continue from the file of an interrupted run.
    progress : Progress, optional
        Steps are k points, or parts of them.

    Returns
    -------
    DensityOfStates
        States per eV and cell.

    Raises
    ------
    MoireioError
        If H or S is missing, S is not positive definite, the method does not fit the mesh, the
        zero of the window is unknown, or memory does not suffice.
    """
    grid = grid or EnergyGrid()
    choice = SolverChoice(solver, jobs=jobs) if isinstance(solver, str) else solver
    sums, overlap, spin = bloch_sums(file)
    with naming(file.label):
        projection = make_projection(file, project)
        check_result(
            grid.points * (1.0 + len(projection)),
            choice.memory,
            f"{grid.points} energies in {len(projection)} groups",
            "choose fewer `points` or groups",
        )
        n_orbitals = sums[0].n_orbitals
        if choice.name == "auto":
            choice = replace(choice, name="dense" if n_orbitals <= DENSE_SIZE else "kpm")
        from_levels = choice.name != "kpm"
        if fermi not in FERMI or (fermi in ("moments", "counts") and from_levels):
            raise MoireioError(
                f"the Fermi level cannot come from {fermi!r}"
                + (" where all levels are found" if fermi in FERMI else ""),
                remedy="`solver` kpm, or `fermi` levels" if fermi in FERMI else ", ".join(FERMI),
            )
        method = _method(method, choice, mesh, file.structure, width)
        if method != "tetrahedron":
            width = WIDTH[method] if width is None else width
        if resume and not from_levels:
            raise MoireioError(
                "the kernel polynomial method cannot be resumed", remedy="leave `resume` out"
            )
        inside = choice.name == "sparse"
        tried = _bands_tried(file, sums, spin) if inside else None
        reduced_mesh, notes = symmetry.reduced(
            file,
            mesh,
            sums,
            overlap,
            projection,
            solver=choice if tried is None else replace(choice, name="auto"),
            use_group=use_symmetry and from_levels and (tried is not None or not inside),
            band_range=tried,
        )
        kind = LevelsRun if from_levels else MomentsRun
        run = kind(file, reduced_mesh, sums, overlap, projection, spin, choice, notes, temperature)
        if fermi == "none":
            run.electrons = run.stored_level = None
        if not from_levels:
            return run.density(width, grid, chebyshev or Chebyshev(), fermi, progress)
        if not inside:
            check_result(
                len(reduced_mesh) * len(sums) * n_orbitals * (1.0 + len(projection)),
                choice.memory,
                f"{n_orbitals} levels at {len(reduced_mesh)} k points in {len(projection)} groups",
                "choose a coarser mesh or fewer groups, or `solver` kpm",
            )

        def key():
            return {
                "input": file.digest(),
                "k": reduced_mesh.k.tolist(),
                "solver": solver_key(choice),
                "project": list(project),
                "window": None
                if not inside
                else [grid.energy_window and list(grid.energy_window), grid.zero, width],
            }

        with checkpointed(checkpoint, key, resume) as kept:
            return run.density(method, width, grid, kept, progress)


def _bands_tried(file, sums, spin):
    """Return the bands on which the sparse solver tries symmetry; None if they are not known."""
    electrons = electron_count(file)
    if electrons is None:
        return None
    n = sums[0].n_orbitals
    below = electrons / (2.0 if spin == "none" else 1.0) / len(sums)
    return centred_range(n, min(FEW, n), min(below, n))


def _method(method, choice, mesh, structure, width):
    """Return how levels are broadened, or refuse what does not fit."""
    whole = structure.pbc.any() and all(
        count > 1 for count, periodic in zip(mesh.shape, structure.pbc, strict=True) if periodic
    )
    if choice.name == "kpm":
        if method == "tetrahedron":
            raise MoireioError(
                "the tetrahedron method needs all levels", remedy="use `solver` dense"
            )
        if choice.device != "cpu":
            raise MoireioError(
                "the kernel polynomial method runs on the CPU", remedy="use `device` cpu"
            )
        if choice.options.get("overlap_cutoff"):
            raise MoireioError(
                "the kernel polynomial method leaves no combinations of orbitals out",
                remedy="no `overlap_cutoff`, or `solver` dense",
            )
        return "kpm"
    if method == "auto":
        return "tetrahedron" if whole and width is None else "gaussian"
    if method == "tetrahedron" and len(mesh) == 1:
        raise MoireioError(
            "the tetrahedron method needs more than one k point",
            remedy="use `method` gaussian",
        )
    return method
