import numpy as np
import pytest
from helpers import overlap_like, random_operator, random_system, write_file
from scipy.linalg import eigh

import moireio
from moireio.errors import MoireioError
from moireio.solvers.base import EigenProblem
from moireio.solvers.options import DenseOptions
from moireio.solvers.registry import make_solver
from moireio.solvers.torch_dense import TorchSolver


def solvers():
    out = [make_solver("dense")]
    try:
        import torch  # noqa: F401
    except ImportError:
        return out
    return [*out, TorchSolver(DenseOptions())]


@pytest.mark.parametrize("engine", solvers(), ids=lambda s: s.name)
@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_solvers_agree_with_a_naive_one(engine, spin):
    """One set of tests for every back-end: all states, a window, no overlap, a bad overlap."""
    structure, basis = random_system(1)
    sizes = basis.sizes(structure)
    h, _ = random_operator(1, sizes, spin=spin)
    s, _ = overlap_like(1, sizes)
    from moireio.operators.bloch import BlochSum

    hk, sk = BlochSum.from_source(h), BlochSum.from_source(s, spinor=spin == "spinor")
    for k in ([0.1, 0.3, 0], [0, 0.5, 0]):
        problem = EigenProblem(hk, sk, k)
        expected = eigh(hk.dense(k), sk.dense(k), eigvals_only=True)
        assert np.abs(engine.eigenvalues(problem) - expected).max() < 1e-10
        assert np.abs(engine.eigenvalues(problem, (3, 6)) - expected[3:7]).max() < 1e-10
        alone = engine.eigenvalues(EigenProblem(hk, None, k))
        assert np.abs(alone - np.linalg.eigvalsh(hk.dense(k))).max() < 1e-10
    bad, blocks = overlap_like(1, sizes)
    key = (0, 0, (0, 0, 0))
    blocks[key] = blocks[key] - 2 * np.eye(len(blocks[key]))
    bad = type(bad).from_blocks(bad.meta, sizes, blocks)
    with pytest.raises(MoireioError, match=r"not positive definite at k = 0\.1 0\.3 0"):
        engine.eigenvalues(
            EigenProblem(hk, BlochSum.from_source(bad, spinor=spin == "spinor"), [0.1, 0.3, 0])
        )


def test_processes_give_the_same(made, monkeypatch):
    import moireio.spectrum.problems

    with moireio.open(made["o2_col"]) as file:
        path = moireio.make_path(file.structure, "GX", 9)
        one = moireio.solve_bands(file, path, jobs=1)
        monkeypatch.setattr(moireio.spectrum.problems, "SERIAL_WORK", 0)
        ticks = []
        two = moireio.solve_bands(
            file, path, jobs=2, progress=lambda n, total: ticks.append((n, total))
        )
        assert (one.energies == two.energies).all()
        assert sum(n for n, _ in ticks) == 2 * len(path)
        assert {total for _, total in ticks} == {2 * len(path)}


def test_bands_around_an_energy(made):
    with moireio.open(made["gr_ab"]) as file:
        path = moireio.make_path(file.structure, "GMKG", 30)
        every = moireio.solve_bands(file, path)
        some = moireio.solve_bands(file, path, bands=6)
        first = some.first_band
        assert first == 5  # eight occupied bands: three below and three above the Fermi level
        assert np.abs(some.energies - every.energies[:, :, first : first + 6]).max() < 1e-9
        low = moireio.solve_bands(file, path, bands=4, energy=-1e3)
        assert low.first_band == 0
        with pytest.raises(MoireioError, match="there are 52"):
            moireio.solve_bands(file, path, bands=53)


def test_valence_band_maximum(made):
    with moireio.open(made["hbn_soc"]) as file:
        bands = moireio.solve_bands(file, moireio.make_path(file.structure, "GMKG", 31))
        top = bands.vbm()
        assert top == pytest.approx(bands.energies[0, :, :8].max())
        assert bands.energies[0, :, 8].min() - top > 4  # a wide-gap insulator
        assert bands.zero("vbm") == top
        assert bands.zero(1.5) == 1.5
    with moireio.open(made["o2_col"]) as file:
        bands = moireio.solve_bands(file, moireio.make_path(file.structure, "G"))
        both = np.sort(bands.energies.ravel())
        assert bands.vbm() == pytest.approx(both[11])  # 7 up, 5 down


def test_orthogonal_basis_needs_no_overlap(tmp_path):
    from moireio.system.basis import Basis

    structure, basis = random_system(6)
    source, _ = random_operator(6, basis.sizes(structure))
    with_flag = Basis(basis.species, orthogonal=True)
    path = write_file(tmp_path / "x.h5", structure, with_flag, source)
    with moireio.open(path) as file:
        assert file.overlap is None
        kpath = moireio.make_path(structure, "0,0,0 0.5,0,0", 3)
        found = moireio.solve_bands(file, kpath).energies[0, 1]
        assert found == pytest.approx(
            np.linalg.eigvalsh(file.hamiltonian.at_k(kpath.k[1], dense=True))
        )
    lacking = write_file(tmp_path / "y.h5", structure, basis, source)
    with moireio.open(lacking) as file, pytest.raises(MoireioError, match="has no /overlap"):
        moireio.solve_bands(file, kpath)


def test_more_electrons_than_states_are_refused(made):
    with moireio.open(made["gr_ab"]) as file:
        path = moireio.make_path(file.structure, "GK", 2)
        with pytest.raises(MoireioError, match="105 electrons do not fit into 52 orbitals"):
            moireio.solve_bands(file, path, electrons=105)
