"""Groups of bands of toy models, ready for questions of topology."""

from contextlib import contextmanager

import numpy as np

import moireio
from moireio.topology.bandgroups import BandGroup
from moireio.topology.chern import BandSpace
from moireio.topology.links import Links
from moireio.topology.mesh_states import MeshStates


class RandomPhases:
    """A subspace whose states are turned by a random unitary at every k."""

    def __init__(self, space, seed=0):
        self.space, self._rng, self._turns = space, np.random.default_rng(seed), {}
        self.prepare, self.smallest_gap = space.prepare, space.smallest_gap

    def at(self, k):
        states = self.space.at(k)
        key, n = tuple(np.round(k % 1.0, 9)), states.shape[1]
        if key not in self._turns:
            z = self._rng.normal(size=(n, n)) + 1j * self._rng.normal(size=(n, n))
            self._turns[key] = np.linalg.qr(z)[0]
        return states @ self._turns[key]

    def link(self, links, k, k2):
        return links.between(k, self.at(k), k2, self.at(k2))


@contextmanager
def bands_of(model, path, first=1, last=None, position=True):
    """The states of some bands of a model, by default the filled ones, and their links."""
    model.write(path)
    with moireio.open(path) as file:
        group = BandGroup(first, last or model.filled)
        states = MeshStates(file, [group])
        yield BandSpace(states, group), Links.from_file(file, position=position)
