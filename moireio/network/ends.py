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
import numpy.typing as npt
import torch

# Atoms with at least so large a part of the most edges are padded to that number.
FULL = 0.75
# Where edges lie in order already, runs without padding pay if they hold so many edges.
EDGES_OF_A_RUN = 128


@dataclass(frozen=True)
class Ends:
    """Some edges, sorted by one of their atoms; runs of atoms have equal numbers of edges.

    Parameters
    ----------
    atoms : (A,) tensor of int
        The atoms.
    runs : list of (int, int)
        First of `atoms`, and end, that have equal numbers of slots for their edges.
    place : (n,) tensor of int, or None
        Slot of every edge; None where edges lie in the order of the slots.
    source : (slots,) tensor of int, or None
        Edge of every slot; in an empty one, an edge of the same atom.
    frames : list of lists of (atoms, slots · rows, width) tensors
        For every |m| and run the rows −m and m of frames, or that of m = 0, as `edge_frames` has
        them; zero for empty slots.
    """

    atoms: torch.Tensor
    runs: list[tuple[int, int]]
    place: torch.Tensor | None
    source: torch.Tensor | None
    frames: list[list[torch.Tensor]]


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
        sizes = [int(counts[one]) for one in bounds[:-1]]
        return _ends(atoms, list(pairwise(bounds)), sizes, None, None, frames)
    most_first = np.argsort(-counts, kind="stable")
    atoms, counts = atoms[most_first], counts[most_first]
    rank = np.argsort(most_first)[number]
    runs, sizes, first_slot, at, slots = [], [], np.empty(len(atoms), dtype=np.int64), 0, 0
    while at < len(atoms):
        size = int(counts[at])
        end = int(np.searchsorted(-counts, -FULL * size, side="right"))
        first_slot[at:end] = slots + size * np.arange(end - at)
        runs.append((at, end))
        sizes.append(size)
        at, slots = end, slots + size * (end - at)
    order = np.argsort(rank, kind="stable")
    before = np.cumsum(counts) - counts
    place = np.empty(n, dtype=np.int64)
    place[order] = first_slot[rank[order]] + np.arange(n) - before[rank[order]]
    if slots == n and (place == np.arange(n)).all():
        return _ends(atoms, runs, sizes, None, None, frames)
    # an empty slot repeats the first edge of its atom
    source = np.repeat(order[before], np.repeat(sizes, [end - at for at, end in runs]))
    source[place] = np.arange(n)
    filled = np.zeros(slots, dtype=bool)
    filled[place] = True
    empty = torch.as_tensor(np.flatnonzero(~filled), device=device)
    place, source = (torch.as_tensor(x, device=device) for x in (place, source))
    moved = [f.index_select(0, source).index_fill_(0, empty, 0.0) for f in frames]
    return _ends(atoms, runs, sizes, place, source, moved)


def _ends(
    atoms: npt.NDArray[np.integer],
    runs: list[tuple[int, int]],
    sizes: list[int],
    place: torch.Tensor | None,
    source: torch.Tensor | None,
    frames: list[torch.Tensor],
) -> Ends:
    slots = [(end - at) * size for (at, end), size in zip(runs, sizes, strict=True)]
    by_run = [
        [
            own.reshape(end - at, -1, own.shape[2])
            for own, (at, end) in zip(f.split(slots), runs, strict=True)
        ]
        for f in frames
    ]
    atoms = torch.as_tensor(atoms, device=frames[0].device)
    return Ends(atoms, runs, place, source, by_run)


def spread(
    of_first: list[torch.Tensor],
    of_second: list[torch.Tensor],
    ends: tuple[Ends, Ends],
    turned: frozenset[int] = frozenset(),
) -> list[torch.Tensor]:
    """Return the sums of both atoms' features in the frames of their edges.

    Parameters
    ----------
    of_first, of_second : lists of (A, width, channels) tensors
        For the atoms of both ends and every |m|, as many components as the rows of frames have, or
        the first of these.
    ends : (Ends, Ends)
        The edges sorted by either atom.
    turned : frozenset of int
        Orders |m| with twice as many components: the second half goes with the opposite sign of m,
        minus row m to row −m and row −m to row m.

    Returns
    -------
    list of (n · rows, channels) tensors
        For every |m| and edge the rows −m and m, or that of m = 0: sums over the components.
    """
    return list(_Spread.apply(ends, turned, len(of_first), *of_first, *of_second))


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


def _operand(frame: torch.Tensor, columns: tuple[int, int], turned: bool) -> torch.Tensor:
    """Return columns of the frames of a run; turned ones beside them where these are wanted."""
    own = frame[:, :, columns[0] : columns[1]]
    return torch.cat([own, with_turned_sign(own)], dim=2) if turned else own


def with_turned_sign(x: torch.Tensor) -> torch.Tensor:
    """Return rows with the opposite sign of m.

    Parameters
    ----------
    x : (n, rows, width) tensor
        Rows −m and m in turns.

    Returns
    -------
    (n, rows, width) tensor
        Minus row m instead of row −m, and row −m instead of row m.
    """
    pairs = x.unflatten(1, (-1, 2))
    return torch.stack([-pairs[:, :, 1], pairs[:, :, 0]], dim=2).view(x.shape)


def _spread(
    y: torch.Tensor,
    ends: Ends,
    order: int,
    columns: tuple[int, int],
    turned: bool = False,
    total: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return rows for all edges; or add them to `total`."""
    frames, channels = ends.frames[order], y.shape[2]
    counts = [own.shape[0] * own.shape[1] for own in frames]
    in_place = total is not None and ends.place is None
    out, at = total if in_place else y.new_empty(sum(counts), channels), 0
    for own, (first, end), count in zip(frames, ends.runs, counts, strict=True):
        into = out[at : at + count].view(own.shape[0], own.shape[1], channels)
        if in_place:
            into.baddbmm_(_operand(own, columns, turned), y[first:end])
        else:
            torch.bmm(_operand(own, columns, turned), y[first:end], out=into)
        at += count
    if ends.place is not None:
        out = _chosen(out, 2 if order else 1, ends.place)
    return out if total is None or in_place else total.add_(out)


def _collect(
    x: torch.Tensor, ends: Ends, order: int, columns: tuple[int, int], turned: bool = False
) -> torch.Tensor:
    channels, width = x.shape[1], (columns[1] - columns[0]) * (2 if turned else 1)
    x = x.contiguous() if ends.source is None else _chosen(x, 2 if order else 1, ends.source)
    out, at = x.new_empty(ends.atoms.shape[0], width, channels), 0
    for own, (first, end) in zip(ends.frames[order], ends.runs, strict=True):
        count = own.shape[0] * own.shape[1]
        given = x[at : at + count].view(own.shape[0], own.shape[1], channels)
        torch.bmm(_operand(own, columns, turned).transpose(1, 2), given, out=out[first:end])
        at += count
    return out


def _chosen(x: torch.Tensor, rows: int, numbers: torch.Tensor) -> torch.Tensor:
    """Return the rows of some edges."""
    channels = x.shape[1]
    out = x.new_empty(numbers.shape[0] * rows, channels)
    whole = x.reshape(-1, rows * channels)
    torch.index_select(whole, 0, numbers, out=out.view(-1, rows * channels))
    return out


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        ends: tuple[Ends, Ends],
        turned: frozenset[int],
        count: int,
        *of_atoms: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        ctx.ends, ctx.turned, out = ends, turned, []
        ctx.columns = [
            (0, y.shape[1] // (2 if n % count in turned else 1)) for n, y in enumerate(of_atoms)
        ]
        for m in range(count):
            total = None
            for n in (1, 0):  # edges mostly lie in the order of their first atoms
                at = n * count + m
                total = _spread(of_atoms[at], ends[n], m, ctx.columns[at], m in turned, total)
            out.append(total)
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple:
        wanted = iter(ctx.columns)
        out = [
            _collect(gradient, end, m, next(wanted), m in ctx.turned)
            for end in ctx.ends
            for m, gradient in enumerate(gradients)
        ]
        return None, None, None, *out


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
            made = _spread(gradient.contiguous(), ctx.end, m, own)
            out.append(made.view(-1, 2 if m else 1, made.shape[1]))
        return None, None, *out
