"""``build-dataset``: the DFT calculations of a training set."""

import json
import os

import click

from moireio.tools.common import Command, Group, fail, say
from moireio.tools.layer_options import layer_options, read_stack
from moireio.tools.options import options
from moireio.tools.progress import progress, show_progress

MAX_ATOMS = 200  # of an untwisted common cell, on which DFT shall run hundreds of times
MAX_STRAIN = 0.02
HELP = {"help_option_names": ["-h", "--help"]}


@click.group("build-dataset", cls=Group, context_settings=HELP)
def main():
    """Make the DFT calculations of a training set, run them, and collect what is finished.

    DIR gets one folder a structure with a complete OpenMX input, manifest.json, and runs.txt, one
    folder a line, for the array jobs of a scheduler.
    """


@main.command("make", cls=Command, context_settings=HELP)
@click.argument("sources", metavar="LAYER [LAYER ...]", nargs=-1, required=True)
@click.option("-o", "--output", metavar="DIR", required=True, help="Folder to make.")
@click.option(
    "--slide",
    nargs=2,
    type=click.IntRange(1),
    default=(24, 24),
    show_default=True,
    metavar="NX NY",
    help="Grid of displacements of the upper layers (untwisted cells).",
)
@click.option(
    "--supercell",
    nargs=2,
    type=click.IntRange(1),
    default=(3, 3),
    show_default=True,
    metavar="NX NY",
    help="Cells in each slid structure.",
)
@click.option(
    "--twist",
    nargs=2,
    type=int,
    multiple=True,
    metavar="M N",
    help="Twisted cells of these indices (see build-twist --index) instead of slid ones; repeat.",
)
@click.option(
    "--copies", type=click.IntRange(1), default=1, show_default=True, help="Of each twisted cell."
)
@click.option(
    "--displace",
    type=click.FloatRange(0),
    default=0.1,
    show_default=True,
    help="Longest random displacement of an atom, Å.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random.")
@click.option("--functional", default="GGA-PBE", show_default=True, help="OpenMX's scf.XcType.")
@click.option("--cutoff", type=float, default=300.0, show_default=True, help="Of the grid, Ry.")
@click.option(
    "--criterion", type=float, default=4e-8, show_default=True, help="Convergence, Hartree."
)
@click.option(
    "--kspacing",
    type=click.FloatRange(0, min_open=True),
    default=0.3,
    show_default=True,
    help="Largest distance of k points, Å⁻¹ (with the 2π).",
)
@click.option("--soc/--no-soc", default=False, show_default=True, help="Spin-orbit coupling.")
@click.option(
    "--data-path",
    default="../../DFT_DATA19",
    show_default=True,
    help="OpenMX's data base, as seen from a structure's folder.",
)
@click.option(
    "--template",
    type=click.Path(exists=True, dir_okay=False),
    help="OpenMX input whose settings are kept; the options of the calculation do not count then.",
)
@layer_options
@click.pass_context
def make(ctx, sources, output, slide, supercell, twist, copies, displace, seed, **settings):
    """Write the inputs of slid (or twisted) and displaced structures into a new folder.

    By default a 24 × 24 grid of 3 × 3 supercells; with --twist (or --index) twisted cells. Two
    different layers get a common cell, their mismatch placed by --strain-on.
    """
    from moireio.formats.openmx import dat_write, dataset
    from moireio.moire import cells, sample

    stack = read_stack(sources, settings, MAX_ATOMS)
    indices = [*twist, *([settings["index"]] if settings["index"] else [])]
    first, second = stack.heads
    place = settings["strain_on"]
    common = {"stacking": stack.stacking, "place": place}
    if indices:
        total = copies * len(indices)
        samples = (
            one
            for m, n in indices
            for one in sample.twisted(
                stack.layers,
                _checked(stack, cells.from_index(first.lattice, second.lattice, m, n)),
                f"{m}-{n}",
                copies,
                displace,
                seed,
                **common,
            )
        )
    else:
        total = slide[0] * slide[1]
        cell = _untwisted(stack)
        samples = sample.slid(stack.layers, cell, slide, supercell, displace, seed, **common)
    template = None
    if settings["template"]:
        with open(settings["template"], encoding="utf-8", errors="replace") as stream:
            template = stream.read()
    calculation = dat_write.Settings(
        functional=settings["functional"],
        cutoff=settings["cutoff"],
        criterion=settings["criterion"],
        spacing=settings["kspacing"],
        spin_orbit=settings["soc"],
        data_path=settings["data_path"],
        template=template,
    )
    record = {"layers": list(sources), "seed": seed, "displace": displace, "place": place}
    with progress(ctx, total, "structures") as update:
        count = dataset.write(output, samples, calculation, settings["basis"], record, update)
    say(ctx, f"{output}: {count} calculations; run them with: build-dataset run {output}")


@main.command("status", cls=Command, context_settings=HELP)
@click.argument("source", metavar="DIR", type=click.Path())
@options("json")
def status(source, as_json):
    """Tell which calculations are done, failed (and why), running, interrupted or missing."""
    from moireio.formats.openmx import dataset
    from moireio.formats.openmx.out import STATES

    found = [(entry, entry.outcome()) for entry in dataset.read(source)]
    if as_json:
        rows = [{"name": e.name, "state": o.state, "reason": o.reason} for e, o in found]
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    for entry, one in found:
        if one.state not in ("done", "missing"):
            click.echo(f"{entry.name:<24} {one.state}{': ' + one.reason if one.reason else ''}")
    counts = {state: sum(o.state == state for _, o in found) for state in STATES}
    told = ", ".join(f"{n} {state}" for state, n in counts.items() if n or state == "done")
    click.echo(f"{len(found)} calculations: {told}")


@main.command("run", cls=Command, context_settings=HELP)
@click.argument("source", metavar="DIR", type=click.Path())
@click.option(
    "--command",
    required=True,
    metavar="WORDS",
    help='Such as "mpirun -np 4 openmx"; the input comes last, or where {input} stands.',
)
@click.option("--retry", is_flag=True, help="Run again what failed.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    help="Stop a calculation after so many seconds.  [default: never]",
)
@click.option(
    "-j", "--jobs", type=click.IntRange(1), default=1, show_default=True, help="At a time."
)
@click.pass_context
def run(ctx, source, command, retry, timeout, jobs):
    """Run what is missing or was interrupted; may itself be interrupted and started again.

    What OpenMX prints goes to run.log in the folder of each structure.
    """
    from moireio.formats.openmx import dataset
    from moireio.runtime import jobs as runs

    wanted = {"missing", "interrupted", *(["failed"] if retry else [])}
    entries = {e.folder: e for e in dataset.read(source)}
    states = {folder: entry.outcome().state for folder, entry in entries.items()}
    tasks = [folder for folder, state in states.items() if state in wanted]
    failed = sum(state == "failed" for state in states.values())
    if failed and not retry:
        say(ctx, f"note: {failed} failed before (see status, --retry)")
    bad = 0
    with progress(ctx, len(tasks), "running") as update:
        jobs_to_do = [(f, f"{entries[f].name}.dat", entries[f]) for f in tasks]
        ended = runs.run_all(jobs_to_do, command, jobs, timeout, dataset.prepare)
        for folder, ran in ended:
            update(1)
            one = entries[folder].outcome() if ran else None
            if ran and one.state != "done":
                bad += 1
                click.echo(f"{entries[folder].name}: {one.state}: {one.reason}", err=True)
    if bad:
        fail(f"{source}: {bad} of {len(tasks)} calculations failed")


@main.command("collect", cls=Command, context_settings=HELP)
@click.argument("source", metavar="DIR", type=click.Path())
@click.option("-o", "--output", metavar="DIR", help="Where block files go.  [default: DIR/blocks]")
@options("container", "compression", "storage", "precision", "jobs")
@click.pass_context
def collect(ctx, source, output, container, jobs, **settings):
    """Convert what is done into block files (as openmx2h5), skipping what is converted already."""
    from moireio.formats.openmx import dataset
    from moireio.formats.openmx.convert import convert_all, plan_folder

    entries = [e for e in dataset.read(source) if e.outcome().state == "done"]
    output = output or os.path.join(source, "blocks")
    operators = ("hamiltonian", "overlap")
    tasks = plan_folder([e.result for e in entries], output, container or "h5", False, operators)
    waiting = [task for task in tasks if not task.done]
    failures = 0
    with show_progress(ctx, "converting") as update:
        for task, error, notes in convert_all(waiting, jobs, container=container, **settings):
            update(1, len(waiting))
            for note in notes or ():
                say(ctx, f"note: {task.source}: {note}")
            if error:
                failures += 1
                click.echo(f"error: {error}", err=True)
    if failures:
        fail(f"{output}: {failures} of {len(tasks)} files could not be converted")
    say(ctx, f"{output}: {len(tasks)} block files, {len(waiting)} of them new")


def _checked(stack, cell):
    """Refuse a cell that strains the layers by more than allowed."""
    from moireio.moire import search

    return search.given(stack.layers, cell, stack.limits, stack.pattern).cell


def _untwisted(stack):
    """Return the smallest common cell without a twist."""
    from dataclasses import replace

    from moireio.moire import cells, search

    first, second = stack.heads
    allowed = MAX_STRAIN if stack.limits.max_strain is None else stack.limits.max_strain
    one = cells.match(first.lattice, second.lattice, [[[1, 0], [0, 1]]] * 2)
    if abs(one.angle) < 1e-9:
        small = search.given(stack.layers, one, replace(stack.limits, max_strain=None))
        if small.strain <= allowed:
            return one
    limits = replace(stack.limits, window=(-1e-3, 1e-3), max_strain=allowed)
    return search.best(stack.layers, limits, stack.pattern).cell
