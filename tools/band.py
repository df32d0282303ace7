"""``band``: energies along a path, as a table, a picture, or in the block file."""

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
from moireio.tools.reduced_options import check_reduced, reduced_options, write_reduced
from moireio.tools.solver_options import (
    anchors_option,
    check_anchors,
    checkpoint_path,
    solver_choice,
    solver_options,
    with_anchors,
)

GROUPS = "bands", "anchors"
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


def _overlays(ctx, param, words):
    """Read the values of ``--overlay``: pairs of a file and its label, which may be None."""
    found = []
    for word in words:
        cuts = [n for n, sign in enumerate(word) if sign == "="]
        names = [(word, None), *((word[:n], word[n + 1 :]) for n in cuts)]
        known = next((pair for pair in names if os.path.exists(pair[0])), None)
        if known is None:
            raise click.BadParameter(f"{names[-1][0]}: no such file or folder")
        found.append(known)
    return found


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
@click.option(
    "--keep-anchors",
    is_flag=True,
    help="Keep the anchors in the output too, for --anchors: 16 bytes for every orbital at each "
    "anchor, times the bands and half as many more on either side (8 to 24); at most twice as "
    "much again for how the states change with k.",
)
@anchors_option
@reduced_options
@solver_options("dense", "sparse", "slepc")
@click.option(
    "--overlay",
    multiple=True,
    metavar="FILE[=LABEL]",
    callback=_overlays,
    help="Block file or OpenMX .Band to lay over the plot, with its name in the legend. "
    "Over the dots of a prediction DFT is drawn as lines. Repeatable.",
)
@click.option("--label", help="Name of SOURCE in the legend of --overlay.")
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
    from moireio.bands.overlay import common_zero
    from moireio.bands.paths import choose_path, other_cell
    from moireio.bands.report import accuracy_note, bands_json, bands_table
    from moireio.bands.solve import solve_bands
    from moireio.blockfile.stream import check_container, check_outputs, open_source
    from moireio.plots import bands as plots

    destination(opts["output"], opts["in_place"])
    named = [opts["output"], opts["in_place"] and source, opts["text"], opts["plot"]]
    checkpoint = checkpoint_path(opts, named)
    choice = solver_choice(opts)
    check_anchors(opts)
    if opts["plot"] is not None:
        plots.check_format(opts["plot"])
    zero = level(opts["zero"])
    _check_numbers(opts)
    one_to_stdout(opts, "output", "text", "plot")
    outputs = [opts["plot"], opts["text"], opts["output"], opts["reduced"]]
    overlaid = [name for name, _ in opts["overlay"]]
    inputs = [source, kpoints, path and os.path.exists(path) and path, opts["anchors"], *overlaid]
    check_outputs(outputs, inputs, opts["force"])
    check_container(opts["output"], opts["container"])
    foreign = _foreign(path, kpoints, overlaid)
    group, kept_group = (n + (f"-{opts['name']}" if opts["name"] else "") for n in GROUPS)
    kept = []
    with open_source(source) as file:
        stored = group in file and "hamiltonian" not in file
        if stored:
            bands = file.bands(group)
        else:
            cell = foreign.get("cell")
            remark = None if cell is None else other_cell(file.structure, cell)
            notes = [] if remark is None else [f"{path}: {remark}"]
            kpath = choose_path(
                file,
                foreign.get("path", path),
                points,
                foreign.get("kpoints"),
                convention,
                note=notes.append,
            )
            own = with_anchors(choice, opts["anchors"], file)
            filling = _filling(ctx, file, opts, own, notes)
            with show_progress(ctx, "band") as update:
                bands = solve_bands(
                    file,
                    kpath,
                    bands=opts["bands"],
                    energy=opts["energy"],
                    energy_range=opts["energy_range"],
                    electrons=opts["electrons"],
                    filling=filling,
                    states=opts["states"] and bool(opts["output"] or opts["in_place"]),
                    solver=own,
                    checkpoint=checkpoint,
                    resume=opts["resume"],
                    keep_anchors=kept.append if opts["keep_anchors"] else None,
                    progress=update,
                    note=notes.append,
                )
            if opts["keep_anchors"] and not kept:
                notes.append("there are no anchors to keep: every k was solved by itself")
            found = accuracy_note(bands)
            for note in notes if found is None else [*notes, found]:
                say(ctx, f"note: {note}")
        if opts["reduced"]:
            write_reduced(ctx, file, bands, opts, choice)
        if opts["plot"]:
            data = [_overlay_data(ctx, o, bands, opts, choice) for o in foreign["overlays"]]
            zero = common_zero(bands, data) if zero is None else zero
            figure = plots.plot_bands(
                bands,
                _placed(ctx, file, bands, data, zero),
                zero=zero,
                energy_window=opts["window"],
                title=opts["title"],
                labels=_labels(file, source, opts) if data else None,
            )
            plots.save(figure, opts["plot"])
        if not stored:
            results = {group: bands} | ({kept_group: kept[0]} if kept else {})
            add_result(ctx, opts, file, results)
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
            f"Fermi level {occupation.fermi:z.6f} eV, {occupation.electrons:g} electrons, {gap} "
            f"({counts} k points)"
        )
        return occupation

    return find


def _overlay_data(ctx, overlay, bands, opts, choice):
    """Return the bands of an overlay: as they were read, or of a block file."""
    from moireio.bands.overlay import read_overlay

    if not isinstance(overlay, str):
        return overlay
    with show_progress(ctx, os.path.basename(os.path.normpath(overlay))) as update:
        options = {"bands": opts["bands"], "energy_range": opts["energy_range"]}
        return read_overlay(overlay, bands, options | {"solver": choice, "progress": update})


def _placed(ctx, file, bands, data, zero):
    """Return the overlays on the path; warnings name those of another crystal."""
    from moireio.bands.overlay import differences, place_overlay

    placed = []
    for one in data:
        different = differences(file, bands, one)
        if different:
            say(ctx, f"warning: {one.name}: {'; '.join(different)}")
        placed.append(place_overlay(file, bands, one, zero))
        if placed[-1].missing:
            say(ctx, f"note: {one.name}: {placed[-1].missing} of its k points are not on this path")
    if data and zero == "none" and ctx.params["zero"] is None:
        say(ctx, "note: energies as they are: the files have no level in common (see --zero)")
    return placed


def _labels(file, source, opts):
    """Return the names of the legend: those given, else as much of each path as differs."""
    paths = [None if source == "-" else source, *(name for name, _ in opts["overlay"])]
    parts = [path and os.path.normpath(path).split(os.sep) for path in paths]
    names = [file.structure.formula if p is None else p[-1] for p in parts]
    for n, part in enumerate(parts):
        length = 1
        while part and names.count(names[n]) > 1 and length < len(part):
            length += 1
            names[n] = os.sep.join(part[-length:])
    given = [opts["label"], *(label for _, label in opts["overlay"])]
    return [name if label is None else label for name, label in zip(names, given, strict=True)]


def _check_numbers(opts):
    """Refuse numbers and names that make no sense, as wrong usage."""
    check_window(opts["window"])
    check_window(opts["energy_range"] or None, "--energy-range")
    check_name(opts["name"])
    if opts["energy_range"] and (opts["bands"] or opts["energy"] is not None):
        raise click.UsageError("--energy-range excludes --bands and --energy.")
    if opts["mesh"] and opts["fermi"] != "auto":
        raise click.UsageError("--mesh needs --fermi auto.")
    if opts["states"] and not (opts["output"] or opts["in_place"] or opts["reduced"]):
        raise click.UsageError("--states needs -o, --in-place or --reduced.")
    if opts["keep_anchors"] and not (opts["output"] or opts["in_place"]):
        raise click.UsageError("--keep-anchors needs -o or --in-place.")
    check_reduced(opts)
    if opts["overlay"] and not opts["plot"]:
        raise click.UsageError("--overlay needs --plot.")
    if opts["label"] is not None and not opts["overlay"]:
        raise click.UsageError("--label needs --overlay.")


def _foreign(path, kpoints, overlays):
    """Read files of other programs that the options name."""
    import numpy as np

    from moireio.bands.overlay import OverlayData, check_overlay
    from moireio.bands.paths import read_kpoints
    from moireio.errors import MoireioError
    from moireio.formats.openmx import band as openmx_band
    from moireio.formats.openmx import dat as openmx_dat

    out = {"overlays": []}
    if path == "":
        raise click.BadParameter("--path is empty")
    if path and openmx_band.is_band_file(path):
        found = openmx_band.read(path)
        out["path"] = found.path()
        out["cell"] = 2 * np.pi * np.linalg.inv(found.reciprocal).T
    elif path and path != "input" and (path.lower().endswith(".dat") or openmx_dat.detect(path)):
        text = openmx_dat.read(path)
        if not text.kpath:
            raise MoireioError(
                "has no table Band.kpath", path=path, remedy="give another --path, as GMKG"
            )
        out["path"], out["cell"] = text.kpath, text.cell
    elif path and path != "input" and "." in path and os.path.isfile(path):
        raise MoireioError(
            "has no path: it is neither an OpenMX .Band nor an OpenMX input",
            path=path,
            remedy="give --path as GMKG, or a text file of k points as --kpoints",
        )
    if kpoints:
        out["kpoints"] = read_kpoints(kpoints)
    for name in overlays:
        data = name
        if openmx_band.is_band_file(name):
            found = openmx_band.read(name)
            cell = 2 * np.pi * np.linalg.inv(found.reciprocal).T
            data = OverlayData(name, found.band_structure(), cell)
        else:
            check_overlay(name)
        out["overlays"].append(data)
    return out
