"""``build-twist``: stacks of twisted and strained layers."""

import json
import re

import click

from moireio.tools.common import Command, arguments, say
from moireio.tools.layer_options import layer_options, read_stack
from moireio.tools.options import options
from moireio.tools.progress import progress


@click.command("build-twist", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sources", metavar="LAYER [LAYER ...]", nargs=-1, required=True)
@layer_options
@click.option(
    "--angle",
    metavar="DEGREES",
    help="Twist, counter-clockwise seen from above, or a window as 0:30; the best cell is taken.",
)
@click.option(
    "--angle-tolerance",
    type=click.FloatRange(0, min_open=True),
    default=0.1,
    show_default=True,
    help="Degrees on both sides of --angle.",
)
@click.option(
    "--list", "as_list", is_flag=True, help="Print the cells, best first, and build nothing."
)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Of --list.")
@click.option("--pick", type=click.IntRange(1), default=1, help="Build this one of the --list.")
@click.option(
    "--strain",
    nargs=2,
    multiple=True,
    metavar="LAYER VALUE",
    help="Strain wanted for a layer (1 is the lowest) or for 'all': a number (0.006 is 0.6 %, "
    "along --direction), or a tensor XX,XY,YY. The nearest common cell is taken.",
)
@click.option(
    "--direction", type=float, default=0.0, show_default=True, help="Of --strain, degrees from x."
)
@click.option(
    "--poisson",
    type=float,
    default=0.16,
    show_default=True,
    help="Ratio by which a strained layer narrows.",
)
@click.option(
    "--strain-tolerance",
    type=click.FloatRange(0, min_open=True),
    default=1e-3,
    show_default=True,
    help="Largest difference of a layer's strain from --strain.",
)
@click.option(
    "--corrugate",
    type=float,
    metavar="D1",
    default=0.0,
    help="Distance d + 2 D1 Σ cos(G·r) between layers, Å, half on either side.",
)
@click.option(
    "--repeat",
    nargs=2,
    type=click.IntRange(1),
    default=(1, 1),
    metavar="NX NY",
    help="Moiré cells along both vectors.",
)
@click.option(
    "--ribbon", type=click.IntRange(1), metavar="N", help="A ribbon N cells wide, with open edges."
)
@click.option(
    "--axis",
    type=click.IntRange(1, 2),
    default=1,
    show_default=True,
    help="Lattice vector along which the ribbon is open.",
)
@options("output", "force", "container", "plot", "json")
@click.pass_context
def main(ctx, sources, output, force, container, plot, as_json, **settings):
    """Build a stack of layers on a common cell: twisted, strained, shifted, corrugated, cut.

    A LAYER is a name (graphene, hBN, MoTe2, phosphorene …; one name is two like layers) or a
    structure file. The cell comes from --index, or is searched near --angle. A block file goes to
    -o OUT or standard output; by suffix also POSCAR, .cif, .xyz, .lmp (LAMMPS), .dat (OpenMX) and
    what else ASE writes. The lowest layer keeps its axes; the rotation axis is the origin.
    """
    from moireio.blockfile.stream import check_container, check_outputs, write_target
    from moireio.formats import structures
    from moireio.moire import search

    if plot:
        from moireio.plots.bands import check_format

        check_format(plot)
    target = "-" if output is None else output
    stack = read_stack(sources, settings)
    form = "block" if container else structures.kind(target)
    if not settings["as_list"]:
        check_outputs([target, plot], sources, force)
        if form in (None, "block"):
            check_container(target, container)
    found = _candidates(ctx, stack, settings)
    if settings["as_list"]:
        click.echo(_as_json(found, settings) if as_json else _table(found, settings))
        return
    if len(found) < settings["pick"]:
        raise click.UsageError(f"--pick {settings['pick']}: there are only {len(found)} cells.")
    chosen = found[settings["pick"] - 1]
    structure, moire = _build(stack, chosen, settings)
    basis = _basis(structure, settings["basis"])
    say(ctx, f"{'/'.join(a.name for a in stack.layers)}: {search.describe(chosen)}")
    if plot:
        from moireio.plots.bands import save
        from moireio.plots.structure import plot_structure

        save(plot_structure(structure, moire), plot)
        if output is None:
            return
    if form != "block":
        comment = "moireio build-twist " + " ".join(arguments())
        structures.write(target, structure, basis, comment)
        return
    with write_target(target, force=force, container=container) as writer:
        writer.structure(structure)
        writer.moire(moire)
        writer.basis(basis)
        writer.history("build-twist", arguments())


def _candidates(ctx, stack, settings):
    """Return the cells that fit the options, the best first."""
    from dataclasses import replace

    from moireio.moire import search

    strain = _wanted_strain(stack, settings)
    if settings["index"]:
        if settings["angle"] or strain:
            raise click.UsageError("--index fixes the cell: no --angle, no --strain of one layer.")
        return [_indexed(ctx, stack, settings)]
    if settings["angle"] is None:
        raise click.UsageError("give --index M N or --angle DEGREES.")
    low, high = _window(settings["angle"], settings["angle_tolerance"])
    enough = settings["limit"] if settings["as_list"] else settings["pick"]
    limits = replace(stack.limits, window=(low, high), enough=enough)
    with progress(ctx, high - low, "searching cells") as update:
        if strain is None:
            found = search.candidates(stack.layers, limits, stack.pattern, update)
            if not found:
                raise search.nothing(limits)
            if limits.max_strain is None and found[0].strain and stack.fits_exactly:
                say(ctx, f"note: no unstrained cell with at most {limits.max_atoms} atoms")
            return found
        group, tensor = strain
        tolerance = settings["strain_tolerance"]
        found = search.heterostrained(
            stack.layers, limits, group, tensor, tolerance, stack.pattern, update
        )
    wide = tolerance
    while not found and wide < search.WIDEST:
        wide *= 5
        found = search.heterostrained(stack.layers, limits, group, tensor, wide, stack.pattern)
        found.sort(key=lambda c: c.excess)
    if wide == tolerance and found:
        return found
    if not found or not settings["as_list"]:
        raise search.nothing(limits, True, found[0] if found else None)
    say(ctx, f"note: none within --strain-tolerance {tolerance:g}; the nearest follow")
    return found


def _indexed(ctx, stack, settings):
    from moireio.moire import cells, search

    first, second = stack.heads
    m, n = settings["index"]
    cell = cells.from_index(first.lattice, second.lattice, m, n)
    times = cells.smaller_index(first.kind, m, n)
    if times > 1 and first.resembles(second):
        say(ctx, f"note: a cell with 1/{times} of the atoms has this twist (see --angle --list)")
    return search.given(stack.layers, cell, stack.limits, stack.pattern)


def _window(text, tolerance):
    try:
        parts = [float(v) for v in text.split(":")]
    except ValueError:
        parts = []
    if len(parts) == 1:
        return parts[0] - tolerance, parts[0] + tolerance
    if len(parts) != 2 or not parts[0] < parts[1]:
        raise click.UsageError(f"--angle {text}: expected degrees, or a window as 0:30.")
    return tuple(parts)


def _tensor(text, settings):
    import numpy as np

    from moireio.moire.plane import uniaxial

    try:
        parts = [float(v) for v in text.split(",")]
    except ValueError:
        parts = []
    if len(parts) == 1:
        return uniaxial(parts[0], settings["direction"], settings["poisson"])
    if len(parts) != 3:
        raise click.UsageError(f"--strain {text}: expected a number or XX,XY,YY.")
    xx, xy, yy = parts
    return np.array([[xx, xy], [xy, yy]])


def _wanted_strain(stack, settings):
    """Return (group, tensor) of the layer that shall be strained, or None."""
    single = [(a, b) for a, b in settings["strain"] if a != "all"]
    if not single:
        return None
    if len(single) > 1:
        raise click.UsageError("--strain takes one layer, besides 'all'.")
    name, value = single[0]
    if not re.fullmatch(r"\d+", name) or not 1 <= int(name) <= len(stack.layers):
        raise click.UsageError(f"--strain {name}: there are {len(stack.layers)} layers, or 'all'.")
    return stack.pattern[int(name) - 1], _tensor(value, settings)


def _build(stack, chosen, settings):
    from dataclasses import replace

    from moireio.moire import build

    stacking = replace(stack.stacking, corrugation=settings["corrugate"])
    whole = [_tensor(b, settings) for a, b in settings["strain"] if a == "all"]
    structure, moire = build.build(
        stack.layers, chosen.cell, chosen.place, stacking, sum(whole) if whole else None
    )
    if settings["ribbon"]:
        width, axis = settings["ribbon"], settings["axis"]
        return build.ribbon(structure, moire, width, axis, settings["vacuum"])
    if settings["repeat"] != (1, 1):
        return build.repeat(structure, moire, settings["repeat"])
    return structure, moire


def _basis(structure, names):
    """Return the bases that were named."""
    from moireio.formats.openmx.dat_write import default_basis
    from moireio.system.basis import Basis

    if not names:
        return Basis()
    return default_basis(structure, names)


def _table(found, settings):
    from moireio.moire.search import MATRIX_FORM

    lines = [
        "  no      angle°    atoms   cost   lower strain xx yy xy %     upper strain xx yy xy %   "
        + MATRIX_FORM
    ]
    for number, one in enumerate(found[: settings["limit"]], 1):
        strains = "   ".join(
            f"{100 * s[0, 0]:7.4f} {100 * s[1, 1]:7.4f} {100 * s[0, 1]:7.4f}" for s in one.strains
        )
        rows = " | ".join(
            " ".join(f"({a} {b})" for a, b in matrix) for matrix in one.cell.matrices.tolist()
        )
        text = f"{number:4d} {one.cell.angle:11.6f} {one.atoms:8d} {one.cost:6.2f}"
        lines.append(f"{text}   {strains}   {rows}")
    if len(found) > settings["limit"]:
        lines.append(f"({len(found) - settings['limit']} more, and larger ones: see --limit)")
    return "\n".join(lines)


def _as_json(found, settings):
    rows = [
        {
            "angle": one.cell.angle,
            "atoms": one.atoms,
            "cost": round(one.cost, 6),
            "matrices": one.cell.matrices.tolist(),
            "strains": [s.tolist() for s in one.strains],
        }
        for one in found[: settings["limit"]]
    ]
    return json.dumps(rows)
