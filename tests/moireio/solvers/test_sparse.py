"""The sparse solver against LAPACK."""

import os
from contextlib import nullcontext

import numpy as np
import pytest
from copies import Copies
from helpers import overlap_like, random_operator, random_system
from scipy.linalg import eigh
from scipy.sparse import csr_array, triu
from threadpoolctl import threadpool_limits

import moireio
from moireio.errors import MoireioError
from moireio.operators.bloch import BlochSum
from moireio.runtime.threads import blas_beside_mkl, mkl_threads
from moireio.solvers import mkl, pardiso, search, superlu
from moireio.solvers.base import EigenProblem
from moireio.solvers.registry import make_solver

BACKENDS = ["superlu", *(["pardiso"] if mkl.library() is not None else [])]


@pytest.fixture(params=BACKENDS)
def engine(request, monkeypatch):
    """A solver with each kind of factors."""
    if request.param == "superlu":
        monkeypatch.setattr(mkl, "library", lambda: None)
    return make_solver("sparse")


@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_same_levels(engine, spin):
    """Windows anywhere in the spectrum, complex and real k, with and without an overlap."""
    structure, basis = random_system(1)
    sizes = basis.sizes(structure)
    h, _ = random_operator(1, sizes, spin=spin)
    s, _ = overlap_like(1, sizes)
    hk, sk = BlochSum.from_source(h), BlochSum.from_source(s, spinor=spin == "spinor")
    for k in ([0.1, 0.3, 0], [0, 0.5, 0]):
        for other in (sk, None):
            problem = EigenProblem(hk, other, k)
            matrices = [hk.dense(k)] + ([] if other is None else [other.dense(k)])
            levels = eigh(*matrices, eigvals_only=True)
            for window in ((0, 2), (3, 6), (len(levels) - 2, len(levels) - 1)):
                found, vectors = engine.eigenpairs(problem, window)
                assert np.abs(found - levels[window[0] : window[1] + 1]).max() < 1e-9
                S = np.eye(len(levels)) if other is None else matrices[1]
                assert np.abs(matrices[0] @ vectors - S @ vectors * found).max() < 1e-6
                gram = vectors.conj().T @ S @ vectors
                assert np.abs(gram - np.eye(len(found))).max() < 1e-9
            for n in (1, 5):
                between = (levels[n - 1] + levels[n]) / 2
                assert engine.count_below(problem, between) == n


@pytest.mark.parametrize("copies", [1, 3, 9])
def test_all_levels_by_slices(engine, monkeypatch, copies):
    """Levels from several shifts: all of them, the states orthonormal, also of cut levels."""
    monkeypatch.setattr(search, "SLICE", 5)
    monkeypatch.setattr(search, "SEAM", 3)
    structure, basis = random_system(1)
    sizes = basis.sizes(structure)
    hk = BlochSum.from_source(random_operator(1, sizes)[0])
    sk = BlochSum.from_source(overlap_like(1, sizes)[0])
    h, s = Copies(hk, copies), Copies(sk, copies)
    n = hk.n_orbitals * copies
    for k in ([0.1, 0.3, 0], [0, 0.5, 0]):
        problem = EigenProblem(h, s, k)
        dense = [np.kron(np.eye(copies), one.dense(k)) for one in (hk, sk)]
        exact = eigh(*dense, eigvals_only=True)
        assert np.abs(engine.eigenvalues(problem) - exact).max() < 1e-8
        for window in (None, (3, n - 2), (0, 17)):
            levels, states = engine.eigenpairs(problem, window)
            first, last = window or (0, n - 1)
            assert np.abs(levels - exact[first : last + 1]).max() < 1e-8
            gram = states.conj().T @ dense[1] @ states
            assert np.abs(gram - np.eye(len(levels))).max() < 1e-7
            assert np.abs(dense[0] @ states - dense[1] @ states * levels).max() < 1e-6


@pytest.mark.parametrize("copies", [2, 4, 10, 20])
def test_degenerate_levels(engine, copies):
    """Every copy of a level is found, also more than a block of Lanczos has, in any window."""
    structure, basis = random_system(2)
    sizes = basis.sizes(structure)
    hk = BlochSum.from_source(random_operator(2, sizes)[0])
    sk = BlochSum.from_source(overlap_like(2, sizes)[0])
    k = [0.1, 0.2, 0.0]
    levels = np.repeat(eigh(hk.dense(k), sk.dense(k), eigvals_only=True), copies)
    problem = EigenProblem(Copies(hk, copies), Copies(sk, copies), k)
    middle = copies * (hk.n_orbitals // 2)
    windows = [(middle - 3, middle + 4), (middle + copies // 2 - 1, middle + copies // 2)]
    for window in [*windows, (0, 1), (copies + 1, copies + 1)]:
        found = engine.eigenvalues(problem, window)
        assert np.abs(found - levels[window[0] : window[1] + 1]).max() < 1e-9


def test_level_on_the_shift(engine):
    """A shift that hits a level is moved."""
    structure, basis = random_system(1)
    sizes = basis.sizes(structure)
    hk = BlochSum.from_source(random_operator(1, sizes)[0])
    k = [0.1, 0.3, 0]
    levels = np.linalg.eigvalsh(hk.dense(k))
    engine = make_solver("sparse", sigma=float(levels[4]) + 1e-9)
    found = engine.eigenvalues(EigenProblem(hk, None, k), (3, 6))
    assert np.abs(found - levels[3:7]).max() < 1e-9


def test_chain_with_a_level_at_zero(engine):
    """An odd chain has a level at exactly 0, where the search begins."""
    from moireio.operators.blocks import OperatorMeta
    from moireio.operators.views import ArraySource
    from moireio.system.pairs import Pairs

    n = 201
    i = np.concatenate([np.arange(n - 1), np.arange(1, n)])
    j = np.concatenate([np.arange(1, n), np.arange(n - 1)])
    pairs = Pairs.sort(n, i, j, np.zeros((len(i), 3), dtype=int))[0]
    source = ArraySource(
        OperatorMeta("hamiltonian", "eV"), np.ones(n, dtype=int), pairs, np.ones(len(i))
    )
    problem = EigenProblem(BlochSum.from_source(source), None, [0, 0, 0])
    exact = np.sort(2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1)))
    found = engine.eigenvalues(problem, (95, 105))
    assert np.abs(found - exact[95:106]).max() < 1e-9
    assert engine.count_below(problem, 0.5) == (exact < 0.5).sum()


@pytest.mark.parametrize("lowest", [-0.001, -0.3])
def test_overlap_with_one_negative_eigenvalue(engine, lowest):
    structure, basis = random_system(1)
    sizes = basis.sizes(structure)
    hk = BlochSum.from_source(random_operator(1, sizes)[0])
    good, blocks = overlap_like(1, sizes)
    k = [0.1, 0.3, 0]
    least = np.linalg.eigvalsh(BlochSum.from_source(good).dense(k))[0]
    for atom in range(len(sizes)):  # moves every eigenvalue
        key = (atom, atom, (0, 0, 0))
        blocks[key] = blocks[key] - (least - lowest) * np.eye(len(blocks[key]))
    bad = BlochSum.from_source(type(good).from_blocks(good.meta, sizes, blocks))
    with pytest.raises(MoireioError, match="not positive definite"):
        engine.eigenvalues(EigenProblem(hk, bad, k), (3, 6))


def test_bad_overlap(engine):
    structure, basis = random_system(1)
    sizes = basis.sizes(structure)
    hk = BlochSum.from_source(random_operator(1, sizes)[0])
    bad, blocks = overlap_like(1, sizes)
    key = (0, 0, (0, 0, 0))
    blocks[key] = blocks[key] - 2 * np.eye(len(blocks[key]))
    bad = BlochSum.from_source(type(bad).from_blocks(bad.meta, sizes, blocks))
    with pytest.raises(MoireioError, match="not positive definite"):
        engine.eigenvalues(EigenProblem(hk, bad, [0.1, 0.3, 0]), (3, 6))


@pytest.mark.parametrize("name", ["gr_ab", "hbn_soc", "o2_col"])
def test_real_files(made, name):
    with moireio.open(made[name]) as file:
        path = moireio.make_path(file.structure, "GMKG" if name != "o2_col" else "GX", 7)
        dense, own = (
            moireio.solve_bands(file, path, bands=8, solver=s) for s in ("dense", "sparse")
        )
        assert own.first_band == dense.first_band
        assert np.abs(own.energies - dense.energies).max() < 1e-8


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


def test_no_count_without_mkl(monkeypatch):
    monkeypatch.setattr(superlu, "MOST_COUNTED", 3)
    with pytest.raises(MoireioError, match="pip install mkl"):
        superlu.DenseCounter(np.arange(6), np.arange(5))


@pytest.mark.skipif("pardiso" not in BACKENDS, reason="MKL is not installed (pip install mkl)")
@pytest.mark.parametrize("seed", range(6))
def test_inertia_of_complex_matrices(seed, monkeypatch):
    """The factor D tells how many eigenvalues are negative, also with pivots of two rows."""
    from scipy.sparse import coo_array

    if seed in (2, 3):  # numbers of eight bytes; and where only the analysis tells that
        monkeypatch.setattr(pardiso, "MOST_SHORT", 0 if seed == 2 else 4000)

    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 400))
    i, j = rng.integers(0, n, size=(2, 3 * n))
    values = rng.normal(size=3 * n) + 1j * rng.normal(size=3 * n)
    a = coo_array((values, (i, j)), shape=(n, n)).toarray()
    a = a + a.conj().T
    if seed % 2:  # no diagonal: every pivot has two rows at first
        np.fill_diagonal(a, 0)
    pattern = coo_array(np.triu(a != 0) | np.eye(n, dtype=bool)).tocsr()
    pattern.sort_indices()
    rows = np.repeat(np.arange(n), np.diff(pattern.indptr))
    factor = pardiso.PardisoFactor(pattern.indptr, pattern.indices, False)
    assert factor._short == (seed not in (2, 3))
    counter = pardiso.Counter(pattern.indptr, pattern.indices)
    levels = np.linalg.eigvalsh(a)
    for shift in [*rng.choice(levels, 3) + 0.01, 0.003]:
        elements = (a - shift * np.eye(n))[rows, pattern.indices]
        factor.factorise(elements)
        assert factor.negative == (levels < shift).sum() == counter(elements)
        right = rng.normal(size=(n, 2)) + 0j
        error = (a - shift * np.eye(n)) @ factor.solve(right) - right
        assert np.abs(error).max() < 1e-6


def banded(n=3000):
    """Return an upper triangle, (indptr, indices, values), and the whole matrix."""
    columns = np.arange(n)[:, None] + [0, 1, 7]
    indptr = np.concatenate([[0], np.cumsum((columns < n).sum(axis=1))])
    indices = columns[columns < n]
    rows = np.repeat(np.arange(n), np.diff(indptr))
    rng = np.random.default_rng(0)
    values = rng.normal(size=len(rows)) + 1j * rng.normal(size=len(rows)) * (rows != indices)
    upper = csr_array((values, indices, indptr), shape=(n, n))
    return (indptr, indices, values), upper + triu(upper, 1).conj().T


@pytest.mark.skipif("pardiso" not in BACKENDS, reason="MKL is not installed (pip install mkl)")
def test_threads_that_change():
    """Factors outlive a limit on threads that comes and goes; one beside MKL leaves it its own."""
    (indptr, indices, values), whole = banded()
    right = np.random.default_rng(1).normal(size=(len(indptr) - 1, 5)) + 0j
    factor = pardiso.PardisoFactor(indptr, indices, False, 2)
    for limit in (nullcontext, lambda: threadpool_limits(1), blas_beside_mkl):
        with limit():
            factor.factorise(values)
            assert np.abs(whole @ factor.solve(right) - right).max() < 1e-8
        assert np.abs(whole @ factor.solve(right) - right).max() < 1e-8
    with blas_beside_mkl(), mkl_threads(mkl.library(), 2) as threads:
        assert threads == min(2, os.cpu_count())


@pytest.mark.skipif("pardiso" not in BACKENDS, reason="MKL is not installed (pip install mkl)")
@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("single", [True, False])
def test_elements_have_no_part_in_solutions(real, single):
    """So they can be let go; then only the threads must stay. Factors are made again."""
    (indptr, indices, values), _ = banded()
    values = values.real if real else values
    right = np.random.default_rng(1).normal(size=(len(indptr) - 1, 5))
    factor = pardiso.PardisoFactor(indptr, indices, real, 2, single)
    factor.factorise(values)
    solution, negative = factor.solve(right), factor.negative
    near = (1e-3 if single else 1e-9) * np.abs(solution).max()
    factor._values = np.full(len(values), np.nan, dtype=factor._own)
    assert (factor.solve(right) == solution).all()
    assert factor.negative == negative
    for _ in range(2):
        factor.forget()
        factor.factorise(values, keep=False)
        assert np.abs(factor.solve(right) - solution).max() < near
        assert factor.negative == negative
    if os.cpu_count() > 1:
        factor._threads = 1
        with pytest.raises(MoireioError, match="number of threads changed"):
            factor.solve(right)
        factor.factorise(values)
        assert np.abs(factor.solve(right) - solution).max() < near


def test_an_unclear_factor_is_not_counted():
    """What is not the product with a Hermitian D of small blocks gives no count."""
    rng = np.random.default_rng(0)
    n = 40
    for d in (rng.normal(size=(n, n)), np.diag(rng.normal(size=n - 1), 1), -1j * np.eye(n)):
        assert pardiso._negative(d @ pardiso._probes(n)[:, 1:]) is None
    assert pardiso._negative(-np.eye(n) @ pardiso._probes(n)[:, 1:]) == n


@pytest.mark.parametrize("name", ["tbg_2-1", "mote2_mx_soc", "bi_bilayer_soc"])
def test_larger_real_files(shared, tmp_path, name):
    """All of forty levels around the Fermi level, at real and at general k."""
    from moireio.formats.openmx.convert import convert

    convert(str(shared / "openmx" / name / f"{name}.scfout"), str(tmp_path / "a.h5"))
    with moireio.open(tmp_path / "a.h5") as file:
        path = moireio.make_path(file.structure, "0,0,0 0.5,0,0 0.1,0.23,0 0.31,-0.2,0", 4)
        dense, own = (
            moireio.solve_bands(file, path, bands=40, solver=s, jobs=1) for s in ("dense", "sparse")
        )
        assert own.first_band == dense.first_band
        assert np.abs(own.energies - dense.energies).max() < 1e-8
