"""``flat-band``: width, gaps and place of flat bands."""

import os

import click

from moireio.tools.common import Command, say
from moireio.tools.energies import print_result
from moireio.tools.options import BlockFile, OutputFile, one_to_stdout, options
from moireio.tools.progress import show_progress
from moireio.tools.solver_options import (
    anchors_option,
    check_anchors,
    checkpoint_path,
    solver_choice,
    solver_options,
    with_anchors,
)


@click.command("flat-band", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", metavar="[SOURCE]...", nargs=-1, type=BlockFile())
@click.option(
    "--below",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="Number of filled bands.",
)
@click.option(
    "--above",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="Number of empty bands.",
)
@click.option(
    "--gap-energy",
    type=float,
    help="Energy (eV) between filled and empty bands.  [default: by the number of electrons]",
)
@click.option(
    "--path",
    "-p",
    help="Corners, as for band.  [default: bands that SOURCE keeps, or the usual path of the "
    "lattice]",
)
@click.option("--points", "-n", type=click.IntRange(2), help="k points on the path.  [default: 40]")
@anchors_option
@solver_options("dense", "sparse", "slepc")
@click.option(
    "--k",
    default="G",
    show_default=True,
    help="k point of --weights-plot and --density: one corner as K, or 'k1,k2,k3' fractional.",
)
@click.option(
    "--weights-plot",
    type=OutputFile(),
    help="Draw the weight of the bands on every atom, layer by layer: FILE.png, .pdf or .svg.",
)
@click.option(
    "--density",
    type=OutputFile(),
    help="Write |ψ|² of the bands in space (1/Å³): FILE.cube or .xsf; needs radial functions.",
)
@click.option(
    "--spacing",
    type=click.FloatRange(0, min_open=True),
    default=0.25,
    show_default=True,
    help="Largest distance of the grid points of --density, Å.",
)
@options("plot", "text", "json", "force")
@click.pass_context
def main(ctx, files, **opts):
    """Find how flat the bands next to charge neutrality are, and whether gaps isolate them.

    SOURCE holds H and (unless its basis is orthogonal) S, or bands that were kept by band -o.
    Several files make a series, such as one over twist angles: a line for each, and with --plot
    bands, widths and gaps against the angle. Collinear spin gives a line for each spin. Energies
    are meV, angles degrees.
    """
    from moireio.blockfile.stream import check_outputs
    from moireio.formats import grids as volumetric
    from moireio.plots import bands as plots
    from moireio.plots import flat as flat_plots

    files = files or ("-",)
    for name in ("plot", "weights_plot"):
        if opts[name]:
            plots.check_format(opts[name])
    if opts["density"]:
        volumetric.check(opts["density"])
    if len(files) > 1 and (opts["weights_plot"] or opts["density"]):
        raise click.UsageError("--weights-plot and --density look at one file.")
    if len(files) > 1 and opts["anchors"]:
        raise click.UsageError("--anchors is for one file.")
    check_anchors(opts)
    one_to_stdout(opts, "text", "plot", "weights_plot", "density")
    named = [opts[n] for n in ("plot", "weights_plot", "density", "text") if opts[n]]
    check_outputs(named, [*files, opts["anchors"]], opts["force"])
    solver = solver_choice(opts)
    checkpoint = checkpoint_path(opts, named, len(files) == 1)
    series = len(files) > 1
    rows = [row for name in files for row in _rows(ctx, name, opts, solver, checkpoint, series)]
    if all(row["angle"] is not None for row in rows):
        rows.sort(key=lambda row: -abs(row["angle"]))
    if opts["plot"]:
        drawn = [
            (row["name"], row["angle"], row["flat"])
            if row["spin"] is None
            else (f"{row['name']}, spin {row['spin']}", None, row["flat"])
            for row in rows
        ]
        plots.save(flat_plots.plot_flat(drawn), opts["plot"])
    to_stdout = "-" in (opts["plot"], opts["weights_plot"], opts["density"])
    print_result(opts | {"plot": to_stdout}, lambda: _table(rows), lambda: _json(rows))


def _rows(ctx, name, opts, solver, checkpoint, series):
    """Return the results of one file, of each spin; draw and write where its states live."""
    from moireio.bands.flat import flat_bands_of_spins
    from moireio.bands.paths import choose_path
    from moireio.blockfile.stream import open_source

    with open_source(name) as file:
        notes = {}  # each once, in their order
        path = None
        asked = opts["path"] or opts["points"] or opts["anchors"]
        if "hamiltonian" in file and (asked or "bands" not in file):
            path = choose_path(file, opts["path"], opts["points"] or 40, note=notes.setdefault)
        own = with_anchors(solver, opts["anchors"], file)
        with show_progress(ctx, "flat-band") as update:
            found = flat_bands_of_spins(
                file,
                path,
                opts["below"],
                opts["above"],
                opts["gap_energy"],
                solver=own,
                checkpoint=checkpoint,
                resume=opts["resume"],
                progress=update,
                note=notes.setdefault,
            )
        weights = None
        if opts["weights_plot"] or opts["density"]:
            weights = _states(ctx, file, found, solver, opts, notes.setdefault)
        for line in notes:
            say(ctx, f"note: {file.label}: {line}" if series else f"note: {line}")
        moire = file.moire
        angle = None
        if moire is not None and len(moire.layers) > 1:
            angle = moire.layers[1].angle - moire.layers[0].angle
        short = file.structure.formula if name == "-" else os.path.basename(name.rstrip("/"))
        atoms = len(file.structure)
    same = {"name": short, "angle": angle, "atoms": atoms, "weights": weights}
    spins = (None,) if len(found) == 1 else ("up", "down")
    return [same | {"spin": s, "flat": flat} for s, flat in zip(spins, found, strict=True)]


def _states(ctx, file, found, solver, opts, note):
    """Draw and write where the states at one k live; return their shares by layer."""
    from moireio.errors import MoireioError
    from moireio.formats import grids as volumetric
    from moireio.kspace.path import make_path
    from moireio.plots import bands as plots
    from moireio.plots import flat as flat_plots
    from moireio.projection.mulliken import atomic_populations
    from moireio.projection.realspace import density_on_grid
    from moireio.spectrum.states import solve_states

    if "hamiltonian" not in file:
        raise MoireioError("holds bands only", path=file.label, remedy="give the file with H")
    if len(found) == 2:
        raise MoireioError(
            "states of collinear spin are neither drawn nor written",
            path=file.label,
            remedy="leave out `weights_plot` and `density`",
        )
    (flat,) = found
    k = make_path(file.structure, opts["k"], 1, note=note).k[0]
    band_range = flat.first, flat.first + flat.count - 1
    states = solve_states(
        file,
        k,
        band_range=band_range,
        energy=float(flat.energies.mean()),
        solver=solver,
        note=note,
    )[0]
    extra = len(states.energies) - flat.count
    if extra:
        note(f"at {opts['k']} {extra} more states are degenerate with these bands, and included")
    populations = atomic_populations(file, k, states.coefficients)
    structure = file.structure
    if opts["weights_plot"]:
        title = f"{len(states.energies)} bands at {opts['k'].replace('G', 'Γ')}"
        figure = flat_plots.plot_weights(structure, populations.atoms.sum(axis=0), title)
        plots.save(figure, opts["weights_plot"])
    if opts["density"]:
        with show_progress(ctx, "density") as update:
            values = density_on_grid(
                structure,
                file.basis,
                k,
                states.coefficients,
                opts["spacing"],
                file.hamiltonian.meta.spin == "spinor",
                update,
            )
        comment = f"{len(states.energies)} states at k = {k[0]:g} {k[1]:g} {k[2]:g}, 1/Angstrom^3"
        volumetric.write(opts["density"], structure, values, comment)
    if structure.layer is None:
        return None
    return states.first_band, populations.by_layer(structure.layer)


def _numbers(row):
    flat = row["flat"]
    gaps = [None if g is None else 1e3 * g for g in (flat.gap_below, flat.gap_above)]
    return 1e3 * flat.width, *gaps, 1e3 * flat.widths


def _table(rows):
    """Return a line for every file."""
    flat = rows[0]["flat"]
    first = "first file" if rows[0]["spin"] is None else "first line"
    lines = [
        f"# bands {flat.first + 1} to {flat.first + flat.count} of the {first}; meV; a negative "
        "gap is an overlap",
        "# angle atoms width gap_below gap_above isolated widths_of_the_bands "
        + ("spin file" if any(row["spin"] for row in rows) else "file"),
    ]
    for row in rows:
        width, below, above, each = _numbers(row)
        angle = "-" if row["angle"] is None else f"{abs(row['angle']):.4f}"
        gaps = " ".join("-" if g is None else f"{g:z.3f}" for g in (below, above))
        widths = ",".join(f"{w:.3f}" for w in each)
        isolated = {True: "yes", False: "no", None: "?"}[row["flat"].isolated]
        numbers = f"{angle} {row['atoms']} {width:.3f} {gaps} {isolated} {widths}"
        lines.append(" ".join(filter(None, (numbers, row["spin"], row["name"]))))
        if row["weights"] is not None:
            first, weights = row["weights"]
            for number, shares in enumerate(weights, first + 1):
                text = " ".join(f"{s:.4f}" for s in shares)
                lines.append(f"# state {number}: weight in the layers {text}")
    return "\n".join(lines) + "\n"


def _json(rows):
    import json

    objects = []
    for row in rows:
        width, below, above, each = _numbers(row)
        flat = row["flat"]
        objects.append(
            {
                "file": row["name"],
                "spin": row["spin"],
                "angle": row["angle"],
                "atoms": row["atoms"],
                "first_band": flat.first,
                "bands": flat.count,
                "width_meV": width,
                "gap_below_meV": below,
                "gap_above_meV": above,
                "isolated": flat.isolated,
                "widths_meV": list(each),
                "layers_first_band": None if row["weights"] is None else row["weights"][0] + 1,
                "layers": None if row["weights"] is None else row["weights"][1].tolist(),
            }
        )
    return json.dumps(objects if len(objects) > 1 else objects[0], indent=1)
