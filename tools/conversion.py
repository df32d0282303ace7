"""What the commands share that convert calculations of other codes into block files."""

import os

import click

from moireio.tools.common import fail, say, with_options
from moireio.tools.progress import show_progress
from moireio.tools.wrong_format import wrong_format


def run_conversion(ctx, sources, output, settings, read, suffixes=(), jobs=None, inputs=()):
    """Convert one calculation to a file or standard output, or several into a folder.

    Parameters
    ----------
    ctx : click.Context
        The running command.
    sources : sequence of str
        Files or folders of the format; one may be "-".
    output : str or None
        The value of ``-o``.
    settings : moireio.blockfile.convert.Conversion
        Which operators, and how they are stored.
    read : callable
        The format's reader, picklable.
    suffixes : sequence of str
        Suffixes of the format.
    jobs : int or None
        The value of ``--jobs``.
    inputs : sequence of str or None
        Further files that are read, and must not be overwritten.
    """
    from moireio.blockfile.convert import convert_file
    from moireio.blockfile.stream import check_container, check_outputs

    into_folder = output and output != "-" and (output.endswith("/") or os.path.isdir(output))
    if into_folder and not output.rstrip("/").endswith(".zarr"):
        convert_folder(ctx, sources, output, settings, read, suffixes, jobs)
        return
    if len(sources) > 1:
        raise click.UsageError("several sources need a folder: -o DIR/")
    target = "-" if output is None else output
    check_outputs([target], [*sources, *inputs], settings.force)
    check_container(target, settings.container)
    with show_progress(ctx, os.path.basename(os.path.normpath(sources[0]))) as update:
        notes = convert_file(sources[0], target, settings, read, update)
    for note in notes:
        say(ctx, f"note: {sources[0]}: {note}")


def convert_folder(ctx, sources, folder, settings, read, suffixes=(), jobs=None):
    """Convert calculations into a folder, in parallel, leaving out those converted already.

    Parameters
    ----------
    ctx : click.Context
        The running command.
    sources : sequence of str
        Files or folders of the format.
    folder : str
        Where the block files go.
    settings, read, suffixes, jobs
        As for `run_conversion`.

    Returns
    -------
    (int, int)
        Number of block files, and how many of them are new.
    """
    from moireio.blockfile.convert import convert_all, plan_folder

    tasks = plan_folder(sources, folder, settings, suffixes)
    waiting = [task for task in tasks if not task.done]
    if len(tasks) > len(waiting):
        say(ctx, f"{len(tasks) - len(waiting)} of {len(tasks)} are converted already")
    failures = 0
    with show_progress(ctx, "converting") as update:
        for task, error, notes in convert_all(waiting, settings, read, jobs):
            update(1, len(waiting))
            for note in notes:
                say(ctx, f"note: {task.source}: {note}")
            if error:
                failures += 1
                line = wrong_format(ctx, task.source) or with_options(str(error), ctx)
                click.echo(f"error: {line}", err=True)
    if failures:
        fail(f"{folder}: {failures} of {len(tasks)} files could not be converted")
    return len(tasks), len(waiting)
