"""DeepH-E3's formulation of its network, written with e3nn's public modules.

For comparisons only: the yardstick for equality and for time. It takes the weights of a
`moireio.network.net.Network`.
"""

import numpy as np
import torch
from e3nn import o3
from e3nn.nn import Gate
from torch import nn

from moireio.network.norms import EPSILON


def e3nn_irreps(irreps):
    return o3.Irreps([(e.mul, (e.l, e.p)) for e in irreps])


class SeparateProduct(nn.Module):
    """A product with weights W1[u, w] W2[v, w]."""

    def __init__(self, one, two, out):
        super().__init__()
        paths = [
            (a, b, c, "uvw", True)
            for a, (_, ir1) in enumerate(one)
            for b, (_, ir2) in enumerate(two)
            for c, (_, ir3) in enumerate(out)
            if ir3 in ir1 * ir2
        ]
        self.tp = o3.TensorProduct(
            one, two, out, paths, internal_weights=False, shared_weights=True
        )
        shapes = [(one[a].mul, two[b].mul, out[c].mul) for a, b, c, *_ in paths]
        self.first = nn.ParameterList(torch.randn(u, w) for u, v, w in shapes)
        self.second = nn.ParameterList(torch.randn(v, w) for u, v, w in shapes)

    def forward(self, x, y):
        weights = [
            (a[:, None] * b[None]).flatten() for a, b in zip(self.first, self.second, strict=True)
        ]
        return self.tp(x, y, torch.cat(weights))


class EquiConv(nn.Module):
    def __init__(self, source, sh, own):
        super().__init__()
        gate = own.gate
        lists = [e3nn_irreps(x) for x in (gate.scalars, gate.gates, gate.gated)]
        even, odd = nn.functional.silu, torch.tanh
        self.nonlin = Gate(
            lists[0],
            [even if e.p == 1 else odd for e in gate.scalars],
            lists[1],
            [torch.sigmoid if e.p == 1 else odd for e in gate.gates],
            lists[2],
        )
        self.tp = SeparateProduct(source, sh, self.nonlin.irreps_in.simplify())
        self.out = self.nonlin.irreps_out
        self.fc = nn.Sequential(
            nn.Linear(128, 64),
            nn.SiLU(),
            nn.Linear(64, 64),
            nn.SiLU(),
            nn.Linear(64, self.out.num_irreps),
        )
        self.scale = o3.ElementwiseTensorProduct(self.out, f"{self.out.num_irreps}x0e")

    def forward(self, x, sh, radial):
        return self.scale(self.nonlin(self.tp(x, sh)), self.fc(radial))


class Norm(nn.Module):
    def __init__(self, irreps):
        super().__init__()
        self.irreps = irreps
        self.weight = nn.Parameter(torch.ones(irreps.num_irreps))
        self.bias = nn.Parameter(torch.zeros(sum(m for m, ir in irreps if (ir.l, ir.p) == (0, 1))))

    def forward(self, x):
        out, at, channel, bias = [], 0, 0, 0
        for mul, ir in self.irreps:
            f = x[:, at : at + mul * ir.dim].reshape(-1, mul, ir.dim)
            f = f - f.mean(dim=(0, 1), keepdim=True)
            if ir.l == 0:
                f = f / (f.square().mean(dim=(0, 1), keepdim=True).sqrt() + EPSILON)
            f = f * self.weight[channel : channel + mul, None]
            if (ir.l, ir.p) == (0, 1):
                f = f + self.bias[bias : bias + mul, None]
                bias += mul
            out.append(f.flatten(1))
            at, channel = at + mul * ir.dim, channel + mul
        return torch.cat(out, 1)


class Half(nn.Module):
    def __init__(self, nodes, edges, own, sh, kinds, node):
        super().__init__()
        me = nodes if node else edges
        self.lin_pre = o3.Linear(me, me, biases=True)
        self.conv = EquiConv(nodes + nodes + edges, sh, own.conv)
        out = self.conv.out
        self.lin_post = o3.Linear(out, out, biases=True)
        self.sc = o3.FullyConnectedTensorProduct(me, f"{kinds}x0e", out)
        self.norm = Norm(out)
        self.skip = None if me == out else o3.Linear(me, out)

    def finish(self, new, old, kind):
        new = self.norm(self.lin_post(new) + self.sc(old, kind))
        return new + (old if self.skip is None else self.skip(old))


class ReferenceNet(nn.Module):
    """The same function as a network, with its weights."""

    def __init__(self, network):
        super().__init__()
        s = network.settings
        self.species = s.species
        self.sh = o3.Irreps.spherical_harmonics(s.harmonics_lmax)
        self.embedding = nn.Parameter(network.embedding.detach().clone())
        self.radial, self.expansion = network.radial, network.expansion
        nodes, edges = e3nn_irreps(s.embed_node), e3nn_irreps(s.edge_init)
        self.node, self.edge = nn.ModuleList(), nn.ModuleList()
        for block in network.blocks:
            self.node.append(Half(nodes, edges, block.node, self.sh, s.species, True))
            nodes = self.node[-1].conv.out
            self.edge.append(Half(nodes, edges, block.edge, self.sh, s.species**2, False))
            edges = self.edge[-1].conv.out
        self.lin_edge = o3.Linear(edges, e3nn_irreps(s.out_edge), biases=True)
        self.to(network.dtype)
        self._take(network)

    @torch.no_grad()
    def _take(self, network):
        def linear(mine, theirs):
            mine.weight.copy_(theirs.weight)
            if theirs.bias.numel():
                mine.bias.copy_(theirs.bias)

        linear(self.lin_edge, network.lin_edge)
        for node, edge, block in zip(self.node, self.edge, network.blocks, strict=True):
            for mine, theirs in ((node, block.node), (edge, block.edge)):
                linear(mine.lin_pre, theirs.lin_pre)
                linear(mine.lin_post, theirs.lin_post)
                mine.sc.weight.copy_(theirs.sc.weight)
                mine.norm.weight.copy_(theirs.norm.weight)
                mine.norm.bias.copy_(theirs.norm.bias)
                mine.conv.fc.load_state_dict(theirs.conv.fc.state_dict())
                if mine.skip is not None:
                    mine.skip.weight.copy_(theirs.skip.weight)
                tp, own = mine.conv.tp, theirs.conv.tp
                for parts, flat in ((tp.first, own.weights1), (tp.second, own.weights2)):
                    pieces = flat.split([p.numel() for p in parts])
                    for p, piece in zip(parts, pieces, strict=True):
                        p.copy_(piece.reshape(p.shape))

    def forward(self, species, i, j, vectors):
        """Return the output for the edges, which include those of length zero (at the end)."""
        dtype = self.embedding.dtype
        nodes = self.embedding[species] / np.sqrt(self.species)
        distance = torch.linalg.norm(vectors, dim=1).to(dtype)
        sh = o3.spherical_harmonics(
            self.sh, vectors[:, [1, 2, 0]].to(dtype), normalize=True, normalization="component"
        )
        edges, radial = self.expansion(distance), self.radial(distance)
        one_hot = nn.functional.one_hot
        kind = one_hot(species, self.species).to(dtype)
        pair = one_hot(species[i] * self.species + species[j], self.species**2).to(dtype)
        for node, edge in zip(self.node, self.edge, strict=True):
            h = node.lin_pre(nodes)
            message = node.conv(torch.cat([h[i], h[j], edges], 1), sh, radial)
            total = message.new_zeros(len(nodes), message.shape[1]).index_add(0, i, message)
            nodes = node.finish(total, nodes, kind)
            e = edge.lin_pre(edges)
            new = edge.conv(torch.cat([nodes[i], nodes[j], e], 1), sh, radial)
            edges = edge.finish(new, edges, pair)
        return self.lin_edge(edges)


class ReferenceTraining:
    """Training of a `ReferenceNet` on moireio's samples, with Adam and the mean square error."""

    def __init__(self, model, rate):
        from moireio.network.head import Head

        self.network = ReferenceNet(model.network)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=rate)
        count = len(model.targets.numbers)
        self.heads = {(a, b): Head(model.targets, a, b) for a in range(count) for b in range(count)}
        at, columns = 0, []
        for entry in model.network.settings.out_edge:
            columns.append(torch.arange(at, at + 2 * entry.l + 1))
            at += 2 * entry.l + 1
        self.columns = {
            pair: torch.cat([columns[e] for e in head.entries]) for pair, head in self.heads.items()
        }

    def graph(self, sample):
        """Return species, ends and vectors of all edges, in the order of the sample's."""
        graph = sample.graph
        numbers, own = np.arange(len(graph)), torch.arange(len(sample.species))
        i = graph.first(numbers)
        ends = [torch.cat([torch.tensor(e.astype(np.int64)), own]) for e in (i, graph.bonds.j)]
        vectors = torch.tensor(graph.vectors(i, numbers)).to(torch.get_default_dtype())
        return sample.species, *ends, torch.cat([vectors, vectors.new_zeros(len(own), 3)])

    def step(self, sample):
        """Make one step; return the loss before it."""
        output, total = self.network(*self.graph(sample)), 0.0
        for pair, kinds in sample.pair_blocks.items():
            for kind in kinds:
                own = output[kind.edges][:, self.columns[pair]]
                gap = self.heads[pair](own) - kind.blocks
                gap = torch.view_as_real(gap) if gap.is_complex() else gap
                total = total + gap.square().sum()
        loss = total / sample.elements
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())
