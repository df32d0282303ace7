"""From calculations to a trained model file."""

import fnmatch
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from moireio.errors import MoireioError
from moireio.integrals.library import BasisOfFile, with_radial
from moireio.network import modelfile
from moireio.network.create import new_model
from moireio.network.extend import extended
from moireio.network.model import NetworkModel
from moireio.network.net import Network
from moireio.network.training.cache import Samples
from moireio.network.training.calibrate import calibrate
from moireio.network.training.config import (
    Architecture,
    ComputeSettings,
    DataSplit,
    TrainingConfig,
)
from moireio.network.training.expected_error import fit_expected_error
from moireio.network.training.loop import Training
from moireio.network.training.parallel import workers
from moireio.network.training.report import report, table
from moireio.network.training.samples import TrainingSample, make_sample
from moireio.network.training.sets import (
    CalculationSummary,
    DataSets,
    OpenCalculation,
    find_sets,
)
from moireio.network.training.species import CollectedSpecies
from moireio.network.training.windowstates import BandWindow
from moireio.runtime.threads import torch_threads
from moireio.system.basis import Basis

SAVE_SECONDS = 20.0
NOTE_SECONDS = 10.0

Note = Callable[[str], None]


def train(
    output: str,
    split: DataSplit,
    open_calculation: OpenCalculation,
    architecture: Architecture | None = None,
    config: TrainingConfig | None = None,
    compute: ComputeSettings | None = None,
    *,
    initial: NetworkModel | None = None,
    freeze: Sequence[str] = (),
    library: BasisOfFile | None = None,
    basis_names: Mapping[str, str] | None = None,
    note: Note | None = None,
) -> NetworkModel:
    """Train a model, and write it.

    Parameters
    ----------
    output : str
        Model file to make; the state of the training lies in ``OUTPUT.train``.
    split : DataSplit
        Calculations, and how they are divided.
    open_calculation : callable
        Opens a path, as a context manager with a `Calculation`.
    architecture : Architecture, optional
        Shape of a new network; not used with `initial`.
    config : TrainingConfig, optional
        Settings of the optimisation.
    compute : ComputeSettings, optional
        Device, threads, precision, memory and time.
    initial : NetworkModel, optional
        Model to begin with. It is trained in place unless the data have elements that it lacks.
    freeze : sequence of str
        Weights that stay as they are: names, beginnings of names, or patterns.
    library : BasisOfFile or PaoFolder, optional
        Radial functions that the model shall bring along.
    basis_names : dict of str to str, optional
        Names of bases by species, where the data have none.
    note : callable, optional
        Called with remarks for the user.

    Returns
    -------
    NetworkModel
        The trained model; the first of several processes has written it.
    """
    config, compute = config or TrainingConfig(), compute or ComputeSettings()
    note = note or (lambda text: None)
    with torch_threads(compute.threads), workers(compute.device) as team:
        species = CollectedSpecies(initial)
        sets = find_sets(split, open_calculation, species.accept, note)
        model, fresh = _first_model(species, initial, architecture or Architecture(), config.seed)
        if library is not None and model.basis is not None:
            model.basis = _with_radial(model, library, basis_names or {})
        origin = None if initial is None else initial.digest()
        origin_name = None if initial is None else initial.name
        model.network.to(getattr(torch, compute.precision))
        _freeze(model.network, freeze, model.label)
        level = _zero_of_energy(model, sets)
        memory = compute.memory / int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        window = config.band_window if config.band_weight else None
        free = config.zero == "free"
        samples = _samples(sets, model, open_calculation, level, memory, window, free)
        if model.network.settings.calibrated and fresh != set():
            calibrate(model, samples["training"], fresh)
        model.network.to(team.device)
        key = _run_key(config, sets, model, origin, level, freeze)
        before = {name: report(model, group, team) for name, group in samples.items()}
        training = Training(
            model,
            samples["training"],
            samples["validation"],
            config,
            f"{output}.train",
            key,
            workers=team,
        )
        if training.state.epoch:
            note(f"going on after epoch {training.state.epoch}")
        if samples["training"].overflowed:
            note("not all structures fit into memory: the others are read in every epoch")
        _run_epochs(training, compute, note)
        training.take_best() if config.keep == "best" else training.take_last()
        after = {name: report(model, group, team) for name, group in samples.items()}
        model.expected_error = fit_expected_error(model, samples)
        model.card, model.cells = None, ()  # those of the model that it began with
        model.network.to("cpu")
        model.training = {
            **_record_of_data(sets, level),
            "init_from": origin_name,
            "before": before,
            "after": after,
            "epochs": training.state.epoch,
            "best_epoch": training.state.best_epoch,
            "plan": config.to_plain(),
        }
        if team.first:
            for line in table(before, after):
                note(line)
            modelfile.write(output, model, force=True)
        training.close()
    return model


def recalibrate(
    output: str,
    split: DataSplit,
    open_calculation: OpenCalculation,
    model: NetworkModel,
    compute: ComputeSettings | None = None,
    note: Note | None = None,
) -> NetworkModel:
    """Find out anew what errors a model should have, and write it; its weights stay as they are.

    Parameters
    ----------
    output : str
        Model file to make.
    split : DataSplit
        The data that the model was trained on, those for validation and those for the test.
    open_calculation : callable
        Opens a path, as a context manager with a `Calculation`.
    model : NetworkModel
        The model.
    compute : ComputeSettings, optional
        Device, threads and memory.
    note : callable, optional
        Called with remarks for the user.

    Returns
    -------
    NetworkModel
        The model with its `expected_error`.

    Raises
    ------
    MoireioError
        If the data have elements that the model lacks.
    """
    compute, note = compute or ComputeSettings(), note or (lambda text: None)
    with torch_threads(compute.threads):
        species = CollectedSpecies(model)
        sets = find_sets(split, open_calculation, species.accept, note)
        _, numbers = species.beyond(model.targets.numbers, model.network.settings.local)
        if numbers:
            raise MoireioError(
                f"does not know Z = {numbers[0]} of the data",
                path=model.label,
                remedy="train it on them",
            )
        recorded = model.training.get("structures", {}).get("training", {})
        digests = {summary.digest for summary in sets["training"].values()}
        if recorded and digests != set(recorded.values()):
            note(f"warning: {model.label}: these are not the data that it was trained on")
        level = _zero_of_energy(model, sets)
        free = model.free_zero
        samples = _samples(sets, model, open_calculation, level, compute.memory, free_zero=free)
        model.network.to(compute.device)
        model.expected_error = fit_expected_error(model, samples)
        model.network.to("cpu")
        modelfile.write(output, model, force=True)
    return model


def _first_model(
    species: CollectedSpecies, initial: NetworkModel | None, architecture: Architecture, seed: int
) -> tuple[NetworkModel, set[int] | None]:
    """Return the model to begin with, and which entries of its output are new (None: all)."""
    if initial is None:
        local = not architecture.deeph_e3
        basis, numbers = species.beyond((), need_cutoffs=local)
        model = new_model(
            basis,
            numbers,
            species.spinful,
            architecture.hidden,
            blocks=architecture.blocks,
            lmax=architecture.lmax,
            seed=seed,
            local=local,
        )
        return model, None
    basis, numbers = species.beyond(initial.targets.numbers, initial.network.settings.local)
    if not numbers:
        return initial, set()
    return extended(initial, basis, numbers, seed)


def _with_radial(model: NetworkModel, library: BasisOfFile, names: Mapping[str, str]) -> Basis:
    """Return the model's basis with radial functions."""
    elements = dict(zip(model.names, model.targets.numbers, strict=True))
    return with_radial(model.basis, elements, names, library, model.label)


def _freeze(network: Network, patterns: Iterable[str], label: str) -> None:
    """Exclude weights from training."""
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        frozen = [n for n in names if fnmatch.fnmatch(n, pattern) or n.startswith(f"{pattern}.")]
        if not frozen:
            parts = sorted(
                {".".join(n.split(".")[: 2 if n.startswith("blocks") else 1]) for n in names}
            )
            raise MoireioError(
                f"has no weights {pattern!r}",
                path=label,
                remedy=f"`freeze` takes {', '.join(parts)}",
            )
        for name in frozen:
            network.get_parameter(name).requires_grad_(False)
    if not any(p.requires_grad for p in network.parameters()):
        raise MoireioError("no weights are left to train", path=label, remedy="freeze fewer")


def _zero_of_energy(model: NetworkModel, sets: DataSets) -> float:
    """Return the mean level that all structures are shifted to, eV."""
    level = model.training.get("level")
    if level is not None:
        return level
    return float(np.mean([summary.level for summary in sets["training"].values()]))


def _samples(
    sets: DataSets,
    model: NetworkModel,
    open_calculation: OpenCalculation,
    level: float,
    memory: float,
    window: BandWindow | None = None,
    free_zero: bool = False,
) -> dict[str, Samples]:
    """Return the samples of every set, which share the memory."""
    # geometry is made on the CPU, with a network that stays there
    on_cpu = replace(model, network=_Geometry(model.network))
    total = sum(len(group) for group in sets.values())
    return {
        name: Samples(
            [
                partial(
                    _sample,
                    path,
                    summary.level - level,
                    on_cpu,
                    open_calculation,
                    window if name != "test" else None,
                    free_zero,
                )
                for path, summary in group.items()
            ],
            memory * len(group) / total,
        )
        for name, group in sets.items()
    }


def _sample(
    path: str,
    mu: float,
    model: NetworkModel,
    open_calculation: OpenCalculation,
    window: BandWindow | None,
    free_zero: bool,
) -> TrainingSample:
    with open_calculation(path) as calculation:
        return make_sample(calculation, model.network, model.targets, mu, window, free_zero)


class _Geometry:
    """The part of a network that samples need; the network itself can move to another device."""

    def __init__(self, network: Network) -> None:
        self.settings, self.dtype, self.lmax = network.settings, network.dtype, network.lmax
        self.embedding = network.embedding.detach().clone()

    edges, chunks = Network.edges, Network.chunks


def _run_epochs(training: Training, compute: ComputeSettings, note: Note) -> None:
    """Train until nothing is left to do or the time is over; save, and report how it goes."""
    team, config = training.workers, training.config
    board = _tensorboard(training) if compute.tensorboard and team.first else None
    begin = saved = noted = time.monotonic()
    limit = float("inf") if compute.hours is None else begin + compute.hours * 3600
    first = training.state.epoch
    while not training.finished and not team.total([time.monotonic() > limit])[0]:
        row = training.epoch()
        now = time.monotonic()
        if board is not None:
            for name in ("rate", "training_loss", "validation_loss", "validation_mae_meV"):
                board.add_scalar(name, row[name], row["epoch"])
        if now - saved > SAVE_SECONDS:
            training.save()
            saved = now
        if now - noted > NOTE_SECONDS:
            pace = (now - begin) / (training.state.epoch - first)
            left = pace * (config.epochs - training.state.epoch)
            left = max(0.0, min(left, limit - now))
            note(
                f"epoch {row['epoch']}: training {_in_mev(row['training_loss'], config)}, "
                f"validation {_in_mev(row['validation_loss'], config)} (mean "
                f"{row['validation_mae_meV']:.2f} meV{_bands(row)}), best at {row['best_epoch']}, "
                f"learning rate {row['rate']:.1e}, at most {left / 60:.0f} min left"
            )
            noted = now
    training.save()
    if board is not None:
        board.close()


def _tensorboard(training: Training) -> Any:
    """Return a writer of TensorBoard's files."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MoireioError(
            "TensorBoard is not installed",
            remedy="pip install tensorboard, or train without `tensorboard`",
        ) from None
    return SummaryWriter(
        os.path.join(training.folder, "tensorboard"), purge_step=training.state.epoch + 1
    )


def _bands(row: Mapping[str, float]) -> str:
    error = row.get("validation_bands_meV")
    return "" if error is None else f", bands {error:.1f} meV"


def _in_mev(loss: float, config: TrainingConfig) -> str:
    return f"{(np.sqrt(loss) if config.loss == 'mse' else loss) * 1e3:.2f} meV"


def _record_of_data(sets: DataSets, level: float) -> dict[str, Any]:
    """Return the part of a model's record that describes the data."""
    summaries: dict[str, CalculationSummary] = {}
    for group in sets.values():
        summaries.update(group)
    names = _short_names(summaries)
    return {
        "program": "moireio",
        "level": level,
        "structures": {
            name: {names[p]: summary.digest for p, summary in group.items()}
            for name, group in sets.items()
        },
        "mu": {names[p]: summary.level - level for p, summary in summaries.items()},
    }


def _short_names(paths: Iterable[str]) -> dict[str, str]:
    """Return short names of calculations that differ from each other."""
    short = {p: os.path.basename(os.path.normpath(p)) for p in paths}
    if len(set(short.values())) == len(short):
        return short
    absolute = {p: os.path.realpath(p) for p in short}
    root = os.path.commonpath(list(absolute.values()))
    return {p: os.path.relpath(path, root) for p, path in absolute.items()}


def _run_key(
    config: TrainingConfig,
    sets: DataSets,
    model: NetworkModel,
    origin: str | None,
    level: float,
    freeze: Iterable[str],
) -> str:
    """Return a digest that an interrupted run must have in common with one that goes on."""
    plain = config.to_plain()
    plain.pop("keep")  # the training is the same
    if config.schedule != "cosine":  # more epochs are the same run
        plain.pop("epochs")
    parts = {
        "config": plain,
        "data": {name: [s.digest for s in group.values()] for name, group in sets.items()},
        "zero": level,
        "settings": model.network.settings.to_plain(),
        "init": origin,
        "precision": str(model.network.dtype),
        "freeze": sorted(freeze),
    }
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
