"""``build-dataset audit`` and ``suggest``: faults of a training set, and what to add to it."""

import json
import os

import click

from moireio.tools.common import Command, fail
from moireio.tools.options import options
from moireio.tools.progress import show_progress

HELP = {"help_option_names": ["-h", "--help"]}


@click.command("audit", cls=Command, context_settings=HELP)
@click.argument("sources", metavar="DATA ...", nargs=-1, required=True)
@options("json")
@click.pass_context
def audit(ctx, sources, as_json):
    """Name structures that do not belong into a training set, and why.

    DATA are as for train-h, or DIR, whose .scfout are looked at. The reasons are outlier (blocks of
    H or S are not those of the other structures at the same distances), exchanged (two unlike atoms
    were), symmetry (H breaks the symmetry of its structure), unconverged (by OpenMX's .out beside
    a file), fermi (E_F does not hold the electrons), settings (of OpenMX's input, basis or spin,
    that most do not have), and duplicate. The exit code is 1 if there are any.
    """
    from moireio.formats.calculations import find_calculations, open_calculation
    from moireio.formats.openmx.runs import settings_of, unconverged
    from moireio.moire import dataset
    from moireio.network.training.audit import audit

    paths = []
    for source in sources:
        if os.path.isdir(source) and dataset.is_dataset(source):
            results = [entry.file(".scfout") for entry in dataset.read(source)]
            paths += [path for path in results if os.path.exists(path)]
        else:
            paths += find_calculations([source])
    if not paths:
        fail(f"{sources[0]}: holds no finished calculations")
    with show_progress(ctx, "audit") as progress:
        findings = audit(paths, open_calculation, unconverged, settings_of, progress)
    plain = [finding.to_plain() for finding in findings]
    if as_json:
        click.echo(json.dumps(plain, ensure_ascii=False))
    else:
        for row in plain:
            for one in row["details"]:
                numbers = f"{one['value']:.3g}, limit {one['limit']:.3g}"
                click.echo(f"{row['structure']}: {one['reason']}: {one['text']}: {numbers}")
        click.echo(f"{len(plain)} of {len(paths)} structures have faults")
    ctx.exit(1 if plain else 0)


@click.command("suggest", cls=Command, context_settings=HELP)
@click.argument("sources", metavar="CANDIDATE ...", nargs=-1, required=True)
@click.option(
    "--model",
    "-m",
    required=True,
    type=click.Path(),
    metavar="MODEL",
    help="The network whose features count: a model of a registry, a model file, or a result "
    "folder of DeepH-E3.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="DATA",
    help="Structures that it was trained on, or that will be computed anyway. Repeatable.",
)
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Number of structures to name.",
)
@options("registry", "json")
@click.pass_context
def suggest(ctx, sources, model, data, count, registries, as_json):
    """Name the structures that a network should learn next: those farthest in its features.

    CANDIDATES are structure files, block files or calculations. One after another, the candidate is
    named whose atoms lie farthest from all atoms of DATA and of those named before; distances are
    1 in the mean over the network's training data.
    """
    from moireio.formats.calculations import find_calculations
    from moireio.formats.models import load_model
    from moireio.models.registry import registry_folders
    from moireio.network.training.suggest import suggest
    from moireio.tools.models import question_of

    network = load_model(model, folders=registry_folders(registries))
    with show_progress(ctx, "features") as progress:
        known = [question_of(path).structure for path in find_calculations(data)]
        candidates = [question_of(path).structure for path in sources]
        chosen = suggest(network, candidates, known, count, progress)
    rows = [{"structure": sources[n], "distance": distance} for n, distance in chosen]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        click.echo(f"{row['distance']:8.3f}  {row['structure']}")
