"""The network against e3nn."""

import numpy as np
import pytest
import torch
from reference_net import ReferenceNet
from systems import graph_of, random_structure, small_model, structure


@pytest.fixture
def double():
    """e3nn makes its constants in torch's default precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


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


@pytest.mark.parametrize("case", [(False, False), (True, False), (False, True), (True, True)])
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
