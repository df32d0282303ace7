"""``band``: energies along a path, as a table, a picture, or in the block file."""

import math
import os

import click

from moireio.tools.common import Command, arguments, say
from moireio.tools.energies import (
    check_name,
    check_window,
    energy,
    join_numbers,
    level,
    numbers,
    print_result,
)
from moireio.tools.options import destination, memory_bytes, options, source_argument
from moireio.tools.progress import show_progress

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
    "--around",
    type=float,
    help="Energy (eV) around which --bands are.  [default: Fermi level, or the gap]",
)
@click.option(
    "--between",
    nargs=2,
    type=float,
    help="Lowest and highest energy (eV): all bands that enter there, instead of --bands.",
)
@click.option(
    "--electrons",
    type=click.FloatRange(0, min_open=True),
    help="Valence electrons in the cell, which tell what is filled.  [default: as the file says]",
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
@click.option(
    "--solver",
    type=click.Choice(["auto", "dense", "sparse", "slepc"]),
    default="auto",
    show_default=True,
    help="How the eigenproblem is solved: all states of a dense matrix, or --bands by shift-invert "
    "Lanczos (with MKL's Pardiso, if PyPI's mkl is installed), or by SLEPc in many processes under "
    "MPI, also on many machines (--launcher).",
)
@click.option(
    "--launcher",
    metavar="COMMAND",
    help="slepc: what starts its processes, as 'mpirun -n 64' or 'srun'; they solve one k point "
    "after another, memory is theirs, --jobs and --memory do not apply.  [default: mpirun, one "
    "process per core]",
)
@click.option(
    "--slepc-python",
    metavar="PYTHON",
    envvar="MOIREIO_SLEPC_PYTHON",
    show_envvar=True,
    help="slepc: the Python that has slepc4py, built for real numbers.  [default: this one, else "
    "/usr/bin/python3]",
)
@click.option(
    "--prove",
    is_flag=True,
    help="Sparse solver: count the states below and above those found, at every k, so that none "
    "can be missing (three times the factorisations).",
)
@click.option(
    "--drop",
    type=click.FloatRange(0),
    default=0.0,
    metavar="EV",
    help="Sparse solver: leave out elements of H below this (eV) where those of S are below it "
    "too; energies are corrected to first order, and the correction is told.",
)
@click.option(
    "--overlap-cutoff",
    type=click.FloatRange(0),
    default=0.0,
    metavar="EPS",
    help="Where orbitals nearly depend on each other: leave out their combinations with an "
    "eigenvalue of S below this (no unit; 1e-5, say).",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "float64"]),
    default="auto",
    show_default=True,
    help="Of the sparse solver's factors: float32 halves their memory; results keep double "
    "precision. auto takes it for the energies of large cells, without --states, --prove or "
    "--overlap-cutoff.",
)
@options("device", "jobs")
@click.option(
    "--memory",
    metavar="BYTES",
    help="Limit, as 4G or 500M: less memory means fewer processes.  [default: 90% of what is free]",
)
@options("resume")
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
    from moireio.bands.overlay import bands_json, bands_table, choose_path, overlay_points
    from moireio.bands.solve import solve_bands
    from moireio.blockfile.stream import check_container, check_outputs, open_source, write_target
    from moireio.plots import bands as plots
    from moireio.spectrum.problems import SolverChoice

    destination(opts["output"], opts["in_place"])
    record = _record(source, opts)
    choice = SolverChoice(
        opts["solver"],
        opts["jobs"],
        opts["memory"] and memory_bytes(opts["memory"]),
        opts["device"],
        {
            "precision": opts["precision"],
            "verify_count": opts["prove"],
            "drop": opts["drop"],
            "overlap_cutoff": opts["overlap_cutoff"],
            "launcher": opts["launcher"],
            # it comes from the environment, perhaps
            "python": opts["slepc_python"] if opts["solver"] == "slepc" else None,
        },
    )
    if opts["plot"] is not None:
        plots.check_format(opts["plot"])
    zero = level(opts["zero"])
    _check_numbers(opts)
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
            kpath = choose_path(
                file, foreign.get("path", path), points, foreign.get("kpoints"), convention
            )
            notes = []
            filling = _filling(ctx, file, opts, choice, notes)
            with show_progress(ctx, "band") as update:
                bands = solve_bands(
                    file,
                    kpath,
                    bands=opts["bands"],
                    around=opts["around"],
                    between=opts["between"],
                    electrons=opts["electrons"],
                    filling=filling,
                    states=opts["states"],
                    solver=choice,
                    checkpoint=record,
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
            own = file.structure.formula if source == "-" else file.label
            names = [own, *opts["overlay"]]
            figure = plots.plot_bands(
                bands,
                overlays,
                zero=zero,
                window=opts["window"],
                title=opts["title"],
                labels=[_short(n) for n in names] if overlays else None,
            )
            plots.save(figure, opts["plot"])
        if (opts["output"] or opts["in_place"]) and not stored:
            with write_target(
                opts["output"],
                base=file,
                in_place=opts["in_place"],
                force=opts["force"],
                container=opts["container"],
                drop=(group,),
            ) as writer:
                writer.bands(bands, group)
                writer.history("band", arguments(), [(file.label, file.digest())])
    print_result(opts, lambda: bands_table(bands), lambda: bands_json(bands))


def _filling(ctx, file, opts, choice, notes):
    """Return the Fermi level that was asked for, or what finds it."""
    from moireio.errors import MoireioError
    from moireio.kspace.mesh import make_mesh
    from moireio.spectrum.filling import Occupation, electron_count, find_filling

    if opts["fermi"] is None:
        return None
    if opts["fermi"] != "auto":
        return Occupation(opts["fermi"], opts["electrons"] or electron_count(file))
    try:
        mesh = make_mesh(file.structure, opts["mesh"], SPACING)
    except MoireioError as error:
        raise MoireioError(error.what, path=file.label, remedy=error.remedy) from error

    def find():
        with show_progress(ctx, "Fermi level") as update:
            found = find_filling(
                file, mesh, electrons=opts["electrons"], solver=choice, progress=update
            )
        counts = " × ".join(map(str, found.mesh))
        gap = "no gap" if found.gap is None else f"gap {found.gap:.4f} eV"
        notes.append(
            f"Fermi level {found.fermi:.6f} eV, {found.electrons:g} electrons, {gap} "
            f"({counts} k points)"
        )
        return found

    return find


def _record(source, opts):
    """Return the file that keeps finished k points, None if the output has no name."""
    named = [opts["output"], opts["in_place"] and source, opts["text"], opts["plot"]]
    name = next((n for n in named if n and n != "-"), None)
    if name is None:
        if opts["resume"]:
            raise click.UsageError("--resume needs an output file (-o, --text or --plot).")
        return None
    return f"{name.rstrip('/')}.part.jsonl"


def _known_level(bands):
    """Return which level can be drawn as zero."""
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
    check_window(opts["between"] or None, "--between")
    check_name(opts["name"])
    if opts["around"] is not None and not math.isfinite(opts["around"]):
        raise click.BadParameter("--around takes an energy in eV")
    if opts["between"] and (opts["bands"] or opts["around"] is not None):
        raise click.UsageError("--between excludes --bands and --around.")
    if opts["mesh"] and opts["fermi"] != "auto":
        raise click.UsageError("--mesh needs --fermi auto.")
    if opts["states"] and not (opts["output"] or opts["in_place"]):
        raise click.UsageError("--states needs -o or --in-place.")
    if opts["launcher"] is not None and opts["solver"] != "slepc":
        raise click.UsageError("--launcher needs --solver slepc.")
    if opts["overlay"] and not opts["plot"]:
        raise click.UsageError("--overlay needs --plot.")


def _foreign(path, kpoints, overlays):
    """Read files of other programs that the options name."""
    from moireio.bands.overlay import read_kpoints
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
