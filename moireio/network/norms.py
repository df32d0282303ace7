"""Norms of features: DeepH-E3's over a whole graph, and one of every feature by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from moireio.network.irreps import Irreps, Layout

EPSILON = 1e-5
SMALLEST_SQUARE = 1e-24


class _Norm(nn.Module):
    """Weights of a norm: a factor for every channel, an offset for every even scalar."""

    def __init__(self, irreps: Irreps) -> None:
        super().__init__()
        self.layout = Layout(irreps)
        self.weight = nn.Parameter(torch.ones(irreps.channels))
        even = [np.full(e.mul, e.p == 1) for e in irreps if e.l == 0]
        even = np.concatenate(even) if even else np.zeros(0, dtype=bool)
        self.register_buffer("even", torch.tensor(even), persistent=False)
        # their places: choosing by a mask would make a GPU wait for its result
        places = torch.tensor(np.flatnonzero(even))
        self.register_buffer("even_places", places, persistent=False)
        self.register_buffer("order", torch.tensor(self.layout.order), persistent=False)
        self.bias = nn.Parameter(torch.zeros(int(even.sum())))
        # first channel of every order of l ≥ 1
        counts = self.layout.per_degree
        self._first = [
            sum(counts[: max(1, m)]) for m in range(len(counts) if len(counts) > 1 else 0)
        ]

    def _weights(self) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Return the factors by degree, and the offsets of all scalars."""
        none = self.weight.new_zeros(len(self.even))
        offset = none.index_copy(0, self.even_places, self.bias)
        return self.weight[self.order].split(self.layout.per_degree), offset

    def _weights_by_order(self) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the factors order by order, and the offsets of all scalars."""
        weight, offset = self.weight[self.order], self._weights()[1]
        return [weight[: len(self.even)], *(weight[n:] for n in self._first)], offset


class GraphNorm(_Norm):
    """DeepH-E3's layer norm, whose moments run over the whole graph.

    The mean over features and channels is subtracted from every entry of the list, component by
    component in the frame of the crystal. Scalars are divided by the root of their mean square.

    Parameters
    ----------
    irreps : Irreps
        The list.
    """

    def __init__(self, irreps: Irreps) -> None:
        super().__init__(irreps)
        # entries of each degree, in order
        self.sizes = [[] for _ in self.layout.per_degree]
        for entry in irreps:
            self.sizes[entry.l].append(entry.mul)
        self._orders = [_EntriesOfOrder(self.sizes, m) for m in range(len(self._first))]
        self._components = [2 * n + 1 for n, own in enumerate(self.sizes) if n for _ in own]

    def _split(self, part: torch.Tensor, degree: int) -> Sequence[torch.Tensor]:
        sizes = self.sizes[degree]
        return [part] if len(sizes) == 1 else part.split(sizes, dim=2)

    def sums(self, parts: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return sums over features of atoms that the moments follow from.

        Parameters
        ----------
        parts : list of (n, 2l + 1, channels) tensors
            In the frame of the crystal.

        Returns
        -------
        list of float64 tensors
            For every entry, Σ of the channels' mean (2l + 1,), followed for scalars by Σ of the
            channels' mean square.
        """
        out = self._sums_of_scalars(parts[0])
        for degree, part in enumerate(parts[1:], start=1):
            for own in self._split(part, degree) if self.sizes[degree] else ():
                out.append(own.mean(dim=2).sum(dim=0, dtype=torch.float64))
        return out

    def _sums_of_scalars(self, part: torch.Tensor) -> list[torch.Tensor]:
        out = []
        for own in self._split(part, 0) if self.sizes[0] else ():
            both = torch.cat([own.mean(dim=2), own.square().mean(dim=2)], dim=1)
            out.append(both.sum(dim=0, dtype=torch.float64))
        return out

    def sums_of_edges(
        self, orders: list[torch.Tensor], frames: list[torch.Tensor] | None
    ) -> list[torch.Tensor]:
        """Return sums over features of edges that the moments follow from.

        Parameters
        ----------
        orders : list of (n, 1 or 2, channels) tensors
            In the frames of the edges.
        frames : list of tensors or None
            From `edge_frames`; None for edges of length zero.

        Returns
        -------
        list of float64 tensors
            As `sums` has them, in the frame of the crystal.
        """
        out = self._sums_of_scalars(orders[0])
        if not self._components:
            return out
        total = orders[0].new_zeros(sum(self._components))
        for m, (own, entries) in enumerate(zip(orders[1:], self._orders, strict=True)):
            entries = entries.like(own)
            mean = own @ entries.mean
            # Σ_e D_eᵀ v_e is one product of matrices
            if frames is None:
                turned = entries.axes.T @ mean.sum(dim=0)
            else:
                rows = frames[m][:, :, entries.columns].flatten(0, 1)
                turned = rows.T @ mean.flatten(0, 1)
            picked = turned.flatten().index_select(0, entries.picked)
            total = total.index_add(0, entries.target, picked)
        return [*out, *total.to(torch.float64).split(self._components)]

    def _scalars(
        self, part: torch.Tensor, sums: Sequence[torch.Tensor], count: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return factor and shift of every scalar, in the precision of the features."""
        factors, shifts = [], []
        for size, total in zip(self.sizes[0], sums, strict=False):
            mean = total / count
            # Pseudoscalars can vanish by symmetry: a bound keeps the root's slope finite.
            square = torch.clamp(mean[1] - mean[0] ** 2, min=SMALLEST_SQUARE)
            factor = 1 / (torch.sqrt(square) + EPSILON)
            factors.append(factor.expand(size))
            shifts.append((-mean[0] * factor).expand(size))
        if not factors:
            return part.new_ones(part.shape[2]), part.new_zeros(part.shape[2])
        return torch.cat(factors).to(part.dtype), torch.cat(shifts).to(part.dtype)

    def forward(
        self, parts: list[torch.Tensor], sums: Sequence[torch.Tensor], count: int
    ) -> list[torch.Tensor]:
        """Normalise features of atoms.

        Parameters
        ----------
        parts : list of (n, 2l + 1, channels) tensors
            In the frame of the crystal.
        sums : list of tensors
            From `sums`, added up over the graph.
        count : int
            Features in the graph.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            Normalised.
        """
        weight, offset = self._weights()
        factor, shift = self._scalars(parts[0], sums, count)
        out = [parts[0] * (factor * weight[0]) + (shift * weight[0] + offset)]
        rest = iter(sums[len(self.sizes[0]) :])
        for degree, part in enumerate(parts[1:], start=1):
            if not self.sizes[degree]:
                out.append(part)
                continue
            means = [next(rest)[:, None].expand(-1, size) for size in self.sizes[degree]]
            out.append((part - (torch.cat(means, 1) / count).to(part.dtype)) * weight[degree])
        return out

    def of_edges(
        self,
        orders: list[torch.Tensor],
        sums: Sequence[torch.Tensor],
        count: int,
        frames: list[torch.Tensor] | None,
        base: list[torch.Tensor],
    ) -> list[torch.Tensor]:
        """Normalise features of edges, and add others.

        Parameters
        ----------
        orders : list of (n, 1 or 2, channels) tensors
            In the frames of the edges.
        sums : list of tensors
            From `sums_of_edges`, added up over the graph.
        count : int
            Features in the graph.
        frames : list of tensors or None
            From `edge_frames`; None for edges of length zero.
        base : list of tensors
            What is added, of the same shapes.

        Returns
        -------
        list of (n, 1 or 2, channels) tensors
            The sums.
        """
        weight, offset = self._weights_by_order()
        factor, shift = self._scalars(orders[0], sums, count)
        scalars = torch.addcmul(base[0], orders[0], factor * weight[0])
        out = [scalars.add_(shift * weight[0] + offset)]
        if not self._components:
            return [*out, *orders[1:]]
        means = torch.cat(list(sums[len(self.sizes[0]) :])) / count
        means = torch.cat([means, means.new_zeros(1)]).to(orders[0].dtype)
        for m, (own, entries) in enumerate(zip(orders[1:], self._orders, strict=True)):
            entries = entries.like(own)
            axial = means.index_select(0, entries.source).view(-1, entries.mean.shape[1])
            channels = entries.members * weight[m + 1]
            if frames is None:
                total = torch.addcmul(base[m + 1], own, weight[m + 1])
                out.append(total.sub_(entries.axes @ axial @ channels))
                continue
            total = torch.addcmul(base[m + 1].flatten(0, 1), own.flatten(0, 1), weight[m + 1])
            turn = frames[m][:, :, entries.columns].flatten(0, 1)
            out.append(total.addmm_(turn @ axial, channels, alpha=-1).view(own.shape))
        return out


@dataclass(frozen=True)
class _Entries:
    """Where the means of the entries with l ≥ 1 lie, for the components ±m.

    Parameters
    ----------
    columns : slice
        Columns of the frames with these degrees.
    mean : (channels, entries) tensor
        Averages the channels of every entry.
    axes : (1 or 2, columns) tensor
        The frame of an edge of length zero.
    members : (entries, channels) tensor
        1 for the channels of every entry.
    source : (columns · entries,) tensor of int
        For every column and entry the component of a mean, or one more than there are.
    picked, target : tensors of int
        Elements of a (columns, entries) matrix, and the component of a mean that each adds to.
    """

    columns: slice
    mean: torch.Tensor
    axes: torch.Tensor
    members: torch.Tensor
    source: torch.Tensor
    picked: torch.Tensor
    target: torch.Tensor


class _EntriesOfOrder:
    """Makes `_Entries` in any precision, once.

    Parameters
    ----------
    sizes : list of lists of int
        Channels of the entries of each degree.
    m : int
        The order.
    """

    def __init__(self, sizes: list[list[int]], m: int) -> None:
        self._exact = _entries(sizes, m)
        self._made: dict[tuple[torch.dtype, torch.device], _Entries] = {}

    def like(self, features: torch.Tensor) -> _Entries:
        """Return the entries in the precision and on the device of features."""
        key = features.dtype, features.device
        if key not in self._made:
            exact = self._exact
            numbers = (x.to(features) for x in (exact.mean, exact.axes, exact.members))
            places = (x.to(features.device) for x in (exact.source, exact.picked, exact.target))
            self._made[key] = _Entries(exact.columns, *numbers, *places)
        return self._made[key]


def _entries(sizes: list[list[int]], m: int) -> _Entries:
    low, highest = max(1, m), len(sizes) - 1
    columns = slice(low**2 - m**2, (highest + 1) ** 2 - m**2)
    n_columns, channels = (highest + 1) ** 2 - low**2, sum(sum(own) for own in sizes[low:])
    first = sum((2 * n + 1) * len(own) for n, own in enumerate(sizes[:low]) if n)
    n_entries = sum(len(own) for own in sizes[low:])
    components = sum((2 * n + 1) * len(own) for n, own in enumerate(sizes) if n)
    mean = np.zeros((channels, n_entries))
    axes = np.zeros((2 if m else 1, n_columns))
    source = np.full((n_columns, n_entries), components)
    picked, target = [], []
    entry = channel = 0
    for degree in range(low, highest + 1):
        at, n = degree**2 - low**2, 2 * degree + 1
        for row, component in enumerate((-m, m) if m else (0,)):
            axes[row, at + degree + component] = 1
        for size in sizes[degree]:
            mean[channel : channel + size, entry] = 1 / max(1, size)
            numbers = first + np.arange(n)
            source[at : at + n, entry] = numbers
            picked += ((at + np.arange(n)) * n_entries + entry).tolist()
            target += numbers.tolist()
            entry, channel, first = entry + 1, channel + size, first + n
    return _Entries(
        columns,
        torch.tensor(mean),
        torch.tensor(axes),
        torch.tensor((mean > 0).T, dtype=torch.float64),
        torch.tensor(source.ravel()),
        torch.tensor(picked, dtype=torch.long),
        torch.tensor(target, dtype=torch.long),
    )


class LocalNorm(_Norm):
    """A layer norm of every feature by itself.

    The mean of the even scalars is subtracted from them; scalars are divided by the root of their
    mean square, all others by that of their components. Small numbers are added inside the roots,
    so that it is smooth everywhere, also where features vanish by symmetry.

    Parameters
    ----------
    irreps : Irreps
        The list.
    """

    def sums(self, parts: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return an empty list: the norm needs no sums over the graph."""
        return []

    def sums_of_edges(
        self, orders: list[torch.Tensor], frames: list[torch.Tensor] | None
    ) -> list[torch.Tensor]:
        """Return an empty list: the norm needs no sums over the graph."""
        return []

    def forward(
        self, parts: list[torch.Tensor], sums: Sequence[torch.Tensor] = (), count: int = 0
    ) -> list[torch.Tensor]:
        """Normalise features of atoms.

        Parameters
        ----------
        parts : list of (n, 2l + 1, channels) tensors
            In any frame.
        sums, count : object
            Arguments of `GraphNorm`, not used.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            Normalised.
        """
        weight, offset = self._weights()
        out = [self._scalars(parts[0], weight[0], offset)]
        if len(parts) > 1:
            scale = self._scale(parts)
            out += [p * (scale * w) for p, w in zip(parts[1:], weight[1:], strict=True)]
        return out

    def of_edges(
        self,
        orders: list[torch.Tensor],
        sums: Sequence[torch.Tensor],
        count: int,
        frames: list[torch.Tensor] | None,
        base: list[torch.Tensor],
    ) -> list[torch.Tensor]:
        """Normalise features of edges, and add others.

        Parameters
        ----------
        orders : list of (n, 1 or 2, channels) tensors
            In the frames of the edges.
        sums, count, frames : object
            Arguments of `GraphNorm`, not used.
        base : list of tensors
            What is added, of the same shapes.

        Returns
        -------
        list of (n, 1 or 2, channels) tensors
            The sums.
        """
        weight, offset = self._weights_by_order()
        out = [self._scalars(orders[0], weight[0], offset) + base[0]]
        if len(orders) > 1:
            scale = self._scale(orders)
            rest = zip(base[1:], orders[1:], weight[1:], strict=True)
            out += [torch.addcmul(b, x, scale * w) for b, x, w in rest]
        return out

    def _scalars(
        self, scalars: torch.Tensor, weight: torch.Tensor, offset: torch.Tensor
    ) -> torch.Tensor:
        if not scalars.shape[2]:
            return scalars
        mean = (scalars * self.even).sum(dim=2, keepdim=True) / max(1, len(self.bias))
        scalars = scalars - mean * self.even
        scale = torch.rsqrt(scalars.square().mean(dim=2, keepdim=True) + EPSILON)
        return scalars * scale * weight + offset

    def _scale(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Return the factor of everything with l ≥ 1, (n, 1, 1)."""
        total = sum(p.square().sum(dim=(1, 2)) for p in parts[1:])
        channels = max(1, sum(self.layout.per_degree[1:]))
        return torch.rsqrt(total / channels + EPSILON)[:, None, None]
