"""Lists of irreducible representations of O(3), and where their channels lie in memory."""

import re
import reprlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from moireio.errors import MoireioError

_TERM = re.compile(r"(?:(\d{1,9})x)?(\d{1,9})([eo])", re.ASCII)


class Irrep(NamedTuple):
    """Some channels of one representation.

    Parameters
    ----------
    mul : int
        How many channels.
    l : int
        Degree.
    p : {1, -1}
        Parity.
    """

    mul: int
    l: int  # noqa: E741
    p: int

    @property
    def kind(self) -> tuple[int, int]:
        """(l, p)."""
        return self.l, self.p

    def __str__(self) -> str:
        """Return a text such as ``32x1o``."""
        return f"{self.mul}x{self.l}{'e' if self.p == 1 else 'o'}"


class Irreps(tuple[Irrep, ...]):
    """A list of representations, as e3nn writes them: ``64x0e+32x1o``."""

    @classmethod
    def parse(cls, text: str) -> "Irreps":
        """Read a list.

        Parameters
        ----------
        text : str
            Such as ``64x0e+32x1o+1e``.

        Returns
        -------
        Irreps
            Its entries in order.

        Raises
        ------
        MoireioError
            If it is not a list of representations.
        """
        entries = []
        for term in text.replace(" ", "").split("+"):
            match = _TERM.fullmatch(term)
            if not match:
                shown = reprlib.repr(term)
                raise MoireioError(f"{shown} is not a representation", remedy="as in 64x0e+32x1o")
            mul, l, p = match.groups()  # noqa: E741
            entries.append(Irrep(int(mul or 1), int(l), 1 if p == "e" else -1))
        return cls(entries)

    def __str__(self) -> str:
        """Return the text of the list."""
        return "+".join(str(e) for e in self)

    def __repr__(self) -> str:
        """Return the text of the list."""
        return f"<{self}>"

    @property
    def channels(self) -> int:
        """Number of channels."""
        return sum(e.mul for e in self)

    @property
    def dim(self) -> int:
        """Number of components."""
        return sum(e.mul * (2 * e.l + 1) for e in self)

    @property
    def lmax(self) -> int:
        """Highest degree."""
        return max((e.l for e in self), default=0)

    def sort(self) -> tuple["Irreps", list[int]]:
        """Return the list sorted by degree, odd before even, otherwise in order.

        Returns
        -------
        irreps : Irreps
            Sorted.
        order : list of int
            Entry n of the result is entry ``order[n]`` of this list.
        """
        order = sorted(range(len(self)), key=lambda n: self[n].kind)
        return Irreps(self[n] for n in order), order

    def simplify(self) -> "Irreps":
        """Return the list with equal neighbours merged and empty entries left out.

        Returns
        -------
        Irreps
            The same channels.
        """
        out: list[Irrep] = []
        for entry in self:
            if entry.mul == 0:
                continue
            if out and out[-1].kind == entry.kind:
                out[-1] = Irrep(out[-1].mul + entry.mul, *entry.kind)
            else:
                out.append(entry)
        return Irreps(out)


def reachable(one: Irreps, two: Irreps, wanted: tuple[int, int]) -> bool:
    """Return whether a product of two lists contains a representation.

    Parameters
    ----------
    one, two : Irreps
        The factors.
    wanted : (int, int)
        (l, p).

    Returns
    -------
    bool
        Whether it does.
    """
    l, p = wanted  # noqa: E741
    return any(
        a.p * b.p == p and abs(a.l - b.l) <= l <= a.l + b.l and a.mul * b.mul
        for a in one
        for b in two
    )


@dataclass(frozen=True)
class Layout:
    """How features of a list lie in memory.

    Channels are sorted by degree, otherwise in the order of the list. Features of atoms are stored
    degree by degree, inside a degree component by component (m = −l … l). Features of edges, in
    the frames of these, are stored order by order: the scalars, of all l ≥ 1 the components m = 0,
    then −m and m for m = 1, 2, … So a map that is the same for −m and m is one matrix product.

    Parameters
    ----------
    irreps : Irreps
        The list.
    """

    irreps: Irreps

    @cached_property
    def per_degree(self) -> list[int]:
        """Channels of each degree 0 … lmax, a list."""
        out = [0] * (self.irreps.lmax + 1)
        for entry in self.irreps:
            out[entry.l] += entry.mul
        return out

    @cached_property
    def entry_starts(self) -> list[int]:
        """First channel of every entry among those of its degree, a list."""
        seen, out = [0] * (self.irreps.lmax + 1), []
        for entry in self.irreps:
            out.append(seen[entry.l])
            seen[entry.l] += entry.mul
        return out

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """Place in the list of every channel here, an (n,) array."""
        groups: list[list[int]] = [[] for _ in self.per_degree]
        place = 0
        for entry in self.irreps:
            groups[entry.l].extend(range(place, place + entry.mul))
            place += entry.mul
        return np.array([n for group in groups for n in group], dtype=np.int64)

    def width(self, m: int) -> int:
        """Return how many channels have components ±m.

        Parameters
        ----------
        m : int
            From 0.

        Returns
        -------
        int
            Channels with l ≥ m.
        """
        return sum(self.per_degree[m:])

    @property
    def dim(self) -> int:
        """Numbers in a feature."""
        return self.irreps.dim

    @property
    def order_shapes(self) -> list[tuple[int, int]]:
        """Components (1 or 2) and channels of every order: a list of (int, int)."""
        highest = self.irreps.lmax
        orders = [(2 if m else 1, self.width(max(1, m))) for m in range(highest + 1)]
        return [(1, self.per_degree[0]), *(orders if highest else [])]

    def split(self, features: torch.Tensor) -> list[torch.Tensor]:
        """Return the degrees of features in the frame of the crystal.

        Parameters
        ----------
        features : (n, dim) tensor
            Degree by degree.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            Views.
        """
        shapes = [(2 * degree + 1, count) for degree, count in enumerate(self.per_degree)]
        return _split(features, shapes)

    def split_orders(self, features: torch.Tensor) -> list[torch.Tensor]:
        """Return the orders of features in the frames of edges.

        Parameters
        ----------
        features : (n, dim) tensor
            Order by order.

        Returns
        -------
        list of (n, 1 or 2, channels) tensors
            Views.
        """
        return _split(features, self.order_shapes)


def _split(features: torch.Tensor, shapes: list[tuple[int, int]]) -> list[torch.Tensor]:
    pieces = torch.split_with_sizes(features, [rows * width for rows, width in shapes], dim=1)
    return [p.view(len(features), *shape) for p, shape in zip(pieces, shapes, strict=True)]


def e3nn_places(irreps: Irreps) -> npt.NDArray[np.int64]:
    """Return where the components of a feature in e3nn's layout lie degree by degree.

    Parameters
    ----------
    irreps : Irreps
        The list.

    Returns
    -------
    (dim,) array of int
        Number n of e3nn's feature is number ``places[n]`` of moireio's in the frame of the crystal.
    """
    layout = Layout(irreps)
    counts = layout.per_degree
    first = np.cumsum([0, *((2 * d + 1) * c for d, c in enumerate(counts))])
    places = [np.zeros(0, dtype=np.int64)]
    for entry, start in zip(irreps, layout.entry_starts, strict=True):
        channel = start + np.arange(entry.mul)[:, None]
        component = np.arange(2 * entry.l + 1) * counts[entry.l]
        places.append((first[entry.l] + component + channel).ravel())
    return np.concatenate(places)
