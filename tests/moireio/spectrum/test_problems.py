"""Many k points: processes and memory."""

import numpy as np
import pytest

import moireio
from moireio.errors import MoireioError
from moireio.runtime import memory
from moireio.solvers import mkl
from moireio.solvers.base import EigenProblem
from moireio.solvers.testing import exact_levels, random_problem
from moireio.spectrum import problems as problems_module
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.problems import EigenproblemSet

needs_mkl = pytest.mark.skipif(mkl.library() is None, reason="MKL is not installed")


@pytest.fixture
def graphene(made):
    with moireio.open(made["gr_ab"]) as file:
        yield file, moireio.make_path(file.structure, "GMKG", 9)


@pytest.mark.parametrize("jobs", [1, 2])
def test_sparse_in_processes(graphene, jobs):
    file, path = graphene
    exact = moireio.solve_bands(file, path, bands=6, solver="dense")
    found = moireio.solve_bands(file, path, bands=6, solver=SolverChoice("sparse", jobs=jobs))
    assert np.abs(found.energies - exact.energies).max() < 1e-8


@needs_mkl
@pytest.mark.parametrize("how", [{"precision": "float32"}, {"verify_count": True}])
def test_single_precision_and_proof(graphene, how):
    file, path = graphene
    exact = moireio.solve_bands(file, path, bands=6, solver="dense")
    found = moireio.solve_bands(file, path, bands=6, solver=SolverChoice("sparse", options=how))
    assert np.abs(found.energies - exact.energies).max() < 1e-8


@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_window_of_energies(graphene, solver):
    """Every band that enters the window anywhere is kept, and no other."""
    file, path = graphene
    all_bands = moireio.solve_bands(file, path).energies[0]
    low, high = file.electrons.fermi - 3.0, file.electrons.fermi + 2.0
    enters = ((all_bands > low) & (all_bands < high)).any(axis=0)
    found = moireio.solve_bands(file, path, energy_range=(low, high), solver=solver)
    first, last = np.flatnonzero(enters)[[0, -1]]
    assert found.first_band == first
    assert np.abs(found.energies[0] - all_bands[:, first : last + 1]).max() < 1e-8
    with pytest.raises(MoireioError, match="no band has energies"):
        moireio.solve_bands(file, path, energy_range=(-1e3, -9e2), solver=solver)


@pytest.mark.parametrize("jobs", [1, 2])
def test_small_elements_left_out(graphene, jobs):
    """The correction brings energies back to within its square, and it is reported."""
    file, path = graphene
    exact = moireio.solve_bands(file, path, bands=6, solver="dense").energies
    said = []
    choice = SolverChoice("sparse", jobs=jobs, options={"drop": 3e-3})
    found = moireio.solve_bands(file, path, bands=6, solver=choice, note=said.append)
    assert 1e-7 < np.abs(found.energies - exact).max() < 2e-5
    share, shift = said[0].split("left out ")[1].split(" %")[0], said[0].split()[-4]
    assert 5 < float(share) < 60
    assert np.abs(found.energies - exact).max() < 0.2 * float(shift) < 1e-3
    with pytest.raises(MoireioError, match=r"positive definite.*smaller `drop`"):
        moireio.solve_bands(
            file, path, bands=6, solver=SolverChoice("sparse", options={"drop": 0.1})
        )
    with pytest.raises(MoireioError, match="the dense solver has no `drop`"):
        moireio.solve_bands(
            file, path, bands=6, solver=SolverChoice("dense", options={"drop": 0.3})
        )


@needs_mkl
def test_memory_is_refused_before_anything_is_factorised(graphene, monkeypatch):
    from moireio.solvers.pardiso import PardisoFactor

    file, path = graphene
    monkeypatch.setattr(PardisoFactor, "factorise", lambda *_: pytest.fail("factorised"))
    choice = SolverChoice("sparse", memory=1e4)
    with pytest.raises(MoireioError, match=r"need at least .* MB.*`precision` to float32"):
        moireio.solve_bands(file, path, bands=2, solver=choice)


def problems_of(problem, choice, n_points=1, **how):
    """Return the eigenproblems of a random H and S at copies of its k point."""
    k = np.tile(problem.k, (n_points, 1))
    return EigenproblemSet([problem.hamiltonian], problem.overlap, k, choice, **how)


@pytest.mark.parametrize("solver", ["dense", "sparse"])
@pytest.mark.parametrize(
    ("smallest", "warned"), [(1e-3, False), (3e-5, False), (5e-6, True), (1e-9, True)]
)
def test_near_dependence_is_noted(solver, smallest, warned):
    """Between 1e-5 and zero: usual bases are not spoken of, worse ones always."""
    problem = random_problem(1, min_overlap=smallest)
    with problems_of(problem, SolverChoice(solver)) as problems:
        list(problems.levels([(0, 0)], (8, 11)))
        notes = problems.notes()
    assert len(notes) == warned
    if warned:
        assert notes[0].startswith("orbitals nearly depend on each other")
        value = float(notes[0].split("eigenvalue of ")[1].split(",")[0])
        assert value == pytest.approx(smallest, rel=0.1)
        assert "`overlap_cutoff`" in notes[0]


@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_orbitals_left_out_are_noted(solver):
    problem = random_problem(1, min_overlap=1e-7)
    choice = SolverChoice(solver, options={"overlap_cutoff": 1e-4})
    with problems_of(problem, choice) as problems:
        list(problems.levels([(0, 0)], (8, 11)))
        (note,) = problems.notes()
    assert note.startswith("`overlap_cutoff` 0.0001 left out up to 1 of 18 combinations")
    assert note.endswith("1.0e-07")


@pytest.mark.parametrize("solver", ["dense", "sparse"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_overlap_that_is_not_positive_is_one_line(solver, jobs, monkeypatch):
    """From worker processes too, and where levels are counted."""
    monkeypatch.setattr(problems_module, "SERIAL_WORK", 0.0)
    problem = random_problem(5, min_overlap=-0.2)
    tasks = [(0, point) for point in range(8)]
    with problems_of(problem, SolverChoice(solver, jobs=jobs), 8) as problems:
        for ask in (
            lambda: list(problems.levels(tasks, (3, 6))),
            lambda: problems.count_below(0, 0, 0.1),
        ):
            with pytest.raises(MoireioError, match=r"not positive definite at k = 0\.1 0\.23 0"):
                ask()


@pytest.mark.parametrize("states", [True, False])
@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_processes_give_the_same(solver, states, monkeypatch):
    """In the order of the tasks; states are reduced where they are found."""
    monkeypatch.setattr(problems_module, "SERIAL_WORK", 0.0)
    problem = random_problem(6)
    k = np.random.default_rng(0).uniform(-0.5, 0.5, (7, 3)) * [1, 1, 0]
    tasks = [(0, point) for point in (3, 0, 1, 2, 6, 4, 5)]
    tables = []
    for jobs in (1, 2):
        choice = SolverChoice(solver, jobs=jobs)
        with EigenproblemSet(
            [problem.hamiltonian], problem.overlap, k, choice, 4, states=states
        ) as problems:
            solved = list(problems.levels(tasks, (7, 10), _norms))
        assert [task for task, *_ in solved] == tasks
        tables.append(np.array([energies for _, energies, _ in solved]))
        for _, _, norms in solved:
            assert norms is None if not states else np.abs(norms - 1).max() < 1e-9
    exact = [
        exact_levels(EigenProblem(problem.hamiltonian, problem.overlap, k[point]))[7:11]
        for _, point in tasks
    ]
    for table in tables:
        assert np.abs(table - exact).max() < 1e-8


def _norms(problem, energies, states):
    if states is None:
        return None
    s = problem.overlap.dense(problem.k)
    return np.einsum("ij,ij->j", states.conj(), s @ states).real


@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_one_rule_of_memory(solver, monkeypatch):
    """`memory`, or nine tenths of what is free, for every solver in the same words."""
    if solver == "sparse" and mkl.library() is None:
        pytest.skip("SuperLU does not know its memory")
    problem = random_problem(6, copies=4)
    need = SolverChoice(solver).make(72, 4).memory(problem, 4, False)
    refused = rf"72 orbitals need at least .* kB with the {solver} solver, .* kB may be used"

    def solve(choice):
        with problems_of(problem, choice, bands=4) as problems:
            list(problems.levels([(0, 0)], (30, 33)))

    solve(SolverChoice(solver, jobs=1, memory=2 * need))
    with pytest.raises(MoireioError, match=refused):
        solve(SolverChoice(solver, jobs=1, memory=0.1 * need))
    monkeypatch.setattr(memory, "free_memory", lambda: 2.3 * need)
    solve(SolverChoice(solver, jobs=1))
    monkeypatch.setattr(memory, "free_memory", lambda: 0.1 * need)
    with pytest.raises(MoireioError, match=refused):
        solve(SolverChoice(solver, jobs=1))


def test_memory_limits_the_processes(monkeypatch):
    """Dense problems of which only one fits are solved in this process."""
    monkeypatch.setattr(problems_module, "SERIAL_WORK", 0.0)
    pools = []
    pool = problems_module.worker_pool
    monkeypatch.setattr(
        problems_module, "worker_pool", lambda jobs, *rest: pools.append(jobs) or pool(jobs, *rest)
    )
    problem = random_problem(6)
    need = SolverChoice("dense").make(18, None).memory(problem, 18, False)
    for limit, expected in ((1.5 * need, []), (2.5 * need, [2]), (9.5 * need, [3])):
        pools.clear()
        choice = SolverChoice("dense", jobs=3, memory=limit)
        with problems_of(problem, choice, 6) as problems:
            assert len(list(problems.levels([(0, n) for n in range(6)], None))) == 6
        assert pools == expected


def test_the_solver_is_closed():
    closed = []
    with problems_of(random_problem(1), SolverChoice("sparse")) as problems:
        problems.solver.close = lambda: closed.append(True)
        assert problems.shape == (1, 1, 18)
    assert closed == [True]


def test_choices():
    """What "auto" means, and whether it finds a range of bands."""
    assert SolverChoice().resolved(3000, 10) == "sparse"
    assert SolverChoice("dense").resolved(3000, 10) == "dense"
    assert SolverChoice().finds_range(3000, 10)
    assert not SolverChoice().finds_range(3000, None)
    assert not SolverChoice("dense").finds_range(3000, 10)
    assert SolverChoice("slepc").finds_range(10, None)
    with pytest.raises(MoireioError, match="the sparse solver has no `device`"):
        SolverChoice("sparse", device="cuda").make(10, 4)
