"""``predict-h``: a Hamiltonian from a trained network."""

import click

from moireio.tools.common import Command, arguments, say
from moireio.tools.options import destination, options, source_argument
from moireio.tools.progress import show_progress


@click.command("predict-h", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@source_argument
@click.option(
    "--model",
    "-m",
    type=click.Path(),
    help="Model file of moireio, or a result folder of DeepH-E3 (with best_model.pkl).  [default: "
    "a model that comes with moireio, if it knows the elements of SOURCE]",
)
@click.option(
    "--e3nn",
    type=click.Choice(["auto", "0.3.5", "0.4.4", "0.5", "0.4+", "best"]),
    default="auto",
    show_default=True,
    help="For DeepH-E3's models: evaluate as with that version of e3nn. auto: as the checkpoint "
    "tells; 0.4+: as it tells, but not before 0.4; best: whichever is closest to /hamiltonian.",
)
@click.option(
    "--raw", is_flag=True, help="Keep what the network gives, without its Hermitian part."
)
@options("output", "in_place", "storage", "precision", "compression", "container", "force")
@options("memory", "jobs", "device")
@click.pass_context
def main(ctx, source, model, e3nn, raw, output, in_place, memory, jobs, device, **settings):
    """Predict the Hamiltonian of SOURCE for the pairs of its /overlap; adds /hamiltonian.

    The result is the Hermitian part of what the network gives, in eV, in the precision of the
    network's evaluation (--precision; by default that of its weights). Features beyond --memory
    go to files beside OUT; if it is interrupted, the same command goes on from them.
    """
    from moireio.blockfile.stream import check_container, check_outputs, open_source, write_target
    from moireio.network.inference.predict import predict, prepare

    destination(output, in_place)
    output = "-" if output is None and not in_place else output
    check_outputs([output], [source, *([model] if model else [])], settings["force"])
    check_container(output, settings["container"])
    with open_source(source) as file:
        model = model or _shipped(file)
        network = _load(model, e3nn)
        target = file.label if in_place else output
        job = prepare(
            network if e3nn != "best" else _best(ctx, network, file, model),
            file,
            precision=settings["precision"],
            device=device,
            jobs=jobs,
        )
        told = network.training.get("e3nn")
        if e3nn not in ("auto", "best", "0.4+") and told not in (None, e3nn):
            say(ctx, f"warning: {model}: was trained with the rules of e3nn {told}, not {e3nn}")
        say(ctx, job.description())
        with (
            write_target(
                output,
                base=file,
                in_place=in_place,
                force=settings["force"],
                container=settings["container"],
                compression=settings["compression"],
                drop=("hamiltonian", *job.dropped),
            ) as writer,
            show_progress(ctx, "predict-h") as update,
        ):
            predict(
                job,
                writer,
                memory=memory,
                work=None if target == "-" else f"{target.rstrip('/')}.work",
                raw=raw,
                storage=settings["storage"],
                progress=update,
            )
            writer.history("predict-h", arguments(), [(file.label, file.digest())])


def _shipped(file):
    """Return the path of a model that comes with moireio, for a file's elements."""
    from moireio.errors import MoireioError
    from moireio.models.shipped import model_with

    symbols = sorted(set(file.structure.element_symbols))
    path = model_with(symbols)
    if path is None:
        raise MoireioError(
            f"no model that comes with moireio knows {', '.join(symbols)}",
            path=file.label,
            remedy="give one with --model",
        )
    return path


def _load(path, e3nn):
    """Return a model, whatever it is."""
    import os

    from moireio.errors import MissingFileError
    from moireio.network.training.run import load_model

    if not os.path.exists(path):
        raise MissingFileError("no such file or folder", path=path)
    if os.path.isfile(path) and e3nn != "auto":
        raise click.UsageError("--e3nn is for DeepH-E3's models.")
    return load_model(path, None if e3nn in ("auto", "best") else e3nn)


def _best(ctx, network, file, path):
    """Return the model in the version of e3nn that fits the file's own Hamiltonian best."""
    from moireio.errors import MoireioError
    from moireio.formats.deeph import e3 as deephe3
    from moireio.network.inference.predict import error_of
    from moireio.network.linear import CONVENTIONS

    if "hamiltonian" not in file:
        raise MoireioError("has no /hamiltonian to compare with", path=file.label)
    errors = {}
    for version in CONVENTIONS:
        errors[version] = error_of(deephe3.model(path, version), file)
        say(ctx, f"e3nn {version}: mean |ΔH| {errors[version] * 1e3:.2f} meV")
    return deephe3.model(path, min(errors, key=errors.get))
