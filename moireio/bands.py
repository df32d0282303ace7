"""Energies of a block file's Hamiltonian at many k points."""

import numpy as np

from moireio.errors import MoireioError
from moireio.kpoints import KPoints, Record, SolverChoice
from moireio.results import BandStructure


def solve_bands(
    file,
    path,
    *,
    bands=None,
    around=None,
    between=None,
    window=None,
    solver="auto",
    jobs=None,
    record=None,
    resume=False,
    progress=None,
    say=None,
):
    """Return the energies of a block file along a path.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian, and an overlap unless its basis is orthogonal.
    path : KPath
        The k points.
    bands : int, optional
        How many bands; by default all. The same bands are kept at every k.
    around : float, optional
        Energy in eV around which they are chosen; by default the Fermi level, or where that is
        unknown, the gap that the number of electrons tells.
    between : tuple of two float, optional
        Lowest and highest energy in eV: every band that enters there is kept.
    window : tuple of two int, optional
        First and last band (inclusive, from 0), instead.
    solver : {"auto", "dense", "sparse", "slepc"} or moireio.kpoints.SolverChoice
        How to solve.
    jobs : int, optional
        Processes, where `solver` is a name; by default one per core.
    record : str, optional
        File that keeps finished k points; it is removed in the end.
    resume : bool
        Go on with the record of an interrupted run.
    progress : callable, optional
        Called with 1 after every k point.
    say : callable, optional
        Called with a line about what the solver left out, if it did.

    Returns
    -------
    BandStructure
        Energies in eV.

    Raises
    ------
    MoireioError
        If H or S is missing, S not positive definite, the Fermi level needed and unknown, no band
        in the window, or memory too small.
    """
    hamiltonian = file.hamiltonian
    spin = hamiltonian.meta.spin
    channels = range(2) if spin == "collinear" else (None,)
    overlap = file.overlap
    if overlap is not None:
        overlap = overlap.assembler(spinor=spin == "spinor")
    sums = [hamiltonian.assembler(component=c) for c in channels]
    given = [around, between and sum(between) / 2, file.electrons.fermi]
    near = next((e for e in given if e is not None), None)
    few = bands if between is None else 1
    if window is not None:
        few = window[1] - window[0] + 1
    choice = SolverChoice(solver, jobs=jobs) if isinstance(solver, str) else solver
    problems = KPoints(sums, overlap, path.k, choice, few, near)
    tasks = [(c, n) for c in range(len(sums)) for n in range(len(path))]
    kept = None
    if record is not None:
        key = {
            "input": file.digest(),
            "k": path.k.tolist(),
            "bands": [bands, around, between and list(between), window and list(window)],
            "solver": [problems.name, choice.drop],
        }
        kept = Record(record, key, resume)
    done = False
    try:
        if kept is not None and kept.known:
            window = kept.window
        elif between is not None:
            window = _entering(problems, tasks, between)
        elif window is None and bands is not None:
            below = _occupied(file, problems, len(sums), len(path), around)
            window = _window(sums[0].n, bands, below)
        width = sums[0].n if window is None else window[1] - window[0] + 1
        energies = np.empty((len(sums), len(path), width))
        missing = tasks
        if kept is not None:
            kept.set_window(window)
            for (channel, n), found in kept.found.items():
                energies[channel, n] = found
                if progress:
                    progress(1)
            missing = [task for task in tasks if task not in kept.found]
        for (channel, n), found in problems.levels(missing, window):
            energies[channel, n] = found
            if kept is not None:
                kept.add((channel, n), found)
            if progress:
                progress(1)
        done = True
        if say and problems.note():
            say(problems.note())
    finally:
        problems.close()
        if kept is not None:
            kept.close(done)
    return BandStructure(
        path,
        energies,
        fermi=file.electrons.fermi,
        electrons=file.electrons.count,
        spinor=spin == "spinor",
        first_band=0 if window is None else window[0],
        source=hamiltonian.meta.source,
    )


def occupied_bands(file):
    """Return how many bands the electrons fill.

    Parameters
    ----------
    file : BlockFile
        With the number of electrons.

    Returns
    -------
    float
        Bands; not whole for an odd number of electrons in bands of two.

    Raises
    ------
    MoireioError
        If the number of electrons is unknown.
    """
    if file.electrons.count is None:
        raise MoireioError(
            "the number of electrons is unknown", path=file.label, remedy="say --around E in eV"
        )
    return file.electrons.count / (1 if file.hamiltonian.meta.spin == "spinor" else 2)


def _occupied(file, problems, channels, points, around):
    """Return how many bands lie below the energy around which they are wanted, or are occupied."""
    energy = file.electrons.fermi if around is None else around
    if energy is not None:
        if not np.isfinite(energy):
            raise MoireioError(f"{energy} is no energy")
        # the mean over a few points of the path
        sample = np.unique(np.linspace(0, points - 1, min(4, points)).astype(int))
        below = [problems.count_below(c, p, energy) for c in range(channels) for p in sample]
        return float(np.mean(below))
    return occupied_bands(file)


def _entering(problems, tasks, between):
    """Return the first and the last band that has an energy in a window."""
    low, high = between
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise MoireioError(f"{low} to {high} eV is no window of energies")
    first = min(problems.count_below(*task, low) for task in tasks)
    last = max(problems.count_below(*task, high) for task in tasks) - 1
    if last < first:
        raise MoireioError(f"no band has energies between {low:g} and {high:g} eV")
    return first, last


def _window(n, count, below):
    """Return the first and the last of some bands, as many above as below."""
    if not 1 <= count <= n:
        raise MoireioError(f"{count} bands were asked for, there are {n}")
    first = min(max(round(below - count / 2), 0), n - count)
    return first, first + count - 1
