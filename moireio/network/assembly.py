"""Matrices whose elements are fixed sums of weights."""

import warnings

import numpy as np
import torch
from torch import nn


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
                for text in ("Sparse CSR tensor support is in beta", "Sparse invariant checks are"):
                    warnings.filterwarnings("ignore", text)
                self._tensors[key] = [
                    torch.sparse_csr_tensor(
                        torch.tensor(m.indptr, device=device),
                        torch.tensor(m.indices, device=device),
                        torch.tensor(m.data, dtype=dtype, device=device),
                        size=m.shape,
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
