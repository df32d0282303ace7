"""The gate: which of several models serves a structure best.

Models that know the species, in the basis of the structure, are ranked by the error that each
expects for the structure's atoms (`moireio.network.expected_error`). Those that cannot expect one
come last.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from moireio.blockfile.reader import BlockFile
from moireio.errors import MoireioError
from moireio.integrals.pairs import overlapping_pairs
from moireio.models.cards import card_of_training
from moireio.models.registry import Entry
from moireio.network.cellerrors import species_of
from moireio.network.expected_error import LIMIT
from moireio.network.graph import Graph
from moireio.network.inference.passes import Predictor
from moireio.network.model import NetworkModel
from moireio.runtime.workdirs import work_folder
from moireio.system.basis import Basis, shell_counts
from moireio.system.layers import assign_layers
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure

# Times a model's own error from which it does not know the surroundings at all.
FOREIGN = 10.0

Load = Callable[[str], NetworkModel]


@dataclass(frozen=True, eq=False)
class Question:
    """A structure for which a model is looked for.

    Parameters
    ----------
    label : str
        Its file, for messages.
    structure : Structure
        The atoms.
    basis : Basis or None
        Orbitals that its overlap has; None if it has none yet.
    pairs : Pairs or None
        Pairs of its overlap, both partners; None if it has none yet.
    """

    label: str
    structure: Structure
    basis: Basis | None = None
    pairs: Pairs | None = None


def question_of_file(file: BlockFile) -> Question:
    """Return the question that a block file asks.

    Parameters
    ----------
    file : BlockFile
        With a structure; where it has an overlap or a Hamiltonian, with their basis and pairs.

    Returns
    -------
    Question
        For `rank`.
    """
    name = next((n for n in ("overlap", "hamiltonian") if n in file), None)
    if name is None:
        basis = file.basis if "basis" in file else None
        return Question(file.label, file.structure, basis)
    operator = file.operator(name)
    pairs = operator.pairs
    if operator.meta.storage == "upper":
        pairs = pairs.with_partners()
    return Question(file.label, file.structure, file.basis, pairs)


@dataclass(frozen=True)
class Candidate:
    """What the gate found about a model.

    Parameters
    ----------
    entry : Entry
        The model.
    knows : bool
        Whether it has the species, in the basis of the structure.
    fits : bool
        Whether it also knows the surroundings of the atoms, or cannot say.
    expected : float or None
        Mean |ΔH| that it expects, eV; None if it cannot say.
    why : str
        A few words.
    """

    entry: Entry
    knows: bool
    fits: bool
    expected: float | None
    why: str

    def to_plain(self) -> dict[str, object]:
        """Return it as plain values for JSON."""
        return {
            "name": self.entry.name,
            "path": self.entry.path,
            "fits": self.fits,
            "expected_error_meV": None if self.expected is None else self.expected * 1e3,
            "why": self.why,
        }


def entry_of(model: NetworkModel, path: str) -> Entry:
    """Return the entry of a model that is in no registry.

    Parameters
    ----------
    model : NetworkModel
        The model.
    path : str
        What `load` shall get for it.

    Returns
    -------
    Entry
        With its card, or what its record of training says.
    """
    from ase.data import chemical_symbols

    digest = model.digest()
    return Entry(
        model.name,
        path,
        "ok",
        digest=digest,
        kind=model.kind,
        elements=tuple(chemical_symbols[z] for z in model.targets.numbers),
        spin="spinor" if model.targets.spinful else "none",
        card=model.card or card_of_training(model.training, digest),
    )


def rank(
    question: Question, entries: Iterable[Entry], load: Load, memory: float | None = None
) -> list[Candidate]:
    """Rank models by the error that they expect for a structure.

    Parameters
    ----------
    question : Question
        The structure.
    entries : iterable of Entry
        Models of registries.
    load : callable
        Returns the model of a path.
    memory : float, optional
        Bytes that the features of a network may take; beyond, they go to temporary files.

    Returns
    -------
    list of Candidate
        First those that fit; among these, and among the others, those of smaller expected error;
        of equal ones that of the smaller own error, and of equal ones in this the earlier one.
    """
    found = [assess(question, entry, load, memory) for entry in entries]
    order = sorted(range(len(found)), key=lambda n: (*_key(found[n]), n))
    ranked = [found[n] for n in order]
    for n in range(1, len(ranked)):
        first, other = ranked[n - 1], ranked[n]
        if other.fits and _key(first) == _key(other):
            same = "the same model as" if first.entry.digest == other.entry.digest else "as good as"
            ranked[n] = replace(other, why=f"{other.why}; {same} {first.entry.name}")
    return ranked


def _key(candidate: Candidate) -> tuple[bool, bool, bool, float, int, float]:
    """Return the key by which candidates are sorted."""
    entry, expected = candidate.entry, candidate.expected
    tests = [test.mean for test in entry.card.tests]
    return (
        not candidate.fits,
        not candidate.knows,
        expected is None,
        0.0 if expected is None else float(f"{expected:.4g}"),  # rounding decides nothing
        len(entry.elements),
        min(tests, default=np.inf),
    )


def assess(question: Question, entry: Entry, load: Load, memory: float | None = None) -> Candidate:
    """Find out whether a model serves a structure, and the error that it expects.

    Parameters
    ----------
    question : Question
        The structure.
    entry : Entry
        The model.
    load : callable
        Returns the model of a path.
    memory : float, optional
        Bytes that the features of a network may take.

    Returns
    -------
    Candidate
        With the reason.
    """
    if not entry.usable:
        return Candidate(entry, False, False, None, entry.why or entry.status)
    missing = sorted(set(question.structure.element_symbols) - set(entry.elements))
    if missing:
        known = ", ".join(entry.elements)
        return Candidate(entry, False, False, None, f"does not know {missing[0]} (knows {known})")
    try:
        model = load(entry.path)
        misfit = _basis_misfit(model, question)
        if misfit:
            return Candidate(entry, False, False, None, misfit)
        expected = _expected(model, question, memory)
    except MoireioError as error:
        return Candidate(entry, False, False, None, " ".join(error.what.split()))
    return _judged(entry, model, expected, question.structure)


def _judged(
    entry: Entry, model: NetworkModel, expected: float | None, structure: Structure
) -> Candidate:
    """Return the candidate of a model that knows the species."""
    layers = int(assign_layers(structure).max()) + 1 if structure.layer is None else None
    layers = len(np.unique(structure.layer)) if layers is None else layers
    trained = entry.card.layers
    known = model.expected_error
    if expected is None or known is None:
        why = "has no record of its training: expected error unknown"
        foreign = bool(trained) and layers not in trained
        if foreign:
            why = f"was trained on {_counts(trained)}, not on {layers}"
        return Candidate(entry, True, not foreign, None, why)
    ratio = expected / known.own
    if ratio > FOREIGN or not np.isfinite(expected):
        why = f"does not know such surroundings: expects {ratio:.1f} times its own error"
        return Candidate(entry, True, False, expected, why)
    why = f"expects {expected * 1e3:.2f} meV, {ratio:.1f} times its own error"
    if ratio > LIMIT:
        why += ": outside its training data"
    if trained and layers not in trained:
        why += f"; trained on {_counts(trained)}, not on {layers}"
    return Candidate(entry, True, True, expected, why)


def _counts(layers: Sequence[int]) -> str:
    return f"{', '.join(map(str, layers))} layer{'s' if tuple(layers) != (1,) else ''}"


def _basis_misfit(model: NetworkModel, question: Question) -> str | None:
    """Return why the question's basis is not the model's; None if it is, or there is none yet."""
    if question.basis is None:
        return None
    place = {z: n for n, z in enumerate(model.targets.numbers)}
    structure = question.structure
    numbers = dict(zip(structure.species_of_atoms, structure.numbers.tolist(), strict=True))
    for name, number in numbers.items():
        stored = question.basis.species.get(name)
        if stored is None:
            if question.pairs is None:  # no basis yet, as after build-twist
                continue
            return f"the file has no basis for {name}"
        shells = tuple(model.targets.shells[place[number]])
        if stored.l != shells or stored.m is not None:
            return f"was trained with {shell_counts(shells)} for {name}, not with {stored.label}"
        known = model.basis.species if model.basis is not None else {}
        trained = known.get(model.names[place[number]])
        if trained is not None and stored.name and trained.name and stored.name != trained.name:
            return f"was trained with {trained.name}, not with {stored.name}"
    return None


def _expected(model: NetworkModel, question: Question, memory: float | None) -> float | None:
    """Return the mean expected error, eV; None if the model has none."""
    if model.expected_error is None:
        return None
    structure, pairs = question.structure, question.pairs
    species = species_of(model, structure, question.label)
    if pairs is None:
        if model.basis is None:
            return None
        names = dict(zip(structure.species_of_atoms, species.tolist(), strict=True))
        basis = Basis({name: model.basis[model.names[s]] for name, s in names.items()})
        pairs = overlapping_pairs(structure, basis)
    graph = Graph(structure, pairs, species)
    with (
        work_folder("moireio-") as folder,
        contextlib.closing(Predictor(model, graph, memory, f"{folder}/features")) as predictor,
    ):
        predictor.run()
        expected = predictor.expected_error()
    return None if expected is None else float(expected.mean())
