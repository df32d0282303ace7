"""Energies of a block file's Hamiltonian along a path."""

import numpy as np

from moireio.results.bands import BandStructure
from moireio.spectrum.checkpoint import Checkpoint
from moireio.spectrum.levels import solve_levels
from moireio.spectrum.problems import EigenproblemSet, SolverChoice
from moireio.spectrum.selection import (
    centred_range,
    entering_range,
    mean_below,
    occupied_bands,
)
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
    checkpoint=None,
    resume=False,
    progress=None,
    note=None,
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
    checkpoint : str, optional
        File that keeps finished k points during the run; it is removed at the end.
    resume : bool
        Continue from the file of an interrupted run.
    progress : Progress, optional
        Steps are k points.
    note : callable, optional
        Called with each remark, a line of text: what the solver left out, or found to endanger
        the result.

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
    if checkpoint is not None:
        asked = filling if filling is None or callable(filling) else filling.fermi
        key = {
            "input": file.digest(),
            "k": path.k.tolist(),
            "bands": [bands, around, between and list(between), window and list(window)],
            "electrons": [electrons, "auto" if callable(asked) else asked],
            "solver": [choice.name, *(choice.options.get(o) for o in ("drop", "overlap_cutoff"))],
            "states": states,
        }
        kept = Checkpoint(checkpoint, key, resume)
    done, problems = False, None
    try:
        fermi, electrons = _electrons(file, electrons, filling, kept)
        few = bands if between is None else 1
        if window is not None:
            few = window[1] - window[0] + 1
        given = [around, between and sum(between) / 2, fermi]
        near = next((e for e in given if e is not None), None)
        problems = EigenproblemSet(sums, overlap, path.k, choice, few, near, states)

        def choose():
            if between is not None:
                return entering_range(problems, between)
            if window is None and bands is not None:
                energy = fermi if around is None else around
                if energy is None:
                    below = occupied_bands(file, electrons)
                else:
                    below = mean_below(problems, energy)
                return centred_range(sums[0].n_orbitals, bands, below)
            return window

        chosen = choose() if kept is None else kept.once("window", choose)
        chosen = None if chosen is None else tuple(chosen)
        energies, vectors = solve_levels(
            problems,
            chosen,
            columns=(sums[0].n_orbitals, np.complex128) if states else None,
            checkpoint=kept,
            progress=progress,
        )
        done = True
        for line in problems.notes() if note else ():
            note(line)
    finally:
        if problems is not None:
            problems.close()
        if kept is not None:
            kept.close(done)
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


def _electrons(file, electrons, filling, checkpoint):
    """Return the Fermi level, None if it is unknown, and the number of electrons."""
    if filling is not None:

        def occupation():
            value = filling() if callable(filling) else filling
            return [value.fermi, value.electrons]

        return occupation() if checkpoint is None else checkpoint.once("filling", occupation)
    stored = file.electrons
    if electrons is None or electrons == stored.count:
        return stored.fermi, stored.count
    return None, electrons
