"""Models: a network with the meaning of its output, and blocks of H from it."""

import hashlib
from dataclasses import dataclass, field

import torch

from moireio.network.frames import out_of_frames
from moireio.network.head import Head, Targets
from moireio.network.inference.environments import Environments
from moireio.network.irreps import Irreps, Layout
from moireio.network.net import Network, places_of_e3nn
from moireio.system.basis import Basis


@dataclass(eq=False)
class Model:
    """A network that predicts Hamiltonians.

    Parameters
    ----------
    network : Network
        With its weights.
    targets : Targets
        What its output means.
    kind : str
        "moireio" or "deeph-e3".
    names : tuple of str
        Species in the order of the network.
    basis : Basis or None
        Orbitals of the species, with radial functions.
    training : dict
        Record of the training; empty if unknown.
    label : str
        Where it came from, for messages.
    """

    network: Network
    targets: Targets
    kind: str
    names: tuple
    basis: Basis | None = None
    training: dict = field(default_factory=dict)
    label: str = "the model"

    def digest(self):
        """Return a digest of the weights, as ``blake2b:`` and 32 hexadecimal digits."""
        state = hashlib.blake2b(digest_size=16)
        for name, value in sorted(self.network.state_dict().items()):
            state.update(name.encode())
            state.update(value.detach().cpu().contiguous().numpy().tobytes())
        state.update(repr((self.network.settings, self.targets)).encode())
        return f"blake2b:{state.hexdigest()}"

    def novelty(self, graph):
        """Return a text that tells how unlike the training data a structure is, or None."""
        known = self.training.get("environments")
        if not known:
            return None
        return Environments.from_plain(known).describe(graph)

    def prepare(self):
        """Return the last layers with their matrices made, a `PreparedHead`."""
        return PreparedHead(self.network, self.targets)


class PreparedHead:
    """The last map of a network and the assembly of blocks.

    Only the channels that two species need are computed for them.

    Parameters
    ----------
    network : Network
        Whose last map.
    targets : Targets
        What its output means.
    """

    def __init__(self, network, targets):
        self._network, self._targets = network, targets
        self._matrices = network.lin_edge.matrices()[0]
        self._offset = network.lin_edge.offset()
        self._calibration = network.calibration
        self._plans = {}

    def _plan(self, one, two):
        if (one, two) not in self._plans:
            settings = self._network.settings
            head = Head(self._targets, one, two, settings.convention.old_signs)
            irreps = Irreps(settings.out_edge[n] for n in head.entries)
            head.reads(places_of_e3nn(irreps))
            starts = Layout(settings.out_edge).entry_starts
            columns = [[] for _ in range(irreps.lmax + 1)]
            channels = [[] for _ in range(irreps.lmax + 1)]
            for n in head.entries:
                entry = settings.out_edge[n]
                columns[entry.l] += range(starts[n], starts[n] + entry.mul)
                channels[entry.l].append(n)
            device = self._network.embedding.device
            columns, channels = (
                [torch.tensor(c, dtype=torch.long, device=device) for c in own]
                for own in (columns, channels)
            )
            maps = [
                self._matrices[d][:, c] if d < len(self._matrices) else None
                for d, c in enumerate(columns)
            ]
            offset = None if self._offset is None else self._offset[columns[0]]
            self._plans[one, two] = head, Layout(irreps).per_degree, maps, offset, channels
        return self._plans[one, two]

    def __call__(self, parts, group, one, two):
        """Return blocks as the network gives them, without their Hermitian partners.

        Parameters
        ----------
        parts : list of (n, 2l + 1, channels) tensors
            Features of edges, in their frames.
        group : Edges
            The edges, all between the same two species.
        one, two : int
            The species.

        Returns
        -------
        (n, rows, columns) tensor
            In eV; complex with spin.
        """
        head, counts, maps, offset, channels = self._plan(one, two)
        n = len(group)
        out = [
            parts[0].new_zeros(n, 2 * degree + 1, counts[degree])
            if matrix is None
            else parts[degree] @ matrix
            for degree, matrix in enumerate(maps)
        ]
        if offset is not None:
            out[0] = out[0] + offset
        if self._calibration is not None:
            out = self._calibration(out, group.distance, channels, group.site)
        if group.envelope is not None:
            out = [p * group.envelope for p in out]
        return head(torch.cat([p.flatten(1) for p in out_of_frames(out, group.frames)], 1))
