"""How ``predict-h`` joins several models: the words of ``--models``, and the prediction."""

import os

import click

from moireio.tools.common import Command, say
from moireio.tools.progress import show_progress

REGISTRY = "registry"


class CommandWithModels(Command):
    """A command whose option ``--models`` takes all words up to the next option."""

    def parse_args(self, ctx, args):
        """Read the arguments."""
        return super().parse_args(ctx, _repeated(args))


def _repeated(args):
    """Return the arguments with ``--models`` before each of its words."""
    out, rest = [], list(args)
    while rest:
        word = rest.pop(0)
        if word != "--models":
            out.append(word)
            continue
        words = []
        while rest and not rest[0].startswith("-"):
            words.append(rest.pop(0))
        source = [words.pop()] if len(words) > 1 and _is_source(words[-1]) else []
        for name in words or [None]:
            out += ["--models"] if name is None else ["--models", name]
        out += source
    return out


def _is_source(word):
    """Return whether a word after ``--models`` is SOURCE: a file that is no model."""
    from moireio.models.shipped import is_model_file

    if not os.path.exists(word) or os.path.exists(os.path.join(word, "best_model.pkl")):
        return False
    return os.path.basename(word) != "best_model.pkl" and not is_model_file(word)


def expert_options(function):
    """Add the options of several models."""
    function = click.option(
        "--align/--no-align",
        default=True,
        help="With --models: bring the models to one zero of energy.  [default: align]",
    )(function)
    return click.option(
        "--models",
        multiple=True,
        metavar="MODEL [MODEL ...]",
        help="Several models, each for pairs of neighbouring layers; 1-2=MODEL or 2=MODEL: for "
        "these layers only. 'registry' stands for all models of the registries.",
    )(function)


def predict_with_models(ctx, file, target, opts):
    """Predict by several models.

    Parameters
    ----------
    ctx : click.Context
        The running command.
    file : BlockFile
        SOURCE.
    target : callable
        Given groups that are replaced, returns the context of the output's writer.
    opts : dict
        models, registries, align, precision, device, memory, work, storage, max_expected_error,
        arguments.

    Returns
    -------
    (N,) array or None
        Expected errors, eV.
    """
    from moireio.errors import MoireioError
    from moireio.formats.models import load_model
    from moireio.models.registry import entries, registry_folders
    from moireio.network.inference.expert_run import (
        choose_experts,
        chooser,
        describe_experts,
        predict_by_experts,
        split_names,
    )
    from moireio.network.inference.experts import Stack

    folders = registry_folders(opts["registries"])
    names, certain = split_names(opts["models"])
    if REGISTRY in names:
        found = [entry.path for entry in entries(folders) if entry.usable]
        names = [n for name in names for n in (found if name == REGISTRY else [name])]
    loaded = {n: load_model(n, folders=folders) for n in [*names, *certain.values()]}
    stack = Stack(file)
    absent = [layers for layers in certain if max(layers) >= stack.n_layers]
    if absent:
        raise MoireioError(
            f"has {stack.n_layers} layers; `models` names layer {max(absent[0]) + 1}",
            path=file.label,
        )
    choose = chooser([loaded[n] for n in names], {k: loaded[v] for k, v in certain.items()})
    experts = choose_experts(stack, choose, opts["precision"], opts["device"])
    for expert in experts:
        say(ctx, f"{expert.name}: {expert.task.description()}")
    replaced = {group for expert in experts for group in expert.task.replaced_groups}
    limit = opts["max_expected_error"]
    with target(sorted(replaced)) as writer, show_progress(ctx, "predict-h") as progress:
        source = predict_by_experts(
            stack,
            experts,
            writer,
            memory=opts["memory"],
            work=opts["work"],
            storage=opts["storage"],
            align=opts["align"],
            progress=progress,
            max_expected_error=None if limit is None else limit / 1e3,
        )
        lines = describe_experts(experts, source)
        used = dict.fromkeys((e.task.model.name, e.task.model.digest()) for e in experts)
        inputs = [(file.label, file.digest()), *used]
        writer.history("predict-h", opts["arguments"], inputs, lines)
    for line in lines:
        say(ctx, line)
    return source.expected_error
