"""The error that a model should have for the atoms of a structure.

How far an atom's surroundings lie from those of the training data is measured in the features that
the network itself has of the atom after every block. For the features x_{lmc} of degree l,

    D_l = Σ_m x_{lm}ᵀ C_l⁻¹ x_{lm},    C_l = ⟨x_{lm} x_{lm}ᵀ⟩,

with the mean over m and the atoms of the training data: the leverage that the features would have
in a linear fit to these data. It does not change when the structure is turned. Scalars (l = 0) are
taken from their mean. With factors that make D_l equal to 1 in the mean over the training data, the
weighted mean over degrees and blocks is the squared distance d² of an atom. The expected error is
a dᵇ, with a and b from the errors of the training data themselves; where these data end it goes on
in proportion to d.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

# A displaced set's mean scalars are not those of the perfect structure: they count less.
SCALAR_WEIGHT = 0.3
# Later blocks count less: each half of the one before.
BLOCK_WEIGHT = 0.5
RIDGE = 2e-4  # of the largest eigenvalue of the correlations
ATOMS_AT_ONCE = 4096
LIMIT = 3.0  # times the model's own error from which a prediction deserves a warning

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ExpectedError:
    """What a model knows about its errors.

    Parameters
    ----------
    centres : sequence of (species, channels) arrays
        For every block, mean of the scalars.
    metrics : sequence of sequences of (species, channels, channels) arrays
        For every block and degree, W with d² = Σ_m |x_m W|²; the weights are in it.
    level, slope, turn : (species,) arrays
        Error at d = 1, eV; its power of d; the distance from which it is proportional to d.
    own : float
        The model's mean error on structures that it was not trained on, eV.
    own_set : str
        Which structures these were: "test", "validation", or, failing these, "training".
    """

    centres: Sequence[FloatArray]
    metrics: Sequence[Sequence[FloatArray]]
    level: FloatArray
    slope: FloatArray
    turn: FloatArray
    own: float
    own_set: str

    def squared_distance(
        self, block: int, nodes: Sequence[torch.Tensor], species: torch.Tensor
    ) -> torch.Tensor:
        """Return the part of d² that comes from the features after one block.

        Parameters
        ----------
        block : int
            Number of the block.
        nodes : list of (N, 2l + 1, channels) tensors
            Features of the atoms.
        species : (N,) tensor of int
            Their species.

        Returns
        -------
        (N,) tensor
            In double precision.
        """
        n_atoms = len(species)
        out = torch.zeros(n_atoms, dtype=torch.float64, device=species.device)
        dtype = nodes[0].dtype
        for kind in range(len(self.level)):
            atoms = torch.nonzero(species == kind)[:, 0]
            centre = torch.as_tensor(self.centres[block][kind]).to(species.device, dtype)
            metrics = [
                torch.as_tensor(m[kind]).to(species.device, dtype) for m in self.metrics[block]
            ]
            for some in atoms.split(ATOMS_AT_ONCE):
                for degree, (part, metric) in enumerate(zip(nodes, metrics, strict=True)):
                    x = part[some] - centre if degree == 0 else part[some]
                    out[some] += (x @ metric).double().square().sum(dim=(1, 2))
        return out

    def of_atoms(self, squared: npt.ArrayLike, species: npt.NDArray[np.int64]) -> FloatArray:
        """Return the expected errors of atoms.

        Parameters
        ----------
        squared : (N,) array
            d² of the atoms.
        species : (N,) array of int
            Their species.

        Returns
        -------
        (N,) array
            Expected mean |ΔH| over the elements of each atom's blocks, eV.
        """
        distance = np.sqrt(np.asarray(squared, dtype=np.float64))
        level, slope, turn = self.level[species], self.slope[species], self.turn[species]
        inside = np.minimum(distance, turn)
        return level * inside**slope * np.maximum(distance / turn, 1.0)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything as arrays by name, for a model file."""
        out: dict[str, npt.NDArray[Any]] = {
            name: np.asarray(getattr(self, name)) for name in ("level", "slope", "turn")
        }
        out["own"] = np.array([self.own])
        out["own_set"] = np.array([self.own_set], dtype=object)
        for b, (centre, metrics) in enumerate(zip(self.centres, self.metrics, strict=True)):
            out[f"centre.{b}"] = np.asarray(centre, dtype=np.float32)
            for degree, metric in enumerate(metrics):
                out[f"metric.{b}.{degree}"] = np.asarray(metric, dtype=np.float32)
        return out

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, npt.NDArray[Any]], channels: Sequence[Sequence[int]], species: int
    ) -> "ExpectedError":
        """Return the object that `arrays` described.

        Parameters
        ----------
        arrays : dict of str to array
            Arrays by name.
        channels : sequence of sequences of int
            Number of channels of the atoms' features, by block and degree.
        species : int
            Number of species.

        Returns
        -------
        ExpectedError
            The same.

        Raises
        ------
        KeyError, ValueError
            If an array is absent, has another shape, or holds numbers that are not finite.
        """
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("level", "slope", "turn"), (species,))
        shapes["own"] = (1,)
        for b, counts in enumerate(channels):
            shapes[f"centre.{b}"] = species, counts[0]
            for degree, count in enumerate(counts):
                shapes[f"metric.{b}.{degree}"] = species, count, count
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise ValueError(f"{name} has shape {arrays[name].shape}, expected {shape}")
            if not np.isfinite(arrays[name]).all():
                raise ValueError(f"{name} holds numbers that are not finite")
        return cls(
            [arrays[f"centre.{b}"] for b in range(len(channels))],
            [
                [arrays[f"metric.{b}.{degree}"] for degree in range(len(counts))]
                for b, counts in enumerate(channels)
            ],
            arrays["level"],
            arrays["slope"],
            arrays["turn"],
            float(arrays["own"][0]),
            str(arrays["own_set"][0]),
        )


def weights(blocks: int, degrees: Sequence[int]) -> list[list[float]]:
    """Return the weights of the degrees' leverages in d², for every block.

    Parameters
    ----------
    blocks : int
        Number of blocks.
    degrees : sequence of int
        The degrees that the features have.

    Returns
    -------
    list of lists of float
        Their sum is 1.
    """
    of_degree = [SCALAR_WEIGHT if degree == 0 else 1.0 for degree in degrees]
    of_block = [BLOCK_WEIGHT**b for b in range(blocks)]
    total = sum(of_degree) * sum(of_block)
    return [[b * d / total for d in of_degree] for b in of_block]
