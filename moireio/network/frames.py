"""Rotations into the frames of edges, in which the vector of the edge is the z axis."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from moireio.network.wigner import about_y


def edge_frames(vectors: torch.Tensor, lmax: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Return the matrices that turn features into the frames of edges, order by order.

    Parameters
    ----------
    vectors : (n, 3) tensor
        From the first atom to the second, not zero, Å.
    lmax : int
        Highest degree.
    dtype : torch.dtype
        Type of the result.

    Returns
    -------
    list of (n, 1 or 2, width) tensors
        For |m| = 0 … lmax the rows −m and m of D_l, one degree l = |m| … lmax after the other, with
        Y(R r) = D Y(r) and R the turn about z and then y that takes the vector to +z.
    """
    x, y, z = (vectors / torch.linalg.norm(vectors, dim=1, keepdim=True)).to(dtype).unbind(1)
    across = torch.hypot(x, y)
    safe = across > 0
    one = torch.ones_like(x)
    azimuth = torch.where(safe, x / torch.where(safe, across, one), one)
    turned = torch.where(safe, y / torch.where(safe, across, one), torch.zeros_like(y))
    # 1, cos and sin of multiples of −β (about y) and −α (about z)
    tilt, turn = _multiples(z, -across, lmax), _multiples(azimuth, -turned, lmax)
    products = (tilt[:, :, None] * turn[:, None]).flatten(1)
    out = []
    for m, table in enumerate(_rows_of_frames(lmax)):
        rows = products @ torch.as_tensor(table, dtype=dtype, device=vectors.device)
        out.append(rows.reshape(len(vectors), 2 if m else 1, table.shape[1] // (2 if m else 1)))
    return out


@lru_cache(maxsize=32)
def _rows_of_frames(lmax: int) -> list[npt.NDArray[np.float64]]:
    """Return the matrices from products of cosines and sines to frames.

    Returns
    -------
    list of ((2 lmax + 1)², n) arrays
        For every |m|: rows are products of the terms of `about_y` with those about z.
    """
    count = 2 * lmax + 1
    out = []
    for order in range(lmax + 1):
        pieces = []
        for m in (-order, order) if order else (0,):
            for degree in range(order, lmax + 1):
                n = 2 * degree + 1
                tilt = about_y(degree).reshape(n, n, n)[:, degree + m]
                piece = np.zeros((count, count, n))
                for column in range(-degree, degree + 1):
                    cosine = max(0, 2 * abs(column) - 1)
                    piece[:n, cosine, degree + column] = tilt[:, degree + column]
                    if column:
                        sine = np.sign(column) * tilt[:, degree - column]
                        piece[:n, 2 * abs(column), degree + column] = sine
                pieces.append(piece.reshape(count**2, n))
        out.append(np.concatenate(pieces, axis=1))
    return out


def _multiples(cosine: torch.Tensor, sine: torch.Tensor, count: int) -> torch.Tensor:
    """Return 1 and cos kθ, sin kθ for k = 1 … count, (n, 2 count + 1)."""
    terms, c, s = [torch.ones_like(cosine)], cosine, sine
    for _ in range(count):
        terms += [c, s]
        c, s = cosine * c - sine * s, sine * c + cosine * s
    return torch.stack(terms, dim=1)


def frames_by_degree(frames: list[torch.Tensor] | None) -> list[torch.Tensor] | None:
    """Return the matrices of frames degree by degree.

    Parameters
    ----------
    frames : list of tensors or None
        From `edge_frames`.

    Returns
    -------
    list of (n, 2l + 1, 2l + 1) tensors, or None
        D_l for l = 0 … lmax.
    """
    if frames is None:
        return None
    out = []
    for degree in range(len(frames)):
        rows = {}
        for m in range(degree + 1):
            at = degree**2 - m**2
            rows[-m] = frames[m][:, :1, at : at + 2 * degree + 1]
            rows[m] = frames[m][:, -1:, at : at + 2 * degree + 1]
        out.append(torch.cat([rows[m] for m in range(-degree, degree + 1)], dim=1))
    return out


def into_frames(parts: list[torch.Tensor], frames: list[torch.Tensor] | None) -> list[torch.Tensor]:
    """Turn features into the frames of edges.

    Parameters
    ----------
    parts : list of (n, 2l + 1, channels) tensors
        Degree by degree.
    frames : list of tensors or None
        From `frames_by_degree`; None leaves them as they are.

    Returns
    -------
    list of (n, 2l + 1, channels) tensors
        The same, turned.
    """
    if frames is None:
        return parts
    return [p if p.shape[1] == 1 else torch.bmm(D, p) for p, D in zip(parts, frames, strict=False)]


def out_of_frames(
    parts: list[torch.Tensor], frames: list[torch.Tensor] | None
) -> list[torch.Tensor]:
    """Turn features back, the inverse of `into_frames`.

    Parameters
    ----------
    parts : list of (n, 2l + 1, channels) tensors
        Degree by degree.
    frames : list of tensors or None
        From `frames_by_degree`.

    Returns
    -------
    list of (n, 2l + 1, channels) tensors
        The same, turned.
    """
    if frames is None:
        return parts
    return [
        p if p.shape[1] == 1 else torch.bmm(D.transpose(1, 2), p)
        for p, D in zip(parts, frames, strict=False)
    ]


def by_order(parts: list[torch.Tensor]) -> list[torch.Tensor]:
    """Rearrange features from degrees to orders.

    Parameters
    ----------
    parts : list of (n, 2l + 1, channels) tensors
        Degree by degree.

    Returns
    -------
    list of (n, 1 or 2, width) tensors
        The scalars; then of all l ≥ 1 the components m = 0, and −m and m for m = 1, 2 and so on.
        Channels of low degrees come first.
    """
    out = [parts[0]]
    for m in range(len(parts) if len(parts) > 1 else 0):
        rows = [
            parts[n][:, n - m : n + m + 1 : max(1, 2 * m)] for n in range(max(1, m), len(parts))
        ]
        out.append(torch.cat(rows, dim=2))
    return out


def by_degree(orders: list[torch.Tensor], counts: list[int]) -> list[torch.Tensor]:
    """Rearrange features from orders to degrees, the inverse of `by_order`.

    Parameters
    ----------
    orders : list of (n, 1 or 2, width) tensors
        Order by order.
    counts : list of int
        Channels of each degree.

    Returns
    -------
    list of (n, 2l + 1, channels) tensors
        Degree by degree.
    """
    pieces = [x.split(counts[max(1, m) :], dim=2) for m, x in enumerate(orders[1:])]
    out = [orders[0]]
    for degree in range(1, len(counts)):
        own = [pieces[m][degree - max(1, m)] for m in range(degree + 1)]
        below = [x[:, :1] for x in own[:0:-1]]
        out.append(torch.cat([*below, own[0], *(x[:, 1:] for x in own[1:])], dim=1))
    return out
