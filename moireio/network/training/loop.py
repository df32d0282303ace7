"""The loop over epochs: steps, validation, schedule; it can be stopped and continued."""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from moireio.errors import MoireioError
from moireio.network.model import NetworkModel
from moireio.network.training.cache import Samples, to_device
from moireio.network.training.config import TrainingConfig
from moireio.network.training.loss import LossModule, as_loss, block_errors, mean_loss
from moireio.network.training.parallel import Workers
from moireio.network.training.samples import TrainingSample
from moireio.network.training.state import STATE_FILE, TrainingState, read_state, write_state
from moireio.runtime.locks import Lock
from moireio.runtime.workdirs import claim


class Training:
    """A training that can be stopped and continued.

    Parameters
    ----------
    model : NetworkModel
        Model that is trained in place, on the device of the workers.
    training, validation : Samples, or sequences of TrainingSample
        Data.
    config : TrainingConfig
        Settings of the optimisation.
    folder : str, optional
        Folder that keeps the state, as ``state.pt`` and ``log.csv``.
    key : str
        Identifies the run; the state of another one is refused.
    workers : Workers, optional
        Processes that share the structures of a batch.
    """

    def __init__(
        self,
        model: NetworkModel,
        training: Samples | Sequence[TrainingSample],
        validation: Samples | Sequence[TrainingSample],
        config: TrainingConfig,
        folder: str | None = None,
        key: str = "",
        workers: Workers | None = None,
    ) -> None:
        self.model, self.config, self.folder, self.key = model, config, folder, key
        self.training, self.validation = Samples.of(training), Samples.of(validation)
        self.workers = workers or Workers()
        self.weights = [p for p in model.network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.weights, lr=config.learning_rate)
        self.state = TrainingState()
        # averages of the weights, and the best of these so far
        self.ema = [w.detach().clone() for w in self.weights] if config.ema_decay else None
        self.best: list[torch.Tensor] | None = None
        self._best_optimiser: tuple[dict[str, Any], float] | None = None
        self._lock: Lock | None = None
        if folder is not None:
            self._claim()
            self._load()
        self._module = LossModule(model, config.loss, config.band_weight, config.layer_weight)
        self._loss = self.workers.wrap(self._module)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the optimiser."""
        return self.optimiser.param_groups[0]["lr"]

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.optimiser.param_groups[0]["lr"] = value

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        if self.state.epoch >= self.config.epochs:
            return True
        plateau = self.config.schedule == "plateau"
        return plateau and self.learning_rate < self.config.min_learning_rate

    def step(
        self, samples: Sequence[TrainingSample], counted: Sequence[bool] | None = None
    ) -> float:
        """Make one step.

        Parameters
        ----------
        samples : sequence of TrainingSample
            The batch; with several workers this one's part of it, as many as the others have.
        counted : sequence of bool, optional
            Whether each sample counts; by default all do.

        Returns
        -------
        float
            The loss before the step.

        Raises
        ------
        MoireioError
            If the loss is not finite.
        """
        self.optimiser.zero_grad()
        self._module.turn = self.state.steps
        workers = self.workers
        sizes = [s.elements for s in samples]
        if counted is not None:
            sizes = [n * bool(c) for n, c in zip(sizes, counted, strict=True)]
        elements = workers.total([sum(sizes)])[0]
        total, bad = 0.0, None
        for number, (sample, size) in enumerate(zip(samples, sizes, strict=True)):
            last = number == len(samples) - 1
            with contextlib.nullcontext() if last or workers.count == 1 else self._loss.no_sync():
                loss = self._loss(to_device(sample, workers.device))
                if not torch.isfinite(loss):
                    bad = bad or sample.label
                if last or workers.count == 1:
                    self._refuse(bad)
                # of several workers' gradients the mean is taken
                (loss * (workers.count * size / elements)).backward()
            total += float(loss.detach()) * size / elements
        total = workers.total([total])[0]
        if self.config.clip:
            torch.nn.utils.clip_grad_norm_(self.weights, self.config.clip)
        self.optimiser.step()
        self.state.steps += 1
        if self.ema is not None:
            # young averages forget faster
            decay = min(self.config.ema_decay, self.state.steps / (self.state.steps + 10))
            with torch.no_grad():
                for mean, weight in zip(self.ema, self.weights, strict=True):
                    mean.lerp_(weight, 1 - decay)
        return total

    def _refuse(self, label: str | None) -> None:
        """Stop all workers if one met a loss that is not finite."""
        if not self.workers.total([label is not None])[0]:
            return
        raise MoireioError(
            f"the loss is no longer finite (epoch {self.state.epoch + 1})",
            path=next(bad for bad in self.workers.gather(label) if bad),
            remedy="train anew with a lower `learning_rate`, or leave the structure out",
        )

    def epoch(self) -> dict[str, Any]:
        """Go through the training data once, validate, and set the learning rate.

        Returns
        -------
        dict
            Row of the log.
        """
        begin, config, state = time.monotonic(), self.config, self.state
        if config.schedule == "cosine":
            self.learning_rate = config.cosine(state.epoch)
        order = np.random.default_rng([config.seed, state.epoch]).permutation(len(self.training))
        batches = [order[n : n + config.batch] for n in range(0, len(order), config.batch)]
        shares = [self._share(batch) for batch in batches]
        stream = self.training.in_order([n for share in shares for n, _ in share])
        losses, sizes = [], []
        for share in shares:
            samples, counted = [next(stream) for _ in share], [c for _, c in share]
            losses.append(self.step(samples, counted))
            elements = [s.elements for s, c in zip(samples, counted, strict=True) if c]
            sizes.append(self.workers.total([sum(elements)])[0])
        with self.averaged():
            loss, mean, bands = self.validate(self.validation)
        state.epoch += 1
        row = {
            "epoch": state.epoch,
            "rate": self.learning_rate,
            "training_loss": float(np.average(losses, weights=sizes)),
            "validation_loss": loss,
            "validation_mae_meV": mean * 1e3,
            "best_epoch": state.best_epoch,
            "seconds": time.monotonic() - begin,
        }
        if config.band_weight:
            row["validation_bands_meV"] = bands * 1e3
        self.update_schedule(loss)
        row["best_epoch"] = state.best_epoch
        state.history.append(row)
        return row

    def _share(self, batch: npt.NDArray[np.int64]) -> list[tuple[int, bool]]:
        """Return this worker's part of a batch: structures, and whether they count.

        All workers get as many; those that fill up the last parts do not count.
        """
        missing = -len(batch) % self.workers.count
        filled = [(int(n), True) for n in batch] + [(int(batch[0]), False)] * missing
        return self.workers.share(filled)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the network its averaged weights for a while.

        Yields
        ------
        None
            While the network has them.
        """
        if self.ema is None:
            yield
            return
        weights = _copied(self.weights)
        _set(self.weights, self.ema)
        try:
            yield
        finally:
            _set(self.weights, weights)

    @torch.no_grad()
    def validate(self, samples: Samples | Sequence[TrainingSample]) -> tuple[float, float, float]:
        """Return loss and errors of some structures.

        Parameters
        ----------
        samples : sequence of TrainingSample
            Structures.

        Returns
        -------
        loss : float
            Loss over all elements together.
        mean : float
            Mean of |ΔH|, eV.
        bands : float
            Root of the mean square error of the bands in the window, at all their k points, eV; 0
            without `band_weight`.
        """
        config = self.config
        head, sums = self.model.prepare(), np.zeros(4)
        samples = Samples.of(samples)
        for sample in samples.in_order(self.workers.share(range(len(samples)))):
            sample = to_device(sample, self.workers.device)
            errors = block_errors(self.model, sample, head)
            loss, bands, n = float(mean_loss(errors, config.loss)), 0.0, sample.elements
            if config.band_weight and sample.states is not None:
                found = sample.states.mean_loss(errors)
                loss += config.band_weight * float(as_loss(found, config.loss))
                bands = float(found)
            mean = sum(float(difference.abs().sum()) for _, difference in errors)
            sums += loss * n, mean, bands * n, n
        loss, mean, bands, count = self.workers.total(sums.tolist())
        return loss / count, mean / count, math.sqrt(bands / count)

    def update_schedule(self, loss: float) -> None:
        """Keep the best weights, lower the learning rate or go back, as DeepH-E3 does.

        Parameters
        ----------
        loss : float
            Validation loss of the epoch.
        """
        config, state = self.config, self.state
        if loss < state.best_loss:
            state.best_loss, state.best_epoch, state.far_above_best = loss, state.epoch, 0
            with self.averaged():
                self.best = _copied(self.weights)
            self._best_optimiser = _copied((self.optimiser.state_dict(), self.learning_rate))
        far = loss > 2 * state.best_loss
        state.far_above_best = state.far_above_best + 1 if far else 0
        if state.far_above_best >= config.revert_patience:
            self._revert()
        elif config.schedule == "plateau":
            self._lower_on_plateau(loss)

    def _revert(self) -> None:
        """Go on from the best weights, with a lower learning rate."""
        optimiser, learning_rate = _copied(self._best_optimiser)
        _set(self.weights, self.best)
        if self.ema is not None:
            _set(self.ema, self.best)
        self.optimiser.load_state_dict(optimiser)
        self.learning_rate = learning_rate * self.config.revert_factor
        state = self.state
        state.far_above_best, state.without_progress = 0, 0
        state.cooling = self.config.cooldown

    def _lower_on_plateau(self, loss: float) -> None:
        """Lower the learning rate when the smoothed loss has not fallen for long."""
        config, state = self.config, self.state
        new = config.smoothing
        first = math.isnan(state.smoothed_loss)
        state.smoothed_loss = loss if first else new * loss + (1 - new) * state.smoothed_loss
        if state.smoothed_loss < state.reference_loss * (1 - config.threshold):
            state.reference_loss, state.without_progress = state.smoothed_loss, 0
        else:
            state.without_progress += 1
        if state.cooling > 0:
            state.cooling, state.without_progress = state.cooling - 1, 0
        if state.without_progress > config.patience:
            self.learning_rate = self.learning_rate * config.factor
            state.cooling, state.without_progress = config.cooldown, 0

    def take_best(self) -> None:
        """Give the network the best weights so far."""
        if self.best is not None:
            _set(self.weights, self.best)

    def take_last(self) -> None:
        """Give the network the averaged weights of the last epoch, if there is an average."""
        if self.ema is not None:
            _set(self.weights, self.ema)

    def save(self) -> None:
        """Write the state to `folder`, all or nothing; only the first worker does."""
        if not self.workers.first:
            return
        tensors = {
            "weights": [w.detach() for w in self.weights],
            "ema": self.ema,
            "best": self.best,
            "best_optimiser": self._best_optimiser,
            "optimiser": self.optimiser.state_dict(),
        }
        write_state(self.folder, self.key, self.state, tensors)

    def close(self) -> None:
        """Leave the folder to others."""
        if self._lock is not None:
            self._lock.release(remove=True)

    def _claim(self) -> None:
        """Keep other runs out of the folder; all workers stop if one is in it."""
        error = None
        if self.workers.first:
            try:
                self._lock = claim(self.folder, [STATE_FILE])
            except MoireioError as refusal:
                error = refusal
        error = next(filter(None, self.workers.gather(error)), None)
        if error is not None:
            raise error

    def _load(self) -> None:
        stored = read_state(self.folder, self.key)
        if stored is None:
            return
        self.state, tensors = stored
        _set(self.weights, tensors["weights"])
        here = [
            to_device(tensors[name], self.workers.device)
            for name in ("ema", "best", "best_optimiser")
        ]
        self.ema, self.best, self._best_optimiser = here
        self.optimiser.load_state_dict(tensors["optimiser"])


@torch.no_grad()
def _set(weights: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
    """Copy values into weights."""
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)


def _copied(value: Any) -> Any:
    """Return a deep copy of nested dicts, lists and tensors."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(v) for v in value)
    return value
