"""Which bands of a set of eigenproblems are wanted: around an energy, or between two."""

from typing import TYPE_CHECKING

import numpy as np

from moireio.errors import MoireioError

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.spectrum.problems import EigenproblemSet

Task = tuple[int, int]  # spin channel, k point

SAMPLE = 4  # k points at which the levels below an energy are counted
MORE = 2  # bands beyond those that enter an interval at these k points


def occupied_bands(file: "BlockFile", electrons: float | None = None) -> float:
    """Return the number of bands that the electrons fill.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian.
    electrons : float, optional
        In the cell; by default the number in the file.

    Returns
    -------
    float
        Not whole for an odd number of electrons in bands of two.

    Raises
    ------
    MoireioError
        If the number of electrons is unknown.
    """
    electrons = file.electrons.count if electrons is None else electrons
    if electrons is None:
        raise MoireioError(
            "the number of electrons is unknown",
            path=file.label,
            remedy="give `energy` in eV, or `electrons`",
        )
    return electrons / (1 if file.hamiltonian.meta.spin == "spinor" else 2)


def mean_below(problems: "EigenproblemSet", energy: float) -> float:
    """Return the mean number of bands below an energy, over a few k points.

    Parameters
    ----------
    problems : EigenproblemSet
        H and S at some k points.
    energy : float
        eV.

    Returns
    -------
    float
        Bands of one spin channel.

    Raises
    ------
    MoireioError
        If it is no number.
    """
    if not np.isfinite(energy):
        raise MoireioError(f"{energy} is no energy")
    channels, points, _ = problems.shape
    counts = [problems.count_below(c, p, energy) for c in range(channels) for p in _sample(points)]
    return float(np.mean(counts))


def _sample(points: int) -> list[int]:
    """Return a few of some k points."""
    return np.unique(np.linspace(0, points - 1, min(SAMPLE, points)).astype(int)).tolist()


def centred_range(n_orbitals: int, count: int, below: float) -> tuple[int, int]:
    """Return a range of bands with as many above some number of bands as below.

    Parameters
    ----------
    n_orbitals : int
        Number of all bands.
    count : int
        Bands wanted.
    below : float
        Bands that lie below the centre.

    Returns
    -------
    first, last : int
        Inclusive, from 0; moved where the spectrum ends.

    Raises
    ------
    MoireioError
        If there are not so many.
    """
    if not 1 <= count <= n_orbitals:
        raise MoireioError(
            f"{count} bands were asked for, there are {n_orbitals}",
            remedy=f"ask for 1 to {n_orbitals}",
        )
    first = min(max(round(below - count / 2), 0), n_orbitals - count)
    return first, first + count - 1


def around(
    problems: "EigenproblemSet",
    count: int,
    energy: float | None,
    file: "BlockFile",
    electrons: float | None = None,
) -> tuple[int, int]:
    """Return a range of bands around an energy, or without one around the gap.

    Parameters
    ----------
    problems : EigenproblemSet
        H and S at some k points.
    count : int
        Bands wanted.
    energy : float or None
        eV; None for as many empty bands as occupied ones.
    file : BlockFile
        With the number of electrons, where it is needed.
    electrons : float, optional
        In the cell; by default the number in the file.

    Returns
    -------
    first, last : int
        Inclusive, from 0.

    Raises
    ------
    MoireioError
        If there are not so many, or the number of electrons is needed and unknown.
    """
    below = occupied_bands(file, electrons) if energy is None else mean_below(problems, energy)
    return centred_range(problems.shape[2], count, below)


def check_energies(low: float, high: float) -> None:
    """Refuse an interval of energies that is none.

    Parameters
    ----------
    low, high : float
        eV.

    Raises
    ------
    MoireioError
        If they are no numbers, or not in this order.
    """
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise MoireioError(f"{low} to {high} eV is no interval of energies")


def entering_range(
    problems: "EigenproblemSet", energy_range: tuple[float, float]
) -> tuple[int, int]:
    """Return the bands that have an energy inside an interval at some k point.

    Parameters
    ----------
    problems : EigenproblemSet
        H and S at some k points.
    energy_range : tuple of two float
        Lowest and highest energy, eV.

    Returns
    -------
    first, last : int
        Inclusive, from 0.

    Raises
    ------
    MoireioError
        If there are none.
    """
    low, high = energy_range
    below = counts_at_ends(problems, energy_range).values()
    first, last = min(b for b, _ in below), max(u for _, u in below) - 1
    if last < first:
        raise MoireioError(f"no band has energies between {low:g} and {high:g} eV")
    return first, last


def counts_at_ends(
    problems: "EigenproblemSet", energy_range: tuple[float, float]
) -> dict[Task, tuple[int, int]]:
    """Return the numbers of levels below the two ends of an interval.

    Parameters
    ----------
    problems : EigenproblemSet
        H and S at some k points.
    energy_range : tuple of two float
        Lowest and highest energy, eV.

    Returns
    -------
    dict of (int, int) to tuple of two int
        By spin channel and k point.
    """
    low, high = energy_range
    check_energies(low, high)
    channels, points, n_orbitals = problems.shape
    tasks = [(channel, point) for channel in range(channels) for point in range(points)]
    sample = [(channel, point) for channel in range(channels) for point in _sample(points)]

    def counted(task: Task) -> tuple[int, int]:
        return problems.count_below(*task, low), problems.count_below(*task, high)

    below = {task: counted(task) for task in sample}
    band_range = _around(below, n_orbitals)
    if problems.anchored(tasks, band_range):
        return _from_anchors(problems, tasks, energy_range, band_range)
    rest = [task for task in tasks if task not in below]
    return below | {task: counted(task) for task in rest}


def _around(below: dict[Task, tuple[int, int]], n_orbitals: int) -> tuple[int, int]:
    """Return the bands inside an interval at some k points, and a few more."""
    first, last = min(b for b, _ in below.values()), max(u for _, u in below.values()) - 1
    last = max(last, first)
    return max(first - MORE, 0), min(last + MORE, n_orbitals - 1)


def _from_anchors(
    problems: "EigenproblemSet",
    tasks: list[Task],
    energy_range: tuple[float, float],
    band_range: tuple[int, int],
) -> dict[Task, tuple[int, int]]:
    """Return the levels below the two ends of an interval at every k point, from anchors.

    The first and the last band must stay outside the interval at every k point; more are taken
    until they do. Where a level is so close to an end that its error matters, levels are counted.
    """
    (low, high), n_orbitals, error = energy_range, problems.shape[2], problems.tolerance
    while True:
        first, last = band_range
        energies = {task: levels for task, levels, _ in problems.levels(tasks, band_range)}
        lowest = float(max(levels[0] for levels in energies.values()))
        highest = float(min(levels[-1] for levels in energies.values()))
        enters = (
            first > 0 and lowest >= low - error,
            last < n_orbitals - 1 and highest <= high + error,
        )
        if not any(enters):
            break
        more = max(MORE, (last - first + 1) // 4)
        band_range = (
            max(first - more * enters[0], 0),
            min(last + more * enters[1], n_orbitals - 1),
        )
        if not problems.anchored(tasks, band_range):
            return {
                task: (problems.count_below(*task, low), problems.count_below(*task, high))
                for task in tasks
            }

    def below(task: Task, energy: float) -> int:
        levels = energies[task]
        if np.abs(levels - energy).min() <= error:
            return problems.count_below(*task, energy)
        return first + int((levels < energy).sum())

    return {task: (below(task, low), below(task, high)) for task in tasks}
