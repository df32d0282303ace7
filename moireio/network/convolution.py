"""DeepH-E3's convolution: messages between atoms, in the frames of edges."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from moireio.network.ends import Edges, Ends, collect, spread, with_turned_sign
from moireio.network.frames import by_degree, by_order
from moireio.network.gate import GateLists, GateShape, gate_constants, gated, harmonics_irreps
from moireio.network.irreps import Irreps, Layout
from moireio.network.linear import Convention, Linear
from moireio.network.products import AlignedProduct

RADIAL_WIDTH = 64


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
        counts = self.layout.per_degree
        self._below = [sum(counts[1:m]) for m in range(1, len(counts))]

    def gate_shape(self) -> GateShape:
        """Return the numbers of channels of the gate."""
        gate, odd = self.gate, self.odd if self._any_odd else None
        return GateShape(
            gate.scalars.channels, gate.gated.channels, gate.gate_parity, odd, self._below
        )

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

    Where paths turn the sign of m, their rows follow those of paths that keep it.

    Parameters
    ----------
    module : EdgeConvolution
        The convolution.
    edge_map : Linear, optional
        Applied to the edges' features first.
    """

    def __init__(self, module: EdgeConvolution, edge_map: Linear | None = None) -> None:
        self.module, tp = module, module.tp
        found = tp.matrices()
        self._turns = turns = frozenset(m for _, m in tp.turns)
        self._widths = [found[0, m, "keep"].shape[1] for m in range(tp.orders)]

        def matrices(n: int, kind: str) -> list[torch.Tensor]:
            return [found[n, m, kind] for m in range(tp.orders)]

        # for both atoms: by degree, the columns of all orders, then those that turn
        self._atoms = []
        for n in range(2):
            counts = tp.layouts[n].per_degree
            keep = _columns_by_degree(matrices(n, "keep"), counts)
            if turns:
                every = [w if m in turns else w[:, :0] for m, w in enumerate(matrices(n, "turn"))]
                turn = _columns_by_degree(every, counts)
                keep = [torch.cat(both, dim=1) for both in zip(keep, turn, strict=True)]
            self._atoms.append(keep)
        scalars = tp.layouts[2].per_degree[0]
        kinds = {k: _by_order(matrices(2, k), scalars) for k in ("keep", "turn", "site")}
        self._offset = self._site_offset = None
        if edge_map is not None:
            before, offset = edge_map.by_order()[0], edge_map.offset()
            if offset is not None:
                self._offset, self._site_offset = (offset @ kinds[k][0] for k in ("keep", "site"))
            kinds = {
                k: [a @ b for a, b in zip(before, own, strict=False)] for k, own in kinds.items()
            }
        self._edges, self._site_edges = kinds["keep"], kinds["site"]
        for m in turns:
            if m + 1 < len(self._edges):
                self._edges[m + 1] = torch.cat([self._edges[m + 1], kinds["turn"][m + 1]])
        # the two atoms are one
        both = [a + b for a, b in zip(matrices(0, "site"), matrices(1, "site"), strict=True)]
        self._site_atoms = _by_order(both, tp.layouts[0].per_degree[0])
        self._gate = module.gate_shape()
        last = module.fc[4]
        constants = gate_constants(self._gate, last.bias)
        self._last = (
            last.weight[module.order] * constants[:, None],
            last.bias[module.order] * constants,
        )

    def factors(self, radial: torch.Tensor) -> torch.Tensor:
        """Return the factor of every channel of `out`, with the constants of the gate."""
        fc = self.module.fc
        return nn.functional.linear(fc[:4](radial), *self._last)

    def __call__(
        self,
        atoms: list[torch.Tensor],
        edge: list[torch.Tensor],
        radial: torch.Tensor,
        group: Edges,
        envelope: torch.Tensor | None = None,
    ) -> list[torch.Tensor]:
        """Convolve.

        Parameters
        ----------
        atoms : list of (N, 2l + 1, channels) tensors
            Features of all atoms, degree by degree.
        edge : list of (n, 1 or 2, channels) tensors
            Features of the edges, order by order.
        radial : (n, k) tensor
            Radial functions.
        group : Edges
            The edges.
        envelope : (n, 1, 1) tensor, optional
            Multiplies the result.

        Returns
        -------
        list of (n, 1 or 2, channels) tensors
            Features with the irreps `out`, in the frames of the edges.
        """
        factors = self.factors(radial)
        if envelope is not None:
            factors = factors * envelope[:, 0]
        if group.site:
            total = self._of_site(atoms, edge, group)
        else:
            total = self._of_bonds(atoms, edge, group)
        orders = [x.view(-1, 2, x.shape[1]) for x in total[1:]]
        return gated(total[0], factors, orders, self._gate)

    def _of_bonds(
        self, atoms: list[torch.Tensor], edge: list[torch.Tensor], group: Edges
    ) -> list[torch.Tensor]:
        """Return the product before the gate: m = 0, then rows −m and m of every order."""
        one, two = (
            self._at_ends(atoms, end, weights)
            for end, weights in zip(group.ends, self._atoms, strict=True)
        )
        if self._offset is not None:
            # every edge takes the first component, a scalar, of one atom i
            one[0] = torch.cat([one[0][:, :1] + self._offset, one[0][:, 1:]], dim=1)
        total = spread(one, two, group.ends, self._turns)
        turned = [
            torch.cat([x, with_turned_sign(x)], dim=2) if n - 1 in self._turns else x
            for n, x in enumerate(edge)
        ]
        return self._add_edges(total, turned, self._edges)

    def _at_ends(
        self, atoms: list[torch.Tensor], ends: Ends, weights: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Return atoms' features times the weights: for every |m| (A, Σ (2l + 1), channels)."""
        orders = range(min(len(weights), len(self._widths)))
        keep, turn = [], []
        for degree, (part, weight) in enumerate(zip(atoms, weights, strict=True)):
            made = part.index_select(0, ends.atoms) @ weight
            widths = self._widths[: degree + 1]
            also = [width if m in self._turns else 0 for m, width in enumerate(widths)]
            pieces = torch.split_with_sizes(made, [*widths, *(also if self._turns else [])], dim=2)
            keep.append(pieces[: len(widths)])
            turn.append(pieces[len(widths) :])
        return [
            torch.cat(
                [
                    *(made[m] for made in keep[m:]),
                    *(made[m] for made in turn[m:] if m in self._turns),
                ],
                dim=1,
            )
            for m in orders
        ]

    def _of_site(
        self, atoms: list[torch.Tensor], edge: list[torch.Tensor], group: Edges
    ) -> list[torch.Tensor]:
        own = by_order([part.index_select(0, group.i) for part in atoms])
        total = self._add_edges([], own, self._site_atoms)
        if self._site_offset is not None:
            total[0] = total[0] + self._site_offset
        return self._add_edges(total, edge, self._site_edges)

    def _add_edges(
        self,
        total: list[torch.Tensor],
        edge: list[torch.Tensor],
        weights: list[torch.Tensor],
    ) -> list[torch.Tensor]:
        """Add the product of features in the frames of edges, order by order."""
        out = []
        for m, width in enumerate(self._widths):
            own = total[m] if m < len(total) else None
            for n in (0, 1) if m == 0 else (m + 1,):
                if n < len(edge):
                    x = edge[n].flatten(0, 1)
                    own = x @ weights[n] if own is None else own.addmm_(x, weights[n])
            if own is None:
                own = edge[0].new_zeros(edge[0].shape[0] * (2 if m else 1), width)
            out.append(own)
        return out


def _columns_by_degree(orders: list[torch.Tensor], counts: list[int]) -> list[torch.Tensor]:
    """Return matrices by degree, with the columns of all orders, from those by |m|."""
    rows = [matrix.split(counts[m:]) for m, matrix in enumerate(orders[: len(counts)])]
    return [
        torch.cat([rows[m][degree - m] for m in range(min(degree + 1, len(rows)))], dim=1)
        for degree in range(len(counts))
    ]


def _by_order(orders: list[torch.Tensor], scalars: int) -> list[torch.Tensor]:
    """Return matrices as features of edges lie: the rows of scalars are apart."""
    return [*orders[0].split([scalars, len(orders[0]) - scalars]), *orders[1:]]


def sums_at_atoms(
    messages: list[torch.Tensor], group: Edges, counts: list[int], first: int, n_atoms: int
) -> list[torch.Tensor]:
    """Return the sums of messages over the edges of atoms.

    Parameters
    ----------
    messages : list of (n, 1 or 2, channels) tensors
        In the frames of the edges.
    group : Edges
        The edges.
    counts : list of int
        Channels of each degree.
    first, n_atoms : int
        The atoms i of the edges lie among these.

    Returns
    -------
    list of (n_atoms, 2l + 1, channels) tensors
        In the frame of the crystal, degree by degree.
    """
    if group.site:
        atoms, parts = group.i, by_degree(messages, counts)
    else:
        atoms, parts = group.ends[0].atoms, _collected(messages, group.ends[0], counts)
    zero = [p.new_zeros(n_atoms, *p.shape[1:]) for p in parts]
    return [z.index_add_(0, atoms - first, p) for z, p in zip(zero, parts, strict=True)]


def _collected(messages: list[torch.Tensor], end: Ends, counts: list[int]) -> list[torch.Tensor]:
    highest = len(counts) - 1
    # scalars and m = 0 of the others share the first rows of frames
    low = [0] if highest == 0 else [max(1, m) for m in range(highest + 1)]
    columns = [(n**2 - m**2, (highest + 1) ** 2 - m**2) for m, n in enumerate(low)]
    out = collect(messages[:1], end, [(0, 1)])
    if highest == 0:
        return out
    out += [None] * highest
    for every, first in zip(collect(messages[1:], end, columns), low, strict=True):
        # of all degrees with all channels only equal degrees belong together
        edges = np.cumsum([0, *counts[first:]]).tolist()
        for degree, (one, two) in zip(range(first, highest + 1), pairwise(edges), strict=True):
            at = degree**2 - first**2
            part = every[:, at : at + 2 * degree + 1, one:two]
            out[degree] = part if out[degree] is None else out[degree] + part
    return out
