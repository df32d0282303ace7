"""Many k points: processes and memory."""

import numpy as np
import pytest

import moireio
from moireio.errors import MoireioError
from moireio.solvers import mkl
from moireio.spectrum.problems import SolverChoice

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
    """The correction brings energies back to within its square, and it is told."""
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
    with pytest.raises(MoireioError, match=r"need at least .* GB.*`precision` to float32"):
        moireio.solve_bands(file, path, bands=2, solver=choice)
