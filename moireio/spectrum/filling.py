"""The Fermi level and the gap, from the few levels near them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, naming
from moireio.projection.groups import make_projection
from moireio.runtime.progress import Progress
from moireio.spectrum import irreducible as symmetry
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.fermi import BOLTZMANN, ROOM, fermi_level
from moireio.spectrum.levels import solve_levels
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.selection import centred_range
from moireio.spectrum.sums import bloch_sums

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.kspace.mesh import KMesh, ReducedMesh
    from moireio.operators.bloch import BlochSum
    from moireio.system.structure import Structure

FEW = 16  # levels at every k, for a start
SMALLEST_GAP = 1e-3  # eV
REACH = 20.0  # times the temperature: beyond, levels are full or empty
SAMPLE = 2  # k points at which it is found out how many levels anchors must have
MORE = 1.25  # times as many, at other k points


@dataclass(frozen=True)
class Occupation:
    """Occupation of the levels by the electrons of a cell.

    Parameters
    ----------
    fermi : float
        Fermi level, eV; in an insulator the middle of the gap.
    electrons : float
        Electrons in the cell.
    vbm : float or None
        Valence band maximum on the mesh, eV, if every k point has as many filled levels.
    gap : float or None
        From the valence band maximum to the lowest empty level, eV; None where bands are partly
        filled.
    mesh : (int, int, int)
        k points along the reciprocal vectors.
    """

    fermi: float
    electrons: float
    vbm: float | None = None
    gap: float | None = None
    mesh: tuple[int, int, int] = (1, 1, 1)


def electron_count(file: "BlockFile") -> float | None:
    """Return the number of electrons in the cell.

    Parameters
    ----------
    file : BlockFile
        With the number, or a basis with the valence electrons of its species.

    Returns
    -------
    float or None
        Electrons; None if the file has neither.
    """
    count = file.electrons.count
    return file.basis.valence(file.structure) if count is None else count


def electron_temperature(file: "BlockFile", temperature: float | None = None) -> float:
    """Return the electronic temperature: the one given, the file's, or 300 K.

    Parameters
    ----------
    file : BlockFile
        Perhaps with a temperature.
    temperature : float, optional
        K.

    Returns
    -------
    float
        K.
    """
    choices = (temperature, file.electrons.temperature)
    return next((choice for choice in choices if choice is not None), ROOM)


def occupation_of(
    energies: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    electrons: float,
    degeneracy: float,
    temperature: float,
    first: int = 0,
) -> Occupation:
    """Return the occupation of given levels.

    Parameters
    ----------
    energies : (ns, nk, nb) array
        Levels, eV, ascending; all levels below them are full, all above empty.
    weights : (nk,) array
        Share of every k point.
    electrons : float
        In the cell.
    degeneracy : float
        Electrons that a level holds.
    temperature : float
        K.
    first : int
        Number of levels below those given, of all spins together.

    Returns
    -------
    Occupation
        Without its mesh.

    Raises
    ------
    MoireioError
        If the electrons do not fit into these levels.
    """
    ns, _, nb = energies.shape
    held = electrons - degeneracy * first
    level = fermi_level(energies, weights, held, temperature, degeneracy)
    filled = held / degeneracy
    if abs(filled - round(filled)) > 1e-6 or not 0 < round(filled) < ns * nb:
        return Occupation(level, electrons)
    both = np.sort(np.concatenate(list(energies), axis=1), axis=1)
    vbm = float(both[:, round(filled) - 1].max())
    gap = float(both[:, round(filled)].min()) - vbm
    return Occupation(level, electrons, vbm, gap if gap > SMALLEST_GAP else None)


def find_filling(
    file: "BlockFile",
    mesh: "KMesh",
    *,
    electrons: float | None = None,
    temperature: float | None = None,
    solver: SolverChoice | None = None,
    use_symmetry: bool = True,
    progress: Progress | None = None,
) -> Occupation:
    """Return the Fermi level of a block file on a mesh of k points.

    Levels are taken around the last filled one, as many as the Fermi level needs. Their numbers
    are known: the sparse solver counts the levels below an energy by Sylvester's law of inertia.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian, and an overlap unless its basis is orthogonal.
    mesh : KMesh
        k points.
    electrons : float, optional
        In the cell; by default the number in the file, or that of its basis.
    temperature : float, optional
        K; by default that of the file, or 300.
    solver : SolverChoice, optional
        How to solve.
    use_symmetry : bool
        Whether to use the crystal's symmetry besides time reversal.
    progress : Progress, optional
        Steps are k points.

    Returns
    -------
    Occupation
        Fermi level and gap.

    Raises
    ------
    MoireioError
        If the number of electrons is unknown or does not fit, or the problem cannot be solved.
    """
    sums, overlap, spin = bloch_sums(file)
    electrons = electron_count(file) if electrons is None else electrons
    if electrons is None:
        raise MoireioError(
            "the number of electrons is unknown", path=file.label, remedy="give `electrons`"
        )
    solver, degeneracy = solver or SolverChoice(), 2.0 if spin == "none" else 1.0
    band_range = None
    n_orbitals = sums[0].n_orbitals
    if solver.finds_range(n_orbitals, FEW):
        # symmetry is tried on the levels that matter: all of a large matrix would take too long
        below = electrons / degeneracy / len(sums)
        band_range = centred_range(n_orbitals, min(FEW, n_orbitals), min(below, n_orbitals))
    temperature = electron_temperature(file, temperature)
    with naming(file.label):
        reduced_mesh, _ = symmetry.reduced(
            file,
            mesh,
            sums,
            overlap,
            make_projection(file, ()),
            solver=solver,
            use_group=use_symmetry,
            band_range=band_range,
        )
        levels = LevelsAround(sums, overlap, reduced_mesh, solver, progress, file.structure)
        occupation = levels.occupation(electrons, degeneracy, temperature, file.electrons.fermi)
    assert occupation is not None  # it is None only where `max_levels` is given
    return replace(occupation, mesh=mesh.shape)


class LevelsAround:
    """The levels around the Fermi level on a mesh.

    Parameters
    ----------
    sums : list of BlochSum
        H, one for each spin channel.
    overlap : BlochSum or None
        S.
    mesh : ReducedMesh
        k points.
    solver : SolverChoice
        How to solve.
    progress : Progress, optional
        Steps are k points.
    structure : Structure, optional
        Positions of the atoms. With them the levels of large cells follow from those at a few k
        points, the anchors, where the solver is chosen automatically.
    """

    def __init__(
        self,
        sums: "Sequence[BlochSum]",
        overlap: "BlochSum | None",
        mesh: "ReducedMesh",
        solver: SolverChoice,
        progress: Progress | None = None,
        structure: "Structure | None" = None,
    ):
        self._sums, self._overlap, self._mesh = sums, overlap, mesh
        self._solver, self._progress, self._structure = solver, progress, structure

    def occupation(
        self,
        electrons: float,
        degeneracy: float,
        temperature: float,
        sigma: float | None = None,
        max_levels: int | None = None,
    ) -> Occupation | None:
        """Return the occupation of the levels (see `find_filling`).

        Parameters
        ----------
        electrons : float
            In the cell.
        degeneracy : float
            Electrons that a level holds.
        temperature : float
            K.
        sigma : float, optional
            Energy at which the search begins, eV.
        max_levels : int, optional
            Levels at every k after which to give up.

        Returns
        -------
        Occupation or None
            Without its mesh; None if `max_levels` levels do not suffice.

        Raises
        ------
        MoireioError
            If the electrons do not fit, or the problem cannot be solved.
        """
        n, ns = self._sums[0].n_orbitals, len(self._sums)
        if not 0 < electrons <= degeneracy * ns * n:
            raise MoireioError(f"{electrons:g} electrons do not fit into {ns * n} orbitals")
        count = min(FEW, n)
        middle = [electrons / (degeneracy * ns)] * ns
        reach = REACH * BOLTZMANN * temperature + SMALLEST_GAP
        how = electrons, degeneracy, temperature, reach, max_levels
        if self._anchored(count):
            # anchors of few bands do not serve for more: how many are needed shows at some k points
            points = np.unique(np.linspace(0, len(self._mesh.k) - 1, SAMPLE).astype(int))
            found, firsts, energies = self._search(how, count, middle, sigma, points)
            if found is None:
                return None
            sigma = found.fermi
            below = ((energies > sigma - reach) & (energies < sigma)).sum(axis=2).max()
            above = ((energies < sigma + reach) & (energies >= sigma)).sum(axis=2).max()
            count = min(max(count, int(MORE * 2 * max(below, above)) + 2), n)
            if ns == 2:
                filled = (energies < sigma).sum(axis=2).mean(axis=1)
                middle = [f + b for f, b in zip(firsts, filled, strict=True)]
        return self._search(how, count, middle, sigma)[0]

    def _search(
        self,
        how: tuple[float, float, float, float, int | None],
        count: int,
        middle: Sequence[float],
        sigma: float | None,
        points: npt.NDArray[np.integer] | None = None,
    ) -> tuple[Occupation | None, Sequence[int], npt.NDArray[np.float64]]:
        """Return the occupation from as many levels as it needs, their numbers and energies.

        Parameters
        ----------
        how : tuple
            Electrons, degeneracy, temperature, reach around the Fermi level, most levels.
        count : int
            Levels to begin with.
        middle : sequence of float
            Levels below the middle of them, of each spin.
        sigma : float or None
            Energy near them, eV.
        points : (p,) array of int, optional
            k points that are taken; by default all.

        Returns
        -------
        occupation : Occupation or None
            None if the most levels do not suffice.
        firsts : sequence of int
            Number of the first level, of each spin.
        energies : (ns, nk, nb) array
            eV.
        """
        electrons, degeneracy, temperature, reach, max_levels = how
        n, ns = self._sums[0].n_orbitals, len(self._sums)
        weights = self._mesh.weights if points is None else np.full(len(points), 1 / len(points))
        part = {} if points is None else {"points": points}
        while True:
            if not self._solver.finds_range(n, count):
                count = n
            firsts = [centred_range(n, count, below)[0] for below in middle]
            energies = self.levels(firsts, count, sigma, **part)
            try:
                occupation = occupation_of(
                    energies, weights, electrons, degeneracy, temperature, sum(firsts)
                )
                sigma = occupation.fermi
            except MoireioError:
                if count == n:
                    raise
                occupation = None  # the spins are filled so differently that it is not among these
            if occupation is not None and (
                count == n
                or self._others_are_full_or_empty(energies, firsts, occupation.fermi, reach)
            ):
                return occupation, firsts, energies
            count = min(2 * count, n)
            if max_levels is not None and count > max_levels:
                return None, firsts, energies
            if occupation is not None and ns == 2:
                # each spin around what the other left for it
                below = [(e < sigma).sum(axis=1) @ weights for e in energies]
                middle = [f + b for f, b in zip(firsts, below, strict=True)]

    def _anchored(self, count: int) -> bool:
        """Return whether levels at most k points will follow from those at a few."""
        if self._structure is None:
            return False
        tasks = [(0, point) for point in range(len(self._mesh.k))]
        with self._problems(self._mesh.k, count, None) as problems:
            return problems.anchored(tasks, (0, count - 1))

    def _problems(
        self, k: npt.NDArray[np.float64], count: int, sigma: float | None
    ) -> EigenproblemSet:
        return EigenproblemSet(
            self._sums, self._overlap, k, self._solver, count, sigma, structure=self._structure
        )

    def _others_are_full_or_empty(
        self,
        energies: npt.NDArray[np.float64],
        firsts: Sequence[int],
        fermi: float,
        reach: float,
    ) -> bool:
        n, count = self._sums[0].n_orbitals, energies.shape[2]
        for levels, first in zip(energies, firsts, strict=True):
            if first > 0 and levels[:, 0].max() > fermi - reach:
                return False
            if first + count < n and levels[:, -1].min() < fermi + reach:
                return False
        return True

    def levels(
        self,
        firsts: Sequence[int],
        count: int,
        sigma: float | None = None,
        points: npt.NDArray[np.integer] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Return some neighbouring levels at every k.

        Parameters
        ----------
        firsts : sequence of int
            Index (from 0) of the first level, for each spin channel.
        count : int
            Number of levels.
        sigma : float, optional
            Energy near them, eV.
        points : (p,) array of int, optional
            k points that are taken; by default all.

        Returns
        -------
        (ns, nk, count) array
            eV.
        """
        k = self._mesh.k if points is None else self._mesh.k[points]
        total = len(firsts) * len(k)
        report = self._progress if points is None else None
        progress = report and (lambda steps, _: report(steps, total))
        energies = []
        with self._problems(k, count, sigma) as problems:
            for channel, first in enumerate(firsts):
                band_range = None if count == problems.shape[2] else (first, first + count - 1)
                levels, _ = solve_levels(
                    problems, band_range, channels=[channel], progress=progress
                )
                energies.append(levels[0])
        # solvers that leave combinations of orbitals out find fewer where all are wanted
        fewest = min(levels.shape[1] for levels in energies)
        return np.stack([levels[:, :fewest] for levels in energies])
