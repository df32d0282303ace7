"""The tensor product with the harmonics of an edge, in the frame of the edge."""

import numpy as np
import torch
from torch import nn

from moireio.network.assembly import Assembly
from moireio.network.irreps import Irreps, Layout
from moireio.network.linear import Convention, path_weights
from moireio.network.wigner import coupling


class AlignedProduct(nn.Module):
    """DeepH-E3's tensor product with the harmonics of an edge, in the frame of the edge.

    There only the component m = 0 of the harmonics is not zero, √(2l + 1), so that the product with
    weights W1[u, w] · W2[w] maps ±m to ±m by one matrix, the same for all edges (Passaro and
    Zitnick, arXiv:2302.03655): paths with l1 + l2 + l3 even keep the sign of m, odd ones turn it.

    Parameters
    ----------
    irreps_in : list of Irreps
        Lists of the features whose products are summed.
    irreps_out : Irreps
        List of the result.
    lmax : int
        Highest degree of the harmonics, of parity (−1)^l.
    convention : Convention
        Rules of e3nn.
    places : list of int
        For every channel of `irreps_out` (in its order), its channel among those with m = 0.
    degrees_out : list of int
        Degree of every channel among those with m = 0, rising.
    even : bool
        All harmonics count as even.
    """

    def __init__(
        self,
        irreps_in: list[Irreps],
        irreps_out: Irreps,
        lmax: int,
        convention: Convention,
        places: list[int],
        degrees_out: list[int],
        even: bool = False,
    ) -> None:
        super().__init__()
        self.layouts = [Layout(one) for one in irreps_in]
        self.degrees_out = degrees_out
        top_out = max(degrees_out)
        # channels of ±m are those of m = 0 without the degrees below m
        skipped = [sum(d < m for d in degrees_out) for m in range(top_out + 1)]
        width = [len(degrees_out) - s for s in skipped]
        self.orders = top_out + 1
        paths = []
        flat_in = [(n, e, entry) for n, one in enumerate(irreps_in) for e, entry in enumerate(one)]
        for n, e, a in flat_in:
            for l2 in range(lmax + 1):
                p2 = 1 if even else (-1) ** l2
                for o, b in enumerate(irreps_out):
                    if a.p * p2 == b.p and abs(a.l - l2) <= b.l <= a.l + l2:
                        paths.append((n, e, a, l2, o, b))
        factors = path_weights([(o, a.mul) for _, _, a, _, o, _ in paths], convention)
        first_out = np.cumsum([0, *(b.mul for b in irreps_out)])
        # one matrix for every input, |m|, and kind: keeping the sign, turning it, zero length
        self.keys = [
            (n, m, kind)
            for n, one in enumerate(self.layouts)
            for m in range(top_out + 1)
            for kind in ("keep", "turn", "site")
        ]
        number = {key: k for k, key in enumerate(self.keys)}
        shapes = [
            (self.layouts[n].width(m) if m <= self.layouts[n].irreps.lmax else 0, width[m])
            for n, m, _ in self.keys
        ]
        self.turns = set()
        entries, first_weights, second_weights = [], 0, 0
        for (n, e, a, l2, o, b), factor in zip(paths, factors, strict=True):
            C = coupling(a.l, l2, b.l, convention.old_signs)[:, l2, :]
            factor = factor * np.sqrt((2 * b.l + 1) * (2 * l2 + 1))
            layout = self.layouts[n]
            column = np.array(places[first_out[o] : first_out[o + 1]])
            weight = first_weights + np.arange(a.mul * b.mul).reshape(a.mul, b.mul)
            for m in range(min(a.l, b.l) + 1):
                row = sum(layout.per_degree[m : a.l]) + layout.entry_starts[e]
                rows = row + np.arange(a.mul)[:, None]
                at = column - skipped[m]
                for kind, value in (
                    ("keep", C[a.l + m, b.l + m]),
                    ("turn", C[a.l - m, b.l + m] if m else 0.0),
                ):
                    if abs(value) > 1e-12:
                        entries.append((number[n, m, kind], rows, at, weight, factor * value))
                        if kind == "turn":
                            self.turns.add((n, m))
                if l2 == 0:
                    value = C[a.l + m, b.l + m]
                    entries.append((number[n, m, "site"], rows, at, weight, factor * value))
            first_weights += a.mul * b.mul
            second_weights += b.mul
        spread = np.concatenate(
            [
                start + np.tile(np.arange(b.mul), a.mul)
                for (_, _, a, _, _, b), start in zip(
                    paths, np.cumsum([0, *(p[5].mul for p in paths[:-1])]), strict=True
                )
            ]
        )
        self.register_buffer("spread", torch.tensor(spread), persistent=False)
        self.sizes = [(a.mul, b.mul) for _, _, a, _, _, b in paths]
        self.assembly = Assembly(shapes, entries, first_weights)
        self.weights1 = nn.Parameter(torch.randn(first_weights))
        self.weights2 = nn.Parameter(torch.randn(second_weights))

    def matrices(self) -> dict[tuple[int, int, str], torch.Tensor]:
        """Return the matrices, by input, |m| and kind ("keep", "turn" or "site")."""
        flat = self.assembly(self.weights1 * self.weights2[self.spread])
        return dict(zip(self.keys, flat, strict=True))
