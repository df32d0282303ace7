"""``edge-project``: edge states of ribbons and of half-infinite layers, counted in gaps."""

import click

from moireio.tools.common import Command, say
from moireio.tools.energies import add_result, check_name, check_window, print_result
from moireio.tools.options import destination, one_to_stdout, options, source_argument
from moireio.tools.progress import show_progress
from moireio.tools.solver_options import solver_choice, solver_options

MAP = 0.5  # eV on either side of the energies


@click.command(
    "edge-project", cls=Command, context_settings={"help_option_names": ["-h", "--help"]}
)
@source_argument
@click.option(
    "--cut",
    type=click.IntRange(1),
    metavar="WIDTH",
    help="Cut a ribbon of this many cells from a layer.  [default: SOURCE is a ribbon]",
)
@click.option(
    "--open",
    "open_",
    type=click.IntRange(1, 3),
    help="Lattice vector across the ribbon, along which it ends.  [default: 1; of a ribbon the "
    "one along which its atoms reach further]",
)
@click.option(
    "--semi-infinite",
    is_flag=True,
    help="Edges of half-infinite layers, by Green's functions, instead of a ribbon: for states "
    "that reach far into the layer, of cells with up to about a thousand orbitals.",
)
@click.option(
    "--energy",
    type=float,
    multiple=True,
    help="Energy (eV) in a gap, at which edge states are counted. Repeatable.  [default: the "
    "middle of the gap that the electrons leave]",
)
@click.option(
    "--points",
    "-n",
    type=click.IntRange(3, 100_000),
    default=101,
    show_default=True,
    help="k points along the ribbon; steps are halved where edge states change too much.",
)
@click.option(
    "--bands",
    type=click.IntRange(1),
    help="Bands around each energy.  [default: all up to 400 orbitals, else 40]",
)
@click.option(
    "--main-gap-chern",
    type=int,
    metavar="C",
    help="Chern number of all bands below the highest --energy; below the others it follows from "
    "the bands between.  [default: of /chern, or counted in cells of up to 300 orbitals]",
)
@solver_options("dense", "sparse", "slepc", without=("resume", "direct", "tolerance"))
@click.option(
    "--window",
    nargs=2,
    type=float,
    help="Lowest and highest energy of the plot, eV. Of ribbons with more than 400 orbitals the "
    "states inside are found, instead of --bands: a window inside the gap where a ribbon is so "
    "wide that its bands lie too close together.  [default: all; half-infinite layers: 0.5 eV "
    "around the energies]",
)
@click.option("--title", help="Title of the plot.")
@options("plot", "text", "json", "output", "in_place", "name", "container", "force")
@click.pass_context
def main(ctx, source, **opts):
    """Find the edge states of a ribbon, and count those that pass energies in gaps.

    SOURCE holds H and (unless its basis is orthogonal) S: of a ribbon, periodic along one vector,
    or of a layer from which --cut cuts one, or which ends (--semi-infinite); one that holds only
    edge states is drawn. The net number at an edge is that of right minus left movers along the
    periodic vector. With Chern number C of all bands below it is -C at the low edge and C at the
    high edge, where the periodic and the open vector are right-handed, else the opposite. Without
    -o, --plot, --text or --json the counts are printed.

    Where SOURCE has C3 eigenvalues and Chern numbers of all bands below an energy (from c3-chern
    and chern), they are compared with the edges; a disagreement is an error.
    """
    from moireio.blockfile.stream import check_container, check_outputs, open_source
    from moireio.errors import MoireioError
    from moireio.plots.bands import check_format, save
    from moireio.topology.report import edges_json, edges_table

    if opts["semi_infinite"] and opts["cut"]:
        raise click.UsageError("--semi-infinite and --cut exclude each other.")
    destination(opts["output"], opts["in_place"])
    check_name(opts["name"])
    check_window(opts["window"])
    choice = solver_choice(opts)
    if opts["plot"] is not None:
        check_format(opts["plot"])
    one_to_stdout(opts, "output", "text", "plot")
    check_outputs([opts["plot"], opts["text"], opts["output"]], [source], opts["force"])
    check_container(opts["output"], opts["container"])
    group = f"edges-{opts['name']}" if opts["name"] else "edges"
    with open_source(source) as file:
        stored = group in file and "hamiltonian" not in file
        compared = None
        if stored:
            edges = file.result(group)
        else:
            edges, compared = _solve(ctx, file, opts, choice)
        if opts["plot"]:
            from moireio.plots.edges import plot_edges

            window = opts["window"] or None
            save(plot_edges(edges, energy_window=window, title=opts["title"]), opts["plot"])
        if not stored:
            add_result(ctx, opts, file, {group: edges})
    print_result(
        opts,
        lambda: edges_table(edges, bool(opts["text"]), compared),
        lambda: edges_json(edges, compared),
    )
    if compared is not None and compared.holds is False:
        raise MoireioError(
            "the Chern numbers of C3 eigenvalues, plaquettes, Wannier centres and edges disagree",
            path=source,
            remedy="are the bands those below the energy, and is the ribbon wide enough?",
        )


def _solve(ctx, file, opts, choice):
    """Return the edge states, and how they compare with Chern numbers in the file."""
    from dataclasses import replace

    from moireio.results.edges import signed
    from moireio.topology.correspondence import (
        agreement,
        bands_below,
        beside_chern,
        cherns_below,
        edges_overlap,
        middle_of_gap,
        narrow_places,
    )
    from moireio.topology.edges import ALL_BANDS, CENTRES, follow_edges
    from moireio.topology.ribbon import cut_ribbon, handedness, own_ribbon
    from moireio.topology.surface import semi_infinite_edges

    axis = None if opts["open_"] is None else opts["open_"] - 1
    energies = list(opts["energy"])
    ribbon = counts = None
    if opts["cut"] is None and not opts["semi_infinite"]:
        ribbon = own_ribbon(file, axis)
        if not energies:
            raise click.UsageError("--energy is needed where SOURCE is a ribbon.")
    else:
        if opts["cut"] is not None:
            ribbon = cut_ribbon(file, opts["cut"], axis or 0)
        energies = energies or [middle_of_gap(file, choice)]
        counts = bands_below(file, energies, choice)
    with show_progress(ctx, "edge states") as update:
        if ribbon is None:
            window = opts["window"] or (min(energies) - MAP, max(energies) + MAP)
            edges = semi_infinite_edges(
                file,
                axis or 0,
                energies,
                points=opts["points"],
                energy_window=window if opts["plot"] else None,
                progress=update,
            )
        else:
            small = opts["bands"] or ribbon.n_orbitals <= ALL_BANDS
            window = None if small else opts["window"] or None
            places = ()
            if window and opts["cut"] is not None:
                places = narrow_places(file, energies, ribbon.periodic)
            edges = follow_edges(
                ribbon,
                energies,
                points=opts["points"],
                bands=opts["bands"],
                energy_window=window,
                centres=[*CENTRES, *places],
                solver=choice,
                progress=update,
                note=lambda line: say(ctx, f"note: {line}"),
            )
    sign = handedness(file.structure.cell, edges.periodic, edges.open)
    main = opts["main_gap_chern"]
    if counts is None:
        known = None if main is None else (main,)
        cherns = [known if energy == max(energies) else None for energy in energies]
    else:
        cherns = cherns_below(file, counts, main, choice)
    gaps = []
    for gap, chern in zip(edges.gaps, cherns, strict=True):
        of_spins = () if chern is None or len(chern) == 1 else chern
        gaps.append(beside_chern(gap, None if chern is None else sum(chern), sign, of_spins))
        if any(of_spins):
            up, down = map(signed, of_spins)
            say(ctx, f"note: below {gap.energy:z.6f} eV C is {up} of spin up, {down} of spin down")
    edges = replace(edges, gaps=tuple(gaps))
    compared = None if counts is None else agreement(file, edges, counts)
    narrow = {gap.energy for gap in gaps if gap.agree is False}
    narrow = {energy for energy in narrow if edges_overlap(file, edges, energy)}
    gaps = [replace(gap, agree=None) if gap.energy in narrow else gap for gap in gaps]
    if compared is not None and compared.too_narrow_at is not None:
        narrow.add(compared.too_narrow_at)
    wider = "give a larger `cut`" if opts["cut"] else "take a wider one"
    for energy in sorted(narrow):
        say(
            ctx,
            f"note: at {energy:z.6f} eV states of both edges repel each other: the ribbon "
            f"is too narrow to be compared with C ({wider})",
        )
    return replace(edges, gaps=tuple(gaps)), compared
