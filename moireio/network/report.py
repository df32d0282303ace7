"""Errors of a network by pairs of elements."""

import torch

from moireio.network.data import Samples, to_device
from moireio.network.train import errors


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
