"""Eigenvalues of C3 and Chern numbers modulo 3: models whose C is known, and real files."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import convert
from toymodels import GAPPED, bhz, haldane, kane_mele, random_c3

import moireio
from moireio.errors import MoireioError
from moireio.results.symmetry import POINTS
from moireio.spectrum.choice import SolverChoice
from moireio.topology.bandgroups import BandGroup, parse_group
from moireio.topology.rotation import threefold_eigenvalues
from moireio.topology.rotation_report import (
    chern_of_all,
    chern_of_row,
    chern_of_spin,
    rotation_object,
    spin_of_row,
    transition,
    warning,
)


def solve(path, first, last, **options):
    with moireio.open(path) as file:
        return threefold_eigenvalues(file, BandGroup(first, last), **options)


def mod3(chern):
    return (chern + 1) % 3 - 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"left_handed": ()},
        {"other_images": ([[1, -2, 0], [0, 3, 0]],)},
        {"other_origin": (np.array([0.3, -0.7, 1.1]),)},
        {"other_order": ([1, 0],)},
    ],
)
def test_haldane(tmp_path, changes):
    """C = −1 inside the phase and 0 outside, about every axis, however the cell is written."""
    for model, chern in ((haldane(M=0.3), -1), (haldane(M=0.8), 0), (haldane(phi=-np.pi / 2), 1)):
        for name, arguments in changes.items():
            model = getattr(model, name)(*arguments)
        result = solve(model.write(tmp_path / "x.h5"), 1, 1)
        assert result.deviation.max() < 1e-13
        assert [chern_of_all(result, axis) for axis in range(3)] == [chern] * 3
        assert [chern_of_row(result, axis, 0, 0) for axis in range(3)] == [chern] * 3
        assert chern_of_all(solve(tmp_path / "x.h5", 1, 2), 0) == 0


@pytest.mark.parametrize(("case", "chern"), list(GAPPED.items()), ids=str)
def test_random_models(tmp_path, case, chern):
    seed, spinor, bands = case
    path = random_c3(seed, spinor=spinor).write(tmp_path / "x.h5")
    result = solve(path, 1, bands)
    assert result.count == bands
    assert result.deviation.max() < 1e-12
    assert [chern_of_all(result, axis) for axis in range(3)] == [mod3(chern)] * 3
    # energies and eigenvalues about the axis at the origin, against whole matrices
    with moireio.open(path) as file:
        for at, k in enumerate(result.k):
            assert np.abs(result.energies[0, at] - levels(file, k)[:bands]).max() < 1e-10


def levels(file, k):
    from scipy.linalg import eigvalsh

    spinor = file.hamiltonian.meta.spin == "spinor"
    s = file.overlap.at_k(k, dense=True, spinor=spinor)
    return eigvalsh(file.hamiltonian.at_k(k, dense=True), s)


def test_time_reversal_gives_the_other_valley(tmp_path):
    """The same from two solves as with a term that breaks it slightly, so that K′ is solved."""
    model = random_c3(3, spinor=True, time_reversal=True)
    result = solve(model.write(tmp_path / "x.h5"), 1, 4)
    blocks = {
        key: b + 1e-4 * np.kron(np.diag([1, -1]), np.eye(len(b) // 2)) * (key[2] == (0, 0, 0))
        if key[0] == key[1]
        else b
        for key, b in model.hamiltonian.items()
    }
    other = solve(replace(model, hamiltonian=blocks).write(tmp_path / "y.h5"), 1, 4)
    for point in (1, 2):
        assert sorted(result.n[0, 0, point]) == sorted(other.n[0, 0, point])
        assert np.abs(result.energies[0, point] - other.energies[0, point]).max() < 1e-3
    assert chern_of_all(result, 0) == chern_of_all(other, 0) == 0


def test_spins_of_kane_and_mele(tmp_path):
    """Without Rashba coupling ↑ and ↓ are Haldane's models, of opposite C."""
    for M, chern in ((0.1, -1), (0.5, 0)):
        path = kane_mele(M=M, rashba=0.0).write(tmp_path / "x.h5")
        result = solve(path, 1, 2)
        assert chern_of_all(result, 0) == 0
        assert chern_of_spin(result, 0, 1) == chern
        assert chern_of_spin(result, 0, -1) == -chern
    with_rashba = solve(kane_mele().write(tmp_path / "y.h5"), 1, 2)
    assert chern_of_all(with_rashba, 0) == 0
    assert spin_of_row(with_rashba, 0, 0) is None or with_rashba.count == 2


def test_groups_are_completed(tmp_path):
    path = kane_mele(rashba=0.0, M=0.0).write(tmp_path / "x.h5")
    result = solve(path, 1, 1)
    assert (result.first_band, result.count) == (1, 2)
    assert "bands 1:1 were completed to whole groups of levels, 1:2" in result.notes
    assert result.group.tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (bhz(), "has no threefold axis: its lattice is not hexagonal"),
        (haldane(strain=0.01), "has no threefold axis: its lattice is not hexagonal"),
    ],
)
def test_without_a_threefold_axis(tmp_path, model, reason):
    with pytest.raises(MoireioError, match=reason):
        solve(model.write(tmp_path / "x.h5"), 1, 1)


def test_atoms_that_are_moved(tmp_path):
    model = haldane()
    for shift, fine in ((0.02, True), (0.2, False)):
        positions = model.structure.positions + np.array([[shift, 0, 0], [0, 0, 0]])
        moved = replace(model, structure=replace(model.structure, positions=positions))
        path = moved.write(tmp_path / "x.h5")
        if fine:
            assert chern_of_all(solve(path, 1, 1), 0) == -1
        else:
            with pytest.raises(MoireioError, match="no turn by 120° takes all atoms to within"):
                solve(path, 1, 1)


def test_operators_without_the_symmetry_of_the_atoms(tmp_path):
    """They are refused as they are, and accepted after averaging."""
    model = random_c3(0)
    noise = np.random.default_rng(1).normal(size=(9, 9))
    own = 0, 0, (0, 0, 0)

    def broken(size):
        onsite = model.hamiltonian[own] + size * (noise + noise.T)
        blocks = model.hamiltonian | {own: onsite}
        return replace(model, hamiltonian=blocks).write(tmp_path / "x.h5")

    with pytest.raises(MoireioError, match=r"H breaks C3 by [0-9.]+ eV, which leaves no groups"):
        solve(broken(0.4), 1, 1)
    path = broken(0.02)
    result = solve(path, 1, 1)
    assert result.deviation.max() == pytest.approx(3.3e-3, rel=0.1)
    assert "H breaks C3" in warning(result)
    assert chern_of_all(result, 0) == 1
    result = solve(path, 1, 1, symmetrise=True)
    assert result.symmetrised
    assert 0.01 < result.removed < 0.1
    assert result.deviation.max() < 1e-13
    assert chern_of_all(result, 0) == 1


def test_hbn(made):
    """Levels around the gap by an independent program (FINDINGS_TOPOLOGY): n by pair."""
    path = made["hbn_soc"]
    result = solve(path, 5, 12)
    expected = {
        0: ("-1 1 -1 3 -1 1 -1 1", "1 -1 1 3 1 -1 1 -1"),
        1: ("1 3 1 -1 1 3 1 3", "-1 3 -1 1 -1 3 -1 3"),
        2: ("3 -1 3 1 3 -1 3 -1", "3 1 3 -1 3 1 3 1"),
    }
    for axis, texts in expected.items():
        assert pairs(result.n[0, axis, 0]) == [[-1, 1], [3, 3], [-1, 1], [-1, 1]]
        for point, text in zip((1, 2), texts, strict=True):
            assert pairs(result.n[0, axis, point]) == pairs(np.array(text.split(), dtype=int))
        assert chern_of_all(result, axis) == 0
    assert result.deviation[0].max(axis=1) == pytest.approx([1.0e-2, 5e-6, 5e-6], rel=0.3)
    assert "at Γ: H breaks C3" in warning(result)
    better = solve(path, 5, 12, symmetrise=True)
    assert better.deviation.max() < 1e-12
    assert better.removed == pytest.approx(3.0e-3, rel=0.03)
    change = np.sort(better.energies) - np.sort(result.energies)
    assert 1e-5 < np.abs(change).max() < 4e-5
    for axis, point in np.ndindex(3, 3):
        assert pairs(better.n[0, axis, point]) == pairs(result.n[0, axis, point])
    assert warning(better) is None


def pairs(n):
    return [sorted(n[a : a + 2].tolist()) for a in range(0, len(n), 2)]


def test_mote2(shared, tmp_path):
    """FINDINGS §8: every level at K and K′ about three axes."""
    convert(shared / "openmx/mote2_mx_soc/mote2_mx_soc.scfout", tmp_path / "x.h5")
    result = solve(tmp_path / "x.h5", 89, 96)
    expected = [
        ("1 3 -1 1 3 -1 -1 1", "-1 3 1 -1 3 1 1 -1"),
        ("3 -1 1 3 -1 1 1 3", "3 1 -1 3 1 -1 -1 3"),
        ("-1 1 3 -1 1 3 3 -1", "1 -1 3 1 -1 3 3 1"),
    ]
    for axis, texts in enumerate(expected):
        assert pairs(result.n[0, axis, 0]) == [[-1, 1]] * 4
        for point, text in zip((1, 2), texts, strict=True):
            assert result.n[0, axis, point].tolist() == [int(v) for v in text.split()]
    assert result.deviation[0].max(axis=1) == pytest.approx([5e-5, 2e-4, 2e-4], rel=0.3)
    better = solve(tmp_path / "x.h5", 89, 96, symmetrise=True)
    assert better.deviation.max() < 1e-12
    assert better.removed == pytest.approx(7.1e-3, rel=0.01)
    assert np.abs(better.energies - result.energies).max() < 2e-5  # first order vanishes here


def test_bismuth(shared, tmp_path):
    convert(shared / "openmx/bi_bilayer_soc/bi_bilayer_soc.scfout", tmp_path / "x.h5")
    result = solve(tmp_path / "x.h5", 27, 34)
    assert pairs(result.n[0, 0, 0]) == [[-1, 1], [3, 3], [-1, 1], [-1, 1]]
    assert np.abs(result.sz[0, 0, ::2]) == pytest.approx([0.62, 1.0, 0.47, 0.59], abs=0.006)
    # the second axis goes through the first atom
    for axis, text in ((1, "-1 -1 1 3 1 3 -1 -1"), (2, "1 1 3 -1 3 -1 1 1")):
        assert pairs(result.n[0, axis, 1]) == pairs(np.array(text.split(), dtype=int))
    assert result.deviation[0].max(axis=1) == pytest.approx([1.2e-2, 8e-6, 8e-6], rel=0.3)


def test_twisted_graphene(tmp_path, invoke):
    """Slater–Koster, 6.01°: the classes of FINDINGS_TOPOLOGY about the three axes."""
    cell, out = tmp_path / "cell.h5", tmp_path / "h.h5"
    words = ["graphene", "--index", "6", "5", "-q", "-o", cell]
    assert invoke("build-twist", *words).exit_code == 0
    assert invoke("tb-h", cell, "-m", "moon-koshino", "-q", "-o", out).exit_code == 0
    result = solve(out, 181, 184)
    assert result.angle == pytest.approx(-6.009, abs=1e-3)
    assert result.deviation.max() < 1e-9
    assert np.linalg.norm(result.centres[0]) < 1e-6
    assert np.sort(result.n[0, 0, 0]).tolist() == [0, 0, 0, 0]
    for axis, classes in enumerate(([-2, -2, 2, 2], [-2, -2, 0, 0], [0, 0, 2, 2])):
        assert np.sort(result.n[0, axis, 1]).tolist() == classes
        assert np.sort(result.n[0, axis, 2]).tolist() == sorted(-n for n in classes)
        assert chern_of_all(result, axis) == 0
    assert result.energies[0, 1] == pytest.approx([0.7847] * 4, abs=1e-4)


def test_twisted_mote2(shared, tmp_path, invoke):
    """21.79°, from OpenMX: the highest valence pair has C(↑) = −1 mod 3 (FINDINGS_TOPOLOGY)."""
    path = tmp_path / "x.h5"
    assert invoke("deeph2h5", shared / "mote2/tmt_2-1", "-q", "-o", path).exit_code == 0
    result = solve(path, 643, 644, solver=SolverChoice("sparse"))
    assert result.count == 2
    assert result.energies[0, :2, 0] == pytest.approx([-4.5993, -4.6029], abs=1e-4)
    assert (result.sz[0, :, 0] > 0.9).all()
    assert result.n[0, 0, :, 0].tolist() == [-1, 1, 1]
    assert [chern_of_spin(result, axis, 1) for axis in range(3)] == [-1] * 3
    assert result.deviation.max() < 1e-4


def test_a_cell_of_120_degrees(tmp_path):
    """Haldane's model with a2 − a1 instead of a2."""
    model = haldane(M=0.3)
    cell = model.structure.cell.copy()
    cell[1] -= cell[0]
    blocks = {
        (i, j, (R[0] + R[1], R[1], R[2])): block for (i, j, R), block in model.hamiltonian.items()
    }
    other = replace(
        model, structure=replace(model.structure, cell=cell), hamiltonian=blocks, link=None
    )
    result = solve(other.write(tmp_path / "x.h5"), 1, 1)
    assert [chern_of_all(result, axis) for axis in range(3)] == [-1] * 3


def test_collinear_spin(tmp_path):
    """Two models of Haldane of opposite flux as spin up and down."""
    from moireio.blockfile.stream import write_target
    from moireio.operators.catalogue import operator_type
    from moireio.operators.views import ArraySource

    up, down = haldane(M=0.3), haldane(M=0.3, phi=-np.pi / 2)
    blocks = {key: np.stack([up.hamiltonian[key], down.hamiltonian[key]]) for key in up.hamiltonian}
    meta = operator_type("hamiltonian").meta(spin="collinear", dtype="complex128")
    with write_target(str(tmp_path / "x.h5")) as writer:
        writer.structure(up.structure)
        writer.basis(up.basis)
        writer.operator(ArraySource.from_blocks(meta, up.dims, blocks))
    result = solve(tmp_path / "x.h5", 1, 1, symmetrise=True)
    assert result.n.shape == (2, 3, 3, 1)
    for axis in range(3):
        assert [chern_of_spin(result, axis, s) for s in (1, -1)] == [-1, 1]
        assert chern_of_all(result, axis) == 0
    groups = rotation_object(result, "x.h5")["centres"][0]["groups"]
    assert [(g["channel"], g["chern_mod3"]) for g in groups] == [("up", -1), ("down", 1)]


def test_bulk_crystals_are_refused(tmp_path):
    model = haldane()
    bulk = replace(model, structure=replace(model.structure, pbc=[True] * 3))
    with pytest.raises(MoireioError, match="is periodic along 3 vectors, not a layer"):
        solve(bulk.write(tmp_path / "x.h5"), 1, 1)


def test_objects_and_transitions(tmp_path):
    results = [solve(haldane(M=M).write(tmp_path / "x.h5"), 1, 1) for M in (0.3, 0.4, 0.7)]
    found = rotation_object(results[0], "x.h5")
    assert set(found) == {"file", "angle", "bands", "centres", "symmetrised", "removed_eV"}
    centre = found["centres"][0]
    assert centre["chern_mod3"] == -1
    (band,) = centre["bands"]
    assert {"band", "energy", "n", "xi", "deviation", "sz", "spin", "group", "chern_mod3"} == set(
        band
    )
    assert set(band["n"]) == set(POINTS)
    assert band["group"] == [1, 1]
    assert transition(results[0], results[1]) == []
    (change,) = transition(results[1], results[2])
    assert change["point"] in ("K", "K'")
    assert change["spin"] is None


def test_selection_by_name(made):
    with moireio.open(made["hbn_soc"]) as file:
        group = parse_group("v2:v1").resolve(8, 52)
        result = threefold_eigenvalues(file, group)
        assert result.first_band == 7
        assert {chern_of_spin(result, 0, s) for s in (1, -1)} == {-1, 1}
