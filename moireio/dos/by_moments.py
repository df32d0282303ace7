"""Densities of states from Chebyshev moments, the kernel polynomial method."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from moireio.dos import kpm
from moireio.dos.broadening import edges
from moireio.dos.electrons import level_from_counts, level_from_moments
from moireio.dos.run import Run
from moireio.errors import MoireioError
from moireio.results.dos import DensityOfStates
from moireio.runtime.progress import Progress
from moireio.runtime.threads import blas_beside_mkl, cores
from moireio.solvers.base import EigenProblem
from moireio.solvers.registry import can_count
from moireio.spectrum import irreducible as symmetry
from moireio.spectrum.filling import FEW
from moireio.spectrum.problems import EigenproblemSet

if TYPE_CHECKING:
    from moireio.dos.solve import Chebyshev, EnergyGrid

DENSE_SIZE = 6000  # orbitals up to which levels are found next to the Fermi level, or all of them
MAX_LEVELS = 64  # levels at every k that "auto" finds at most for the Fermi level
ROUGH_MOMENTS = 64  # for the window of projections, before the Fermi level is known


class MomentsRun(Run):
    """A density of states from moments."""

    def density(
        self,
        width: float,
        grid: "EnergyGrid",
        chebyshev: "Chebyshev",
        fermi: str,
        progress: Progress | None,
    ) -> DensityOfStates:
        """Return the density from moments, the sum of their series.

        Parameters
        ----------
        width : float
            Standard deviation of a level, eV.
        grid : EnergyGrid
            Energies.
        chebyshev : Chebyshev
            Moments and random vectors.
        fermi : str
            Where the Fermi level comes from.
        progress : Progress or None
            Steps are k points, or parts of them.

        Returns
        -------
        DensityOfStates
            States per eV and cell.

        Raises
        ------
        MoireioError
            If memory does not suffice, or the electrons do not fit.
        """
        dos = self.start("kpm", width)
        if self._wants_levels(fermi, grid):
            dos = replace(dos, **self.edges_from_levels(MAX_LEVELS if fermi == "auto" else None))
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
        return self.finish(dos, points, np.array(curves))

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
            edges = self.edges_from_levels(FEW, found.fermi) if found.counted else {}
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
