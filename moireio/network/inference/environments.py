"""How far a structure's atoms lie outside the training data of a model.

The surroundings of an atom are described by smeared counts of its neighbours, by species and
distance. The distance of two descriptions is measured in standard deviations of the training data.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.network.graph import Graph

N_RADIAL = 12  # numbers by species of neighbour
SMEARING = 0.5  # Å
LIMIT = 3.0  # standard deviations that count as far


@dataclass(frozen=True, eq=False)
class Environments:
    """Descriptions of the surroundings of all atoms in the training data.

    Parameters
    ----------
    reach : float
        Distance up to which neighbours count, Å.
    low, high : (species, n) arrays
        Smallest and largest value of each number.
    spread : (species, n) array
        Its standard deviation.
    """

    reach: float
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]

    @classmethod
    def collect(cls, graphs: Iterable[Graph], n_species: int, reach: float) -> "Environments":
        """Describe training data.

        Parameters
        ----------
        graphs : iterable of Graph
            Structures.
        n_species : int
            Number of species of the model.
        reach : float
            Distance up to which neighbours count, Å.

        Returns
        -------
        Environments
            Bounds over all atoms.
        """
        rows: list[list[npt.NDArray]] = [[] for _ in range(n_species)]
        for graph in graphs:
            values = descriptors(graph, n_species, reach)
            for s in range(n_species):
                rows[s].append(values[graph.species == s])
        merged = [np.concatenate(r) if r else np.zeros((0, n_species * N_RADIAL)) for r in rows]
        empty = np.zeros(n_species * N_RADIAL)
        low, high, spread = (
            np.array([statistic(m, axis=0) if len(m) else empty for m in merged])
            for statistic in (np.min, np.max, np.std)
        )
        return cls(float(reach), low, high, spread)

    def describe(self, graph: Graph) -> str:
        """Return a text that says how far atoms lie outside.

        Parameters
        ----------
        graph : Graph
            Structure.

        Returns
        -------
        str
            The largest distance from the bounds, in standard deviations, and how many atoms lie
            further than three of them.
        """
        distance = self.extrapolation_distance(graph)
        largest, n_far = distance.max(initial=0.0), int((distance > LIMIT).sum())
        text = f"surroundings up to {largest:.1f} σ outside the training data"
        return text + (f" ({n_far} of {len(distance)} atoms beyond {LIMIT:g} σ)" if n_far else "")

    def extrapolation_distance(self, graph: Graph) -> npt.NDArray[np.float64]:
        """Return how far every atom lies outside, in standard deviations.

        Parameters
        ----------
        graph : Graph
            Structure.

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

    def to_plain(self) -> dict[str, Any]:
        """Return plain values, for a model file."""
        arrays = {n: getattr(self, n).tolist() for n in ("low", "high", "spread")}
        return {"reach": self.reach, **arrays}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Environments":
        """Return the object that `to_plain` described.

        Parameters
        ----------
        values : dict
            Plain values.

        Returns
        -------
        Environments
            The same descriptions.
        """
        low, high, spread = (np.array(values[n]) for n in ("low", "high", "spread"))
        return cls(values["reach"], low, high, spread)


def descriptors(graph: Graph, n_species: int, reach: float) -> npt.NDArray[np.float64]:
    """Return descriptions of the surroundings of all atoms.

    Parameters
    ----------
    graph : Graph
        Structure.
    n_species : int
        Number of species of the model.
    reach : float
        Distance up to which neighbours count, Å.

    Returns
    -------
    (N, n_species · 12) array
        Smeared counts of neighbours, by species and distance; they end smoothly at the reach.
    """
    centres = np.linspace(0.8, reach, N_RADIAL)
    out = np.zeros((len(graph.species), n_species * N_RADIAL))
    step = 1 << 18
    for start in range(0, len(graph), step):
        edges = np.arange(start, min(len(graph), start + step))
        i = graph.first(edges)
        d = np.linalg.norm(graph.vectors(i, edges), axis=1)
        end = np.where(d < reach, (1 + np.cos(np.pi * np.minimum(d / reach, 1))) / 2, 0.0)
        values = end[:, None] * np.exp(-(((d[:, None] - centres) / SMEARING) ** 2))
        neighbour = graph.species[graph.bonds.j[edges]]
        for s in range(n_species):
            chosen = neighbour == s
            columns = s * N_RADIAL + np.arange(N_RADIAL)
            np.add.at(out, (i[chosen, None], columns), values[chosen])
    return out
