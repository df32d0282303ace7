"""``c3-chern``: Chern numbers modulo 3 from the eigenvalues of C3 at Γ, K and K′."""

import os
from itertools import pairwise

import click

from moireio.tools.band_group_options import band_groups_option
from moireio.tools.common import Command, say
from moireio.tools.energies import add_result, check_name
from moireio.tools.options import BlockFile, destination, one_to_stdout, options
from moireio.tools.progress import show_progress
from moireio.tools.solver_options import solver_choice, solver_options


@click.command("c3-chern", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", metavar="[SOURCE]...", nargs=-1, type=BlockFile())
@band_groups_option("v4:v1")
@click.option(
    "--symmetrise",
    is_flag=True,
    help="Average H and S over C3 first; the table gives what this removed.",
)
@click.option(
    "--position-tolerance",
    type=click.FloatRange(0, min_open=True),
    default=0.05,
    show_default=True,
    metavar="ÅNGSTRÖM",
    help="How far a turned atom may lie from the one that it replaces, Å.",
)
@click.option(
    "--find-transition",
    is_flag=True,
    help="Over several files: report between which two eigenvalues change, and at which point.",
)
@solver_options("dense", "sparse", "slepc")
@options("output", "in_place", "name", "plot", "text", "json", "force", "container")
@click.pass_context
def main(ctx, files, **opts):
    """Compute Chern numbers modulo 3 of bands from their eigenvalues of C3.

    SOURCE is a hexagonal layer with H and (unless its basis is orthogonal) S. The table has ξ of
    every band at Γ, K and K' about the three threefold axes, ⟨σ_z⟩, and C modulo 3 of bands, of
    groups of bands that touch, and of spin up and down where they separate. Bands that were asked
    for are completed to whole groups of levels. Several files make a series, such as one over
    twist angles: a line for each, and with --plot a picture against the angle. Energies are eV.
    """
    from moireio.blockfile.stream import check_container, check_outputs
    from moireio.plots import bands as plots
    from moireio.topology.rotation_report import rotation_object

    files = files or ("-",)
    destination(opts["output"], opts["in_place"])
    check_name(opts["name"])
    if opts["resume"]:
        raise click.UsageError("--resume: two or three k points are solved, nothing is kept.")
    if len(files) > 1 and (opts["output"] or opts["in_place"]):
        raise click.UsageError("-o and --in-place are for one file.")
    if opts["find_transition"] and len(files) < 2:
        raise click.UsageError("--find-transition needs several files.")
    if len(files) > 1 and len(opts["bands"]) > 1:
        raise click.UsageError("Several files take one --bands.")
    if opts["plot"]:
        plots.check_format(opts["plot"])
    one_to_stdout(opts, "output", "text", "plot")
    named = [opts[n] for n in ("output", "plot", "text") if opts[n]]
    check_outputs(named, files, opts["force"])
    check_container(opts["output"], opts["container"])
    choice = solver_choice(opts)
    rows = [row for name in files for row in _solve(ctx, name, opts, choice, len(files) > 1)]
    if len(files) > 1 and all(result.angle is not None for _, result in rows):
        rows.sort(key=lambda row: -abs(row[1].angle))
    objects = [rotation_object(result, name) for name, result in rows]
    changes = _transitions(rows, objects) if opts["find_transition"] else []
    if opts["plot"]:
        from moireio.plots.rotation import plot_rotation

        plots.save(plot_rotation(rows), opts["plot"])
    _print(opts, rows, objects, changes, len(files) > 1)


def _solve(ctx, name, opts, choice, series):
    """Return (name, result) of every group of one file, written into it where that is wanted."""
    from moireio.blockfile.stream import open_source
    from moireio.topology.bandgroups import parse_group, resolve_groups
    from moireio.topology.rotation import threefold_eigenvalues
    from moireio.topology.rotation_report import warning

    selections = opts["bands"] or (parse_group("v4:v1", shortened=True),)
    with open_source(name) as file:
        groups = resolve_groups(file, selections, opts["energy"], solver=choice)
        results = []
        for group in groups:
            with show_progress(ctx, "c3-chern") as update:
                result = threefold_eigenvalues(
                    file,
                    group,
                    symmetrise=opts["symmetrise"],
                    position_tolerance=opts["position_tolerance"],
                    solver=choice,
                    progress=update,
                )
            for line in result.notes:
                say(ctx, f"note: {file.label}: {line}" if series else f"note: {line}")
            broken = warning(result)
            if broken:
                say(ctx, f"warning: {file.label}: {broken}")
            results.append(result)
        base = "symmetry" + (f"-{opts['name']}" if opts["name"] else "")
        kept = {
            base if number == 0 else f"{base}-bands-{group.first}-{group.last}": result
            for number, (group, result) in enumerate(zip(groups, results, strict=True))
        }
        add_result(ctx, opts, file, kept)
        short = file.structure.formula if name == "-" else os.path.basename(name.rstrip("/"))
    return [(short, result) for result in results]


def _transitions(rows, objects):
    """Return a line for each change between neighbours; add it to the object of the later one."""
    from moireio.topology.rotation_report import chern_of_all, chern_of_spin, transition

    lines = []
    for number, ((name, before), (other, after)) in enumerate(pairwise(rows), 1):
        found = transition(before, after)
        objects[number]["transitions"] = found
        where = f"{name} and {other}"
        if None not in (before.angle, after.angle):
            where = f"{abs(before.angle):.4f}° and {abs(after.angle):.4f}°"
        chern = [
            chern_of_all(r, 0) if chern_of_spin(r, 0, 1) is None else chern_of_spin(r, 0, 1)
            for r in (before, after)
        ]
        for change in found:
            spin = f", spin {change['spin']}" if change["spin"] else ""
            n = " → ".join(" ".join(map(str, part)) for part in change["n"])
            point = change["point"].replace("G", "Γ")
            lines.append(
                f"# between {where}: n at {point}{spin}: {n} (C mod 3 {chern[0]:d} → {chern[1]:d})"
            )
    return lines or ["# no eigenvalue changes between the files"]


def _print(opts, rows, objects, changes, series):
    """Write and print the table, or JSON; beside a block file on standard output as errors."""
    from moireio.runtime.files import write_text
    from moireio.topology.rotation_report import rotation_json, rotation_table, series_table

    table = "".join(rotation_table(result, name) for name, result in rows)
    if series:
        table = series_table(rows)
    table += "".join(line + "\n" for line in changes)
    if opts["text"]:
        with write_text(opts["text"]) as stream:
            stream.write(table)
    taken = opts["output"] == "-"
    if opts["as_json"]:
        click.echo(rotation_json(objects), err=taken)
    elif not (opts["text"] or opts["plot"]):
        click.echo(table, nl=False, err=taken)
