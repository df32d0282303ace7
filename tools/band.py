"""``band``: energies along a path, as a table, a picture, or in the block file."""

import math
import os

import click

from moireio.tools.common import Command, say
from moireio.tools.energies import (
    add_result,
    check_name,
    check_window,
    energy,
    join_numbers,
    level,
    numbers,
    print_result,
)
from moireio.tools.options import destination, one_to_stdout, options, source_argument
from moireio.tools.progress import show_progress
from moireio.tools.solver_options import checkpoint_path, solver_choice, solver_options

SPACING = 0.1  # of the mesh for the Fermi level, 1/Å


class _Command(Command):
    """Takes one to three numbers after --mesh."""

    def parse_args(self, ctx, args):
        """Join them to one word."""
        return super().parse_args(ctx, join_numbers(args, ("--mesh",)))


def _fermi(ctx, param, text):
    """Read the value of ``--fermi``."""
    if text in (None, "auto"):
        return text
    value = energy(text)
    if value is None:
        raise click.BadParameter(f"{text!r} is neither auto nor an energy in eV")
    return value


@click.command("band", cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@source_argument
@click.option(
    "--path",
    "-p",
    help="Corners as GMKG (a comma jumps: GMK,GX); or points '0,0,0 M=0.5,0,0'; 'input' for the "
    "path of the OpenMX input; or the points of a FILE.Band or FILE.dat.  [default: the usual "
    "path of the lattice]",
)
@click.option(
    "--points",
    "-n",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="k points along the whole path.",
)
@click.option(
    "--kpoints",
    type=click.Path(exists=True, dir_okay=False),
    help="Text file of k points, three fractional coordinates a line, instead of a path.",
)
@click.option(
    "--convention",
    type=click.Choice(["ase", "seekpath"]),
    default="ase",
    show_default=True,
    help="Whose letters three-dimensional crystals have.",
)
@click.option("--bands", type=click.IntRange(1), help="Number of bands.  [default: all]")
@click.option(
    "--energy",
    type=float,
    help="Energy (eV) around which --bands are.  [default: Fermi level, or the gap]",
)
@click.option(
    "--energy-range",
    nargs=2,
    type=float,
    help="Lowest and highest energy (eV): all bands that enter there, instead of --bands.",
)
@click.option(
    "--electrons",
    type=click.FloatRange(0, min_open=True),
    help="Valence electrons in the cell, which fill the bands.  [default: the number in the file]",
)
@click.option(
    "--fermi",
    callback=_fermi,
    metavar="auto|E",
    help="Fermi level: an energy (eV), or auto: from the levels that --electrons fill on a mesh of "
    "k points.  [default: of the file]",
)
@click.option(
    "--mesh",
    metavar="N1 N2 [N3]",
    callback=numbers(int),
    help="k points along each periodic axis, for --fermi auto.  [default: steps of 0.1/Å]",
)
@click.option(
    "--states",
    is_flag=True,
    help="Keep the states in the output too (16 bytes for every orbital, band and k point).",
)
@solver_options("dense", "sparse", "slepc")
@click.option(
    "--overlay",
    multiple=True,
    type=click.Path(exists=True),
    help="Block file or OpenMX .Band to lay over the plot: lines for DFT, dots for predictions.",
)
@click.option(
    "--zero",
    default=None,
    help="Level drawn as 0, in each data set its own: fermi, vbm (valence band maximum), none, "
    "or an energy in eV.  [default: fermi, or vbm, where it is known]",
)
@click.option(
    "--window",
    nargs=2,
    type=float,
    help="Lowest and highest energy of the plot, eV from its zero.  [default: all, or -6 6]",
)
@click.option("--title", help="Title of the plot.")
@options("plot", "text", "json", "output", "in_place", "name", "container", "force")
@click.pass_context
def main(ctx, source, path, points, kpoints, convention, **opts):
    """Find the bands of a block file along a path in the Brillouin zone.

    SOURCE holds H and (unless its basis is orthogonal) S; one that holds only bands is drawn.
    Without -o, --plot, --text or --json the energies (eV) are printed as a table.
    """
    from moireio.bands.overlay import overlay_points
    from moireio.bands.paths import choose_path
    from moireio.bands.report import bands_json, bands_table
    from moireio.bands.solve import solve_bands
    from moireio.blockfile.stream import check_container, check_outputs, open_source
    from moireio.plots import bands as plots

    destination(opts["output"], opts["in_place"])
    named = [opts["output"], opts["in_place"] and source, opts["text"], opts["plot"]]
    checkpoint = checkpoint_path(opts, named)
    choice = solver_choice(opts)
    if opts["plot"] is not None:
        plots.check_format(opts["plot"])
    zero = level(opts["zero"])
    _check_numbers(opts)
    one_to_stdout(opts, "output", "text", "plot")
    outputs = [opts["plot"], opts["text"], opts["output"]]
    inputs = [source, kpoints, path and os.path.exists(path) and path, *opts["overlay"]]
    check_outputs(outputs, inputs, opts["force"])
    check_container(opts["output"], opts["container"])
    foreign = _foreign(path, kpoints, opts["overlay"])
    group = f"bands-{opts['name']}" if opts["name"] else "bands"
    with open_source(source) as file:
        stored = group in file and "hamiltonian" not in file
        if stored:
            bands = file.bands(group)
        else:
            notes = []
            kpath = choose_path(
                file,
                foreign.get("path", path),
                points,
                foreign.get("kpoints"),
                convention,
                note=notes.append,
            )
            filling = _filling(ctx, file, opts, choice, notes)
            with show_progress(ctx, "band") as update:
                bands = solve_bands(
                    file,
                    kpath,
                    bands=opts["bands"],
                    energy=opts["energy"],
                    energy_range=opts["energy_range"],
                    electrons=opts["electrons"],
                    filling=filling,
                    states=opts["states"],
                    solver=choice,
                    checkpoint=checkpoint,
                    resume=opts["resume"],
                    progress=update,
                    note=notes.append,
                )
            for note in notes:
                say(ctx, f"note: {note}")
        if zero is None:
            zero = _known_level(bands)
        if opts["plot"]:
            overlays = []
            for name, data in foreign["overlays"]:
                place, energies, missing = overlay_points(file, bands, data, name, zero)
                overlays.append((place, energies))
                if missing:
                    say(ctx, f"note: {name}: {missing} of its k points are not on this path")
            own_name = file.structure.formula if source == "-" else file.label
            names = [own_name, *opts["overlay"]]
            figure = plots.plot_bands(
                bands,
                overlays,
                zero=zero,
                energy_window=opts["window"],
                title=opts["title"],
                labels=[_short(n) for n in names] if overlays else None,
            )
            plots.save(figure, opts["plot"])
        if not stored:
            add_result(ctx, opts, file, group, bands)
    print_result(opts, lambda: bands_table(bands), lambda: bands_json(bands))


def _filling(ctx, file, opts, choice, notes):
    """Return the Fermi level that was asked for, or what finds it."""
    from moireio.errors import naming
    from moireio.kspace.mesh import make_mesh
    from moireio.spectrum.filling import Occupation, electron_count, find_filling

    if opts["fermi"] is None:
        return None
    if opts["fermi"] != "auto":
        return Occupation(opts["fermi"], opts["electrons"] or electron_count(file))
    with naming(file.label):
        mesh = make_mesh(file.structure, opts["mesh"], SPACING)

    def find():
        with show_progress(ctx, "Fermi level") as update:
            occupation = find_filling(
                file, mesh, electrons=opts["electrons"], solver=choice, progress=update
            )
        counts = " × ".join(map(str, occupation.mesh))
        gap = "no gap" if occupation.gap is None else f"gap {occupation.gap:.4f} eV"
        notes.append(
            f"Fermi level {occupation.fermi:.6f} eV, {occupation.electrons:g} electrons, {gap} "
            f"({counts} k points)"
        )
        return occupation

    return find


def _known_level(bands):
    """Return the level that is drawn as zero where none was asked for."""
    from moireio.errors import MoireioError

    if bands.fermi is not None:
        return "fermi"
    try:
        bands.vbm()
    except MoireioError:
        return "none"
    return "vbm"


def _check_numbers(opts):
    """Refuse numbers and names that make no sense, as wrong usage."""
    check_window(opts["window"])
    check_window(opts["energy_range"] or None, "--energy-range")
    check_name(opts["name"])
    if opts["energy"] is not None and not math.isfinite(opts["energy"]):
        raise click.BadParameter("--energy takes an energy in eV")
    if opts["energy_range"] and (opts["bands"] or opts["energy"] is not None):
        raise click.UsageError("--energy-range excludes --bands and --energy.")
    if opts["mesh"] and opts["fermi"] != "auto":
        raise click.UsageError("--mesh needs --fermi auto.")
    if opts["states"] and not (opts["output"] or opts["in_place"]):
        raise click.UsageError("--states needs -o or --in-place.")
    if opts["overlay"] and not opts["plot"]:
        raise click.UsageError("--overlay needs --plot.")


def _foreign(path, kpoints, overlays):
    """Read files of other programs that the options name."""
    from moireio.bands.paths import read_kpoints
    from moireio.formats.openmx import band as openmx_band
    from moireio.formats.openmx import dat as openmx_dat

    out = {"overlays": []}
    if path == "":
        raise click.BadParameter("--path is empty")
    if path and openmx_band.is_band_file(path):
        out["path"] = openmx_band.read(path).path()
    elif path and path.lower().endswith(".dat"):
        out["path"] = openmx_dat.read(path).kpath
    if kpoints:
        out["kpoints"] = read_kpoints(kpoints)
    for name in overlays:
        data = openmx_band.read(name).band_structure() if openmx_band.is_band_file(name) else None
        out["overlays"].append((name, data))
    return out


def _short(name):
    return name.rstrip("/").rsplit("/", 1)[-1]
