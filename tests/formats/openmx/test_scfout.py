"""OpenMX's .scfout against OpenMX's own eigenvalues, and a naive reader."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from helpers import convert
from naive_scfout import Naive
from scipy.linalg import eigh

import moireio
from moireio.errors import DamagedError, MoireioError
from moireio.formats.openmx import band as openmx_band
from moireio.formats.openmx.orbitals import permutation
from moireio.formats.openmx.scfout import open_scfout
from moireio.formats.openmx.scfout_write import repeat
from moireio.units import BOHR_ANGSTROM, HARTREE_EV


def test_eigenvalues_equal_openmx(scfout_case, tmp_path):
    """Every eigenvalue at every k of the .Band file, through file and solver."""
    path = tmp_path / "x.h5"
    convert(str(scfout_case), str(path))
    expected = openmx_band.read(scfout_case.with_suffix(".Band"))
    with moireio.open(path) as file:
        bands = moireio.solve_bands(file, expected.path())
        assert file.electrons.fermi == pytest.approx(expected.fermi, abs=1e-8)
    found = bands.energies[:, :, : expected.energies.shape[2]]
    assert found.shape == expected.energies.shape
    error = np.abs(found - expected.energies).max() / HARTREE_EV
    print(f"{scfout_case.stem}: {error:.2e} Hartree")
    assert error < 1e-8


@pytest.mark.parametrize("name", ["gr_ab", "gr_ab_v38", "hbn_soc", "o2_col"])
def test_matrices_equal_a_naive_reading(data, made, name):
    """Order of orbitals, units, signs and phases, element by element."""
    naive = Naive(data / f"{name}.scfout")
    k = np.array([0.13, -0.29, 0.07])
    with moireio.open(made[name]) as file:
        momenta = [file.basis[s].l for s in file.structure.species_of_atoms]
        start = np.concatenate([[0], np.cumsum(naive.orbitals)])
        order = np.concatenate([start[a] + permutation(momenta[a]) for a in range(len(momenta))])
        mix = np.ix_(order, order)
        assert np.abs(file.structure.cell - naive.cell * BOHR_ANGSTROM).max() < 1e-12
        assert np.abs(file.structure.positions - naive.positions * BOHR_ANGSTROM).max() < 1e-12
        assert np.abs(file.overlap.at_k(k, dense=True) - naive.at_k(naive.s, k)[mix]).max() < 1e-8
        h = file.hamiltonian
        if h.meta.spin == "spinor":
            n = start[-1]
            # blocks of atoms, spin slow inside each, instead of all ↑ before all ↓
            both = np.concatenate([np.r_[order[a:b], n + order[a:b]] for a, b in pairwise(start)])
            expected = naive.spinor(k)[np.ix_(both, both)] * HARTREE_EV
            assert np.abs(h.at_k(k, dense=True) - expected).max() < 1e-6
        else:
            for c in range(h.meta.components):
                component = c if h.meta.components == 2 else None
                expected = naive.at_k(naive.h[c], k)[mix] * HARTREE_EV
                found = h.at_k(k, component=component, dense=True)
                assert np.abs(found - expected).max() < 1e-6
        for axis in range(3):
            expected = naive.at_k(naive.position[axis], k)[mix] * BOHR_ANGSTROM
            found = file.operator("position").at_k(k, component=axis, dense=True)
            assert np.abs(found - expected).max() < 1e-3  # real-space grids, see docs
            if naive.momentum:
                expected = naive.at_k(naive.momentum[axis], k)[mix] / BOHR_ANGSTROM
                found = file.operator("momentum").at_k(k, component=axis, dense=True)
                assert np.abs(found - expected).max() < 2e-2
        assert file.electrons.count == pytest.approx(naive.electrons)
        assert file.electrons.spin == pytest.approx(naive.spin)
    assert naive.electrons == {"gr_ab": 16, "gr_ab_v38": 16, "hbn_soc": 8, "o2_col": 12}[name]
    if name == "o2_col":
        assert naive.spin == pytest.approx(1.0, abs=1e-6)  # a triplet


@pytest.mark.parametrize(("name", "grid"), [("gr_ab", (9, 9, 1)), ("o2_col", (1, 1, 1))])
def test_density_is_that_of_the_eigenstates(made, name, grid):
    """ρ_ij(R) = Σ_k w f C_i C_j* e^{−2πi k·R}, with OpenMX's own mesh and temperature."""
    with moireio.open(made[name]) as file:
        spins = range(2) if file.hamiltonian.meta.spin == "collinear" else [None]
        beta = 1 / (8.617333262e-5 * file.electrons.temperature)
        mesh = [(-0.5 + (2 * np.arange(n) + 1) / (2 * n)) for n in grid]
        points = np.array(np.meshgrid(*mesh, indexing="ij")).reshape(3, -1).T
        density = file.operator("density")
        pairs = density.pairs
        start = np.concatenate([[0], np.cumsum(file.orbitals)])
        rng = np.random.default_rng(0)
        chosen = rng.permutation(len(pairs))[:40]
        for c in spins:
            total = np.zeros((len(chosen), 13, 13), dtype=complex)
            for k in points:
                h = file.hamiltonian.at_k(k, component=c, dense=True)
                energies, states = eigh(h, file.overlap.at_k(k, dense=True))
                x = np.clip(beta * (energies - file.electrons.fermi), -500, 500)
                f = (2 if c is None else 1) / (1 + np.exp(x)) / len(points)
                rho = (states * f) @ states.conj().T
                for n, p in enumerate(chosen):
                    i, j, R = pairs.i[p], pairs.j[p], pairs.R[p]
                    block = rho[start[i] : start[i + 1], start[j] : start[j + 1]]
                    total[n] += block * np.exp(-2j * np.pi * (k @ R))
            for n, p in enumerate(chosen):
                found = density.block(pairs.i[p], pairs.j[p], pairs.R[p])
                found = found if c is None else found[c]
                assert np.abs(found - total[n]).max() < 2e-5


def test_spinor_density_counts_electrons_and_energy(made):
    """Tr ρS is the electron count; ρ↑↓ has the sign with which Tr ρH is the band energy."""
    with moireio.open(made["hbn_soc"]) as file:
        rho, h, s = (file.operator(n) for n in ("density", "hamiltonian", "overlap"))
        n = len(file.structure)
        count = energy = 0.0
        for i, j, R, block in rho.slab(0, n):
            count += (block.conj() * np.kron(np.eye(2), s.block(i, j, R))).sum().real
            energy += (block.conj() * h.block(i, j, R)).sum().real
        assert count == pytest.approx(8, abs=1e-4)
        mesh = -0.5 + (2 * np.arange(6) + 1) / 12
        total = 0.0
        for x in mesh:
            for y in mesh:
                path = moireio.KPath(np.array([[x, y, 0]]), np.zeros(1), np.zeros(0, int), ())
                energies = moireio.solve_bands(file, path).energies[0, 0]
                total += energies[energies < file.electrons.fermi].sum() / 36
        # OpenMX's own density is of the iteration before its Hamiltonian.
        assert energy == pytest.approx(total, abs=2e-2)


def test_partner_rules_hold_exactly(made):
    for path in made.values():
        with moireio.open(path) as file:
            assert moireio.validate(file) == []
            n = len(file.structure)
            for name in ("hamiltonian", "overlap", "momentum", "density"):
                if name in file:
                    assert file.operator(name).deviation(0, n).max() == 0
            assert 0 < file.hamiltonian.meta.residual < 1e-7


def test_time_reversal_without_magnetism(made):
    """↓↓ = ↑↑* and ↓↑ = −↑↓* inside every block."""
    with moireio.open(made["hbn_soc"]) as file:
        for _, _, _, block in file.hamiltonian.slab(0, 2):
            n, m = block.shape[0] // 2, block.shape[1] // 2
            assert np.abs(block[n:, m:] - block[:n, :m].conj()).max() < 1e-7
            assert np.abs(block[n:, :m] + block[:n, m:].conj()).max() < 1e-7


def test_structure_and_basis(made, data):
    with moireio.open(made["gr_ab"]) as file:
        atoms = file.structure.to_ase()
        assert atoms.get_chemical_formula() == "C4"
        assert atoms.pbc.tolist() == [True, True, False]
        assert atoms.positions[1] == pytest.approx([1.23, 0.710140831103, 8.3], abs=1e-12)
        own = file.basis["C"]
        assert (own.name, own.l, own.valence) == ("C6.0-s2p2d1", (0, 0, 1, 1, 2), 4.0)
        assert own.cutoff == pytest.approx(6 * 0.529177249)
        assert file.history[0].command == "openmx2h5"
        assert file.history[0].inputs == ["gr_ab.scfout"]
        assert file.history[0].digests[0].startswith("blake2b:")


@pytest.mark.parametrize("name", ["gr_ab", "gr_ab_v38", "hbn_soc", "o2_col"])
def test_the_other_byte_order(tmp_path, data, name):
    """A file of the other byte order gives the same block file, number by number."""
    original = data / f"{name}.scfout"
    other = ">" if sys.byteorder == "little" else "<"
    repeat(original, tmp_path / "swapped.scfout", byte_order=other)
    swapped = (tmp_path / "swapped.scfout").read_bytes()
    assert (
        swapped[:8]
        == np.frombuffer(original.read_bytes()[:8], "=i4").astype(other + "i4").tobytes()
    )
    with open_scfout(original) as a, open_scfout(tmp_path / "swapped.scfout") as b:
        n = len(a.structure)
        assert a.operators == b.operators
        assert (a.structure.positions == b.structure.positions).all()
        for operator in a.operators:
            assert (a.operator(operator).rows(0, n) == b.operator(operator).rows(0, n)).all()


@pytest.mark.parametrize("name", ["gr_ab", "o2_col"])
def test_a_repeated_cell_has_the_folded_bands(tmp_path, data, made, name):
    repeat(data / f"{name}.scfout", tmp_path / "big.scfout", (2, 1, 1))
    convert(str(tmp_path / "big.scfout"), str(tmp_path / "big.h5"))
    point = np.array([0.2, 0.3, 0.0])
    with moireio.open(tmp_path / "big.h5") as big, moireio.open(made[name]) as small:
        assert len(big.structure) == 2 * len(small.structure)
        assert moireio.validate(big) == []

        def energies(file, k):
            path = moireio.KPath(np.array([k]), np.zeros(1), np.zeros(0, int), ())
            return moireio.solve_bands(file, path).energies

        parts = [energies(small, (point + np.array([m, 0, 0])) / [2, 1, 1]) for m in (0, 1)]
        expected = np.sort(np.concatenate(parts, axis=2), axis=2)
        error = np.abs(energies(big, point) - expected)
        assert error[expected < 20].max() < 1e-8
        # Which triangle of S is kept depends on the order of the atoms; high states feel it.
        assert error.max() < 1e-6


def test_several_slabs_equal_one(data):
    with open_scfout(data / "gr_ab.scfout") as file:
        for name in file.operators:
            operator = file.operator(name)
            parts = [operator.rows(i, i + 1) for i in range(4)]
            assert (np.concatenate(parts, axis=-1) == operator.rows(0, 4)).all()


def test_without_input_text(tmp_path, data):
    repeat(data / "gr_ab.scfout", tmp_path / "x.scfout", text=False)
    with pytest.raises(MoireioError, match="`dat`"):
        open_scfout(tmp_path / "x.scfout")
    with open_scfout(tmp_path / "x.scfout", dat=data / "gr_ab.dat") as file:
        assert file.basis["C"].name == "C6.0-s2p2d1"
    with pytest.raises(DamagedError, match="4 atoms"):
        open_scfout(tmp_path / "x.scfout", dat=data / "hbn_soc.dat")


def test_appended_output_is_ignored(tmp_path, data):
    joined = (data / "gr_ab.scfout").read_bytes() + (data / "gr_ab.out").read_bytes()
    (tmp_path / "x.scfout").write_bytes(joined)
    with (
        open_scfout(tmp_path / "x.scfout") as a,
        open_scfout(data / "gr_ab.scfout") as b,
    ):
        assert (a.operator("hamiltonian").rows(0, 4) == b.operator("hamiltonian").rows(0, 4)).all()
        assert a.digest(["hamiltonian"]) == b.digest(["hamiltonian"])


def test_what_a_layout_lacks(data):
    with (
        open_scfout(data / "gr_ab_v38.scfout") as file,
        pytest.raises(MoireioError, match=r"3\.9"),
    ):
        file.operator("momentum")


def test_spinor_density_of_layout_0_is_refused(shared):
    path = shared / "openmx/hbn_soc_v38/hbn_soc_v38.scfout"
    with open_scfout(path) as file, pytest.raises(MoireioError, match="complete density"):
        file.operator("density")


@pytest.mark.parametrize("layout", [1, 2, 4, 17])
def test_unknown_layouts(tmp_path, data, layout):
    raw = bytearray((data / "gr_ab.scfout").read_bytes())
    raw[4:8] = np.array([4 * layout], "=i4").tobytes()
    (tmp_path / "x.scfout").write_bytes(raw)
    with pytest.raises(DamagedError, match=f"layout {layout}"):
        open_scfout(tmp_path / "x.scfout")


def test_an_altered_element_is_refused(tmp_path, data):
    with open_scfout(data / "gr_ab.scfout") as file:
        place = file.header.matrix_start + 8 * 5000
    raw = bytearray((data / "gr_ab.scfout").read_bytes())
    raw[place + 6] ^= 0x10
    (tmp_path / "x.scfout").write_bytes(raw)
    with (
        open_scfout(tmp_path / "x.scfout") as file,
        pytest.raises(DamagedError, match="partner"),
    ):
        file.operator("hamiltonian").rows(0, 4)
