"""How many bands are filled, and how many of each spin."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.selection import mean_below, occupied_bands
from moireio.spectrum.sums import bloch_sums

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile

# k points (fractional) at which the filled levels of both spins are counted
SAMPLE_K = np.array([[0, 0, 0], [1 / 3, 2 / 3, 0], [1 / 2, 0, 0], [0.13, 0.41, 0.27]])
FIRST_REACH = 12  # bands on either side of half of the electrons
SAME_LEVEL = 1e-6  # eV


def filled_bands(
    file: "BlockFile",
    energy: float | None = None,
    k: npt.ArrayLike = (0.0, 0.0, 0.0),
    solver: SolverChoice | None = None,
) -> float:
    """Return the number of bands below the gap, or below an energy.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian.
    energy : float, optional
        eV; by default the number of electrons decides, or the Fermi level where that is unknown.
    k : (nk, 3) or (3,) array
        Where bands below `energy` are counted, fractional; their mean is rounded.
    solver : SolverChoice, optional
        How they are counted.

    Returns
    -------
    float
        Without `energy` not whole for an odd number of electrons in bands of two.

    Raises
    ------
    MoireioError
        If neither the number of electrons nor a Fermi level is known.
    """
    energy = _between(file, energy)
    if energy is None:
        return occupied_bands(file)
    sums, overlap, _ = bloch_sums(file)
    points = np.atleast_2d(np.asarray(k, dtype=float))
    choice = solver or SolverChoice()
    with EigenproblemSet(sums, overlap, points, choice, 1, energy) as problems:
        return float(round(mean_below(problems, energy)))


def filled_of_spins(
    file: "BlockFile",
    energy: float | None = None,
    k: npt.ArrayLike = (0.0, 0.0, 0.0),
    solver: SolverChoice | None = None,
) -> tuple[float, ...]:
    """Return the number of filled bands of each spin channel.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian.
    energy, k, solver
        As in `filled_bands`.

    Returns
    -------
    tuple of float
        One number, or those of up and down of collinear spin. Without `energy` the electrons fill
        the lowest levels of both spins at some k points; where these do not give the same numbers
        (a metal), half of them are up.

    Raises
    ------
    MoireioError
        If neither the number of electrons nor a Fermi level is known.
    """
    if file.hamiltonian.meta.spin != "collinear":
        return (filled_bands(file, energy, k, solver),)
    energy = _between(file, energy)
    sums, overlap, _ = bloch_sums(file)
    points, choice = np.atleast_2d(np.asarray(k, dtype=float)), solver or SolverChoice()
    if energy is not None:
        found = []
        for one in sums:
            with EigenproblemSet([one], overlap, points, choice, 1, energy) as problems:
                found.append(float(round(mean_below(problems, energy))))
        return tuple(found)
    half, total = occupied_bands(file), sums[0].n_orbitals
    if 2 * half != round(2 * half) or not 0 <= half <= total:
        return half, half
    points = SAMPLE_K * file.structure.pbc
    reach = FIRST_REACH
    while True:
        first, last = max(int(half) - reach, 0), min(int(np.ceil(half)) + reach, total) - 1
        with EigenproblemSet(sums, overlap, points, choice, last - first + 1) as problems:
            tasks = [(channel, point) for channel in (0, 1) for point in range(len(points))]
            listed = [levels for _, levels, _ in problems.levels(tasks, (first, last))]
        up, down = np.array(listed).reshape(2, len(points), -1)
        counts = _filled_below(up, down, round(2 * half) - 2 * first)
        if counts is None:
            return half, half
        inside = all(0 < n < up.shape[1] for n in counts) or (first, last) == (0, total - 1)
        if inside:
            return float(first + counts[0]), float(first + counts[1])
        reach *= 2


def _between(file: "BlockFile", energy: float | None) -> float | None:
    """Return the energy that separates filled and empty bands; None if electrons decide."""
    if energy is None and "electrons" in file and file.electrons.count is None:
        return file.electrons.fermi  # other programs' files often have no more than that
    return energy


def _filled_below(
    up: npt.NDArray[np.float64], down: npt.NDArray[np.float64], electrons: int
) -> tuple[int, int] | None:
    """Return how many levels of up and down are filled, if that is the same at all k points."""
    found = set()
    for one, other in zip(up, down, strict=True):
        both = np.sort(np.concatenate([one, other]))
        if 0 < electrons < len(both) and both[electrons] - both[electrons - 1] < SAME_LEVEL:
            return None
        filled = int((one < both[electrons]).sum()) if electrons < len(both) else len(one)
        found.add((filled, electrons - filled))
    return found.pop() if len(found) == 1 else None
