"""Which bands of a set of eigenproblems are wanted: around an energy, or between two."""

from typing import TYPE_CHECKING

import numpy as np

from moireio.errors import MoireioError

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.spectrum.problems import EigenproblemSet

SAMPLE = 4  # k points at which the levels below an energy are counted


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
    sample = np.unique(np.linspace(0, points - 1, min(SAMPLE, points)).astype(int))
    counts = [problems.count_below(c, p, energy) for c in range(channels) for p in sample]
    return float(np.mean(counts))


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
        raise MoireioError(f"{count} bands were asked for, there are {n_orbitals}")
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
    check_energies(low, high)
    channels, points, _ = problems.shape
    tasks = [(channel, point) for channel in range(channels) for point in range(points)]
    first = min(problems.count_below(*task, low) for task in tasks)
    last = max(problems.count_below(*task, high) for task in tasks) - 1
    if last < first:
        raise MoireioError(f"no band has energies between {low:g} and {high:g} eV")
    return first, last
