"""``relax``: structures relaxed in the forces of a calculator."""

import contextlib
import json

import click

from moireio.tools.common import Command, arguments, fail, say
from moireio.tools.operators import settled_periodicity, structure_source
from moireio.tools.options import (
    OutputFile,
    destination,
    one_to_stdout,
    options,
    structure_argument,
)
from moireio.tools.progress import show_progress


@click.command("relax", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@structure_argument
@click.option(
    "--calculator",
    "-c",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="auto (LAMMPS' potentials of graphene, hBN, MoS2, MoSe2, WS2, WSe2 and their stacks), "
    "lammps:FILE.in (its pair_style and pair_coeff), chgnet, sevenn:NAME, deepmd:FILE, mace:FILE, "
    "nequip:FILE, or MODULE:FACTORY, a function that returns a calculator of ASE.",
)
@click.option(
    "--d3",
    type=click.Choice(["pbe", "none"]),
    help="Add DFT-D3 dispersion; chgnet and sevenn, which have none, need a choice.",
)
@click.option(
    "--python",
    type=click.Path(),
    metavar="ENV/bin/python",
    help="Python of another virtual environment, in which the calculator runs.",
)
@click.option(
    "--fmax",
    type=click.FloatRange(0, min_open=True),
    default=1e-4,
    show_default=True,
    help="Largest component of the force on any atom, eV/Å.",
)
@click.option(
    "--cell",
    type=click.Choice(["fixed", "free", "potential"]),
    default="fixed",
    show_default=True,
    help="free: the cell relaxes too, along its periodic vectors; potential: it is scaled to the "
    "calculator's own lattice constant first, then fixed.",
)
@click.option(
    "--symmetry",
    type=click.Choice(["check", "keep", "off"]),
    default="check",
    show_default=True,
    help="check: compare the groups before and after at 1e-3 Å; keep: average forces over the "
    "group.",
)
@click.option(
    "--steps",
    type=click.IntRange(0),
    help="Most steps; the result is written then, converged or not.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with an interrupted run, from OUTPUT.part.npz beside the output.",
)
@options("pbc", "output", "in_place", "force", "container", "compression", "memory", "json")
@click.option(
    "--plot",
    type=OutputFile(),
    help="Draw distances, displacements, local twist and strain, and domains, of the lowest two "
    "layers that make a moiré pattern: FILE.png, .pdf or .svg.",
)
@click.pass_context
def main(ctx, source, output, in_place, plot, as_json, **settings):
    """Relax the positions of a structure, and its cell if asked, before its electrons.

    SOURCE is a block file with a structure (from build-twist, for example) or a structure file:
    POSCAR, cif, xyz, LAMMPS data, OpenMX's input, xsf and others. The relaxed structure goes to -o
    OUT, into SOURCE itself (--in-place), or to standard output, with a record in /relax; by its
    suffix OUT can also be a POSCAR, .cif, .xyz, .lmp, .dat, .xsf or .gen. Layers, basis and /moire
    are kept; operators and results of the former positions are left out. It ends when forces are
    below --fmax; if they cannot be made so small, the file is written and the exit code is 1.
    """
    from moireio.errors import MoireioError
    from moireio.formats.structures import files as structure_files
    from moireio.relax.calculators import open_calculator
    from moireio.system.layers import with_layers

    destination(output, in_place)
    output = "-" if output is None and not in_place else output
    form = "block" if in_place or settings["container"] else structure_files.kind(output)
    one_to_stdout({"output": output, "plot": plot, "as_json": as_json}, "output", "plot")
    if as_json and output == "-":
        raise click.UsageError("--json prints on standard output: give -o FILE.")
    _check_files(ctx, source, output, in_place, plot, form, settings)
    with contextlib.ExitStack() as stack:
        file, structure, basis, inputs = structure_source(stack, source, in_place, settings["pbc"])
        structure, notes = settled_periodicity(file, structure, None, settings["pbc"])
        structure = with_layers(structure)
        if plot and (structure.layer is None or structure.layer.max(initial=0) < 1):
            raise MoireioError(
                "there are no two layers to draw", path=source, remedy="leave out `plot`"
            )
        moire = None if file is None else file.moire
        for note in notes:
            say(ctx, note)

        def open_field(of_what):
            return open_calculator(
                settings["calculator"],
                of_what,
                d3=settings["d3"],
                python=settings["python"],
                memory=settings["memory"],
            )

        if settings["cell"] == "potential":
            structure, moire = _at_lattice_constant(ctx, structure, moire, open_field)
        field = stack.enter_context(open_field(structure))
        journal = _journal(structure, field, source, output, in_place, settings)
        found = _relax(ctx, structure, field, journal, settings)
        record, analysis = _record(found, field, moire, settings)
        if plot:
            _draw(found, analysis, plot)
        _write(
            ctx, stack, file, found, moire, basis, record, inputs, output, in_place, form, settings
        )
    if journal is not None and found.converged:
        journal.remove()
    if as_json:
        click.echo(json.dumps(record.as_json()))
    _report(ctx, record, found)
    if not found.converged and settings["steps"] is None:
        fail(
            f"{output or source}: not converged: forces are {found.fmax:.1e} eV/Å after "
            f"{found.steps} steps, more than --fmax {settings['fmax']:g} (written as it is)"
        )


def _check_files(ctx, source, output, in_place, plot, form, settings):
    """Refuse outputs before any work is done."""
    from moireio.blockfile.stream import check_container, check_outputs, check_stdout
    from moireio.runtime.files import is_stream

    if plot:
        from moireio.plots.bands import check_format

        check_format(plot)
    check_outputs([output, plot], [source], settings["force"])
    if form in (None, "block"):
        check_container(output, settings["container"])
    if output == "-":
        check_stdout()
    if settings["resume"] and (is_stream(output) if output else source == "-"):
        raise click.UsageError("--resume needs -o FILE.")


def _at_lattice_constant(ctx, structure, moire, open_field):
    """Return structure and record with the calculator's own lattice constant."""
    import numpy as np

    from moireio.errors import MoireioError
    from moireio.relax.lattice import layer_scales, scaled

    if moire is None:
        raise MoireioError(
            "`cell` potential needs the record of a moiré cell", remedy="`cell` free needs none"
        )
    scales = layer_scales(moire, open_field)
    scale = float(np.exp(np.mean([np.log(scales[entry.name]) for entry in moire.layers])))
    each = ", ".join(f"{name} {100 * (s - 1):+.3f} %" for name, s in scales.items())
    say(ctx, f"cell scaled by {100 * (scale - 1):+.3f} % (lattice constants: {each})")
    return scaled(structure, moire, scale)


def _journal(structure, field, source, output, in_place, settings):
    """Return where steps are kept; None for an output that is a stream."""
    from moireio.relax.journal import SUFFIX, Journal
    from moireio.runtime.files import is_stream

    target = source if in_place else output
    if is_stream(target):
        return None
    identity = {name: settings[name] for name in ("cell", "symmetry")}
    return Journal(target.rstrip("/") + SUFFIX, structure, field.identity | identity)


def _relax(ctx, structure, field, journal, settings):
    from moireio.relax.run import relax

    with show_progress(ctx, "relax") as update:
        return relax(
            structure,
            field,
            fmax=settings["fmax"],
            free_cell=settings["cell"] == "free",
            keep_symmetry=settings["symmetry"] == "keep",
            steps=settings["steps"],
            journal=journal,
            resume=settings["resume"],
            progress=update,
        )


def _record(found, field, moire, settings):
    """Return the record of a run, and its analysis (None of anything but a stack)."""
    from moireio.relax.record import make_record

    return make_record(
        found,
        field,
        moire,
        fmax_asked=settings["fmax"],
        cell=settings["cell"],
        symmetry=settings["symmetry"],
    )


def _draw(found, analysis, plot):
    from moireio.plots.relaxation import draw_relaxation
    from moireio.relax.analysis import lying

    start, end = lying(found.start), lying(found.structure, found.start)
    draw_relaxation(start, end, analysis, plot)


def _write(ctx, stack, file, found, moire, basis, record, inputs, output, in_place, form, settings):
    from moireio.blockfile.stream import computed_results, write_target
    from moireio.formats.structures import files as structure_files
    from moireio.relax.lattice import deformed_moire
    from moireio.results.electrons import Electrons
    from moireio.system.basis import Basis

    if form not in (None, "block"):
        comment = "moireio relax " + " ".join(arguments())
        structure_files.write(output, found.structure, basis or Basis(), comment, False)
        return
    if moire is not None and settings["cell"] == "free":
        moire = deformed_moire(moire, found.start.cell, found.structure.cell)
    stale = [] if file is None else [*file.operators, *computed_results(file)]
    if stale:
        names = ", ".join(f"/{name}" for name in stale)
        say(ctx, f"note: left out, of the former positions, with the R of their pairs: {names}")
    electrons = file.electrons if file is not None and "electrons" in file else None
    drop = ["structure", "moire", "electrons", "relax", *stale]
    writer = stack.enter_context(
        write_target(
            output,
            base=file,
            in_place=in_place,
            force=settings["force"],
            container=settings["container"],
            compression=settings["compression"],
            drop=drop,
        )
    )
    writer.structure(found.structure)
    if file is None:
        writer.basis(basis or Basis())
    if moire is not None:
        writer.moire(moire)
    if electrons is not None:
        writer.electrons(Electrons(count=electrons.count, temperature=electrons.temperature))
    writer.result("relax", record)
    writer.history("relax", arguments(), inputs)


def _report(ctx, record, found):
    """Print what became of the structure."""
    from moireio.relax.groups import loses_symmetry

    gain = record.energy_before - record.energy_after
    say(
        ctx,
        f"{record.calculator}: {record.energy_before:.6f} → {record.energy_after:.6f} eV "
        f"({gain:.6f} lower), largest force {record.fmax:.1e} eV/Å, {record.evaluations} "
        "evaluations",
    )
    for pair in record.pairs:
        which = "{} and {}".format(*pair.layers) if len(record.inplane) > 2 else ""
        if pair.distances:
            named = ", ".join(f"{name} {d:.4f}" for name, d in pair.distances.items())
            say(ctx, f"distance of {f'layers {which}' if which else 'the layers'}, Å: {named}")
        if pair.local_twist:
            named = ", ".join(f"{name} {d:.3f}" for name, d in pair.local_twist.items())
            say(ctx, f"local twist{f' of layers {which}' if which else ''}, degrees: {named}")
    if len(record.inplane):
        moved = ", ".join(f"{d:.4f}" for d in record.inplane)
        say(ctx, f"largest displacement in the plane, a layer, Å: {moved}")
    if record.symmetry != "off":
        text = f"group {record.group_before} before, {record.group_after} after"
        lost = record.group_before != record.group_after and loses_symmetry(
            found.start, found.structure
        )
        say(ctx, f"warning: {text}: keep it with `symmetry` keep" if lost else text)
