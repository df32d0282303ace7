"""DeepH-E3's network, on edges that stay in their own frames."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from moireio.network.bounds import require_sensible
from moireio.network.convolution import sums_at_atoms
from moireio.network.ends import Edges, sorted_ends
from moireio.network.frames import by_degree, edge_frames, frames_by_degree, out_of_frames
from moireio.network.irreps import Irreps, e3nn_places
from moireio.network.layers import Update, add
from moireio.network.linear import Convention, Linear
from moireio.operators.blocks import slab_bounds

EXPANSION_STOP = 6.0
CALIBRATION_GAUSSIANS = 48
CALIBRATION_BINS = 24
EDGES_AT_ONCE = 4096


@dataclass(frozen=True)
class NetworkSettings:
    """Settings that define a network, apart from its weights.

    Parameters
    ----------
    species : int
        Number of species.
    embed_node, edge_init, mid_node, mid_edge, post_node, post_edge, out_edge : Irreps
        Lists of the features, as DeepH-E3 names them.
    blocks : int
        Number of blocks.
    harmonics_lmax : int
        Largest l of the edges' harmonics.
    cutoff : float
        Where the radial functions end, Å.
    even : bool
        All representations count as even (DeepH-E3's ignore_parity).
    radial : int
        Number of radial functions.
    convention : Convention
        Convention of e3nn.
    local : bool
        moireio's variant, in which nothing depends on atoms beyond the edges' reach: norms of
        single features, an envelope that makes messages vanish at the cutoff.
    reaches : tuple of float
        For that variant, cutoff of each species' orbitals, Å: edges end at the sum of two.
    neighbours : float
        Sums of messages are divided by the root of this number.
    calibrated : bool
        The output has scales that depend on the distance, and a part that only depends on it.

    Raises
    ------
    MoireioError
        If a setting is out of bounds.
    """

    species: int
    embed_node: Irreps
    edge_init: Irreps
    mid_node: Irreps
    mid_edge: Irreps
    post_node: Irreps
    post_edge: Irreps
    out_edge: Irreps
    blocks: int
    harmonics_lmax: int
    cutoff: float
    even: bool = False
    radial: int = 128
    convention: Convention = field(default_factory=Convention)
    local: bool = False
    reaches: tuple[float, ...] = ()
    neighbours: float = 1.0
    calibrated: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no network: `moireio.network.bounds`."""
        require_sensible(self)

    def with_(self, **changes: Any) -> "NetworkSettings":
        """Return a copy with some values changed.

        Parameters
        ----------
        **changes : object
            New values by field.

        Returns
        -------
        NetworkSettings
            The copy.
        """
        return replace(self, **changes)

    def to_plain(self) -> dict[str, Any]:
        """Return plain values, for a model file; its names are those of the fields."""
        out = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Irreps):
                value = str(value)
            elif isinstance(value, Convention):
                value = asdict(value)
            out[f.name] = value
        return out

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "NetworkSettings":
        """Return the object that `to_plain` described.

        Parameters
        ----------
        values : dict
            Plain values.

        Returns
        -------
        NetworkSettings
            The same settings.
        """
        lists = {f.name: Irreps.parse(values[f.name]) for f in fields(cls) if f.type is Irreps}
        changed = {
            "convention": Convention(**values["convention"]),
            "reaches": tuple(values["reaches"]),
        }
        return cls(**{f.name: values[f.name] for f in fields(cls)} | lists | changed)


class Gaussians(nn.Module):
    """Gaussians of a distance, with equal spacing and a width of one spacing.

    Parameters
    ----------
    stop : float
        Centre of the last, Å; the first is at 0.
    count : int
        Number of Gaussians.
    """

    def __init__(self, stop: float, count: int) -> None:
        super().__init__()
        offsets = torch.linspace(0.0, stop, count)
        self.register_buffer("offsets", offsets)
        step = stop / (count - 1) if count > 1 else 1.0
        self.register_buffer("width", torch.full((count,), step))

    def forward(self, distance: torch.Tensor) -> torch.Tensor:
        """Return their values, (n, count)."""
        x = (distance[:, None] - self.offsets).div_(self.width)
        # Below e^−60 nothing counts, and numbers near underflow are slow.
        return x.square_().mul_(-0.5).clamp_(min=-60.0).exp_()


class Calibration(nn.Module):
    """Factors and offsets of a network's output.

    Between two atoms every channel is multiplied by a factor that depends on their distance. Added
    is a sum of Gaussians of the distance for the component m = 0 in the frame of the edge: the part
    of H that two centres alone would give. On an atom, a factor and an offset take their place.

    Parameters
    ----------
    settings : NetworkSettings
        Settings of the network.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        count, end = settings.out_edge.channels, settings.cutoff
        self.radial = Gaussians(end, CALIBRATION_GAUSSIANS)
        self.baseline = nn.Parameter(torch.zeros(CALIBRATION_GAUSSIANS, count))
        self.register_buffer("step", torch.tensor(end / (CALIBRATION_BINS - 1)))
        self.register_buffer("log_scale", torch.zeros(CALIBRATION_BINS, count))
        self.register_buffer("site_scale", torch.ones(count))
        self.site_shift = nn.Parameter(torch.zeros(count))

    def scale(self, distance: torch.Tensor) -> torch.Tensor:
        """Return the factors at some distances, (n, channels): linear pieces of their logarithm."""
        x = (distance / self.step).clamp(max=CALIBRATION_BINS - 1.001)
        low = x.long()
        t = (x - low)[:, None]
        return torch.exp((1 - t) * self.log_scale[low] + t * self.log_scale[low + 1])

    def forward(
        self,
        parts: list[torch.Tensor],
        distance: torch.Tensor,
        channels: list[torch.Tensor],
        site: bool,
    ) -> list[torch.Tensor]:
        """Calibrate the output.

        Parameters
        ----------
        parts : list of (n, 2l + 1, channels) tensors
            In the frames of the edges.
        distance : (n,) tensor
            Å.
        channels : list of (channels,) tensors of int
            For every degree, numbers of its channels among all.
        site : bool
            Whether the edges have length zero.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            In eV.
        """
        if site:
            out = [p * self.site_scale[c] for p, c in zip(parts, channels, strict=True)]
            out[0] = out[0] + self.site_shift[channels[0]]
            return out
        scale, base = self.scale(distance), self.radial(distance) @ self.baseline
        out = []
        for degree, (part, chosen) in enumerate(zip(parts, channels, strict=True)):
            axial = nn.functional.pad(base[:, chosen][:, None], (0, 0, degree, degree))
            out.append(torch.addcmul(axial, part, scale[:, chosen][:, None]))
        return out


class Block(nn.Module):
    """An update of the atoms and then of the edges.

    Parameters
    ----------
    nodes, edges : Irreps
        Features before.
    wanted_nodes, wanted_edges : Irreps
        Features wanted.
    settings : NetworkSettings
        Settings of the network.
    """

    def __init__(
        self,
        nodes: Irreps,
        edges: Irreps,
        wanted_nodes: Irreps,
        wanted_edges: Irreps,
        settings: NetworkSettings,
    ) -> None:
        super().__init__()
        self.node = Update(nodes, edges, wanted_nodes, nodes, settings.species, settings)
        kinds = settings.species**2
        self.edge = Update(self.node.out, edges, wanted_edges, edges, kinds, settings)


class Network(nn.Module):
    """DeepH-E3.

    Parameters
    ----------
    settings : NetworkSettings
        Its hyperparameters.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.embedding = nn.Parameter(torch.randn(settings.species, settings.embed_node.channels))
        self.radial = Gaussians(settings.cutoff, settings.radial)
        self.expansion = Gaussians(EXPANSION_STOP, settings.edge_init.channels)
        nodes, edges = settings.embed_node, settings.edge_init
        blocks = []
        for number in range(settings.blocks):
            last = number == settings.blocks - 1
            wanted = (
                (settings.post_node, settings.post_edge)
                if last
                else (settings.mid_node, settings.mid_edge)
            )
            block = Block(nodes, edges, *wanted, settings)
            nodes, edges = block.node.out, block.edge.out
            blocks.append(block)
        self.blocks = nn.ModuleList(blocks)
        self.lin_edge = Linear(edges, settings.out_edge, settings.convention, bias=True)
        self.calibration = Calibration(settings) if settings.calibrated else None
        lists = [edges, nodes, settings.out_edge, *(b.node.out for b in blocks)]
        self.lmax = max(one.lmax for one in (*lists, *(b.edge.out for b in blocks)))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.embedding.dtype

    def initial_nodes(self, species: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of atoms that the first block gets.

        Parameters
        ----------
        species : (N,) tensor of int
            Species of every atom.

        Returns
        -------
        list of (N, 1, channels) tensors
            Scalars.
        """
        return [self.embedding[species][:, None] / np.sqrt(self.settings.species)]

    def edges(
        self,
        i: torch.Tensor,
        j: torch.Tensor,
        species: torch.Tensor,
        vectors: torch.Tensor | None,
        for_layers: bool = True,
    ) -> Edges:
        """Make the geometry of some edges.

        Parameters
        ----------
        i, j : (n,) tensors of int
            Atoms.
        species : (N,) tensor of int
            Species of every atom.
        vectors : (n, 3) tensor or None
            From i to j, Å; None for edges of length zero.
        for_layers : bool
            With what layers need; without, only the last map can be applied.

        Returns
        -------
        Edges
            With frames.
        """
        kind = species[i] * self.settings.species + species[j]
        if vectors is None:
            return Edges(i, j, kind, self.embedding.new_zeros(len(i)), None)
        distance = torch.linalg.norm(vectors, dim=1)
        envelope = None
        if self.settings.local:
            reach = torch.as_tensor(
                self.settings.reaches, dtype=vectors.dtype, device=vectors.device
            )
            end = reach[species[i]] + reach[species[j]]
            envelope = smooth_end(distance / end).to(self.dtype)[:, None, None]
        frames = edge_frames(vectors, self.lmax, self.dtype)
        ends = (sorted_ends(i, frames), sorted_ends(j, frames)) if for_layers else None
        return Edges(i, j, kind, distance.to(self.dtype), frames, envelope, ends)

    def chunks(
        self, species: torch.Tensor, i: torch.Tensor, j: torch.Tensor, vectors: torch.Tensor
    ) -> list[Edges]:
        """Make the geometry of all edges, in pieces.

        Parameters
        ----------
        species : (N,) tensor of int
            Species of every atom.
        i, j : (n,) tensors of int
            Atoms of the edges, without those of length zero, sorted by i.
        vectors : (n, 3) tensor
            From i to j, Å.

        Returns
        -------
        list of Edges
            The last holds the atoms' own edges of length zero.
        """
        atoms = torch.arange(len(species), device=species.device)
        counts = torch.bincount(i, minlength=len(species)).cpu().numpy()
        first = np.cumsum([0, *counts]).tolist()
        bounds = slab_bounds(counts, EDGES_AT_ONCE)
        pieces = [slice(first[a], first[b]) for a, b in bounds if first[a] < first[b]]
        groups = [self.edges(i[p], j[p], species, vectors[p]) for p in pieces]
        return [*groups, self.edges(atoms, atoms, species, None)]

    def initial_edges(self, group: Edges) -> list[torch.Tensor]:
        """Return the features of edges that the first block gets.

        Parameters
        ----------
        group : Edges
            The edges.

        Returns
        -------
        list of (n, 1, channels) tensors
            Scalars.
        """
        return [self.expansion(group.distance)[:, None]]

    def forward(
        self,
        species: torch.Tensor,
        groups: list[Edges],
        atoms: list[list[torch.Tensor]] | None = None,
    ) -> list[list[torch.Tensor]]:
        """Evaluate the blocks on one structure.

        Parameters
        ----------
        species : (N,) tensor of int
            Species of every atom.
        groups : list of Edges
            All edges.
        atoms : list, optional
            Gets the features of the atoms after every block.

        Returns
        -------
        list of lists of (n, 1 or 2, channels) tensors
            Features of the edges of every group, in their frames, order by order.
        """
        nodes = self.initial_nodes(species)
        features = [self.initial_edges(g) for g in groups]
        radial = [self.radial(g.distance) for g in groups]
        for block in self.blocks:
            nodes = self._update_nodes(block.node, nodes, groups, features, radial, species)
            if atoms is not None:
                atoms.append(nodes)
            features = self._update_edges(block.edge, nodes, groups, features, radial)
        return features

    def output(self, species: torch.Tensor, groups: list[Edges]) -> list[torch.Tensor]:
        """Evaluate the network on one structure.

        Parameters
        ----------
        species : (N,) tensor of int
            Species of every atom.
        groups : list of Edges
            All edges.

        Returns
        -------
        list of (n, dim) tensors
            For every group, features of the list `out_edge`, in the frame of the crystal and in
            e3nn's layout.
        """
        last, places = self.lin_edge.prepare(), e3nn_places(self.settings.out_edge)
        counts = self.lin_edge.source.per_degree
        turned = [
            out_of_frames(last(by_degree(features, counts)), frames_by_degree(group.frames))
            for group, features in zip(groups, self(species, groups), strict=True)
        ]
        return [torch.cat([p.flatten(1) for p in parts], dim=1)[:, places] for parts in turned]

    def _update_nodes(self, update, nodes, groups, features, radial, species):
        ready, before = update.prepare(of_edges=False), update.lin_pre(nodes)
        n, total = len(species), None
        for group, own, functions in zip(groups, features, radial, strict=True):
            made = ready.convolve(before, own, functions, group, group.envelope)
            part = sums_at_atoms(made, group, ready.counts, 0, n)
            total = part if total is None else add(total, part)
        total = [t / np.sqrt(self.settings.neighbours) for t in total]
        new = ready.combine(total, nodes, species)
        return ready.finish(new, nodes, ready.sums(new), n)

    def _update_edges(self, update, nodes, groups, features, radial):
        ready = update.prepare(of_edges=True)
        made, sums, count = [], None, 0
        for group, own, functions in zip(groups, features, radial, strict=True):
            new = ready.convolve(nodes, own, functions, group)
            new = ready.combine(new, own, group.kind)
            made.append(new)
            part = ready.sums(new, group.frames)
            sums = part if sums is None else add(sums, part)
            count += len(group)
        return [
            ready.finish(new, own, sums, count, group.frames)
            for new, own, group in zip(made, features, groups, strict=True)
        ]


def smooth_end(x: torch.Tensor) -> torch.Tensor:
    """Return an envelope: 1 to x = 0.85, 0 from x = 1, twice continuously differentiable.

    Parameters
    ----------
    x : tensor
        Distance over the cutoff.

    Returns
    -------
    tensor
        Tensor of the same shape.
    """
    t = ((1 - x) / 0.15).clamp(0.0, 1.0)
    return t**3 * (10 - 15 * t + 6 * t**2)
