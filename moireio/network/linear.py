"""Linear maps of features: their weights in e3nn's layout, and as matrices.

Normalisation: with instruction k from n_k numbers into an entry of the output, e3nn since 0.4.2
divides by √(Σ_k n_k) ("element"), before by √(instructions · n_k) ("path").
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from moireio.network.irreps import Irreps, Layout
from moireio.network.wigner import coupling


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


class Sparse(torch.autograd.Function):
    """Product of a constant sparse matrix with a vector of weights."""

    @staticmethod
    def forward(ctx, weights, matrix, transposed):
        """Return ``matrix @ weights``."""
        ctx.transposed = transposed
        return torch.mv(matrix, weights)

    @staticmethod
    def backward(ctx, gradient):
        """Return the gradient of the weights."""
        return torch.mv(ctx.transposed, gradient.contiguous()), None, None


class Assembly(nn.Module):
    """Builds matrices out of weights: every element is a fixed sum of weights.

    Parameters
    ----------
    shapes : list of (int, int)
        Shapes of the matrices.
    entries : list of (int, rows, columns, weights, factor)
        Adds ``factor * weights`` at these places of a matrix; arrays of one shape.
    count : int
        Number of weights.
    """

    def __init__(self, shapes: list[tuple[int, int]], entries: list[tuple], count: int) -> None:
        super().__init__()
        self.shapes = shapes
        self.first = np.cumsum([0, *(a * b for a, b in shapes)]).tolist()
        rows, columns, values = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0)]
        for matrix, r, c, w, factor in entries:
            r, c, w = np.broadcast_arrays(r, c, w)
            rows.append((self.first[matrix] + r * shapes[matrix][1] + c).ravel())
            columns.append(w.ravel())
            values.append(np.full(w.size, factor))
        from scipy.sparse import csr_array

        place = np.concatenate(rows), np.concatenate(columns)
        forward = csr_array((np.concatenate(values), place), shape=(self.first[-1], count))
        # Not buffers: a change of precision starts from the exact numbers.
        self._matrices = [forward, csr_array(forward.T)]
        self._tensors: dict[tuple[torch.dtype, torch.device], list[torch.Tensor]] = {}

    def _sparse(self, dtype: torch.dtype, device: torch.device) -> list[torch.Tensor]:
        """Return the matrix and its transpose in some precision, made once."""
        key = dtype, device
        if key not in self._tensors:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
                self._tensors[key] = [
                    torch.sparse_csr_tensor(
                        torch.tensor(m.indptr),
                        torch.tensor(m.indices),
                        torch.tensor(m.data, dtype=dtype),
                        size=m.shape,
                        device=device,
                        check_invariants=False,
                    )
                    for m in self._matrices
                ]
        return self._tensors[key]

    def weights(self, matrices: list[torch.Tensor]) -> torch.Tensor:
        """Return the weights that give some matrices, if every element comes from one weight.

        Parameters
        ----------
        matrices : list of tensors
            Matrices of the shapes `shapes`.

        Returns
        -------
        (count,) tensor
            Weights, in the precision of the matrices.
        """
        place = self._matrices[0].tocoo()
        flat = torch.cat([m.reshape(-1) for m in matrices])
        out = flat.new_zeros(place.shape[1])
        values = flat[torch.tensor(place.row)] / torch.tensor(place.data).to(flat)
        return out.index_copy(0, torch.tensor(place.col, dtype=torch.long), values)

    def __call__(self, weights: torch.Tensor) -> list[torch.Tensor]:
        """Return the matrices.

        Parameters
        ----------
        weights : (count,) tensor
            The weights.

        Returns
        -------
        list of tensors
            Matrices of the shapes `shapes`.
        """
        flat = Sparse.apply(weights, *self._sparse(weights.dtype, weights.device))
        # one split: slices would each have a gradient as long as all of them
        pieces = flat.split(np.diff(self.first).tolist())
        return [one.reshape(shape) for one, shape in zip(pieces, self.shapes, strict=True)]


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
        """Return the maps of features in the frames of edges: for each kind, a list by |m|."""
        out = []
        for matrices in self.matrices():
            blocks = []
            for m in range(self.target.irreps.lmax + 1):
                diagonal = list(matrices[m:])
                rows = self.source.width(m) - sum(w.shape[0] for w in diagonal)
                columns = self.target.width(m) - sum(w.shape[1] for w in diagonal)
                if rows or columns:
                    diagonal.append(self.weight.new_zeros(rows, columns))
                blocks.append(torch.block_diag(*diagonal))
            out.append(blocks)
        return out

    def prepare(self) -> "PreparedLinear":
        """Return the map with its matrices."""
        return PreparedLinear(self)

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


class PreparedLinear:
    """The matrices of a `Linear`.

    Parameters
    ----------
    module : Linear
        The map.
    """

    def __init__(self, module: Linear) -> None:
        self._counts = module.target.per_degree
        self._matrices = module.matrices()
        self._offset = module.offset()

    def __call__(
        self,
        parts: list[torch.Tensor],
        kind: torch.Tensor | None = None,
        into: list[torch.Tensor] | None = None,
    ) -> list[torch.Tensor]:
        """Map features.

        Parameters
        ----------
        parts : list of (n, 2l + 1, channels) tensors
            Degree by degree, in any frame.
        kind : (n,) tensor of int, optional
            Set of weights for every feature.
        into : list of tensors, optional
            Features that the result is added to.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            Features of the list `irreps_out`.
        """
        if len(self._matrices) == 1:
            out = self._one(parts, self._matrices[0], into)
        else:
            n = parts[0].shape[0]
            out = [parts[0].new_zeros(n, 2 * d + 1, c) for d, c in enumerate(self._counts)]
            for number, matrices in enumerate(self._matrices):
                rows = torch.nonzero(kind == number)[:, 0]
                if len(rows):
                    chosen = [p.index_select(0, rows) for p in parts]
                    mapped = self._one(chosen, matrices)
                    out = [o.index_copy(0, rows, m) for o, m in zip(out, mapped, strict=True)]
            if into is not None:
                out = [o + i for o, i in zip(out, into, strict=True)]
        if self._offset is not None:
            out[0] = out[0] + self._offset
        return out

    def _one(
        self,
        parts: list[torch.Tensor],
        matrices: list[torch.Tensor],
        into: list[torch.Tensor] | None = None,
    ) -> list[torch.Tensor]:
        out = []
        for degree, count in enumerate(self._counts):
            if degree >= len(matrices):
                zero = parts[0].new_zeros(len(parts[0]), 2 * degree + 1, count)
                out.append(zero if into is None else into[degree])
            elif into is None:
                out.append(parts[degree] @ matrices[degree])
            else:
                added, features = into[degree].reshape(-1, count), parts[degree].flatten(0, 1)
                total = torch.addmm(added, features, matrices[degree])
                out.append(total.reshape(-1, 2 * degree + 1, count))
        return out


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
