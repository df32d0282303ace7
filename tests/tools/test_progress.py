"""Progress: a bar on a terminal, lines in a log, nothing when quiet."""

import io

import click
import pytest

from moireio.tools import progress
from moireio.tools.progress import show_progress


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def context():
    return click.Context(click.Command("toy"))


def _run(ctx, monkeypatch, stream, steps, total):
    monkeypatch.setattr("sys.stderr", stream)
    with show_progress(ctx, "work") as step:
        for n in steps:
            step(n, total)
    return stream.getvalue()


def test_a_terminal_gets_a_bar_that_fills(context, monkeypatch):
    text = _run(context, monkeypatch, _Terminal(), [1, 1, 2], 4)
    assert "work" in text
    assert "100%" in text


def test_a_log_gets_a_line_now_and_then(context, monkeypatch):
    assert _run(context, monkeypatch, io.StringIO(), [1] * 3, 4) == ""
    monkeypatch.setattr(progress, "LOG_SECONDS", -1)
    lines = _run(context, monkeypatch, io.StringIO(), [1, 3], 4).splitlines()
    assert [line.partition(",")[0] for line in lines] == ["work: 25 %", "work: 100 %"]
    assert lines[-1].endswith("about 0 s left")


@pytest.mark.parametrize("stream", [_Terminal, io.StringIO])
def test_quiet_and_empty_work_print_nothing(context, monkeypatch, stream):
    monkeypatch.setattr(progress, "LOG_SECONDS", -1)
    assert _run(context, monkeypatch, stream(), [0], 0) == ""
    assert _run(context, monkeypatch, stream(), [], 5) == ""
    context.meta["moireio.quiet"] = True
    assert _run(context, monkeypatch, stream(), [1, 4], 5) == ""
