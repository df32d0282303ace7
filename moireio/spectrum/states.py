"""S-orthonormal states of a block file's Hamiltonian at any k points, in whole multiplets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.reader import BlockFile
from moireio.errors import MoireioError, naming
from moireio.runtime.progress import Progress
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.levels import check_result
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.selection import around, check_energies, counts_at_ends
from moireio.spectrum.sums import bloch_sums

TOLERANCE = 1e-4  # eV
MARGIN = 2  # bands beyond each end that are looked at first


@dataclass(frozen=True, eq=False)
class BlochStates:
    """Some neighbouring states at one k point.

    Parameters
    ----------
    k : (3,) array
        Fractional coordinates.
    energies : (nb,) array
        eV, ascending.
    coefficients : (n_orbitals, nb) array
        S-orthonormal columns, cᴴ S(k) c = 1, in the order of the rows of H(k) and in its phases.
    first_band : int
        Index (from 0) of the first of them among all bands of this spin channel.
    channel : int
        0, or 1 for spin down of collinear spin.
    """

    k: npt.NDArray[np.float64]
    energies: npt.NDArray[np.float64]
    coefficients: npt.NDArray[np.inexact]
    first_band: int
    channel: int = 0


def solve_states(
    file: BlockFile,
    k: npt.ArrayLike,
    *,
    bands: int | None = None,
    energy: float | None = None,
    energy_window: tuple[float, float] | None = None,
    band_range: tuple[int, int] | None = None,
    electrons: float | None = None,
    tolerance: float = TOLERANCE,
    solver: str | SolverChoice = "auto",
    jobs: int | None = None,
    progress: Progress | None = None,
    note: Callable[[str], object] | None = None,
    solved: Callable[[int], object] | None = None,
) -> list[BlochStates]:
    """Return states of a block file at some k points, never a part of a multiplet.

    Where the first or the last state that was asked for is degenerate with the next one outside,
    within `tolerance`, the next one is returned too, and so on: densities and populations summed
    over whole multiplets do not depend on the solver's choice of states in them.

    Where many k points of a large cell are asked for at once, and the solver is chosen
    automatically, most of the states follow from those at a few k points, the anchors. Their
    residuals are small enough for the tolerance of `SolverChoice.anchoring` on the energies, and a
    state is then wrong by about the root of tolerance over gap.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian, and an overlap unless its basis is orthogonal.
    k : (nk, 3) array or (3,) array
        Fractional coordinates.
    bands : int, optional
        How many bands, the same at every k; by default all.
    energy : float, optional
        Energy in eV around which they are; by default the Fermi level in the file, or where that
        is unknown the gap that the number of electrons implies.
    energy_window : tuple of two float, optional
        Lowest and highest energy in eV: the states inside it, which differ from k to k.
    band_range : tuple of two int, optional
        First and last band (inclusive, from 0), the same at every k.
    electrons : float, optional
        In the cell; by default the number in the file.
    tolerance : float
        Largest gap inside a multiplet, eV.
    solver : {"auto", "dense", "sparse", "slepc"} or SolverChoice
        How to solve.
    jobs : int, optional
        Processes, where `solver` is a name; by default one per core.
    progress : Progress, optional
        Steps are k points.
    note : callable, optional
        Called with each remark, a line of text: what the solver left out, or found to endanger
        the result; how many k points were solved, where the others follow from anchors.
    solved : callable, optional
        Called once with the number of eigenproblems that were solved: fewer than k points where
        states follow from anchors.

    Returns
    -------
    list of BlochStates
        One for each k point; of collinear spin first all of spin up, then all of spin down. Where
        no state lies in `energy_window`, there are no columns.

    Raises
    ------
    MoireioError
        If H or S is missing, S is not positive definite, the choice of bands makes no sense, or
        memory does not suffice.

    Examples
    --------
    >>> import moireio
    >>> from moireio.spectrum.states import solve_states
    >>> with moireio.open("graphene.h5") as file:
    ...     at_k, at_gamma = solve_states(file, [[1 / 3, 1 / 3, 0], [0, 0, 0]], bands=2)
    >>> at_k.coefficients.shape[0] == at_gamma.coefficients.shape[0]
    True
    """
    if sum(given is not None for given in (bands, energy_window, band_range)) > 1:
        raise MoireioError("`bands`, `energy_window` and `band_range` exclude each other")
    k = np.atleast_2d(np.asarray(k, dtype=float))
    if k.ndim != 2 or k.shape[1] != 3 or not len(k) or not np.isfinite(k).all():
        raise MoireioError("k points are rows of three numbers")
    sums, overlap, _ = bloch_sums(file)
    choice = SolverChoice(solver, jobs=jobs) if isinstance(solver, str) else solver
    with naming(file.label):
        expected = bands
        if band_range is not None:
            expected = band_range[1] - band_range[0] + 1
        elif energy_window is not None:
            check_energies(*energy_window)
            expected = 1
        n_orbitals = sums[0].n_orbitals
        check_result(
            2.0 * len(sums) * len(k) * n_orbitals * (expected or n_orbitals),
            choice.memory,
            f"states at {len(k)} k points",
            "choose fewer `bands` or k points",
        )
        if energy is None and electrons in (None, file.electrons.count):
            energy = file.electrons.fermi
        sigma = energy if energy_window is None else sum(energy_window) / 2
        if expected is not None:
            expected = min(expected + 2 * MARGIN, n_orbitals)
        tasks = [(channel, point) for channel in range(len(sums)) for point in range(len(k))]
        with EigenproblemSet(
            sums, overlap, k, choice, expected, sigma, states=True, structure=file.structure
        ) as problems:
            if energy_window is not None:
                counts = counts_at_ends(problems, energy_window)
                ranges = {task: (counts[task][0], counts[task][1] - 1) for task in tasks}
            else:
                if bands is not None:
                    band_range = around(problems, bands, energy, file, electrons)
                first, last = band_range or (0, n_orbitals - 1)
                if not 0 <= first <= last < n_orbitals:
                    raise MoireioError(
                        f"bands {first + 1} to {last + 1} were asked for, there are {n_orbitals}"
                    )
                ranges = dict.fromkeys(tasks, (first, last))
            states = _whole_multiplets(problems, ranges, k, tolerance, progress)
            if note is not None:
                found = [one for one in problems.accuracy.values() if one.anchors]
                for line in [*problems.notes(), *(one.line("states") for one in found)]:
                    note(line)
            if solved is not None:
                anchored = problems.accuracy.values()
                alone = (len(sums) - len(anchored)) * len(k)
                solved(alone + sum(accuracy.factorisations for accuracy in anchored))
    return states


def _whole_multiplets(
    problems: "EigenproblemSet",
    ranges: Mapping[tuple[int, int], tuple[int, int]],
    k: npt.NDArray[np.float64],
    tolerance: float,
    progress: Progress | None,
) -> list[BlochStates]:
    """Return the states of ranges of bands, extended to whole multiplets.

    Parameters
    ----------
    problems : EigenproblemSet
        With states.
    ranges : dict
        First and last band by (channel, point).
    k : (nk, 3) array
        Fractional coordinates.
    tolerance : float
        eV.
    progress : Progress or None
        Steps are k points.

    Returns
    -------
    list of BlochStates
        In the order of `ranges`.
    """
    n_orbitals = problems.shape[2]
    states: dict[tuple[int, int], BlochStates] = {}

    def put(
        task: tuple[int, int],
        energies: npt.NDArray[np.float64],
        coefficients: npt.NDArray[Any],
        first: int,
    ) -> None:
        channel, point = task
        states[task] = BlochStates(k[point], energies, coefficients, first, channel)
        if progress:
            progress(1, len(ranges))

    for task, (first, last) in ranges.items():
        if last < first:
            put(task, np.zeros(0), np.zeros((n_orbitals, 0)), first)
    margin = MARGIN
    while len(states) < len(ranges):
        missing = [task for task in ranges if task not in states]
        wider = {
            task: (max(ranges[task][0] - margin, 0), min(ranges[task][1] + margin, n_orbitals - 1))
            for task in missing
        }
        common = min(low for low, _ in wider.values()), max(high for _, high in wider.values())
        groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
        if problems.anchored(missing, common):
            groups[common] = missing  # from the same anchors
        else:
            for task in missing:
                groups.setdefault(wider[task], []).append(task)
        for (low, high), tasks in groups.items():
            whole = low == 0 and high == n_orbitals - 1
            for task, energies, vectors in problems.levels(tasks, None if whole else (low, high)):
                # solvers that leave combinations of orbitals out end below the last band
                top = high == n_orbitals - 1 or len(energies) < high - low + 1
                first, last = ranges[task]
                bounds = multiplet_bounds(
                    energies, first - low, last - low, tolerance, low == 0, top
                )
                if bounds is not None:
                    part = slice(*bounds)
                    put(task, energies[part], vectors[:, part].copy(), low + bounds[0])
        margin *= 2
    return [states[task] for task in ranges]


def multiplet_bounds(
    energies: npt.NDArray[np.float64],
    first: int,
    last: int,
    tolerance: float,
    at_bottom: bool,
    at_top: bool,
) -> tuple[int, int] | None:
    """Extend a range of levels to whole multiplets.

    Parameters
    ----------
    energies : (n,) array
        eV, ascending.
    first, last : int
        Indices of the range, inclusive.
    tolerance : float
        Largest gap inside a multiplet, eV.
    at_bottom, at_top : bool
        Whether there are no levels below or above those given.

    Returns
    -------
    (int, int) or None
        First index, and the one after the last; None if a multiplet reaches the end of the levels
        given, so that more of them are needed.
    """
    joined = np.diff(energies) <= tolerance
    last = min(last, len(energies) - 1)
    first = min(first, last + 1)
    while 0 < first <= last and joined[first - 1]:
        first -= 1
    while last < len(energies) - 1 and joined[last]:
        last += 1
    if (first == 0 and not at_bottom) or (last == len(energies) - 1 and not at_top):
        return None
    return first, last + 1
