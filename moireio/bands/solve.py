"""Energies of a block file's Hamiltonian at many k points."""

import numpy as np

from moireio.errors import MoireioError
from moireio.results.bands import BandStructure
from moireio.spectrum.checkpoint import Record
from moireio.spectrum.problems import EigenproblemSet, SolverChoice
from moireio.spectrum.sums import bloch_sums


def solve_bands(
    file,
    path,
    *,
    bands=None,
    around=None,
    between=None,
    window=None,
    electrons=None,
    filling=None,
    states=False,
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
    electrons : float, optional
        In the cell; by default as the file tells. If the file says otherwise, its Fermi level
        is not used.
    filling : Occupation or callable, optional
        A Fermi level, which replaces that of the file (see `moireio.find_filling`); a callable
        that returns one is not called where the record has it.
    states : bool
        Keep the states too.
    solver : {"auto", "dense", "sparse", "slepc"} or moireio.spectrum.problems.SolverChoice
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
        Called with lines about what the solver left out, or found to endanger the result.

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
    sums, overlap, spin = bloch_sums(file)
    choice = SolverChoice(solver, jobs=jobs) if isinstance(solver, str) else solver
    kept = None
    if record is not None:
        asked = filling if filling is None or callable(filling) else filling.fermi
        key = {
            "input": file.digest(),
            "k": path.k.tolist(),
            "bands": [bands, around, between and list(between), window and list(window)],
            "electrons": [electrons, "auto" if callable(asked) else asked],
            "solver": [choice.name, choice.drop, choice.cutoff],
            "states": states,
        }
        kept = Record(record, key, resume)
    done, problems = False, None
    try:
        fermi, electrons = _electrons(file, electrons, filling, kept)
        few = bands if between is None else 1
        if window is not None:
            few = window[1] - window[0] + 1
        given = [around, between and sum(between) / 2, fermi]
        near = next((e for e in given if e is not None), None)
        problems = EigenproblemSet(sums, overlap, path.k, choice, few, near, states)
        tasks = [(c, n) for c in range(len(sums)) for n in range(len(path))]

        def choose():
            if between is not None:
                return _entering(problems, tasks, between)
            if window is None and bands is not None:
                energy = fermi if around is None else around
                below = _below(file, problems, len(sums), len(path), energy, electrons)
                return _window(sums[0].n_orbitals, bands, below)
            return window

        chosen = choose() if kept is None else kept.fact("window", choose)
        chosen = None if chosen is None else tuple(chosen)
        table = _Table(sums, len(path), chosen, states, kept)
        ready = table.restore()
        if progress and ready:
            progress(ready)
        missing = [task for task in tasks if kept is None or task not in kept.found]
        for task, *found in problems.levels(missing, chosen):
            table.add(task, *found)
            if progress:
                progress(1)
        done = True
        for note in problems.notes() if say else ():
            say(note)
    finally:
        if problems is not None:
            problems.close()
        if kept is not None:
            kept.close(done)
    energies, vectors = table.whole()
    return BandStructure(
        path,
        energies,
        fermi=fermi,
        electrons=electrons,
        spinor=spin == "spinor",
        first_band=0 if chosen is None else chosen[0],
        source=file.hamiltonian.meta.source,
        states=vectors,
    )


class _Table:
    """Energies, and states if they are wanted, of all spins and k points."""

    def __init__(self, sums, points, window, states, record):
        self._record, n = record, sums[0].n_orbitals
        width = n if window is None else window[1] - window[0] + 1
        self.energies = np.full((len(sums), points, width), np.nan)
        self._counts = np.zeros((len(sums), points), dtype=int)
        self._states = None
        if states:
            shape = (len(sums), points, width, n)
            self._states = np.zeros(shape, complex) if record is None else record.states(shape)

    def restore(self):
        """Take over what an interrupted run found; return how many k points that is."""
        known = {} if self._record is None else self._record.found
        for task, energies in known.items():
            self._set(task, energies)
        return len(known)

    def add(self, task, energies, states):
        """Keep what was found at a k point."""
        self._set(task, energies)
        if self._states is not None:
            self._states[task][: len(energies)] = states.T
        if self._record is not None:
            self._record.add(task, energies)

    def _set(self, task, energies):
        self.energies[task][: len(energies)] = energies
        self._counts[task] = len(energies)

    def whole(self):
        """Return the bands that there are at every k point: --overlap-cutoff may cost some."""
        width = int(self._counts.min())
        states = None if self._states is None else self._states[:, :, :width]
        return self.energies[:, :, :width], states


def _electrons(file, electrons, filling, record):
    """Return the Fermi level, None if it is unknown, and the number of electrons."""
    if filling is not None:

        def found():
            made = filling() if callable(filling) else filling
            return [made.fermi, made.electrons]

        return found() if record is None else record.fact("filling", found)
    known = file.electrons
    if electrons is None or electrons == known.count:
        return known.fermi, known.count
    return None, electrons


def occupied_bands(file, electrons=None):
    """Return how many bands the electrons fill.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian.
    electrons : float, optional
        In the cell; by default as the file tells.

    Returns
    -------
    float
        Bands; not whole for an odd number of electrons in bands of two.

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
            remedy="say --around E in eV, or --electrons N",
        )
    return electrons / (1 if file.hamiltonian.meta.spin == "spinor" else 2)


def _below(file, problems, channels, points, energy, electrons):
    """Return how many bands lie below an energy, or without one, how many are occupied."""
    if energy is None:
        return occupied_bands(file, electrons)
    if not np.isfinite(energy):
        raise MoireioError(f"{energy} is no energy")
    # the mean over a few points of the path
    sample = np.unique(np.linspace(0, points - 1, min(4, points)).astype(int))
    below = [problems.count_below(c, p, energy) for c in range(channels) for p in sample]
    return float(np.mean(below))


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
