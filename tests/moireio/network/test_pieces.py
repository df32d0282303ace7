"""Coefficients, frames and layers against e3nn."""

import numpy as np
import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_net import ReferenceNet
from systems import graph_of, random_structure, rotation_of_orbitals, small_model

from moireio.errors import MoireioError
from moireio.network.frames import by_degree, by_order, edge_frames
from moireio.network.irreps import Irreps, Layout
from moireio.network.wigner import coupling
from moireio.system.harmonics import harmonics

# l1, l2, l3 whose coefficients have the other sign in e3nn before 0.5
OLD = (
    "122 133 144 155 166 212 221 313 331 346 364 414 436 441 445 454 456 463 465 515 544 546 551 "
    "555 564 566 616 634 643 645 654 656 661 665"
)


@pytest.fixture
def double():
    """e3nn makes its constants in torch's default precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def triples(top):
    return [
        (a, b, c)
        for a in range(top + 1)
        for b in range(top + 1)
        for c in range(abs(a - b), min(a + b, top) + 1)
    ]


def test_coupling_is_that_of_e3nn(double):
    for a, b, c in triples(5):
        np.testing.assert_allclose(coupling(a, b, c), o3.wigner_3j(a, b, c).numpy(), atol=1e-12)


def test_old_signs():
    """Before 0.5 exactly these differ, by their sign."""
    for degrees in triples(6):
        sign = -1 if "".join(map(str, degrees)) in OLD else 1
        np.testing.assert_allclose(coupling(*degrees, True), sign * coupling(*degrees), atol=1e-12)


@given(st.integers(0, 10_000))
@settings(max_examples=15)
def test_frames_turn_vectors_to_z(seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(4, 3))
    vectors[0] = [0, 0, rng.normal()]  # along the axis, where the azimuth means nothing
    frames = edge_frames(torch.tensor(vectors), 4, torch.float64)
    p = [2, 0, 1]  # y, z, x to x, y, z
    for n, v in enumerate(vectors):
        turn = frames[1][n].numpy()[np.ix_(p, p)]
        np.testing.assert_allclose(turn @ v, [0, 0, np.linalg.norm(v)], atol=1e-12)
        assert abs(np.linalg.det(turn) - 1) < 1e-12
        for degree in range(5):
            D = rotation_of_orbitals([degree], turn)
            np.testing.assert_allclose(frames[degree][n].numpy(), D, atol=1e-11)


def test_orders_and_back():
    layout = Layout(Irreps.parse("3x0e+2x1o+1x0o+2x2e+1x1e"))
    parts = [torch.randn(5, 2 * d + 1, c) for d, c in enumerate(layout.per_degree)]
    flat = by_order(parts)
    assert flat.shape == (5, layout.dim)
    orders = {m: flat[:, s] for m, s in layout.slices.items()}
    for a, b in zip(by_degree(orders, layout.per_degree), parts, strict=True):
        assert (a == b).all()


@pytest.mark.parametrize("text", ["", "64x0z", "2x1", "x0e", "3x0e++1x1o"])
def test_lists_that_are_none(text):
    with pytest.raises(MoireioError, match="is not a representation"):
        Irreps.parse(text)


@pytest.mark.parametrize("spin", [False, True])
def test_network_is_that_of_e3nn(double, spin):
    """The same weights give the same output, and the same gradients, to 1e-10."""
    model = small_model(spin)
    atoms = random_structure(0)
    graph = graph_of(atoms, model.basis)
    numbers = np.arange(len(graph))
    i, species = graph.first(numbers), torch.tensor(graph.species)
    vectors = torch.tensor(graph.vectors(i, numbers))
    i, j = torch.tensor(i), torch.tensor(graph.bonds.j.astype(np.int64))
    ours = torch.cat(model.network.output(species, model.network.chunks(species, i, j, vectors)))
    reference = ReferenceNet(model.network)
    own = torch.arange(len(atoms))
    ends = torch.cat([i, own]), torch.cat([j, own])
    theirs = reference(species, *ends, torch.cat([vectors, torch.zeros(len(atoms), 3)]))
    assert theirs.abs().max() > 0.1
    assert (ours - theirs).abs().max() < 1e-10
    ours.square().sum().backward()
    theirs.square().sum().backward()
    block, node = model.network.blocks[0].edge, reference.edge[0]
    own, other = block.conv.tp.weights1.grad, [p.grad for p in node.conv.tp.first]
    expected = torch.cat([g.flatten() for g in other])
    assert (own - expected).abs().max() < 1e-10 * max(1.0, float(expected.abs().max()))
    gap = model.network.embedding.grad - reference.embedding.grad
    assert gap.abs().max() < 1e-9 * max(1.0, float(model.network.embedding.grad.abs().max()))


def test_harmonics_are_e3nns():
    vectors = torch.randn(9, 3, dtype=torch.float64)
    unit = (vectors / vectors.norm(dim=1, keepdim=True)).T.numpy()
    ours = harmonics(5, unit) * np.sqrt(4 * np.pi)
    theirs = o3.spherical_harmonics(
        list(range(6)), vectors[:, [1, 2, 0]], normalize=True, normalization="component"
    )
    np.testing.assert_allclose(ours.T, theirs.numpy(), atol=1e-12)
