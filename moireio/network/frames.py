"""Rotations into the frames of edges, in which the vector of the edge is the z axis."""

from collections.abc import Mapping

import torch

from moireio.network.wigner import about_y


def edge_frames(vectors: torch.Tensor, lmax: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Return the matrices that turn features into the frames of edges.

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
    list of (n, 2l + 1, 2l + 1) tensors
        D_l for l = 0 … lmax, with Y(R r) = D Y(r) and R the turn about z and then y that takes the
        vector to +z.
    """
    x, y, z = (vectors / torch.linalg.norm(vectors, dim=1, keepdim=True)).to(dtype).unbind(1)
    across = torch.hypot(x, y)
    safe = across > 0
    one = torch.ones_like(x)
    azimuth = torch.where(safe, x / torch.where(safe, across, one), one)
    turned = torch.where(safe, y / torch.where(safe, across, one), torch.zeros_like(y))
    # cos and sin of multiples of −β (about y) and −α (about z)
    about = _multiples(z, -across, lmax), _multiples(azimuth, -turned, lmax)
    out = []
    for l in range(lmax + 1):  # noqa: E741
        table = torch.as_tensor(about_y(l), dtype=dtype, device=vectors.device)
        cosine, sine = about[0]
        terms = torch.stack(
            [one, *(f for k in range(1, l + 1) for f in (cosine[k], sine[k]))], dim=1
        )
        tilt = (terms @ table).reshape(-1, 2 * l + 1, 2 * l + 1)
        cosine, sine = about[1]
        degrees = range(-l, l + 1)
        c = torch.stack([cosine[abs(m)] for m in degrees], dim=1)
        s = torch.stack([sine[m] if m >= 0 else -sine[-m] for m in degrees], dim=1)
        out.append(torch.addcmul(tilt * c[:, None], tilt.flip(2), s[:, None]))
    return out


def _multiples(
    cosine: torch.Tensor, sine: torch.Tensor, count: int
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return cos kθ and sin kθ for k = 0 … count, two lists."""
    c, s = [torch.ones_like(cosine)], [torch.zeros_like(sine)]
    for _ in range(count):
        c_next = cosine * c[-1] - sine * s[-1]
        s.append(sine * c[-1] + cosine * s[-1])
        c.append(c_next)
    return c, s


def into_frames(parts: list[torch.Tensor], frames: list[torch.Tensor] | None) -> list[torch.Tensor]:
    """Turn features into the frames of edges.

    Parameters
    ----------
    parts : list of (n, 2l + 1, channels) tensors
        Degree by degree.
    frames : list of tensors or None
        From `edge_frames`; None leaves them as they are.

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
        From `edge_frames`.

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


def by_order(parts: list[torch.Tensor]) -> torch.Tensor:
    """Rearrange features from degrees to orders, m = 0, +1, −1, +2 and so on.

    Parameters
    ----------
    parts : list of (n, 2l + 1, channels) tensors
        Degree by degree.

    Returns
    -------
    (n, dim) tensor
        In the order of `Layout.slices`; channels of low degrees first.
    """
    # Views made at once: the gradient of a single one would be a tensor full of zeros.
    rows = [part.unbind(1) for part in parts]
    pieces = [row[degree] for degree, row in enumerate(rows)]
    for m in range(1, len(parts)):
        for signed in (m, -m):
            pieces += [rows[degree][degree + signed] for degree in range(m, len(parts))]
    return torch.cat(pieces, dim=1)


def by_degree(orders: Mapping[int, torch.Tensor], counts: list[int]) -> list[torch.Tensor]:
    """Rearrange features from orders to degrees, the inverse of `by_order`.

    Parameters
    ----------
    orders : dict of int to (n, width) tensor
        By signed m.
    counts : list of int
        Channels of each degree.

    Returns
    -------
    list of (n, 2l + 1, channels) tensors
        Degree by degree.
    """
    pieces = {m: x.split(counts[abs(m) :], dim=1) for m, x in orders.items()}
    return [
        torch.stack([pieces[m][degree - abs(m)] for m in range(-degree, degree + 1)], dim=1)
        if degree
        else pieces[0][0][:, None]
        for degree in range(len(counts))
    ]
