"""How far a structure's atoms lie outside what a model was trained on.

The surroundings of an atom are described by smeared counts of its neighbours, by species and
distance. The distance of two descriptions is measured in standard deviations of the training data.
"""

from dataclasses import dataclass

import numpy as np

SHELLS = 12
SMEARING = 0.5
LIMIT = 3.0


@dataclass(frozen=True, eq=False)
class Environments:
    """Descriptions of the training data.

    Parameters
    ----------
    reach : float
        Distances that are looked at, Å.
    low, high : (species, n) arrays
        Smallest and largest of each number.
    spread : (species, n) array
        Its standard deviation.
    """

    reach: float
    low: np.ndarray
    high: np.ndarray
    spread: np.ndarray

    @classmethod
    def collect(cls, graphs, n_species, reach):
        """Describe training data.

        Parameters
        ----------
        graphs : iterable of Graph
            The structures.
        n_species : int
            Of the model.
        reach : float
            Å.

        Returns
        -------
        Environments
            With the bounds of all atoms.
        """
        rows = [[] for _ in range(n_species)]
        for graph in graphs:
            values = descriptors(graph, n_species, reach)
            for s in range(n_species):
                rows[s].append(values[graph.species == s])
        merged = [np.concatenate(r) if r else np.zeros((0, n_species * SHELLS)) for r in rows]
        empty = np.zeros(n_species * SHELLS)
        stats = [
            [f(m, axis=0) if len(m) else empty for m in merged] for f in (np.min, np.max, np.std)
        ]
        return cls(float(reach), *(np.array(v) for v in stats))

    def describe(self, graph):
        """Return a text that tells how far atoms lie outside.

        Parameters
        ----------
        graph : Graph
            A structure.

        Returns
        -------
        str
            The largest distance from the bounds, in standard deviations, and how many atoms lie
            further than three of them.
        """
        far = self.distance(graph)
        outside = int((far > LIMIT).sum())
        text = f"surroundings up to {far.max(initial=0.0):.1f} σ outside the training data"
        return text + (f" ({outside} of {len(far)} atoms beyond {LIMIT:g} σ)" if outside else "")

    def distance(self, graph):
        """Return how far every atom lies outside, in standard deviations.

        Parameters
        ----------
        graph : Graph
            A structure.

        Returns
        -------
        (N,) array
            The largest over the numbers of its description.
        """
        values = descriptors(graph, len(self.low), self.reach)
        s = graph.species
        beyond = np.maximum(self.low[s] - values, values - self.high[s]).clip(min=0.0)
        # numbers that never vary in the data count as varying a little
        return (beyond / np.maximum(self.spread[s], 0.02)).max(axis=1)

    def to_plain(self):
        """Return plain values, for a model file."""
        arrays = {n: getattr(self, n).tolist() for n in ("low", "high", "spread")}
        return {"reach": self.reach, **arrays}

    @classmethod
    def from_plain(cls, values):
        """Return the object that `to_plain` described."""
        return cls(values["reach"], *(np.array(values[n]) for n in ("low", "high", "spread")))


def descriptors(graph, n_species, reach):
    """Return descriptions of the surroundings of all atoms.

    Parameters
    ----------
    graph : Graph
        A structure.
    n_species : int
        Of the model.
    reach : float
        Å.

    Returns
    -------
    (N, n_species · 12) array
        Smeared counts of neighbours, smoothly ending at the reach.
    """
    centres = np.linspace(0.8, reach, SHELLS)
    out = np.zeros((len(graph.species), n_species * SHELLS))
    step = 1 << 18
    for start in range(0, len(graph), step):
        edges = np.arange(start, min(len(graph), start + step))
        i = graph.first(edges)
        d = np.linalg.norm(graph.vectors(i, edges), axis=1)
        end = np.where(d < reach, (1 + np.cos(np.pi * np.minimum(d / reach, 1))) / 2, 0.0)
        values = end[:, None] * np.exp(-(((d[:, None] - centres) / SMEARING) ** 2))
        kind = graph.species[graph.bonds.j[edges]]
        for s in range(n_species):
            mine = kind == s
            np.add.at(out, (i[mine, None], s * SHELLS + np.arange(SHELLS)), values[mine])
    return out
