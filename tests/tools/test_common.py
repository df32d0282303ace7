"""How a command runs: errors in one line, options in messages, signals, warnings."""

import os
import signal
import subprocess
import sys
import warnings

import click
import pytest
from click.testing import CliRunner

from moireio.errors import MissingFileError, MoireioError
from moireio.runtime.workdirs import work_folder
from moireio.tools.common import Command, Group, arguments, fail, say
from moireio.tools.main import main

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def _command(function):
    """Return a command with some options that calls a function with its context."""

    @click.command("toy", cls=Command)
    @click.argument("source", default="-")
    @click.option("-m", "--memory")
    @click.option("--overlap-cutoff", type=float)
    @click.option("--window", type=float)
    @click.option("--json", "as_json", is_flag=True)
    @click.pass_context
    def main(ctx, **_):
        return function(ctx)

    return main


def _raising(error):
    def function(ctx):
        raise error

    return _command(function)


def _lines(command, *words):
    result = CliRunner().invoke(command, words)
    return result.exit_code, result.stderr.splitlines()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MoireioError("is odd", path="a.h5", remedy="try b"), "a.h5: is odd (try b)"),
        (MoireioError("is odd"), "in.h5: is odd"),
        (MissingFileError(path="a.h5"), "a.h5: no such file"),
        (MemoryError("900 GB"), "in.h5: does not fit into memory (900 GB)"),
        (PermissionError(13, "Permission denied", "a.h5"), "a.h5: Permission denied"),
        (OSError(28, "No space left"), "standard output: No space left"),
        (
            ZeroDivisionError("division\nby zero"),
            "in.h5: unexpected ZeroDivisionError: division (a fault of the file or of moireio: "
            "h5-validate checks block files, --debug shows more)",
        ),
    ],
)
def test_every_error_is_one_line(error, line):
    assert _lines(_raising(error), "in.h5") == (1, [f"error: {line}"])


def test_debug_shows_where():
    result = CliRunner().invoke(_raising(ZeroDivisionError("x")), ["in.h5", "--debug"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_standard_input_has_a_name():
    assert _lines(_raising(MoireioError("is odd"))) == (1, ["error: standard input: is odd"])


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("raise `memory`", "raise --memory"),
        ("raise `overlap_cutoff` or `memory`", "raise --overlap-cutoff or --memory"),
        ("ask for `as_json`", "ask for --json"),
        ("name another `source`", "name another SOURCE"),
        ("choose fewer `bands`", "choose fewer bands"),
        ("ask for `json`", "ask for --json"),
        ("enlarge `energy_window`", "enlarge --window"),
        ("see `check_coordinates`", "see check_coordinates"),
        ("run `mkdir -p x`", "run `mkdir -p x`"),
    ],
)
def test_parameters_become_options(text, printed):
    error = MoireioError("is odd", path="a", remedy=text)
    command = _raising(error)
    assert _lines(command) == (1, [f"error: a: is odd ({printed})"])
    command = _command(lambda ctx: say(ctx, f"note: {text}"))
    assert _lines(command) == (0, [f"note: {printed}"])
    assert _lines(command, "--quiet") == (0, [])
    warn = _command(lambda ctx: say(ctx, f"warning: {text}"))
    assert _lines(warn, "--quiet") == (0, [f"warning: {printed}"])


def test_failures_of_the_command_itself():
    assert _lines(_command(lambda ctx: fail("2 of 3 failed"))) == (1, ["error: 2 of 3 failed"])


def test_warnings_are_notes_said_once():
    def function(ctx):
        for _ in range(2):
            warnings.warn("the basis is `memory`\nand more", UserWarning, stacklevel=1)
            warnings.warn("old", DeprecationWarning, stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        shown = warnings.showwarning
        assert _lines(_command(function)) == (0, ["note: the basis is --memory"])
        assert _lines(_command(function), "-q") == (0, [])
        assert warnings.showwarning is shown


def test_in_process_a_command_returns_or_raises():
    assert _command(lambda ctx: 42).main(["in.h5"], standalone_mode=False) == 42
    error = MoireioError("raise `memory`", path="a")
    with pytest.raises(MoireioError) as caught:
        _raising(error).main([], standalone_mode=False)
    assert caught.value is error
    with pytest.raises(click.ClickException, match="2 of 3"):
        _command(lambda ctx: fail("2 of 3")).main([], standalone_mode=False)


@pytest.mark.parametrize("standalone", [True, False])
@pytest.mark.parametrize("grouped", [True, False])
def test_ctrl_c_in_process_is_keyboard_interrupt(tmp_path, standalone, grouped):
    folders = []

    def function(ctx):
        with work_folder("w-", str(tmp_path)) as folder:
            folders.append(folder)
            signal.raise_signal(signal.SIGINT)

    command, words = _command(function), ["in.h5"]
    if grouped:
        command, words = Group("all", {"toy": command}), ["toy", "in.h5"]
    before = [signal.getsignal(number) for number in NUMBERS]
    with pytest.raises(KeyboardInterrupt):
        command.main(words, standalone_mode=standalone)
    assert len(folders) == 1
    assert not os.path.exists(folders[0])
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_notebooks_keep_ctrl_c_after_a_command(made):
    """In a process of its own, since the old fault killed it."""
    script = f"""
import os, signal
from moireio.tools.h5_info import main

before = [signal.getsignal(n) for n in {[int(n) for n in NUMBERS]}]
main([{str(made["gr_ab"])!r}], standalone_mode=False)
try:
    main(["absent"], standalone_mode=False)
except FileNotFoundError:
    print("absent")
try:
    main([{str(made["gr_ab"])!r}])
except SystemExit:
    print("exits")
assert [signal.getsignal(n) for n in {[int(n) for n in NUMBERS]}] == before
try:
    os.kill(os.getpid(), signal.SIGINT)
    signal.sigtimedwait([], 10)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    words = [n for n in done.stdout.splitlines() if n in ("absent", "exits", "KeyboardInterrupt")]
    assert words == ["absent", "exits", "KeyboardInterrupt"]


def test_the_history_records_the_arguments_that_were_given(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["jupyter", "kernel"])
    seen = []
    command = _command(lambda ctx: seen.append(arguments()))
    command.main(["in.h5", "--memory", "4G", "-q"], standalone_mode=False)
    Group("all", {"toy": command}).main(["toy", "in.h5"], standalone_mode=False)
    assert seen == [["in.h5", "--memory", "4G", "-q"], ["in.h5"]]


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e10"])
def test_numbers_that_cannot_be_meant_are_refused(word):
    code, lines = _lines(_command(lambda ctx: None), "--window", word)
    assert code == 2
    assert lines[-1].endswith(f"'--window': {float(word):g} is no finite number below 1e+09")


def _leaves(command, path=()):
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        children = [(n, command.get_command(ctx, n)) for n in command.list_commands(ctx)]
        return [leaf for n, child in children for leaf in _leaves(child, (*path, n))]
    return [pytest.param(command, id="-".join(path))]


@pytest.mark.parametrize("command", _leaves(main))
def test_no_command_takes_nan(command):
    """Options of numbers, alone and in tuples, of every command."""
    for option in command.params:
        if isinstance(option.type, (click.types.FloatParamType, click.types.FloatRange)):
            words = ["x", option.opts[-1], *["nan"] * option.nargs]
            code, lines = _lines(command, *words)
            assert code == 2, option.name
            assert option.opts[-1] in lines[-1] or "Missing" in lines[-1], lines
