"""From the network's output to blocks of H.

A block between two shells, H[m1, m2], is the sum over L of Σ_M C(l1, l2, L) x_LM. With spin-orbit coupling
it is (h0 + h·σ)/√2, where h0 is such a sum and h_a, a = y, z, x, one of products of L and 1: the channels are
all L of h0, then for every L all J of h. Real and imaginary parts are separate halves of the output.
"""

from dataclasses import dataclass

import numpy as np
import torch

from moireio.errors import MoireioError
from moireio.network.irreps import Irrep, Irreps
from moireio.network.wigner import coupling


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
    """

    numbers: tuple
    shells: tuple
    spinful: bool
    targets: tuple
    even: bool = False

    def degrees(self, target):
        """Return (l1, l2) of a target."""
        (one, two), (a, b) = next(iter(target.items()))
        return self.shells[one][a], self.shells[two][b]

    def irreps(self):
        """Return the list of the network's output."""
        out = []
        for target in self.targets:
            l1, l2 = self.degrees(target)
            p = 1 if self.even else (-1) ** (l1 + l2)
            out += [Irrep(1, n, p) for n in _channels(l1, l2, self.spinful)]
        return Irreps(out * 2 if self.spinful else out)


def all_targets(numbers, shells, spinful, even=False):
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

    Returns
    -------
    Targets
        Blocks of like degrees that have like numbers among the shells of their degree share channels.
    """
    found = {}
    for one, first in enumerate(shells):
        for two, second in enumerate(shells):
            for a, l1 in enumerate(first):
                for b, l2 in enumerate(second):
                    key = (l1, first[:a].count(l1), l2, second[:b].count(l2))
                    found.setdefault(key, {})[one, two] = (a, b)
    return Targets(
        tuple(numbers), tuple(tuple(s) for s in shells), spinful, tuple(found.values()), even
    )


def _channels(l1, l2, spinful):
    singlet = list(range(abs(l1 - l2), l1 + l2 + 1))
    triplet = [J for L in singlet for J in range(abs(L - 1), L + 2)] if spinful else []
    return singlet + triplet


def _change(l1, l2, spinful, old_signs):
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


class Head:
    """Assembles blocks.

    Parameters
    ----------
    targets : Targets
        What the output means.
    old_signs : bool
        Of the coupling coefficients.
    """

    def __init__(self, targets, old_signs=False):
        self.targets = targets
        sizes = [
            sum(2 * n + 1 for n in _channels(*targets.degrees(t), targets.spinful))
            for t in targets.targets
        ]
        starts = np.cumsum([0, *sizes])
        self.half = int(starts[-1])
        self._plans = {}
        first = [np.cumsum([0, *(2 * n + 1 for n in own)]) for own in targets.shells]
        for one in range(len(targets.shells)):
            for two in range(len(targets.shells)):
                groups, rows = {}, int(first[one][-1])
                columns = int(first[two][-1])
                place = np.full((rows, columns), -1, dtype=np.int64)
                for t, start in zip(targets.targets, starts, strict=False):
                    if (one, two) not in t:
                        continue
                    a, b = t[one, two]
                    l1, l2 = targets.shells[one][a], targets.shells[two][b]
                    groups.setdefault((l1, l2), []).append((int(start), a, b))
                at, steps = 0, []
                for (l1, l2), members in groups.items():
                    change = _change(l1, l2, targets.spinful, old_signs)
                    columns_in = np.concatenate([s + np.arange(len(change)) for s, _, _ in members])
                    steps.append((torch.tensor(columns_in), torch.tensor(change), len(members)))
                    size = (2 * l1 + 1) * (2 * l2 + 1)
                    for number, (_, a, b) in enumerate(members):
                        r, c = first[one][a], first[two][b]
                        block = at + number * size + np.arange(size).reshape(2 * l1 + 1, -1)
                        place[r : r + 2 * l1 + 1, c : c + 2 * l2 + 1] = block
                    at += size * len(members)
                self._plans[one, two] = steps, torch.tensor(place)

    def covers(self, one, two):
        """Tell whether all elements between two species are predicted."""
        return bool((self._plans[one, two][1] >= 0).all())

    def __call__(self, output, one, two):
        """Return blocks.

        Parameters
        ----------
        output : (n, dim) tensor
            The network's output for edges between atoms of two species, e3nn's layout.
        one, two : int
            The species.

        Returns
        -------
        (n, rows, columns) tensor
            Orbitals in moireio's order; complex, all up orbitals before the down ones, with spin.
        """
        steps, place = self._plans[one, two]
        if not self.covers(one, two):
            raise MoireioError(
                f"the model does not predict all elements between species {one} and {two}"
            )
        halves = output.split(self.half, dim=1) if self.targets.spinful else [output]
        made = []
        for half in halves:
            pieces = []
            for columns, change, count in steps:
                x = half[:, columns.to(half.device)].reshape(len(half), count, -1)
                M = change.to(half)
                pieces.append((x @ M.flatten(1)).reshape(len(half), count, *M.shape[1:]))
            parts = [
                torch.cat([p[:, :, a].flatten(1) for p in pieces], 1)[:, place.to(half.device)]
                for a in range(4 if self.targets.spinful else 1)
            ]
            made.append(parts)
        if not self.targets.spinful:
            return made[0][0]
        h0, hy, hz, hx = (torch.complex(re, im) for re, im in zip(*made, strict=True))
        up = torch.cat([h0 + hz, hx - 1j * hy], dim=2)
        down = torch.cat([hx + 1j * hy, h0 - hz], dim=2)
        return torch.cat([up, down], dim=1) / np.sqrt(2)
