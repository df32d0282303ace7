"""Densities of states from levels: all of them, or those in a window of energies."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from moireio.dos.broadening import gaussian_dos, simplex_dos
from moireio.dos.run import Run
from moireio.errors import MoireioError
from moireio.results.dos import DensityOfStates
from moireio.runtime.progress import Progress
from moireio.spectrum import irreducible as symmetry
from moireio.spectrum.filling import occupation_of
from moireio.spectrum.populations import solve_populations

if TYPE_CHECKING:
    from moireio.dos.solve import EnergyGrid
    from moireio.spectrum.checkpoint import Checkpoint

TAIL = 6  # standard deviations of a Gaussian


class LevelsRun(Run):
    """A density of states from levels that are broadened, or interpolated between k points."""

    def density(
        self,
        method: str,
        width: float | None,
        grid: "EnergyGrid",
        checkpoint: "Checkpoint | None",
        progress: Progress | None,
    ) -> DensityOfStates:
        """Return the density of all levels, or of those in the window of the grid.

        Parameters
        ----------
        method : {"gaussian", "tetrahedron"}
            How levels are broadened.
        width : float or None
            Standard deviation of Gaussians, eV.
        grid : EnergyGrid
            Energies; with its window the sparse solver finds the levels inside only.
        checkpoint : Checkpoint or None
            Keeps finished k points.
        progress : Progress or None
            Steps are k points.

        Returns
        -------
        DensityOfStates
            States per eV and cell.

        Raises
        ------
        MoireioError
            If no level lies in the window, or memory does not suffice.
        """
        dos = self.start(method, width)
        margin = 0.5 if width is None else TAIL * width
        inside = self.choice.name == "sparse"
        energy_range = None
        if inside:
            if grid.energy_window is None:
                raise MoireioError(
                    "the sparse solver finds levels in a window of energies only",
                    remedy="give `energy_window`, or take `solver` dense or kpm",
                )
            if self.electrons is not None:
                dos = replace(dos, **self.edges_from_levels(None))
            ends = grid.energies(dos, 0.0, 0.0)[[0, -1]]
            energy_range = float(ends[0]) - margin, float(ends[1]) + margin
        energies, weights, notes = solve_populations(
            self.sums,
            self.overlap,
            self.mesh.k,
            replace(self.choice, name="auto") if inside else self.choice,
            self.indicator,
            energy_range=energy_range,
            sigma=None if energy_range is None else 0.5 * sum(energy_range),
            checkpoint=checkpoint,
            progress=progress,
            structure=self.file.structure,
        )
        self.notes += notes
        if self.electrons is not None and not inside:
            occupation = occupation_of(
                energies, self.mesh.weights, self.electrons, self.degeneracy, self.temperature
            )
            dos = replace(dos, **self.edges(occupation))
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
        return self.finish(dos, points, np.array(curves))

    def _interpolated(self, levels, populations, points, image):
        mesh, groups = self.mesh, len(self.projection)
        simplices = mesh.mesh.simplices(self.file.structure.reciprocal)

        def of_band(band):
            at_points = populations[:, band][mesh.point]
            return np.take_along_axis(at_points, image[mesh.operation], axis=1)

        return simplex_dos(
            levels, simplices, points, mesh.point, of_band if groups else None, groups
        )
