"""The Fermi level from a few levels around it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigh

import moireio
from moireio.errors import MoireioError
from moireio.kspace.mesh import make_mesh
from moireio.spectrum import filling
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.fermi import fermi_level
from moireio.spectrum.filling import LevelsAround, find_filling, occupation_of

MESHES = {"gr_ab": [5, 5, 1], "hbn_soc": [3, 3, 1], "o2_col": [1, 1, 1], "gr_ab_v38": [4, 4, 1]}


def every_level(file, mesh):
    """All levels at all points of a mesh, by LAPACK."""
    spin = file.hamiltonian.meta.spin
    s = file.overlap.assembler(spinor=spin == "spinor")
    channels = range(2) if spin == "collinear" else (None,)
    return np.array(
        [
            [eigh(h.dense(k), s.dense(k), eigvals_only=True) for k in mesh.k]
            for h in (file.hamiltonian.assembler(component=c) for c in channels)
        ]
    )


@pytest.mark.parametrize("name", list(MESHES))
@pytest.mark.parametrize("few", [2, 16])
def test_same_as_from_all_levels(made, name, few, monkeypatch):
    """Windows as small as two levels grow until nothing outside matters."""
    monkeypatch.setattr(filling, "FEW", few)
    with moireio.open(str(made[name])) as file:
        mesh = make_mesh(file.structure, MESHES[name])
        energies = every_level(file, mesh)
        factor = 2.0 if file.hamiltonian.meta.spin == "none" else 1.0
        for electrons in (file.electrons.count, 3.0):
            expected = fermi_level(
                energies, np.full(len(mesh), 1 / len(mesh)), electrons, 300.0, factor
            )
            how = {"electrons": electrons, "temperature": 300.0, "solver": SolverChoice("sparse")}
            found = find_filling(file, mesh, use_symmetry=False, **how)
            assert found.fermi == pytest.approx(expected, abs=1e-6)
            # OpenMX's own levels obey the crystal's symmetry to some 0.1 meV
            assert find_filling(file, mesh, **how).fermi == pytest.approx(expected, abs=2e-4)
            assert found.electrons == electrons


@given(st.integers(0, 10**6))
def test_spins_filled_differently(seed):
    """Levels of any two spins: growing windows end at the level of all of them."""
    rng = np.random.default_rng(seed)
    n, nk = int(rng.integers(3, 40)), int(rng.integers(1, 4))
    levels = np.sort(rng.normal(size=(2, nk, n)) * 3 + rng.normal(size=(2, 1, 1)) * 4, axis=2)
    electrons = float(rng.integers(1, 2 * n))

    class Known(LevelsAround):
        def levels(self, firsts, count, sigma=None):
            return np.stack([e[:, f : f + count] for e, f in zip(levels, firsts, strict=True)])

    class Mesh:
        weights = np.full(nk, 1 / nk)

    class Sum:
        pass

    Sum.n_orbitals = n
    found = Known([Sum, Sum], None, Mesh, SolverChoice("sparse")).occupation(electrons, 1.0, 300.0)
    everything = occupation_of(levels, Mesh.weights, electrons, 1.0, 300.0)
    assert found.fermi == pytest.approx(everything.fermi, abs=1e-6)


def test_band_finds_the_level(run, made, tmp_path):
    """band --fermi auto and dos agree; the level is stored, and chooses the bands."""
    out = tmp_path / "b.h5"
    words = ["--fermi", "auto", "--mesh", "6", "6", "--bands", "4", "-n", "5"]
    done = run("band", made["gr_ab"], *words, "-o", out)
    dos = run("dos", made["gr_ab"], "--mesh", "6", "6", "--text", tmp_path / "d.txt")
    level = float(dos.stderr.split("Fermi level ")[1].split()[0])
    with moireio.open(str(out)) as file:
        bands = file.bands()
    assert bands.fermi == pytest.approx(level, abs=2e-4)
    assert bands.electrons == 16
    assert "(6 × 6 × 1 k points)" in done.stderr
    assert bands.first_band == 6


def test_level_without_some_states(made):
    """States that a cutoff of S leaves out are high ones here: the Fermi level hardly moves."""
    with moireio.open(str(made["gr_ab"])) as file:
        mesh = make_mesh(file.structure, [3, 3, 1])
        levels = [
            find_filling(
                file, mesh, solver=SolverChoice("dense", options={"overlap_cutoff": cutoff})
            ).fermi
            for cutoff in (0.0, 3e-3)
        ]
    assert levels[0] != levels[1]
    assert levels[0] == pytest.approx(levels[1], abs=0.1)


def test_given_levels(run, made, tmp_path):
    """--fermi E and --electrons N replace what the file says."""
    first = tmp_path / "a.h5"
    run("band", made["gr_ab"], "--fermi", "-3.5", "-n", "3", "-o", first)
    with moireio.open(str(first)) as file:
        assert file.bands().fermi == -3.5
    second = tmp_path / "b.h5"
    run("band", made["gr_ab"], "--electrons", "10", "--bands", "2", "-n", "3", "-o", second)
    with moireio.open(str(second)) as file:
        assert file.bands().fermi is None
        assert file.bands().electrons == 10
        assert file.bands().first_band == 4
    for words in (["--fermi", "high"], ["--mesh", "3", "3"], ["--electrons", "-1"]):
        assert run("band", made["gr_ab"], *words, check=False).code == 2
    many = run("band", made["gr_ab"], "--electrons", "500", "--fermi", "auto", check=False)
    many.assert_one_line_error()
    assert "500 electrons do not fit into 52 orbitals" in many.stderr


def test_too_many_levels_are_not_sought(made):
    """Where a limit is given, giving up is reported."""
    with moireio.open(str(made["gr_ab"])) as file:
        mesh = make_mesh(file.structure, [3, 3, 1])
        sums = [file.hamiltonian.assembler()]
        levels = LevelsAround(sums, file.overlap.assembler(), _Points(mesh), SolverChoice("sparse"))
        assert levels.occupation(16.0, 2.0, 30000.0, max_levels=20) is None
        with pytest.raises(MoireioError, match="do not fit"):
            levels.occupation(200.0, 2.0, 300.0)


class _Points:
    """A mesh that was not reduced."""

    def __init__(self, mesh):
        self.k, self.weights = mesh.k, np.full(len(mesh), 1 / len(mesh))
