"""``dos``: density of states on a mesh, as a table, a picture, or in the block file."""

import click

from moireio.tools.common import Command, say
from moireio.tools.energies import (
    add_result,
    check_name,
    check_window,
    join_numbers,
    level,
    numbers,
    print_result,
)
from moireio.tools.options import destination, one_to_stdout, options, source_argument
from moireio.tools.progress import show_progress
from moireio.tools.solver_options import (
    anchors_option,
    check_anchors,
    checkpoint_path,
    solver_choice,
    solver_options,
    with_anchors,
)

SEVERAL = ("--mesh", "--shift")


class _Command(Command):
    """Takes one to three numbers after the options that have one for each axis."""

    def parse_args(self, ctx, args):
        """Join them to one word."""
        return super().parse_args(ctx, join_numbers(args, SEVERAL))


@click.command("dos", cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@source_argument
@click.option(
    "--mesh",
    metavar="N1 N2 [N3]",
    callback=numbers(int),
    help="k points along each periodic axis, or along all three.",
)
@click.option(
    "--spacing",
    type=float,
    default=0.1,
    show_default=True,
    help="Largest distance of k points, 1/Å with the 2π, where --mesh is not given.",
)
@click.option(
    "--shift",
    metavar="S1 S2 [S3]",
    callback=numbers(float),
    help="Move the mesh by these fractions of its steps.  [default: centred at Γ]",
)
@click.option(
    "--project",
    multiple=True,
    metavar="GROUPS",
    help="By element, atom, shell (s, p, …), orbital (px, …), layer or spin; element,shell and so "
    "on combine. Repeatable.",
)
@click.option(
    "--method",
    type=click.Choice(["auto", "gaussian", "tetrahedron"]),
    default="auto",
    show_default=True,
    help="Gaussians, or linear interpolation between k points (triangles in two dimensions). auto: "
    "interpolation, unless --width is given or an axis has one point.",
)
@click.option(
    "--width",
    type=float,
    help="Standard deviation of a level, eV.  [default: 0.05; kpm: 0.1]",
)
@anchors_option
@solver_options("dense", "kpm", "sparse", without=("verify_count", "drop", "precision"))
@click.option(
    "--moments",
    type=click.IntRange(2, 1_000_000),
    help="kpm: number of moments.  [default: as many as --width needs]",
)
@click.option(
    "--vectors",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="kpm: random vectors; the error falls with the root of their number.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="kpm: seed of the random vectors.",
)
@click.option(
    "--fermi",
    type=click.Choice(["auto", "moments", "counts", "levels", "none"]),
    default="auto",
    show_default=True,
    help="kpm: where the Fermi level comes from, from which --window counts. moments: where the "
    "integral of the density reaches the electrons, with its errors; counts: the same from an "
    "energy below which levels are counted (factors of H at every k); levels: those next to it "
    "(exact on the mesh, slow in a metal); none: not at all. auto: levels up to 6000 orbitals or "
    "with --zero vbm, else counts where there is S, moments where there is not.",
)
@click.option(
    "--no-symmetry", is_flag=True, help="Do not use the crystal's symmetry, only time reversal."
)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    help="Electronic temperature for the Fermi level, K.  [default: of the file, or 300]",
)
@click.option(
    "--window",
    nargs=2,
    type=float,
    help="Lowest and highest energy, eV from the zero; --solver sparse finds the levels inside "
    "only.  [default: from the lowest level to 8 eV above the zero; the plot: -6 6]",
)
@click.option(
    "--points",
    "-n",
    type=click.IntRange(3, 1_000_000),
    default=2001,
    show_default=True,
    help="Number of energies.",
)
@click.option(
    "--zero",
    help="Level that --window counts from and that is drawn as 0: fermi, vbm (valence band "
    "maximum), none, or an energy in eV.  [default: fermi, where it is known]",
)
@click.option("--stacked", is_flag=True, help="Draw projections on top of each other.")
@click.option("--vertical", is_flag=True, help="Draw the energy upwards, as band does.")
@click.option("--title", help="Title of the plot.")
@options("plot", "text", "json", "output", "in_place", "name", "container", "force")
@click.pass_context
def main(ctx, source, **opts):
    """Find the density of states of a block file, in states per eV and cell.

    SOURCE holds H and (unless its basis is orthogonal) S; one that holds only a density of states
    is drawn. The integral is the number of states in the cell, two in a band where there is no
    spin; projections are Mulliken's gross populations, and add up to the total. Without -o,
    --plot, --text or --json a table is printed.
    """
    from moireio.blockfile.stream import check_container, check_outputs, open_source
    from moireio.dos.report import dos_json, dos_table, fermi_line
    from moireio.plots.bands import check_format, save
    from moireio.plots.dos import plot_dos

    destination(opts["output"], opts["in_place"])
    named = [opts["output"], opts["in_place"] and source, opts["text"], opts["plot"]]
    checkpoint = checkpoint_path(opts, named)
    zero = _check(opts)
    if opts["plot"] is not None:
        check_format(opts["plot"])
    one_to_stdout(opts, "output", "text", "plot")
    outputs = [opts["plot"], opts["text"], opts["output"]]
    check_outputs(outputs, [source, opts["anchors"]], opts["force"])
    check_container(opts["output"], opts["container"])
    group = f"dos-{opts['name']}" if opts["name"] else "dos"
    with open_source(source) as file:
        stored = group in file and "hamiltonian" not in file
        dos = file.dos(group) if stored else _solve(ctx, file, opts, zero, checkpoint)
        for note in dos.notes:
            say(ctx, f"note: {note}")
        if dos.fermi is not None:
            say(ctx, fermi_line(dos))
        if opts["plot"]:
            figure = plot_dos(
                dos,
                zero=zero,
                energy_window=opts["window"] or None,
                title=opts["title"],
                stacked=opts["stacked"],
                vertical=opts["vertical"],
            )
            save(figure, opts["plot"])
        if not stored:
            add_result(ctx, opts, file, {group: dos})
    print_result(opts, lambda: dos_table(dos), lambda: dos_json(dos))


def _solve(ctx, file, opts, zero, checkpoint):
    """Compute the density of states with a progress bar."""
    from moireio.dos.solve import Chebyshev, EnergyGrid, density_of_states
    from moireio.errors import naming
    from moireio.kspace.mesh import make_mesh

    with naming(file.label):
        mesh = make_mesh(file.structure, opts["mesh"], opts["spacing"], opts["shift"])
    with show_progress(ctx, "dos") as update:
        return density_of_states(
            file,
            mesh,
            project=opts["project"],
            method=opts["method"],
            width=opts["width"],
            grid=EnergyGrid(opts["window"] or None, opts["points"], zero),
            solver=with_anchors(solver_choice(opts), opts["anchors"], file),
            chebyshev=Chebyshev(opts["moments"], opts["vectors"], opts["seed"]),
            fermi=opts["fermi"],
            temperature=opts["temperature"],
            use_symmetry=not opts["no_symmetry"],
            checkpoint=checkpoint,
            resume=opts["resume"],
            progress=update,
        )


def _check(opts):
    """Refuse numbers and names that make no sense, as wrong usage; return the zero."""
    check_window(opts["window"])
    check_anchors(opts, "sparse")
    check_name(opts["name"])
    for name in ("width", "spacing"):
        if opts[name] is not None and not opts[name] > 0:
            raise click.BadParameter(f"--{name} takes a number above 0")
    if opts["method"] == "tetrahedron" and opts["width"] is not None:
        raise click.UsageError("--width is for Gaussians and kernel polynomials, not tetrahedra.")
    for name in ("stacked", "vertical", "title"):
        if opts[name] and not opts["plot"]:
            raise click.UsageError(f"--{name} needs --plot.")
    return level(opts["zero"])
