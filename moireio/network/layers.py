"""DeepH-E3's layers, evaluated in the frames of edges.

Features of edges stay in the frame of their edge from the first layer to the last. Features of
atoms are turned into it for a convolution, and its messages are turned back.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from moireio.network.frames import by_degree, by_order, into_frames
from moireio.network.irreps import Irrep, Irreps, Layout, reachable
from moireio.network.linear import AlignedProduct, Convention, Linear
from moireio.network.norms import GraphNorm, LocalNorm, scaled

if TYPE_CHECKING:
    from moireio.network.net import NetworkSettings

# e3nn's second-moment constants, from a million fixed samples.
SILU, TANH, SIGMOID = 1.6791767923989418, 1.5937334472592695, 1.8467055342154763
RADIAL_WIDTH = 64


@dataclass(frozen=True)
class Edges:
    """Some edges of a graph.

    Parameters
    ----------
    i, j : (n,) tensors of int
        Atoms: the one that receives, and the other.
    kind : (n,) tensor of int
        Pair of species, ``species_i * n_species + species_j``.
    distance : (n,) tensor
        Lengths, Å.
    frames : list of tensors or None
        From `edge_frames`; None for edges of length zero.
    envelope : (n, 1, 1) tensor or None
        What messages are multiplied with; None where that is 1.
    """

    i: torch.Tensor
    j: torch.Tensor
    kind: torch.Tensor
    distance: torch.Tensor
    frames: list[torch.Tensor] | None
    envelope: torch.Tensor | None = None

    def __len__(self) -> int:
        """Return the number of edges."""
        return len(self.i)

    @property
    def site(self) -> bool:
        """Whether they have length zero."""
        return self.frames is None


def harmonics_irreps(lmax: int, even: bool = False) -> Irreps:
    """Return the list of an edge's harmonics.

    Parameters
    ----------
    lmax : int
        Highest degree.
    even : bool
        All of even parity.

    Returns
    -------
    Irreps
        ``1x0e+1x1o+…``
    """
    return Irreps(Irrep(1, n, 1 if even else (-1) ** n) for n in range(lmax + 1))


class GateLists:
    """The lists of e3nn's Gate for what a product can reach.

    Parameters
    ----------
    source, harmonics : Irreps
        Factors of the product.
    wanted : Irreps
        What shall come out.
    """

    def __init__(self, source: Irreps, harmonics: Irreps, wanted: Irreps) -> None:
        kept = [e for e in wanted if reachable(source, harmonics, e.kind)]
        gate = 1 if reachable(source, harmonics, (0, 1)) else -1
        self.scalars = Irreps(e for e in kept if e.l == 0).simplify()
        self.gated = Irreps(e for e in kept if e.l > 0).simplify()
        self.gates = Irreps(Irrep(e.mul, 0, gate) for e in self.gated).simplify()
        self.gate_parity = gate
        self.out = Irreps(self.scalars + self.gated)
        joined = Irreps(self.scalars + self.gates + self.gated)
        ordered, order = joined.sort()
        self.product = ordered.simplify()
        # column (m = 0) of every channel: scalars, gates, gated ones by degree
        layout, n_scalars, n_gated = Layout(self.out), self.scalars.channels, self.gated.channels
        place = np.empty(n_gated, dtype=int)
        place[layout.order[n_scalars:] - n_scalars] = np.arange(n_gated)
        columns = np.concatenate(
            [np.arange(n_scalars), n_scalars + place, n_scalars + n_gated + place]
        )
        first = np.cumsum([0, *(e.mul for e in joined)])
        self.places = [int(c) for n in order for c in columns[first[n] : first[n + 1]]]
        degrees = [n for n, count in enumerate(layout.per_degree) for _ in range(count)]
        self.degrees = [0] * (n_scalars + n_gated) + degrees[n_scalars:]


class EdgeConvolution(nn.Module):
    """DeepH-E3's EquiConv: product with the harmonics, gate, factors from the distance.

    Parameters
    ----------
    nodes, edges : Irreps
        Features of the two atoms and of the edge.
    wanted : Irreps
        What shall come out; `out` is what can.
    lmax : int
        Highest degree of the harmonics.
    radial : int
        Number of radial functions.
    convention : Convention
        Convention of e3nn.
    even : bool
        All harmonics count as even.
    """

    def __init__(
        self,
        nodes: Irreps,
        edges: Irreps,
        wanted: Irreps,
        lmax: int,
        radial: int,
        convention: Convention,
        even: bool = False,
    ) -> None:
        super().__init__()
        self.gate = GateLists(Irreps(nodes + edges), harmonics_irreps(lmax, even), wanted)
        self.out = self.gate.out
        self.layout = Layout(self.out)
        self.tp = AlignedProduct(
            [nodes, nodes, edges],
            self.gate.product,
            lmax,
            convention,
            self.gate.places,
            self.gate.degrees,
            even,
        )
        self.fc = nn.Sequential(
            nn.Linear(radial, RADIAL_WIDTH),
            nn.SiLU(),
            nn.Linear(RADIAL_WIDTH, RADIAL_WIDTH),
            nn.SiLU(),
            nn.Linear(RADIAL_WIDTH, self.out.channels),
        )
        self.register_buffer("order", torch.tensor(self.layout.order), persistent=False)
        odd = np.concatenate([np.full(e.mul, e.p < 0) for e in self.gate.scalars] or [[]])
        self.register_buffer("odd", torch.tensor(odd, dtype=torch.bool), persistent=False)
        self._any_odd = bool(odd.any())

    def prepare(self, edge_map: Linear | None = None) -> "PreparedConvolution":
        """Make the matrices out of the weights.

        Parameters
        ----------
        edge_map : Linear, optional
            A map of the edges' features that goes before.

        Returns
        -------
        PreparedConvolution
            To be applied to any number of edges.
        """
        return PreparedConvolution(self, edge_map)


class PreparedConvolution:
    """The matrices of an `EdgeConvolution`.

    Parameters
    ----------
    module : EdgeConvolution
        The convolution.
    edge_map : Linear, optional
        Applied to the edges' features first.
    """

    def __init__(self, module: EdgeConvolution, edge_map: Linear | None = None) -> None:
        self.module, tp = module, module.tp
        matrices = tp.matrices()
        before = edge_map.by_order()[0] if edge_map is not None else None
        offset = edge_map.offset() if edge_map is not None else None
        self.steps: dict[tuple, Any] = {}
        degrees = tp.layouts[0].per_degree
        for kind in ("keep", "turn", "site"):
            for m in range(tp.orders):
                if kind == "turn" and not {(n, m) for n in range(3)} & tp.turns:
                    continue
                one, two, edge = (matrices[n, m, kind] for n in range(3))
                if len(one):  # the two atoms' channels alternate, degree by degree
                    halves = one.split(degrees[m:]), two.split(degrees[m:])
                    one = torch.cat([h for pair in zip(*halves, strict=True) for h in pair])
                if before is not None and len(edge):
                    if m == 0 and offset is not None:
                        self.steps[kind, "offset"] = _pad(offset, len(edge)) @ edge
                    edge = before[m] @ edge
                self.steps[kind, m] = one, edge
        nodes, _, edges = tp.layouts
        self._edge_split, self._pair_split = _Splitter(edges, 1), _Splitter(nodes, 2)
        last = module.fc[4]
        self.last = last.weight[module.order], last.bias[module.order]

    def factors(self, radial: torch.Tensor) -> torch.Tensor:
        """Return the factor of every channel of `out`, from the radial functions."""
        fc = self.module.fc
        return nn.functional.linear(fc[:4](radial), *self.last)

    def __call__(
        self, pair: torch.Tensor, edge: torch.Tensor, radial: torch.Tensor, site: bool = False
    ) -> list[torch.Tensor]:
        """Convolve.

        Parameters
        ----------
        pair : (n, 2 dim) tensor
            Features of both atoms, from `gather_pair`.
        edge : (n, dim) tensor
            Features of the edges, from `by_order`.
        radial : (n, k) tensor
            Radial functions.
        site : bool
            Whether the edges have length zero.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            Features with the irreps `out`, in the frames of the edges.
        """
        gate, kind = self.module.gate, "site" if site else "keep"
        pair, edge = self._pair_split(pair), self._edge_split(edge)
        n_scalars, n_gated = gate.scalars.channels, gate.gated.channels
        w = self.factors(radial)
        zero = self._apply(kind, 0, pair, edge, 0, self.steps.get((kind, "offset")))
        scalars, gates, gated = zero.split([n_scalars, n_gated, n_gated], dim=1)
        active = nn.functional.silu(scalars) * SILU
        if self.module._any_odd:
            active = torch.where(self.module.odd, torch.tanh(scalars) * TANH, active)
        orders = {0: gated}
        for m in range(1, self.module.tp.orders):
            up, down = (self._apply(kind, m, pair, edge, s) for s in (m, -m))
            if not site and ("turn", m) in self.steps:
                up = up + self._apply("turn", m, pair, edge, -m)
                down = down - self._apply("turn", m, pair, edge, m)
            orders[m], orders[-m] = up, down
        if gate.gate_parity == 1:
            factor = torch.sigmoid(gates) * (SIGMOID * w[:, n_scalars:])
        else:
            factor = torch.tanh(gates) * (TANH * w[:, n_scalars:])
        counts = self.module.layout.per_degree
        out = [(active * w[:, :n_scalars])[:, None]]
        if n_gated:
            degrees = by_degree(orders, [0, *counts[1:]])[1:]
            for part, own in zip(degrees, factor.split(counts[1:], dim=1), strict=True):
                out.append(scaled(part, own[:, None]))
        return out

    def _apply(
        self,
        kind: str,
        m: int,
        pair: dict[int, torch.Tensor],
        edge: dict[int, torch.Tensor],
        signed: int,
        offset: torch.Tensor | None = None,
    ) -> torch.Tensor:
        nodes, edges = self.steps[kind, m]
        out = None
        if len(nodes):
            x = pair[signed]
            out = x @ nodes if offset is None else torch.addmm(offset, x, nodes)
        if len(edges):
            x = edge[signed]
            out = x @ edges if out is None else torch.addmm(out, x, edges)
        return pair[0].new_zeros(len(pair[0]), nodes.shape[1]) if out is None else out


class _Splitter:
    """Splits features into a dict by signed m."""

    def __init__(self, layout: Layout, times: int) -> None:
        self._keys = list(layout.slices)
        self._sizes = [times * (s.stop - s.start) for s in layout.slices.values()]

    def __call__(self, features: torch.Tensor) -> dict[int, torch.Tensor]:
        return dict(zip(self._keys, features.split(self._sizes, dim=1), strict=True))


def _pad(offset: torch.Tensor, length: int) -> torch.Tensor:
    return torch.nn.functional.pad(offset, (0, length - len(offset)))


def gather_pair(parts: list[torch.Tensor], edges: Edges) -> torch.Tensor:
    """Return the features of both atoms of edges in the frames of the edges.

    Parameters
    ----------
    parts : list of (N, 2l + 1, channels) tensors
        Features of the atoms.
    edges : Edges
        The edges.

    Returns
    -------
    (n, 2 dim) tensor
        As `by_order` has them; degree by degree first the channels of i, then those of j.
    """
    if edges.frames is None:
        return by_order([torch.cat([p, p], 2).index_select(0, edges.i) for p in parts])
    both = [torch.cat([p.index_select(0, edges.i), p.index_select(0, edges.j)], 2) for p in parts]
    return by_order(into_frames(both, edges.frames))


class Update(nn.Module):
    """Half of a block, for atoms or for edges: maps, convolution, norm, skip connection.

    Parameters
    ----------
    nodes, edges : Irreps
        Features that the convolution sees.
    wanted : Irreps
        Features that are wanted; `out` gives those that are returned.
    own : Irreps
        Features that are updated: `nodes` or `edges`.
    kinds : int
        Species, or pairs of species.
    settings : NetworkSettings
        Settings of the network.
    """

    def __init__(
        self,
        nodes: Irreps,
        edges: Irreps,
        wanted: Irreps,
        own: Irreps,
        kinds: int,
        settings: "NetworkSettings",
    ) -> None:
        super().__init__()
        convention = settings.convention
        self.lin_pre = Linear(own, own, convention, bias=True)
        self.conv = EdgeConvolution(
            nodes,
            edges,
            wanted,
            settings.harmonics_lmax,
            settings.radial,
            convention,
            settings.even,
        )
        self.out = self.conv.out
        self.lin_post = Linear(self.out, self.out, convention, bias=True)
        self.sc = Linear(own, self.out, convention, kinds=kinds)
        self.norm = (LocalNorm if settings.local else GraphNorm)(self.out)
        self.skip = None if own == self.out else Linear(own, self.out, convention)

    def prepare(self, fold: bool) -> "PreparedUpdate":
        """Make the matrices.

        Parameters
        ----------
        fold : bool
            Take `lin_pre` into the convolution, as a map of the edges' features.

        Returns
        -------
        PreparedUpdate
            To be applied piece by piece.
        """
        return PreparedUpdate(self, fold)


class PreparedUpdate:
    """The matrices of an `Update`.

    Parameters
    ----------
    module : Update
        The update.
    fold : bool
        Take `lin_pre` into the convolution.
    """

    def __init__(self, module: Update, fold: bool) -> None:
        self.norm = module.norm
        self.convolve = module.conv.prepare(module.lin_pre if fold else None)
        self.counts = module.conv.layout.per_degree
        self._post = module.lin_post.prepare()
        self._own = module.sc.prepare()
        self._skip = None if module.skip is None else module.skip.prepare()

    def combine(
        self, convolved: list[torch.Tensor], old: list[torch.Tensor], kind: torch.Tensor
    ) -> list[torch.Tensor]:
        """Return the features to be normalised.

        Parameters
        ----------
        convolved, old : lists of tensors
            Result of the convolution, and the features before, degree by degree.
        kind : (n,) tensor of int
            Species, or pairs of species.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            Degree by degree.
        """
        return self._own(old, kind, self._post(convolved))

    def finish(self, normed: list[torch.Tensor], old: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the new features.

        Parameters
        ----------
        normed, old : lists of tensors
            After the norm, and the features before.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            Degree by degree.
        """
        if self._skip is not None:
            return self._skip(old, None, normed)
        if torch.is_grad_enabled():
            return add(normed, old)
        return [n.add_(o) for n, o in zip(normed, old, strict=True)]


def add(one: list[torch.Tensor], two: list[torch.Tensor]) -> list[torch.Tensor]:
    """Add features degree by degree.

    Parameters
    ----------
    one, two : lists of tensors
        Features of equal shapes.

    Returns
    -------
    list of tensors
        Their sums.
    """
    return [a + b for a, b in zip(one, two, strict=True)]
