"""The density of states of a block file."""

from dataclasses import dataclass, replace

import numpy as np

from moireio.dos import kpm
from moireio.dos.broadening import edges, gaussian_dos, simplex_dos
from moireio.errors import MoireioError
from moireio.projection.groups import flipped_rows, make_projection
from moireio.results.dos import DensityOfStates
from moireio.runtime.threads import blas_beside_mkl, cores
from moireio.solvers.base import EigenProblem
from moireio.solvers.registry import can_count
from moireio.spectrum import irreducible as symmetry
from moireio.spectrum.checkpoint import Checkpoint
from moireio.spectrum.filling import (
    SMALLEST_GAP,
    LevelsAround,
    electron_count,
    electron_temperature,
    filling_of,
)
from moireio.spectrum.levels import check_result
from moireio.spectrum.populations import solve_populations
from moireio.spectrum.problems import SolverChoice
from moireio.spectrum.sums import bloch_sums

DENSE_SIZE = 6000  # states up to which "auto" takes them all
WIDTH = {"gaussian": 0.05, "kpm": 0.1}  # eV
ABOVE = 8.0  # eV shown above the zero
POINTS = 2001
TICKS = 100  # of progress for one k point of the kernel polynomial method
MOST_LEVELS = 64  # that may tell the Fermi level of a large system


@dataclass(frozen=True)
class Grid:
    """Which energies a density of states is wanted at.

    Parameters
    ----------
    window : (float, float), optional
        Lowest and highest, eV counted from `zero`; by default from the lowest level to 8 eV above
        the zero, or to the highest level.
    points : int
        How many.
    zero : {"fermi", "vbm", "none"} or float, optional
        What the window counts from; by default the Fermi level if it is known.
    """

    window: tuple | None = None
    points: int = POINTS
    zero: str | float | None = None

    def energies(self, dos, low, high):
        """Return the energies.

        Parameters
        ----------
        dos : DensityOfStates
            Its levels are known already.
        low, high : float
            Of all levels, eV.

        Returns
        -------
        (points,) array
            eV.
        """
        zero = self.zero
        if zero is None:
            zero = "fermi" if dos.fermi is not None else "none"
        shift = dos.zero(zero)
        if self.window is not None:
            low, high = (shift + v for v in self.window)
        elif zero != "none":
            high = max(min(high, shift + ABOVE), low + 1.0)
        return np.linspace(low, high, self.points)


@dataclass(frozen=True)
class Chebyshev:
    """How the kernel polynomial method is run.

    Parameters
    ----------
    moments : int, optional
        Moments; by default as many as the width needs.
    vectors : int
        Random vectors.
    seed : int
        Of random numbers.
    """

    moments: int | None = None
    vectors: int = 8
    seed: int = 0


def density_of_states(
    file,
    mesh,
    *,
    project=(),
    method="auto",
    width=None,
    grid=None,
    solver="auto",
    chebyshev=None,
    temperature=None,
    use_symmetry=True,
    jobs=None,
    checkpoint=None,
    resume=False,
    progress=None,
):
    """Return the density of states of a block file on a mesh of k points.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian, and an overlap unless its basis is orthogonal.
    mesh : KMesh
        Of k points.
    project : sequence of str
        Groups of orbitals, such as "element,shell" (see `make_projection`).
    method : {"auto", "gaussian", "tetrahedron"}
        How levels are broadened; "auto" takes the tetrahedron method (linear; triangles in two
        dimensions) where the mesh has several points along every periodic axis, unless a width
        is given.
    width : float, optional
        Standard deviation, eV; by default 0.05 for Gaussians, 0.1 for kernel polynomials.
    grid : Grid, optional
        At which energies.
    solver : {"auto", "dense", "kpm"} or SolverChoice
        All levels, or the kernel polynomial method; "auto" takes the latter above 6000 orbitals.
    chebyshev : Chebyshev, optional
        How the latter is run.
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
        If H or S is missing, S not positive definite, the method does not fit the mesh, or the
        zero of the window is unknown.
    """
    grid = grid or Grid()
    choice = SolverChoice(solver, jobs=jobs) if isinstance(solver, str) else solver
    sums, overlap, spin = bloch_sums(file)
    projection = make_projection(file, project)
    check_result(
        grid.points * (1.0 + len(projection)),
        choice.memory,
        f"{grid.points} energies in {len(projection)} groups",
        "choose fewer `points` or groups",
    )
    n = sums[0].n_orbitals
    if choice.name == "auto":
        choice = replace(choice, name="dense" if n <= DENSE_SIZE else "kpm")
    levels = choice.name != "kpm"
    method = _method(method, choice, mesh, file.structure, width)
    if method != "tetrahedron":
        width = WIDTH[method] if width is None else width
    if resume and not levels:
        raise MoireioError("the kernel polynomial method cannot be resumed", remedy="no `resume`")
    small, notes = symmetry.reduced(
        file, mesh, sums, overlap, projection, solver=choice, use_group=use_symmetry and levels
    )
    if levels:
        check_result(
            len(small) * len(sums) * n * (1.0 + len(projection)),
            choice.memory,
            f"{n} levels at {len(small)} k points in {len(projection)} groups",
            "choose a coarser mesh or fewer groups, or `solver` kpm",
        )
    run = _Run(file, small, sums, overlap, projection, spin, choice, notes, temperature)
    if not levels:
        return run.kernel_polynomials(width, grid, chebyshev or Chebyshev(), progress)
    kept = None
    if checkpoint is not None:
        key = {
            "input": file.digest(),
            "k": small.k.tolist(),
            "solver": [choice.name, choice.options.get("overlap_cutoff")],
            "project": list(project),
        }
        kept = Checkpoint(checkpoint, key, resume)
    done = False
    try:
        dos = run.dense(method, width, grid, kept, progress)
        done = True
    finally:
        if kept is not None:
            kept.close(done)
    return dos


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
        self.electrons = electron_count(file)
        self.temperature = electron_temperature(file, temperature)

    def _start(self, method, width):
        """Return a result without its numbers."""
        empty = np.zeros((len(self.sums), 0, 1))
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
            fermi=None if self.electrons is not None else self.file.electrons.fermi,
            electrons=self.electrons,
            source=self.file.hamiltonian.meta.source,
        )

    def dense(self, method, width, grid, checkpoint, progress):
        """Find all levels, and broaden them."""
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
        known = {}
        if self.electrons is not None:
            found = filling_of(
                energies, self.mesh.weights, self.electrons, self.degeneracy, self.temperature
            )
            known = self._told(found)
        margin = 0.5 if width is None else 6 * width
        dos = replace(self._start(method, width), **known)
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
            own = populations[:, band][mesh.point]
            return np.take_along_axis(own, image[mesh.operation], axis=1)

        return simplex_dos(
            levels, simplices, points, mesh.point, of_band if groups else None, groups
        )

    def kernel_polynomials(self, width, grid, chebyshev, progress):
        """Find moments, and sum the series."""
        dos = self._start("kpm", width)
        dos = replace(dos, **self._near_the_gap())
        pending = self.electrons is not None and dos.fermi is None
        passes = 2 if pending and self.indicator is not None else 1
        ticker = _Ticker(progress, len(self.sums) * len(self.mesh) * TICKS * passes)
        if passes == 2:  # what is shown depends on the Fermi level
            parts = self._moments(width, chebyshev, ticker, None, None)
            dos, pending = self._with_level(dos, parts), False
        parts = self._moments(width, chebyshev, ticker, self.indicator, (grid, dos))
        if pending:
            dos = self._with_level(dos, parts)
        every = [m for own in parts for m in own]
        low = min(m.centre - m.half for m in every)
        high = max(m.centre + m.half for m in every)
        points = grid.energies(dos, low, high)
        image = symmetry.images(self.mesh, self.projection, self.flipped)
        curves, errors = [], []
        for own in parts:
            below = np.stack([m.below(edges(points)) for m in own])  # k, vectors, energies
            density = np.diff(below, axis=-1) / (points[1] - points[0])
            shares = np.stack([m.parts(points) for m in own])
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

    def _moments(self, width, chebyshev, ticker, indicator, wanted):
        """Return the moments of every spin and k point."""

        def window(low, high):
            grid, dos = wanted
            return grid.energies(dos, low, high)[[0, -1]]

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
                        window=window,
                        threads=self.choice.jobs or cores(),
                        memory=self.choice.memory,
                        progress=ticker,
                    )
                    for number, k in enumerate(self.mesh.k)
                ]
                for total in self.sums
            ]

    def _with_level(self, dos, parts):
        """Add the Fermi level that moments tell."""
        both = [(w, m) for own in parts for w, m in zip(self.mesh.weights, own, strict=True)]
        level, error = kpm.chemical_potential(both, self.electrons, self.degeneracy)
        return replace(dos, fermi=level, fermi_error=error)

    def _near_the_gap(self):
        """Return Fermi level and gap from a few levels, which moments would not resolve.

        Nothing if the solver for some levels cannot count so many, or too many would be needed.
        """
        n = self.sums[0].n_orbitals
        if self.electrons is None or not can_count(n):
            return {}
        choice = replace(self.choice, name="auto")
        levels = LevelsAround(self.sums, self.overlap, self.mesh, choice)
        near = self.file.electrons.fermi
        found = levels.filling(
            self.electrons, self.degeneracy, self.temperature, near, max(MOST_LEVELS, n // 64)
        )
        return {} if found is None else self._told(found)

    def _told(self, found):
        """Return Fermi level, VBM and gap; note where the file has another Fermi level."""
        stored = self.file.electrons.fermi
        if stored is not None and abs(stored - found.fermi) > SMALLEST_GAP and found.gap is None:
            self.notes.append(
                f"the file's own Fermi level is {stored:.4f} eV, that of this mesh "
                f"{found.fermi:.4f} eV"
            )
        return {"fermi": found.fermi, "vbm": found.valence_top, "gap": found.gap}

    def _finish(self, dos, points, curves):
        curves = self.degeneracy * curves
        return replace(
            dos,
            energies=points,
            total=np.ascontiguousarray(curves[:, 0]),
            projected=np.ascontiguousarray(curves[:, 1:]),
            notes=tuple(self.notes),
        )


class _Ticker:
    """Counts shares of work in whole steps."""

    def __init__(self, progress, count):
        self._progress, self._count = progress, count
        self._done, self._told = 0.0, 0

    def __call__(self, share):
        """Add a share of the work of one k point."""
        self._done += share * TICKS
        steps = int(self._done + 1e-6) - self._told
        if steps > 0 and self._progress:
            self._told += steps
            self._progress(steps, self._count)
