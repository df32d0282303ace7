"""Models: a network with the meaning of its output, and blocks of H from it."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch

from moireio.models.cards import ModelCard
from moireio.network.ends import Edges
from moireio.network.expected_error import ExpectedError
from moireio.network.frames import by_degree, frames_by_degree, out_of_frames
from moireio.network.head import Head, Targets
from moireio.network.irreps import Irreps, Layout, e3nn_places
from moireio.network.net import Network
from moireio.network.referencecell import ReferenceCell
from moireio.system.basis import Basis


@dataclass(eq=False)
class NetworkModel:
    """A network that predicts Hamiltonians.

    Parameters
    ----------
    network : Network
        The network with its weights.
    targets : Targets
        Meaning of its output.
    kind : str
        "moireio" or "deeph-e3".
    names : tuple of str
        Species in the order of the network.
    basis : Basis or None
        Orbitals of the species, with radial functions.
    training : dict
        Record of the training; empty if unknown.
    label : str
        File or folder that it was read from, for messages.
    expected_error : ExpectedError or None
        What it knows about its errors; None if its training is unknown.
    card : ModelCard or None
        What a user wants to know about it; None if it has none.
    cells : tuple of ReferenceCell
        Test cells of the card that lie in its file.
    """

    network: Network
    targets: Targets
    kind: str
    names: tuple[str, ...]
    basis: Basis | None = None
    training: dict[str, Any] = field(default_factory=dict)
    label: str = "the model"
    expected_error: ExpectedError | None = None
    card: ModelCard | None = None
    cells: tuple[ReferenceCell, ...] = ()

    @property
    def name(self) -> str:
        """Name of its file or folder."""
        return os.path.basename(os.path.normpath(self.label))

    @property
    def free_zero(self) -> bool:
        """Whether it was trained with the zero of energy of every structure free."""
        return self.training.get("plan", {}).get("zero") == "free"

    def digest(self) -> str:
        """Return a digest of weights and settings, ``blake2b:`` and 32 hexadecimal digits."""
        state = hashlib.blake2b(digest_size=16)
        for name, value in sorted(self.network.state_dict().items()):
            state.update(name.encode())
            state.update(value.detach().cpu().contiguous().numpy().tobytes())
        plain = self.network.settings.to_plain(), self.targets.to_plain()
        state.update(json.dumps(plain).encode())
        return f"blake2b:{state.hexdigest()}"

    def prepare(self) -> "PreparedHead":
        """Return the last layers with their matrices."""
        return PreparedHead(self.network, self.targets)


@dataclass(frozen=True)
class _PairHead:
    """The last layers for one pair of species.

    `maps` holds the columns of the last map by degree (None: the network has no such features),
    `channels` which channels of the whole output these are.
    """

    head: Head
    counts: list[int]
    maps: list[torch.Tensor | None]
    offset: torch.Tensor | None
    channels: list[torch.Tensor]


@dataclass(frozen=True, eq=False)
class _PairEntries:
    """Which of a network's outputs a pair of species needs, degree by degree."""

    targets: Targets
    head: Head
    counts: list[int]
    columns: list[torch.Tensor]
    channels: list[torch.Tensor]


# by network, pair and device: the same for all weights
_ENTRIES: "WeakKeyDictionary[Network, dict[tuple, _PairEntries]]" = WeakKeyDictionary()


def _pair_entries(network: Network, targets: Targets, one: int, two: int) -> _PairEntries:
    """Return which of a network's outputs a pair of species needs."""
    device, settings = network.embedding.device, network.settings
    known, key = _ENTRIES.setdefault(network, {}), (one, two, device)
    if key not in known or known[key].targets is not targets:
        head = Head(targets, one, two, settings.convention.old_signs)
        irreps = Irreps(settings.out_edge[n] for n in head.entries)
        head.reads(e3nn_places(irreps))
        starts = Layout(settings.out_edge).entry_starts
        columns: list[list[int]] = [[] for _ in range(irreps.lmax + 1)]
        channels: list[list[int]] = [[] for _ in range(irreps.lmax + 1)]
        for n in head.entries:
            entry = settings.out_edge[n]
            columns[entry.l] += range(starts[n], starts[n] + entry.mul)
            channels[entry.l].append(n)
        column_tensors, channel_tensors = (
            [torch.tensor(c, dtype=torch.long, device=device) for c in lists]
            for lists in (columns, channels)
        )
        counts = Layout(irreps).per_degree
        known[key] = _PairEntries(targets, head, counts, column_tensors, channel_tensors)
    return known[key]


class PreparedHead:
    """The last map of a network and the assembly of blocks.

    Only the channels that two species need are computed for them.

    Parameters
    ----------
    network : Network
        Network with that map.
    targets : Targets
        Meaning of its output.
    """

    def __init__(self, network: Network, targets: Targets) -> None:
        self._network, self._targets = network, targets
        self._matrices = network.lin_edge.matrices()[0]
        self._offset = network.lin_edge.offset()
        self._calibration = network.calibration
        self._pairs: dict[tuple[int, int], _PairHead] = {}

    def _of_pair(self, one: int, two: int) -> _PairHead:
        if (one, two) not in self._pairs:
            entries = _pair_entries(self._network, self._targets, one, two)
            maps = [
                self._matrices[d][:, c] if d < len(self._matrices) else None
                for d, c in enumerate(entries.columns)
            ]
            offset = None if self._offset is None else self._offset[entries.columns[0]]
            self._pairs[one, two] = _PairHead(
                entries.head, entries.counts, maps, offset, entries.channels
            )
        return self._pairs[one, two]

    def __call__(self, parts: list[torch.Tensor], group: Edges, one: int, two: int) -> torch.Tensor:
        """Return blocks as the network gives them, without their Hermitian partners.

        Parameters
        ----------
        parts : list of (n, 1 or 2, channels) tensors
            Features of edges, in their frames, order by order.
        group : Edges
            The edges, all between the same two species.
        one, two : int
            The species.

        Returns
        -------
        (n, rows, columns) tensor
            In eV; complex with spin.
        """
        pair, n = self._of_pair(one, two), len(group)
        parts = by_degree(parts, self._network.lin_edge.source.per_degree)
        out = [
            parts[0].new_zeros(n, 2 * degree + 1, pair.counts[degree])
            if matrix is None
            else parts[degree] @ matrix
            for degree, matrix in enumerate(pair.maps)
        ]
        if pair.offset is not None:
            out[0] = out[0] + pair.offset
        if self._calibration is not None:
            out = self._calibration(out, group.distance, pair.channels, group.site)
        if group.envelope is not None:
            out = [p * group.envelope for p in out]
        out = out_of_frames(out, frames_by_degree(group.frames))
        return pair.head(torch.cat([p.flatten(1) for p in out], 1))
