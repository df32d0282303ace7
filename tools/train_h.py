"""``train-h``: networks for Hamiltonians, from scratch or from another model."""

import click

from moireio.tools.common import Command, arguments, say
from moireio.tools.options import options

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
    help="Structures for validation; by default a part of DATA.",
)
@click.option("--test", multiple=True, metavar="DATA", help="Structures for the final errors.")
@click.option(
    "--split",
    nargs=3,
    type=click.FloatRange(0, 1),
    default=(0.8, 0.15, 0.05),
    show_default=True,
    metavar="TRAIN VALID TEST",
    help="Parts of DATA, by structure.",
)
@click.option(
    "--init-from",
    type=click.Path(exists=True),
    metavar="MODEL",
    help="Transfer learning: begin with the weights of a model file or a DeepH-E3 result folder.",
)
@click.option(
    "--hidden",
    default="32x0e+16x1o+8x2e+4x3o+4x4e",
    show_default=True,
    help="Features between the layers, in e3nn's notation.",
)
@click.option("--blocks", type=click.IntRange(1), default=3, show_default=True, help="Layers.")
@click.option("--lmax", type=click.IntRange(0, 6), default=4, show_default=True, help="Of edges.")
@click.option("--deeph-e3", is_flag=True, help="DeepH-E3's network instead of moireio's variant.")
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="paper",
    show_default=True,
    help="Schedule of the transfer-learning paper, or of DDHT.",
)
@click.option("--epochs", type=click.IntRange(0), default=3000, show_default=True, help="At most.")
@click.option(
    "--hours",
    type=click.FloatRange(0, min_open=True),
    help="Stop after that time; can go on later.",
)
@click.option(
    "--rate",
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
    help="Lower the rate when validation stops improving, or along a cosine over --epochs.",
)
@click.option(
    "--least-rate",
    type=click.FloatRange(0, min_open=True),
    help="Stop below it, or end there.  [default: 3e-5, or a twentieth of --rate]",
)
@click.option("--batch", type=click.IntRange(1), help="Structures in a step.")
@click.option("--patience", type=click.IntRange(1), help="Epochs without progress.")
@click.option("--cooldown", type=click.IntRange(0), help="Epochs after lowering the rate.")
@click.option(
    "--clip",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Largest norm of the gradient; 0: none.",
)
@click.option(
    "--average",
    type=click.FloatRange(0, 0.99999),
    default=0.99,
    show_default=True,
    help="Decay of averaged weights; 0: none.",
)
@click.option(
    "--loss",
    type=click.Choice(["mse", "mae"]),
    default="mse",
    show_default=True,
    help="Mean of |ΔH|² (eV²) or of |ΔH| (eV).",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=42,
    show_default=True,
    help="Of weights, of the division into sets, and of the order of structures.",
)
@click.option(
    "--bad-data",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    show_default=True,
    help="What to do with files that are damaged or do not fit; they are named in either case.",
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
    help="That share every batch (torch's DistributedDataParallel), with --device cuda a GPU each. "
    "Started by torchrun, the processes are torchrun's.",
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
    type=click.IntRange(1),
    help="Threads of each process.  [default: the cores, shared among the processes]",
)
@options("pao", "basis", "precision", "memory", "force")
@click.pass_context
def main(ctx, sources, output, force, processes, **settings):
    """Train a network on structures with Hamiltonians; go on where it was stopped.

    DATA are block files with /hamiltonian and /overlap, data folders of DeepH (either layout),
    folders of these, glob patterns, or @FILE with one name a line. The state is kept in
    OUT.train/ every 20 seconds, with log.csv; the same command goes on from there. Errors are
    printed in meV. Data beyond --memory are read again in every epoch. With --init-from, elements
    that the model does not know are added to it.
    """
    import os

    from moireio.blockfile.stream import check_outputs
    from moireio.errors import MoireioError
    from moireio.network.training import run as training

    going_on = os.path.exists(os.path.join(f"{output}.train", "state.pt"))
    check_outputs([output], sources, force or going_on)
    preset = PRESETS[settings.pop("preset")]
    for name in ("batch", "patience", "cooldown"):
        settings[name] = preset[name] if settings[name] is None else settings[name]
    if settings["least_rate"] is None:
        settings["least_rate"] = min(3e-5, settings["rate"] / 20)
    if settings["least_rate"] > settings["rate"]:
        raise MoireioError("is above --rate", path=f"--least-rate {settings['least_rate']:g}")
    settings["threshold"] = preset["threshold"]
    team = int(os.environ.get("WORLD_SIZE", processes))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", team))
    if settings["batch"] < team:
        raise MoireioError(f"is less than {team} processes", path=f"--batch {settings['batch']}")
    settings["jobs"] = settings["jobs"] or max(1, (os.cpu_count() or 1) // local)
    if processes > 1 and "WORLD_SIZE" not in os.environ:
        from moireio.network.training.parallel import launch

        ctx.exit(launch(["train-h", *_words()], processes))
    quiet = os.environ.get("RANK", "0") != "0"
    tell = (lambda text: None) if quiet else lambda text: say(ctx, text)
    training.run(sources, output, settings, tell=tell)


def _words():
    """Return the words after the command, in whichever way it was called."""
    words = arguments()
    return words[1:] if words[:1] == ["train-h"] else words
