"""What all commands share: options, errors, progress, the history entry."""

import contextlib
import os
import re
import signal
import sys
import time
import warnings

import click

from moireio.errors import MoireioError, first_line

LOG_SECONDS = 30


class Command(click.Command):
    """A command whose failures are one line on standard error and exit code 1."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(["--debug"], is_flag=True, help="Show the traceback of an error.")
        )
        self.params.append(click.Option(["--quiet", "-q"], is_flag=True, help="No progress."))

    def invoke(self, ctx):
        """Run the command and turn errors into one line."""
        debug = ctx.params.pop("debug")
        ctx.meta["moireio.quiet"] = ctx.params.pop("quiet")
        with contextlib.suppress(ValueError, AttributeError):  # another thread; Windows
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, _terminate)
        if sys.stdout is None:
            fail("standard output: is closed (send it to a file or /dev/null)")
        try:
            with warnings.catch_warnings():
                if not debug:
                    warnings.simplefilter("ignore")
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if debug:
                raise
            fail(_one_line(error, ctx))


def _terminate(number, frame):
    """Tidy up and go, without raising an exception wherever Python happens to be."""
    from moireio.runtime.workdirs import remove_all

    if "multiprocessing.process" in sys.modules:
        for process in sys.modules["multiprocessing.process"].active_children():
            process.terminate()
    remove_all()
    if number == signal.SIGINT:
        os.write(2, b"error: interrupted\n")
    os._exit(128 + number)


def _one_line(error, ctx):
    source = ctx.params.get("source") or ctx.params.get("sources") or ctx.info_name
    source = source[0] if isinstance(source, tuple) and source else source
    source = "standard input" if source == "-" else source
    if isinstance(error, MoireioError):
        return str(error) if error.path else f"{source}: {error}"
    if isinstance(error, MemoryError):
        return f"{source}: does not fit into memory ({first_line(error)})"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.strerror:
        return f"standard output: {error.strerror}"
    kind = type(error).__name__
    return (
        f"{source}: unexpected {kind}: {first_line(error)} "
        "(the file may be damaged, see h5-validate; --debug shows where)"
    )


def fail(text):
    """Print ``error: text`` on standard error and exit with code 1.

    Parameters
    ----------
    text : str
        One line.
    """
    click.echo(f"error: {text}", err=True)
    sys.exit(1)


def say(ctx, text):
    """Print a remark on standard error unless ``--quiet``.

    Parameters
    ----------
    ctx : click.Context
        The running command.
    text : str
        One line.
    """
    if not ctx.meta.get("moireio.quiet"):
        click.echo(text, err=True)


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


def arguments():
    """Return the command line as the history records it, a list of str."""
    return sys.argv[1:]


def source_argument(function):
    """Add the argument SOURCE, by default standard input."""
    return click.argument("source", default="-", type=click.Path(allow_dash=True))(function)


def basis_names(ctx, param, words):
    """Read the values of ``--basis``, as a click callback.

    Parameters
    ----------
    ctx : click.Context
        Not used.
    param : click.Parameter
        Not used.
    words : sequence of str
        Such as ``C=C6.0-s2p2d1``.

    Returns
    -------
    dict of str to str
        Basis names by species.
    """
    names = {}
    for word in words:
        species, equals, name = word.partition("=")
        if not equals:
            raise click.UsageError(f"--basis {word}: expected one like C=C6.0-s2p2d1.")
        names[species] = name
    return names


def memory_bytes(text):
    """Read an amount of memory.

    Parameters
    ----------
    text : str or None
        Such as ``4G``, ``500M`` or ``2.5GiB``; None for half of what is free.

    Returns
    -------
    float
        Bytes.
    """
    if text is None:
        from moireio.runtime.memory import free_memory

        return free_memory() / 2
    found = re.fullmatch(r"([0-9.]+)\s*([kKMGT]?)(i?)[bB]?", text.strip())
    try:
        value = float(found[1])
    except (TypeError, ValueError):
        raise click.UsageError(f"--memory {text}: expected an amount such as 4G.") from None
    return value * (1024 if found[3] else 1000) ** " kMGT".index(found[2].replace("K", "k") or " ")


_OPTIONS = {
    "output": click.option(
        "-o",
        "--output",
        type=click.Path(allow_dash=True),
        help="File to write: .h5, .zarr (folder) or .zarr.zip; '-' is standard output.",
    ),
    "in_place": click.option("--in-place", is_flag=True, help="Add the result to SOURCE itself."),
    "force": click.option("--force", is_flag=True, help="Replace files that exist."),
    "container": click.option(
        "--container",
        type=click.Choice(["h5", "zarr", "zip"]),
        help="Container of the output, where its name does not tell.",
    ),
    "compression": click.option(
        "--compression",
        type=click.Choice(["none", "lzf", "gzip", "zstd"]),
        default="none",
        show_default=True,
        help="Of arrays; lzf is HDF5's, zstd is zarr's.",
    ),
    "storage": click.option(
        "--storage",
        type=click.Choice(["full", "upper"]),
        help="Both partners of every atom pair, or one (half the size).",
    ),
    "precision": click.option(
        "--precision", type=click.Choice(["float32", "float64"]), help="Of matrix elements."
    ),
    "memory": click.option(
        "--memory",
        metavar="BYTES",
        callback=lambda ctx, param, text: memory_bytes(text),
        help="Limit, as 4G or 500M.  [default: half of what is free]",
    ),
    "jobs": click.option(
        "-j", "--jobs", type=click.IntRange(1), help="Processes.  [default: one per core]"
    ),
    "resume": click.option(
        "--resume",
        is_flag=True,
        help="Go on with an interrupted run, from OUTPUT.part.jsonl beside the output.",
    ),
    "device": click.option(
        "--device",
        type=click.Choice(["cpu", "cuda"]),
        default="cpu",
        show_default=True,
        help="Where dense linear algebra runs (cuda needs torch).",
    ),
    "basis": click.option(
        "--basis",
        multiple=True,
        metavar="X=NAME",
        callback=basis_names,
        help="Basis of a species in OpenMX's notation, as Mo=Mo7.0-s3p2d1. Repeatable.",
    ),
    "pao": click.option(
        "--pao",
        type=click.Path(exists=True),
        envvar="MOIREIO_PAO",
        show_envvar=True,
        help="Radial functions: folder of OpenMX's .pao files, or a block file or model file that "
        "has them.",
    ),
    "name": click.option(
        "--name", help="Keep the result apart under this name instead of replacing the last one."
    ),
    "plot": click.option(
        "--plot", type=click.Path(), help="Draw the result: FILE.png, .pdf or .svg."
    ),
    "text": click.option(
        "--text", type=click.Path(allow_dash=True), help="Write the result as a text table."
    ),
    "json": click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
}


def options(*names):
    """Add options that several commands share.

    Parameters
    ----------
    *names : str
        Which: output, in_place, force, container, compression, storage, precision, memory,
        jobs, resume, device, basis, pao, name, plot, text, json.

    Returns
    -------
    callable
        A decorator.
    """

    def decorate(function):
        for name in reversed(names):
            function = _OPTIONS[name](function)
        return function

    return decorate


def destination(output, in_place):
    """Check that a command has at most one place for its output.

    Parameters
    ----------
    output : str or None
        The value of ``-o``.
    in_place : bool
        The value of ``--in-place``.
    """
    if output and in_place:
        raise click.UsageError("-o and --in-place exclude each other.")


def structure_source(stack, source, in_place):
    """Open a SOURCE that is a block file or a structure file of another program.

    Parameters
    ----------
    stack : contextlib.ExitStack
        Keeps the block file open.
    source : str
        A path, or "-".
    in_place : bool
        The value of ``--in-place``.

    Returns
    -------
    file : BlockFile or None
        None if it is no block file.
    structure : Structure
        Its structure.
    known : Basis or None
        Its basis, as far as the file tells.
    inputs : list of (str, str)
        Its name and digest, for the history.
    """
    from moireio.blockfile.stream import open_source
    from moireio.formats import structures

    if structures.is_block_file(source):
        file = stack.enter_context(open_source(source))
        known = file.basis if "basis" in file else None
        return file, file.structure, known, [(file.label, file.digest())]
    if in_place:
        raise click.UsageError("--in-place needs a block file as SOURCE.")
    structure, known = structures.read_foreign(source)
    return None, structure, known, [(source, structures.digest(source))]


def write_operators(ctx, writer, sources, precision, jobs, label):
    """Write operators that are computed, with progress.

    Parameters
    ----------
    ctx : click.Context
        The running command.
    writer : BlockWriter
        To which they go.
    sources : sequence of OperatorSource
        In double precision.
    precision : {"float32", "float64"} or None
        The value of ``--precision``.
    jobs : int or None
        The value of ``--jobs``.
    label : str
        The command.
    """
    from moireio.operators.views import CastView

    if precision == "float32":
        sources = [CastView(source, precision) for source in sources]
    with show_progress(ctx, label) as update:
        writer.operators(sources, progress=update, jobs=jobs or os.cpu_count() or 1)
