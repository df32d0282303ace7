"""Norms of features: DeepH-E3's over a whole graph, and one of every feature by itself."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from moireio.network.irreps import Irreps, Layout

EPSILON = 1e-5
SMALLEST_SQUARE = 1e-24


def scaled(value: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Return a product, in place where no gradient is wanted.

    Parameters
    ----------
    value, factor : tensors
        The first may be overwritten.

    Returns
    -------
    tensor
        ``value * factor``.
    """
    return value * factor if torch.is_grad_enabled() else value.mul_(factor)


class _Norm(nn.Module):
    """Weights of a norm: a factor for every channel, an offset for every even scalar."""

    def __init__(self, irreps: Irreps) -> None:
        super().__init__()
        self.layout = Layout(irreps)
        self.weight = nn.Parameter(torch.ones(irreps.channels))
        even = [np.full(e.mul, e.p == 1) for e in irreps if e.l == 0]
        even = np.concatenate(even) if even else np.zeros(0, dtype=bool)
        self.register_buffer("even", torch.tensor(even), persistent=False)
        self.register_buffer("order", torch.tensor(self.layout.order), persistent=False)
        self.bias = nn.Parameter(torch.zeros(int(even.sum())))

    def _weights(self) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Return the factors by degree, and the offsets of all scalars."""
        offset = self.weight.new_zeros(len(self.even)).masked_scatter(self.even, self.bias)
        return self.weight[self.order].split(self.layout.per_degree), offset


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

    def _split(self, part: torch.Tensor, degree: int) -> Sequence[torch.Tensor]:
        sizes = self.sizes[degree]
        return [part] if len(sizes) == 1 else part.split(sizes, dim=2)

    def sums(
        self, parts: list[torch.Tensor], frames: list[torch.Tensor] | None = None
    ) -> list[torch.Tensor]:
        """Return sums over features that the moments follow from.

        Parameters
        ----------
        parts : list of (n, 2l + 1, channels) tensors
            In the frames of edges, or in that of the crystal.
        frames : list of tensors or None
            The frames.

        Returns
        -------
        list of float64 tensors
            For every entry, Σ of the channels' mean in the frame of the crystal (2l + 1,), followed
            for scalars by Σ of the channels' mean square.
        """
        out = []
        for degree, part in enumerate(parts):
            for own in self._split(part, degree) if self.sizes[degree] else ():
                mean = own.mean(dim=2)
                if degree == 0:
                    both = torch.cat([mean, own.square().mean(dim=2)], dim=1)
                    out.append(both.sum(dim=0, dtype=torch.float64))
                    continue
                if frames is not None:
                    # Σ_e D_eᵀ v_e is one product of a matrix with a vector
                    frame = frames[degree].flatten(0, 1).T
                    mean = frame @ mean.reshape(-1)
                    out.append(mean.to(torch.float64))
                else:
                    out.append(mean.sum(dim=0, dtype=torch.float64))
        return out

    def forward(
        self,
        parts: list[torch.Tensor],
        sums: Sequence[torch.Tensor],
        count: int,
        frames: list[torch.Tensor] | None = None,
    ) -> list[torch.Tensor]:
        """Normalise.

        Parameters
        ----------
        parts : list of (n, 2l + 1, channels) tensors
            In the frames of edges, or in that of the crystal.
        sums : list of tensors
            From `sums`, added up over the graph.
        count : int
            Features in the graph.
        frames : list of tensors or None
            The frames.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            Normalised.
        """
        weight, offset = self._weights()
        sums, out = iter(sums), []
        for degree, part in enumerate(parts):
            values = []
            for own in self._split(part, degree) if self.sizes[degree] else ():
                mean = next(sums) / count
                if degree == 0:
                    # Pseudoscalars can vanish by symmetry: a bound keeps the root's slope finite.
                    square = torch.clamp(mean[1] - mean[0] ** 2, min=SMALLEST_SQUARE)
                    spread = torch.sqrt(square) + EPSILON
                    values.append((own - mean[0].to(own.dtype)) * (1 / spread).to(own.dtype))
                    continue
                shift = mean.to(own.dtype)
                shift = shift[:, None] if frames is None else (frames[degree] @ shift)[:, :, None]
                values.append(own - shift)
            if not values:
                out.append(part)
                continue
            value = values[0] if len(values) == 1 else torch.cat(values, 2)
            out.append(scaled(value, weight[degree]))
        out[0] = out[0] + offset
        return out


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

    def sums(
        self, parts: list[torch.Tensor], frames: list[torch.Tensor] | None = None
    ) -> list[torch.Tensor]:
        """Return an empty list: the norm needs no sums over the graph."""
        return []

    def forward(
        self,
        parts: list[torch.Tensor],
        sums: Sequence[torch.Tensor] = (),
        count: int = 0,
        frames: list[torch.Tensor] | None = None,
    ) -> list[torch.Tensor]:
        """Normalise.

        Parameters
        ----------
        parts : list of (n, 2l + 1, channels) tensors
            In any frame.
        sums, count, frames : object
            Arguments of `GraphNorm`, not used.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            Normalised.
        """
        weight, offset = self._weights()
        scalars, out = parts[0], []
        if scalars.shape[2]:
            mean = (scalars * self.even).sum(dim=2, keepdim=True) / max(1, len(self.bias))
            scalars = scalars - mean * self.even
            scale = torch.rsqrt(scalars.square().mean(dim=2, keepdim=True) + EPSILON)
            scalars = scalars * scale * weight[0] + offset
        out.append(scalars)
        if len(parts) > 1:
            total = sum(p.square().sum(dim=(1, 2)) for p in parts[1:])
            channels = max(1, sum(self.layout.per_degree[1:]))
            scale = torch.rsqrt(total / channels + EPSILON)[:, None, None]
            out += [p * (scale * w) for p, w in zip(parts[1:], weight[1:], strict=True)]
        return out
