"""From files with Hamiltonians to a trained model file."""

import fnmatch
import hashlib
import json
import os
import time
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from moireio.errors import MoireioError
from moireio.formats.calculations import open_calculation
from moireio.formats.deeph import e3 as deephe3
from moireio.integrals import library as orbital_library
from moireio.network import modelfile
from moireio.network.create import new_model
from moireio.network.extend import extended
from moireio.network.inference.environments import Environments
from moireio.network.irreps import Irreps
from moireio.network.net import Network
from moireio.network.training.cache import Samples
from moireio.network.training.calibrate import calibrate
from moireio.network.training.loop import Training, TrainingConfig
from moireio.network.training.parallel import workers
from moireio.network.training.report import report, table
from moireio.network.training.samples import make_sample
from moireio.network.training.sets import find_sets
from moireio.system.basis import Basis, SpeciesBasis

SAVE_SECONDS = 20.0
TELL_SECONDS = 10.0


def load_model(path, e3nn=None):
    """Read a model, whatever it is.

    Parameters
    ----------
    path : str
        A model file, or a result folder of DeepH-E3.
    e3nn : str, optional
        As in `deephe3.model`.

    Returns
    -------
    Model
        The model.
    """
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "zarr.json")):
        return deephe3.model(path, e3nn)
    return modelfile.read(path)


def run(sources, output, settings, tell=print):
    """Train a model.

    Parameters
    ----------
    sources : sequence of str
        As `find_calculations` takes them.
    output : str
        Model file to make; the state lies in ``OUTPUT.train``.
    settings : dict
        The options of ``train-h``.
    tell : callable
        Gets lines for the user.

    Returns
    -------
    Model
        As it was written; by the first of several processes.
    """
    if settings.get("jobs"):
        torch.set_num_threads(settings["jobs"])
    with workers(settings.get("device") or "cpu") as team:
        return _run(sources, output, settings, tell, team)


def _run(sources, output, settings, tell, team):
    start = load_model(settings["init_from"]) if settings["init_from"] else None
    check = _Check(start)
    sets = find_sets(sources, settings, tell, check)
    known = {p: r for group in sets.values() for p, r in group.items()}
    model, fresh = _model(settings, check, start)
    level = model.training.get("level")
    model.basis = _with_radial(model, settings)
    origin = None if start is None else start.digest()
    dtype = getattr(torch, settings.get("precision") or "float32")
    model.network.to(dtype)
    _freeze(model.network, settings.get("freeze") or (), model.label)
    levels = [known[p]["level"] for p in sets["training"]]
    reference = float(np.mean(levels)) if level is None else level
    memory = settings.get("memory") or float("inf")
    samples = _samples(sets, model, reference, memory / int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    if model.network.settings.calibrated and fresh != set():
        calibrate(model, samples["training"], fresh)
    model.network.to(team.device)
    plan = TrainingConfig(
        **{k: settings[k] for k in TrainingConfig.__dataclass_fields__ if k in settings}
    )
    key = _key(plan, settings, sets, model, origin, reference)
    folder = f"{output}.train"
    before = {name: report(model, group, team) for name, group in samples.items()}
    training = Training(
        model, samples["training"], samples["validation"], plan, folder, key, workers=team
    )
    if training.progress.epoch:
        tell(f"going on after epoch {training.progress.epoch}")
    if samples["training"].overflowed:
        tell("not all structures fit into --memory: the others are read in every epoch")
    _loop(training, settings, tell)
    training.take_best()
    after = {name: report(model, group, team) for name, group in samples.items()}
    species = len(model.targets.numbers)
    reach = max(model.network.settings.reaches or (model.network.settings.cutoff / 2,)) * 1.6
    surroundings = Environments.collect((s.graph for s in samples["training"]), species, reach)
    model.network.to("cpu")
    names = _names(known)
    model.training = {
        "program": "moireio",
        "level": reference,
        "structures": {
            name: {names[p]: r["digest"] for p, r in group.items()} for name, group in sets.items()
        },
        "mu": {names[p]: r["level"] - reference for p, r in known.items()},
        "init_from": settings["init_from"] and os.path.basename(settings["init_from"]),
        "before": before,
        "after": after,
        "epochs": training.progress.epoch,
        "best_epoch": training.progress.best_epoch,
        "environments": surroundings.to_plain(),
        "plan": dict(vars(plan)),
    }
    if team.first:
        for line in table(before, after):
            tell(line)
        modelfile.write(output, model, force=True)
    return model


def _samples(sets, model, reference, memory):
    """Return the samples of every set, which share the memory."""
    # geometry is made on the CPU, with a network that stays there
    like = replace(model, network=_Geometry(model.network))
    whole = sum(len(group) for group in sets.values())
    return {
        name: Samples(
            [partial(_sample, path, row, like, reference) for path, row in group.items()],
            memory * len(group) / whole,
        )
        for name, group in sets.items()
    }


class _Geometry:
    """What samples need of a network: it can be moved elsewhere meanwhile."""

    def __init__(self, network):
        self.settings, self.dtype, self.lmax = network.settings, network.dtype, network.lmax
        self.embedding = network.embedding.detach().clone()

    edges, chunks = Network.edges, Network.chunks


def _with_radial(model, settings):
    """Return the model's basis, with radial functions if there is a source of them."""
    if not settings.get("pao") or model.basis is None:
        return model.basis
    library = orbital_library.open_library(settings["pao"])
    elements = dict(zip(model.names, model.targets.numbers, strict=True))
    names = settings.get("basis") or {}
    return orbital_library.with_radial(model.basis, elements, names, library, model.label)


def _freeze(network, patterns, label):
    """Exclude weights from training."""
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        found = [n for n in names if fnmatch.fnmatch(n, pattern) or n.startswith(f"{pattern}.")]
        if not found:
            parts = sorted(
                {".".join(n.split(".")[: 2 if n.startswith("blocks") else 1]) for n in names}
            )
            raise MoireioError(
                f"has no weights {pattern!r}",
                path=label,
                remedy=f"--freeze takes {', '.join(parts)}",
            )
        for name in found:
            network.get_parameter(name).requires_grad_(False)
    if not any(p.requires_grad for p in network.parameters()):
        raise MoireioError("no weights are left to train", path=label, remedy="freeze fewer")


def _loop(training, settings, tell):
    hours, team = settings.get("hours"), training.workers
    board = _board(training, settings)
    begin = saved = told = time.monotonic()
    limit = float("inf") if hours is None else begin + hours * 3600
    first = training.progress.epoch
    while not training.finished and not team.total([time.monotonic() > limit])[0]:
        row = training.epoch()
        now = time.monotonic()
        if board is not None:
            for name in ("rate", "training_loss", "validation_loss", "validation_mae_meV"):
                board.add_scalar(name, row[name], row["epoch"])
        if now - saved > SAVE_SECONDS:
            training.save()
            saved = now
        if now - told > TELL_SECONDS:
            rate = (now - begin) / (training.progress.epoch - first)
            left = rate * (training.plan.epochs - training.progress.epoch)
            left = max(0.0, min(left, limit - now))
            tell(
                f"epoch {row['epoch']}: training {_in_mev(row['training_loss'], training.plan)}, "
                f"validation {_in_mev(row['validation_loss'], training.plan)} (mean "
                f"{row['validation_mae_meV']:.2f} meV), best at {row['best_epoch']}, rate "
                f"{row['rate']:.1e}, at most {left / 60:.0f} min left"
            )
            told = now
    training.save()
    if board is not None:
        board.close()


def _board(training, settings):
    """Return what writes TensorBoard's files, if they are wanted."""
    if not settings.get("tensorboard") or not training.workers.first:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MoireioError(
            "TensorBoard is not installed", path="--tensorboard", remedy="pip install tensorboard"
        ) from None
    return SummaryWriter(
        os.path.join(training.folder, "tensorboard"), purge_step=training.progress.epoch + 1
    )


def _in_mev(loss, plan):
    return f"{(np.sqrt(loss) if plan.loss == 'mse' else loss) * 1e3:.2f} meV"


class _Check:
    """Tells whether calculations fit each other, and a model to begin with."""

    def __init__(self, start=None):
        self.species, self.numbers, self.spinful, self.first = {}, {}, None, None
        self._start = start
        if start is not None:
            self.spinful, self.first = start.targets.spinful, start.label

    def __call__(self, path, row):
        """Raise an error if a calculation does not fit those before."""
        if self.spinful not in (None, row["spinful"]):
            raise MoireioError(f"is not of the same spin as {self.first}", path=path)
        for name, own in row["basis"].items():
            number = row["elements"][name]
            known, where = self._known(name, number)
            if known is None:
                continue
            named = known.name and own.name and known.name != own.name
            cutoffs = known.cutoff and own.cutoff and abs(known.cutoff - own.cutoff) > 1e-6
            if known.l != own.l or named or cutoffs:
                raise MoireioError(
                    f"species {name} has {own.label}, but {known.label} in {where}", path=path
                )
        self.spinful, self.first = row["spinful"], self.first or path
        for name, own in row["basis"].items():
            self.species.setdefault(name, own)
            self.numbers.setdefault(name, row["elements"][name])

    def _known(self, name, number):
        """Return the basis that a species must have, if there is one, and who says so."""
        start = self._start
        if start is None or number not in start.targets.numbers:
            return self.species.get(name), self.first
        place = start.targets.numbers.index(number)
        if start.basis is not None:
            return start.basis[start.names[place]], start.label
        return SpeciesBasis(start.targets.shells[place]), start.label

    def new(self, numbers, cutoffs):
        """Return basis and atomic numbers of the species beyond some, in order of the latter."""
        names = [n for n in self.species if self.numbers[n] not in numbers]
        names.sort(key=self.numbers.get)
        for name in names:
            if cutoffs and self.species[name].cutoff is None:
                raise MoireioError(f"the cutoff of species {name} is not known", path=self.first)
        basis = Basis({name: self.species[name] for name in names})
        return basis, [self.numbers[name] for name in names]


def _model(settings, check, start):
    """Return the model to begin with, and which entries of its output are new (None: all)."""
    if start is None:
        basis, numbers = check.new((), not settings["deeph_e3"])
        made = new_model(
            basis,
            numbers,
            check.spinful,
            Irreps.parse(settings["hidden"]),
            blocks=settings["blocks"],
            lmax=settings["lmax"],
            seed=settings["seed"],
            local=not settings["deeph_e3"],
        )
        return made, None
    basis, numbers = check.new(start.targets.numbers, start.network.settings.local)
    if not numbers:
        return start, set()
    return extended(start, basis, numbers, settings["seed"])


def _names(paths):
    """Return short names of calculations that differ from each other."""
    short = {p: os.path.basename(os.path.normpath(p)) for p in paths}
    if len(set(short.values())) == len(short):
        return short
    whole = {p: os.path.realpath(p) for p in paths}
    root = os.path.commonpath(list(whole.values()))
    return {p: os.path.relpath(path, root) for p, path in whole.items()}


def _sample(path, row, model, reference):
    with open_calculation(path) as c:
        return make_sample(c, model.network, model.targets, mu=row["level"] - reference)


def _key(plan, settings, sets, model, origin, reference):
    about = {
        "plan": {k: v for k, v in vars(plan).items() if k != "epochs" or plan.schedule == "cosine"},
        "data": {name: [r["digest"] for r in group.values()] for name, group in sets.items()},
        "zero": reference,
        "settings": repr(model.network.settings),
        "init": origin,
        "precision": str(model.network.dtype),
        "freeze": sorted(settings.get("freeze") or ()),
    }
    return hashlib.blake2b(json.dumps(about).encode(), digest_size=16).hexdigest()
