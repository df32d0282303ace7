"""Options that several commands share: how their values are read."""

import click
import pytest
from click.testing import CliRunner

from moireio.runtime.memory import free_memory
from moireio.tools.common import Command
from moireio.tools.options import basis_names, destination, memory_bytes, options, source_argument


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4e9),
        ("500M", 5e8),
        ("2.5GiB", 2.5 * 2**30),
        ("1k", 1e3),
        ("1Ki", 1024),
        (" 3 TB ", 3e12),
        ("17", 17),
        ("17b", 17),
    ],
)
def test_amounts_of_memory(text, size):
    assert memory_bytes(text) == size


def test_half_of_the_free_memory_is_the_default():
    assert 0.2 * free_memory() < memory_bytes(None) < 0.8 * free_memory()


@pytest.mark.parametrize("text", ["", "G", "4X", "-3G", "1.2.3G", "4 apples"])
def test_no_amounts_of_memory(text):
    with pytest.raises(click.UsageError, match="expected an amount such as 4G"):
        memory_bytes(text)


def test_names_of_basis_sets():
    assert basis_names(None, None, ["C=C6.0-s2p2d1", "Mo=a=b"]) == {"C": "C6.0-s2p2d1", "Mo": "a=b"}
    with pytest.raises(click.UsageError, match="expected one like"):
        basis_names(None, None, ["C6.0"])


def test_one_place_for_the_output():
    destination("a.h5", False)
    destination(None, True)
    with pytest.raises(click.UsageError, match="exclude each other"):
        destination("a.h5", True)


def test_options_keep_their_order():
    @click.command("toy", cls=Command)
    @source_argument
    @options("output", "force", "jobs")
    def main(**given):
        click.echo(repr(given))

    assert [p.name for p in main.params[:4]] == ["source", "output", "force", "jobs"]
    given = CliRunner().invoke(main, ["-j", "2", "--force"]).output
    for word in ("'jobs': 2", "'force': True", "'source': '-'", "'output': None"):
        assert word in given
    assert CliRunner().invoke(main, ["-j", "0"]).exit_code == 2
