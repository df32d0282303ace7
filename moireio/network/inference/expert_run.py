"""A prediction by several models from block file to block file."""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from moireio.blockfile.writer import BlockWriter
from moireio.errors import MoireioError
from moireio.network.choice import Question, entry_of, rank
from moireio.network.expected_error import LIMIT
from moireio.network.inference.experts import Expert, ExpertsSource, LayersOfFile, Stack
from moireio.network.inference.passes import Predictor
from moireio.network.model import NetworkModel
from moireio.operators.views import FullView
from moireio.results.electrons import Electrons
from moireio.runtime.progress import Progress, share
from moireio.system.basis import Basis

#: A model for certain layers, as "1-2=a.h5" or "2=b.h5".
FOR_LAYERS = re.compile(r"([1-9]\d*)(?:-([1-9]\d*))?=(.+)", re.S)

Choose = Callable[[LayersOfFile, tuple[int, ...]], NetworkModel | None]


def split_names(words: Sequence[str]) -> tuple[list[str], dict[tuple[int, ...], str]]:
    """Divide the names of models into those for any layers and those for certain ones.

    Parameters
    ----------
    words : sequence of str
        Names, some perhaps as "1-2=NAME" or "2=NAME" (layers from 1).

    Returns
    -------
    names : list of str
        Those for any layers.
    certain : dict of tuple of int to str
        The others, by their layers from 0.

    Raises
    ------
    MoireioError
        If layers are not neighbours.
    """
    names, certain = [], {}
    for word in words:
        found = FOR_LAYERS.fullmatch(word)
        if found is None:
            names.append(word)
            continue
        first, second = int(found[1]), int(found[2] or found[1])
        if second - first not in (0, 1):
            raise MoireioError(
                f"{word!r} names no layer or neighbours, as 2 or 1-2",
                remedy="see `models`",
            )
        certain[tuple(sorted({first - 1, second - 1}))] = found[3]
    return names, certain


def chooser(
    models: Sequence[NetworkModel], certain: Mapping[tuple[int, ...], NetworkModel]
) -> Choose:
    """Return a function that chooses among models by the error that they expect.

    Parameters
    ----------
    models : sequence of NetworkModel
        Models for any layers.
    certain : mapping of tuple of int to NetworkModel
        Models for certain layers, which are not asked.

    Returns
    -------
    callable
        For `choose_experts`. For one layer of several it returns a model only if the layer is
        inside its training data, or its card has single layers.
    """
    entries = [entry_of(model, str(n)) for n, model in enumerate(models)]

    def choose(part: LayersOfFile, layers: tuple[int, ...]) -> NetworkModel | None:
        if layers in certain:
            return certain[layers]
        question = Question(part.label, part.structure, part.basis, part.pairs)
        for candidate in rank(question, entries, lambda path: models[int(path)]):
            model = models[int(candidate.entry.path)]
            unknown = candidate.expected is None
            serves = candidate.knows and (candidate.fits or not unknown)
            if len(layers) == 1:
                own = model.expected_error.own if model.expected_error is not None else np.inf
                inside = not unknown and candidate.expected <= LIMIT * own
                serves = serves and (inside or 1 in candidate.entry.card.layers)
            if serves:
                return model
        return None

    return choose


def choose_experts(
    stack: Stack,
    choose: Choose,
    precision: str | None,
    device: str,
) -> list[Expert]:
    """Return experts for all pairs of neighbouring layers, and for middle layers alone.

    Parameters
    ----------
    stack : Stack
        The structure.
    choose : callable
        Returns the model for some layers, given these and their numbers; None if there is none,
        which only a middle layer alone may lack.
    precision, device : str
        As for `moireio.network.inference.predict.prepare`.

    Returns
    -------
    list of Expert
        For `ExpertsSource`.

    Raises
    ------
    MoireioError
        If there is none for two layers, or it does not fit.
    """
    experts = []
    for layers in stack.sub_structures():
        part = stack.part(layers)
        model = choose(part, layers)
        if model is None:
            elements = ", ".join(sorted(set(part.structure.element_symbols)))
            numbers = ", ".join(str(n + 1) for n in layers)
            raise MoireioError(
                f"no model serves the layers {numbers} ({elements})", path=stack.file.label
            )
        experts.append(stack.expert(layers, model, precision, device))
    for layer in range(1, stack.n_layers - 1):
        part = stack.part([layer])
        model = choose(part, (layer,))
        if model is not None:
            experts.append(stack.expert([layer], model, precision, device))
    return experts


def completed_basis(stack: Stack, experts: Sequence[Expert]) -> Basis | None:
    """Return the basis with what the models know of it; None if the file has it all.

    Parameters
    ----------
    stack : Stack
        The structure.
    experts : sequence of Expert
        Its experts.

    Returns
    -------
    Basis or None
        With radial functions and electrons.
    """
    found = [e.task.basis for e in experts if e.task.basis is not None]
    if not found:
        return None
    stored = stack.file.basis.species
    new = {
        name: one
        for basis in found
        for name, one in basis.species.items()
        if one is not stored.get(name)
    }
    return Basis({**stored, **new})


def predict_by_experts(
    stack: Stack,
    experts: Sequence[Expert],
    writer: BlockWriter,
    *,
    memory: float | None = None,
    work: str | None = None,
    storage: str | None = None,
    align: bool = True,
    progress: Progress | None = None,
    max_expected_error: float | None = None,
) -> ExpertsSource:
    """Predict by several models, and write ``/hamiltonian``.

    Parameters
    ----------
    stack : Stack
        The structure.
    experts : sequence of Expert
        From `choose_experts`.
    writer : BlockWriter
        Writer of the output.
    memory : float, optional
        Bytes that the features of all experts may take before they go to files.
    work : str, optional
        Beginning of the names of folders for those files; they are removed at the end.
    storage : {"full", "upper"}, optional
        Both partners of every pair, or one.
    align : bool
        Bring the experts to one zero of energy.
    progress : Progress, optional
        Called with edges done, and those of all passes and of the blocks.
    max_expected_error : float, optional
        Refuse a structure whose expected error is larger, eV; before any block is written.

    Returns
    -------
    ExpertsSource
        With shifts, joints and the number of uncovered pairs.

    Raises
    ------
    MoireioError
        If the models do not fit each other, or the expected error is larger than allowed.
    """
    blocks = len(stack.pairs)
    total = sum(e.task.steps for e in experts) + blocks
    step = share(progress, total)
    each = None if memory is None else memory / len(experts)
    with contextlib.ExitStack() as stack_of_files:
        predictors = []
        for number, expert in enumerate(experts):
            task = expert.task
            folder = None if work is None else f"{work}-{number + 1}"
            predictor = Predictor(task.model, task.graph, each, folder, task.key, task.device, step)
            stack_of_files.enter_context(contextlib.closing(predictor))
            predictor.run()
            predictors.append(predictor)
        source = ExpertsSource(stack, experts, predictors, align)
        expected = source.expected_error
        if max_expected_error is not None and (
            expected is None or not expected.mean() <= max_expected_error
        ):
            for predictor in predictors:
                predictor.remove_work()
            _refuse(stack, expected, max_expected_error)
        view = FullView(source) if storage == "full" else source
        writer.operator(view, progress=share(progress, total, blocks))
        basis = completed_basis(stack, experts)
        if basis is not None:
            writer.basis(basis)
        known = stack.file.electrons if "electrons" in stack.file else Electrons()
        count = known.count
        if count is None:
            count = (basis or stack.file.basis).valence(stack.file.structure)
        electrons = replace(known, count=count, fermi=None)
        if electrons != Electrons():
            writer.electrons(electrons)
        for predictor in predictors:
            predictor.remove_work()
    return source


def _refuse(stack: Stack, expected: npt.NDArray[np.float64] | None, limit: float) -> None:
    """Raise the error of an expected error that is too large, or unknown."""
    if expected is None:
        raise MoireioError(
            "a model has no record of its training, so that the error cannot be expected",
            path=stack.file.label,
            remedy="predict without `max_expected_error`",
        )
    raise MoireioError(
        f"the expected |ΔH| is {expected.mean() * 1e3:.2f} meV, more than the "
        f"{limit * 1e3:g} meV allowed",
        path=stack.file.label,
        remedy="train the models on such structures, or raise `max_expected_error`",
    )


def describe_experts(experts: Sequence[Expert], source: ExpertsSource) -> list[str]:
    """Return lines about the experts for the user.

    Parameters
    ----------
    experts : sequence of Expert
        The experts.
    source : ExpertsSource
        From `predict_by_experts`.

    Returns
    -------
    list of str
        Shifts, middle layers, uncovered pairs.
    """
    lines = [
        f"{expert.name}: shifted by {mu * 1e3:z.2f} meV"
        for expert, mu in zip(experts, source.shifts, strict=True)
    ]
    for joint in source.joints:
        how = "H(12) + H(23) − H(2)" if joint.alone else "mean of H(12) and H(23)"
        lines.append(
            f"layer {joint.layer + 1}: {how}; they differ by {joint.difference * 1e3:.2f} meV "
            "in the mean"
        )
    if source.uncovered:
        lines.append(f"{source.uncovered} pairs of atoms that no model covers: μS")
    if source.expected_error is None:
        lines.append("expected error unknown: a model has no record of its training")
    else:
        mean, atom = source.expected_error.mean() * 1e3, source.expected_error.argmax()
        largest = source.expected_error.max() * 1e3
        lines.append(f"expected |ΔH| {mean:.2f} meV (largest {largest:.1f} meV, atom {atom})")
    return lines
