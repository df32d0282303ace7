"""Operators of a .scfout against a naive reader, and against each other."""

from itertools import pairwise

import numpy as np
import pytest
from naive_scfout import Naive
from scipy.linalg import eigh

import moireio
from moireio.errors import DamagedError
from moireio.formats.assembly.orders import OPENMX
from moireio.formats.openmx.scfout import open_scfout
from moireio.units import BOHR_ANGSTROM, HARTREE_EV


@pytest.mark.parametrize("name", ["gr_ab", "gr_ab_v38", "hbn_soc", "o2_col"])
def test_matrices_equal_a_naive_reading(data, made, name):
    """Order of orbitals, units, signs and phases, element by element."""
    naive = Naive(data / f"{name}.scfout")
    k = np.array([0.13, -0.29, 0.07])
    with moireio.open(made[name]) as file:
        momenta = [file.basis[s].l for s in file.structure.species_of_atoms]
        start = np.concatenate([[0], np.cumsum(naive.orbitals)])
        order = np.concatenate(
            [start[a] + OPENMX.to_ours(momenta[a])[0] for a in range(len(momenta))]
        )
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


def test_several_slabs_equal_one(data):
    with open_scfout(data / "gr_ab.scfout") as file:
        for name in file.operators:
            operator = file.operator(name)
            parts = [operator.rows(i, i + 1) for i in range(4)]
            assert (np.concatenate(parts, axis=-1) == operator.rows(0, 4)).all()


def test_small_differences_of_partners_are_refused(tmp_path, data):
    """From 1e-4 eV on; intact files have 2e-8."""
    raw = bytearray((data / "gr_ab.scfout").read_bytes())
    with open_scfout(data / "gr_ab.scfout") as file:
        place = file.header.matrix_start + 8 * 5000
    for change, refused in ((3e-6, False), (5e-6, True)):  # Hartree
        value = np.frombuffer(data.joinpath("gr_ab.scfout").read_bytes(), "=f8", 1, place) + change
        raw[place : place + 8] = value.tobytes()
        (tmp_path / "x.scfout").write_bytes(raw)
        with open_scfout(tmp_path / "x.scfout") as file:
            if not refused:
                file.operator("hamiltonian").rows(0, 4)
                continue
            with pytest.raises(DamagedError, match=r"and of its partner differ by 1\.4e-04 eV"):
                file.operator("hamiltonian").rows(0, 4)


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
