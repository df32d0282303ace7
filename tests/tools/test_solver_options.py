"""Options of the solvers, defined once for all commands."""

import click
import pytest
from click.testing import CliRunner

from moireio.tools.solver_options import checkpoint_path, solver_choice, solver_options


def parsed(solvers, *words):
    """Return the solver that a command with these options would use, or its refusal."""
    found = []

    @click.command()
    @solver_options(*solvers)
    def command(**opts):
        found.append(solver_choice(opts))

    result = CliRunner().invoke(command, [str(w) for w in words])
    return found[0] if found else result.output


def test_defaults_leave_the_choice_to_the_library():
    choice = parsed(["dense", "sparse", "slepc"])
    assert (choice.name, choice.jobs, choice.memory, choice.device) == ("auto", None, None, "cpu")
    assert choice.make(10, 2).name == "dense"


def test_values_reach_the_solver():
    words = ["--solver", "sparse", "--memory", "2G", "-j", 3, "--verify-count"]
    choice = parsed(["dense", "sparse"], *words, "--overlap-cutoff", 1e-5, "--drop", 1e-3)
    assert (choice.name, choice.jobs, choice.memory) == ("sparse", 3, 2e9)
    options = choice.make(10, 2).options
    assert options.verify_count
    assert options.overlap_cutoff == 1e-5
    assert options.drop == 1e-3


def test_options_of_solvers_that_a_command_lacks():
    assert "No such option" in parsed(["dense", "kpm"], "--verify-count")
    assert "No such option" in parsed(["dense", "sparse"], "--launcher", "mpirun")
    assert "is not one of" in parsed(["dense", "kpm"], "--solver", "sparse")
    assert "--launcher needs --solver slepc" in parsed(
        ["sparse", "slepc"], "--launcher", "mpirun -n 4"
    )


def test_files_of_finished_points():
    assert checkpoint_path({"resume": False}, [None, "-", "a.h5", "b"]) == "a.h5.part.jsonl"
    assert checkpoint_path({"resume": True}, ["folder.zarr/"]) == "folder.zarr.part.jsonl"
    assert checkpoint_path({"resume": False}, [None, "-"]) is None
    assert checkpoint_path({"resume": False}, ["a"], allowed=False) is None
    for names, allowed, text in (([None], True, "an output file"), (["a"], False, "one file")):
        with pytest.raises(click.UsageError, match=text):
            checkpoint_path({"resume": True}, names, allowed)
