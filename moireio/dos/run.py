"""What densities of states from levels and from moments share."""

from dataclasses import replace

import numpy as np

from moireio.projection.groups import flipped_rows
from moireio.results.dos import DensityOfStates
from moireio.spectrum.filling import (
    SMALLEST_GAP,
    LevelsAround,
    electron_count,
    electron_temperature,
)


class Run:
    """One density of states, with what is known of the electrons.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian.
    mesh : ReducedMesh
        k points.
    sums, overlap : list of BlochSum, BlochSum or None
        H of each spin channel, and S.
    projection : Projection
        Groups of orbitals.
    spin : str
        As of the Hamiltonian.
    choice : SolverChoice
        How to solve.
    notes : list of str
        What a user should know so far.
    temperature : float or None
        Electronic temperature, K; by default that of the file.
    """

    def __init__(self, file, mesh, sums, overlap, projection, spin, choice, notes, temperature):
        self.file, self.mesh, self.sums, self.overlap = file, mesh, sums, overlap
        self.projection, self.choice, self.notes = projection, choice, notes
        self.degeneracy = 2.0 if spin == "none" else 1.0
        self.flipped = flipped_rows(sums[0].sizes, spin == "spinor")
        self.indicator = projection.indicator if len(projection) else None
        self.electrons, self.stored_level = electron_count(file), file.electrons.fermi
        self.temperature = electron_temperature(file, temperature)

    def start(self, method, width):
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

    def edges_from_levels(self, max_levels, sigma=None):
        """Return Fermi level and gap from levels; nothing if more than `max_levels` are needed."""
        choice = replace(self.choice, name="auto")
        levels = LevelsAround(
            self.sums, self.overlap, self.mesh, choice, structure=self.file.structure
        )
        sigma = self.file.electrons.fermi if sigma is None else sigma
        occupation = levels.occupation(
            self.electrons, self.degeneracy, self.temperature, sigma, max_levels
        )
        return {} if occupation is None else self.edges(occupation)

    def edges(self, occupation):
        """Return Fermi level, VBM and gap; note where the file has another Fermi level."""
        fermi, stored = occupation.fermi, self.file.electrons.fermi
        if stored is not None and abs(stored - fermi) > SMALLEST_GAP and occupation.gap is None:
            self.notes.append(
                f"the Fermi level in the file is {stored:z.4f} eV, on this mesh it is "
                f"{fermi:z.4f} eV"
            )
        return {
            "fermi": fermi,
            "fermi_from": "levels",
            "vbm": occupation.vbm,
            "gap": occupation.gap,
        }

    def finish(self, dos, points, curves):
        """Return a result with its numbers, the total and then the projections, and all notes."""
        curves = self.degeneracy * curves
        return replace(
            dos,
            energies=points,
            total=np.ascontiguousarray(curves[:, 0]),
            projected=np.ascontiguousarray(curves[:, 1:]),
            notes=tuple(self.notes),
        )
