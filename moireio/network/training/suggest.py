"""Which structures a network should learn next: those farthest in its own features."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from moireio.errors import MoireioError
from moireio.integrals.pairs import overlapping_pairs
from moireio.network.cellerrors import species_of
from moireio.network.graph import Graph
from moireio.network.model import NetworkModel
from moireio.system.basis import Basis
from moireio.system.structure import Structure

MOST_ATOMS = 2000  # of one species that distances are taken to
AT_ONCE = 512
# Features and species of the atoms of a structure
Atoms = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


@torch.no_grad()
def invariants(model: NetworkModel, structure: Structure) -> Atoms:
    """Return numbers for every atom that do not change when the structure is turned.

    Parameters
    ----------
    model : NetworkModel
        With a record of its training.
    structure : Structure
        The atoms.

    Returns
    -------
    features : (N, c) array
        Scalars after every block, and the norms of the others by degree, each in the metric of the
        model's expected error.
    species : (N,) array of int
        Species, as the model numbers them.

    Raises
    ------
    MoireioError
        If the model has no record, or does not know an element.
    """
    known = model.expected_error
    if known is None or model.basis is None:
        raise MoireioError(
            "has no record of its training, or no basis: its features have no metric",
            path=model.label,
        )
    species = species_of(model, structure, "the structure")
    names = dict(zip(structure.species_of_atoms, species.tolist(), strict=True))
    basis = Basis({name: model.basis[model.names[s]] for name, s in names.items()})
    graph = Graph(structure, overlapping_pairs(structure, basis), species)
    edges = np.arange(len(graph))
    i = graph.first(edges)
    vectors = torch.as_tensor(graph.vectors(i, edges))
    kinds = torch.as_tensor(species)
    j = torch.as_tensor(graph.bonds.j.astype(np.int64))
    groups = model.network.chunks(kinds, torch.as_tensor(i), j, vectors)
    blocks: list[list[torch.Tensor]] = []
    model.network(kinds, groups, blocks)
    columns = []
    for b, parts in enumerate(blocks):
        for degree, part in enumerate(parts):
            if part.shape[2] == 0:
                continue
            rows = np.zeros((len(species), part.shape[2]))
            for kind in range(len(model.targets.numbers)):
                own = species == kind
                x = part[torch.as_tensor(own)].double().numpy()
                x = x - known.centres[b][kind] if degree == 0 else x
                turned = x @ known.metrics[b][degree][kind]
                rows[own] = turned[:, 0] if degree == 0 else np.linalg.norm(turned, axis=1)
            columns.append(rows)
    return np.concatenate(columns, axis=1), species


def suggest(
    model: NetworkModel,
    candidates: Sequence[Structure],
    known: Sequence[Structure],
    count: int,
    progress: Callable[[int, int], object] = lambda steps, total: None,
) -> list[tuple[int, float]]:
    """Choose candidates one after another, each the farthest from all that are known by then.

    Parameters
    ----------
    model : NetworkModel
        With a record of its training.
    candidates : sequence of Structure
        Structures to choose from.
    known : sequence of Structure
        Those that need not be chosen. Without any, the middle of the training data is known.
    count : int
        How many to choose.
    progress : callable
        Called with structures done and their number.

    Returns
    -------
    list of (int, float)
        Numbers of candidates, and their distances when they were chosen: the mean over a
        structure's atoms of the distance to the nearest known atom of the species.
    """
    total = len(candidates) + len(known)
    features = []
    for structure in [*known, *candidates]:
        features.append(invariants(model, structure))
        progress(1, total)
    own = features[len(known) :]
    nearest = [np.full(len(x), np.inf) for x, _ in own]
    middle = (np.zeros((1, own[0][0].shape[1])), np.zeros(1, dtype=np.int64))
    every = [(middle[0], middle[1] + kind) for kind in range(len(model.targets.numbers))]
    for atoms in features[: len(known)] or every:
        _bring_nearer(nearest, own, atoms)
    chosen: list[tuple[int, float]] = []
    left = set(range(len(own)))
    while left and len(chosen) < count:
        means = {n: float(nearest[n].mean()) for n in left}
        best = max(sorted(left), key=lambda n: means[n])
        chosen.append((best, means[best]))
        left.discard(best)
        _bring_nearer(nearest, own, own[best])
    return chosen


def _bring_nearer(
    nearest: list[npt.NDArray[np.float64]], own: Sequence[Atoms], known: Atoms
) -> None:
    """Take account of the atoms of one more structure."""
    for kind in np.unique(known[1]):
        there = known[0][known[1] == kind]
        there = there[:: max(1, len(there) // MOST_ATOMS)]
        for distance, (x, species) in zip(nearest, own, strict=True):
            mine = np.flatnonzero(species == kind)
            for start in range(0, len(mine), AT_ONCE):
                some = mine[start : start + AT_ONCE]
                square = (x[some] ** 2).sum(1)[:, None] + (there**2).sum(1) - 2 * x[some] @ there.T
                gap = np.sqrt(np.maximum(square.min(axis=1), 0))
                distance[some] = np.minimum(distance[some], gap)
