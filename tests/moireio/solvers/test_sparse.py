"""The sparse solver on files, and in each precision."""

import contextlib

import numpy as np
import pytest
from scipy.linalg import eigh

import moireio
from moireio.errors import MoireioError
from moireio.solvers import mixed_precision, mkl, pardiso, sparse
from moireio.solvers.base import EigenProblem, SingularError
from moireio.solvers.pencil import Pencil
from moireio.solvers.registry import make_solver
from moireio.solvers.testing import check_states, exact_levels, random_problem
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.sums import bloch_sums

needs_mkl = pytest.mark.skipif(mkl.library() is None, reason="MKL is not installed")
K = np.array([0.11, 0.23, 0.0])


@pytest.mark.parametrize("name", ["gr_ab", "hbn_soc", "o2_col"])
def test_real_files(made, name):
    with moireio.open(made[name]) as file:
        path = moireio.make_path(file.structure, "GMKG" if name != "o2_col" else "GX", 7)
        dense, found = (
            moireio.solve_bands(file, path, bands=8, solver=s) for s in ("dense", "sparse")
        )
        assert found.first_band == dense.first_band
        assert np.abs(found.energies - dense.energies).max() < 1e-8


def test_window_without_a_fermi_level(made, tmp_path):
    """Where only the number of electrons is known, bands are counted from it."""
    from dataclasses import replace

    from moireio.blockfile.stream import write_target

    with (
        moireio.open(made["gr_ab"]) as file,
        write_target(
            str(tmp_path / "a.h5"), base=file, in_place=False, drop=("electrons",)
        ) as writer,
    ):
        writer.electrons(replace(file.electrons, fermi=None))
    with moireio.open(tmp_path / "a.h5") as file:
        assert file.electrons.fermi is None
        path = moireio.make_path(file.structure, "GMKG", 7)
        for solver in ("dense", "sparse"):
            bands = moireio.solve_bands(file, path, bands=4, solver=solver)
            assert bands.first_band == 6


@pytest.mark.parametrize("name", ["tbg_2-1", "mote2_mx_soc", "bi_bilayer_soc"])
def test_larger_real_files(shared, tmp_path, name):
    """All of forty levels around the Fermi level, at real and at general k."""
    from helpers import convert

    convert(str(shared / "openmx" / name / f"{name}.scfout"), str(tmp_path / "a.h5"))
    with moireio.open(tmp_path / "a.h5") as file:
        path = moireio.make_path(file.structure, "0,0,0 0.5,0,0 0.1,0.23,0 0.31,-0.2,0", 4)
        dense, found = (
            moireio.solve_bands(file, path, bands=40, solver=s, jobs=1) for s in ("dense", "sparse")
        )
        assert found.first_band == dense.first_band
        assert np.abs(found.energies - dense.energies).max() < 1e-8


@needs_mkl
@pytest.mark.parametrize("name", ["gr_ab", "hbn_soc", "o2_col"])
@pytest.mark.parametrize("k", [K, np.zeros(3)])
def test_single_precision_of_large_matrices(made, monkeypatch, name, k):
    """Complex and real k; the states, and counts, are found in double precision."""
    monkeypatch.setattr(sparse, "LARGE", 1)
    monkeypatch.setattr(sparse, "ALIKE", 1)
    monkeypatch.setattr(sparse, "LARGEST", 1)
    with moireio.open(made[name]) as file:
        sums, s, _ = bloch_sums(file)
    for h in sums:
        problem = EigenProblem(h, s, k)
        exact = eigh(h.dense(k), s.dense(k), eigvals_only=True)
        number = 4 if h.is_real(k) else 8
        assert (number == 4) == (not k.any() and name != "hbn_soc")
        engine = make_solver("sparse", sigma=None)
        for window in (
            (0, 5),
            (h.n_orbitals // 3, h.n_orbitals // 3 + 7),
            (h.n_orbitals - 6, h.n_orbitals - 1),
        ):
            found = engine.eigenvalues(problem, window)
            assert np.abs(found - exact[window[0] : window[1] + 1]).max() < 1e-9
            assert engine.mode == sparse.SINGLE_RITZ
        levels, states = engine.eigenpairs(problem, window)
        assert engine.mode == sparse.DOUBLE
        rest = h.dense(k) @ states - s.dense(k) @ states * levels
        assert np.abs(rest).max() < 1e-6
        middle = (exact[9] + exact[10]) / 2
        assert engine.count_below(problem, middle) == 10


@needs_mkl
@pytest.mark.parametrize(
    ("error", "single"), [(1e-3, None), (0.1, None), (0.01, True), (0.1, True)]
)
def test_factors_that_do_not_suffice(made, monkeypatch, error, single):
    """Worse factors take more corrections, or better factors; the levels stay exact."""
    monkeypatch.setattr(sparse, "LARGE", 1)
    monkeypatch.setattr(sparse, "ALIKE", 1)
    monkeypatch.setattr(sparse, "LARGEST", 1)
    solve, rng = pardiso.PardisoFactor.solve, np.random.default_rng(0)

    def spoilt(self, right):
        out = solve(self, right)
        return out * (1 + error * rng.normal(size=out.shape)) if self.single else out

    monkeypatch.setattr(pardiso.PardisoFactor, "solve", spoilt)
    refined_blocks, refine = [], mixed_precision.RecycledResidualFactor.solve
    monkeypatch.setattr(
        mixed_precision.RecycledResidualFactor,
        "solve",
        lambda *a: refined_blocks.append(1) or refine(*a),
    )
    with moireio.open(made["gr_ab"]) as file:
        (h,), s, _ = bloch_sums(file)
    problem = EigenProblem(h, s, K)
    exact = eigh(h.dense(K), s.dense(K), eigvals_only=True)
    engine = make_solver("sparse", {"precision": "float32" if single else "auto"})
    assert np.abs(engine.eigenvalues(problem, (4, 11)) - exact[4:12]).max() < 1e-9
    assert engine.mode == (sparse.DOUBLE if error == 0.1 and not single else sparse.SINGLE_RITZ)
    assert (len(refined_blocks) > 0) == (error == 0.1 and single is True)


@needs_mkl
def test_the_shift_moves_only_twice(made, monkeypatch):
    """Levels that all seem too near to the shift do not keep double precision away."""
    monkeypatch.setattr(sparse, "LARGE", 1)
    monkeypatch.setattr(sparse, "ALIKE", 1)
    monkeypatch.setattr(mixed_precision, "NEAR", 1e3)
    solve, rng = pardiso.PardisoFactor.solve, np.random.default_rng(0)
    factorise, made_single = pardiso.PardisoFactor.factorise, []

    def spoilt(self, right):
        out = solve(self, right)
        return out * (1 + 0.1 * rng.normal(size=out.shape)) if self.single else out

    def counted(self, values, keep=True):
        made_single.append(self.single and not self.positive)
        return factorise(self, values, keep)

    monkeypatch.setattr(pardiso.PardisoFactor, "solve", spoilt)
    monkeypatch.setattr(pardiso.PardisoFactor, "factorise", counted)
    with moireio.open(made["gr_ab"]) as file:
        (h,), s, _ = bloch_sums(file)
    exact = eigh(h.dense(K), s.dense(K), eigvals_only=True)
    engine = make_solver("sparse", sigma=(exact[7] + exact[8]) / 2)
    assert np.abs(engine.eigenvalues(EigenProblem(h, s, K), (4, 11)) - exact[4:12]).max() < 1e-9
    assert engine.mode == sparse.DOUBLE
    assert sum(made_single) == 1 + sparse.MOVES


@needs_mkl
def test_factors_without_numbers(made, monkeypatch):
    """Where single precision overflows, double precision is taken, or the error is one line."""
    monkeypatch.setattr(sparse, "LARGE", 1)
    monkeypatch.setattr(sparse, "ALIKE", 1)
    solve = pardiso.PardisoFactor.solve
    monkeypatch.setattr(
        pardiso.PardisoFactor,
        "solve",
        lambda self, b: solve(self, b) * (np.nan if self.single and not self.positive else 1),
    )
    with moireio.open(made["gr_ab"]) as file:
        (h,), s, _ = bloch_sums(file)
    problem = EigenProblem(h, s, K)
    exact = eigh(h.dense(K), s.dense(K), eigvals_only=True)
    assert np.abs(make_solver("sparse").eigenvalues(problem, (4, 11)) - exact[4:12]).max() < 1e-9
    for find in ("eigenvalues", "eigenpairs"):
        with pytest.raises(MoireioError, match="set `precision` to float64"):
            getattr(make_solver("sparse", {"precision": "float32"}), find)(problem, (4, 11))


@pytest.mark.parametrize("name", ["hbn_soc", "gr_ab"])
@pytest.mark.parametrize("single", [None, True])
def test_small_elements_left_out(made, monkeypatch, name, single):
    """Also where S has fewer elements than H: of a spinor, or none."""
    monkeypatch.setattr(sparse, "LARGE", 1)
    monkeypatch.setattr(sparse, "ALIKE", 1)
    with moireio.open(made[name]) as file:
        (h,), s, _ = bloch_sums(file)
    s = None if name == "gr_ab" else s
    problem = EigenProblem(h, s, K)
    exact = eigh(h.dense(K), None if s is None else s.dense(K), eigvals_only=True)
    found = make_solver(
        "sparse", {"precision": "float32" if single else "auto", "drop": 1e-4}
    ).eigenvalues(problem, (4, 11))
    assert np.abs(found - exact[4:12]).max() < 1e-6


@needs_mkl
def test_single_precision_that_never_suffices(made, monkeypatch):
    solve, rng = pardiso.PardisoFactor.solve, np.random.default_rng(0)
    monkeypatch.setattr(
        pardiso.PardisoFactor, "solve", lambda *a: solve(*a) * (1 + 3 * rng.normal(size=a[1].shape))
    )
    with moireio.open(made["gr_ab"]) as file:
        (h,), s, _ = bloch_sums(file)
    engine = make_solver("sparse", {"precision": "float32"})
    with pytest.raises(MoireioError, match="set `precision` to float64"):
        engine.eigenvalues(EigenProblem(h, s, K), (4, 11))


COMPLEX = False, True, False  # a complex factorisation in single precision


@pytest.fixture
def factorisations(monkeypatch):
    """Collects (real, single, positive) of each factorisation by Pardiso."""
    kinds, factorise = [], pardiso.PardisoFactor.factorise

    def recorded(self, values, keep=True):
        kinds.append((self.dtype.kind == "f", self.single, self.positive))
        factorise(self, values, keep)

    monkeypatch.setattr(pardiso.PardisoFactor, "factorise", recorded)
    return kinds


@needs_mkl
def test_an_overlap_that_single_precision_refuses(made, monkeypatch, factorisations):
    """It is looked at again in double precision; the levels still come from single precision."""
    monkeypatch.setattr(sparse, "LARGE", 1)
    monkeypatch.setattr(sparse, "ALIKE", 1)
    factorise = pardiso.PardisoFactor.factorise

    def refusing(self, values, keep=True):
        factorise(self, values, keep)
        if factorisations[-1] == (True, True, True):
            raise SingularError

    monkeypatch.setattr(pardiso.PardisoFactor, "factorise", refusing)
    with moireio.open(made["gr_ab"]) as file:
        (h,), s, _ = bloch_sums(file)
    engine = make_solver(
        "sparse", sigma=eigh(h.dense(K), s.dense(K), eigvals_only=True)[7:9].mean()
    )
    engine.eigenvalues(EigenProblem(h, s, K), (4, 11))
    least = np.linalg.eigvalsh(s.dense(np.zeros(3)))[0]
    assert factorisations[:2] == [(True, True, True), (True, False, False)]
    assert set(factorisations[2:]) == {(False, True, False)}
    assert abs(engine.diagnostics.min_overlap_eigenvalue / least - 1) < 0.01


@needs_mkl
@pytest.mark.parametrize("precision", ["auto", "float64"])
def test_large_cells_begin_at_gamma(monkeypatch, factorisations, precision):
    """S is looked at, and levels are counted, with real matrices; one factor serves at k."""
    monkeypatch.setattr(sparse, "ALIKE", 1)
    problem = random_problem(8, copies=5)
    engine = make_solver("sparse", {"precision": precision})
    levels, _ = engine.eigenpairs(problem, (30, 54))
    assert np.abs(levels - exact_levels(problem)[30:55]).max() < 1e-9
    assert factorisations[0] == (True, True, True)
    assert len(factorisations) > 2
    assert set(factorisations[1:-1]) == {(True, True, False)}
    assert factorisations[-1] == (False, False, False)
    least = np.linalg.eigvalsh(problem.overlap.dense(np.zeros(3)))[0]
    assert abs(engine.diagnostics.min_overlap_eigenvalue / least - 1) < 0.05


@needs_mkl
@pytest.mark.parametrize("name", ["gr_ab", "hbn_soc"])
@pytest.mark.parametrize("k", [K, np.zeros(3)])
def test_states_of_uncorrected_factors(made, monkeypatch, factorisations, name, k):
    """Energies as accurate as was asked for, S-orthonormal states; the other way where not."""
    monkeypatch.setattr(sparse, "ALIKE", 1)
    with moireio.open(made[name]) as file:
        (h,), s, _ = bloch_sums(file)
    problem = EigenProblem(h, s, k)
    exact = exact_levels(problem)
    for accuracy, mode in ((1e-6, sparse.SINGLE_ROUGH), (1e-9, sparse.DOUBLE)):
        engine = make_solver("sparse", {"accuracy": accuracy})
        for first, last in ((0, 5), (h.n_orbitals // 3, h.n_orbitals // 3 + 7)):
            levels, states = engine.eigenpairs(problem, (first, last))
            assert engine.mode == mode
            assert np.abs(levels - exact[first : last + 1]).max() < accuracy
            check_states(problem, levels, states, residual=1e-3)
        single = mode != sparse.DOUBLE
        assert factorisations[-1] == (problem.is_real, single, False)


@needs_mkl
def test_factors_are_kept_for_responses_until_they_are_freed(made, monkeypatch):
    """Of large cells, where they take more memory than anything else."""
    monkeypatch.setattr(sparse, "LARGE", 1)
    freed, forget = [], pardiso.PardisoFactor.forget
    monkeypatch.setattr(
        pardiso.PardisoFactor, "forget", lambda self: freed.append(self) or forget(self)
    )
    with moireio.open(made["gr_ab"]) as file:
        (h,), s, _ = bloch_sums(file)
    engine = make_solver("sparse")
    engine.keep_factor = True
    problem = EigenProblem(h, s, K)
    exact = exact_levels(problem)
    right = np.random.default_rng(0).normal(size=(h.n_orbitals, 3)) + 0j
    for _ in range(2):
        levels, _ = engine.eigenpairs(problem, (4, 11))
        assert np.abs(levels - exact[4:12]).max() < 1e-8
        freed.clear()
        first = engine.respond(right)
        assert np.array_equal(engine.respond(right), first)
        assert not freed
        engine.free_factors()
        assert freed
        assert engine.respond(right) is None
        assert engine.keep_factors() is None


@needs_mkl
@pytest.mark.parametrize("name", ["gr_ab", "hbn_soc"])
def test_factors_stay_beside_others(made, name):
    """Those of an earlier k give the same solutions after another one was solved."""
    with moireio.open(made[name]) as file:
        (h,), s, _ = bloch_sums(file)
    engine = make_solver("sparse")
    engine.keep_factor = True
    right = np.random.default_rng(0).normal(size=(h.n_orbitals, 3)) + 0j
    kept = []
    for k in (np.zeros(3), K, np.array([0.5, 0, 0])):
        engine.eigenpairs(EigenProblem(h, s, k), (4, 11))
        expected = engine.respond(right)
        respond, size = engine.keep_factors()
        assert engine.respond(right) is None
        assert size > 0
        kept.append((respond, expected))
    for respond, expected in kept:
        assert np.array_equal(respond(right), expected)


@needs_mkl
def test_uncorrected_factors_in_little_memory(made, monkeypatch, factorisations):
    """Triangles instead of whole matrices where these do not fit; the levels stay."""
    monkeypatch.setattr(sparse, "ALIKE", 1)
    with moireio.open(made["gr_ab"]) as file:
        (h,), s, _ = bloch_sums(file)
    problem = EigenProblem(h, s, K)
    engine = make_solver("sparse", {"accuracy": 1e-6})
    need = engine.memory(problem, 8, True)
    engine.fit(problem, 8, True, 0.99 * need)
    assert engine.memory(problem, 8, True) < 0.99 * need
    levels, _ = engine.eigenpairs(problem, (4, 11))
    assert engine.mode == sparse.SINGLE_ROUGH
    assert np.abs(levels - exact_levels(problem)[4:12]).max() < 1e-6


@needs_mkl
@pytest.mark.parametrize("bad", [1, 99])
@pytest.mark.parametrize("noisy", [mixed_precision.NOISY, 1])
def test_shifts_with_factors_that_are_too_rough(made, monkeypatch, factorisations, bad, noisy):
    """Another shift is tried; after a few of them double precision, where H(k) is complex only.

    Errors are seen in a solution, or because Lanczos does not converge.
    """
    monkeypatch.setattr(sparse, "ALIKE", 1)
    monkeypatch.setattr(sparse, "PATIENCE", 4)
    monkeypatch.setattr(mixed_precision, "NOISY", noisy)
    solve, rng = pardiso.PardisoFactor.solve, np.random.default_rng(0)
    wrong = 0.02 * rng.normal(size=(52, 52))

    def rough(self, right):
        out = solve(self, right)
        if self.single and self.dtype.kind == "c" and factorisations.count(COMPLEX) <= bad:
            out = out + wrong @ out
        return out

    monkeypatch.setattr(pardiso.PardisoFactor, "solve", rough)
    with moireio.open(made["gr_ab"]) as file:
        (h,), s, _ = bloch_sums(file)
    engine = make_solver("sparse", {"accuracy": 1e-6})
    for k in (K, np.zeros(3)):
        problem = EigenProblem(h, s, k)
        levels, _ = engine.eigenpairs(problem, (2, 25))
        assert np.abs(levels - exact_levels(problem)[2:26]).max() < 1e-6
        double = bad > 1 and not problem.is_real
        assert engine.mode == (sparse.DOUBLE if double else sparse.SINGLE_ROUGH)
    assert factorisations.count(COMPLEX) == min(bad, sparse.MOVES) + 1


@needs_mkl
@pytest.mark.parametrize("name", ["gr_ab", "hbn_soc"])
def test_counts_of_large_cells(made, monkeypatch, factorisations, name):
    """Single precision counts where that is sure; next to a level double precision does."""
    monkeypatch.setattr(sparse, "ALIKE", 1)
    with moireio.open(made[name]) as file:
        (h,), s, _ = bloch_sums(file)
    problem = EigenProblem(h, s, K)
    exact = exact_levels(problem)
    engine = make_solver("sparse")
    gaps = np.flatnonzero(np.diff(exact) > 0.05) + 1
    assert len(gaps) > 5
    for index in gaps:
        assert engine.count_below(problem, exact[index - 1 : index + 1].mean()) == index
    assert set(factorisations) == {(True, True, True), (False, True, False)}
    for index in gaps[:3]:
        for distance in (-1e-8, 1e-8):
            below = (exact < exact[index] + distance).sum()
            assert engine.count_below(problem, exact[index] + distance) == below
            assert factorisations[-1] == (False, False, False)
            assert engine.quick_count(problem, exact[index] + distance) is None
        assert engine.quick_count(problem, exact[index - 1 : index + 1].mean()) == index
    monkeypatch.setattr(sparse, "ALIKE", 10**6)
    assert engine.quick_count(problem, 0.0) is None


@needs_mkl
@pytest.mark.parametrize("shift", [0.3, 3.0])
def test_counts_by_wrong_factors(monkeypatch, shift):
    """Factors of another matrix, which has other eigenvalues below zero, are noticed."""
    monkeypatch.setattr(sparse, "ALIKE", 1)
    problem = random_problem(3, copies=2)
    exact = exact_levels(problem)
    factorise, wrong = pardiso.PardisoFactor.factorise, []

    def other(self, values, keep=True):
        if self.single and not self.positive:
            diagonal, before = self._pattern[0][:-1], values[self._pattern[0][:-1]]
            values[diagonal] += shift
            factorise(self, values.copy(), keep)
            values[diagonal] = before
            wrong.append(self.negative)
        else:
            factorise(self, values, keep)

    monkeypatch.setattr(pardiso.PardisoFactor, "factorise", other)
    engine = make_solver("sparse")
    for index in range(2, 34, 2):
        energy = exact[index - 1 : index + 1].mean()
        assert engine.count_below(problem, energy) == index
    assert wrong != list(range(2, 34, 2))


@needs_mkl
@pytest.mark.parametrize("error", [30.0, np.nan])
def test_uncorrected_factors_that_do_not_suffice(monkeypatch, error):
    """Double precision follows where the levels cannot be had otherwise."""
    monkeypatch.setattr(sparse, "ALIKE", 1)
    solve, rng = pardiso.PardisoFactor.solve, np.random.default_rng(0)

    def spoilt(self, right):
        out = solve(self, right)
        wrong = self.single and not self.positive
        return out * (1 + error * rng.normal(size=out.shape)) if wrong else out

    problem = random_problem(3, copies=12)
    exact = exact_levels(problem)
    middle = (exact[107] + exact[108]) / 2
    engine = make_solver("sparse", {"accuracy": 1e-6}, sigma=middle)
    monkeypatch.setattr(pardiso.PardisoFactor, "solve", spoilt)
    levels, states = engine.eigenpairs(problem, (96, 119))
    assert engine.mode == sparse.DOUBLE
    assert np.abs(levels - exact[96:120]).max() < 1e-9
    check_states(problem, levels, states)


@needs_mkl
def test_shifts_that_do_not_suffice_are_not_tried_again(monkeypatch):
    """Three that differ, before other factors are made."""
    monkeypatch.setattr(sparse, "ALIKE", 1)
    problem, tried = random_problem(3, copies=12), []
    exact = exact_levels(problem)
    solve, shifted = pardiso.PardisoFactor.solve, Pencil.shifted

    def spoilt(self, right):
        return solve(self, right) * (30 if self.single and not self.positive else 1)

    def seen(self, problem, sigma, *more):
        tried.append(sigma)
        return shifted(self, problem, sigma, *more)

    engine = make_solver("sparse", {"accuracy": 1e-6}, sigma=(exact[107] + exact[108]) / 2)
    monkeypatch.setattr(pardiso.PardisoFactor, "solve", spoilt)
    monkeypatch.setattr(Pencil, "shifted", seen)
    levels, _ = engine.eigenpairs(problem, (96, 119))
    assert np.abs(levels - exact[96:120]).max() < 1e-9
    assert np.diff(np.sort(tried[:3])) == pytest.approx(sparse.AWAY)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (np.linspace(-1, 1, 21), -0.05),  # or 0.05: nearest to the middle
        (np.append(np.linspace(-1, 0, 41), [0.9, 0.95]), 0.225),  # in the gap, towards the middle
        (np.append(np.linspace(-1, 0, 21), 0.06 + np.linspace(0, 1, 21)), 0.03),
    ],
)
def test_the_next_shift(levels, expected):
    """In a gap from which hardly any levels beyond the nearer end are found."""
    engine = make_solver("sparse", sigma=0.0)
    engine._choose_next_shift(levels)
    assert abs(engine._sigma) == pytest.approx(abs(expected), abs=1e-6)


@needs_mkl
@pytest.mark.parametrize("smallest", [-0.1, -1e-3, -1e-6, -1e-8, 1e-7, 1e-5])
def test_overlaps_of_large_cells(monkeypatch, smallest):
    """Single precision takes none for positive that is not, and sees one nearly singular."""
    monkeypatch.setattr(sparse, "ALIKE", 1)
    problem = random_problem(5, np.zeros(3), min_overlap=smallest)
    engine = make_solver("sparse")
    if smallest < 0:
        with pytest.raises(MoireioError, match="not positive definite at k = 0 0 0"):
            engine.eigenvalues(problem, (3, 6))
        return
    exact = exact_levels(problem)
    assert np.abs(engine.eigenvalues(problem, (8, 11)) - exact[8:12]).max() < 1e-7
    assert abs(engine.diagnostics.min_overlap_eigenvalue / smallest - 1) < 0.1


@needs_mkl
def test_where_double_precision_does_not_fit(made, monkeypatch):
    """Single precision is taken by itself; where there is no memory for the other, nothing else."""
    monkeypatch.setattr(sparse, "LARGE", 1)
    monkeypatch.setattr(sparse, "ALIKE", 1)
    # so that single precision never suffices for levels by Ritz's method
    monkeypatch.setattr(mixed_precision, "MAX_ERROR", -1.0)
    with moireio.open(made["gr_ab"]) as file:
        sums, s, _ = bloch_sums(file)
    problem = EigenProblem(sums[0], s, K)
    exact = eigh(sums[0].dense(K), s.dense(K), eigvals_only=True)

    least = make_solver("sparse")
    with contextlib.suppress(MoireioError):
        least.fit(problem, 4, False, 1.0)
    need = least.memory(problem, 4, False)
    for memory, mode in ((1.01 * need, sparse.SINGLE_RECYCLED), (1e9, sparse.DOUBLE)):
        choice = SolverChoice("sparse", jobs=1, memory=memory)
        with EigenproblemSet(sums, s, K[None], choice, 4) as problems:
            ((_, found, _),) = problems.levels([(0, 0)], (4, 11))
            assert problems.solver.mode == mode
        assert np.abs(found - exact[4:12]).max() < 1e-9
    choice = SolverChoice("sparse", jobs=1, memory=0.5 * need)
    with (
        pytest.raises(MoireioError, match=r"need at least .*raise `memory`"),
        EigenproblemSet(sums, s, K[None], choice, 4) as problems,
    ):
        list(problems.levels([(0, 0)], (4, 11)))


@pytest.mark.parametrize("options", [["float32"], ["float64"], ["auto"]])
def test_precision_of_band(invoke, made, tmp_path, options):
    words = ["--kpoints", tmp_path / "k", "--bands", 4, "--solver", "sparse", "-q"]
    (tmp_path / "k").write_text("0.11 0.23 0\n")
    results = []
    for more in (["--precision", *options], ["--solver", "dense"]):
        out = tmp_path / "e.txt"
        invoke("band", made["gr_ab"], *words, *more, "--text", out, "--force")
        rows = [line.split() for line in out.read_text().splitlines() if line[0] != "#"]
        results.append(np.array(rows, dtype=float))
    assert np.abs(results[0] - results[1]).max() < 2e-6
