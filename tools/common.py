"""How a command runs: its errors, notes and signals, and the options' names in messages."""

import math
import re
import sys
import warnings
from contextlib import contextmanager

import click

from moireio.errors import MoireioError, first_line

#: Options of another name than the library's parameter, for commands without an option of its name.
OPTION_OF = {
    "check_coordinates": "ignore_text_coordinates",
    "energy": "gap_energy",
    "energy_window": "window",
    "python": "slepc_python",
}
#: Largest number that an option takes; what is beyond overflows somewhere.
LARGEST = 1e9
_PARAMETER = re.compile(r"`([A-Za-z_]\w*)`")


class Failure(click.ClickException):
    """A failure that is one line on standard error and exit code 1."""

    def show(self, file=None):
        """Print ``error: text``."""
        click.echo(f"error: {self.message}", file=file, err=True)


class _Interrupted(BaseException):
    """KeyboardInterrupt on its way through click, which would make another exception of it."""


def program_name(ctx):
    """Return the name of a command as its own program has it, such as "build-dataset status".

    Parameters
    ----------
    ctx : click.Context
        The running command.

    Returns
    -------
    str
        Without "moireio" or "python -m moireio" before it.
    """
    path = ctx.command_path
    return "moireio" if path.endswith("moireio") else path.rpartition("moireio ")[2]


def _print_version(ctx, param, value):
    """Print the version for ``--version``, and end."""
    if not value or ctx.resilient_parsing:
        return
    from moireio import __version__

    name = program_name(ctx)
    click.echo(f"moireio {__version__}" if name == "moireio" else f"{name} (moireio) {__version__}")
    ctx.exit()


class Program:
    """A click command that is either a program of its own or runs inside another one.

    It is a program where it reads the process's command line and exits in the end. Signals then
    end the process at once. Anywhere else, as in a notebook, Ctrl-C raises KeyboardInterrupt,
    and with ``standalone_mode=False`` errors are the library's own exceptions.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        version = click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Show the version.",
        )
        self.params.append(version)

    def main(self, args=None, prog_name=None, complete_var=None, standalone_mode=True, **settings):
        """Run the command.

        Parameters
        ----------
        args : sequence of str, optional
            Its arguments; by default those of the process.
        prog_name : str, optional
            The command's name in messages.
        complete_var : str, optional
            The environment variable of shell completion.
        standalone_mode : bool
            Exit in the end, and print errors instead of raising them.
        **settings
            For click's context.

        Returns
        -------
        object
            The value of the command's function, without `standalone_mode`.
        """
        if args is None and standalone_mode and {"--help", "--version"} & set(sys.argv[1:]):
            return super().main(args, prog_name, complete_var, standalone_mode, **settings)
        from moireio.runtime import memory, signals, threads

        is_program = args is None and standalone_mode
        if is_program:
            memory.collect_seldom()
            threads.wait_passively()
        guard = signals.end_on_signals if is_program else signals.tidy_on_signals
        try:
            with guard():
                try:
                    return super().main(args, prog_name, complete_var, standalone_mode, **settings)
                except _Interrupted:
                    raise KeyboardInterrupt from None
        except Failure as failure:  # without standalone_mode
            if failure.__cause__ is None:
                raise
            raise failure.__cause__ from None


class Group(Program, click.Group):
    """Commands under one name; for one that there is not, those of like names are suggested."""

    def resolve_command(self, ctx, args):
        """Return name, command and further words."""
        name = str(args[0])
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            if name.startswith("-"):
                raise
        raise click.UsageError(f"No such command {name!r}{did_you_mean(name, self, ctx)}", ctx)


def did_you_mean(name, group, ctx):
    """Return a question that names the commands most like a word.

    Parameters
    ----------
    name : str
        What was typed.
    group : click.Group
        Has the commands.
    ctx : click.Context
        Its context.

    Returns
    -------
    str
        ": did you mean band?", or an empty text.
    """
    from difflib import get_close_matches

    names = group.list_commands(ctx)
    word = name.lower().replace("_", "-")
    near = get_close_matches(word, names, 3, 0.6)
    near += [n for n in names if (word in n or n in word) and n not in near and len(word) > 2]
    return f": did you mean {' or '.join(near)}?" if near else ""


class Command(Program, click.Command):
    """A command whose failures are one line on standard error and exit code 1."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(["--debug"], is_flag=True, help="Show the traceback of an error.")
        )
        self.params.append(
            click.Option(
                ["--quiet", "-q"], is_flag=True, help="No progress, no notes; warnings stay."
            )
        )

    def parse_args(self, ctx, args):
        """Read the arguments; numbers are finite and of a sensible size."""
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            for value in _floats(ctx.params.get(parameter.name)):
                if not (is_sensible(value) or value == parameter.default):
                    text = f"{value:g} is no finite number below {LARGEST:g}"
                    raise click.BadParameter(text, ctx, parameter)
        return rest

    def make_context(self, info_name, args, parent=None, **extra):
        """Read the arguments, and keep them for the history."""
        given = list(args)
        ctx = super().make_context(info_name, args, parent, **extra)
        ctx.meta["moireio.arguments"] = given
        return ctx

    def invoke(self, ctx):
        """Run the command and turn errors into one line."""
        debug = ctx.meta["moireio.debug"] = ctx.params.pop("debug")
        ctx.meta["moireio.quiet"] = ctx.params.pop("quiet")
        if sys.stdout is None:
            fail("standard output: is closed (send it to a file or /dev/null)")
        try:
            with _warnings_as_notes(ctx, debug):
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            raise _Interrupted from None
        except Exception as error:
            if debug:
                raise
            raise Failure(describe_error(error, ctx)) from error


def is_sensible(value):
    """Return whether a number can be meant: finite, and no larger than `LARGEST`.

    Parameters
    ----------
    value : float
        Any.

    Returns
    -------
    bool
        False for NaN too.
    """
    return math.isfinite(value) and abs(value) <= LARGEST


def _floats(value):
    """Return the floats in the value of an option, alone or in tuples."""
    if isinstance(value, (tuple, list)):
        return [number for part in value for number in _floats(part)]
    return [value] if isinstance(value, float) else []


@contextmanager
def _warnings_as_notes(ctx, debug):
    """Print Python's warnings as notes, once each; with ``--debug`` as Python does."""
    if debug:
        yield
        return
    seen = set()

    def show(message, category, filename, lineno, file=None, line=None):
        text = first_line(message)
        if text not in seen:
            seen.add(text)
            say(ctx, f"note: {text}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def with_options(text, ctx):
    """Name a command's options where a message names parameters of the library.

    Parameters
    ----------
    text : str
        A message, with parameters in backticks, as in ``raise `memory` ``.
    ctx : click.Context
        The running command.

    Returns
    -------
    str
        As in ``raise --memory``. A parameter without an option stays, without its backticks.
    """
    spelling = {}
    for parameter in ctx.command.params:
        if isinstance(parameter, click.Argument):
            spelling[parameter.name] = parameter.human_readable_name
        else:
            option = max(parameter.opts, key=len)
            spelling[parameter.name] = spelling[option.strip("-").replace("-", "_")] = option
            if option == "--option":  # those of formats, as --option spin=…
                from moireio.formats.registry import FORMATS

                names = [name for row in FORMATS.values() for name in row.options]
                spelling = {name: f"--option {name}=…" for name in names} | spelling
    return _PARAMETER.sub(
        lambda m: spelling.get(m[1]) or spelling.get(OPTION_OF.get(m[1])) or m[1], text
    )


def describe_error(error, ctx, source=None):
    """Return one line about an exception.

    Parameters
    ----------
    error : Exception
        Any.
    ctx : click.Context
        The running command.
    source : str, optional
        The file that was read; by default that of the command line.

    Returns
    -------
    str
        With the file's name, without "error: "; parameters of the library are options.
    """
    if source is None:
        names = (ctx.params.get(name) for name in ("source", "sources", "files"))
        source = next((name for name in names if name), ctx.info_name)
        source = source[0] if isinstance(source, tuple) else source
    return _about_format(error, ctx, source) or with_options(_line(error, source), ctx)


def _about_format(error, ctx, source):
    """Return the error of an input of another kind than the command reads, or None."""
    if isinstance(error, (MemoryError, RecursionError)):
        return None
    from moireio.tools.wrong_format import wrong_format

    path = error.path if isinstance(error, MoireioError) else getattr(error, "filename", None)
    path = source if path is None and len(ctx.params.get("files") or ()) > 1 else path
    try:
        return wrong_format(ctx, path)
    except Exception:  # the command's own error is the better one
        return None


def _line(error, source):
    source = "standard input" if source == "-" else source
    if isinstance(error, MoireioError):
        return str(error) if error.path else f"{source}: {error}"
    if isinstance(error, MemoryError):
        return f"{source}: does not fit into memory ({first_line(error)})"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.strerror:
        return f"standard output: {error.strerror}"
    return (
        f"{source}: unexpected {type(error).__name__}{_place(error)}: {first_line(error)} "
        "(a fault of the file or of moireio: h5-validate checks block files, --debug shows more)"
    )


def _place(error):
    """Return where in moireio an exception comes from, as " in moireio.dos.solve, line 57"."""
    frame, place = error.__traceback__, ""
    while frame is not None:
        module = frame.tb_frame.f_globals.get("__name__", "")
        if module.startswith("moireio.") and module != __name__:
            place = f" in {module}, line {frame.tb_lineno}"
        frame = frame.tb_next
    return place


def fail(text):
    """End the command with ``error: text`` on standard error and exit code 1.

    Parameters
    ----------
    text : str
        One line.
    """
    raise Failure(text)


def say(ctx, text):
    """Print a remark on standard error; with ``--quiet`` only warnings.

    Parameters
    ----------
    ctx : click.Context
        The running command.
    text : str
        One line; parameters in backticks become options.
    """
    if text.startswith("warning: ") or not ctx.meta.get("moireio.quiet"):
        click.echo(with_options(text, ctx), err=True)


def arguments():
    """Return the arguments of the running command as the history records them, a list of str."""
    return click.get_current_context().meta["moireio.arguments"]
