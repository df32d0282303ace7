"""From files with Hamiltonians to a trained model file."""

import hashlib
import json
import os
import time

import numpy as np
import torch

from moireio.basis import Basis
from moireio.errors import MoireioError
from moireio.formats import deephe3
from moireio.formats.samples import find_calculations, open_calculation
from moireio.network import modelfile
from moireio.network.create import calibrate, new_model
from moireio.network.environments import Environments
from moireio.network.irreps import Irreps
from moireio.network.samples import make_sample, mean_level
from moireio.network.train import Plan, Training, errors

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


def run(sources, output, settings, force=False, tell=print):
    """Train a model.

    Parameters
    ----------
    sources : sequence of str
        As `find_calculations` takes them.
    output : str
        Model file to make; the state lies in ``OUTPUT.train``.
    settings : dict
        The options of ``train-h``.
    force : bool
        Replace the model file.
    tell : callable
        Gets lines for the user.

    Returns
    -------
    Model
        As it was written.
    """
    if settings.get("jobs"):
        torch.set_num_threads(settings["jobs"])
    sets = _sets(sources, settings, tell)
    known = {p: r for group in sets.values() for p, r in group.items()}
    model, level = _model(settings, known)
    dtype = getattr(torch, settings.get("precision") or "float32")
    model.network.to(dtype)
    levels = [known[p]["level"] for p in sets["training"]]
    reference = float(np.mean(levels)) if level is None else level
    samples = {
        name: [_sample(path, row, model, reference) for path, row in group.items()]
        for name, group in sets.items()
    }
    if model.network.settings.calibrated and not settings["init_from"]:
        calibrate(model, samples["training"])
    plan = Plan(**{k: settings[k] for k in Plan.__dataclass_fields__ if k in settings})
    key = _key(plan, settings, known, model)
    folder = f"{output}.train"
    before = _report(model, samples)
    training = Training(model, samples["training"], samples["validation"], plan, folder, key)
    if training.progress.epoch:
        tell(f"going on after epoch {training.progress.epoch}")
    _loop(training, settings.get("hours"), tell)
    training.take_best()
    after = _report(model, samples)
    species = len(model.targets.numbers)
    reach = max(model.network.settings.reaches or (model.network.settings.cutoff / 2,)) * 1.6
    surroundings = Environments.collect([s.graph for s in samples["training"]], species, reach)
    model.training = {
        "program": "moireio",
        "level": reference,
        "structures": {
            name: {os.path.basename(p): r["digest"] for p, r in group.items()}
            for name, group in sets.items()
        },
        "mu": {os.path.basename(p): r["level"] - reference for p, r in known.items()},
        "init_from": settings["init_from"] and os.path.basename(settings["init_from"]),
        "before": before,
        "after": after,
        "epochs": training.progress.epoch,
        "best_epoch": training.progress.best_epoch,
        "environments": surroundings.to_plain(),
        "plan": dict(vars(plan)),
    }
    for line in table(before, after):
        tell(line)
    modelfile.write(output, model, force=force or os.path.exists(output))
    return model


def _loop(training, hours, tell):
    begin = saved = told = time.monotonic()
    limit = float("inf") if hours is None else begin + hours * 3600
    first = training.progress.epoch
    while not training.finished and time.monotonic() < limit:
        row = training.epoch()
        now = time.monotonic()
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


def _in_mev(loss, plan):
    return f"{(np.sqrt(loss) if plan.loss == 'mse' else loss) * 1e3:.2f} meV"


def _sets(sources, settings, tell):
    """Return the paths of every set with what was found in them."""
    groups = {"all": find_calculations(sources)}
    for name in ("validation", "test"):
        groups[name] = find_calculations(settings[name]) if settings[name] else []
    rows = {}
    for group in groups.values():
        for path in group:
            if path in rows:
                continue
            try:
                rows[path] = _look(path)
            except MoireioError as error:
                if settings["bad_data"] == "refuse":
                    raise
                tell(f"skipped: {error}")
    kept = {name: [p for p in group if p in rows] for name, group in groups.items()}
    taken = set(kept["validation"]) | set(kept["test"])
    own = [p for p in kept["all"] if p not in taken]
    order = np.random.default_rng(settings["seed"]).permutation(len(own))
    _, valid, test = settings["split"]
    if not kept["validation"]:
        count = max(1, round(valid * len(own)))
        extra = 0 if kept["test"] or len(own) < 10 else round(test * len(own))
        kept["validation"] = [own[n] for n in sorted(order[:count])]
        kept["test"] = kept["test"] or [own[n] for n in sorted(order[count : count + extra])]
        taken = set(kept["validation"]) | set(kept["test"])
        own = [p for p in own if p not in taken]
    if not own:
        raise MoireioError(
            "nothing is left to train on", path=sources[0], remedy="give at least two structures"
        )
    named = {"training": own, "validation": kept["validation"], "test": kept["test"]}
    tell(", ".join(f"{len(v)} for {k}" for k, v in named.items()))
    return {name: {p: rows[p] for p in group} for name, group in named.items()}


def _look(path):
    """Return what must be known of a calculation before training."""
    with open_calculation(path) as c:
        if c.overlap is None:
            raise MoireioError("has no overlap, which fixes the zero of energy", path=path)
        level = mean_level(c)
        if not np.isfinite(level):
            raise MoireioError("contains numbers that are not finite", path=path)
        state = hashlib.blake2b(digest_size=16)
        n = len(c.structure)
        for part in (c.hamiltonian.rows(0, n), c.structure.positions, c.structure.cell):
            state.update(np.ascontiguousarray(part).tobytes())
        elements = {
            name: int(z)
            for name, z in zip(c.structure.species_of_atoms, c.structure.numbers, strict=True)
        }
        return {
            "level": level,
            "digest": f"blake2b:{state.hexdigest()}",
            "basis": {name: c.basis[name] for name in elements},
            "elements": elements,
            "spinful": c.hamiltonian.meta.spin == "spinor",
        }


def _model(settings, rows):
    """Return a new model, or the one to begin with, and its level of energy."""
    if settings["init_from"]:
        model = load_model(settings["init_from"])
        return model, model.training.get("level")
    first = next(iter(rows))
    species, numbers = {}, {}
    for path, row in rows.items():
        for name, own in row["basis"].items():
            known = species.setdefault(name, own)
            if known.l != own.l:
                raise MoireioError(
                    f"species {name} has {own.label}, but {known.label} in {first}", path=path
                )
            numbers[name] = row["elements"][name]
        if row["spinful"] != rows[first]["spinful"]:
            raise MoireioError(f"is not of the same spin as {first}", path=path)
    order = sorted(species, key=numbers.get)
    basis = Basis({name: species[name] for name in order})
    unknown = [name for name in order if basis[name].cutoff is None]
    if unknown and not settings["deeph_e3"]:
        raise MoireioError(f"the cutoff of species {unknown[0]} is not known", path=first)
    model = new_model(
        basis,
        [numbers[name] for name in order],
        rows[first]["spinful"],
        Irreps.parse(settings["hidden"]),
        blocks=settings["blocks"],
        lmax=settings["lmax"],
        seed=settings["seed"],
        local=not settings["deeph_e3"],
    )
    return model, None


def _sample(path, row, model, reference):
    with open_calculation(path) as c:
        return make_sample(c, model.network, model.targets, mu=row["level"] - reference)


def _key(plan, settings, rows, model):
    about = {
        "plan": {k: v for k, v in vars(plan).items() if k != "epochs"},
        "data": sorted(r["digest"] for r in rows.values()),
        "settings": repr(model.network.settings),
        "init": settings["init_from"] and model.label,
        "precision": str(model.network.dtype),
    }
    return hashlib.blake2b(json.dumps(about).encode(), digest_size=16).hexdigest()


@torch.no_grad()
def _report(model, samples):
    """Return errors by set and pair of elements: mean and largest |ΔH|, meV."""
    out = {}
    for name, group in samples.items():
        found = {}
        head = model.prepare()
        for sample in group:
            for kind, gap in errors(model, sample, head):
                pair = f"{model.names[kind.one]}-{model.names[kind.two]}"
                total, count, largest = found.get(pair, (0.0, 0, 0.0))
                gap = gap.abs()
                found[pair] = (
                    total + float(gap.sum()),
                    count + gap.numel(),
                    max(largest, float(gap.max())),
                )
        out[name] = {
            pair: {"mean": total / count * 1e3, "largest": largest * 1e3}
            for pair, (total, count, largest) in found.items()
        }
    return out


def table(before, after):
    """Return lines of a table of errors before and after a training.

    Parameters
    ----------
    before, after : dict
        From the record of a model: by set and pair of elements.

    Returns
    -------
    list of str
        With a heading.
    """
    lines = [f"{'mean |ΔH|, meV':24s}{'before':>10s}{'after':>10s}{'largest after':>16s}"]
    for name, pairs in after.items():
        for pair, row in pairs.items():
            lines.append(
                f"{name + ' ' + pair:24s}{before[name][pair]['mean']:10.3f}{row['mean']:10.3f}"
                f"{row['largest']:16.1f}"
            )
    return lines
