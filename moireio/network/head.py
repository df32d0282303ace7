"""From the network's output to blocks of H.

A block between two shells, H[m1, m2], is the sum over L of Σ_M C(l1, l2, L) x_LM. With spin-orbit
coupling it is (h0 + h·σ)/√2, where h0 is such a sum and h_a, a = y, z, x, one of products of L and
1: the channels are all L of h0, then for every L all J of h. Real and imaginary parts are separate
halves of the output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from moireio.errors import MoireioError
from moireio.network.bounds import require_targets
from moireio.network.irreps import Irrep, Irreps
from moireio.network.wigner import coupling

# Blocks that share channels: (species, species) to (shell, shell)
Target = dict[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Targets:
    """Which blocks a network gives.

    Parameters
    ----------
    numbers : tuple of int
        Atomic number of each species.
    shells : tuple of tuple of int
        Degrees of the radial functions of each species.
    spinful : bool
        Whether blocks are spinor blocks.
    targets : tuple of dict
        Each a dict of (species, species) to (shell, shell): blocks that share their channels.
    even : bool
        All representations count as even.
    time_reversal : bool
        With spin, h0 is real and h imaginary, so that every block is symmetric under time reversal;
        there is one half then. Without, they are complex.

    Raises
    ------
    MoireioError
        If a block is of shells that the species do not have, is there twice, or shares channels
        with blocks of other degrees.
    """

    numbers: tuple[int, ...]
    shells: tuple[tuple[int, ...], ...]
    spinful: bool
    targets: tuple[Target, ...]
    even: bool = False
    time_reversal: bool = False

    def __post_init__(self) -> None:
        """Refuse what are no blocks of these species: `moireio.network.bounds`."""
        require_targets(self)

    @property
    def halves(self) -> int:
        """Number of copies of the channels: real and imaginary parts."""
        return 2 if self.spinful and not self.time_reversal else 1

    def degrees(self, target: Target) -> tuple[int, int]:
        """Return (l1, l2) of a target."""
        (one, two), (a, b) = next(iter(target.items()))
        return self.shells[one][a], self.shells[two][b]

    def irreps(self) -> Irreps:
        """Return the list of the network's output."""
        out = []
        for target in self.targets:
            l1, l2 = self.degrees(target)
            p = 1 if self.even else (-1) ** (l1 + l2)
            out += [Irrep(1, n, p) for n in channels_of(l1, l2, self.spinful)]
        return Irreps(out * self.halves)

    def to_plain(self) -> dict[str, Any]:
        """Return plain values, for a model file."""
        blocks = [[[*pair, *shells] for pair, shells in t.items()] for t in self.targets]
        return asdict(self) | {"targets": blocks}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Targets":
        """Return the object that `to_plain` described.

        Parameters
        ----------
        values : dict
            Plain values.

        Returns
        -------
        Targets
            The same targets.
        """
        blocks = tuple({(a, b): (m, n) for a, b, m, n in t} for t in values["targets"])
        shells = tuple(tuple(s) for s in values["shells"])
        numbers = tuple(values["numbers"])
        return cls(**{**values, "targets": blocks, "shells": shells, "numbers": numbers})


def all_targets(
    numbers: Sequence[int],
    shells: Sequence[Sequence[int]],
    spinful: bool,
    even: bool = False,
    merge: bool = True,
    time_reversal: bool = False,
) -> Targets:
    """Return the targets of every block, as DeepH-E3 numbers them.

    Parameters
    ----------
    numbers : sequence of int
        Atomic number of each species.
    shells : sequence of sequence of int
        Degrees of the radial functions of each species.
    spinful : bool
        Whether blocks are spinor blocks.
    even : bool
        All representations count as even.
    merge : bool
        Blocks of different species share channels, as DeepH-E3 has it.
    time_reversal : bool
        As in `Targets`.

    Returns
    -------
    Targets
        Blocks of like degrees that have like numbers among the shells of their degree share
        channels.
    """
    targets: dict[tuple, Target] = {}
    for one, first in enumerate(shells):
        for two, second in enumerate(shells):
            for a, l1 in enumerate(first):
                for b, l2 in enumerate(second):
                    key = (l1, first[:a].count(l1), l2, second[:b].count(l2))
                    key = key if merge else (one, two, *key)
                    targets.setdefault(key, {})[one, two] = (a, b)
    degrees = tuple(tuple(s) for s in shells)
    return Targets(tuple(numbers), degrees, spinful, tuple(targets.values()), even, time_reversal)


def channels_of(l1: int, l2: int, spinful: bool) -> list[int]:
    """Return the degrees of the channels of a block between two shells.

    Parameters
    ----------
    l1, l2 : int
        Degrees of the shells.
    spinful : bool
        Whether it is a spinor block.

    Returns
    -------
    list of int
        Entries of one half.
    """
    singlet = list(range(abs(l1 - l2), l1 + l2 + 1))
    triplet = [J for L in singlet for J in range(abs(L - 1), L + 2)] if spinful else []
    return singlet + triplet


def _change(l1: int, l2: int, spinful: bool, old_signs: bool) -> npt.NDArray:
    """Return the matrix from channels to a block, (channels, components, (2 l1 + 1)(2 l2 + 1)).

    The components are h0 and, with spin, h_y, h_z, h_x.
    """
    size = (2 * l1 + 1) * (2 * l2 + 1)
    parts = {
        L: coupling(l1, l2, L, old_signs).reshape(size, 2 * L + 1)
        for L in range(abs(l1 - l2), l1 + l2 + 1)
    }
    if not spinful:
        return np.concatenate([C.T for C in parts.values()])[:, None]
    rows = [np.pad(C.T[:, None], ((0, 0), (0, 3), (0, 0))) for C in parts.values()]
    for L, C in parts.items():
        for J in range(abs(L - 1), L + 2):
            spin = coupling(L, 1, J, old_signs)  # M, a, K
            rows.append(np.pad(np.einsum("sM,MaK->Kas", C, spin), ((0, 0), (1, 0), (0, 0))))
    return np.concatenate(rows)


# h0, h_y, h_z, h_x
_PAULI = np.array([[[1, 0], [0, 1]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]], [[0, 1], [1, 0]]])


def _with_spin(change: npt.NDArray, targets: Targets) -> npt.NDArray:
    """Return the real matrix from channels to spin components of blocks.

    Parameters
    ----------
    change : (channels, 4, size) array
        From `_change`.
    targets : Targets
        Which halves there are.

    Returns
    -------
    (halves, channels, 2, 2, size, 2) array
        Spins of row and column, elements, real and imaginary part.
    """
    blocks = np.einsum("kas,aij->kijs", change, _PAULI) / np.sqrt(2)
    if targets.time_reversal:
        singlet = np.abs(change[:, 0]).max(axis=1) > 0
        blocks = np.where(singlet[:, None, None, None], blocks, 1j * blocks)[None]
    else:
        blocks = np.stack([blocks, 1j * blocks])
    return np.stack([blocks.real, blocks.imag], axis=-1)


class Head:
    """Assembles the blocks between two species.

    Parameters
    ----------
    targets : Targets
        What the output means.
    one, two : int
        The species.
    old_signs : bool
        Use the signs of old coupling coefficients.

    Raises
    ------
    MoireioError
        If some elements between the species are not predicted.
    """

    def __init__(self, targets: Targets, one: int, two: int, old_signs: bool = False) -> None:
        self.targets = targets
        first = [np.cumsum([0, *(2 * n + 1 for n in targets.shells[k])]) for k in (one, two)]
        self.shape = int(first[0][-1]), int(first[1][-1])
        groups: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        self.entries: list[int] = []
        at = number = 0
        for target in targets.targets:
            l1, l2 = targets.degrees(target)
            channels = channels_of(l1, l2, targets.spinful)
            if (one, two) in target:
                groups.setdefault((l1, l2), []).append((at, *target[one, two]))
                self.entries += range(number, number + len(channels))
                at += sum(2 * n + 1 for n in channels)
            number += len(channels)
        half = at
        self.entries += [n + number for n in self.entries] if targets.halves == 2 else []
        components = (2, 2) if targets.spinful else (1, 1)
        parts = 2 if targets.spinful else 1
        place = np.full((components[0], self.shape[0], components[1], self.shape[1], parts), -1)
        self._steps, at = [], 0
        for (l1, l2), members in groups.items():
            change = _change(l1, l2, targets.spinful, old_signs)
            size, count = (2 * l1 + 1) * (2 * l2 + 1), len(change)
            if targets.spinful:
                change = _with_spin(change, targets)
            change = change.reshape(targets.halves * count, -1)
            columns = [
                h * half + start + np.arange(count)
                for start, _, _ in members
                for h in range(targets.halves)
            ]
            self._steps.append((np.concatenate(columns), torch.tensor(change), len(members)))
            for a, b in (m[1:] for m in members):
                numbers = at + np.arange(change.shape[1])
                numbers = numbers.reshape(*components, 2 * l1 + 1, 2 * l2 + 1, parts)
                rows = slice(first[0][a], first[0][a + 1])
                inside = slice(first[1][b], first[1][b + 1])
                place[:, rows, :, inside] = numbers.transpose(0, 2, 1, 3, 4)
                at += components[0] * components[1] * size * parts
        if (place < 0).any():
            raise MoireioError(
                "the model does not predict all elements between atoms with Z = "
                f"{targets.numbers[one]} and {targets.numbers[two]}"
            )
        self._place = torch.tensor(place.ravel())
        self._columns = [torch.tensor(c) for c, _, _ in self._steps]
        self._changes: dict[tuple[torch.dtype, torch.device], tuple] = {}

    def reads(self, places: npt.NDArray[np.int64]) -> "Head":
        """Read output in another order of components.

        Parameters
        ----------
        places : (dim,) array of int
            Where the components of the entries, in e3nn's layout, lie.

        Returns
        -------
        Head
            Itself.
        """
        places = torch.as_tensor(places)
        self._columns = [places[torch.tensor(c)] for c, _, _ in self._steps]
        return self

    def inverse(self, blocks: torch.Tensor) -> torch.Tensor:
        """Return the output that gives some blocks, or comes closest to them.

        Parameters
        ----------
        blocks : (n, rows, columns) tensor
            As the head returns them.

        Returns
        -------
        (n, dim) tensor
            In the layout that the head reads.
        """
        n, dim = len(blocks), sum(len(c) for c in self._columns)
        real = torch.view_as_real(blocks) if self.targets.spinful else blocks
        flat = torch.empty_like(real.reshape(n, -1))
        flat[:, self._place] = real.reshape(n, -1)
        out, at = flat.new_zeros(n, dim), 0
        for columns, (_, change, count) in zip(self._columns, self._steps, strict=True):
            size = change.shape[1] * count
            elements = flat[:, at : at + size].reshape(n * count, -1)
            back = torch.linalg.pinv(change).to(flat)
            out[:, columns] = (elements @ back).reshape(n, -1)
            at += size
        return out

    def _constants(self, like: torch.Tensor) -> tuple:
        key = like.dtype, like.device
        if key not in self._changes:
            self._changes[key] = (
                [c.to(like.device) for c in self._columns],
                [change.to(like) for _, change, _ in self._steps],
                self._place.to(like.device),
            )
        return self._changes[key]

    def __call__(self, output: torch.Tensor) -> torch.Tensor:
        """Return blocks.

        Parameters
        ----------
        output : (n, dim) tensor
            The entries `entries` of the network's output, in e3nn's layout or in that of `reads`.

        Returns
        -------
        (n, rows, columns) tensor
            Orbitals in moireio's order; complex, all up orbitals before the down ones, with spin.
        """
        all_columns, changes, place = self._constants(output)
        n, elements = len(output), []
        for columns, change, (_, _, count) in zip(all_columns, changes, self._steps, strict=True):
            x = output.index_select(1, columns).reshape(n * count, -1)
            elements.append((x @ change).reshape(n, -1))
        flat = torch.cat(elements, dim=1).index_select(1, place)
        rows, columns = self.shape
        if not self.targets.spinful:
            return flat.reshape(n, rows, columns)
        return torch.view_as_complex(flat.reshape(n, 2 * rows, 2 * columns, 2))
