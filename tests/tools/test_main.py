"""The commands of other packages beside moireio's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_packages import install

ROOT = Path(__file__).parent.parent.parent
MODULE = """
import click

@click.command()
def main():
    click.echo("ribbons")

not_a_command = 3
"""


@pytest.fixture(scope="module")
def moireio(tmp_path_factory):
    """Run moireio with a distribution that adds three commands, two of them unusable."""
    site = tmp_path_factory.mktemp("site")
    rows = {"ribbon": "toy:main", "number": "toy:not_a_command", "absent": "toy:absent"}
    rows["band"] = "toy:main"  # moireio's own goes first
    install(site, "toy", {"moireio.commands": rows}, {"toy.py": MODULE}, "cut ribbons")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}

    def run(*words):
        command = [sys.executable, "-m", "moireio", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


def test_help_lists_them(moireio):
    text = moireio("--help").stdout
    assert "cut ribbons" in text
    assert text.index("h5-validate") < text.index("ribbon") < text.index("completion")


def test_they_run(moireio):
    assert moireio("ribbon").stdout == "ribbons\n"
    assert "Energies along" not in moireio("ribbon", "--help").stdout
    assert "ribbons" not in moireio("band", "--help").stdout


@pytest.mark.parametrize("name", ["number", "absent"])
def test_unusable_ones_are_one_line(moireio, name):
    done = moireio(name)
    assert done.returncode == 1
    note, error = done.stderr.splitlines()
    assert note.startswith("note: 'band'")
    assert error.startswith(f"error: '{name}'")
    assert "uninstall toy" in error


def test_unknown_ones_are_wrong_usage(moireio):
    done = moireio("ribon")
    assert done.returncode == 2
    assert "No such command" in done.stderr
