"""``openmx2h5``: OpenMX's .scfout into block files."""

import os

import click

from moireio.tools.common import Command, arguments, fail, say
from moireio.tools.options import options
from moireio.tools.progress import show_progress


@click.command("openmx2h5", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sources", nargs=-1, required=True, type=click.Path())
@options("output", "storage", "precision", "container", "compression", "force", "jobs")
@click.option("--position", is_flag=True, help="Also ⟨i| r − τ_i |j⟩, Å.")
@click.option("--momentum", is_flag=True, help="Also ⟨i| ∂ |j⟩, Å⁻¹ (OpenMX 3.9 and later).")
@click.option("--density", is_flag=True, help="Also the density matrix.")
@click.option(
    "--dat",
    type=click.Path(exists=True, dir_okay=False),
    help="OpenMX input file, for species and bases, where the .scfout carries no text.",
)
@click.option(
    "--ignore-text-coordinates",
    is_flag=True,
    help="Do not compare cell and positions with those of the input text.",
)
@click.pass_context
def main(ctx, sources, output, container, force, jobs, **settings):
    """Read OpenMX's FILE.scfout (3.7 to 4.0) into a block file: structure, basis, H(R), S(R).

    One SOURCE goes to -o OUT, by default to standard output. Several go into a folder, -o DIR/,
    in parallel; those converted already are skipped. H is in eV, positions are in Å; H and S
    are made exactly Hermitian, and the deviation found is recorded.
    """
    from moireio.blockfile.stream import check_container, check_outputs
    from moireio.formats.openmx.convert import convert, convert_all, plan_folder

    settings["operators"] = ["hamiltonian", "overlap"]
    settings["operators"] += [n for n in ("position", "momentum", "density") if settings.pop(n)]
    settings["check_coordinates"] = not settings.pop("ignore_text_coordinates")
    settings["arguments"] = arguments()
    into_folder = output and output != "-" and (output.endswith("/") or os.path.isdir(output))
    into_folder = into_folder and not output.endswith(".zarr")
    if len(sources) > 1 and not into_folder:
        raise click.UsageError("several files need a folder: -o DIR/")
    if not into_folder:
        target = "-" if output is None else output
        check_outputs([target], [*sources, settings["dat"]], force)
        check_container(target, container)
        with show_progress(ctx, os.path.basename(sources[0])) as update:
            notes = convert(
                sources[0], target, container=container, force=force, progress=update, **settings
            )
        for note in notes:
            say(ctx, f"note: {sources[0]}: {note}")
        return
    tasks = plan_folder(sources, output, container or "h5", force, settings["operators"])
    waiting = [task for task in tasks if not task.done]
    if len(tasks) > len(waiting):
        say(ctx, f"{len(tasks) - len(waiting)} of {len(tasks)} are converted already")
    failures = 0
    with show_progress(ctx, "converting") as update:
        done = convert_all(waiting, jobs, force=force, container=container, **settings)
        for task, error, notes in done:
            update(1, len(waiting))
            for note in notes or ():
                say(ctx, f"note: {task.source}: {note}")
            if error:
                failures += 1
                click.echo(f"error: {error}", err=True)
    if failures:
        fail(f"{output}: {failures} of {len(tasks)} files could not be converted")
