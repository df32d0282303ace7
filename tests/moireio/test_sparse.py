"""The sparse solver against LAPACK."""

import numpy as np
import pytest
from helpers import overlap_like, random_operator, random_system
from scipy.linalg import eigh

import moireio
from moireio.errors import MoireioError
from moireio.kspace import BlochSum
from moireio.solvers import EigenProblem, make_solver, pardiso, sparse, superlu

BACKENDS = ["superlu", *(["pardiso"] if pardiso.library() is not None else [])]


@pytest.fixture(params=BACKENDS)
def engine(request, monkeypatch):
    """A solver with each kind of factors."""
    if request.param == "superlu":
        monkeypatch.setattr(pardiso, "library", lambda: None)
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
                found, vectors = engine.pairs(problem, window)
                assert np.abs(found - levels[window[0] : window[1] + 1]).max() < 1e-9
                S = np.eye(len(levels)) if other is None else matrices[1]
                assert np.abs(matrices[0] @ vectors - S @ vectors * found).max() < 1e-6
                gram = vectors.conj().T @ S @ vectors
                assert np.abs(gram - np.eye(len(found))).max() < 1e-9
            for n in (1, 5):
                between = (levels[n - 1] + levels[n]) / 2
                assert engine.count_below(problem, between) == n


def test_degenerate_levels(engine):
    """Every copy of a level is found: here each has four (two systems side by side, two spins)."""
    structure, basis = random_system(2)
    sizes = basis.sizes(structure)
    s, _ = overlap_like(2, sizes)
    h, _ = random_operator(2, sizes)

    class Twice:
        """Two copies of a Bloch sum as one."""

        def __init__(self, one):
            self._one, self.n = one, 2 * one.n

        def upper_pattern(self):
            from scipy.sparse import block_diag, csr_array

            indptr, indices = self._one.upper_pattern()
            own = csr_array((np.ones(len(indices)), indices, indptr), shape=(self._one.n,) * 2)
            both = block_diag([own, own]).tocsr()
            both.sort_indices()
            return both.indptr.astype(np.int64), both.indices.astype(np.int64)

        def upper_values(self, k):
            return np.tile(self._one.upper_values(k), 2)

    hk, sk = (BlochSum.from_source(x, spinor=True) for x in (h, s))
    k = [0.1, 0.2, 0.0]
    levels = np.repeat(eigh(hk.dense(k), sk.dense(k), eigvals_only=True), 2)
    problem = EigenProblem(Twice(hk), Twice(sk), k)
    found = engine.energies(problem, (2, 9))
    assert np.abs(found - levels[2:10]).max() < 1e-9


def test_level_on_the_shift(engine):
    """A shift that hits a level is moved."""
    structure, basis = random_system(1)
    sizes = basis.sizes(structure)
    hk = BlochSum.from_source(random_operator(1, sizes)[0])
    k = [0.1, 0.3, 0]
    levels = np.linalg.eigvalsh(hk.dense(k))
    engine.sigma = float(levels[4]) + 1e-9
    found = engine.energies(EigenProblem(hk, None, k), (3, 6))
    assert np.abs(found - levels[3:7]).max() < 1e-9


def test_bad_overlap_and_missing_window(engine):
    structure, basis = random_system(1)
    sizes = basis.sizes(structure)
    hk = BlochSum.from_source(random_operator(1, sizes)[0])
    bad, blocks = overlap_like(1, sizes)
    key = (0, 0, (0, 0, 0))
    blocks[key] = blocks[key] - 2 * np.eye(len(blocks[key]))
    bad = BlochSum.from_source(type(bad).from_blocks(bad.meta, sizes, blocks))
    with pytest.raises(MoireioError, match="not positive definite"):
        engine.energies(EigenProblem(hk, bad, [0.1, 0.3, 0]), (3, 6))
    with pytest.raises(MoireioError, match="some bands, not all"):
        engine.energies(EigenProblem(hk, None, [0.1, 0.3, 0]))


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

    from moireio.stream import write_target

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
    assert sparse.STEPS > 1
