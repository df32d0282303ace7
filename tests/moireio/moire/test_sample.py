"""Structures to train on."""

from functools import partial

import numpy as np
import pytest

from moireio.moire import build, cells, layers, sample


def like(name):
    layer = layers.named(name)
    return [layer, layer], cells.match(layer.lattice, layer.lattice, [[[1, 0], [0, 1]]] * 2)


def test_slid_structures():
    stack, cell = like("MoTe2")
    steps = []
    progress = lambda n, total: steps.append((n, total))  # noqa: E731
    samples = list(sample.slid(stack, cell, (3, 2), (2, 2), 0.1, 7, progress=progress))
    assert steps == [(1, 6)] * 6
    assert [s.name for s in samples][:3] == ["slide_00_00", "slide_00_01", "slide_01_00"]
    assert {len(s.structure) for s in samples} == {24}
    flat = list(sample.slid(stack, cell, (3, 2), (2, 2), 0.0, 7))
    for shaken, still in zip(samples, flat, strict=True):
        moved = np.linalg.norm(shaken.structure.positions - still.structure.positions, axis=1)
        assert 0.05 < moved.max() <= 0.1
    # the displacement of the upper layer is that of its record
    first, last = (s.structure for s in (flat[0], flat[-1]))
    u, v = flat[-1].origin["slide"]
    step = np.append(np.array([u, v]) @ stack[1].lattice, 0)
    a, b = (s.positions[s.layer == 1] for s in (first, last))
    delta = (b[:, None] - a - step) @ np.linalg.inv(first.cell)
    delta = np.linalg.norm((delta - np.round(delta)) @ first.cell, axis=2)
    assert delta.min(axis=1).max() < 1e-9


def test_seeds():
    stack, cell = like("graphene")
    one, again, other = (
        [s.structure.positions for s in sample.slid(stack, cell, (2, 1), (1, 1), 0.1, seed)]
        for seed in (1, 1, 2)
    )
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert not np.allclose(one[0], other[0])
    # a structure does not depend on how many others there are
    more = [s.structure.positions for s in sample.slid(stack, cell, (2, 4), (1, 1), 0.1, 1)]
    assert (more[0] == one[0]).all()


def test_displacements_fill_the_ball():
    stack, cell = like("graphene")
    still = next(sample.slid(stack, cell, (1, 1), (40, 40), 0.0, 0)).structure
    moved = sample.displaced(still, 0.1, np.random.default_rng(0))
    length = np.linalg.norm(moved.positions - still.positions, axis=1)
    assert length.max() <= 0.1
    assert abs((length**3).mean() / 0.1**3 - 0.5) < 0.02
    assert np.abs((moved.positions - still.positions).mean(axis=0)).max() < 0.003


def test_twisted_copies():
    graphene = layers.named("graphene")
    twisted = {
        f"{m}-{n}": cells.from_index(graphene.lattice, graphene.lattice, m, n)
        for m, n in ((2, 1), (3, 2))
    }
    steps = []
    progress = lambda n, total: steps.append((n, total))  # noqa: E731
    samples = list(sample.twisted([graphene] * 2, twisted, 2, 0.1, 0, progress=progress))
    assert steps == [(1, 4)] * 4
    names = ["twist_2-1_000", "twist_2-1_001", "twist_3-2_000", "twist_3-2_001"]
    assert [s.name for s in samples] == names
    assert [len(s.structure) for s in samples] == [28, 28, 76, 76]
    assert not np.allclose(samples[0].structure.positions, samples[1].structure.positions)
    # a structure does not depend on which others there are
    alone = next(sample.twisted([graphene] * 2, {"3-2": twisted["3-2"]}, 1, 0.1, 0))
    assert (alone.structure.positions == samples[2].structure.positions).all()
    assert alone.origin["angle"] == samples[2].origin["angle"]


def test_variations_of_one_stacking():
    layer = like("MoTe2")
    variation = sample.Variation(5, (-0.3, 0.6), 0.01)
    stacking = build.Stacking(interlayer=(7.0,))
    make = partial(sample.slid, *layer, (2, 1), (1, 1), 0.0, 7, stacking, variation=variation)
    found = list(make())
    assert [one.name for one in found[:2]] == ["slide_00_00_000", "slide_00_00_001"]
    assert len(found) == 10
    gaps, areas = [], []
    for one in found:
        atoms = one.structure
        metals = atoms.numbers == 42
        heights = [atoms.positions[metals & (atoms.layer == n), 2].mean() for n in (0, 1)]
        gaps.append(heights[1] - heights[0])
        areas.append(np.linalg.det(atoms.cell[:2, :2]))
        assert one.origin["interlayer"] == [pytest.approx(gaps[-1])]
    assert 6.7 <= min(gaps) < 6.95
    assert 7.1 < max(gaps) <= 7.6
    rigid = np.sqrt(3) / 2 * 3.52**2
    assert np.abs(np.array(areas) / rigid - 1).max() < 0.0205
    assert np.ptp(areas) > 0.01
    again = list(make())
    assert all(
        np.array_equal(a.structure.positions, b.structure.positions)
        for a, b in zip(found, again, strict=True)
    )
