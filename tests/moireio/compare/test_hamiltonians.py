"""Comparisons of Hamiltonians, and of their bands."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers import overlap_like, random_operator, random_system
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh

from moireio.blockfile.calculation import Calculation
from moireio.compare.hamiltonians import compare, compare_bands, twist_angle
from moireio.errors import MoireioError
from moireio.kspace.path import make_path
from moireio.operators.bloch import BlochSum
from moireio.operators.blocks import read_pairs
from moireio.operators.views import ArraySource
from moireio.results.electrons import Electrons
from moireio.spectrum import checkpoint
from moireio.spectrum.choice import SolverChoice


def calculation(seed, spin="none", mu=0.0, noise=0.0, label="made"):
    """A calculation with S, an H of the same pairs, μ·S added to it, and noise."""
    structure, basis = random_system(seed)
    sizes = basis.sizes(structure)
    S, overlaps = overlap_like(seed, sizes)
    coupling = np.array([[1, -0.3j], [0.3j, -0.8]]) if spin == "spinor" else np.eye(1)
    meta = random_operator(seed, sizes, spin=spin)[0].meta
    blocks = {
        key: np.kron(coupling, s**2) + mu * np.kron(np.eye(len(coupling)), s)
        for key, s in overlaps.items()
    }
    for atom in range(len(structure)):  # two atoms far below the Fermi level, two above
        onsite = blocks[atom, atom, (0, 0, 0)]
        onsite += (3 if atom > 1 else -3) * np.eye(len(onsite))
    H = ArraySource.from_blocks(meta, sizes * len(coupling), blocks)
    if noise:
        values = np.random.default_rng(seed).normal(size=H.data.shape)
        H = ArraySource(H.meta, H.sizes, H.pairs, H.data + noise * values)
    operators = {"hamiltonian": H, "overlap": S}
    return Calculation(label, structure, basis, operators, electrons=Electrons(fermi=mu))


@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_a_shift_is_found_and_removed(spin):
    original = calculation(0, spin)
    errors = compare(original, original)
    assert errors.mu == 0
    assert errors.mean == 0
    errors = compare(calculation(0, spin, mu=0.37), original)
    assert errors.mu == pytest.approx(0.37)
    assert errors.mean < 1e-12
    assert errors.onsite < 1e-12


@given(st.integers(0, 30), st.floats(-3, 3), st.sampled_from(["none", "spinor"]))
@settings(max_examples=15)
def test_bands_of_a_shifted_hamiltonian_agree(seed, mu, spin):
    """H_A = H_B + μS is the same physics, whatever μ: no error of the bands is left."""
    shifted, original = calculation(seed, spin, mu), calculation(seed, spin)
    path = make_path(original.structure, "0,0,0 0.5,0.2,0", 3)
    errors = compare(shifted, original)
    assert errors.mu == pytest.approx(mu, abs=1e-9)
    bands = compare_bands(shifted, original, path, 1, errors.mu)
    assert np.abs([bands.below, bands.above]).max() < 1e-9


@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_band_errors_against_a_plain_loop(solver):
    """The bands next to the gap, counted from it: with all levels by LAPACK."""
    A, B = calculation(3, noise=0.01), calculation(3)
    path, count, mu = make_path(B.structure, "0,0,0 0.5,0.2,0", 4), 3, 0.02
    ticks = []
    bands = compare_bands(
        A,
        B,
        path,
        count,
        mu,
        solver=SolverChoice(solver),
        progress=lambda steps, total: ticks.append((steps, total)),
    )
    sums = [BlochSum.from_source(o) for o in (A.hamiltonian, B.hamiltonian, B.overlap)]
    levels = np.array(
        [[eigh(h.dense(k), sums[2].dense(k), eigvals_only=True) for k in path.k] for h in sums[:2]]
    )
    occupied = int((levels[1, 0] < 0).sum())
    gap = np.abs(levels[0] - mu - levels[1]).mean(axis=0)
    assert bands.below == pytest.approx(gap[occupied - count : occupied][::-1], abs=1e-8)
    assert bands.above == pytest.approx(gap[occupied : occupied + count], abs=1e-8)
    assert sum(steps for steps, _ in ticks) == 8
    assert {total for _, total in ticks} == {8}


def test_bands_that_are_refused(tmp_path):
    A = calculation(3)
    path = make_path(A.structure, "0,0,0 0.5,0.2,0", 2)
    n_orbitals = int(A.basis.sizes(A.structure).sum())
    with pytest.raises(MoireioError, match="there are not"):
        compare_bands(A, A, path, n_orbitals)
    with pytest.raises(MoireioError, match="neither the number of electrons nor the Fermi level"):
        compare_bands(A, replace(A, electrons=None), path, 1)
    bare = replace(A, operators={"hamiltonian": A.hamiltonian})
    with pytest.raises(MoireioError, match="has no /overlap"):
        compare_bands(bare, bare, path, 1)
    with pytest.raises(MoireioError, match="may be used"):
        compare_bands(A, A, path, 1, solver=SolverChoice("dense", memory=1.0))


def test_errors_against_a_plain_loop():
    original, other = calculation(1), calculation(1, noise=1.0)
    errors = compare(other, original)
    pairs, sizes = original.hamiltonian.pairs, original.hamiltonian.sizes
    names = original.structure.species_of_atoms
    noise = other.hamiltonian.data - original.hamiltonian.data
    S = original.overlap
    assert errors.mu == pytest.approx((S.data * noise).sum() / (S.data**2).sum())
    gap = np.abs(noise - errors.mu * S.data)
    blocks, at, i = {}, 0, pairs.i
    for p in range(len(pairs)):
        shape = sizes[i[p]], sizes[pairs.j[p]]
        block = gap[at : at + shape[0] * shape[1]].reshape(shape)
        at += block.size
        blocks.setdefault((names[i[p]], names[pairs.j[p]]), []).append(block)
    assert {p.species for p in errors.pairs} == set(blocks)
    for p in errors.pairs:
        expected = np.array(blocks[p.species])
        assert p.blocks == len(expected)
        assert p.mean == pytest.approx(expected.mean())
        np.testing.assert_allclose(p.means, expected.mean(axis=0))
        assert p.largest_mean == pytest.approx(expected.mean(axis=0).max())
        assert p.largest == pytest.approx(expected.max())
        atom, other_atom, R = p.location
        place = pairs.find(np.array([atom]), np.array([other_atom]), np.array([R]))
        assert place[0] >= 0
        assert (names[atom], names[other_atom]) == p.species
    assert errors.mean == pytest.approx(gap.mean())


def collinear(up, down):
    """Two spinless calculations as the spins of one."""
    H = up.hamiltonian
    meta = H.meta.with_(spin="collinear", components=2)
    both = ArraySource(meta, H.sizes, H.pairs, np.stack([H.data, down.hamiltonian.data]))
    return replace(up, operators={**up.operators, "hamiltonian": both})


def test_either_spin_after_one_shift_of_both():
    original, up, down = calculation(1), calculation(1, mu=0.3), calculation(1, mu=0.3, noise=0.2)
    A, B = collinear(up, down), collinear(original, original)
    S, gaps = original.overlap.data, []
    for one in (up, down):
        gaps.append(one.hamiltonian.data - original.hamiltonian.data)
    mu = (S * (gaps[0] + gaps[1])).sum() / (2 * (S * S).sum())
    for channel in (0, 1):
        errors = compare(A, B, channel)
        assert errors.mu == pytest.approx(mu)
        assert errors.mean == pytest.approx(np.abs(gaps[channel] - mu * S).mean())
    with pytest.raises(MoireioError, match="spin by spin"):
        compare(A, B)
    with pytest.raises(MoireioError, match="bands of collinear Hamiltonians are not compared"):
        compare_bands(A, B, make_path(original.structure, "0,0,0 0.5,0.2,0", 2), 1)


def test_pairs_of_one_alone_are_counted():
    original = calculation(2)
    H = original.hamiltonian
    inside = ~H.pairs.R.any(axis=1)
    values, _ = read_pairs(H, np.flatnonzero(inside))
    cut = H.pairs.select(inside)
    operators = {**original.operators, "hamiltonian": ArraySource(H.meta, H.sizes, cut, values)}
    few = replace(original, operators=operators)
    errors = compare(few, original)
    assert errors.unmatched == (0, len(H.pairs) - len(cut))
    assert compare(original, few).unmatched == (len(H.pairs) - len(cut), 0)


def test_hamiltonians_that_cannot_be_compared():
    A = calculation(0)
    structure = replace(A.structure, positions=A.structure.positions + 0.1)
    with pytest.raises(MoireioError, match="positions differ"):
        compare(A, replace(A, structure=structure))
    with pytest.raises(MoireioError, match="does not have the atoms"):
        compare(A, calculation(1))
    with pytest.raises(MoireioError, match="has spin"):
        compare(calculation(0, "spinor"), A)


def test_twist_angles_come_from_the_file_that_has_them():
    class Layer:
        def __init__(self, angle):
            self.angle = angle

    class Moire:
        layers = (Layer(-1.0), Layer(2.5))

    A = calculation(0)
    assert twist_angle(A, A) is None
    assert twist_angle(A, replace(A, moire=Moire)) == 3.5


def test_an_interrupted_comparison_goes_on(tmp_path):
    """The finished k points of both Hamiltonians are kept, and give the same errors."""
    A, B = calculation(3, noise=0.01), calculation(3)
    path, record, calls = make_path(B.structure, "0,0,0 0.5,0.2,0", 4), tmp_path / "r", []

    def stop(steps, total):
        calls.append(steps)
        if len(calls) == 5:
            raise KeyboardInterrupt

    whole = compare_bands(A, B, path, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "SHORT", 0.0)  # short runs leave no file
        with pytest.raises(KeyboardInterrupt):
            compare_bands(A, B, path, 2, checkpoint=str(record), progress=stop)
    again = []
    resumed = compare_bands(
        A,
        B,
        path,
        2,
        checkpoint=str(record),
        resume=True,
        progress=lambda steps, total: again.append(steps),
    )
    assert again == [5, 1, 1, 1]
    assert (resumed.below == whole.below).all()
    assert not record.exists()


def test_command(run, made, shared, tmp_path):
    """OpenMX's AB graphene against DeepH's folder of the same calculation."""
    folder = shared / "deephe3" / "graphene" / "structures" / "gr_ab"
    words = ["--bands", 2, "--path", "GMKG", "--points", 5]
    files = ["--plot", tmp_path / "a.png", "--csv", tmp_path / "a.csv"]
    done = run("compare-h", folder, made["gr_ab"], *words, *files)
    assert "C-C" in done.text
    assert "max over orbital pairs of the mean" in done.text
    assert "bands below the gap, mean |ΔE|, meV: 0.00, 0.00" in done.text
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 13 * 13


def test_command_on_the_clone(invoke, made, tmp_path):
    done = invoke("compare-h", made["gr_ab"], made["gr_ab_v38"], "--json", "--bands", 1)
    assert done.exit_code == 0, done.output
    errors = json.loads(done.stdout)
    assert errors["pairs"][0]["pair"] == ["C", "C"]
    assert 0 <= errors["mean"] < 1.0
    assert set(errors) >= {"a", "b", "unit", "mu", "onsite", "only"}
    assert {side: len(v) for side, v in errors["bands"].items()} == {"below": 1, "above": 1}
    words = ["--plot", tmp_path / "b.png", "--bands", 1, "--points", 3]
    assert invoke("compare-h", made["hbn_soc"], made["hbn_soc"], *words).exit_code == 0
    done = invoke("compare-h", made["gr_ab"], made["hbn_soc"])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
