"""``chern``: Chern numbers, Z2, curvature and Wannier centres of groups of bands."""

import os

import click

from moireio.tools.band_group_options import band_groups_option
from moireio.tools.common import Command, say
from moireio.tools.energies import add_result, check_name
from moireio.tools.options import (
    BlockFile,
    OutputFile,
    destination,
    one_to_stdout,
    options,
)
from moireio.tools.progress import show_progress
from moireio.tools.solver_options import (
    anchors_option,
    check_anchors,
    solver_choice,
    solver_options,
    with_anchors,
)


@click.command("chern", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", metavar="[SOURCE]...", nargs=-1, type=BlockFile())
@band_groups_option("all filled bands")
@click.option(
    "--mesh",
    nargs=2,
    type=click.IntRange(2, 2000),
    default=(12, 12),
    show_default=True,
    help="Plaquettes along the two reciprocal vectors; a mesh 1.5 times finer must agree.",
)
@click.option(
    "--no-position",
    is_flag=True,
    help="Leave /position out of the overlaps: the same Chern numbers, another curvature.",
)
@click.option(
    "--curvature",
    type=OutputFile(),
    help="Write curvature and quantum metric (Å²) of every plaquette: FILE.npz, arrays k, "
    "curvature, metric. The metric needs all levels.",
)
@anchors_option
@solver_options("dense", "sparse", "slepc", without=("resume",))
@options("plot", "text", "json", "output", "in_place", "name", "container", "force")
@click.pass_context
def main(ctx, files, **opts):
    """Find Chern numbers of groups of bands, and Z2, spin Chern numbers, curvature.

    SOURCE is a layer with H and (unless its basis is orthogonal) S. Every group must be separated
    from the bands below and above at each k. Chern numbers come from plaquettes that meet
    conditions, on two meshes, and from the winding of Wannier centres, which must agree.

    Several files make a series over strain: a line for each, the transitions, and with --plot
    Chern numbers and gaps against strain. Strain is that of the layers against each other where
    the files have a record of it, else that of the cell against the first file's.
    """
    from moireio.blockfile.stream import check_container, check_outputs, open_source
    from moireio.plots import chern as plots
    from moireio.plots.bands import check_format, save
    from moireio.topology.chern_report import chern_json, chern_table
    from moireio.topology.strain import heterostrain, series_strain

    files = files or ("-",)
    destination(opts["output"], opts["in_place"])
    check_name(opts["name"])
    if opts["plot"]:
        check_format(opts["plot"])
    check_anchors(opts)
    for name in ("output", "in_place", "curvature", "anchors"):
        if opts[name] and len(files) > 1:
            word = {"output": "-o"}.get(name, "--" + name.replace("_", "-"))
            raise click.UsageError(f"{word} is for one file.")
    one_to_stdout(opts, "output", "text", "plot", "curvature")
    named = [opts[n] for n in ("plot", "text", "curvature", "output")]
    check_outputs(named, [*files, opts["anchors"]], opts["force"])
    check_container(opts["output"], opts["container"])
    group = f"chern-{opts['name']}" if opts["name"] else "chern"
    rows, structures, records = [], [], []
    for name in files:
        with open_source(name) as file:
            numbers, record = _solve(ctx, file, opts, len(files) > 1), heterostrain(file.moire)
            if len(files) == 1:
                numbers = numbers.with_strain(record)
            short = file.structure.formula if name == "-" else os.path.basename(name.rstrip("/"))
            rows.append((short, numbers))
            structures.append(file.structure)
            records.append(record)
            add_result(ctx, opts, file, {group: numbers})
    if opts["curvature"]:
        _write_map(opts["curvature"], structures[0], rows[0][1])
    if len(files) > 1:
        strains = series_strain(structures, records)
        rows = [
            (short, numbers.with_strain(strain))
            for (short, numbers), strain in zip(rows, strains, strict=True)
        ]
        rows.sort(key=lambda row: row[1].groups[0].strain)
    if opts["plot"] and len(files) > 1:
        save(plots.plot_strain(rows), opts["plot"])
    elif opts["plot"]:
        save(plots.plot_chern(structures[0], rows[0][1], rows[0][0]), opts["plot"])
    if opts["text"]:
        from moireio.runtime.files import write_text

        with write_text(opts["text"]) as stream:
            stream.write(chern_table(rows))
    aside = "-" in (opts["output"], opts["plot"], opts["text"], opts["curvature"])
    if opts["as_json"]:
        click.echo(chern_json(rows), err=opts["output"] == "-")
    elif not opts["text"]:
        click.echo(chern_table(rows), nl=False, err=aside)


def _solve(ctx, file, opts, series):
    """Return the topology of one file; print the remarks."""
    from dataclasses import replace

    from moireio.results.chern import ChernNumbers
    from moireio.topology.bandgroups import resolve_groups
    from moireio.topology.chern_report import trace_text
    from moireio.topology.links import plane_of
    from moireio.topology.metric import metric_of_groups
    from moireio.topology.solve import solve_chern

    solver = with_anchors(solver_choice(opts), opts["anchors"], file)
    notes = {}  # each note once, in their order
    groups = resolve_groups(file, opts["bands"], opts["energy"], solver=solver, by_spin=True)
    with show_progress(ctx, "chern") as update:
        numbers = solve_chern(
            file,
            groups,
            opts["mesh"],
            position=not opts["no_position"],
            solver=solver,
            progress=update,
            note=notes.setdefault,
        )
    if opts["curvature"]:
        with show_progress(ctx, "metric") as update:
            metrics = metric_of_groups(
                file,
                numbers,
                position=not opts["no_position"],
                solver=solver,
                progress=update,
                note=notes.setdefault,
            )
        pairs = zip(numbers.groups, metrics, strict=True)
        numbers = ChernNumbers(tuple(replace(one, metric=metric) for one, metric in pairs))
        area = plane_of(file.structure).area
        for one in numbers.groups:
            if one.metric is not None:
                text = trace_text(one.curvature, one.metric, area)
                notes[f"bands {one.bands[0]}:{one.bands[1]}: {text}"] = None
    for line in notes:
        say(ctx, f"note: {file.label}: {line}" if series else f"note: {line}")
    return numbers


def _write_map(path, structure, numbers):
    """Write k, curvature and metric of every plaquette."""
    import numpy as np

    from moireio.runtime.files import write_whole
    from moireio.topology.curvature import plaquette_middles
    from moireio.topology.links import plane_of

    one = numbers.groups[0]
    k = plaquette_middles(plane_of(structure), one.mesh)
    values = {"k": k.reshape(*one.mesh, 3)}
    several = len(numbers.groups) > 1
    for name in ("curvature", "metric"):
        arrays = [getattr(group, name) for group in numbers.groups]
        if arrays[0] is not None:
            values[name] = np.array(arrays) if several else arrays[0]
    values["bands"] = np.array([group.bands for group in numbers.groups])
    with write_whole(path) as part, open(part, "wb") as stream:
        np.savez(stream, **values)
