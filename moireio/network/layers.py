"""DeepH-E3's layers, evaluated in the frames of edges.

Features of edges stay in the frame of their edge from the first layer to the last, order by order.
Features of atoms, degree by degree, are turned into it by a convolution, and its messages back.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from moireio.network.convolution import EdgeConvolution
from moireio.network.irreps import Irreps
from moireio.network.linear import Linear
from moireio.network.norms import GraphNorm, LocalNorm

if TYPE_CHECKING:
    from moireio.network.net import NetworkSettings


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
        self._weights: list[nn.Parameter] | None = None
        self._kept: tuple[list, PreparedUpdate] | None = None

    def prepare(self, of_edges: bool) -> "PreparedUpdate":
        """Make the matrices.

        Parameters
        ----------
        of_edges : bool
            Whether features of edges are updated.

        Returns
        -------
        PreparedUpdate
            To be applied piece by piece. Where no gradient is wanted it is kept until weights
            change.
        """
        if torch.is_grad_enabled():
            return PreparedUpdate(self, of_edges)
        if self._weights is None:
            self._weights = list(self.parameters())
        state = [(of_edges, p.data_ptr(), p.dtype, p._version) for p in self._weights]
        if self._kept is None or self._kept[0] != state:
            self._kept = state, PreparedUpdate(self, of_edges)
        return self._kept[1]


class PreparedUpdate:
    """The matrices of an `Update`.

    Parameters
    ----------
    module : Update
        The update.
    of_edges : bool
        Whether features of edges are updated, order by order, not those of atoms. Then `lin_pre` is
        part of the convolution, as a map of the edges' features.
    """

    def __init__(self, module: Update, of_edges: bool) -> None:
        self.norm, self._of_edges = module.norm, of_edges
        self.convolve = module.conv.prepare(module.lin_pre if of_edges else None)
        self.counts = module.conv.layout.per_degree
        self._post = module.lin_post.prepare(of_edges)
        self._own = module.sc.prepare(of_edges)
        self._skip = None if module.skip is None else module.skip.prepare(of_edges)

    def combine(
        self, convolved: list[torch.Tensor], old: list[torch.Tensor], kind: torch.Tensor
    ) -> list[torch.Tensor]:
        """Return the features to be normalised.

        Parameters
        ----------
        convolved, old : lists of tensors
            Result of the convolution, and the features before.
        kind : (n,) tensor of int
            Species, or pairs of species.

        Returns
        -------
        list of tensors
            Features of the list `out`.
        """
        return self._post.plus(convolved, self._own, old, kind)

    def sums(
        self, new: list[torch.Tensor], frames: list[torch.Tensor] | None = None
    ) -> list[torch.Tensor]:
        """Return sums over features that the norm needs, as `GraphNorm.sums` does."""
        return self.norm.sums_of_edges(new, frames) if self._of_edges else self.norm.sums(new)

    def finish(
        self,
        new: list[torch.Tensor],
        old: list[torch.Tensor],
        sums: Sequence[torch.Tensor] = (),
        count: int = 0,
        frames: list[torch.Tensor] | None = None,
    ) -> list[torch.Tensor]:
        """Return the new features: norm and skip connection.

        Parameters
        ----------
        new, old : lists of tensors
            From `combine`, and the features before.
        sums : list of tensors
            From `sums`, added up over the graph.
        count : int
            Features in the graph.
        frames : list of tensors or None
            The frames of edges.

        Returns
        -------
        list of tensors
            Features of the list `out`.
        """
        base = old if self._skip is None else self._skip(old)
        if self._of_edges:
            return self.norm.of_edges(new, sums, count, frames, base)
        return add(self.norm(new, sums, count), base)


def add(one: list[torch.Tensor], two: list[torch.Tensor]) -> list[torch.Tensor]:
    """Add features.

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
