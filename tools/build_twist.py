"""``build-twist``: stacks of twisted and strained layers on a common cell."""

import json
import re

import click

from moireio.tools.common import Command, arguments, say
from moireio.tools.layer_options import layer_options, read_stack
from moireio.tools.options import Suggested, layer_names, one_to_stdout, options
from moireio.tools.progress import show_progress

LARGEST_ANGLE = 720.0  # degrees
LARGEST_STRAIN = 0.5
TABLE_HEADER = (
    "  no      angle°    atoms   cost   strain of layer {0} xx yy xy %  of layer {1} xx yy xy %   "
    "rows in the lattice of layer {0} | of layer {1}"
)


@click.command("build-twist", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "sources",
    metavar="LAYER [LAYER ...]",
    nargs=-1,
    required=True,
    type=Suggested(layer_names),
)
@layer_options
@click.option(
    "--angle",
    metavar="DEGREES",
    help="Twist angle in degrees, counter-clockwise seen from above, or a range such as 0:30; the "
    "best cell near it is built.",
)
@click.option(
    "--angle-tolerance",
    type=click.FloatRange(0, min_open=True),
    default=0.1,
    show_default=True,
    help="Largest difference from --angle, degrees.",
)
@click.option(
    "--list", "as_list", is_flag=True, help="Print the cells, best first, and build nothing."
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Number of cells that --list prints.",
)
@click.option(
    "--pick", type=click.IntRange(1), default=1, help="Build the cell of this number in --list."
)
@click.option(
    "--strain",
    nargs=2,
    multiple=True,
    metavar="LAYER VALUE",
    help="Strain of a layer (1 is the lowest) or of 'all': a number (0.006 is 0.6 %, along "
    "--direction), or a tensor XX,XY,YY. The common cell nearest to it is built.",
)
@click.option(
    "--direction",
    type=float,
    default=0.0,
    show_default=True,
    help="Direction of --strain, degrees counter-clockwise from x.",
)
@click.option(
    "--poisson",
    type=float,
    default=0.16,
    show_default=True,
    help="Poisson's ratio: contraction across --direction over the elongation.",
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
    help="Amplitude D1, Å, of a distance d + 2 D1 Σ cos(G·r) between layers, half on either side.",
)
@click.option(
    "--repeat",
    nargs=2,
    type=click.IntRange(1),
    default=(1, 1),
    metavar="NX NY",
    help="Moiré cells along the first and the second vector.",
)
@click.option(
    "--ribbon",
    type=click.IntRange(1),
    metavar="N",
    help="Cut a ribbon with open edges, N moiré cells wide.",
)
@click.option(
    "--open",
    "open_axis",
    type=click.IntRange(1, 2),
    default=1,
    show_default=True,
    help="Lattice vector along which the ribbon is open.",
)
@options("output", "force", "container", "soc", "plot", "json")
@click.pass_context
def main(ctx, sources, output, force, container, soc, plot, as_json, **settings):
    """Build a stack of layers on a common cell: twisted, strained, shifted, corrugated, cut.

    A LAYER is a name (graphene, hBN, MoTe2, phosphorene …) or a structure file; one LAYER stands
    for two like layers. The cell is given by --index, or searched near --angle. A block file goes
    to -o OUT or standard output. By its suffix OUT can also be a POSCAR, .cif, .xyz, .lmp (LAMMPS),
    .dat (OpenMX), .xsf or .gen. The lowest layer keeps its axes; the rotation axis is the origin.
    """
    from moireio.blockfile.stream import check_container, check_outputs, write_target
    from moireio.formats.structures import files as structure_files

    if plot:
        from moireio.plots.bands import check_format

        check_format(plot)
    if as_json and not settings["as_list"] and output in (None, "-") and not plot:
        raise click.UsageError("--json prints on standard output: give -o FILE.")
    one_to_stdout({"output": output, "plot": plot}, "output", "plot")
    target = "-" if output is None else output
    stack = read_stack(sources, settings)
    form = "block" if container else structure_files.kind(target)
    if soc and form != "openmx":
        raise click.UsageError("--soc is for OpenMX inputs: -o FILE.dat.")
    if not settings["as_list"]:
        check_outputs([target, plot], sources, force)
        if form in (None, "block"):
            check_container(target, container)
    candidates = _candidates(ctx, stack, settings)
    if settings["as_list"]:
        shown = candidates[: settings["limit"]]
        click.echo(_as_json(shown) if as_json else _table(stack, shown, len(candidates)))
        return
    if len(candidates) < settings["pick"]:
        raise click.UsageError(
            f"--pick {settings['pick']}: there are only {len(candidates)} cells."
        )
    candidate = candidates[settings["pick"] - 1]
    structure, moire = _build(stack, candidate, settings)
    basis = _basis(structure, settings["basis"])
    _say_index(ctx, stack, settings, candidate.cell)
    say(ctx, _report(structure, moire))
    if as_json:
        click.echo(json.dumps(_built(structure, moire, output)))
    if plot:
        from moireio.plots.bands import save
        from moireio.plots.structure import plot_structure

        save(plot_structure(structure, moire), plot)
        if output is None:
            return
    if form != "block":
        comment = "moireio build-twist " + " ".join(arguments())
        structure_files.write(target, structure, basis, comment, soc)
        return
    with write_target(target, force=force, container=container) as writer:
        writer.structure(structure)
        writer.moire(moire)
        writer.basis(basis)
        writer.history("build-twist", arguments())


def _candidates(ctx, stack, settings):
    """Return the cells that fit the options, best first."""
    from dataclasses import replace

    from moireio.moire import search

    strain = _wanted_strain(stack, settings)
    if settings["index"]:
        if settings["angle"] or strain:
            raise click.UsageError("--index fixes the cell: no --angle, no --strain of one layer.")
        return [_indexed(stack, settings)]
    if settings["angle"] is None:
        raise click.UsageError("give --index M N or --angle DEGREES.")
    limits = replace(
        stack.limits,
        angles=_angles(settings["angle"], settings["angle_tolerance"]),
        n_best=settings["limit"] if settings["as_list"] else settings["pick"],
    )
    if strain is not None:
        return _heterostrained(ctx, stack, limits, *strain, settings)
    with show_progress(ctx, "searching cells") as progress:
        candidates = search.candidates(stack.layers, limits, stack.pattern, progress)
    if not candidates:
        raise search.no_cell(limits)
    if limits.max_strain is None and candidates[0].strain and stack.fits_exactly:
        say(ctx, f"note: no unstrained cell with at most {limits.max_atoms} atoms")
    return candidates


def _heterostrained(ctx, stack, limits, group, tensor, settings):
    """Return the cells with a strain of one layer; with --list also the nearest beyond."""
    from moireio.moire import search

    def within(tolerance, progress=None):
        return search.heterostrained(
            stack.layers, limits, group, tensor, tolerance, stack.pattern, progress
        )

    tolerance = settings["strain_tolerance"]
    with show_progress(ctx, "searching cells") as progress:
        candidates = within(tolerance, progress)
    if candidates:
        return candidates
    while not candidates and tolerance < search.WIDEST_TOLERANCE:
        tolerance *= 5
        candidates = sorted(within(tolerance), key=lambda c: c.excess)
    if not candidates or not settings["as_list"]:
        raise search.no_cell(limits, True, candidates[0] if candidates else None)
    tolerance = settings["strain_tolerance"]
    say(ctx, f"note: none within --strain-tolerance {tolerance:g}; the nearest follow")
    return candidates


def _indexed(stack, settings):
    from moireio.moire import cells, search

    first, second = stack.heads
    m, n = settings["index"]
    cell = cells.from_index(first.lattice, second.lattice, m, n)
    return search.fixed(stack.layers, cell, stack.limits, stack.pattern)


def _say_index(ctx, stack, settings, cell):
    """Print what may surprise in the cell of ``--index``."""
    from moireio.moire import cells

    if not settings["index"]:
        return
    first, second = stack.heads
    m, n = settings["index"]
    if m > n:
        say(
            ctx,
            f"note: --index {m} {n} turns clockwise ({cell.angle:.4f}°); --index {n} {m} is "
            f"the cell of --angle {-cell.angle:.4f}",
        )
    n_cells = cells.coincidence_cells(first.bravais_class, m, n)
    if n_cells > 1 and first.same_lattice(second):
        say(ctx, f"note: a cell with 1/{n_cells} of the atoms has this twist (see --angle --list)")


def _angles(text, tolerance):
    """Return the range of angles of ``--angle``."""
    try:
        parts = [float(v) for v in text.split(":")]
    except ValueError:
        parts = []
    if len(parts) == 1 and abs(parts[0]) <= LARGEST_ANGLE:
        tolerance = min(tolerance, LARGEST_ANGLE)
        return parts[0] - tolerance, parts[0] + tolerance
    if len(parts) != 2 or not -LARGEST_ANGLE <= parts[0] < parts[1] <= LARGEST_ANGLE:
        raise click.UsageError(f"--angle {text}: expected degrees, or a range such as 0:30.")
    return tuple(parts)


def _tensor(text, settings):
    import numpy as np

    from moireio.moire.plane import uniaxial

    try:
        parts = [float(v) for v in text.split(",")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 3):
        raise click.UsageError(f"--strain {text}: expected a number or XX,XY,YY.")
    if len(parts) == 1:
        tensor = uniaxial(parts[0], settings["direction"], settings["poisson"])
    else:
        xx, xy, yy = parts
        tensor = np.array([[xx, xy], [xy, yy]])
    if not np.abs(tensor).max() < LARGEST_STRAIN:
        raise click.UsageError(f"--strain {text}: a layer takes less than {LARGEST_STRAIN:g}.")
    return tensor


def _wanted_strain(stack, settings):
    """Return the group and the strain tensor of the layer in ``--strain``, or None."""
    single = [(layer, value) for layer, value in settings["strain"] if layer != "all"]
    if not single:
        return None
    if len(single) > 1:
        raise click.UsageError("--strain takes one layer, besides 'all'.")
    layer, value = single[0]
    if not re.fullmatch(r"\d+", layer) or not 1 <= int(layer) <= len(stack.layers):
        raise click.UsageError(f"--strain {layer}: there are {len(stack.layers)} layers, or 'all'.")
    return stack.pattern[int(layer) - 1], _tensor(value, settings)


def _build(stack, candidate, settings):
    """Return the structure of a cell, repeated or cut, and its record."""
    from dataclasses import replace

    from moireio.moire import build, supercells

    stacking = replace(stack.stacking, corrugation=settings["corrugate"])
    strains = [_tensor(value, settings) for layer, value in settings["strain"] if layer == "all"]
    structure, moire = build.build(
        stack.layers,
        candidate.cell,
        candidate.strain_on,
        stacking,
        sum(strains) if strains else None,
    )
    if settings["ribbon"]:
        if settings["repeat"] != (1, 1):
            raise click.UsageError("--ribbon sets the number of cells: no --repeat.")
        return supercells.ribbon(
            structure, moire, settings["ribbon"], settings["open_axis"], settings["vacuum"]
        )
    if settings["repeat"] != (1, 1):
        return supercells.repeat(structure, moire, settings["repeat"])
    return structure, moire


def _basis(structure, names):
    """Return the bases of ``--basis``; an empty one without the option."""
    from moireio.formats.openmx.dat_write import default_basis
    from moireio.system.basis import Basis

    if not names:
        return Basis()
    return default_basis(structure, names)


def _report(structure, moire):
    """Return one line on what was built: layers, angle, atoms, cells, strain."""
    layers = moire.layers
    text = f"{'/'.join(layer.name for layer in layers)}: {_angle(moire):.4f}°, "
    text += f"{len(structure)} atoms"
    if moire.open_axis:
        text += f" (a ribbon, {moire.repeat[moire.open_axis - 1]} cells wide, open along vector "
        text += f"{moire.open_axis})"
    elif tuple(moire.repeat) != (1, 1):
        text += f" in {moire.repeat[0]} × {moire.repeat[1]} cells"
    strains = [_percent(layer.strain) for layer in layers]
    if len(set(strains)) == 1:
        named = [f"all layers strained by {strains[0]}"]
    else:
        named = [f"layer {number} strained by {strain}" for number, strain in enumerate(strains, 1)]
    zero = _percent(0 * layers[0].strain)
    named = [words for words in named if not words.endswith(zero)]
    return ", ".join([text, *(named or ["no strain"])])


def _percent(strain):
    xx, yy, xy = (round(100 * strain[i, j], 4) + 0.0 for i, j in ((0, 0), (1, 1), (0, 1)))
    return f"xx {xx:.4f} yy {yy:.4f} xy {xy:.4f} %"


def _angle(moire):
    """Return the angle of the first twisted layer against the lowest one, degrees."""
    angles = [layer.angle - moire.layers[0].angle for layer in moire.layers]
    return next((angle for angle in angles if abs(angle) > 1e-9), 0.0)


def _built(structure, moire, output):
    """Return atoms, cell and layers of a built structure, for ``--json``."""
    return {
        "output": output,
        "atoms": len(structure),
        "angle": _angle(moire),
        "cell": structure.cell.tolist(),
        "pbc": structure.pbc.tolist(),
        "repeat": [int(n) for n in moire.repeat],
        "open": moire.open_axis or None,
        "layers": [
            {
                "layer": number,
                "name": layer.name,
                "atoms": int((structure.layer == number - 1).sum()),
                "angle": layer.angle,
                "matrix": [[int(v) for v in row] for row in layer.matrix],
                "strain": layer.strain.tolist(),
            }
            for number, layer in enumerate(moire.layers, 1)
        ],
    }


def _table(stack, candidates, n_found):
    lines = [TABLE_HEADER.format(1, stack.pattern.index(1) + 1)]
    for number, candidate in enumerate(candidates, 1):
        strains = "   ".join(
            f"{100 * s[0, 0]:7.4f} {100 * s[1, 1]:7.4f} {100 * s[0, 1]:7.4f}"
            for s in candidate.strains
        )
        rows = " | ".join(
            " ".join(f"({a} {b})" for a, b in matrix) for matrix in candidate.cell.matrices.tolist()
        )
        text = f"{number:4d} {candidate.cell.angle:11.6f} {candidate.atoms:8d}"
        lines.append(f"{text} {candidate.cost:6.2f}   {strains}   {rows}")
    if n_found > len(candidates):
        lines.append(f"({n_found - len(candidates)} more, and larger ones: see --limit)")
    return "\n".join(lines)


def _as_json(candidates):
    rows = [
        {
            "angle": candidate.cell.angle,
            "atoms": candidate.atoms,
            "cost": round(candidate.cost, 6),
            "matrices": candidate.cell.matrices.tolist(),
            "strains": [s.tolist() for s in candidate.strains],
        }
        for candidate in candidates
    ]
    return json.dumps(rows)
