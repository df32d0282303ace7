"""Energies of a block file's Hamiltonian along a path."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from moireio.errors import MoireioError, naming
from moireio.results.bands import BandAccuracy, BandStructure
from moireio.runtime.progress import Progress
from moireio.spectrum.checkpoint import checkpointed, solver_key
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.filling import Occupation
from moireio.spectrum.levels import solve_levels
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.selection import around, entering_range
from moireio.spectrum.sums import bloch_sums

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.results.anchors import KeptAnchors
    from moireio.results.kpath import KPath


def solve_bands(
    file: "BlockFile",
    path: "KPath",
    *,
    bands: int | None = None,
    energy: float | None = None,
    energy_range: tuple[float, float] | None = None,
    band_range: tuple[int, int] | None = None,
    electrons: float | None = None,
    filling: Occupation | Callable[[], Occupation] | None = None,
    states: bool = False,
    solver: str | SolverChoice = "auto",
    jobs: int | None = None,
    checkpoint: str | None = None,
    resume: bool = False,
    keep_anchors: "Callable[[KeptAnchors], object] | None" = None,
    progress: Progress | None = None,
    note: Callable[[str], object] | None = None,
) -> BandStructure:
    """Return the energies of a block file along a path.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian, and an overlap unless its basis is orthogonal.
    path : KPath
        The k points.
    bands : int, optional
        How many bands, the same at every k; by default all.
    energy : float, optional
        Energy in eV around which they are; by default the Fermi level, or where that is unknown
        the gap that the number of electrons implies.
    energy_range : tuple of two float, optional
        Lowest and highest energy in eV: every band that enters there is kept.
    band_range : tuple of two int, optional
        First and last band (inclusive, from 0), instead.
    electrons : float, optional
        In the cell; by default the number in the file. The file's Fermi level is not used with
        another one.
    filling : Occupation or callable, optional
        A Fermi level that replaces that of the file (see `moireio.find_filling`), or a function
        that returns one; it is not called again where the checkpoint has the level.
    states : bool
        Keep the states too.
    solver : {"auto", "dense", "sparse", "slepc"} or SolverChoice
        How to solve.
    jobs : int, optional
        Processes, where `solver` is a name; by default one per core.
    checkpoint : str, optional
        File that keeps finished k points during the run; it is removed at the end.
    resume : bool
        Continue from the file of an interrupted run.
    keep_anchors : callable, optional
        Called in the end with the anchors, if there are any, to be written into a block file.
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
        If H or S is missing, S is not positive definite, the Fermi level is needed and unknown, no
        band is in the range, or memory does not suffice.
    """
    sums, overlap, spin = bloch_sums(file)
    choice = SolverChoice(solver, jobs=jobs) if isinstance(solver, str) else solver

    def key():
        given = filling if filling is None or callable(filling) else filling.fermi
        return {
            "input": file.digest(),
            "k": path.k.tolist(),
            "bands": [bands, energy, energy_range and list(energy_range)],
            "band_range": band_range and list(band_range),
            "electrons": [electrons, "auto" if callable(given) else given],
            "solver": solver_key(choice),
            "states": states,
        }

    with naming(file.label), checkpointed(checkpoint, key, resume) as kept:
        n_orbitals = int(file.orbitals.sum())
        if electrons is not None and electrons > 2 * n_orbitals:
            raise MoireioError(f"{electrons:g} electrons do not fit into {n_orbitals} orbitals")
        fermi, electrons = _electrons(file, electrons, filling, kept)
        expected = bands if energy_range is None else 1
        if band_range is not None:
            expected = band_range[1] - band_range[0] + 1
        candidates = [energy, energy_range and sum(energy_range) / 2, fermi]
        sigma = next((e for e in candidates if e is not None), None)
        with EigenproblemSet(
            sums, overlap, path.k, choice, expected, sigma, states, file.structure
        ) as problems:

            def choose():
                if energy_range is not None:
                    return entering_range(problems, energy_range)
                if band_range is None and bands is not None:
                    centre = fermi if energy is None else energy
                    return around(problems, bands, centre, file, electrons)
                return band_range

            chosen = choose() if kept is None else kept.once("band_range", choose)
            energies, vectors = solve_levels(
                problems,
                chosen and tuple(chosen),
                columns=(problems.shape[2], np.complex128) if states else None,
                checkpoint=kept,
                progress=progress,
            )
            for line in problems.notes() if note else ():
                note(line)
            accuracy = _accuracy(problems, energies, chosen)
            if keep_anchors is not None and problems.accuracy:
                from moireio.spectrum.anchors.kept import all_anchors

                keep_anchors(all_anchors(file, choice.anchoring.anchors, problems.accuracy))
    return BandStructure(
        path,
        energies,
        fermi=fermi,
        electrons=electrons,
        spinor=spin == "spinor",
        first_band=0 if chosen is None else chosen[0],
        source=file.hamiltonian.meta.source,
        states=vectors,
        accuracy=accuracy,
    )


def _accuracy(problems, energies, band_range):
    """Return how the energies were found."""
    tolerance, found = problems.tolerance, problems.accuracy
    ns, nk, _ = energies.shape
    if not found:
        first = -1 if band_range is None or not problems.counts else band_range[0]
        return BandAccuracy(
            "direct",
            np.zeros(energies.shape),
            np.full((ns, nk), 0 if band_range is None else first),
            np.zeros((0, 3)),
            ns * nk,
            tolerance,
        )
    own = [found[channel] for channel in sorted(found)]
    return BandAccuracy(
        "anchored" if any(one.anchors for one in own) else "direct",
        np.stack([one.bounds for one in own]),
        np.stack([one.counted for one in own]),
        np.array([anchor.k for one in own for anchor in one.anchors]),
        sum(one.factorisations for one in own),
        tolerance,
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
