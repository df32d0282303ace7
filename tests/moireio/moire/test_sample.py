import numpy as np

from moireio.moire import cells, layers, sample


def like(name):
    one = layers.named(name)
    return [one, one], cells.match(one.lattice, one.lattice, [[[1, 0], [0, 1]]] * 2)


def test_slid_structures():
    stack, cell = like("MoTe2")
    found = list(sample.slid(stack, cell, (3, 2), (2, 2), 0.1, 7))
    assert [s.name for s in found][:3] == ["slide_00_00", "slide_00_01", "slide_01_00"]
    assert {len(s.structure) for s in found} == {24}
    flat = list(sample.slid(stack, cell, (3, 2), (2, 2), 0.0, 7))
    for one, still in zip(found, flat, strict=True):
        moved = np.linalg.norm(one.structure.positions - still.structure.positions, axis=1)
        assert 0.05 < moved.max() <= 0.1
    # the displacement of the upper layer is the one that the name tells
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
    one = layers.named("graphene")
    cell = cells.from_index(one.lattice, one.lattice, 2, 1)
    found = list(sample.twisted([one, one], cell, "2-1", 3, 0.1, 0))
    assert [s.name for s in found] == ["twist_2-1_000", "twist_2-1_001", "twist_2-1_002"]
    assert {len(s.structure) for s in found} == {28}
    assert not np.allclose(found[0].structure.positions, found[1].structure.positions)
