"""How far structures lie outside the training data."""

from systems import (
    graph_of,
    random_structure,
    structure,
)

from moireio.network.inference.environments import Environments


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
