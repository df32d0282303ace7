"""``build-dataset``: the DFT calculations of a training set."""

import json
import os
import shlex

import click

from moireio.tools.common import Command, Group, fail, say
from moireio.tools.conversion import convert_folder
from moireio.tools.dataset_checks import audit, suggest
from moireio.tools.layer_options import layer_options, read_stack
from moireio.tools.options import Suggested, layer_names, options
from moireio.tools.progress import show_progress

MAX_ATOMS = 200  # of an untwisted common cell, for hundreds of DFT calculations
MAX_STRAIN = 0.02
FORCES = "forces"  # in the origin of a structure: its forces are wanted, and not H and S
HELP = {"help_option_names": ["-h", "--help"]}


@click.group("build-dataset", cls=Group, context_settings=HELP)
def main():
    """Make the DFT calculations of a training set, run them, and collect those that are finished.

    DIR holds one folder with a complete OpenMX input for each structure, manifest.json, and
    runs.txt with one folder on each line, for the array jobs of a scheduler.
    """


@main.command("make", cls=Command, context_settings=HELP)
@click.argument(
    "sources",
    metavar="LAYER [LAYER ...]",
    nargs=-1,
    required=True,
    type=Suggested(layer_names),
)
@click.option("-o", "--output", metavar="DIR", required=True, help="Folder to make.")
@click.option(
    "--slide",
    nargs=2,
    type=click.IntRange(1),
    default=None,
    metavar="NX NY",
    help="Grid of displacements of the upper layers, for untwisted cells.  [default: 24 24; with "
    "--forces 7 4]",
)
@click.option(
    "--supercell",
    nargs=2,
    type=click.IntRange(1),
    default=(3, 3),
    show_default=True,
    metavar="NX NY",
    help="Common cells in each slid structure.",
)
@click.option(
    "--twist",
    nargs=2,
    type=int,
    multiple=True,
    metavar="M N",
    help="Make twisted cells of these indices (see build-twist --index) instead of slid ones. "
    "Repeatable.",
)
@click.option(
    "--copies",
    type=click.IntRange(1),
    default=None,
    help="Structures of each twisted cell, or with --forces of each displacement of the layers; "
    "their atoms are displaced differently.  [default: 1; with --forces 200]",
)
@click.option(
    "--displace",
    type=click.FloatRange(0),
    default=0.1,
    show_default=True,
    help="Longest random displacement of an atom, Å.",
)
@click.option(
    "--forces",
    is_flag=True,
    help="Calculations of energies and forces, to train a force field: with D3 dispersion and the "
    "stress, without spin, without H and S.",
)
@click.option(
    "--distances",
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="Range of what is added to the distances of the layers, Å, with --forces.  [default: "
    "-0.3 0.6]",
)
@click.option(
    "--cell-strain",
    type=click.FloatRange(0, 0.2),
    help="Largest random strain of the cell, with --forces.  [default: 0.01]",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the random displacements.",
)
@click.option(
    "--functional",
    default="GGA-PBE",
    show_default=True,
    help="Exchange-correlation functional, OpenMX's scf.XcType.",
)
@click.option(
    "--cutoff",
    type=float,
    default=300.0,
    show_default=True,
    help="Energy cutoff of the real-space grid, Ry.",
)
@click.option(
    "--criterion",
    type=float,
    default=4e-8,
    show_default=True,
    help="Convergence criterion of self-consistency, Hartree.",
)
@click.option(
    "--kspacing",
    type=click.FloatRange(0, min_open=True),
    default=0.3,
    show_default=True,
    help="Largest distance of k points, Å⁻¹ with the 2π.",
)
@click.option("--soc/--no-soc", default=False, show_default=True, help="Spin-orbit coupling.")
@click.option(
    "--data-path",
    default="../../DFT_DATA19",
    show_default=True,
    help="Path of OpenMX's database, seen from the folder of a structure.",
)
@click.option(
    "--template",
    type=click.Path(exists=True, dir_okay=False),
    help="OpenMX input whose settings are used instead of the options of the calculation.",
)
@layer_options
@click.pass_context
def make(ctx, sources, output, slide, supercell, twist, copies, displace, seed, forces, **settings):
    """Write the inputs of slid (or twisted) and displaced structures into a new folder.

    By default a 24 × 24 grid of 3 × 3 supercells; with --twist (or --index) twisted cells. Two
    different layers get a common cell; --strain-on selects the layer that takes the mismatch. With
    --forces a grid of 28 stackings, 200 structures of each, at random distances and strains.
    """
    from dataclasses import replace

    from moireio.formats.openmx import dat, dat_write
    from moireio.moire import cells, dataset, sample

    stack = read_stack(sources, settings, MAX_ATOMS)
    indices = [*twist, *([settings["index"]] if settings["index"] else [])]
    first, second = (layer.lattice for layer in stack.heads)
    strain_on = settings["strain_on"]
    slide = slide or ((7, 4) if forces else (24, 24))
    variation = _variation(forces, copies, bool(indices), settings)
    arguments = {"stacking": stack.stacking, "strain_on": strain_on}
    template = dat.read_text(settings["template"]) if settings["template"] else None
    calculation = dat_write.OpenMXSettings(
        functional=settings["functional"],
        cutoff=settings["cutoff"],
        criterion=settings["criterion"],
        spacing=settings["kspacing"],
        spin_orbit=settings["soc"],
        data_path=settings["data_path"],
        template=template,
        forces=forces,
    )

    def input_text(one):
        named = dat_write.default_basis(one.structure, settings["basis"])
        return dat_write.text(one.structure, replace(calculation, name=one.name), named)

    def marked(samples):
        for one in samples:
            yield replace(one, origin={**one.origin, FORCES: True}) if forces else one

    record = {"layers": list(sources), "seed": seed, "displace": displace, "place": strain_on}
    with show_progress(ctx, "structures") as progress:
        arguments["progress"] = progress
        if indices:
            twisted = {
                f"{m}-{n}": _checked(stack, cells.from_index(first, second, m, n))
                for m, n in indices
            }
            samples = sample.twisted(
                stack.layers, twisted, copies or 1, displace, seed, **arguments
            )
        else:
            cell = _untwisted(stack)
            arguments["variation"] = variation
            samples = sample.slid(stack.layers, cell, slide, supercell, displace, seed, **arguments)
        count = dataset.write(
            output, marked(samples), input_text, suffix=".dat", code="openmx", record=record
        )
    run_them = f'build-dataset run {shlex.quote(output)} --command "mpirun -np 4 openmx"'
    say(ctx, f"{output}: {count} calculations; run them, for example, with: {run_them}")


@main.command("status", cls=Command, context_settings=HELP)
@click.argument("source", metavar="DIR", type=click.Path())
@options("json")
def status(source, as_json):
    """Print which calculations are done, failed (and why), running, interrupted or missing."""
    from moireio.moire import dataset

    outcomes = {e.name: _outcome(e) for e in dataset.read(source)}
    if as_json:
        rows = [{"name": n, "state": o.state, "reason": o.reason} for n, o in outcomes.items()]
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    for name, outcome in outcomes.items():
        if outcome.state not in ("done", "missing"):
            reason = f": {outcome.reason}" if outcome.reason else ""
            click.echo(f"{name:<24} {outcome.state}{reason}")
    counts = {state: sum(o.state == state for o in outcomes.values()) for state in dataset.STATES}
    summary = ", ".join(f"{n} {state}" for state, n in counts.items() if n or state == "done")
    click.echo(f"{len(outcomes)} calculations: {summary}")


@main.command("run", cls=Command, context_settings=HELP)
@click.argument("source", metavar="DIR", type=click.Path())
@click.option(
    "--command",
    required=True,
    metavar="WORDS",
    help='Program to run, such as "mpirun -np 4 openmx"; the input file is its last argument, or '
    "replaces {input}.",
)
@click.option("--retry", is_flag=True, help="Repeat calculations that failed.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    help="Longest time of a calculation, seconds.  [default: no limit]",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Calculations at a time.",
)
@click.pass_context
def run(ctx, source, command, retry, timeout, jobs):
    """Run calculations that are missing or were interrupted; can itself be stopped and restarted.

    The output of OpenMX goes to run.log in the folder of each structure.
    """
    from moireio.formats.openmx import out
    from moireio.moire import dataset
    from moireio.runtime.jobs import run_all

    wanted = {"missing", "interrupted", *(["failed"] if retry else [])}
    entries = {entry.folder: entry for entry in dataset.read(source)}
    names = {folder: entry.name for folder, entry in entries.items()}
    states = {folder: _outcome(entry).state for folder, entry in entries.items()}
    folders = [folder for folder, state in states.items() if state in wanted]
    n_failed = sum(state == "failed" for state in states.values())
    if n_failed and not retry:
        say(ctx, f"note: {n_failed} failed before (see status, --retry)")
    bad = 0
    with show_progress(ctx, "running") as progress:
        tasks = [(f, f"{names[f]}.dat", (f, names[f])) for f in folders]
        for folder, ran in run_all(
            tasks, command, jobs, timeout, lambda task: out.remove_results(*task)
        ):
            progress(1, len(folders))
            if not ran:
                continue
            outcome = _outcome(entries[folder])
            if outcome.state != "done":
                bad += 1
                click.echo(f"{names[folder]}: {outcome.state}: {outcome.reason}", err=True)
    if bad:
        fail(f"{source}: {bad} of {len(folders)} calculations failed")


@main.command("collect", cls=Command, context_settings=HELP)
@click.argument("source", metavar="DIR", type=click.Path())
@click.option(
    "-o", "--output", metavar="DIR", help="Folder for block files.  [default: DIR/blocks]"
)
@click.option(
    "--forces",
    is_flag=True,
    help="Collect energies and forces instead, as folders of DeePMD-kit and extended xyz.  "
    "[default folder: DIR/forces]",
)
@options("container", "compression", "storage", "precision", "jobs")
@click.pass_context
def collect(ctx, source, output, forces, jobs, **settings):
    """Convert finished calculations into block files (as openmx2h5); those that exist are kept.

    With --forces: energies, forces and, where the standard output of OpenMX was kept as run.log,
    the stress go to DIR/forces: deepmd/FORMULA for DeePMD-kit, all.xyz for MACE, NequIP and ASE.
    """
    if forces:
        _collect_forces(ctx, source, output)
        return
    from moireio.blockfile.convert import Conversion
    from moireio.formats.openmx import out
    from moireio.formats.registry import FORMATS
    from moireio.moire import dataset

    entries = dataset.read(source)
    if entries and all(entry.origin.get(FORCES) for entry in entries):
        raise click.UsageError(f"{source} was made with --forces: collect --forces.")
    states = [out.outcome(entry.folder, entry.name).state for entry in entries]
    results = [e.file(".scfout") for e, s in zip(entries, states, strict=True) if s == "done"]
    _say_left(ctx, states)
    output = output or os.path.join(source, "blocks")
    conversion = Conversion("openmx2h5", ("hamiltonian", "overlap"), **settings)
    form = FORMATS["openmx"]
    done, new = convert_folder(ctx, results, output, conversion, form.read, form.suffixes, jobs)
    say(ctx, f"{output}: {done} block files, {new} of them new")


def _collect_forces(ctx, source, output):
    """Write energies and forces of finished calculations as training sets."""
    from moireio.formats.deepmd import frames
    from moireio.formats.openmx import out
    from moireio.moire import dataset
    from moireio.runtime.jobs import LOG

    entries = dataset.read(source)
    states = [out.outcome(entry.folder, entry.name, with_forces=True).state for entry in entries]
    _say_left(ctx, states)
    done = [entry for entry, state in zip(entries, states, strict=True) if state == "done"]
    if not done:
        fail(f"{source}: no calculation has forces yet (see status)")
    found = []
    with show_progress(ctx, "reading") as progress:
        for entry in done:
            found.append(out.forces(entry.file(".out"), os.path.join(entry.folder, LOG)))
            progress(1, len(done))
    n_plain = sum(one.dispersion == 0 for one in found)
    if n_plain:
        say(ctx, f"note: {n_plain} of {len(found)} calculations have no dispersion (UvdW is 0)")
    n_stress = sum(one.stress is not None for one in found)
    if n_stress < len(found):
        say(ctx, f"note: {n_stress} of {len(found)} have a stress in {LOG}: no virial for DeePMD")
    output = output or os.path.join(source, "forces")
    kept = [
        frames.Frame(one.symbols, one.cell, one.positions, one.forces, one.energy, one.stress)
        for one in found
    ]
    formulas = frames.write(kept, output)
    say(ctx, f"{output}: {len(kept)} structures with forces ({', '.join(formulas)})")


def _say_left(ctx, states):
    """Print how many calculations are not collected, and why."""
    from moireio.moire import dataset

    left = {state: states.count(state) for state in dataset.STATES if state != "done"}
    if any(left.values()):
        counts = ", ".join(f"{n} {state}" for state, n in left.items() if n)
        say(ctx, f"note: not collected: {counts} (see status)")


def _outcome(entry):
    """Return the state of a calculation, as what it was made for needs it."""
    from moireio.formats.openmx import out

    return out.outcome(entry.folder, entry.name, with_forces=bool(entry.origin.get(FORCES)))


def _variation(forces, copies, twisted, settings):
    """Return how structures of one stacking differ; None where there is one of each."""
    from moireio.moire.sample import Variation

    distances, strain = settings.pop("distances"), settings.pop("cell_strain")
    if not forces:
        if distances or strain is not None:
            raise click.UsageError("--distances and --cell-strain belong to --forces.")
        if copies and not twisted:
            raise click.UsageError("--copies belongs to --twist and --forces.")
        return None
    if settings["soc"]:
        raise click.UsageError("--forces are calculated without spin: no --soc.")
    if twisted:
        if distances or strain is not None:
            raise click.UsageError("--distances and --cell-strain are for slid cells.")
        return None
    low, high = distances or (-0.3, 0.6)
    if low > high:
        raise click.UsageError(f"--distances {low:g} {high:g}: the lower one comes first.")
    return Variation(copies or 200, (low, high), 0.01 if strain is None else strain)


def _checked(stack, cell):
    """Return a cell; refuse one that strains the layers by more than allowed."""
    from moireio.moire import search

    return search.fixed(stack.layers, cell, stack.limits, stack.pattern).cell


def _untwisted(stack):
    """Return the smallest common cell without a twist."""
    from dataclasses import replace

    from moireio.moire import cells, search

    first, second = stack.heads
    allowed = MAX_STRAIN if stack.limits.max_strain is None else stack.limits.max_strain
    primitive = cells.match(first.lattice, second.lattice, [[[1, 0], [0, 1]]] * 2)
    if abs(primitive.angle) < 1e-9:
        any_strain = replace(stack.limits, max_strain=None)
        if search.fixed(stack.layers, primitive, any_strain).strain <= allowed:
            return primitive
    limits = replace(stack.limits, angles=(-1e-3, 1e-3), max_strain=allowed)
    return search.best(stack.layers, limits, stack.pattern).cell


main.add_command(audit)
main.add_command(suggest)
