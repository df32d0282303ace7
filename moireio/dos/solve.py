"""The density of states of a block file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.dos import kpm
from moireio.dos.broadening import edges, gaussian_dos, simplex_dos
from moireio.dos.electrons import level_from_counts, level_from_moments
from moireio.errors import MoireioError, naming
from moireio.projection.groups import flipped_rows, make_projection
from moireio.results.dos import DensityOfStates
from moireio.runtime.progress import Progress
from moireio.runtime.threads import blas_beside_mkl, cores
from moireio.solvers.base import EigenProblem
from moireio.solvers.registry import can_count
from moireio.spectrum import irreducible as symmetry
from moireio.spectrum.checkpoint import checkpointed, solver_key
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.filling import (
    FEW,
    SMALLEST_GAP,
    LevelsAround,
    electron_count,
    electron_temperature,
    occupation_of,
)
from moireio.spectrum.levels import check_result
from moireio.spectrum.populations import solve_populations
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.sums import bloch_sums

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.kspace.mesh import KMesh

DENSE_SIZE = 6000  # orbitals up to which "auto" finds all levels
WIDTH = {"gaussian": 0.05, "kpm": 0.1}  # eV
ABOVE = 8.0  # eV shown above the zero
POINTS = 2001
FERMI = ("auto", "moments", "counts", "levels", "none")
MAX_LEVELS = 64  # levels at every k that "auto" finds at most for the Fermi level
ROUGH_MOMENTS = 64  # for the window of projections, before the Fermi level is known


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
    solver : {"auto", "dense", "kpm"} or SolverChoice
        All levels, or the kernel polynomial method; "auto" takes the latter above 6000 orbitals.
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
        reduced_mesh, notes = symmetry.reduced(
            file,
            mesh,
            sums,
            overlap,
            projection,
            solver=choice,
            use_group=use_symmetry and from_levels,
        )
        run = _Run(file, reduced_mesh, sums, overlap, projection, spin, choice, notes, temperature)
        if fermi == "none":
            run.electrons = run.stored_level = None
        if not from_levels:
            return run.kernel_polynomials(width, grid, chebyshev or Chebyshev(), fermi, progress)
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
            }

        with checkpointed(checkpoint, key, resume) as kept:
            return run.dense(method, width, grid, kept, progress)


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


class _Run:
    """One density of states, from all levels or from kernel polynomials."""

    def __init__(self, file, mesh, sums, overlap, projection, spin, choice, notes, temperature):
        self.file, self.mesh, self.sums, self.overlap = file, mesh, sums, overlap
        self.projection, self.choice, self.notes = projection, choice, notes
        self.degeneracy = 2.0 if spin == "none" else 1.0
        self.flipped = flipped_rows(sums[0].sizes, spin == "spinor")
        self.indicator = projection.indicator if len(projection) else None
        self.electrons, self.stored_level = electron_count(file), file.electrons.fermi
        self.temperature = electron_temperature(file, temperature)

    def _start(self, method, width):
        """Return a result without its numbers."""
        empty = np.zeros((len(self.sums), 0, 1))
        stored = None if self.electrons is not None else self.stored_level
        return DensityOfStates(
            np.zeros(0),
            empty[..., 0],
            empty,
            labels=self.projection.labels,
            projection=tuple(self.projection.names[w] for w in self.projection.way),
            method=method,
            width=width,
            mesh=self.mesh.mesh.shape,
            shift=self.mesh.mesh.shift,
            fermi=stored,
            fermi_from=None if stored is None else "file",
            electrons=self.electrons,
            source=self.file.hamiltonian.meta.source,
        )

    def dense(self, method, width, grid, checkpoint, progress):
        """Return the density of all levels, broadened."""
        energies, weights, notes = solve_populations(
            self.sums,
            self.overlap,
            self.mesh.k,
            self.choice,
            self.indicator,
            checkpoint=checkpoint,
            progress=progress,
        )
        self.notes += notes
        dos = self._start(method, width)
        if self.electrons is not None:
            occupation = occupation_of(
                energies, self.mesh.weights, self.electrons, self.degeneracy, self.temperature
            )
            dos = replace(dos, **self._edges(occupation))
        margin = 0.5 if width is None else 6 * width
        points = grid.energies(dos, energies.min() - margin, energies.max() + margin)
        image = symmetry.images(self.mesh, self.projection, self.flipped)
        curves = []
        for levels, populations in zip(energies, weights, strict=True):
            if method == "gaussian":
                mean = symmetry.averaged(self.mesh, np.moveaxis(populations, 2, 1), image)
                mean = np.moveaxis(mean, 1, 2)
                curves.append(gaussian_dos(levels, self.mesh.weights, mean, points, width))
            else:
                curves.append(self._interpolated(levels, populations, points, image))
        return self._finish(dos, points, np.array(curves))

    def _interpolated(self, levels, populations, points, image):
        mesh, groups = self.mesh, len(self.projection)
        simplices = mesh.mesh.simplices(self.file.structure.reciprocal)

        def of_band(band):
            at_points = populations[:, band][mesh.point]
            return np.take_along_axis(at_points, image[mesh.operation], axis=1)

        return simplex_dos(
            levels, simplices, points, mesh.point, of_band if groups else None, groups
        )

    def kernel_polynomials(self, width, grid, chebyshev, fermi, progress):
        """Return the density from moments, the sum of their series."""
        dos = self._start("kpm", width)
        if self._wants_levels(fermi, grid):
            dos = replace(dos, **self._from_levels(MAX_LEVELS if fermi == "auto" else None))
        pending = self.electrons is not None and dos.fermi is None
        counts = fermi == "counts" or (
            fermi == "auto" and self.overlap is not None and can_count(self.sums[0].n_orbitals)
        )
        passes = 2 if pending and self.indicator is not None else 1
        ticker = kpm.Ticker(progress, len(self.sums) * len(self.mesh) * passes)
        shown, slack = dos, 0.0
        if passes == 2:  # which energies are projected depends on the Fermi level
            rough = replace(
                chebyshev, moments=min(ROUGH_MOMENTS, chebyshev.moments or ROUGH_MOMENTS)
            )
            parts = self._moments(width, rough, ticker, None, None)
            shown = self._with_level(dos, parts)
            slack = 3 * (shown.fermi_error or 0.0) + 2 * shown.fermi_resolution
        parts = self._moments(width, chebyshev, ticker, self.indicator, (grid, shown, slack))
        if pending:
            try:
                dos = self._with_level(dos, parts, counts)
            except MoireioError as error:
                if fermi != "auto" or not counts:
                    raise
                # factors of H are larger than those of S; the moments are there
                reason = error.args[0]
                self.notes.append(f"no count, the Fermi level is from moments alone: {reason}")
                dos = self._with_level(dos, parts)
        every = [m for moments in parts for m in moments]
        low = min(m.centre - m.half for m in every)
        high = max(m.centre + m.half for m in every)
        points = grid.energies(dos, low, high)
        image = symmetry.images(self.mesh, self.projection, self.flipped)
        curves, errors = [], []
        for moments in parts:
            below = np.stack([m.below(edges(points)) for m in moments])  # k, vectors, energies
            density = np.diff(below, axis=-1) / (points[1] - points[0])
            shares = np.stack([m.parts(points) for m in moments])
            shares = symmetry.averaged(self.mesh, shares, image)
            mean = density.mean(axis=1)
            whole = np.concatenate([mean[:, None], mean[:, None] * shares], axis=1)
            curves.append(np.einsum("k,kge->ge", self.mesh.weights, whole))
            samples = np.einsum("k,kve->ve", self.mesh.weights, density)
            if len(samples) > 1:
                errors.append(samples.std(axis=0, ddof=1) / np.sqrt(len(samples)))
        error = self.degeneracy * np.array(errors) if errors else None
        dos = replace(dos, error=error, width=max(m.width for m in every))
        return self._finish(dos, points, np.array(curves))

    def _moments(self, width, chebyshev, ticker, indicator, shown):
        """Return the moments of every spin and k point."""

        def energy_window(low, high):
            grid, dos, slack = shown
            return grid.energies(dos, low, high)[[0, -1]] + np.array([-slack, slack])

        with blas_beside_mkl():
            return [
                [
                    kpm.moments(
                        EigenProblem(total, self.overlap, k),
                        width=width,
                        count=chebyshev.moments,
                        vectors=chebyshev.vectors,
                        seed=[chebyshev.seed, number],
                        indicator=indicator,
                        energy_window=energy_window,
                        threads=self.choice.jobs or cores(),
                        memory=self.choice.memory,
                        progress=ticker,
                    )
                    for number, k in enumerate(self.mesh.k)
                ]
                for total in self.sums
            ]

    def _with_level(self, dos, parts, counts=False):
        """Return a result with the Fermi level from moments, and counts of levels."""
        both = [
            (w, m) for moments in parts for w, m in zip(self.mesh.weights, moments, strict=True)
        ]
        if not counts:
            found = level_from_moments(both, self.electrons, self.degeneracy)
        else:
            choice = replace(self.choice, name="sparse")
            with EigenproblemSet(self.sums, self.overlap, self.mesh.k, choice, 1) as problems:

                def count(energy):
                    return sum(
                        weight * problems.count_below(channel, point, energy)
                        for channel in range(len(self.sums))
                        for point, weight in enumerate(self.mesh.weights)
                    )

                found = level_from_counts(both, self.electrons, self.degeneracy, count)
            edges = self._from_levels(FEW, found.fermi) if found.counted else {}
            if edges:  # few levels are near: the gap is worth its factors
                return replace(dos, **edges)
        return replace(
            dos,
            fermi=found.fermi,
            fermi_from="counts" if counts else "moments",
            fermi_error=found.error,
            fermi_resolution=found.resolution,
            vbm=found.vbm,
            gap=found.gap,
        )

    def _wants_levels(self, fermi, grid):
        """Return whether to find levels next to the Fermi level before the moments."""
        n = self.sums[0].n_orbitals
        if self.electrons is None or fermi in ("moments", "counts"):
            return False
        return fermi == "levels" or (can_count(n) and (n <= DENSE_SIZE or grid.zero == "vbm"))

    def _from_levels(self, max_levels, sigma=None):
        """Return Fermi level and gap from levels; nothing if more than `max_levels` are needed."""
        choice = replace(self.choice, name="auto")
        levels = LevelsAround(
            self.sums, self.overlap, self.mesh, choice, structure=self.file.structure
        )
        sigma = self.file.electrons.fermi if sigma is None else sigma
        occupation = levels.occupation(
            self.electrons, self.degeneracy, self.temperature, sigma, max_levels
        )
        return {} if occupation is None else self._edges(occupation)

    def _edges(self, occupation):
        """Return Fermi level, VBM and gap; note where the file has another Fermi level."""
        fermi, stored = occupation.fermi, self.file.electrons.fermi
        if stored is not None and abs(stored - fermi) > SMALLEST_GAP and occupation.gap is None:
            self.notes.append(
                f"the Fermi level in the file is {stored:.4f} eV, on this mesh it is {fermi:.4f} eV"
            )
        return {
            "fermi": fermi,
            "fermi_from": "levels",
            "vbm": occupation.vbm,
            "gap": occupation.gap,
        }

    def _finish(self, dos, points, curves):
        curves = self.degeneracy * curves
        return replace(
            dos,
            energies=points,
            total=np.ascontiguousarray(curves[:, 0]),
            projected=np.ascontiguousarray(curves[:, 1:]),
            notes=tuple(self.notes),
        )
