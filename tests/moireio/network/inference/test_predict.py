"""What predictions obey: symmetries, locality, streaming, going on."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import (
    blocks_of,
    graph_of,
    hamiltonian,
    random_structure,
    rotation_of_orbitals,
    rotation_of_spin,
    small_model,
    structure,
)

from moireio.errors import MoireioError
from moireio.network.inference import passes as predict
from moireio.network.inference.environments import Environments
from moireio.network.modelfile import read, write

CASES = [(False, False), (True, False), (False, True), (True, True)]


@pytest.fixture(scope="module")
def models():
    return {case: small_model(*case) for case in CASES}


def turned(block, own, i, j, atoms, turn, spin):
    """A block as it must be after the crystal was turned."""
    names = atoms.species_of_atoms
    D = [rotation_of_orbitals(own[names[n]].l, turn) for n in (i, j)]
    if not spin:
        return D[0] @ block @ D[1].T
    U = rotation_of_spin(turn)
    return np.kron(U, D[0]) @ block @ np.kron(U, D[1]).conj().T


@pytest.mark.parametrize("case", CASES)
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
@settings(max_examples=4)
def test_equivariance(models, case, seed, mirrored, single):
    """Turned, inverted, moved and renumbered: 1e-10 in double, 1e-5 in single precision."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    turn = Rotation.random(rng=rng).as_matrix() * (-1 if mirrored else 1)
    model = small_model(*case, dtype=torch.float32) if single else models[case]
    atoms = random_structure(seed)
    order = np.array([1, 2, 0])
    moved = (atoms.positions + rng.normal(size=3)) @ turn.T
    other = structure(moved[order], atoms.cell @ turn.T, atoms.species[order].tolist())
    # the species' numbers may change with the order: names stand for them
    source, data = hamiltonian(model, atoms)
    new, changed = hamiltonian(model, other)
    found = {(i, j, tuple(R)): b for i, j, R, b in blocks_of(new, changed)}
    back = np.argsort(order)
    scale = np.abs(data).max()
    for i, j, R, block in blocks_of(source, data):
        expected = turned(block, model.basis, i, j, atoms, turn, case[0])
        key = int(back[i]), int(back[j]), tuple(R)
        if key not in found:
            key = key[1], key[0], tuple(-R)
            expected = expected.conj().T
        gap = np.abs(found[key] - expected).max()
        assert gap < (1e-5 if single else 1e-10) * max(scale, 1.0)


@pytest.mark.parametrize("case", CASES)
def test_hermitian_and_time_reversal(models, case):
    spin, local = case
    atoms = random_structure(4)
    raw, data = hamiltonian(models[case], atoms, raw=True)
    assert raw.meta.parity == 0
    assert raw.residual > 1e-3
    source, data = hamiltonian(models[case], atoms)
    for i, j, R, block in blocks_of(source, data):
        if i == j and not R.any():
            assert (block == block.conj().T).all()
        if spin and local:
            n, m = block.shape[0] // 2, block.shape[1] // 2
            uu, ud, du, dd = block[:n, :m], block[:n, m:], block[n:, :m], block[n:, m:]
            assert (dd == uu.conj()).all()
            assert (du == -ud.conj()).all()


@pytest.mark.parametrize("case", CASES)
def test_pieces_and_files_do_not_matter(models, case, tmp_path, monkeypatch):
    atoms = random_structure(2, n=6)
    _, whole = hamiltonian(models[case], atoms)
    monkeypatch.setattr(predict, "EDGES_AT_ONCE", 40)
    _, pieces = hamiltonian(models[case], atoms)
    _, files = hamiltonian(models[case], atoms, memory=1, work=str(tmp_path / "work"))
    scale = np.abs(whole).max()
    assert np.abs(pieces - whole).max() < 1e-12 * scale
    assert np.abs(files - whole).max() < 1e-12 * scale


@pytest.mark.parametrize("case", [(False, False), (True, True)])
@pytest.mark.parametrize("stop", [1, 17, 60, 95, 140])
def test_killed_and_resumed(models, case, stop, tmp_path, monkeypatch):
    """Stopped at some edge of some pass, it goes on there, and gives the same numbers."""
    atoms, model = random_structure(2, n=6), models[case]
    monkeypatch.setattr(predict, "EDGES_AT_ONCE", 40)
    monkeypatch.setattr(predict, "SAVE_SECONDS", 0.0)
    options = {"memory": 1, "key": "a"}
    _, whole = hamiltonian(model, atoms, work=str(tmp_path / "whole"), **options)
    calls, seen = [0], []

    def progress(edges, total):
        calls[0] += 1
        if calls[0] == stop:
            raise KeyboardInterrupt

    work = str(tmp_path / "work")
    try:
        hamiltonian(model, atoms, work=work, progress=progress, **options)
        assert calls[0] < stop
    except KeyboardInterrupt:
        pass
    original = predict.Predictor._group

    def counted(self, slab):
        seen.append(slab)
        return original(self, slab)

    monkeypatch.setattr(predict.Predictor, "_group", counted)
    _, resumed = hamiltonian(model, atoms, work=work, **options)
    assert (resumed == whole).all()
    fresh = predict.Predictor(model, graph_of(atoms, model.basis))
    total = fresh.passes * len(fresh.slabs)
    assert len(seen) <= max(0, total - max(0, stop - 2))
    seen.clear()
    _, other = hamiltonian(model, atoms, work=work, memory=1, key="b")
    assert len(seen) == total  # the files of another calculation are not used
    assert (other == whole).all()


def test_not_enough_memory_and_nowhere_to_go(models):
    with pytest.raises(MoireioError, match="more than `memory` allows"):
        hamiltonian(models[False, False], random_structure(0), memory=10)


def test_locality(models):
    """In the local variant an atom far away changes nothing; with norms over the graph it does."""
    cell = np.diag([60.0, 15.0, 15.0])
    near = [[0.0, 0, 0], [1.5, 0.3, 0]]
    far = [[[30.0, 0, 0]], [[30.0, 1.0, 4.0]]]
    for local in (True, False):
        model = models[False, local]
        first, second = (
            hamiltonian(model, structure(near + extra, cell, [0, 1, 0])) for extra in far
        )
        a, b = (list(blocks_of(*result)) for result in (first, second))
        gaps = [
            np.abs(x[3] - y[3]).max() for x, y in zip(a, b, strict=False) if max(x[0], x[1]) < 2
        ]
        assert len(gaps) == 3
        same = max(gaps) < 1e-13
        assert same == local or (not local and max(gaps) < 1e-2)


def test_continuous_at_the_cutoff(models):
    """Local variant: H does not jump when an atom comes within reach."""
    model = models[False, True]
    end = 2 * model.basis["C"].cutoff
    cell = np.diag([40.0, 40.0, 40.0])

    def at(distance):
        base = [[0.0, 0, 0], [1.4, 0.2, 0.1], [0.0, 0, distance]]
        source, data = hamiltonian(model, structure(base, cell, [0, 0, 0]))
        return {(i, j, tuple(R)): b for i, j, R, b in blocks_of(source, data)}

    inside, outside = at(end - 1e-5), at(end + 1e-5)
    assert len(inside) > len(outside)
    for key, block in inside.items():
        gap = block - outside.get(key, 0.0)
        assert np.abs(gap).max() < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_finite_on_symmetric_structures(case):
    """A flat hexagonal layer, where most features vanish by symmetry."""
    model = small_model(*case, dtype=torch.float32)
    a = 2.46
    cell = np.array([[a, 0, 0], [a / 2, a * np.sqrt(3) / 2, 0], [0, 0, 20.0]])
    atoms = structure([[0, 0, 0], (cell[0] + cell[1]) / 3], cell, [0, 0])
    graph = graph_of(atoms, model.basis)
    numbers = np.arange(len(graph))
    i = graph.first(numbers)
    species, network = torch.tensor(graph.species), model.network
    j = torch.tensor(graph.bonds.j.astype(np.int64))
    vectors = torch.tensor(graph.vectors(i, numbers))
    groups = network.chunks(species, torch.tensor(i), j, vectors)
    torch.cat(network.output(species, groups)).square().sum().backward()
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    assert len(grads) > 30
    assert all(torch.isfinite(g).all() for g in grads)


def test_model_file_round_trip(models, tmp_path):
    for number, (case, model) in enumerate(models.items()):
        path = str(tmp_path / f"{number}.h5")
        model.training = {"structures": 3}
        write(path, model)
        again = read(path)
        assert again.digest() == model.digest()
        assert again.training == {"structures": 3}
        assert again.names == model.names
        assert again.basis["C"].same_radial(model.basis["C"])
        _, a = hamiltonian(model, random_structure(1))
        _, b = hamiltonian(again, random_structure(1))
        assert (a == b).all(), case


def test_surroundings(models):
    model = models[False, False]
    atoms = [random_structure(n) for n in range(3)]
    graphs = [graph_of(a, model.basis) for a in atoms]
    known = Environments.collect(graphs, 2, 5.0)
    again = Environments.from_plain(known.to_plain())
    for graph in graphs:
        assert again.extrapolation_distance(graph).max() == 0
    dense = structure(atoms[0].positions * 0.7, atoms[0].cell * 0.7, atoms[0].species.tolist())
    assert again.extrapolation_distance(graph_of(dense, model.basis)).max() > 3
    assert "atoms beyond 3 σ" in again.describe(graph_of(dense, model.basis))
