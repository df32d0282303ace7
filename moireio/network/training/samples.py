"""Training data: structures as graphs with the blocks that a network shall give."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from moireio.errors import MoireioError
from moireio.network.ends import Edges
from moireio.network.graph import Graph
from moireio.network.head import Targets
from moireio.network.net import Network
from moireio.network.training.windowstates import BandWindow, WindowStates, window_states
from moireio.operators.blocks import OperatorSource, by_shape, read_pairs, take_blocks
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis
from moireio.system.layers import with_layers
from moireio.system.structure import Structure

IntArray = npt.NDArray[np.int64]


class LabelledStructure(Protocol):
    """A structure with H and S, as `Calculation`."""

    label: str
    structure: Structure
    basis: Basis
    hamiltonian: OperatorSource
    overlap: OperatorSource | None
    electrons: Electrons | None


@dataclass(eq=False)
class SpeciesPairBlocks:
    """Blocks of one structure between two species.

    Parameters
    ----------
    species_i, species_j : int
        The species.
    edges : (n,) tensor of int
        Numbers of the edges: first all bonds, then the atoms' own edges.
    partner : (n,) tensor of int
        Place of each edge's partner among the edges between `species_j` and `species_i`.
    blocks : (n, rows, columns) tensor
        H, eV.
    geometry : Edges
        The edges with their frames.
    overlap : (n, rows, columns) tensor or None
        S, if the zero of energy of the structure is free.
    """

    species_i: int
    species_j: int
    edges: torch.Tensor
    partner: torch.Tensor
    blocks: torch.Tensor
    geometry: Edges
    overlap: torch.Tensor | None = None


@dataclass(eq=False)
class TrainingSample:
    """A structure to learn from.

    Parameters
    ----------
    label : str
        Name for messages.
    graph : Graph
        Its edges.
    species : (N,) tensor of int
        Species of the atoms, as the model numbers them.
    groups : list of Edges
        All edges, as a network takes them.
    pair_blocks : dict of (int, int) to list of SpeciesPairBlocks
        For every pair of species the bonds, and for equal species the atoms' own edges.
    mu : float
        μ of the term μ·S that was subtracted from H, eV.
    elements : int
        Number of matrix elements of all blocks.
    layers : (N,) tensor of int
        Layer of every atom; 0 in what is no stack of layers.
    states : WindowStates or None
        States near the Fermi level, if errors of bands count.
    """

    label: str
    graph: Graph
    species: torch.Tensor
    groups: list[Edges]
    pair_blocks: dict[tuple[int, int], list[SpeciesPairBlocks]]
    mu: float
    elements: int
    layers: torch.Tensor
    states: WindowStates | None = None

    def all_blocks(self) -> Iterator[SpeciesPairBlocks]:
        """Go through the blocks of every pair of species.

        Yields
        ------
        SpeciesPairBlocks
            Bonds before the atoms' own edges.
        """
        for groups in self.pair_blocks.values():
            yield from groups


def mean_level(calculation: LabelledStructure) -> float:
    """Return Σ tr H_ii / Σ tr S_ii over the on-site blocks.

    Parameters
    ----------
    calculation : Calculation
        Structure, H and S.

    Returns
    -------
    float
        Mean on-site energy, eV. It fixes the zero of energy.
    """
    traces = []
    for source in (calculation.hamiltonian, calculation.overlap):
        onsite = source.pairs.onsite()
        data, offsets = read_pairs(source, onsite)
        total = 0.0
        for atom in range(len(onsite)):
            block = data[offsets[atom] : offsets[atom + 1]].reshape(source.sizes[atom], -1)
            total += float(np.trace(block).real)
        traces.append(total)
    factor = calculation.hamiltonian.meta.spin_factor
    return traces[0] / (factor * traces[1])


def make_sample(
    calculation: LabelledStructure,
    network: Network,
    targets: Targets,
    mu: float = 0.0,
    window: BandWindow | None = None,
    free_zero: bool = False,
) -> TrainingSample:
    """Turn a calculation into a training sample.

    Parameters
    ----------
    calculation : Calculation
        Structure, H and S.
    network : Network
        Network that makes the geometry of the edges.
    targets : Targets
        Species and shells of the model.
    mu : float
        μ·S is subtracted from H; eV.
    window : BandWindow, optional
        Which states are found, for errors of bands.
    free_zero : bool
        Keep S too, so that errors are those after the best μ·S for the prediction.

    Returns
    -------
    TrainingSample
        In the precision of the network.

    Raises
    ------
    MoireioError
        If elements, shells or spin are others, H holds numbers that are not finite, or S is needed
        and missing.
    """
    label, structure = calculation.label, calculation.structure
    species = _species(calculation, targets)
    H, S = calculation.hamiltonian, calculation.overlap
    spinful = H.meta.spin == "spinor"
    if H.meta.spin == "collinear":
        raise MoireioError("is collinear; networks give spinless or spinor blocks", path=label)
    if spinful != targets.spinful:
        kind = "spinor" if targets.spinful else "spinless"
        raise MoireioError(f"its Hamiltonian is not {kind}, as the others are", path=label)
    graph = Graph(structure, H.pairs, species)
    n_atoms, n_bonds = len(structure), len(graph)
    species_tensor = torch.as_tensor(species)
    i = graph.first(np.arange(n_bonds))
    vectors = torch.as_tensor(graph.vectors(i, np.arange(n_bonds)))
    i, j = torch.as_tensor(i), torch.as_tensor(graph.bonds.j.astype(np.int64))
    groups = network.chunks(species_tensor, i, j, vectors)
    onsite = np.zeros(len(H.pairs), dtype=bool)
    onsite[H.pairs.onsite()] = True
    edge_of_pair = np.empty(len(H.pairs), dtype=np.int64)
    edge_of_pair[~onsite] = np.arange(n_bonds)
    edge_of_pair[onsite] = n_bonds + H.pairs.i[onsite]
    blocks = _blocks(H, edge_of_pair, n_atoms + n_bonds)
    if not all(np.isfinite(block).all() for block in blocks):
        raise MoireioError("its Hamiltonian contains numbers that are not finite", path=label)
    overlap = None
    if free_zero or (mu and S is not None):
        overlap = _overlap_blocks(H, S, edge_of_pair, n_atoms + n_bonds, label)
        blocks = [block - mu * s for block, s in zip(blocks, overlap, strict=True)]
    dtype = network.dtype
    if spinful:
        dtype = torch.complex64 if dtype == torch.float32 else torch.complex128
    first = np.concatenate([i.numpy(), np.arange(n_atoms)])
    second = np.concatenate([j.numpy(), np.arange(n_atoms)])
    partner = np.concatenate([graph.partner, n_bonds + np.arange(n_atoms)])
    pair_type = species[first] * len(targets.numbers) + species[second]
    members, rank = _members(pair_type, n_bonds)
    pair_blocks: dict[tuple[int, int], list[SpeciesPairBlocks]] = {}
    elements = 0
    for (value, site), edges in members.items():
        pair = divmod(value, len(targets.numbers))
        stacked = np.stack([blocks[e] for e in edges])
        elements += stacked.size
        ends = torch.as_tensor(first[edges]), torch.as_tensor(second[edges])
        own_vectors = None if site else vectors[torch.as_tensor(edges)]
        pair_blocks.setdefault(pair, []).append(
            SpeciesPairBlocks(
                *pair,
                torch.as_tensor(edges),
                torch.as_tensor(rank[partner[edges]]),
                torch.as_tensor(stacked).to(dtype),
                network.edges(*ends, species_tensor, own_vectors, for_layers=False),
                torch.as_tensor(np.stack([overlap[e] for e in edges])).to(network.dtype)
                if free_zero
                else None,
            )
        )
    layer = with_layers(structure).layer
    layers = torch.zeros(n_atoms, dtype=torch.long)
    if layer is not None:
        layers = torch.as_tensor(layer.astype(np.int64))
    sample = TrainingSample(label, graph, species_tensor, groups, pair_blocks, mu, elements, layers)
    if window is not None:
        fermi = None if calculation.electrons is None else calculation.electrons.fermi
        kind = torch.complex64 if network.dtype == torch.float32 else torch.complex128
        sample.states = window_states(H, S, structure.pbc, fermi, window, edge_of_pair, kind, label)
    return sample


def _members(
    pair_type: IntArray, n_bonds: int
) -> tuple[dict[tuple[int, bool], IntArray], IntArray]:
    """Group edges by pair of species, bonds and own edges apart.

    Returns
    -------
    members : dict of (int, bool) to array of int
        Edges by pair of species and whether they have length zero.
    rank : array of int
        Place of every edge in its group.
    """
    site = np.arange(len(pair_type)) >= n_bonds
    rank = np.empty(len(pair_type), dtype=np.int64)
    members = {}
    for value in np.unique(pair_type):
        for own in (False, True):
            edges = np.flatnonzero((pair_type == value) & (site == own))
            if len(edges):
                members[int(value), own] = edges
                rank[edges] = np.arange(len(edges))
    return members, rank


def _species(calculation: LabelledStructure, targets: Targets) -> IntArray:
    """Return the model's species of every atom."""
    structure, label = calculation.structure, calculation.label
    place = {z: n for n, z in enumerate(targets.numbers)}
    unknown = sorted(set(structure.numbers.tolist()) - set(place))
    if unknown:
        raise MoireioError(f"has atoms with Z = {unknown[0]}, which the model lacks", path=label)
    species = np.array([place[int(z)] for z in structure.numbers], dtype=np.int64)
    for name, s in set(zip(structure.species_of_atoms, species.tolist(), strict=True)):
        basis = calculation.basis[name]
        if basis.l != tuple(targets.shells[s]):
            raise MoireioError(
                f"species {name} has shells {basis.label}, not those of the model", path=label
            )
    return species


def _blocks(
    source: OperatorSource, edge_of_pair: IntArray, n_edges: int, indices: IntArray | None = None
) -> list[npt.NDArray]:
    """Return the blocks of an operator, by edges; `indices` are the pairs in the edges' order."""
    if indices is None:
        indices = np.arange(len(source.pairs))
    data, offsets = read_pairs(source, indices)
    out = [None] * n_edges
    i, j = source.pairs.i[indices], source.pairs.j[indices]
    for shape, pairs in by_shape(source.sizes[i], source.sizes[j]):
        blocks = take_blocks(data, offsets[:-1][pairs], shape)
        for pair, block in zip(pairs, blocks, strict=True):
            out[edge_of_pair[pair]] = block
    return out


def _overlap_blocks(
    H: OperatorSource, S: OperatorSource | None, edge_of_pair: IntArray, n_edges: int, label: str
) -> list[npt.NDArray]:
    """Return the blocks of S in the shape of those of H, by edges."""
    if S is None:
        raise MoireioError(
            "has no overlap, which a free zero of energy needs",
            path=label,
            remedy='leave the structure out, or train with `zero` "mean"',
        )
    in_overlap = S.pairs.find(H.pairs.i, H.pairs.j, H.pairs.R)
    if (in_overlap < 0).any():
        raise MoireioError("its overlap lacks pairs of its Hamiltonian", path=label)
    blocks = _blocks(S, edge_of_pair, n_edges, in_overlap)
    if H.meta.spin_factor == 2:
        blocks = [np.kron(np.eye(2), block) for block in blocks]
    return blocks
