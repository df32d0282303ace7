"""A prediction from a block file into a block file."""

import contextlib
import copy
from dataclasses import dataclass, replace

import numpy as np
import torch

from moireio.errors import MoireioError
from moireio.network.inference.passes import Graph, HamiltonianSource, Predictor
from moireio.operators.blocks import read_pairs
from moireio.operators.views import FullView
from moireio.results.electrons import Electrons
from moireio.runtime.progress import share
from moireio.system.basis import Basis


@dataclass(eq=False)
class Job:
    """A model and a structure that fit each other.

    Parameters
    ----------
    model : Model
        In the precision asked for.
    file : BlockFile
        The structure.
    graph : Graph
        Its edges.
    basis : Basis or None
        With radial functions, where the file lacks them and the model has them.
    device : str
        "cpu" or "cuda".
    key : str
        What identifies the prediction.
    """

    model: object
    file: object
    graph: Graph
    basis: Basis | None
    device: str
    key: str

    @property
    def dropped(self):
        """Groups of the file that are written anew."""
        return ("electrons", *(("basis",) if self.basis is not None else ()))

    @property
    def steps(self):
        """Length of the whole work: edges, once for every pass and for the blocks."""
        network = self.model.network
        return len(self.graph) * (2 * len(network.blocks) + 1 - int(network.settings.local))

    def description(self):
        """Return a line that tells what is to be done."""
        n, count = len(self.graph.species), len(self.graph)
        precision = str(self.model.network.dtype).removeprefix("torch.")
        text = f"{n} atoms, {count + n} pairs, {self.model.kind} model, {precision}"
        far = self.model.novelty(self.graph)
        return text if far is None else f"{text}; {far}"


def prepare(model, file, precision=None, device="cpu", jobs=None):
    """Check that a model fits a structure.

    Parameters
    ----------
    model : Model
        The model.
    file : BlockFile
        With /overlap (or /hamiltonian), whose pairs are taken.
    precision : {"float32", "float64"}, optional
        Of the evaluation; by default that of the weights.
    device : str
        "cpu" or "cuda".
    jobs : int, optional
        Threads.

    Returns
    -------
    Job
        Ready to run.

    Raises
    ------
    MoireioError
        If species, bases or pairs do not fit.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise MoireioError("there is no CUDA device that torch could use", path="--device cuda")
    if jobs:
        torch.set_num_threads(jobs)
    if precision:
        dtype = getattr(torch, precision)
        if dtype != model.network.dtype:  # the caller's network stays as it is
            model = replace(model, network=copy.deepcopy(model.network).to(dtype))
    species, basis = _match(model, file)
    name = next((n for n in ("overlap", "hamiltonian") if n in file), None)
    if name is None:
        raise MoireioError(
            "has no /overlap, whose pairs a prediction needs",
            path=file.label,
            remedy="run overlap before",
        )
    operator = file.operator(name)
    pairs = operator.pairs
    if operator.meta.storage == "upper":
        pairs = pairs.with_partners()
    graph = Graph(file.structure, pairs, species)
    _check_reach(model, graph, file.label)
    key = f"{file.digest()} {model.digest()} {model.network.dtype}"
    return Job(model, file, graph, basis, device, key)


def _match(model, file):
    """Return the model's species of every atom, and a completed basis or None."""
    structure, label = file.structure, file.label
    numbers = model.targets.numbers
    foreign = sorted(set(structure.numbers.tolist()) - set(numbers))
    if foreign:
        from ase.data import chemical_symbols

        known = ", ".join(chemical_symbols[z] for z in numbers)
        raise MoireioError(
            f"has {chemical_symbols[foreign[0]]}, which {model.label} does not know ({known})",
            path=label,
        )
    place = {z: n for n, z in enumerate(numbers)}
    species = np.array([place[int(z)] for z in structure.numbers], dtype=np.int64)
    own = file.basis if "basis" in file else None
    completed = {}
    for name, s in zip(structure.species_of_atoms, species.tolist(), strict=True):
        if name in completed:
            continue
        stored = own.species.get(name) if own is not None else None
        if stored is None:
            raise MoireioError(f"has no basis for species {name}", path=label)
        theirs = model.basis.species.get(model.names[s]) if model.basis is not None else None
        shells = tuple(model.targets.shells[s])
        if stored.l != shells or stored.m is not None:
            raise MoireioError(
                f"species {name} has the basis {stored.label}, {model.label} was trained with "
                f"shells {shells}",
                path=label,
            )
        if theirs is not None and stored.name and theirs.name and stored.name != theirs.name:
            raise MoireioError(
                f"species {name} has the basis {stored.name}, {model.label} was trained with "
                f"{theirs.name}",
                path=label,
            )
        both = theirs is not None and theirs.radial is not None
        if both and stored.radial is not None and not stored.same_radial(theirs):
            raise MoireioError(
                f"the radial functions of species {name} are not those of {model.label}", path=label
            )
        fill = both and stored.radial is None
        completed[name] = replace(stored, radial=theirs.radial) if fill else stored
    changed = any(completed[n] is not own.species[n] for n in completed)
    return species, Basis({**own.species, **completed}) if changed else None


def _check_reach(model, graph, label):
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


def predict(job, writer, memory=None, work=None, raw=False, storage=None, progress=None):
    """Predict and write ``/hamiltonian``.

    Parameters
    ----------
    job : Job
        From `prepare`.
    writer : BlockWriter
        Where to.
    memory : float, optional
        Bytes that features may take before they go to files.
    work : str, optional
        Folder for those files; it is removed at the end.
    raw : bool
        Without the Hermitian part.
    storage : {"full", "upper"}, optional
        Both partners of every pair, or one (the default unless raw).
    progress : Progress, optional
        Called with edges done, and those of all passes and of the blocks.
    """
    step = share(progress, job.steps)
    predictor = Predictor(job.model, job.graph, memory, work, job.key, job.device, step)
    with contextlib.closing(predictor):
        predictor.run()
        source = HamiltonianSource(predictor, raw)
        view = FullView(source) if storage == "full" and not raw else source
        writer.operator(view, progress=share(progress, job.steps, len(job.graph)))
    if job.basis is not None:
        writer.basis(job.basis)
    known = job.file.electrons if "electrons" in job.file else None
    if known is not None:  # the Fermi level is that of another Hamiltonian
        writer.electrons(replace(known, fermi=None))
    else:
        count = (job.basis or job.file.basis).valence(job.file.structure)
        if count is not None:
            writer.electrons(Electrons(count=count))
    predictor.remove_work()


def error_of(model, file):
    """Return the mean error of a prediction against the file's own Hamiltonian.

    Parameters
    ----------
    model : Model
        The model.
    file : BlockFile
        With /hamiltonian.

    Returns
    -------
    float
        Mean of |ΔH| over all elements of the pairs that it stores, eV.
    """
    job = prepare(model, file)
    predictor = Predictor(job.model, job.graph)
    predictor.run()
    made = HamiltonianSource(predictor)
    known = file.hamiltonian
    pairs = known.pairs.select(known.pairs.upper())
    places = made.pairs.find(pairs.i, pairs.j, pairs.R)
    if (places < 0).any():
        raise MoireioError("/hamiltonian has pairs that the prediction lacks", path=file.label)
    ours, _ = read_pairs(made, places)
    theirs, _ = read_pairs(known, known.pairs.find(pairs.i, pairs.j, pairs.R))
    return float(np.abs(ours - theirs).mean())
