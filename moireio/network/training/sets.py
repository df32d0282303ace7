"""Which calculations a training uses, and for what."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.network.training.config import DataSplit
from moireio.network.training.samples import mean_level
from moireio.system.basis import SpeciesBasis

OpenCalculation = Callable[[str], AbstractContextManager[Calculation]]
# "training", "validation" and "test", each with the summaries of its calculations by path
DataSets = dict[str, dict[str, "CalculationSummary"]]


@dataclass(frozen=True)
class CalculationSummary:
    """Facts about a calculation that are needed before training.

    Parameters
    ----------
    level : float
        Mean on-site energy that fixes the zero of energy, eV.
    digest : str
        Digest of H, positions and cell.
    basis : dict of str to SpeciesBasis
        Orbitals by species.
    elements : dict of str to int
        Atomic number by species.
    spinful : bool
        Whether H has spinor blocks.
    """

    level: float
    digest: str
    basis: Mapping[str, SpeciesBasis]
    elements: Mapping[str, int]
    spinful: bool


def find_sets(
    split: DataSplit,
    open_calculation: OpenCalculation,
    accept: Callable[[str, CalculationSummary], None],
    note: Callable[[str], None],
) -> DataSets:
    """Look into calculations and divide them into training, validation and test.

    Parameters
    ----------
    split : DataSplit
        Paths and how they are divided.
    open_calculation : callable
        Opens a path, as a context manager with a `Calculation`.
    accept : callable
        Called with a path and its summary; raises MoireioError if it does not fit.
    note : callable
        Called with remarks for the user.

    Returns
    -------
    dict of str to dict of str to CalculationSummary
        For "training", "validation" and "test" the summaries by path.

    Raises
    ------
    MoireioError
        If a file is damaged and not to be skipped, or no training data are left.
    """
    spelling: dict[str, str] = {}  # each file keeps the path under which it came first
    groups = {
        name: [spelling.setdefault(os.path.realpath(p), p) for p in getattr(split, name)]
        for name in ("training", "validation", "test")
    }
    summaries: dict[str, CalculationSummary] = {}
    for path in dict.fromkeys(p for group in groups.values() for p in group):
        try:
            summary = summarise(path, open_calculation)
            accept(path, summary)
            summaries[path] = summary
        except MoireioError as error:
            if split.bad_data == "refuse":
                raise
            note(f"skipped: {error}")
    usable = {name: [p for p in group if p in summaries] for name, group in groups.items()}
    sets = _divide(usable, split)
    digests = {summaries[p].digest for p in sets["training"]}
    for path in (*sets["validation"], *sets["test"]):
        if summaries[path].digest in digests:
            note(f"warning: {path} is also among the training data")
    if not sets["training"]:
        raise MoireioError(
            "nothing is left to train on",
            path=next(iter(split.training), None),
            remedy="give at least two structures",
        )
    note(", ".join(f"{len(paths)} for {name}" for name, paths in sets.items()))
    return {name: {p: summaries[p] for p in paths} for name, paths in sets.items()}


def _divide(usable: Mapping[str, Sequence[str]], split: DataSplit) -> dict[str, list[str]]:
    """Take validation and test from the training data where none are given."""
    validation, test = list(usable["validation"]), list(usable["test"])
    reserved = {*validation, *test}
    pool = [p for p in usable["training"] if p not in reserved]
    order = [pool[n] for n in np.random.default_rng(split.seed).permutation(len(pool))]
    n_train, n_validation, n_test = (round(part * len(pool)) for part in split.fractions)
    if not validation:
        count = max(1, n_validation)
        validation, order = order[:count], order[count:]
        if not test and len(pool) >= 10:
            test, order = order[:n_test], order[n_test:]
    if sum(split.fractions) < 1 - 1e-9:  # the rest is not used
        order = order[:n_train]
    chosen = set(order)
    return {
        "training": [p for p in pool if p in chosen],
        "validation": validation,
        "test": test,
    }


def summarise(path: str, open_calculation: OpenCalculation) -> CalculationSummary:
    """Read the facts about a calculation that are needed before training.

    Parameters
    ----------
    path : str
        Path of the calculation.
    open_calculation : callable
        Opens it, as a context manager with a `Calculation`.

    Returns
    -------
    CalculationSummary
        Basis, spin, mean level and digest.

    Raises
    ------
    MoireioError
        If it has no overlap, is collinear, or contains numbers that are not finite.
    """
    with open_calculation(path) as calculation:
        structure, hamiltonian = calculation.structure, calculation.hamiltonian
        if calculation.overlap is None:
            raise MoireioError("has no overlap, which fixes the zero of energy", path=path)
        level = mean_level(calculation)
        if not np.isfinite(level):
            raise MoireioError("contains numbers that are not finite", path=path)
        if hamiltonian.meta.spin == "collinear":
            raise MoireioError("is collinear; networks give spinless or spinor blocks", path=path)
        H = hamiltonian.rows(0, len(structure))
        if not np.isfinite(H).all():
            raise MoireioError("contains numbers that are not finite", path=path)
        state = hashlib.blake2b(digest_size=16)
        for part in (H, structure.positions, structure.cell):
            state.update(np.ascontiguousarray(part).tobytes())
        elements = {
            name: int(z)
            for name, z in zip(structure.species_of_atoms, structure.numbers, strict=True)
        }
        return CalculationSummary(
            level,
            f"blake2b:{state.hexdigest()}",
            {name: calculation.basis[name] for name in elements},
            elements,
            hamiltonian.meta.spin == "spinor",
        )
