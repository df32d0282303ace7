"""Progress of long work: a bar on a terminal, else a line now and then."""

import contextlib
import sys
import time

import click

LOG_SECONDS = 30


@contextlib.contextmanager
def show_progress(ctx, label):
    """Show the progress of some work, with the time that is left.

    Parameters
    ----------
    ctx : click.Context
        The running command.
    label : str
        Name of the work.

    Yields
    ------
    moireio.runtime.progress.Progress
        To be called with the steps done since the last call, and all steps.
    """
    show = None if ctx.meta.get("moireio.quiet") else _bar if sys.stderr.isatty() else _lines
    with contextlib.ExitStack() as stack:
        update = None

        def step(steps, total):
            nonlocal update
            if show is None or total <= 0:
                return
            if update is None:
                update = stack.enter_context(show(label, total))
            update(steps)

        yield step


@contextlib.contextmanager
def _bar(label, total):
    with click.progressbar(
        length=total, label=label, file=sys.stderr, show_eta=True, update_min_steps=1
    ) as bar:
        yield bar.update


@contextlib.contextmanager
def _lines(label, total):
    begin = last = time.monotonic()
    done = 0

    def update(steps):
        nonlocal done, last
        done += steps
        now = time.monotonic()
        if now - last > LOG_SECONDS and done:
            left = (now - begin) * (total - done) / done
            click.echo(f"{label}: {100 * done // total} %, about {left:.0f} s left", err=True)
            last = now

    yield update
