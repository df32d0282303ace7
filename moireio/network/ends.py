"""From atoms to the ends of their edges, and back.

A feature of an atom is turned into the frames of all its edges, by a matrix for each. The weights
of a convolution are the same for all edges, so they are applied before, to the atom: then an edge
takes one product, of the rows of its matrix with those of the atom, and all edges of an atom make
one matrix product. Sums over the edges of an atom are the transpose.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

# Atoms with at least so large a part of the most edges are padded to that number.
FULL = 0.75
# Where edges lie in order already, runs without padding pay if they hold so many edges.
EDGES_OF_A_RUN = 512


@dataclass(frozen=True)
class Ends:
    """Some edges, sorted by one of their atoms; runs of atoms have equal numbers of edges.

    Parameters
    ----------
    atoms : (A,) tensor of int
        The atoms.
    runs : list of (int, int, int)
        First of `atoms`, end, and the number of slots that each has for its edges.
    place : (n,) tensor of int, or None
        Slot of every edge; None where edges lie in the order of the slots.
    source : (slots,) tensor of int, or None
        Edge of every slot; in an empty one, an edge of the same atom.
    frames : list of (slots, 1 or 2, width) tensors
        As `edge_frames` has them; zero for empty slots.
    """

    atoms: torch.Tensor
    runs: list[tuple[int, int, int]]
    place: torch.Tensor | None
    source: torch.Tensor | None
    frames: list[torch.Tensor]


@dataclass(frozen=True)
class Edges:
    """Some edges of a graph.

    Parameters
    ----------
    i, j : (n,) tensors of int
        Atoms: the one that receives, and the other.
    kind : (n,) tensor of int
        Pair of species, ``species_i * n_species + species_j``.
    distance : (n,) tensor
        Lengths, Å.
    frames : list of tensors or None
        From `edge_frames`; None for edges of length zero.
    envelope : (n, 1, 1) tensor or None
        What messages are multiplied with; None where that is 1.
    ends : tuple of Ends or None
        The edges sorted by i, and by j; None if they have length zero, or no layer is applied.
    """

    i: torch.Tensor
    j: torch.Tensor
    kind: torch.Tensor
    distance: torch.Tensor
    frames: list[torch.Tensor] | None
    envelope: torch.Tensor | None = None
    ends: tuple[Ends, Ends] | None = None

    def __len__(self) -> int:
        """Return the number of edges."""
        return len(self.i)

    @property
    def site(self) -> bool:
        """Whether they have length zero."""
        return self.frames is None


def sorted_ends(atom_of_edge: torch.Tensor, frames: list[torch.Tensor]) -> Ends:
    """Sort edges by one of their atoms.

    Parameters
    ----------
    atom_of_edge : (n,) tensor of int
        The atom of every edge.
    frames : list of tensors
        From `edge_frames`.

    Returns
    -------
    Ends
        The edges in slots.
    """
    device, n = atom_of_edge.device, len(atom_of_edge)
    of_edge = atom_of_edge.cpu().numpy()
    atoms, number, counts = np.unique(of_edge, return_inverse=True, return_counts=True)
    changes = np.flatnonzero(np.diff(counts)) + 1
    if n >= EDGES_OF_A_RUN * (len(changes) + 1) and (np.diff(of_edge) >= 0).all():
        bounds = [0, *changes.tolist(), len(atoms)]
        runs = [(one, two, int(counts[one])) for one, two in pairwise(bounds)]
        return Ends(torch.as_tensor(atoms, device=device), runs, None, None, frames)
    most_first = np.argsort(-counts, kind="stable")
    atoms, counts = atoms[most_first], counts[most_first]
    rank = np.argsort(most_first)[number]
    runs, first_slot, at, slots = [], np.empty(len(atoms), dtype=np.int64), 0, 0
    while at < len(atoms):
        size = int(counts[at])
        end = int(np.searchsorted(-counts, -FULL * size, side="right"))
        first_slot[at:end] = slots + size * np.arange(end - at)
        runs.append((at, end, size))
        at, slots = end, slots + size * (end - at)
    order = np.argsort(rank, kind="stable")
    before = np.cumsum(counts) - counts
    place = np.empty(n, dtype=np.int64)
    place[order] = first_slot[rank[order]] + np.arange(n) - before[rank[order]]
    atoms = torch.as_tensor(atoms, device=device)
    if slots == n and (place == np.arange(n)).all():
        return Ends(atoms, runs, None, None, frames)
    # an empty slot repeats the first edge of its atom
    sizes = np.concatenate([np.full(end - at, size) for at, end, size in runs])
    source = np.repeat(order[before], sizes)
    source[place] = np.arange(n)
    filled = np.zeros(slots, dtype=bool)
    filled[place] = True
    empty = torch.as_tensor(np.flatnonzero(~filled), device=device)
    place, source = (torch.as_tensor(x, device=device) for x in (place, source))
    moved = [f.index_select(0, source).index_fill_(0, empty, 0.0) for f in frames]
    return Ends(atoms, runs, place, source, moved)


def spread(
    of_first: list[torch.Tensor], of_second: list[torch.Tensor], ends: tuple[Ends, Ends]
) -> list[torch.Tensor]:
    """Return the sums of both atoms' features in the frames of their edges.

    Parameters
    ----------
    of_first, of_second : lists of (A, width, channels) tensors
        For the atoms of both ends and every |m|, as many components as the rows of frames have, or
        the first of these.
    ends : (Ends, Ends)
        The edges sorted by either atom.

    Returns
    -------
    list of (n · rows, channels) tensors
        For every |m| and edge the rows −m and m, or that of m = 0: sums over the components.
    """
    return list(_Spread.apply(ends, len(of_first), *of_first, *of_second))


def collect(
    of_edges: list[torch.Tensor], end: Ends, columns: list[tuple[int, int]]
) -> list[torch.Tensor]:
    """Return sums over the edges of atoms, the transpose of `spread` for one end.

    Parameters
    ----------
    of_edges : list of (n, rows, channels) tensors
        For every |m| the rows −m and m, or that of m = 0.
    end : Ends
        The edges.
    columns : list of (int, int)
        First and end of the components wanted.

    Returns
    -------
    list of (A, components, channels) tensors
        For `end.atoms`.
    """
    return list(_Collect.apply(end, columns, *of_edges))


def _spread(y: torch.Tensor, ends: Ends, order: int, columns: tuple[int, int]) -> torch.Tensor:
    frame = ends.frames[order]
    rows, channels = frame.shape[1], y.shape[2]
    flat = frame.flatten(0, 1)
    out = y.new_empty(len(flat), channels)
    at = 0
    for first, end, size in ends.runs:
        shape, stop = (end - first, size * rows), at + (end - first) * size * rows
        own = flat[at:stop].unflatten(0, shape)[:, :, slice(*columns)]
        torch.bmm(own, y[first:end], out=out[at:stop].unflatten(0, shape))
        at = stop
    return out if ends.place is None else _chosen(out, rows, ends.place)


def _collect(x: torch.Tensor, ends: Ends, order: int, columns: tuple[int, int]) -> torch.Tensor:
    frame = ends.frames[order]
    rows = frame.shape[1]
    flat = frame.flatten(0, 1)
    x = x.contiguous() if ends.source is None else _chosen(x, rows, ends.source)
    out = x.new_empty(len(ends.atoms), columns[1] - columns[0], x.shape[1])
    at = 0
    for first, end, size in ends.runs:
        shape, stop = (end - first, size * rows), at + (end - first) * size * rows
        own = flat[at:stop].unflatten(0, shape)[:, :, slice(*columns)]
        torch.bmm(own.transpose(1, 2), x[at:stop].unflatten(0, shape), out=out[first:end])
        at = stop
    return out


def _chosen(x: torch.Tensor, rows: int, numbers: torch.Tensor) -> torch.Tensor:
    """Return the rows of some edges."""
    channels = x.shape[1]
    out = x.new_empty(len(numbers) * rows, channels)
    whole = x.reshape(-1, rows * channels)
    torch.index_select(whole, 0, numbers, out=out.view(-1, rows * channels))
    return out


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, ends: tuple[Ends, Ends], count: int, *of_atoms: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        ctx.ends, ctx.count = ends, count
        ctx.columns = [y.shape[1] for y in of_atoms]
        out = []
        for m in range(count):
            total, other = (
                _spread(of_atoms[n * count + m], end, m, (0, ctx.columns[n * count + m]))
                for n, end in enumerate(ends)
            )
            out.append(total.add_(other))
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple:
        wanted = iter(ctx.columns)
        out = [
            _collect(gradient, end, m, (0, next(wanted)))
            for end in ctx.ends
            for m, gradient in enumerate(gradients)
        ]
        return None, None, *out


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, end: Ends, columns: list[tuple[int, int]], *of_edges: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        ctx.end, ctx.columns = end, columns
        return tuple(
            _collect(x.flatten(0, 1), end, m, own)
            for m, (x, own) in enumerate(zip(of_edges, columns, strict=True))
        )

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple:
        out = []
        for m, (gradient, own) in enumerate(zip(gradients, ctx.columns, strict=True)):
            rows = ctx.end.frames[m].shape[1]
            made = _spread(gradient.contiguous(), ctx.end, m, own)
            out.append(made.unflatten(0, (-1, rows)))
        return None, None, *out
