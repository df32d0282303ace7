"""Linear maps of features: their weights in e3nn's layout, and as matrices.

Normalisation: with instruction k from n_k numbers into an entry of the output, e3nn since 0.4.2
divides by √(Σ_k n_k) ("element"), before by √(instructions · n_k) ("path").
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from moireio.network.assembly import Assembly
from moireio.network.irreps import Irreps, Layout

# Elements of a block that several degrees share: below, a product costs less than its call.
SHARED = 64 * 64


@dataclass(frozen=True)
class Convention:
    """Rules that differ between versions of e3nn.

    Parameters
    ----------
    path_norm : bool
        Path normalisation by instruction (before 0.4.2), not by element.
    old_signs : bool
        Signs of the coupling coefficients before 0.5.
    """

    path_norm: bool = False
    old_signs: bool = False


# The three generations, and the newest release of each.
CONVENTIONS = {
    "0.3.5": Convention(True, True),
    "0.4.4": Convention(False, True),
    "0.5": Convention(False, False),
}


def path_weights(instructions: list[tuple[int, int]], convention: Convention) -> list[float]:
    """Return the factor of every instruction.

    Parameters
    ----------
    instructions : list of (key, int)
        Output entry and n_k.
    convention : Convention
        Rules of e3nn, here the normalisation.

    Returns
    -------
    list of float
        One factor for each.
    """
    total, count = {}, {}
    for out, n in instructions:
        total[out] = total.get(out, 0) + n
        count[out] = count.get(out, 0) + 1
    if convention.path_norm:
        return [1 / np.sqrt(count[out] * n) for out, n in instructions]
    return [1 / np.sqrt(total[out]) for out, _ in instructions]


class Block(NamedTuple):
    """A block of a matrix.

    Parameters
    ----------
    row, column : int
        Where it begins.
    matrix : (rows, columns) tensor
        Its elements.
    """

    row: int
    column: int
    matrix: torch.Tensor


class Linear(nn.Module):
    """e3nn's Linear: mixes the channels of equal representations.

    Parameters
    ----------
    irreps_in, irreps_out : Irreps
        The two lists.
    convention : Convention
        Rules of e3nn, here the normalisation.
    bias : bool
        Add a bias to even scalars.
    kinds : int
        Number of sets of weights; one set is chosen for every feature. This is the product with a
        one-hot vector of scalars (e3nn's FullyConnectedTensorProduct).
    """

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_out: Irreps,
        convention: Convention,
        bias: bool = False,
        kinds: int = 1,
    ) -> None:
        super().__init__()
        self.source, self.target = Layout(irreps_in), Layout(irreps_out)
        self.kinds = kinds
        paths = [
            (i, o)
            for i, a in enumerate(irreps_in)
            for o, b in enumerate(irreps_out)
            if a.kind == b.kind
        ]
        factors = path_weights([(o, irreps_in[i].mul * kinds) for i, o in paths], convention)
        degrees = min(irreps_in.lmax, irreps_out.lmax) + 1
        shapes, entries, count = [], [], 0
        for _ in range(kinds):
            for l in range(degrees):  # noqa: E741
                shapes.append((self.source.per_degree[l], self.target.per_degree[l]))
        for (i, o), factor in zip(paths, factors, strict=True):
            a, b = irreps_in[i], irreps_out[o]
            number = count + np.arange(a.mul * kinds * b.mul).reshape(a.mul, kinds, b.mul)
            rows = self.source.entry_starts[i] + np.arange(a.mul)[:, None]
            columns = self.target.entry_starts[o] + np.arange(b.mul)
            for kind in range(kinds):
                entries.append((kind * degrees + a.l, rows, columns, number[:, kind], factor))
            count += number.size
        self.degrees = degrees
        self.assembly = Assembly(shapes, entries, count)
        self.weight = nn.Parameter(torch.randn(count))
        even = [
            np.arange(self.target.entry_starts[o], self.target.entry_starts[o] + b.mul)
            for o, b in enumerate(irreps_out)
            if b.kind == (0, 1)
        ]
        places = np.concatenate(even) if even and bias else np.zeros(0, dtype=np.int64)
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.bias = nn.Parameter(torch.zeros(len(places)))

    def matrices(self) -> list[list[torch.Tensor]]:
        """Return the matrices, for each kind a list by degree."""
        flat = self.assembly(self.weight)
        return [flat[n : n + self.degrees] for n in range(0, len(flat), self.degrees)]

    @torch.no_grad()
    def set_matrices(self, matrices: list[list[torch.Tensor]]) -> None:
        """Choose the weights so that `matrices` returns these.

        Parameters
        ----------
        matrices : list of lists of tensors
            For each kind, degree by degree.
        """
        flat = [matrix for by_degree in matrices for matrix in by_degree]
        self.weight.copy_(self.assembly.weights(flat))

    def offset(self) -> torch.Tensor | None:
        """Return the bias of all scalars, (channels with l = 0,), or None."""
        if len(self.places) == 0:
            return None
        zero = self.bias.new_zeros(self.target.per_degree[0])
        return zero.index_copy(0, self.places, self.bias)

    def by_order(self) -> list[list[torch.Tensor]]:
        """Return the maps of features in the frames of edges: for each kind, order by order."""
        out = []
        for matrices in self.matrices():
            blocks = [matrices[0]]
            shapes = zip(self.source.order_shapes[1:], self.target.order_shapes[1:], strict=False)
            for m, ((_, rows), (_, columns)) in enumerate(shapes):
                if m == 1:  # as m = 0
                    blocks.append(blocks[-1])
                    continue
                diagonal = list(matrices[max(1, m) :])
                rows -= sum(w.shape[0] for w in diagonal)
                columns -= sum(w.shape[1] for w in diagonal)
                if rows or columns:
                    diagonal.append(self.weight.new_zeros(rows, columns))
                blocks.append(_diagonal(diagonal))
            out.append(blocks)
        return out

    def blocks_by_order(self) -> list[list[list[Block]]]:
        """Return the maps in the frames of edges as blocks: for each kind, order by order.

        Degrees with few channels share a block, which takes one product, with zeros in it.
        """
        shapes = list(zip(self.source.order_shapes, self.target.order_shapes, strict=False))
        return [
            [
                [Block(0, 0, matrices[0])],
                *(self._blocks(matrices, max(1, m)) for m in range(len(shapes) - 1)),
            ]
            for matrices in self.matrices()
        ]

    def _blocks(self, matrices: list[torch.Tensor], low: int) -> list[Block]:
        out, row, column = [], 0, 0
        group: list[torch.Tensor] = []
        for matrix in matrices[low:]:
            rows, columns = (sum(w.shape[n] for w in [*group, matrix]) for n in range(2))
            if group and rows * columns > SHARED:
                out.append(Block(row, column, _diagonal(group)))
                row, column = row + out[-1].matrix.shape[0], column + out[-1].matrix.shape[1]
                group = []
            group.append(matrix)
        return [*out, Block(row, column, _diagonal(group))] if group else out

    def prepare(self, orders: bool = False) -> "PreparedLinear":
        """Return the map with its matrices, for features by degree or order by order."""
        return PreparedLinear(self, orders)

    def forward(
        self, parts: list[torch.Tensor], kind: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """Map features, as `PreparedLinear` does.

        Parameters
        ----------
        parts : list of (n, 2l + 1, channels) tensors
            Degree by degree.
        kind : (n,) tensor of int, optional
            Set of weights for every feature.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            Features of the list `irreps_out`.
        """
        return self.prepare()(parts, kind)


def _diagonal(matrices: list[torch.Tensor]) -> torch.Tensor:
    return matrices[0] if len(matrices) == 1 else torch.block_diag(*matrices)


# by the tensor of kinds, which stays as it is: finding it anew would make a GPU wait
_SORTED: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def _sorted_kinds(kind: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Return the order that sorts features by kind, its inverse, and how many each kind has."""
    found = _SORTED.get(kind)
    if found is None or len(found[2]) != count:
        order = torch.argsort(kind, stable=True)
        counts = torch.bincount(kind, minlength=count).tolist()
        found = _SORTED[kind] = order, torch.argsort(order), counts
    return found


class PreparedLinear:
    """The matrices of a `Linear`.

    Parameters
    ----------
    module : Linear
        The map.
    orders : bool
        Map features order by order, in the frames of edges, not degree by degree.
    """

    def __init__(self, module: Linear, orders: bool = False) -> None:
        degrees = [(2 * degree + 1, count) for degree, count in enumerate(module.target.per_degree)]
        self._shapes = module.target.order_shapes if orders else degrees
        if orders:
            self._blocks = module.blocks_by_order()
        else:
            self._blocks = [[[Block(0, 0, w)] for w in of_kind] for of_kind in module.matrices()]
        self._offset = module.offset()

    def __call__(
        self, parts: list[torch.Tensor], kind: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """Map features.

        Parameters
        ----------
        parts : list of (n, components, channels) tensors
            Degree by degree in any frame, or order by order.
        kind : (n,) tensor of int, optional
            Set of weights for every feature.

        Returns
        -------
        list of (n, components, channels) tensors
            Features of the list `irreps_out`.
        """
        return self._shaped(self._mapped(parts, kind), len(parts[0]))

    def plus(
        self,
        parts: list[torch.Tensor],
        other: "PreparedLinear",
        of_other: list[torch.Tensor],
        kind: torch.Tensor,
    ) -> list[torch.Tensor]:
        """Return the sum of two maps of features into the same list.

        Parameters
        ----------
        parts : list of tensors
            What this maps.
        other : PreparedLinear
            The other map.
        of_other : list of tensors
            What that maps.
        kind : (n,) tensor of int
            Set of weights of the other for every feature.

        Returns
        -------
        list of (n, components, channels) tensors
            The sums.
        """
        mine = self._mapped(parts)
        if len(other._blocks) == 1:
            sums = other._one(of_other, other._blocks[0], mine)
        else:
            theirs = other._mapped(of_other, kind)
            sums = [
                a if b is None else b if a is None else a.add_(b)
                for a, b in zip(mine, theirs, strict=True)
            ]
        return self._shaped(sums, len(parts[0]))

    def _shaped(self, flat: list[torch.Tensor | None], n: int) -> list[torch.Tensor]:
        like = self._blocks[0][0][0].matrix
        return [
            like.new_zeros(n, *shape) if x is None else x.view(n, *shape)
            for x, shape in zip(flat, self._shapes, strict=True)
        ]

    def _mapped(
        self, parts: list[torch.Tensor], kind: torch.Tensor | None = None
    ) -> list[torch.Tensor | None]:
        """Return (n · components, channels) tensors; None where nothing comes in."""
        if len(self._blocks) == 1:
            out = self._one(parts, self._blocks[0])
        else:
            out = self._by_kind(parts, kind)
        if self._offset is not None:
            out[0] = out[0].add_(self._offset)
        return out

    def _by_kind(self, parts: list[torch.Tensor], kind: torch.Tensor) -> list[torch.Tensor | None]:
        """Map every feature by the weights of its kind."""
        order, back, counts = _sorted_kinds(kind, len(self._blocks))
        chosen = [Permuted.apply(p, order, back).split(counts) for p in parts]
        made = [
            self._one([c[number] for c in chosen], blocks)
            for number, blocks in enumerate(self._blocks)
            if counts[number] or number == 0
        ]
        out: list[torch.Tensor | None] = []
        for pieces, (rows, _) in zip(zip(*made, strict=True), self._shapes, strict=True):
            if pieces[0] is None:
                out.append(None)
                continue
            joined = torch.cat(pieces).view(len(kind), rows, -1)
            out.append(Permuted.apply(joined, back, order).flatten(0, 1))
        return out

    def _one(
        self,
        parts: list[torch.Tensor],
        blocks: list[list[Block]],
        into: list[torch.Tensor | None] | None = None,
    ) -> list[torch.Tensor | None]:
        out = [None] * len(self._shapes) if into is None else list(into)
        for place, (part, own) in enumerate(zip(parts, blocks, strict=False)):
            x, matrix = part.flatten(0, 1), own[0].matrix
            if matrix.shape != (x.shape[1], self._shapes[place][1]):
                where = [(b.row, b.column) for b in own]
                columns = self._shapes[place][1]
                out[place] = _Diagonal.apply(
                    out[place], x, columns, where, *(b.matrix for b in own)
                )
            else:
                out[place] = x @ matrix if out[place] is None else out[place].addmm_(x, matrix)
        return out


class _Diagonal(torch.autograd.Function):
    """Product with a matrix of blocks on its diagonal, added to another tensor if there is one."""

    @staticmethod
    def forward(ctx, into, x, columns, where, *matrices):
        """Return ``into + x @ blocks``, in place."""
        ctx.where, ctx.added = where, into is not None
        ctx.save_for_backward(x, *matrices)
        out = x.new_zeros(x.shape[0], columns) if into is None else into
        for (row, column), matrix in zip(where, matrices, strict=True):
            own, given = (
                out[:, column : column + matrix.shape[1]],
                x[:, row : row + matrix.shape[0]],
            )
            own.addmm_(given, matrix, beta=int(ctx.added))
        if ctx.added:
            ctx.mark_dirty(into)
        return out

    @staticmethod
    def backward(ctx, gradient):
        """Return the gradients of both tensors and of the blocks."""
        x, *matrices = ctx.saved_tensors
        of_x, of_matrices = torch.zeros_like(x), []
        for (row, column), matrix in zip(ctx.where, matrices, strict=True):
            own, rows = (
                gradient[:, column : column + matrix.shape[1]],
                slice(row, row + len(matrix)),
            )
            of_x[:, rows].addmm_(own, matrix.T, beta=0)
            of_matrices.append(x[:, rows].T @ own)
        return gradient if ctx.added else None, of_x, None, None, *of_matrices


class Permuted(torch.autograd.Function):
    """Rows of a tensor in another order."""

    @staticmethod
    def forward(ctx, x, order, back):
        """Return ``x[order]``; `back` is the inverse of `order`."""
        ctx.back = back
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx, gradient):
        """Return the gradient of the rows."""
        return gradient.index_select(0, ctx.back), None, None
