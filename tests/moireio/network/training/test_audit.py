"""Planted faults of a training set are all named, and nothing else."""

import json
from dataclasses import replace

import numpy as np
import pytest
from orbitals import gaussian_basis

import moireio
from moireio.formats.calculations import open_calculation
from moireio.integrals.pairs import overlapping_pairs
from moireio.integrals.sources import OrbitalIntegrals, OverlapSource
from moireio.network.training.audit import audit
from moireio.network.training.filling import filling_window, levels_on_mesh
from moireio.operators.blocks import block_offsets
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource, FullView
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis
from moireio.system.structure import Structure

LEVELS = {5: -4.0, 7: -9.0}
CELL = np.array([[2.5, 0, 0], [1.25, 2.165, 0], [0, 0, 20]])


def basis():
    return Basis({k: replace(gaussian_basis("s1p1", k), valence=None) for k in ("B", "N")})


def monolayer(seed, size=0.08):
    """Boron nitride, displaced."""
    rng = np.random.default_rng(seed)
    ideal = np.array([[0, 0, 10.0], [1.25, 0.7217, 10.0]])
    return Structure(
        CELL, ideal + rng.uniform(-size, size, (2, 3)), [5, 7], [0, 1], ("B", "N"), [1, 1, 0]
    )


def write(path, atoms, own, fermi=0.0, noise=0.0, written=None):
    """A calculation with H_ij = 1.75 (E_i + E_j)/2 S_ij, on site E_i S_ii (Wolfsberg, Helmholz)."""
    S = OverlapSource(atoms, OrbitalIntegrals(own), overlapping_pairs(atoms, own), "upper")
    pairs = S.pairs
    data = S.rows(0, len(atoms))
    energy = np.array([LEVELS[z] for z in atoms.numbers])
    factor = 1.75 * (energy[pairs.i] + energy[pairs.j]) / 2
    factor[pairs.onsite()] /= 1.75
    sizes = np.asarray(S.sizes)
    elements = np.diff(block_offsets(pairs.block_elements(sizes)))
    rng = np.random.default_rng(1)
    if noise:
        factor *= 1 + noise * rng.normal(size=len(factor)).clip(-2, 2)
    meta = operator_type("hamiltonian").meta(storage="upper", source="dft")
    H = ArraySource(meta, sizes, pairs, np.repeat(factor, elements) * data)
    own_S = ArraySource(S.meta, sizes, pairs, data)
    levels = levels_on_mesh(atoms, FullView(H), FullView(own_S))
    low, high = filling_window(levels, 8, 2)
    assert high > low
    with moireio.create(str(path)) as writer:
        writer.structure(atoms if written is None else written)
        writer.basis(own)
        writer.operator(H)
        writer.operator(own_S)
        writer.electrons(Electrons(fermi=(low + high) / 2 + fermi))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, own = tmp_path_factory.mktemp("set"), basis()
    for n in range(6):
        write(folder / f"good{n}.h5", monolayer(n), own)
    moved = monolayer(3)
    moved = replace(moved, positions=moved.positions + np.array([0.3, 0.2, -1.0]))
    write(folder / "twice.h5", moved, own)
    write(folder / "fermi.h5", monolayer(20), own, fermi=6.0)
    write(folder / "noisy.h5", monolayer(21), own, noise=0.8)
    right = monolayer(22)
    exchanged = replace(right, positions=right.positions[::-1].copy())
    write(folder / "exchanged.h5", right, own, written=exchanged)
    write(folder / "stopped.h5", monolayer(23), own)
    write(folder / "other.h5", monolayer(24), own)
    return folder


def test_planted_faults(data):
    paths = sorted(map(str, data.iterdir()))

    def unconverged(path):
        return (1e-3, 1e-6, "still moves") if "stopped" in path else None

    def settings(path):
        return {"scf.XcType": "lda" if "other" in path else "gga-pbe"}

    found = audit(paths, open_calculation, unconverged, settings)
    named = {f.structure.rpartition("/")[2]: f.to_plain() for f in found}
    assert {name: row["reasons"] for name, row in named.items()} == {
        "exchanged.h5": ["exchanged"],
        "fermi.h5": ["fermi"],
        "noisy.h5": ["outlier"],
        "other.h5": ["settings"],
        "stopped.h5": ["unconverged"],
        "twice.h5": ["duplicate"],
    }
    assert named["exchanged.h5"]["details"][0]["text"].endswith("atoms 0 and 1 exchanged")
    assert "good3.h5" in named["twice.h5"]["details"][0]["text"]
    for row in named.values():
        assert row["value"] > row["limit"] or row["reasons"] in (["duplicate"], ["settings"])


def test_the_command(data, invoke):
    files = [data / f"{name}.h5" for name in ("good0", "good1", "good2", "fermi")]
    done = invoke("build-dataset", "audit", *files, "--json", "-q")
    assert done.exit_code == 1
    (row,) = json.loads(done.stdout)
    assert row["structure"].endswith("fermi.h5")
    assert row["reasons"] == ["fermi"]
    done = invoke("build-dataset", "audit", *files[:2], "-q")
    assert (done.exit_code, done.stdout) == (0, "0 of 2 structures have faults\n")


def test_broken_symmetry(tmp_path):
    """A perfect layer whose H lacks the threefold axis."""
    own = basis()
    write(tmp_path / "a.h5", monolayer(0, 0.0), own)
    assert audit([str(tmp_path / "a.h5")], open_calculation) == []
    write(tmp_path / "b.h5", monolayer(0, 0.0), own, noise=0.3)
    (finding,) = audit([str(tmp_path / "b.h5")], open_calculation)
    assert "symmetry" in finding.reasons
