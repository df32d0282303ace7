"""Stacks from several models: each block from the right one."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from systems import NUMBERS, basis, blocks_of, hamiltonian, small_model

import moireio
from moireio.errors import MoireioError
from moireio.integrals.pairs import overlapping_pairs
from moireio.integrals.sources import OrbitalIntegrals, OverlapSource
from moireio.network.inference.expert_run import choose_experts, chooser, split_names
from moireio.network.inference.experts import ExpertsSource, Stack
from moireio.network.inference.passes import Predictor
from moireio.system.structure import Structure

LAYERS = np.array([0, 2, 1, 0, 1, 2])
EXACT = 1e-12  # eV; products of other numbers of edges round differently
KINDS = np.array([0, 1, 0, 0, 0, 1])  # C, C, N from below


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Three layers, the first and the third within reach of each other's orbitals."""
    rng = np.random.default_rng(4)
    cell = np.diag([3.4, 3.9, 30.0])
    positions = rng.uniform(0, 0.3, (6, 3))
    positions[:, 2] += 1.7 * LAYERS
    positions[[3, 4, 5], :2] += [1.6, 1.9]
    names = tuple(NUMBERS)
    numbers = [NUMBERS[names[k]] for k in KINDS]
    atoms = Structure(cell, positions, numbers, KINDS, names, [True, True, False], layer=LAYERS)
    own = basis()
    pairs = overlapping_pairs(atoms, own)
    target = str(tmp_path_factory.mktemp("stack") / "stack.h5")
    with moireio.create(target) as writer:
        writer.structure(atoms)
        writer.basis(own)
        writer.operator(OverlapSource(atoms, OrbitalIntegrals(own), pairs, "upper"))
    return target


@pytest.fixture(scope="module")
def models():
    """Of C alone, and of C and N."""
    return [small_model(local=True, C="s1p1d1", seed=1), small_model(local=True, seed=2)]


def predicted(file, models, certain=None, align=True):
    stack = Stack(file)
    experts = choose_experts(stack, chooser(models, certain or {}), None, "cpu")
    with contextlib.ExitStack() as closing:
        runs = [Predictor(e.task.model, e.task.graph) for e in experts]
        for run in runs:
            closing.enter_context(contextlib.closing(run)).run()
        source = ExpertsSource(stack, experts, runs, align)
        halves = np.concatenate([source.rows(0, 2), source.rows(2, 6)])
        return source, {(i, j, *R): b for i, j, R, b in blocks_of(source, halves)}


def alone(file, model, layers):
    """Blocks of some layers by themselves, atoms numbered as in the whole structure."""
    s = file.structure
    kept = np.flatnonzero(np.isin(LAYERS, layers))
    kinds = sorted(set(s.species[kept].tolist()))
    part = replace(
        s,
        positions=s.positions[kept],
        numbers=s.numbers[kept],
        species=np.searchsorted(kinds, s.species[kept]),
        species_names=tuple(s.species_names[k] for k in kinds),
        layer=None,
    )
    source, data = hamiltonian(model, part)
    return {(int(kept[i]), int(kept[j]), *R): b for i, j, R, b in blocks_of(source, data)}


def overlaps(file):
    return {
        (i, j, *R): b
        for i, j, R, b in blocks_of(file.overlap, file.overlap.rows(0, len(file.structure)))
    }


def test_each_block_is_of_the_right_model(path, models):
    with moireio.open(path) as file:
        source, found = predicted(file, models, align=False)
        lower, upper = alone(file, models[0], (0, 1)), alone(file, models[1], (1, 2))
        S = overlaps(file)
    assert source.shifts == [0, 0]
    assert set(found) == set(S)
    between = 0
    for key, block in found.items():
        layers = tuple(sorted(LAYERS[list(key[:2])].tolist()))
        if layers in ((0, 0), (0, 1)):
            assert np.abs(block - lower[key]).max() < EXACT
        elif layers in ((2, 2), (1, 2)):
            assert np.abs(block - upper[key]).max() < EXACT
        elif layers == (1, 1):
            assert np.abs(block - (lower[key] + upper[key]) / 2).max() < 1e-12
        else:
            between += 1
            level = [np.trace(found[a, a, 0, 0, 0]) / np.trace(S[a, a, 0, 0, 0]) for a in key[:2]]
            assert np.abs(block - np.mean(level) * S[key]).max() < 1e-12
            assert np.abs(block).max() > 0
    assert between == source.uncovered > 0
    assert source.meta.extra["uncovered_pairs"] == between


def test_zero_of_energy_and_a_model_of_the_layer_alone(path, models):
    single = small_model(local=True, C="s1p1d1", seed=7)
    with moireio.open(path) as file:
        source, found = predicted(file, models, {(1,): single})
        parts = [
            alone(file, model, layers)
            for model, layers in zip([*models, single], [(0, 1), (1, 2), (1,)], strict=True)
        ]
        S = overlaps(file)
    middle = [key for key in S if set(LAYERS[list(key[:2])]) == {1}]
    # both partners of every pair count
    weight = np.repeat(
        [1.0 if key[0] == key[1] and not any(key[2:]) else 2.0 for key in middle], 81
    )
    s = np.concatenate([S[key].ravel() for key in middle])
    for n in (1, 2):
        D = np.concatenate([(parts[0][key] - parts[n][key]).ravel() for key in middle])
        root = np.sqrt(weight)
        mu = np.linalg.lstsq((root * s)[:, None], root * D, rcond=None)[0][0]
        assert source.shifts[n] == pytest.approx(mu, rel=1e-9)
        if n == 1:
            left = (weight * np.abs(D - mu * s)).sum() / weight.sum()
            assert source.joints[0].difference == pytest.approx(left, rel=1e-9)
    assert source.joints[0].alone
    for key in middle:
        one, two, own = (p[key] + mu * S[key] for p, mu in zip(parts, source.shifts, strict=True))
        assert np.abs(found[key] - (one + two - own)).max() < 1e-10


def test_words_and_refusals(path, models):
    assert split_names(["a", "1-2=b", "2=c=d"]) == (["a"], {(0, 1): "b", (1,): "c=d"})
    with pytest.raises(MoireioError, match="names no layer or neighbours"):
        split_names(["1-3=a"])
    with moireio.open(path) as file:
        with pytest.raises(MoireioError, match=r"no model serves the layers 2, 3 \(C, N\)"):
            predicted(file, models[:1])
        spinor = small_model(spin=True, local=True, seed=3)
        with pytest.raises(MoireioError, match="spinless and spinor"):
            predicted(file, models[:1], {(1, 2): spinor})
