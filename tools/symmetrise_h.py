"""``symmetrise-h``: H and S averaged over the operations of the crystal."""

import json

import click

from moireio.tools.common import Command, arguments, say
from moireio.tools.operators import former_results
from moireio.tools.options import OutputFile, destination, options, source_argument
from moireio.tools.progress import show_progress


def _names(ctx, param, text):
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


@click.command(
    "symmetrise-h", cls=Command, context_settings={"help_option_names": ["-h", "--help"]}
)
@source_argument
@click.option(
    "--group",
    callback=_names,
    metavar="C3,C2x,T,…",
    help="Operations that generate the group, as C3, C6, C2z, C2x, Mz, Mx, I, S6, T, C2zT. "
    "[default: all operations that take the atoms to each other, and T where H obeys it within "
    "--max-change]",
)
@click.option(
    "--position-tolerance",
    type=click.FloatRange(0, min_open=True),
    default=0.01,
    show_default=True,
    metavar="ÅNGSTRÖM",
    help="How far a moved atom may lie from the one that it replaces, Å; positions stay.",
)
@click.option(
    "--max-change",
    type=click.FloatRange(0),
    default=0.02,
    show_default=True,
    metavar="EV",
    help="Largest element that may be removed from H (eV); more is an error.",
)
@click.option(
    "--bands",
    type=click.IntRange(0),
    help="Bands around the gap whose shift is reported; 0 for none.  [default: 8 for up to 6000 "
    "orbitals]",
)
@click.option("--report", type=OutputFile(), help="Write what was removed as JSON.")
@options("output", "in_place", "memory", "compression", "container", "force")
@click.pass_context
def main(ctx, source, group, output, in_place, report, **settings):
    """Average H and S over the operations of the crystal, in real space.

    SOURCE holds H and (unless its basis is orthogonal) S; position and momentum matrices are
    averaged too. The result obeys the symmetry exactly. For every operation the largest and the
    rms part are reported that averaging over it alone removes, and how far bands move at Γ, K and
    K'. The result goes to -o OUT, into SOURCE itself (--in-place), or to standard output.
    """
    from moireio.blockfile.stream import (
        check_container,
        check_outputs,
        open_source,
        write_target,
    )
    from moireio.errors import naming
    from moireio.runtime.files import write_text
    from moireio.topology.symmetrise import SLAB_BYTES, symmetrise

    destination(output, in_place)
    output = "-" if output is None and not in_place else output
    if report == "-" and output == "-":
        raise click.UsageError("--report and --output go to standard output: name a file.")
    check_outputs([output, report], [source], settings["force"])
    check_container(output, settings["container"])
    with open_source(source) as file:
        with show_progress(ctx, "bands") as update:
            found = symmetrise(
                file,
                group,
                position_tolerance=settings["position_tolerance"],
                max_change=settings["max_change"],
                bands=settings["bands"],
                memory=settings["memory"],
                progress=update,
            )
        written = [s.meta.name for s in found.sources]
        operators = ("hamiltonian", "overlap", "position", "momentum", "density")
        lost = [f"/{n}" for n in operators if n in file and n not in written]
        if lost:
            say(ctx, f"note: left out, of the former H: {', '.join(lost)}")
        with write_target(
            output,
            base=file,
            in_place=in_place,
            force=settings["force"],
            container=settings["container"],
            compression=settings["compression"],
            drop=(*operators, *former_results(ctx, file)),
        ) as writer:
            with show_progress(ctx, "symmetrise-h") as update:
                writer.operators(found.sources, progress=update, slab_bytes=SLAB_BYTES)
            with naming(file.label):
                found.check(settings["max_change"])
            writer.history("symmetrise-h", arguments(), [(file.label, file.digest())])
    values = found.report()
    for entry in values["operations"]:
        say(ctx, f"{entry['name']}: {_removed(entry)}")
    say(ctx, f"group of {values['group_order']} operations: {_removed(values)}")
    if found.band_shift:
        shifts = ", ".join(
            f"{1e3 * shift:.3g} meV at {label.replace('G', 'Γ')}"
            for label, shift in found.band_shift.items()
        )
        say(ctx, f"bands moved by at most {shifts}")
    if report:
        with write_text(report) as stream:
            stream.write(json.dumps(values, indent=1) + "\n")


def _removed(entry):
    largest, rms = (1e3 * entry[f"{n}_removed_eV"] for n in ("max", "rms"))
    return f"removed {largest:.3g} meV at most, {rms:.2g} meV rms"
