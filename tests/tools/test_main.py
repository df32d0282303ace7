"""The commands of other packages beside moireio's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from plugin_packages import install

from moireio import __version__
from moireio.tools.main import COMMANDS, main

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

    def run(*words, **variables):
        command = [sys.executable, *(words if "-c" in words else ("-m", "moireio", *words))]
        variables = environment | variables
        return subprocess.run(command, env=variables, capture_output=True, text=True)

    return run


def test_help_lists_them(moireio):
    text = moireio("--help").stdout
    assert "cut ribbons" in text
    assert text.index("h5-validate") < text.index("cut ribbons") < text.index("completion")


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
    assert "No such command 'ribon': did you mean ribbon?" in done.stderr


def test_completion_lists_usable_ones_and_is_silent_about_the_others(moireio):
    def complete(words):
        script = "from moireio.tools.main import main; main(prog_name='moireio')"
        place = str(len(words.split(" ")) - 1)
        variables = {"COMP_WORDS": words, "COMP_CWORD": place}
        done = moireio("-c", script, _MOIREIO_COMPLETE="bash_complete", **variables)
        assert done.stderr == ""
        return [line.partition(",")[2] for line in done.stdout.split()]

    names = complete("moireio ")
    assert {"ribbon", "band", "completion"} <= set(names)
    assert not {"number", "absent"} & set(names)
    assert complete("moireio rib") == ["ribbon"]
    assert "--help" in complete("moireio ribbon --h")


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("bnd", "band"),
        ("flatband", "flat-band or band"),
        ("predict", "predict-h"),
        ("H5info", "h5-info"),
        ("openmx", "openmx2h5"),
        ("build", "build-twist or build-dataset"),
    ],
)
def test_commands_of_like_names_are_suggested(word, names):
    done = CliRunner().invoke(main, [word])
    assert done.exit_code == 2
    assert done.stderr.endswith(f"Error: No such command '{word}': did you mean {names}?\n")


def test_nothing_like_it():
    assert CliRunner().invoke(main, ["xyzzy"]).stderr.endswith("No such command 'xyzzy'\n")
    assert "did you mean make?" in CliRunner().invoke(main, ["build-dataset", "mak"]).stderr
    assert "--path" in CliRunner().invoke(main, ["band", "--pth", "GMK"]).stderr


def test_every_command_has_a_version():
    lines = {"moireio": f"moireio {__version__}\n"}
    names = [[name] for name in (*COMMANDS, "completion")] + [["build-dataset", "make"]]
    lines |= {" ".join(words): f"{' '.join(words)} (moireio) {__version__}\n" for words in names}
    for words in ([], *names):
        done = CliRunner().invoke(main, [*words, "--version"], prog_name="moireio")
        assert (done.exit_code, done.output) == (0, lines[" ".join(words) or "moireio"])


def offers(command, words, incomplete):
    """Return the plain words that completion offers, and whether files too."""
    complete = ShellComplete(command, {}, command.name, "_X_COMPLETE")
    items = complete.get_completions(words, incomplete)
    return [i.value for i in items if i.type == "plain"], "file" in [i.type for i in items]


def test_completion_of_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.h5", "b.zarr.zip", "two words.h5", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tbg.h5").touch()
    cases = [
        ("build-twist", [], "gr", ["graphene"]),
        ("build-twist", ["graphene"], "mos", ["MoS2", "MoSe2"]),
        ("build-twist", ["--stacking"], "", ["R", "H"]),
        ("tb-h", ["-m"], "", ["graphene-nn", "moon-koshino", "trambly"]),
        ("predict-h", ["--model"], "", ["graphene-bilayer", "mote2-bilayer"]),
        ("train-h", ["--init-from"], "gra", ["graphene-bilayer"]),
        ("band", ["a.h5", "--solver"], "", ["auto", "dense", "sparse", "slepc"]),
        ("band", [], "", ["a.h5", "b.zarr.zip"]),
        ("h5-info", ["a.h5"], "b", ["b.zarr.zip"]),
        ("flat-band", [], "out/", ["out/tbg.h5"]),
    ]
    for name, words, incomplete, values in cases:
        found, files = offers(main.get_command(None, name), words, incomplete)
        assert found == values, name
        assert files == (words[-1:] not in (["--stacking"], ["--solver"])), name


COMMANDS_AND_HEAVY = """
import sys
from moireio.tools.main import COMMANDS, main
heavy = {"numpy", "scipy", "torch", "h5py", "zarr", "matplotlib", "ase", "importlib.metadata"}
for words in (["--help"], ["completion", "--help"], *([name, "--help"] for name in COMMANDS)):
    try:
        main(words)
    except SystemExit:
        pass
    assert not heavy & set(sys.modules), (words, heavy & set(sys.modules))
"""


def test_help_imports_nothing_heavy_and_says_units():
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS_AND_HEAVY], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") > 15
    assert "eV" in done.stdout
