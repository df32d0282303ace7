"""Outputs that are pipes, devices and standard output, in shells as users have them."""

import os
import subprocess
import sys

import pytest

import moireio

ROWS = 3  # k points


@pytest.fixture
def shell(tmp_path, made):
    """Run a line of bash in an empty folder; $F is a block file, `moireio` the program."""

    def run_line(line):
        script = f'moireio() {{ "{sys.executable}" -m moireio "$@"; }}; set -o pipefail; {line}'
        environment = os.environ | {"F": str(made["gr_ab"])}
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True
        )
        return done.returncode, done.stdout, done.stderr.decode()

    return run_line


BAND = "moireio band $F -q -p GK -n 3"


def rows(text):
    return [n for n in text.decode().splitlines() if n and not n.startswith("#")]


def test_tables(shell, tmp_path):
    """One shell for all: starting Python is what takes the time."""
    code, out, err = shell(
        f"{BAND} --text /dev/null && {BAND} --text - > a.txt && {BAND} --text /dev/stdout > b.txt "
        f"&& {BAND} --text /dev/stdout | cat > c.txt && {BAND} --text >(cat > d.txt) && sleep 0.2 "
        f"&& {BAND} --text /dev/stderr 2> e.txt"
    )
    assert (code, out, err) == (0, b"", "")
    texts = [(tmp_path / f"{name}.txt").read_bytes() for name in "abcde"]
    assert len(rows(texts[0])) == ROWS
    assert set(texts) == {texts[0]}


def test_files_and_pictures(shell, tmp_path):
    code, out, err = shell(
        "moireio convert-h -q $F -o /dev/stdout > a.h5 && mkfifo p.h5 && (cat p.h5 > b.h5 &) && "
        f"moireio convert-h -q $F -o p.h5 && {BAND} --plot - > a.png && {BAND} -o /dev/null "
        "&& moireio build-twist graphene --index 2 1 -q -o /dev/stdout > t.h5 && sleep 0.2"
    )
    assert (code, out, err) == (0, b"", "")
    for name in ("a.h5", "b.h5"):
        with moireio.open(tmp_path / name) as file:
            assert file.operators
    with moireio.open(tmp_path / "t.h5") as file:
        assert len(file.structure) == 28
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(tmp_path)) == ["a.h5", "a.png", "b.h5", "p.h5", "t.h5"]


@pytest.mark.parametrize(
    "words",
    [
        ["--text", "-", "--json"],
        ["--text", "/dev/stdout", "-o", "-"],
        ["--plot", "-", "--text", "/dev/fd/1"],
    ],
)
def test_two_results_do_not_share_standard_output(invoke, made, words):
    done = invoke("band", made["gr_ab"], "-p", "GK", "-n", 3, *words)
    assert done.exit_code == 2
    assert "go to standard output: name a file" in done.stderr
