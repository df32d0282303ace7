"""Models go into a registry with their cards, and are checked there."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from moireio.errors import ExistingFileError, MoireioError
from moireio.models.cards import CellErrors, card_of_training, completed
from moireio.models.registry import Entry
from moireio.network import modelfile
from moireio.network.cellerrors import (
    cell_bands,
    cell_errors,
    covered,
    reference_cell,
)
from moireio.network.model import NetworkModel
from moireio.network.training.sets import OpenCalculation, summarise

#: By how much a mean error may differ when it is found again: of itself, and in meV.
TOLERANCE = 0.01, 0.005


@dataclass(frozen=True)
class Check:
    """What became of a test cell when it was predicted again.

    Parameters
    ----------
    cell : str
        Its name; empty for a check of the file as a whole.
    expected, found : float or None
        Mean |ΔH| on the card, and now, meV; None if there is none.
    agrees : bool
        Whether they do, or there was nothing to compare.
    why : str
        A remark.
    """

    cell: str
    expected: float | None
    found: float | None
    agrees: bool
    why: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {
            "cell": self.cell,
            "expected_meV": self.expected,
            "found_meV": self.found,
            "agrees": self.agrees,
            "why": self.why,
        }


def with_card(
    model: NetworkModel,
    given: Mapping[str, Any],
    training: Sequence[str] = (),
    tests: Sequence[str] = (),
    open_calculation: OpenCalculation | None = None,
    keep_cells: bool = True,
) -> NetworkModel:
    """Return a model with its card.

    Parameters
    ----------
    model : NetworkModel
        The model; a card that it has is kept as far as nothing else is known.
    given : mapping
        Fields of the card (`moireio.models.cards.completed`).
    training : sequence of str
        Calculations that it was trained on: layers and domain follow from them.
    tests : sequence of str
        Calculations for the test; they replace those that the card has.
    open_calculation : callable, optional
        Opens these, as a context manager with a `Calculation`.
    keep_cells : bool
        Keep the test cells in the model file, not only their digests.

    Returns
    -------
    NetworkModel
        The same network.

    Raises
    ------
    MoireioError
        If a field, or a calculation, does not fit.
    """
    digest = model.digest()
    former = model.card if model.card is not None and model.card.digest == digest else None
    card = former or card_of_training(model.training, digest)
    if training:
        structures = []
        for path in training:
            with _opened(open_calculation, path) as calculation:
                structures.append(calculation.structure)
        card = completed(card, covered(structures))
    card = completed(card, given)
    if not tests:
        return replace(model, card=card, cells=model.cells if former else ())
    cells, records = [], []
    for path in tests:
        name = os.path.basename(os.path.normpath(path)).partition(".")[0]
        summary = summarise(path, lambda one: _opened(open_calculation, one))
        with _opened(open_calculation, path) as calculation:
            cell = reference_cell(calculation, name, summary.digest, model)
            errors = cell_errors(model, cell, keep_cells)
            records.append(replace(errors, bands=cell_bands(model, cell, calculation)))
        cells += [cell] if keep_cells else []
    return replace(model, card=replace(card, tests=tuple(records)), cells=tuple(cells))


def _opened(open_calculation: OpenCalculation | None, path: str) -> Any:
    if open_calculation is None:
        raise ValueError("calculations need a function that opens them")
    return open_calculation(path)


def add(folder: str, name: str, model: NetworkModel, force: bool = False) -> str:
    """Write a model into a registry.

    Parameters
    ----------
    folder : str
        The registry; it is made if it does not exist.
    name : str
        What the model shall be called.
    model : NetworkModel
        With a card.
    force : bool
        Replace a model of that name.

    Returns
    -------
    str
        The file.

    Raises
    ------
    MoireioError
        If the name is none for a file, or taken.
    """
    if not name or name != os.path.basename(name) or name.startswith((".", "-")):
        raise MoireioError(f"{name!r} is no name for a model", remedy="letters, digits and dashes")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise MoireioError(f"cannot be made: {error.strerror}", path=folder) from error
    path = os.path.join(folder, f"{name}.h5")
    if os.path.exists(path) and not force:
        raise ExistingFileError(
            "exists already", path=path, remedy="give another `name`, or `force`"
        )
    modelfile.write(path, model, force)
    return path


def verify(
    entry: Entry,
    model: NetworkModel | None,
    calculations: Mapping[str, Callable[[], Any]] | None = None,
) -> list[Check]:
    """Predict the test cells of a card again, and compare.

    Parameters
    ----------
    entry : Entry
        The model in its registry.
    model : NetworkModel or None
        The model; None if it cannot be read.
    calculations : mapping of str to callable, optional
        For cells that do not lie in the file: what opens the calculation of a digest.

    Returns
    -------
    list of Check
        One for every cell on the card, or one for the file.
    """
    if not entry.usable or model is None:
        return [Check("", None, None, False, entry.why or entry.status)]
    if not entry.card.tests:
        return [Check("", None, None, True, "there are no test cells; the file itself is sound")]
    cells = {cell.digest: cell for cell in model.cells}
    checks = []
    for test in entry.card.tests:
        cell = cells.get(test.digest) if test.digest else None
        if cell is None and calculations and test.digest in calculations:
            with calculations[test.digest]() as calculation:
                cell = reference_cell(calculation, test.cell, test.digest, model)
        if cell is None:
            where = f" (digest {test.digest})" if test.digest else ""
            why = f"the cell does not lie in the file{where}: not predicted again"
            checks.append(Check(test.cell, test.mean, None, not test.stored, why))
            continue
        checks.append(_compared(model, test, cell))
    return checks


def _compared(model: NetworkModel, test: CellErrors, cell: Any) -> Check:
    """Return the check of one cell."""
    try:
        found = cell_errors(model, cell, test.stored).mean
    except MoireioError as error:
        return Check(test.cell, test.mean, None, False, str(error))
    agrees = abs(found - test.mean) <= TOLERANCE[0] * test.mean + TOLERANCE[1]
    return Check(test.cell, test.mean, found, agrees, "" if agrees else "the errors differ")


def digests_of(
    paths: Sequence[str], open_calculation: OpenCalculation
) -> dict[str, Callable[[], Any]]:
    """Return functions that open calculations, by the digests of these.

    Parameters
    ----------
    paths : sequence of str
        Calculations.
    open_calculation : callable
        Opens a path, as a context manager with a `Calculation`.

    Returns
    -------
    dict of str to callable
        For `verify`.
    """
    out: dict[str, Callable[[], Any]] = {}
    for path in paths:
        summary = summarise(path, open_calculation)
        out[summary.digest] = lambda path=path: open_calculation(path)
    return out


def remove(entry: Entry, folders: Sequence[str]) -> None:
    """Remove a model from its registry.

    Parameters
    ----------
    entry : Entry
        The model.
    folders : sequence of str
        Registries from which models may be removed.

    Raises
    ------
    MoireioError
        If it lies elsewhere, or cannot be removed.
    """
    folder = os.path.dirname(os.path.abspath(entry.path))
    if folder not in {os.path.abspath(f) for f in folders}:
        raise MoireioError("lies in none of the registries", path=entry.path)
    from moireio.runtime.workdirs import remove_tree

    try:
        if os.path.isdir(entry.path):
            remove_tree(entry.path)
        else:
            os.remove(entry.path)
    except OSError as error:
        raise MoireioError(f"cannot be removed: {error.strerror}", path=entry.path) from error
