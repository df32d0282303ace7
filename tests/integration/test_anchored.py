"""Levels at many k points from anchors, in the commands and functions that ask for them."""

import json

import numpy as np
import pytest
from scipy.linalg import eigh

import moireio
from moireio.bands.flat import flat_bands
from moireio.bands.report import bands_json
from moireio.compare.hamiltonians import compare_bands
from moireio.dos.solve import EnergyGrid, density_of_states
from moireio.errors import MoireioError
from moireio.formats.calculations import open_calculation
from moireio.kspace.mesh import make_mesh
from moireio.solvers import registry
from moireio.solvers.sparse import SparseSolver
from moireio.spectrum import checkpoint, selection
from moireio.spectrum.anchors import driver, numbering, settings
from moireio.spectrum.anchors.settings import Anchoring
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.filling import find_filling
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.states import solve_states


@pytest.fixture(scope="module")
def twisted(run, tmp_path_factory):
    """Twisted graphene of 244 orbitals."""
    path = tmp_path_factory.mktemp("twisted") / "tb.h5"
    run("build-twist", "graphene", "--index", 4, 5, "-q", "-o", path)
    run("tb-h", path, "-m", "moon-koshino", "--in-place", "-q")
    return path


@pytest.fixture
def low_thresholds(monkeypatch):
    """The sparse solver, and anchors, for small cells too."""
    monkeypatch.setattr(registry, "SPARSE_SIZE", 100)
    monkeypatch.setattr(settings, "LEAST_POINTS", 20)
    monkeypatch.setattr(registry, "FEW", 4)


def bands_of(file, **options):
    path = moireio.make_path(file.structure, "GMKG", 20)
    notes = []
    choice = SolverChoice(**options)
    bands = moireio.solve_bands(file, path, bands=6, solver=choice, note=notes.append)
    return bands, notes


def test_counts_at_every_k_reveal_wrong_numbers(twisted, low_thresholds, monkeypatch):
    """Numbers between anchors are made wrong at two k points: these are solved directly."""
    right = numbering.BandNumbers.spread

    def wrong(self, *anchors):
        right(self, *anchors)
        between = [p for p in self._found.at if p not in anchors[0]]
        for point in between[1:3]:
            self._first[point] += 1

    monkeypatch.setattr(numbering.BandNumbers, "spread", wrong)
    with moireio.open(twisted) as file:
        exact, _ = bands_of(file, name="dense")
        bands, notes = bands_of(file, options={"verify_count": True})
    assert np.abs(bands.energies - exact.energies).max() < bands.accuracy.tolerance
    assert bands.accuracy.method == "anchored"
    assert (bands.accuracy.counted == bands.first_band).all()
    assert notes[-1].endswith(
        "counts of levels did not confirm the bands that anchors gave: solved directly"
    )


def test_where_states_do_not_fit_each_k_is_solved(twisted, low_thresholds, monkeypatch):
    """And a note says so."""
    monkeypatch.setattr(driver, "EXPECTED", 10**6)
    with moireio.open(twisted) as file:
        bands, notes = bands_of(file)
        exact, _ = bands_of(file, anchoring=Anchoring(direct=True))
    assert bands.accuracy.method == "direct"
    assert np.abs(bands.energies - exact.energies).max() < 1e-9
    assert notes[0].endswith("may be used: every k point was solved directly")


def test_an_interval_of_energies_is_found_from_anchors(twisted, low_thresholds, monkeypatch):
    """The bands of a dense solver, from few factorisations; counts are for a few k points."""
    counted = []
    count = EigenproblemSet.count_below
    monkeypatch.setattr(
        EigenproblemSet, "count_below", lambda *a: counted.append(a[1:3]) or count(*a)
    )
    with moireio.open(twisted) as file:
        path = moireio.make_path(file.structure, "GMKG", 20)
        dense = moireio.solve_bands(file, path, solver="dense").energies[0]
        low, high = -0.05, 0.1
        found = moireio.solve_bands(file, path, energy_range=(low, high))
    enters = np.flatnonzero((dense.max(axis=0) >= low) & (dense.min(axis=0) < high))
    assert found.first_band == enters[0]
    assert found.energies.shape[2] == len(enters)
    part = dense[:, enters[0] : enters[-1] + 1]
    assert np.abs(found.energies[0] - part).max() < found.accuracy.tolerance
    assert found.accuracy.method == "anchored"
    assert found.accuracy.bounds.shape == found.energies.shape
    assert set(found.accuracy.counted.ravel()) == {-1, enters[0]}
    assert len(set(counted)) <= 4
    assert found.accuracy.factorisations < 10


def test_flat_bands_are_those_of_direct_solutions(twisted, low_thresholds):
    """From few anchors."""
    with moireio.open(twisted) as file:
        path = moireio.make_path(file.structure, "GMKG", 20)
        found = flat_bands(file, path)
        direct = SolverChoice(anchoring=Anchoring(direct=True))
        exact = flat_bands(file, path, solver=direct)
    assert found.bands.accuracy.method == "anchored"
    assert len(found.bands.accuracy.anchors) < 10
    assert np.abs(found.energies - exact.energies).max() < found.bands.accuracy.max_bound


def test_compared_bands_are_those_of_direct_solutions(twisted, low_thresholds, run, tmp_path):
    """Of two Hamiltonians, each from anchors of its own."""
    other = tmp_path / "other.h5"
    run("build-twist", "graphene", "--index", 4, 5, "--corrugate", 0.1, "-q", "-o", other)
    run("tb-h", other, "-m", "moon-koshino", "--in-place", "-q")
    with open_calculation(twisted) as first, open_calculation(other) as second:
        path = moireio.make_path(second.structure, "GMKG", 20)
        both = first, second
        solved = []
        with pytest.MonkeyPatch.context() as patch:
            solve = SparseSolver.eigenpairs
            patch.setattr(
                SparseSolver, "eigenpairs", lambda *a, **b: solved.append(1) or solve(*a, **b)
            )
            found = compare_bands(*both, path, 3)
        assert len(solved) < len(path)  # of two times as many
        direct = SolverChoice(anchoring=Anchoring(direct=True))
        exact = compare_bands(*both, path, 3, solver=direct)
    assert exact.below.max() > 1e-4
    for name in ("below", "above"):
        assert np.abs(getattr(found, name) - getattr(exact, name)).max() < 2e-5


def test_flat_bands_go_on_from_their_anchors(twisted, low_thresholds, tmp_path, monkeypatch):
    """Interrupted after the first anchors, which are not solved again."""
    monkeypatch.setattr(checkpoint, "SHORT", 0.0)
    record = str(tmp_path / "r.part.jsonl")
    calls, solved = [], []

    def stop(steps, total):
        calls.append(steps)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with moireio.open(twisted) as file, pytest.MonkeyPatch.context() as patch:
        path = moireio.make_path(file.structure, "GMKG", 20)
        solve = SparseSolver.eigenpairs
        patch.setattr(
            SparseSolver, "eigenpairs", lambda *a, **b: solved.append(1) or solve(*a, **b)
        )
        whole = flat_bands(file, path, jobs=1)
        count = len(solved)
        solved.clear()
        with pytest.raises(KeyboardInterrupt):
            flat_bands(file, path, jobs=1, checkpoint=record, progress=stop)
        assert len(solved) == 2
        again = flat_bands(file, path, jobs=1, checkpoint=record, resume=True)
    # of anchors that are read, changes along other lines are in the basis too, which may save one
    assert 2 < len(solved) <= count
    assert np.abs(again.energies - whole.energies).max() < 1e-7


def test_states_on_a_mesh_span_those_of_lapack(twisted, low_thresholds):
    """They are S-orthonormal, in the phases of H(k), and whole multiplets, from few solutions."""
    notes = []
    with moireio.open(twisted) as file:
        k = 0.35 * make_mesh(file.structure, [6, 6]).k  # a part of the zone
        found = solve_states(file, k, band_range=(119, 124), note=notes.append)
        h = file.hamiltonian.assembler()
    for state in found:
        matrix = h.dense(state.k)
        energies, vectors = eigh(matrix)
        part = slice(state.first_band, state.first_band + len(state.energies))
        assert part.start <= 119 < 124 < part.stop
        assert np.abs(energies[part] - state.energies).max() < 1e-5
        c = state.coefficients
        assert np.abs(c.conj().T @ c - np.eye(c.shape[1])).max() < 1e-8
        assert abs(np.linalg.det(vectors[:, part].conj().T @ c)) == pytest.approx(1, abs=1e-3)
    assert len(found) == 36
    solved = int(notes[-1].split(" k points solved")[0].split()[-1])
    assert 3 <= solved < 18


def test_states_in_a_window_of_energies(twisted, low_thresholds):
    """How many there are differs from k to k."""
    window = -0.1, 0.9
    with moireio.open(twisted) as file:
        k = 0.35 * make_mesh(file.structure, [5, 5]).k
        found = solve_states(file, k, energy_window=window)
        h = file.hamiltonian.assembler()
        dense = [eigh(h.dense(point), eigvals_only=True) for point in k]
    assert len({len(state.energies) for state in found}) > 1
    for state, energies in zip(found, dense, strict=True):
        inside = energies[(energies > window[0]) & (energies < window[1])]
        assert state.energies == pytest.approx(inside, abs=1e-5)


def test_the_fermi_level_on_a_mesh(twisted, low_thresholds, monkeypatch):
    """Half as many levels as a hot metal needs are found to be too few before a mesh is solved."""
    solved = []
    eigenpairs = SparseSolver.eigenpairs
    monkeypatch.setattr(
        SparseSolver, "eigenpairs", lambda *a: solved.append(a[1].k) or eigenpairs(*a)
    )
    how = {"temperature": 2000.0, "use_symmetry": False}
    with moireio.open(twisted) as file:
        mesh = make_mesh(file.structure, [8, 8])
        found = find_filling(file, mesh, **how)
        exact = find_filling(file, mesh, solver=SolverChoice("dense"), **how)
    assert found.fermi == pytest.approx(exact.fermi, abs=1e-5)
    assert found.vbm == pytest.approx(exact.vbm, abs=1e-5)
    assert len(solved) < 16


def test_density_of_states_in_a_window(twisted, low_thresholds):
    """The levels inside the window, from anchors, give the density that all levels give there."""
    grid = EnergyGrid((-0.3, 0.4), 71)
    how = {"grid": grid, "width": 0.05, "project": ["layer"], "use_symmetry": False}
    with moireio.open(twisted) as file:
        mesh = make_mesh(file.structure, [6, 6])
        exact = density_of_states(file, mesh, solver="dense", **how)
        found = density_of_states(file, mesh, solver="sparse", **how)
        with pytest.raises(MoireioError, match="window"):
            density_of_states(file, mesh, solver="sparse")
    assert found.energies == pytest.approx(exact.energies, abs=1e-5)
    assert found.fermi == pytest.approx(exact.fermi, abs=1e-5)
    assert np.abs(found.total - exact.total).max() < 2e-3 * exact.total.max()
    assert np.abs(found.projected - exact.projected).max() < 2e-3 * exact.total.max()
    assert found.notes[-1].startswith("levels at 20 k points from")


def test_bands_of_a_window_that_was_widened(twisted, low_thresholds, monkeypatch):
    """JSON has them, though they were found in two steps."""
    monkeypatch.setattr(selection, "MORE", 1)
    window = -0.4, 0.9
    with moireio.open(twisted) as file:
        path = moireio.make_path(file.structure, "GMKG", 30)
        exact = moireio.solve_bands(file, path, energy_range=window, solver="dense")
        bands = moireio.solve_bands(file, path, energy_range=window)
    assert bands.accuracy.method == "anchored"
    assert json.loads(bands_json(bands))["first_band"] == exact.first_band
    assert np.abs(bands.energies - exact.energies).max() < 1e-5
