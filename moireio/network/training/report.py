"""Errors of a network by pairs of elements, and what a model is."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from moireio.network.model import NetworkModel
from moireio.network.training.cache import Samples, to_device
from moireio.network.training.loss import block_errors
from moireio.network.training.parallel import Workers
from moireio.network.training.samples import TrainingSample

# By pair of elements, such as "Mo-Te": "mean" and "largest" |ΔH|, meV
PairErrors = dict[str, dict[str, float]]


@torch.no_grad()
def report(
    model: NetworkModel, samples: Samples | Sequence[TrainingSample], workers: Workers
) -> PairErrors:
    """Return the errors of a model on some structures.

    Parameters
    ----------
    model : NetworkModel
        The model.
    samples : Samples, or sequence of TrainingSample
        Structures.
    workers : Workers
        Processes that share them.

    Returns
    -------
    dict
        By pair of elements, such as "Mo-Te": ``mean`` and ``largest`` |ΔH|, meV.
    """
    sums: dict[str, tuple[float, int, float]] = {}
    head, samples = model.prepare(), Samples.of(samples)
    for sample in samples.in_order(workers.share(range(len(samples)))):
        for group, difference in block_errors(model, to_device(sample, workers.device), head):
            size = difference.abs()
            row = float(size.sum()), size.numel(), float(size.max())
            pair = f"{model.names[group.species_i]}-{model.names[group.species_j]}"
            _merge(sums, pair, row)
    merged: dict[str, tuple[float, int, float]] = {}
    for part in workers.gather(sums):
        for pair, row in part.items():
            _merge(merged, pair, row)
    return {
        pair: {"mean": total / count * 1e3, "largest": largest * 1e3}
        for pair, (total, count, largest) in sorted(merged.items())
    }


def _merge(
    sums: dict[str, tuple[float, int, float]], pair: str, row: tuple[float, int, float]
) -> None:
    total, count, largest = sums.get(pair, (0.0, 0, 0.0))
    sums[pair] = total + row[0], count + row[1], max(largest, row[2])


def table(before: Mapping[str, PairErrors], after: Mapping[str, PairErrors]) -> list[str]:
    """Return a table of errors before and after a training.

    Parameters
    ----------
    before, after : dict
        Errors by set and pair of elements, as in the record of a model.

    Returns
    -------
    list of str
        Lines, the first a heading.
    """
    lines = [f"{'mean |ΔH|, meV':24s}{'before':>10s}{'after':>10s}{'largest after':>16s}"]
    for name, pairs in after.items():
        for pair, row in pairs.items():
            lines.append(
                f"{name + ' ' + pair:24s}{before[name][pair]['mean']:10.3f}{row['mean']:10.3f}"
                f"{row['largest']:16.1f}"
            )
    return lines


def model_summary(model: NetworkModel) -> dict[str, Any]:
    """Return a description of a model and of its training.

    Parameters
    ----------
    model : NetworkModel
        The model.

    Returns
    -------
    dict
        Plain values; errors in meV.
    """
    settings, record = model.network.settings, model.training
    basis = model.basis.species if model.basis is not None else {}
    return {
        "kind": model.kind,
        "species": {n: basis[n].label if n in basis else None for n in model.names},
        "radial_functions": all(n in basis and basis[n].radial is not None for n in model.names),
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


def model_summary_text(summary: Mapping[str, Any]) -> str:
    """Return the summary of a model as lines for a reader.

    Parameters
    ----------
    summary : dict
        From `model_summary`.

    Returns
    -------
    str
        Lines.
    """
    species = ", ".join(f"{n} ({b or 'basis unknown'})" for n, b in summary["species"].items())
    spin = "with spin" if summary["spinful"] else "without spin"
    orbitals = "with radial functions" if summary["radial_functions"] else "names only"
    lines = [
        f"model        {summary['kind']}, {spin}, {summary['precision']}",
        f"species      {species}",
        f"orbitals     {orbitals}",
        f"network      {summary['blocks']} blocks of {summary['hidden']}, "
        f"{summary['weights']} weights",
    ]
    if summary["structures"]:
        sets = ", ".join(f"{count} for {name}" for name, count in summary["structures"].items())
        origin = f" from {summary['init_from']}" if summary["init_from"] else ""
        lines.append(f"training     {summary['epochs']} epochs{origin}: structures: {sets}")
        lines += table(summary["before"], summary["after"])
    return "\n".join(lines)
