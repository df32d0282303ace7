"""Settings of a training: data, network, optimisation, and how it is computed."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from moireio.errors import MoireioError
from moireio.network.irreps import Irreps
from moireio.network.training.windowstates import BandWindow

# Field names under which model files store a `TrainingConfig`, where they differ.
STORED_NAMES = {"learning_rate": "rate", "min_learning_rate": "least_rate", "ema_decay": "average"}

HIDDEN = Irreps.parse("32x0e+16x1o+8x2e+4x3o+4x4e")


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of the optimisation. The defaults are those of the transfer-learning paper.

    Parameters
    ----------
    epochs : int
        Largest number of epochs.
    learning_rate : float
        Learning rate of Adam at the beginning.
    min_learning_rate : float
        Training ends when the learning rate falls below it.
    batch : int
        Structures in a step.
    patience, cooldown : int
        Epochs without progress before the learning rate is lowered, and a pause after that.
    factor, threshold : float
        Factor by which it is lowered; relative improvement that counts as progress.
    smoothing : float
        Weight of the newest validation loss in the running mean that the schedule looks at.
    revert_patience, revert_factor : int, float
        After so many epochs above twice the best loss, training goes on from the best weights, with
        their learning rate times this factor.
    clip : float
        Largest norm of the gradient; 0 for none.
    ema_decay : float
        Decay of the exponential moving average of the weights, which is validated and kept; 0 for
        none.
    loss : {"mse", "mae"}
        Mean square or mean absolute error.
    seed : int
        Seed of the order of structures.
    schedule : {"plateau", "cosine"}
        Lower the learning rate when validation no longer improves, or along half a cosine down to
        `min_learning_rate` in the last of `epochs`.
    keep : {"best", "last"}
        Weights of the epoch with the lowest validation loss, or of the last one (their average,
        with `ema_decay`).
    zero : {"mean", "free"}
        Zero of energy of every structure: the mean of its on-site levels, or the one for which the
        network's errors are smallest, whatever it is. The mean depends on all atoms of a cell, so
        that the level of an atom, relative to it, is no property of the atom's surroundings.
    layer_weight : float, optional
        How much errors of the layers' levels relative to each other count (`without_layer_shifts`);
        by default as much as those of other elements. Needs `zero` "free" and `loss` "mse". In
        small cells these levels depend on the calculation's mesh of k points, since layers exchange
        the charge of single points, and a network that learns them by heart is wrong elsewhere.
    band_weight : float
        Weight of the mean square error of the bands in `band_window` beside that of the elements
        of H; 0 for none. With a weight of 0.01, 30 meV of the bands count as much as 3 meV of the
        elements.
    band_window : BandWindow
        Which bands, at how many k points.

    Raises
    ------
    MoireioError
        If `min_learning_rate` is above `learning_rate`, or `layer_weight` is given without what it
        needs.
    """

    epochs: int = 3000
    learning_rate: float = 2e-3
    min_learning_rate: float = 3e-5
    batch: int = 1
    patience: int = 100
    cooldown: int = 40
    factor: float = 0.5
    threshold: float = 0.05
    smoothing: float = 0.1
    revert_patience: int = 20
    revert_factor: float = 0.8
    clip: float = 10.0
    ema_decay: float = 0.0
    loss: Literal["mse", "mae"] = "mse"
    seed: int = 42
    schedule: Literal["plateau", "cosine"] = "plateau"
    keep: Literal["best", "last"] = "best"
    zero: Literal["mean", "free"] = "mean"
    layer_weight: float | None = None
    band_weight: float = 0.0
    band_window: BandWindow = field(default_factory=BandWindow)

    def __post_init__(self) -> None:
        """Check the learning rates."""
        if self.min_learning_rate > self.learning_rate:
            raise MoireioError(
                f"`min_learning_rate` {self.min_learning_rate:g} is above `learning_rate` "
                f"{self.learning_rate:g}"
            )
        if self.layer_weight is not None and (self.zero, self.loss) != ("free", "mse"):
            raise MoireioError(
                "`layer_weight` needs a free zero of energy and the mean square",
                remedy="give `zero` free and `loss` mse",
            )

    def cosine(self, epoch: int) -> float:
        """Return the learning rate of the cosine schedule.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from 0.

        Returns
        -------
        float
            Learning rate in that epoch.
        """
        part = min(1.0, epoch / max(1, self.epochs - 1))
        span = self.learning_rate - self.min_learning_rate
        return self.min_learning_rate + span * (1 + math.cos(math.pi * part)) / 2

    def to_plain(self) -> dict[str, Any]:
        """Return plain values under the names that model files use."""
        values = {STORED_NAMES.get(f.name, f.name): getattr(self, f.name) for f in fields(self)}
        window = values.pop("band_window")
        if self.zero == "mean":  # as before there was a choice
            values.pop("zero")
        if self.layer_weight is None:
            values.pop("layer_weight")
        if self.band_weight:
            values["band_window"] = asdict(window)
        else:  # as before there were any
            values.pop("band_weight")
        return values


@dataclass(frozen=True)
class DataSplit:
    """Calculations, and how they are divided into training, validation and test.

    Parameters
    ----------
    training : sequence of str
        Paths of calculations. Those for validation and test are taken from them where none are
        given.
    validation, test : sequence of str
        Paths of calculations for validation and for the final errors.
    fractions : (float, float, float)
        Parts of `training` for training, validation and test. If they add up to less than 1, the
        rest is not used.
    seed : int
        Seed of the division.
    bad_data : {"refuse", "skip"}
        Raise an error for a file that is damaged or does not fit, or leave it out.

    Raises
    ------
    MoireioError
        If the fractions add up to more than 1.
    """

    training: Sequence[str]
    validation: Sequence[str] = ()
    test: Sequence[str] = ()
    fractions: tuple[float, float, float] = (0.8, 0.15, 0.05)
    seed: int = 42
    bad_data: Literal["refuse", "skip"] = "refuse"

    def __post_init__(self) -> None:
        """Check the fractions."""
        if sum(self.fractions) > 1 + 1e-9:
            parts = " + ".join(f"{part:g}" for part in self.fractions)
            raise MoireioError(f"`fractions` {parts} add up to more than 1")


@dataclass(frozen=True)
class Architecture:
    """Shape of a new network.

    Parameters
    ----------
    hidden : Irreps
        Features between the blocks.
    blocks : int
        Number of blocks.
    lmax : int
        Highest degree of the edges' harmonics.
    deeph_e3 : bool
        DeepH-E3's network instead of moireio's variant.
    """

    hidden: Irreps = HIDDEN
    blocks: int = 3
    lmax: int = 4
    deeph_e3: bool = False


@dataclass(frozen=True)
class ComputeSettings:
    """Where and how a training is computed.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Device of the network.
    threads : int, optional
        Threads of torch in this process; by default as many as torch has already.
    precision : {"float32", "float64"}
        Precision of the weights.
    memory : float
        Bytes that the samples of all processes on this machine may take; what does not fit is made
        again in every epoch.
    hours : float, optional
        Time after which training stops.
    tensorboard : bool
        Write TensorBoard's files beside the log.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    threads: int | None = None
    precision: Literal["float32", "float64"] = "float32"
    memory: float = math.inf
    hours: float | None = None
    tensorboard: bool = False
