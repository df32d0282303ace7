"""The density of states of a block file."""

import os
from dataclasses import dataclass

import numpy as np

from moireio.dos import kpm
from moireio.dos.broadening import edges, gaussian_dos, simplex_dos
from moireio.errors import MoireioError
from moireio.projection.groups import flipped_rows, make_projection
from moireio.results.dos import DensityOfStates
from moireio.solvers import mkl
from moireio.solvers.base import EigenProblem
from moireio.solvers.registry import can_count
from moireio.spectrum import irreducible as symmetry
from moireio.spectrum.filling import (
    SMALLEST_GAP,
    LevelsAround,
    electron_count,
    electron_temperature,
    filling_of,
)
from moireio.spectrum.populations import states_on_mesh
from moireio.spectrum.problems import SolverChoice
from moireio.spectrum.sums import bloch_sums

DENSE_SIZE = 6000  # states up to which "auto" takes them all
WIDTH = {"gaussian": 0.05, "kpm": 0.1}  # eV
ABOVE = 8.0  # eV shown above the zero
POINTS = 2001
TICKS = 100  # of progress for one k point of the kernel polynomial method
MOST_NUMBERS = 2e9
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
    solver : {"auto", "dense", "kpm"}
        All levels, or the kernel polynomial method; "auto" takes the latter above 6000 states.
    chebyshev : Chebyshev, optional
        How the latter is run.
    temperature : float, optional
        For the Fermi level, K; by default that of the file, or 300.
    use_symmetry : bool
        Whether to use the crystal's symmetry besides time reversal.
    jobs : int, optional
        Processes, or threads; by default one per core.
    progress : callable, optional
        Called with (done, all) steps.

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
    sums, overlap, spin = bloch_sums(file)
    projection = make_projection(file, project)
    if grid.points * (1 + len(projection)) > MOST_NUMBERS / 8:
        raise MoireioError("--points times the groups of --project is too much")
    n = sums[0].n_orbitals
    if solver == "auto":
        solver = "dense" if n <= DENSE_SIZE else "kpm"
    method = _method(method, solver, mesh, file.structure, width)
    if method != "tetrahedron":
        width = WIDTH[method] if width is None else width
    small, notes = symmetry.reduced(
        file, mesh, sums, overlap, projection, use_group=use_symmetry and solver == "dense"
    )
    if solver == "dense" and len(small) * n * len(sums) * (1.0 + len(projection)) > MOST_NUMBERS:
        raise MoireioError(
            f"{len(small)} k points with {n} states in {len(projection)} groups do not fit",
            remedy="choose a coarser --mesh or fewer groups, or --solver kpm",
        )
    run = _Run(file, small, sums, overlap, projection, spin, jobs, notes, temperature)
    if solver == "dense":
        return run.dense(method, width, grid, progress)
    return run.kernel_polynomials(width, grid, chebyshev or Chebyshev(), progress)


def _method(method, solver, mesh, structure, width):
    """Return how levels are broadened, or refuse what does not fit."""
    whole = structure.pbc.any() and all(
        count > 1 for count, periodic in zip(mesh.shape, structure.pbc, strict=True) if periodic
    )
    if solver == "kpm":
        if method == "tetrahedron":
            raise MoireioError(
                "the tetrahedron method needs all levels", remedy="use --solver dense"
            )
        return "kpm"
    if method == "auto":
        return "tetrahedron" if whole and width is None else "gaussian"
    if method == "tetrahedron" and len(mesh) == 1:
        raise MoireioError(
            "the tetrahedron method needs more than one k point", remedy="use --method gaussian"
        )
    return method


class _Run:
    """What both solvers share."""

    def __init__(self, file, mesh, sums, overlap, projection, spin, jobs, notes, temperature):
        self.file, self.mesh, self.sums, self.overlap = file, mesh, sums, overlap
        self.projection, self.jobs, self.notes = projection, jobs, notes
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

    def dense(self, method, width, grid, progress):
        """Find all levels, and broaden them."""
        count = len(self.sums) * len(self.mesh)
        energies, weights = states_on_mesh(
            self.sums,
            self.overlap,
            self.mesh.k,
            self.indicator,
            self.jobs,
            progress and (lambda steps: progress(steps, count)),
        )
        known = {}
        if self.electrons is not None:
            found = filling_of(
                energies, self.mesh.weights, self.electrons, self.degeneracy, self.temperature
            )
            known = self._told(found)
        margin = 0.5 if width is None else 6 * width
        dos = _replace(self._start(method, width), **known)
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
        dos = _replace(dos, **self._near_the_gap())
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
        dos = _replace(dos, error=error, width=max(m.width for m in every))
        return self._finish(dos, points, np.array(curves))

    def _moments(self, width, chebyshev, ticker, indicator, wanted):
        """Return the moments of every spin and k point."""

        def window(low, high):
            grid, dos = wanted
            return grid.energies(dos, low, high)[[0, -1]]

        with mkl.beside():
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
                        threads=self.jobs or os.cpu_count() or 1,
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
        return _replace(dos, fermi=level, fermi_error=error)

    def _near_the_gap(self):
        """Return Fermi level and gap from a few levels, which moments would not resolve.

        Nothing if the solver for some levels cannot count so many, or too many would be needed.
        """
        n = self.sums[0].n_orbitals
        if self.electrons is None or not can_count(n):
            return {}
        levels = LevelsAround(self.sums, self.overlap, self.mesh, SolverChoice(jobs=self.jobs))
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
        return _replace(
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


def _replace(dos, **changes):
    from dataclasses import replace

    return replace(dos, **changes)
