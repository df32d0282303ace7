"""Where the electrons of a system end, from the few levels near there."""

from dataclasses import dataclass

import numpy as np

from moireio.errors import MoireioError
from moireio.projection.groups import make_projection
from moireio.spectrum import irreducible as symmetry
from moireio.spectrum.fermi import BOLTZMANN, ROOM, fermi_level
from moireio.spectrum.levels import solve_levels
from moireio.spectrum.problems import EigenproblemSet, SolverChoice
from moireio.spectrum.selection import centred_range
from moireio.spectrum.sums import bloch_sums

FEW = 16  # levels at every k, for a start
SMALLEST_GAP = 1e-3  # eV
REACH = 20.0  # times the temperature: beyond, levels are full or empty


@dataclass(frozen=True)
class Occupation:
    """How far the electrons of a system fill its levels.

    Parameters
    ----------
    fermi : float
        Fermi level, eV; the middle of the gap of an insulator.
    electrons : float
        In the cell.
    valence_top : float or None
        Highest filled level on the mesh, eV, if every k point has as many filled ones.
    gap : float or None
        From there to the lowest empty level, eV; None where bands are partly filled.
    mesh : (int, int, int)
        k points along the reciprocal vectors.
    """

    fermi: float
    electrons: float
    valence_top: float | None = None
    gap: float | None = None
    mesh: tuple = (1, 1, 1)


def electron_count(file):
    """Return the number of electrons in the cell, None if nothing tells it.

    Parameters
    ----------
    file : BlockFile
        With the number, or a basis whose species tell their valence electrons.

    Returns
    -------
    float or None
        Electrons.
    """
    known = file.electrons.count
    return file.basis.valence(file.structure) if known is None else known


def electron_temperature(file, asked=None):
    """Return the electronic temperature: the one asked for, the file's, or 300 K.

    Parameters
    ----------
    file : BlockFile
        Perhaps with a temperature.
    asked : float, optional
        K.

    Returns
    -------
    float
        K.
    """
    return next((t for t in (asked, file.electrons.temperature) if t is not None), ROOM)


def filling_of(energies, weights, electrons, degeneracy, temperature, first=0):
    """Return how far electrons fill some levels.

    Parameters
    ----------
    energies : (ns, nk, nb) array
        Levels, eV, ascending; all those below them are full, all above empty.
    weights : (nk,) array
        Share of every k point.
    electrons : float
        In the cell.
    degeneracy : float
        Electrons that a level holds.
    temperature : float
        K.
    first : int
        How many levels lie below those given, of all spins together.

    Returns
    -------
    Occupation
        Without its mesh.
    """
    ns, _, nb = energies.shape
    held = electrons - degeneracy * first
    level = fermi_level(energies, weights, held, temperature, degeneracy)
    filled = held / degeneracy
    if abs(filled - round(filled)) > 1e-6 or not 0 < round(filled) < ns * nb:
        return Occupation(level, electrons)
    both = np.sort(np.concatenate(list(energies), axis=1), axis=1)
    top = float(both[:, round(filled) - 1].max())
    gap = float(both[:, round(filled)].min()) - top
    return Occupation(level, electrons, top, gap if gap > SMALLEST_GAP else None)


def find_filling(
    file,
    mesh,
    *,
    electrons=None,
    temperature=None,
    solver=None,
    use_symmetry=True,
    progress=None,
):
    """Return the Fermi level of a block file on a mesh of k points.

    Levels are taken around the last filled one, as many as the Fermi level needs, and known by
    their index: the sparse solver tells it by Sylvester's law of inertia.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian, and an overlap unless its basis is orthogonal.
    mesh : KMesh
        Of k points.
    electrons : float, optional
        In the cell; by default as the file or its basis tells.
    temperature : float, optional
        K; by default that of the file, or 300.
    solver : moireio.spectrum.problems.SolverChoice, optional
        How to solve.
    use_symmetry : bool
        Whether to use the crystal's symmetry besides time reversal.
    progress : callable, optional
        Called with (steps done, all steps).

    Returns
    -------
    Occupation
        Where the electrons end.

    Raises
    ------
    MoireioError
        If the number of electrons is unknown or does not fit, or the problem cannot be solved.
    """
    sums, overlap, spin = bloch_sums(file)
    electrons = electron_count(file) if electrons is None else electrons
    if electrons is None:
        raise MoireioError(
            "the number of electrons is unknown", path=file.label, remedy="say --electrons"
        )
    solver, degeneracy = solver or SolverChoice(), 2.0 if spin == "none" else 1.0
    band_range = None
    n = sums[0].n_orbitals
    if solver.finds_range(n, FEW):
        # symmetry is tried on the levels that matter: all of a large matrix would take too long
        below = electrons / degeneracy / len(sums)
        band_range = centred_range(n, min(FEW, n), min(below, n))
    small, _ = symmetry.reduced(
        file,
        mesh,
        sums,
        overlap,
        make_projection(file, ()),
        solver=solver,
        use_group=use_symmetry,
        band_range=band_range,
    )
    levels = LevelsAround(sums, overlap, small, solver, progress)
    found = levels.filling(
        electrons, degeneracy, electron_temperature(file, temperature), file.electrons.fermi
    )
    return Occupation(found.fermi, found.electrons, found.valence_top, found.gap, mesh.shape)


class LevelsAround:
    """The levels around the Fermi level on a mesh.

    Parameters
    ----------
    sums : list of BlochSum
        H, of either spin.
    overlap : BlochSum or None
        S.
    mesh : ReducedMesh
        Of k points.
    solver : SolverChoice
        How to solve.
    progress : callable, optional
        Called with (steps done, all steps).
    """

    def __init__(self, sums, overlap, mesh, solver, progress=None):
        self._sums, self._overlap, self._mesh = sums, overlap, mesh
        self._solver, self._progress = solver, progress

    def filling(self, electrons, degeneracy, temperature, near=None, most=None):
        """Return how far electrons fill the levels (see `find_filling`).

        Parameters
        ----------
        electrons : float
            In the cell.
        degeneracy : float
            Electrons that a level holds.
        temperature : float
            K.
        near : float, optional
            Where the search begins, eV.
        most : int, optional
            Levels at every k after which to give up.

        Returns
        -------
        Occupation or None
            Without its mesh; None if `most` levels do not tell it.
        """
        n, ns = self._sums[0].n_orbitals, len(self._sums)
        if not 0 < electrons <= degeneracy * ns * n:
            raise MoireioError(f"{electrons:g} electrons do not fit into {ns * n} orbitals")
        count = min(FEW, n)
        middle = [electrons / (degeneracy * ns)] * ns
        kt = REACH * BOLTZMANN * temperature + SMALLEST_GAP
        while True:
            if not self._solver.finds_range(n, count):
                count = n
            firsts = [min(max(round(m - count / 2), 0), n - count) for m in middle]
            energies = self._solve(firsts, count, near)
            weights = self._mesh.weights
            try:
                found = filling_of(
                    energies, weights, electrons, degeneracy, temperature, sum(firsts)
                )
                near = found.fermi
            except MoireioError:
                if count == n:
                    raise
                found = None  # the spins are filled so differently that it is not among these
            if found is not None and (count == n or self._reaches(energies, firsts, near, kt)):
                return found
            count = min(2 * count, n)
            if most is not None and count > most:
                return None
            if found is not None and ns == 2:
                # each spin around what the other left for it
                below = [(e < near).sum(axis=1) @ weights for e in energies]
                middle = [f + b for f, b in zip(firsts, below, strict=True)]

    def _reaches(self, energies, firsts, level, kt):
        """Tell whether levels that were not looked at are surely full or empty."""
        n, count = self._sums[0].n_orbitals, energies.shape[2]
        for own, first in zip(energies, firsts, strict=True):
            if first > 0 and own[:, 0].max() > level - kt:
                return False
            if first + count < n and own[:, -1].min() < level + kt:
                return False
        return True

    def _solve(self, firsts, count, near):
        """Return the levels `firsts` to `firsts + count` at every k, (ns, nk, count), eV."""
        problems = EigenproblemSet(
            self._sums, self._overlap, self._mesh.k, self._solver, count, near
        )
        total = len(firsts) * len(self._mesh.k)
        progress = self._progress and (lambda steps, _: self._progress(steps, total))
        try:
            energies = []
            for channel, first in enumerate(firsts):
                band_range = (
                    None if count == self._sums[0].n_orbitals else (first, first + count - 1)
                )
                energies.append(
                    solve_levels(problems, band_range, channels=[channel], progress=progress)[0][0]
                )
        finally:
            problems.close()
        fewest = min(e.shape[1] for e in energies)
        return np.stack([e[:, :fewest] for e in energies])
