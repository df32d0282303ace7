"""``train-h``: networks for Hamiltonians, from scratch or from another model."""

import click

from moireio.errors import MoireioError
from moireio.tools.common import Command, arguments, say
from moireio.tools.options import Suggested, options, package_files

PRESETS = {
    "paper": {"batch": 1, "patience": 100, "cooldown": 40, "threshold": 0.05},
    "ddht": {"batch": 2, "patience": 120, "cooldown": 40, "threshold": 0.05},
}


@click.command("train-h", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sources", metavar="DATA ...", nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=click.Path(), help="Model file to make (.h5).")
@click.option(
    "--validate",
    "validation",
    multiple=True,
    metavar="DATA",
    help="Structures for validation.  [default: a part of DATA]",
)
@click.option("--test", multiple=True, metavar="DATA", help="Structures for the final errors.")
@click.option(
    "--split",
    "fractions",
    nargs=3,
    type=click.FloatRange(0, 1),
    default=(0.8, 0.15, 0.05),
    show_default=True,
    metavar="TRAIN VALID TEST",
    help="Fractions of the structures in DATA.",
)
@click.option(
    "--init-from",
    type=Suggested(lambda _: package_files("moireio.models", ".h5")),
    metavar="MODEL",
    help="Transfer learning: begin with the weights of a model file, a DeepH-E3 result folder, or "
    "a model that comes with moireio, by its name.",
)
@click.option(
    "--calibrate-only",
    is_flag=True,
    help="Keep the weights of --init-from; find out what errors it should have, from the data that "
    "it was trained on.",
)
@click.option(
    "--hidden",
    default="32x0e+16x1o+8x2e+4x3o+4x4e",
    show_default=True,
    help="Features between the blocks, in e3nn's notation.",
)
@click.option(
    "--blocks", type=click.IntRange(1), default=3, show_default=True, help="Number of blocks."
)
@click.option(
    "--lmax",
    type=click.IntRange(0, 6),
    default=4,
    show_default=True,
    help="Highest degree of the edges' spherical harmonics.",
)
@click.option("--deeph-e3", is_flag=True, help="DeepH-E3's network instead of moireio's variant.")
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="paper",
    show_default=True,
    help="Batch and schedule of the transfer-learning paper, or of DDHT.",
)
@click.option(
    "--epochs",
    type=click.IntRange(0),
    default=3000,
    show_default=True,
    help="Largest number of epochs.",
)
@click.option(
    "--hours",
    type=click.FloatRange(0, min_open=True),
    help="Stop after this time; the same command goes on later.",
)
@click.option(
    "--lr",
    "learning_rate",
    type=click.FloatRange(0, min_open=True),
    default=2e-3,
    show_default=True,
    help="Learning rate of Adam.",
)
@click.option(
    "--schedule",
    type=click.Choice(["plateau", "cosine"]),
    default="plateau",
    show_default=True,
    help="Lower the learning rate when validation stops improving, or along a cosine over "
    "--epochs.",
)
@click.option(
    "--min-lr",
    "min_learning_rate",
    type=click.FloatRange(0, min_open=True),
    help="Stop when the learning rate falls below this (plateau), or end there (cosine).  "
    "[default: 3e-5, or a twentieth of --lr]",
)
@click.option(
    "--batch", type=click.IntRange(1), help="Structures in a step.  [default: from --preset]"
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    help="Epochs without progress before the learning rate is halved.  [default: from --preset]",
)
@click.option(
    "--cooldown",
    type=click.IntRange(0),
    help="Epochs to wait after lowering the learning rate.  [default: from --preset]",
)
@click.option(
    "--clip",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Largest norm of the gradient; 0: no limit.",
)
@click.option(
    "--ema",
    "ema_decay",
    type=click.FloatRange(0, 0.99999),
    default=0.99,
    show_default=True,
    help="Decay of the exponential moving average of the weights, which is validated and kept; "
    "0: no average.",
)
@click.option(
    "--keep",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Weights of the epoch with the lowest validation loss, or of the last one. After a "
    "training the same command with the other choice writes the other weights.",
)
@click.option(
    "--loss",
    type=click.Choice(["mse", "mae"]),
    default="mse",
    show_default=True,
    help="Mean of |ΔH|² (eV²) or of |ΔH| (eV).",
)
@click.option(
    "--zero",
    type=click.Choice(["mean", "free"]),
    default="mean",
    show_default=True,
    help="Zero of energy of each structure: the mean of its on-site levels, or the one that leaves "
    "the smallest errors. With free, what an atom's level has to do with the others in its cell "
    "need not be learnt.",
)
@click.option(
    "--layer-weight",
    type=click.FloatRange(0, min_open=True),
    help="With --zero free: weight of errors of the layers' levels relative to each other; by "
    "default they count as much as all elements that they change, some 25 for each atom. In small "
    "cells they depend on the k points of the calculation, and are better not learnt to the last "
    "meV.",
)
@click.option(
    "--band-weight",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Weight of the error of bands near the Fermi level in the loss: with 0.01, 30 meV of the "
    "bands count as much as 3 meV of the elements of H. For a last step with --init-from.",
)
@click.option(
    "--band-window",
    nargs=2,
    type=float,
    default=(-1.5, 1.5),
    show_default=True,
    metavar="LOW HIGH",
    help="Energies of these bands, eV from the Fermi level.",
)
@click.option(
    "--band-points",
    type=click.IntRange(1),
    default=12,
    show_default=True,
    help="k points of each structure; they take turns. One half is spread over the zone, the other "
    "half are those where levels come nearest to the Fermi level.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=42,
    show_default=True,
    help="Seed of the weights, of the division into sets, and of the order of structures.",
)
@click.option(
    "--bad-data",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    show_default=True,
    help="Stop at files that are damaged or do not fit, or leave them out; both name them.",
)
@click.option(
    "--freeze",
    multiple=True,
    metavar="PART",
    help="Weights that stay as they are: embedding, blocks.0, lin_edge, or a pattern of names. "
    "Repeatable.",
)
@click.option("--tensorboard", is_flag=True, help="Also write OUT.train/tensorboard.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes that share every batch (torch's DistributedDataParallel), with --device cuda a "
    "GPU each. Under torchrun, its processes are used instead.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where the network is trained.",
)
@click.option(
    "-j",
    "--jobs",
    "threads",
    type=click.IntRange(1),
    help="Threads of each process.  [default: the cores, shared among the processes]",
)
@options("pao", "basis", "precision", "memory", "force")
@click.pass_context
def main(ctx, sources, output, force, processes, calibrate_only, **settings):
    """Train a network on structures with Hamiltonians; go on where it was stopped.

    DATA are block files with /hamiltonian and /overlap, OpenMX's .scfout, data folders of DeepH,
    folders of these, glob patterns, or @FILE with one name a line. The state is kept in
    OUT.train/ every 20 seconds, with log.csv; the same command goes on from there. Errors are
    printed in meV. Data beyond --memory are read again in every epoch. With --init-from, elements
    that the model does not know are added to it.
    """
    import os
    from functools import partial

    from moireio.blockfile.stream import check_outputs
    from moireio.errors import MoireioError
    from moireio.formats.calculations import find_calculations, open_calculation
    from moireio.formats.models import load_model
    from moireio.formats.openmx.library import open_library
    from moireio.network.irreps import Irreps
    from moireio.network.training.config import (
        Architecture,
        ComputeSettings,
        DataSplit,
        TrainingConfig,
    )
    from moireio.network.training.run import recalibrate, train
    from moireio.runtime.files import is_stream
    from moireio.runtime.threads import cores

    going_on = os.path.exists(os.path.join(f"{output}.train", "state.pt"))
    if is_stream(output):
        raise MoireioError(
            "is a pipe or device; training goes on from its file", path=output, remedy="name a file"
        )
    check_outputs([output], sources, force or going_on)
    config = TrainingConfig(**_optimisation(settings))
    team = int(os.environ.get("WORLD_SIZE", processes))
    if config.batch < team:
        raise MoireioError(f"is less than {team} processes", path=f"--batch {config.batch}")
    if processes > 1 and "WORLD_SIZE" not in os.environ:
        from moireio.network.training.parallel import launch

        words = ["train-h", *arguments()]
        ctx.exit(launch(words, processes, lambda line: click.echo(line, err=True)))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", team))
    first = os.environ.get("RANK", "0") == "0"
    init_from, pao = settings["init_from"], settings["pao"]
    split = DataSplit(
        find_calculations(sources),
        find_calculations(settings["validation"]),
        find_calculations(settings["test"]),
        settings["fractions"],
        settings["seed"],
        settings["bad_data"],
    )
    compute = ComputeSettings(
        settings["device"],
        settings["threads"] or max(1, cores() // local),
        settings["precision"] or "float32",
        settings["memory"],
        settings["hours"],
        settings["tensorboard"],
    )
    if calibrate_only:
        if not init_from:
            raise MoireioError(
                "needs the model", path="--calibrate-only", remedy="give --init-from"
            )
        model = load_model(init_from)
        model = recalibrate(output, split, open_calculation, model, compute, partial(say, ctx))
        known = model.expected_error
        say(ctx, f"the model's own {known.own_set} error: {known.own * 1e3:.2f} meV")
        return
    train(
        output,
        split,
        open_calculation,
        Architecture(
            _features(settings["hidden"], Irreps.parse),
            settings["blocks"],
            settings["lmax"],
            settings["deeph_e3"],
        ),
        config,
        compute,
        initial=load_model(init_from) if init_from else None,
        freeze=settings["freeze"],
        library=open_library(pao) if pao else None,
        basis_names=settings["basis"],
        note=(lambda text: say(ctx, text)) if first else None,
    )


def _optimisation(settings):
    """Return the settings of the optimisation, completed from the preset."""
    from moireio.network.training.windowstates import BandWindow

    preset = PRESETS[settings["preset"]]
    names = ("epochs", "learning_rate", "min_learning_rate", "clip", "ema_decay", "loss", "seed")
    names += ("schedule", "keep", "zero", "layer_weight", "band_weight")
    chosen = {name: settings[name] for name in names}
    chosen["band_window"] = BandWindow(*settings["band_window"], settings["band_points"])
    for name in ("batch", "patience", "cooldown"):
        chosen[name] = preset[name] if settings[name] is None else settings[name]
    if chosen["min_learning_rate"] is None:
        chosen["min_learning_rate"] = min(3e-5, chosen["learning_rate"] / 20)
    return chosen | {"threshold": preset["threshold"]}


def _features(text, parse):
    """Read the value of ``--hidden``."""
    try:
        return parse(text)
    except MoireioError as error:
        raise click.UsageError(f"--hidden: {error}") from None
