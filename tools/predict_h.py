"""``predict-h``: a Hamiltonian from a trained network."""

import click

from moireio.tools.common import arguments, say
from moireio.tools.operators import former_results
from moireio.tools.options import (
    Suggested,
    destination,
    options,
    package_files,
    source_argument,
)
from moireio.tools.predict_experts import (
    CommandWithModels,
    expert_options,
    predict_with_models,
)
from moireio.tools.progress import show_progress

CHECKED = 500  # orbitals up to which the spectrum is checked by default
NAMED = 3  # ghosts that are named


@click.command(
    "predict-h", cls=CommandWithModels, context_settings={"help_option_names": ["-h", "--help"]}
)
@source_argument
@click.option(
    "--model",
    "-m",
    type=Suggested(lambda _: package_files("moireio.models", ".h5")),
    metavar="NAME|FILE|FOLDER",
    help="A model of a registry (model-db list), a model file, or a result folder of DeepH-E3 "
    "(with best_model.pkl).  [default: the one of the registries that expects the smallest error]",
)
@expert_options
@options("registry")
@click.option(
    "--e3nn",
    type=click.Choice(["auto", "0.3.5", "0.4.4", "0.5", "0.4+", "best"]),
    default="auto",
    show_default=True,
    help="For DeepH-E3's models: evaluate as with this version of e3nn. auto: the version in the "
    "checkpoint; 0.4+: 0.4.4 or 0.5, by its signs; best: the one closest to /hamiltonian.",
)
@click.option(
    "--raw", is_flag=True, help="Blocks as the network gives them, not their Hermitian part."
)
@options("output", "in_place", "storage", "precision", "compression", "container", "force")
@options("memory")
@click.option(
    "-j", "--jobs", "threads", type=click.IntRange(1), help="Threads.  [default: one per core]"
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where the network is evaluated.",
)
@click.option(
    "--max-expected-error",
    type=click.FloatRange(0, min_open=True),
    metavar="MEV",
    help="Refuse, and write nothing, if the mean |ΔH| that the model expects is larger, meV.",
)
@click.option(
    "--check-spectrum/--no-check-spectrum",
    default=None,
    help="Look for levels that errors of H put near or below the Fermi level, and name their "
    "atoms.  [default: up to 500 orbitals]",
)
@click.option(
    "--plot", type=click.Path(), metavar="FILE", help="Draw the expected error of every atom."
)
@click.pass_context
def main(
    ctx,
    source,
    model,
    models,
    align,
    registries,
    e3nn,
    raw,
    output,
    in_place,
    memory,
    threads,
    device,
    max_expected_error,
    check_spectrum,
    plot,
    **settings,
):
    """Predict the Hamiltonian of SOURCE for the pairs of its /overlap; adds /hamiltonian.

    The result is the Hermitian part of the network's blocks, in eV, in the precision of the
    network's evaluation (--precision; by default that of its weights). Features beyond --memory
    go to files beside OUT; if it is interrupted, the same command goes on from them.

    The expected error of every atom, from the distance of its surroundings to the training data,
    is printed in meV and kept in the file (h5-info shows it).

    With --models, stacks of more layers are predicted pair by pair: blocks between two layers come
    from the model of that pair, those inside a middle layer from both, in one zero of energy.
    """
    from moireio.blockfile.stream import check_container, check_outputs, open_source, write_target
    from moireio.errors import MoireioError
    from moireio.network.inference.predict import describe_expected_error, predict, prepare
    from moireio.runtime.files import is_stream
    from moireio.runtime.threads import torch_threads

    destination(output, in_place)
    output = "-" if output is None and not in_place else output
    if plot:
        from moireio.plots.bands import check_format

        check_format(plot)
    outputs = [output, *([plot] if plot else [])]
    check_outputs(outputs, [source, *([model] if model else [])], settings["force"])
    check_container(output, settings["container"])
    if models and (model or raw or e3nn != "auto"):
        raise click.UsageError("--models excludes --model, --raw and --e3nn.")

    def writer_of(replaced):
        return write_target(
            output,
            base=file,
            in_place=in_place,
            force=settings["force"],
            container=settings["container"],
            compression=settings["compression"],
            drop=("hamiltonian", *replaced, *former_results(ctx, file)),
        )

    with open_source(source) as file, torch_threads(threads):
        target = file.label if in_place else output
        work = None if is_stream(target) else f"{target.rstrip('/')}.work"
        if models:
            opts = {
                "models": models,
                "registries": registries,
                "align": align,
                "device": device,
                "memory": memory,
                "work": work,
                "max_expected_error": max_expected_error,
                "arguments": arguments(),
            }
            expected = predict_with_models(ctx, file, writer_of, settings | opts)
            if plot and expected is None:
                say(ctx, "warning: no expected error is known, so that nothing was drawn")
        else:
            chosen = model or _chosen(ctx, file, registries, memory)
            network = _load(ctx, chosen, e3nn, file, registries)
            if plot and network.expected_error is None:
                raise MoireioError(
                    "has no record of its training, so that there is no expected error to draw",
                    path=model or network.name,
                    remedy="predict without --plot; train-h --calibrate-only makes a record",
                )
            task = prepare(network, file, settings["precision"], device)
            say(ctx, task.description())
            limit = None if max_expected_error is None else max_expected_error / 1e3
            with (
                writer_of(task.replaced_groups) as writer,
                show_progress(ctx, "predict-h") as progress,
            ):
                expected = predict(
                    task,
                    writer,
                    memory=memory,
                    work=work,
                    raw=raw,
                    storage=settings["storage"],
                    progress=progress,
                    max_expected_error=limit,
                )
                inputs = [(file.label, file.digest()), (network.name, network.digest())]
                writer.history("predict-h", arguments(), inputs)
            for line in describe_expected_error(network, expected):
                say(ctx, line)
        if plot and expected is not None:
            _draw(file, expected, plot)
    if is_stream(target):
        if check_spectrum:
            say(ctx, "note: the spectrum was not checked: the output is a stream")
    else:
        _check_spectrum(ctx, target, expected, check_spectrum)


def _check_spectrum(ctx, path, expected, wanted):
    """Name levels that are there by errors of the prediction."""
    import numpy as np

    import moireio
    from moireio.errors import MoireioError
    from moireio.spectrum.ghosts import find_ghosts

    with moireio.open(path) as file:
        electrons = file.electrons.count if "electrons" in file else None
        small = int(file.hamiltonian.sizes.sum()) <= CHECKED
        if wanted is False or (wanted is None and not small):
            return
        if electrons is None or "overlap" not in file:
            if wanted:
                say(ctx, "note: the spectrum was not checked: no electrons or no overlap are known")
            return
        suspects = np.arange(len(file.structure)) if expected is None else np.argsort(-expected)
        H, S = file.hamiltonian.full(), file.overlap.full()
        try:
            ghosts = find_ghosts(H, S, file.structure, electrons, suspects)
        except MoireioError as error:  # the prediction itself is done
            say(ctx, f"warning: {path}: the spectrum was not checked: {error}")
            return
    for ghost in ghosts[:NAMED]:
        say(ctx, f"warning: {path}: a ghost, put there by errors of H: {ghost}")
    if len(ghosts) > NAMED:
        say(
            ctx,
            f"warning: {path}: {len(ghosts) - NAMED} more ghosts: the model does not serve for "
            "this structure",
        )
    if wanted and not ghosts:
        say(ctx, "no ghost levels")


def _draw(file, expected, path):
    """Draw the expected errors."""
    from moireio.plots.atoms import plot_expected_error
    from moireio.plots.bands import save

    save(plot_expected_error(file.structure, expected), path)


def _chosen(ctx, file, registries, memory):
    """Return the path of the model of the registries that expects the smallest error; name it."""
    from moireio.errors import MoireioError
    from moireio.formats.models import load_model
    from moireio.models.registry import entries, registry_folders
    from moireio.network.choice import question_of_file, rank

    symbols = sorted(set(file.structure.element_symbols))
    found = entries(registry_folders(registries))
    known = [entry for entry in found if entry.usable and set(symbols) <= set(entry.elements)]
    if not known:
        raise MoireioError(
            f"no model of the registries knows {', '.join(symbols)}",
            path=file.label,
            remedy="give one with --model, or put one into a registry with model-db add",
        )
    if len(known) == 1:
        say(ctx, f"model {known[0].name}")
        return known[0].path
    ranking = rank(question_of_file(file), known, load_model, memory)
    first = ranking[0]
    if not first.knows:
        reasons = "; ".join(f"{c.entry.name}: {c.why}" for c in ranking)
        raise MoireioError(
            f"no model of the registries serves: {reasons}", path=file.label, remedy="give --model"
        )
    say(ctx, f"model {first.entry.name}, of {len(known)}: {first.why}")
    return first.entry.path


def _load(ctx, path, e3nn, file, registries):
    """Return a model, for DeepH-E3's with the rules of the version of e3nn asked for."""
    from moireio.formats.models import load_model
    from moireio.models.registry import registry_folders

    folders = registry_folders(registries)
    if e3nn == "auto":
        return load_model(path, folders=folders)
    if e3nn == "best":
        return _best(ctx, path, file)
    network = load_model(path, e3nn, folders)
    trained_with = network.training.get("e3nn")
    expected = (None, "0.4.4", "0.5") if e3nn == "0.4+" else (None, e3nn)
    if trained_with not in expected:
        say(ctx, f"warning: {path}: was trained with the rules of e3nn {trained_with}, not {e3nn}")
    return network


def _best(ctx, path, file):
    """Return the model in the version of e3nn that fits the file's own Hamiltonian best."""
    from moireio.errors import MoireioError
    from moireio.formats.models import load_model
    from moireio.network.inference.predict import mean_error
    from moireio.network.linear import CONVENTIONS

    if "hamiltonian" not in file:
        raise MoireioError("has no /hamiltonian to compare with", path=file.label)
    models = {version: load_model(path, version) for version in CONVENTIONS}
    errors = {}
    for version, network in models.items():
        errors[version] = mean_error(network, file)
        say(ctx, f"e3nn {version}: mean |ΔH| {errors[version] * 1e3:.2f} meV")
    return models[min(errors, key=errors.get)]
