"""Structures as graphs."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import basis, graph_of, random_structure

from moireio.errors import MoireioError
from moireio.network.graph import Graph


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_edges(seed, n):
    """All pairs but the on-site ones, by first atom; a partner is the edge back."""
    atoms = random_structure(seed, n)
    graph = graph_of(atoms, basis())
    assert len(graph) == len(graph.bonds) == len(graph.pairs) - n
    edges = np.arange(len(graph))
    i = graph.first(edges)
    np.testing.assert_array_equal(i, graph.bonds.i)
    assert all(a <= b for a, b in pairwise(i))
    vectors = graph.vectors(i, edges)
    assert np.linalg.norm(vectors, axis=1).min(initial=np.inf) > 0
    back = graph.partner
    np.testing.assert_array_equal(back[back], edges)
    np.testing.assert_array_equal(i[back], graph.bonds.j)
    np.testing.assert_allclose(graph.vectors(i[back], back), -vectors, atol=1e-12)


def test_vectors_against_ase():
    """The same set of vectors as ASE's neighbour list within the sum of the cutoffs."""
    from ase.neighborlist import neighbor_list

    atoms, own = random_structure(11, 3), basis()
    graph = graph_of(atoms, own)
    cutoffs = np.array([own[atoms.species_names[s]].cutoff for s in atoms.species])
    i, j, vectors = neighbor_list("ijD", atoms.to_ase(), cutoffs.tolist())
    edges = np.arange(len(graph))
    found = graph.vectors(graph.first(edges), edges)

    def table(first, second, vectors):
        return sorted(map(tuple, np.column_stack([first, second, vectors.round(6) + 0.0])))

    theirs = table(i, j, vectors)
    ours = table(graph.bonds.i, graph.bonds.j, found)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_pairs_that_are_no_graph():
    atoms = random_structure(2, 3)
    graph = graph_of(atoms, basis())
    pairs, species = graph.pairs, graph.species
    kept = np.ones(len(pairs), dtype=bool)
    kept[pairs.onsite()[1]] = False
    with pytest.raises(MoireioError, match="no on-site pair of atom 1"):
        Graph(atoms, pairs.select(kept), species)
    edge = int(np.flatnonzero(pairs.partner() != np.arange(len(pairs)))[0])
    kept = np.arange(len(pairs)) != edge
    with pytest.raises(MoireioError, match="do not hold both partners"):
        Graph(atoms, pairs.select(kept), species)
