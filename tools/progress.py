"""Progress of long work: a bar on a terminal, else a line now and then."""

import contextlib
import sys
import time

import click

LOG_SECONDS = 30


@contextlib.contextmanager
def progress(ctx, length, label):
    """Show progress with an ETA: a bar on a terminal, else a line now and then.

    Parameters
    ----------
    ctx : click.Context
        The running command.
    length : int
        Steps in all.
    label : str
        What is being done.

    Yields
    ------
    callable
        To be called with the number of steps done since the last call.
    """
    if ctx.meta.get("moireio.quiet") or length <= 0:
        yield lambda steps: None
        return
    if sys.stderr.isatty():
        with click.progressbar(
            length=length, label=label, file=sys.stderr, show_eta=True, update_min_steps=1
        ) as bar:
            yield bar.update
        return
    begin = last = time.monotonic()
    done = 0

    def update(steps):
        nonlocal done, last
        done += steps
        now = time.monotonic()
        if now - last > LOG_SECONDS and done:
            left = (now - begin) * (length - done) / done
            click.echo(f"{label}: {100 * done // length} %, about {left:.0f} s left", err=True)
            last = now

    yield update


@contextlib.contextmanager
def show_progress(ctx, label):
    """Show progress of work whose length is known when it begins (`moireio.runtime.progress`).

    Parameters
    ----------
    ctx : click.Context
        The running command.
    label : str
        What is being done.

    Yields
    ------
    moireio.runtime.progress.Progress
        To be called with the steps done since the last call, and all steps.
    """
    with contextlib.ExitStack() as stack:
        update = None

        def step(steps, total):
            nonlocal update
            if update is None:
                update = stack.enter_context(progress(ctx, total, label))
            update(steps)

        yield step
