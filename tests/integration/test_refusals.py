"""The commands that solve eigenproblems refuse the same things in the same words."""

import re

import numpy as np
import pytest
from helpers import overlap_like, random_operator, random_system

from moireio.blockfile.stream import write_target
from moireio.operators.views import ArraySource
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis

PATH = "0.1,0.3,0 0.1,0.2,0"
COMMANDS = {
    "band": ["--path", PATH, "--points", 2],
    "dos": ["--mesh", 2, 2],
    "flat-band": ["--path", PATH, "--points", 2, "--below", 1, "--above", 1],
    "compare-h": ["--bands", 1, "--path", PATH, "--points", 2],
}


def system(path, *, overlap="good", orthogonal=False):
    """Write H and S of four atoms; S can be missing or not positive definite."""
    structure, basis = random_system(1)
    sizes = basis.sizes(structure)
    hamiltonian, _ = random_operator(1, sizes)
    S, blocks = overlap_like(1, sizes)
    if overlap == "bad":
        key = (0, 0, (0, 0, 0))
        blocks[key] = blocks[key] - 2 * np.eye(len(blocks[key]))
        S = ArraySource.from_blocks(S.meta, sizes, blocks)
    sources = [hamiltonian] if overlap == "missing" else [hamiltonian, S]
    basis = Basis(basis.species, orthogonal=orthogonal)
    with write_target(str(path)) as writer:
        writer.structure(structure)
        writer.basis(basis)
        writer.electrons(Electrons(count=float(sizes.sum()), fermi=0.0))
        for source in sources:
            writer.operator(source)
        writer.history("test")
    return path


def refusal(invoke, command, path, *words):
    """Return the error of a command without the name of the file."""
    files = [path, path] if command == "compare-h" else [path]
    done = invoke(command, *files, *COMMANDS[command], *words, "-q")
    assert done.exit_code == 1, done.output
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ").removeprefix(f"{path}: ")


@pytest.mark.parametrize("command", list(COMMANDS))
def test_an_overlap_that_is_not_positive(invoke, tmp_path, command):
    path = system(tmp_path / "x.h5", overlap="bad")
    error = refusal(invoke, command, path)
    assert error.startswith("the overlap is not positive definite at k = ")
    assert "--overlap-cutoff" in error
    assert "h5-validate" in error


@pytest.mark.parametrize("command", list(COMMANDS))
def test_an_overlap_that_is_missing(invoke, tmp_path, command):
    path = system(tmp_path / "x.h5", overlap="missing")
    error = refusal(invoke, command, path)
    assert error == "has no /overlap (add it: overlap FILE | …)"


@pytest.mark.parametrize("command", list(COMMANDS))
def test_too_little_memory(invoke, tmp_path, command):
    path = system(tmp_path / "x.h5")
    words = ["--points", 9] if command == "dos" else []  # of its own, 16 kB would be too much
    error = refusal(invoke, command, path, *words, "--solver", "dense", "--memory", "1k")
    expected = r"at least [0-9.]+ (kB|bytes) with the dense solver, 1\.0 kB may be used"
    assert re.search(expected, error), error
    assert "--memory" in error


@pytest.mark.parametrize("command", list(COMMANDS))
def test_combinations_of_orbitals_that_are_left_out(invoke, tmp_path, command):
    """With a cutoff all solve the problem, and note what was left out in the same words."""
    path = system(tmp_path / "x.h5", overlap="bad")
    files = [path, path] if command == "compare-h" else [path]
    done = invoke(command, *files, *COMMANDS[command], "--overlap-cutoff", 0.5)
    assert done.exit_code == 0, done.output
    notes = [line for line in done.stderr.splitlines() if "left out up to" in line]
    assert len(notes) == 1
    assert notes[0].startswith("note: --overlap-cutoff 0.5 left out up to ")


@pytest.mark.parametrize("command", list(COMMANDS))
def test_an_orthogonal_basis_needs_no_overlap(invoke, tmp_path, command):
    path = system(tmp_path / "x.h5", overlap="missing", orthogonal=True)
    files = [path, path] if command == "compare-h" else [path]
    assert invoke(command, *files, *COMMANDS[command]).exit_code == 0


@pytest.mark.parametrize("command", list(COMMANDS))
def test_resume_needs_an_output(invoke, tmp_path, command):
    path = system(tmp_path / "x.h5")
    files = [path, path] if command == "compare-h" else [path]
    done = invoke(command, *files, *COMMANDS[command], "--resume")
    assert done.exit_code == 2
    assert "--resume needs an output file" in done.stderr
