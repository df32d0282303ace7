"""``irreps``: irreducible representations of levels at the corners of the Brillouin zone."""

import json
import os
from dataclasses import replace

import click

from moireio.tools.band_group_options import band_groups_option
from moireio.tools.common import Command, say
from moireio.tools.energies import print_result
from moireio.tools.options import one_to_stdout, options, source_argument
from moireio.tools.progress import show_progress
from moireio.tools.solver_options import solver_choice, solver_options


@click.command("irreps", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@source_argument
@band_groups_option("v4:c4")
@click.option(
    "--points",
    metavar="G,K,M",
    help="Corners of the Brillouin zone.  [default: all of the lattice]",
)
@click.option(
    "--position-tolerance",
    type=click.FloatRange(0, min_open=True),
    default=0.01,
    show_default=True,
    metavar="ÅNGSTRÖM",
    help="How far a moved atom may lie from the one that it replaces, Å.",
)
@click.option(
    "--z2",
    is_flag=True,
    help="Z2 of the filled bands from their parities (layers with inversion and spin-orbit "
    "coupling).",
)
@solver_options("dense", "sparse", "slepc")
@options("text", "json", "force")
@click.pass_context
def main(ctx, source, **opts):
    """Report the little group of corners of the zone, and the irreps of levels there.

    SOURCE holds H and (unless its basis is orthogonal) S. Of every group of levels the table has
    the characters, how far they are from those of a sum of irreps, and its label: Mulliken's
    symbols, with spin-orbit coupling E1/2, E3/2 … by the angular momentum about the main axis; "?"
    where H breaks the symmetry or the little group has no common origin. Collinear spin gives a
    table for each spin (in the JSON a list of two objects). Energies are eV.
    """
    from moireio.blockfile.stream import check_outputs, open_source
    from moireio.errors import MoireioError
    from moireio.spectrum.filled_bands import filled_bands
    from moireio.topology.bandgroups import parse_group, resolve_groups
    from moireio.topology.irreps import irreps_object, irreps_table, levels_by_irreps, parity_z2

    if opts["resume"]:
        raise click.UsageError("--resume: a few k points are solved, nothing is kept.")
    if len(opts["bands"]) > 1:
        raise click.UsageError("irreps takes one --bands.")
    one_to_stdout(opts, "text")
    check_outputs([opts["text"]], [source], opts["force"])
    labels = tuple(p.strip().replace("Γ", "G") for p in (opts["points"] or "").split(",") if p)
    choice = solver_choice(opts)
    with open_source(source) as file:
        selections = opts["bands"] or (parse_group("v4:c4", shortened=True),)
        groups = resolve_groups(file, selections, opts["energy"], solver=choice, by_spin=True)
        collinear = file.hamiltonian.meta.spin == "collinear"
        if collinear and len(groups) == 1 and groups[0].channel is None:
            groups = [replace(groups[0], channel=channel) for channel in (0, 1)]
        found = []
        for group in groups:
            with show_progress(ctx, "irreps") as update:
                points = levels_by_irreps(
                    file,
                    group,
                    labels,
                    channel=group.channel or 0,
                    position_tolerance=opts["position_tolerance"],
                    solver=choice,
                    progress=update,
                    note=lambda line: say(ctx, f"note: {line}"),
                )
            found.append((group, points))
        z2 = None
        if opts["z2"]:
            filled = round(filled_bands(file, opts["energy"], solver=choice))
            z2 = parity_z2(file, filled, opts["position_tolerance"])
            if z2 is None:
                raise MoireioError(
                    "has no Z2 from parities: it is no layer with inversion and spinors",
                    path=file.label,
                    remedy="the command chern finds Z2 from Wannier centres",
                )
        short = file.structure.formula if source == "-" else os.path.basename(source.rstrip("/"))
    objects, table = [], ""
    for group, points in found:
        bands = {"bands": [group.first, group.last], "points": irreps_object(points)}
        if collinear:
            spin = ("up", "down")[group.channel]
            objects.append({"file": short, "spin": spin} | bands)
            table += ("\n\n" if table else "") + f"# spin {spin}\n"
        else:
            objects.append({"file": short} | bands)
        table += irreps_table(points)
    if z2 is not None:
        objects[0]["z2"], objects[0]["parities"] = z2
        signs = " ".join(f"{sign:+d}" for sign in z2[1])
        table += f"# Z2 = {z2[0]}: products of parities {signs} at 0 0, 0 ½, ½ 0, ½ ½\n"
    values = objects if collinear else objects[0]
    print_result(opts, lambda: table, lambda: json.dumps(values, indent=1))
