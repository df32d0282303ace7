"""A prediction from a block file into a block file."""

import contextlib
import copy
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from moireio.blockfile.reader import ADDED_BY, BlockFile
from moireio.blockfile.writer import BlockWriter
from moireio.errors import MoireioError
from moireio.network.expected_error import LIMIT
from moireio.network.graph import Graph
from moireio.network.inference.hamiltonian import HamiltonianSource
from moireio.network.inference.passes import Predictor
from moireio.network.model import NetworkModel
from moireio.operators.blocks import read_pairs
from moireio.operators.views import FullView
from moireio.results.electrons import Electrons
from moireio.runtime.progress import Progress, share
from moireio.system.basis import Basis, SpeciesBasis, shell_counts


@dataclass(frozen=True, eq=False)
class PredictionTask:
    """A model and a structure that fit each other.

    Parameters
    ----------
    model : NetworkModel
        The model, in the precision asked for.
    file : BlockFile
        The structure.
    graph : Graph
        Its edges.
    basis : Basis or None
        Basis with radial functions, where the file lacks them and the model has them.
    device : {"cpu", "cuda"}
        Device of the network.
    key : str
        Identifies the prediction.
    """

    model: NetworkModel
    file: BlockFile
    graph: Graph
    basis: Basis | None
    device: str
    key: str

    @property
    def replaced_groups(self) -> tuple[str, ...]:
        """Groups of the file that are written anew, beside ``hamiltonian``."""
        return ("electrons", *(("basis",) if self.basis is not None else ()))

    @property
    def steps(self) -> int:
        """Length of the whole work: edges, once for every pass and for the blocks."""
        network = self.model.network
        return len(self.graph) * (2 * len(network.blocks) + 1 - int(network.settings.local))

    def description(self) -> str:
        """Return a line about structure and model for the user."""
        n_atoms, n_edges = len(self.graph.species), len(self.graph)
        precision = str(self.model.network.dtype).removeprefix("torch.")
        return f"{n_atoms} atoms, {n_edges + n_atoms} pairs, {self.model.kind} model, {precision}"


def prepare(
    model: NetworkModel, file: BlockFile, precision: str | None = None, device: str = "cpu"
) -> PredictionTask:
    """Check that a model fits a structure.

    Parameters
    ----------
    model : NetworkModel
        The model. It is not changed.
    file : BlockFile
        Structure with /overlap (or /hamiltonian), whose pairs are taken.
    precision : {"float32", "float64"}, optional
        Precision of the evaluation; by default that of the weights.
    device : {"cpu", "cuda"}
        Device of the network.

    Returns
    -------
    PredictionTask
        Ready to run.

    Raises
    ------
    MoireioError
        If species, bases or pairs do not fit, or there is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise MoireioError(
            "there is no CUDA device that torch could use", remedy="set `device` to cpu"
        )
    dtype = getattr(torch, precision) if precision else model.network.dtype
    if dtype != model.network.dtype or device != "cpu":  # the caller's network stays as it is
        model = replace(model, network=copy.deepcopy(model.network).to(dtype))
    species, basis = _match(model, file)
    name = next((n for n in ("overlap", "hamiltonian") if n in file), None)
    if name is None:
        raise MoireioError(
            "has no /overlap, whose pairs a prediction needs",
            path=file.label,
            remedy=ADDED_BY["overlap"],
        )
    operator = file.operator(name)
    pairs = operator.pairs
    if operator.meta.storage == "upper":
        pairs = pairs.with_partners()
    graph = Graph(file.structure, pairs, species)
    _check_reach(model, graph, file.label)
    key = f"{file.digest()} {model.digest()} {model.network.dtype}"
    return PredictionTask(model, file, graph, basis, device, key)


def _match(model: NetworkModel, file: BlockFile) -> tuple[npt.NDArray[np.int64], Basis | None]:
    """Return the model's species of every atom, and a completed basis or None."""
    structure, label = file.structure, file.label
    numbers = model.targets.numbers
    foreign = sorted(set(structure.numbers.tolist()) - set(numbers))
    if foreign:
        from ase.data import chemical_symbols

        elements = ", ".join(chemical_symbols[z] for z in numbers)
        raise MoireioError(
            f"has {chemical_symbols[foreign[0]]}, which {model.label} does not know ({elements})",
            path=label,
        )
    place = {z: n for n, z in enumerate(numbers)}
    species = np.array([place[int(z)] for z in structure.numbers], dtype=np.int64)
    stored = file.basis if "basis" in file else None
    completed: dict[str, SpeciesBasis] = {}
    for name, s in zip(structure.species_of_atoms, species.tolist(), strict=True):
        if name not in completed:
            species_basis = stored.species.get(name) if stored is not None else None
            if species_basis is None:
                raise MoireioError(
                    f"has no basis for species {name}", path=label, remedy=ADDED_BY["basis"]
                )
            completed[name] = _completed(model, s, name, species_basis, label)
    if all(completed[n] is stored.species[n] for n in completed):
        return species, None
    return species, Basis({**stored.species, **completed})


def _completed(
    model: NetworkModel, s: int, name: str, stored: SpeciesBasis, label: str
) -> SpeciesBasis:
    """Check the basis of a species; add the model's radial functions and electrons."""
    shells = tuple(model.targets.shells[s])
    if stored.l != shells or stored.m is not None:
        raise MoireioError(
            f"species {name} has the basis {stored.label}, {model.label} was trained with "
            f"shells {shell_counts(shells)}",
            path=label,
            remedy="make S in the model's basis, with overlap",
        )
    trained = model.basis.species.get(model.names[s]) if model.basis is not None else None
    if trained is None:
        return stored
    if stored.name and trained.name and stored.name != trained.name:
        raise MoireioError(
            f"species {name} has the basis {stored.name}, {model.label} was trained with "
            f"{trained.name}",
            path=label,
        )
    if stored.valence is None and trained.valence is not None:
        stored = replace(stored, valence=trained.valence)
    if trained.radial is None:
        return stored
    if stored.radial is None:
        return replace(stored, radial=trained.radial)
    if not stored.same_radial(trained):
        raise MoireioError(
            f"the radial functions of species {name} are not those of {model.label}", path=label
        )
    return stored


def _check_reach(model: NetworkModel, graph: Graph, label: str) -> None:
    """Refuse pairs that the model's cutoffs do not cover."""
    settings = model.network.settings
    if not settings.local:
        return
    reach = np.array(settings.reaches)[graph.species]
    edges = np.arange(len(graph))
    i = graph.first(edges)
    d = np.linalg.norm(graph.vectors(i, edges), axis=1)
    outside = d > (reach[i] + reach[graph.bonds.j]) * (1 + 1e-6)
    if outside.any():
        n = int(np.flatnonzero(outside)[0])
        raise MoireioError(
            f"{int(outside.sum())} pairs lie beyond the cutoff of {model.label}, as atoms {i[n]} "
            f"and {int(graph.bonds.j[n])} at {d[n]:.3f} Å",
            path=label,
            remedy="its /overlap was made with another basis",
        )


def predict(
    task: PredictionTask,
    writer: BlockWriter,
    memory: float | None = None,
    work: str | None = None,
    raw: bool = False,
    storage: str | None = None,
    progress: Progress | None = None,
    max_expected_error: float | None = None,
) -> npt.NDArray[np.float64] | None:
    """Predict and write ``/hamiltonian``.

    Parameters
    ----------
    task : PredictionTask
        From `prepare`.
    writer : BlockWriter
        Writer of the output.
    memory : float, optional
        Bytes that features may take before they go to files.
    work : str, optional
        Folder for those files; it is removed at the end.
    raw : bool
        Blocks as the network gives them, without taking the Hermitian part.
    storage : {"full", "upper"}, optional
        Both partners of every pair, or one (the default unless raw).
    progress : Progress, optional
        Called with edges done, and those of all passes and of the blocks.
    max_expected_error : float, optional
        Refuse a structure whose expected error is larger, eV; before any block is written.

    Returns
    -------
    (N,) array or None
        Expected mean |ΔH| of every atom's blocks, eV; None if the model does not know.

    Raises
    ------
    MoireioError
        If the expected error is larger than allowed, or unknown and yet limited; if the network
        gives numbers that are not finite.
    """
    step = share(progress, task.steps)
    predictor = Predictor(task.model, task.graph, memory, work, task.key, task.device, step)
    with contextlib.closing(predictor):
        predictor.run()
        source = HamiltonianSource(predictor, raw)
        try:
            _check_expected_error(task, source.expected_error, max_expected_error)
        except MoireioError:
            predictor.remove_work()
            raise
        view = FullView(source) if storage == "full" and not raw else source
        writer.operator(view, progress=share(progress, task.steps, len(task.graph)))
    if task.basis is not None:
        writer.basis(task.basis)
    known = task.file.electrons if "electrons" in task.file else Electrons()
    count = known.count
    if count is None:
        count = (task.basis or task.file.basis).valence(task.file.structure)
    electrons = replace(known, count=count, fermi=None)  # that is of another Hamiltonian
    if electrons != Electrons():
        writer.electrons(electrons)
    predictor.remove_work()
    return source.expected_error


def _check_expected_error(
    task: PredictionTask, expected: npt.NDArray[np.float64] | None, limit: float | None
) -> None:
    """Refuse errors that are not finite, or larger than a limit."""
    if expected is None:
        if limit is not None:
            raise MoireioError(
                "has no record of its training, so that its error cannot be expected",
                path=task.model.label,
                remedy="predict without `max_expected_error`",
            )
        return
    if not np.isfinite(expected).all():
        atoms = np.flatnonzero(~np.isfinite(expected))
        raise MoireioError(
            f"gives features that are not finite, at {_atoms(atoms)}",
            path=task.model.label,
            remedy="the model or the structure is not sound",
        )
    if limit is not None and expected.mean() > limit:
        raise MoireioError(
            f"the expected |ΔH| is {expected.mean() * 1e3:.2f} meV, more than the "
            f"{limit * 1e3:g} meV allowed (largest {expected.max() * 1e3:.1f} meV, atom "
            f"{expected.argmax()})",
            path=task.file.label,
            remedy="train the model on such structures, or raise `max_expected_error`",
        )


def _atoms(atoms: npt.NDArray[np.integer]) -> str:
    """Return the first atoms of a list as text."""
    few = ", ".join(str(a) for a in atoms[:5])
    return ("atom " if len(atoms) == 1 else "atoms ") + few + (" …" if len(atoms) > 5 else "")


def describe_expected_error(
    model: NetworkModel, expected: npt.NDArray[np.float64] | None
) -> list[str]:
    """Return lines about the expected error for the user.

    Parameters
    ----------
    model : NetworkModel
        The model.
    expected : (N,) array or None
        From `predict`.

    Returns
    -------
    list of str
        One, and a warning where the mean is above three times the model's own error.
    """
    if expected is None:
        return ["no training record: expected error unknown"]
    mean, largest = expected.mean() * 1e3, expected.max() * 1e3
    lines = [f"expected |ΔH| {mean:.2f} meV (largest {largest:.1f} meV, atom {expected.argmax()})"]
    known = model.expected_error
    if known is not None and mean > LIMIT * known.own * 1e3:
        lines.append(
            f"warning: these surroundings lie outside the training data: the expected error is "
            f"{mean / known.own / 1e3:.1f} times the model's own {known.own_set} error "
            f"({known.own * 1e3:.2f} meV)"
        )
    return lines


def mean_error(model: NetworkModel, file: BlockFile) -> float:
    """Return the mean error of a prediction against the file's own Hamiltonian.

    Parameters
    ----------
    model : NetworkModel
        The model.
    file : BlockFile
        Structure with /hamiltonian.

    Returns
    -------
    float
        Mean of |ΔH| over all elements of the pairs that are stored, eV.

    Raises
    ------
    MoireioError
        If model and structure do not fit, or pairs are missing.
    """
    task = prepare(model, file)
    predictor = Predictor(task.model, task.graph)
    predictor.run()
    prediction, reference = HamiltonianSource(predictor), file.hamiltonian
    pairs = reference.pairs.select(reference.pairs.upper())
    places = prediction.pairs.find(pairs.i, pairs.j, pairs.R)
    if (places < 0).any():
        raise MoireioError("/hamiltonian has pairs that the prediction lacks", path=file.label)
    predicted, _ = read_pairs(prediction, places)
    expected, _ = read_pairs(reference, reference.pairs.find(pairs.i, pairs.j, pairs.R))
    return float(np.abs(predicted - expected).mean())
