"""Errors of a network by pairs of elements."""

import torch

from moireio.network.training.cache import Samples, to_device
from moireio.network.training.loop import errors


@torch.no_grad()
def report(model, samples, workers):
    """Return the errors of a model on some structures.

    Parameters
    ----------
    model : Model
        The model.
    samples : Samples
        The structures.
    workers : Workers
        Who shares them.

    Returns
    -------
    dict
        By pair of elements, such as "Mo-Te": ``mean`` and ``largest`` |ΔH|, meV.
    """
    found, head, samples = {}, model.prepare(), Samples.of(samples)
    for sample in samples.in_order(workers.own(range(len(samples)))):
        for kind, gap in errors(model, to_device(sample, workers.device), head):
            gap = gap.abs()
            row = float(gap.sum()), gap.numel(), float(gap.max())
            _merge(found, f"{model.names[kind.one]}-{model.names[kind.two]}", row)
    whole = {}
    for own in workers.gather(found):
        for pair, row in own.items():
            _merge(whole, pair, row)
    return {
        pair: {"mean": total / count * 1e3, "largest": largest * 1e3}
        for pair, (total, count, largest) in sorted(whole.items())
    }


def _merge(found, pair, row):
    total, count, largest = found.get(pair, (0.0, 0, 0.0))
    found[pair] = total + row[0], count + row[1], max(largest, row[2])


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


def about(model):
    """Return what a model is and how it was trained.

    Parameters
    ----------
    model : Model
        The model.

    Returns
    -------
    dict
        Plain values; errors in meV.
    """
    settings, record = model.network.settings, model.training
    known = model.basis.species if model.basis is not None else {}
    return {
        "kind": model.kind,
        "species": {n: known[n].label if n in known else None for n in model.names},
        "radial_functions": all(n in known and known[n].radial is not None for n in model.names),
        "spinful": model.targets.spinful,
        "weights": sum(p.numel() for p in model.network.parameters()),
        "precision": str(model.network.dtype).removeprefix("torch."),
        "hidden": str(settings.mid_edge),
        "blocks": settings.blocks,
        "epochs": record.get("epochs"),
        "init_from": record.get("init_from"),
        "structures": {k: len(v) for k, v in record.get("structures", {}).items()},
        "before": record.get("before", {}),
        "after": record.get("after", {}),
    }


def about_text(known):
    """Return `about` as lines for a reader.

    Parameters
    ----------
    known : dict
        From `about`.

    Returns
    -------
    str
        Lines.
    """
    species = ", ".join(f"{n} ({b or 'basis unknown'})" for n, b in known["species"].items())
    spin = "with spin" if known["spinful"] else "without spin"
    lines = [
        f"model        {known['kind']}, {spin}, {known['precision']}",
        f"species      {species}",
        f"orbitals     {'with radial functions' if known['radial_functions'] else 'names only'}",
        f"network      {known['blocks']} blocks of {known['hidden']}, {known['weights']} weights",
    ]
    if known["structures"]:
        sets = ", ".join(f"{count} for {name}" for name, count in known["structures"].items())
        begun = f" from {known['init_from']}" if known["init_from"] else ""
        lines.append(f"training     {known['epochs']} epochs{begun}: structures: {sets}")
        lines += table(known["before"], known["after"])
    return "\n".join(lines)
