"""Solvers by name, those of other distributions included."""

import subprocess
import sys

import numpy as np
import pytest
from plugin_packages import install

from moireio.errors import MoireioError
from moireio.solvers import mkl, registry, superlu
from moireio.solvers.lapack import LapackSolver
from moireio.solvers.registry import automatic, make_solver, solver_names
from moireio.solvers.sparse import SparseSolver
from moireio.solvers.testing import exact_levels, random_problem
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.problems import EigenproblemSet

TOY = """
from dataclasses import dataclass
from scipy.linalg import eigh
from moireio.solvers.base import Solver

@dataclass(frozen=True)
class ToyOptions:
    flavour: str = "plain"

class Toy(Solver):
    name = "toy"
    Options = ToyOptions

    def __init__(self, options, sigma=None):
        self.options = options

    def eigenpairs(self, problem, band_range=None):
        s = None if problem.overlap is None else problem.overlap.dense(problem.k)
        return eigh(problem.hamiltonian.dense(problem.k), s, subset_by_index=band_range)

    def memory(self, problem, bands, states):
        return 48.0 * problem.n_orbitals**2
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("toy_module", "toy_bad"):
        sys.modules.pop(name, None)
    return lambda name, value, text=TOY, module="toy_module": install(
        str(tmp_path), name, {"moireio.solvers": {"toy": value}}, {f"{module}.py": text}
    )


def test_own_solvers():
    assert solver_names()[:3] == ["dense", "sparse", "slepc"]
    assert type(make_solver("dense")) is LapackSolver
    assert type(make_solver("sparse")) is SparseSolver
    assert make_solver("slepc").name == "slepc"
    assert all(row.description for row in registry.SOLVERS.values())
    with pytest.raises(MoireioError, match=r"no solver is called 'exact' \(there are dense, spa"):
        make_solver("exact")


def test_names_are_listed_without_heavy_imports():
    code = (
        "import sys; from moireio.solvers.registry import solver_names; solver_names()\n"
        "assert not {'numpy', 'scipy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("dense", {"verify_count": True}, "the dense solver has no `verify_count`"),
        ("dense", {"drop": 0.1}, r"the dense solver has no `drop` \(choose the solver sparse\)"),
        ("dense", {"launcher": "mpirun"}, "the dense solver has no `launcher`"),
        ("sparse", {"device": "cuda"}, r"the sparse solver has no `device` .*solver dense"),
        ("slepc", {"overlap_cutoff": 1e-5}, "the slepc solver has no `overlap_cutoff`"),
        ("slepc", {"colour": "red"}, r"the slepc solver has no `colour` \(leave it out\)"),
    ],
)
def test_options_that_a_solver_does_not_have_are_refused(name, options, complaint):
    with pytest.raises(MoireioError, match=complaint):
        make_solver(name, options)


@pytest.mark.parametrize("name", ["dense", "sparse", "slepc"])
def test_defaults_of_all_options_are_accepted(name):
    defaults = {
        "device": "cpu",
        "precision": "auto",
        "verify_count": False,
        "drop": 0.0,
        "overlap_cutoff": 0.0,
        "launcher": None,
        "python": None,
    }
    assert make_solver(name, defaults).options == registry.SOLVERS[name].options()
    assert make_solver(name, {"precision": "float64"}).options.precision == "float64"


def test_automatic(monkeypatch):
    """The sparse solver where few bands of a large matrix are wanted, and can be counted."""
    assert automatic(2000, 20) == "sparse"
    assert automatic(2000, 200) == automatic(2000, None) == automatic(900, 4) == "dense"
    assert automatic(2000, 20, "cuda") == "dense"
    monkeypatch.setattr(mkl, "library", lambda: None)
    assert automatic(superlu.MOST_COUNTED, 20) == "sparse"
    assert automatic(superlu.MOST_COUNTED + 1, 20) == "dense"


def test_a_solver_of_another_distribution(toy):
    """It is used by name, with its own options, also for many k points."""
    toy("toy-solvers", "toy_module:Toy")
    assert solver_names()[-1] == "toy"
    assert "toy_module" not in sys.modules
    solver = make_solver("toy", {"flavour": "sweet", "drop": 0.0, "device": "cpu"})
    assert solver.options.flavour == "sweet"
    with pytest.raises(MoireioError, match="the toy solver has no `drop`"):
        make_solver("toy", {"drop": 0.1})
    problem = random_problem(1)
    exact = exact_levels(problem)
    k = [problem.k, problem.k]
    choice = SolverChoice("toy", jobs=2, options={"flavour": "sour"})
    with EigenproblemSet([problem.hamiltonian], problem.overlap, k, choice, 3) as problems:
        assert problems.count_below(0, 0, exact[4:6].mean()) == 5
        for _, energies, _ in problems.levels([(0, 0), (0, 1)], (4, 6)):
            assert np.abs(energies - exact[4:7]).max() < 1e-10
    choice = SolverChoice("toy", memory=100.0)
    with (
        pytest.raises(MoireioError, match=r"18 orbitals need .* with the toy solver"),
        EigenproblemSet([problem.hamiltonian], problem.overlap, k, choice) as problems,
    ):
        list(problems.levels([(0, 0)], None))


@pytest.mark.parametrize(
    ("value", "text", "complaint"),
    [
        ("toy_bad:Toy", "raise ImportError('no licence')", "cannot be loaded.*no licence"),
        ("toy_bad:Toy", "class Toy: pass", "is not a solver class with a dataclass Options"),
        ("toy_bad:absent", "", "has no attribute 'absent'"),
    ],
)
def test_a_broken_solver_is_one_line_with_its_distribution(toy, value, text, complaint):
    toy("badly-made", value, text, "toy_bad")
    with pytest.raises(MoireioError, match=complaint) as raised:
        make_solver("toy")
    assert "badly_made" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_two_solvers_of_one_name(toy):
    toy("first-toys", "toy_module:Toy")
    toy("second-toys", "toy_module:Toy")
    with pytest.raises(MoireioError, match=r"first_toys.*second_toys"):
        make_solver("toy")


def test_a_command_takes_a_solver_of_another_distribution(toy, invoke, made):
    """By its name; an unknown one is wrong usage, an option that it does not have one line."""
    toy("toy-solvers", "toy_module:Toy")
    words = [made["gr_ab"], "-p", "GK", "-n", "3", "--bands", "4", "-q"]
    tables = [invoke("band", *words, "--solver", name) for name in ("toy", "dense")]
    assert [done.exit_code for done in tables] == [0, 0]
    rows = [
        np.array([line.split() for line in done.stdout.splitlines() if line[0] != "#"], dtype=float)
        for done in tables
    ]
    assert np.abs(rows[0] - rows[1]).max() < 2e-6
    assert invoke("band", *words, "--solver", "toyland").exit_code == 2
    refused = invoke("band", *words, "--solver", "toy", "--drop", "0.1")
    assert refused.exit_code == 1
    assert "the toy solver has no --drop (choose the solver sparse)" in refused.stderr
