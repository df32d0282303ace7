"""Training data: structures as graphs with the blocks that a network shall give."""

from dataclasses import dataclass

import numpy as np
import torch

from moireio.errors import MoireioError
from moireio.network.inference.passes import Graph
from moireio.network.layers import Edges
from moireio.operators.blocks import by_shape, read_pairs, take_blocks


@dataclass(eq=False)
class Kind:
    """The edges of one structure between two species.

    Parameters
    ----------
    one, two : int
        The species.
    edges : (n,) tensor of int
        Numbers of the edges: first all bonds, then the atoms' own edges.
    partner : (n,) tensor of int
        Place of each edge's partner among the edges between `two` and `one`.
    blocks : (n, rows, columns) tensor
        H, eV.
    geometry : Edges
        Their frames.
    """

    one: int
    two: int
    edges: torch.Tensor
    partner: torch.Tensor
    blocks: torch.Tensor
    geometry: Edges


@dataclass(eq=False)
class Sample:
    """A structure to learn from.

    Parameters
    ----------
    label : str
        Where it comes from.
    graph : Graph
        Its edges.
    species : (N,) tensor of int
        Of the model.
    groups : list of Edges
        All edges, as a network takes them.
    kinds : dict of (int, int) to list of Kind
        For every pair of species the bonds, and for equal species the atoms' own edges.
    mu : float
        What was subtracted from H, times S; eV.
    elements : int
        Matrix elements of all blocks.
    """

    label: str
    graph: Graph
    species: torch.Tensor
    groups: list
    kinds: dict
    mu: float
    elements: int


def mean_level(calculation):
    """Return Σ tr H_ii / Σ tr S_ii over the on-site blocks, eV.

    Parameters
    ----------
    calculation : Calculation
        With S.

    Returns
    -------
    float
        What the gauge of H is fixed by.
    """
    sums = []
    for source in (calculation.hamiltonian, calculation.overlap):
        pairs = source.pairs
        own = pairs.onsite()
        data, offsets = read_pairs(source, own)
        total = 0.0
        for atom in range(len(own)):
            block = data[offsets[atom] : offsets[atom + 1]].reshape(source.sizes[atom], -1)
            total += float(np.trace(block).real)
        sums.append(total)
    factor = calculation.hamiltonian.meta.spin_factor
    return sums[0] / (factor * sums[1])


def make_sample(calculation, network, targets, mu=0.0):
    """Make a structure ready to be learnt from.

    Parameters
    ----------
    calculation : Calculation
        Structure, H and S.
    network : Network
        Whose graph is made.
    targets : Targets
        Species and shells.
    mu : float
        Subtracted from H, times S; eV.

    Returns
    -------
    Sample
        In the precision of the network.

    Raises
    ------
    MoireioError
        If elements, shells or spin are others, or H holds numbers that are not finite.
    """
    label, structure = calculation.label, calculation.structure
    species = _species(calculation, targets)
    H, S = calculation.hamiltonian, calculation.overlap
    spinful = H.meta.spin == "spinor"
    if H.meta.spin == "collinear":
        raise MoireioError("has a collinear Hamiltonian, which networks do not give", path=label)
    if spinful != targets.spinful:
        kind = "spinor" if targets.spinful else "spinless"
        raise MoireioError(f"its Hamiltonian is not {kind}, as the others are", path=label)
    graph = Graph(structure, H.pairs, species)
    n, count = len(structure), len(graph)
    where = torch.as_tensor(species)
    i = graph.first(np.arange(count))
    vectors = torch.as_tensor(graph.vectors(i, np.arange(count)))
    i, j = torch.as_tensor(i), torch.as_tensor(graph.bonds.j.astype(np.int64))
    groups = network.chunks(where, i, j, vectors)
    site = np.zeros(len(H.pairs), dtype=bool)
    site[H.pairs.onsite()] = True
    place = np.empty(len(H.pairs), dtype=np.int64)  # pair to edge
    place[~site] = np.arange(count)
    place[site] = count + H.pairs.i[site]
    blocks = _blocks(H, S, mu, place, n + count, label)
    dtype = _complex(network.dtype) if spinful else network.dtype
    first = np.concatenate([i.numpy(), np.arange(n)])
    second = np.concatenate([j.numpy(), np.arange(n)])
    code = species[first] * len(targets.numbers) + species[second]
    partner = np.concatenate([graph.partner, count + np.arange(n)])
    rank = np.empty(n + count, dtype=np.int64)
    members, kinds, elements = {}, {}, 0
    for value in np.unique(code):
        for own in (False, True):
            mine = np.flatnonzero((code == value) & ((np.arange(n + count) >= count) == own))
            if len(mine):
                members[int(value), own] = mine
                rank[mine] = np.arange(len(mine))
    for (value, own), mine in members.items():
        one, two = divmod(value, len(targets.numbers))
        chosen = np.stack([blocks[e] for e in mine])
        elements += chosen.size
        ends = torch.as_tensor(first[mine]), torch.as_tensor(second[mine])
        lengths = None if own else vectors[torch.as_tensor(mine)]
        kinds.setdefault((one, two), []).append(
            Kind(
                one,
                two,
                torch.as_tensor(mine),
                torch.as_tensor(rank[partner[mine]]),
                torch.as_tensor(chosen).to(dtype),
                network.edges(*ends, where, lengths),
            )
        )
    return Sample(label, graph, where, groups, kinds, mu, elements)


def _species(calculation, targets):
    structure, label = calculation.structure, calculation.label
    place = {z: n for n, z in enumerate(targets.numbers)}
    unknown = sorted(set(structure.numbers.tolist()) - set(place))
    if unknown:
        raise MoireioError(f"has atoms with Z = {unknown[0]}, which the model lacks", path=label)
    species = np.array([place[int(z)] for z in structure.numbers], dtype=np.int64)
    for name, s in set(zip(structure.species_of_atoms, species.tolist(), strict=True)):
        found = calculation.basis[name]
        if found.l != tuple(targets.shells[s]):
            raise MoireioError(
                f"species {name} has shells {found.label}, not those of the model", path=label
            )
    return species


def _blocks(H, S, mu, place, count, label):
    """Return H − μS as a list of blocks, by edges."""
    everything = np.arange(len(H.pairs))
    data, offsets = read_pairs(H, everything)
    if not np.isfinite(data).all():
        raise MoireioError("its Hamiltonian contains numbers that are not finite", path=label)
    if mu and S is not None:
        there = S.pairs.find(H.pairs.i, H.pairs.j, H.pairs.R)
        if (there < 0).any():
            raise MoireioError("its overlap lacks pairs of its Hamiltonian", path=label)
        overlap, at = read_pairs(S, there)
    out = [None] * count
    i, factor = H.pairs.i, H.meta.spin_factor
    for shape, group in by_shape(H.sizes[i], H.sizes[H.pairs.j]):
        found = take_blocks(data, offsets[:-1][group], shape)
        if mu and S is not None:
            half = (shape[0] // factor, shape[1] // factor)
            other = take_blocks(overlap, at[:-1][group], half)
            if factor == 2:
                other = np.einsum("st,nab->nsatb", np.eye(2), other).reshape(found.shape)
            found = found - mu * other
        for pair, block in zip(group, found, strict=True):
            out[place[pair]] = block
    return out


def _complex(dtype):
    return torch.complex64 if dtype == torch.float32 else torch.complex128
