"""Training: loss, schedule, and a run that can be stopped and continued at any moment."""

import contextlib
import csv
import math
import os
import time
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import nn

from moireio.errors import MoireioError
from moireio.network.training.cache import Samples, to_device
from moireio.network.training.parallel import Workers


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. The defaults are those of the transfer-learning paper.

    Parameters
    ----------
    epochs : int
        At most.
    rate : float
        Learning rate of Adam.
    least_rate : float
        Training ends when the rate falls below it.
    batch : int
        Structures in a step.
    patience, cooldown : int
        Epochs without progress before the rate is lowered, and after that.
    factor, threshold : float
        What it is multiplied with; what counts as progress.
    smoothing : float
        Weight of the newest validation loss in the mean that the schedule looks at.
    revert_patience, revert_factor : int, float
        After so many epochs above twice the best loss the best weights are taken up again, at this
        part of their rate.
    clip : float
        Largest norm of the gradient; 0 for none.
    average : float
        Decay of the averaged weights, which are validated and kept; 0 for none.
    loss : {"mse", "mae"}
        Mean square or mean modulus of the error.
    seed : int
        Of the order of structures.
    schedule : {"plateau", "cosine"}
        Lower the rate when validation no longer improves, or along half a cosine down to
        `least_rate` in the last of `epochs`.
    """

    epochs: int = 3000
    rate: float = 2e-3
    least_rate: float = 3e-5
    batch: int = 1
    patience: int = 100
    cooldown: int = 40
    factor: float = 0.5
    threshold: float = 0.05
    smoothing: float = 0.1
    revert_patience: int = 20
    revert_factor: float = 0.8
    clip: float = 10.0
    average: float = 0.0
    loss: str = "mse"
    seed: int = 42
    schedule: str = "plateau"

    def cosine(self, epoch):
        """Return the rate in an epoch (counted from 0) of the cosine schedule."""
        part = min(1.0, epoch / max(1, self.epochs - 1))
        return self.least_rate + (self.rate - self.least_rate) * (1 + math.cos(math.pi * part)) / 2


@dataclass
class TrainingState:
    """Where a training stands.

    Parameters
    ----------
    epoch : int
        Epochs done.
    best : float
        Least validation loss.
    best_epoch : int
        When that was.
    smooth : float
        Smoothed validation loss.
    reference : float
        What the schedule compares it with.
    bad, cooling, worse : int
        Counters of epochs: without progress, of the cooldown, far above the best.
    """

    epoch: int = 0
    best: float = math.inf
    best_epoch: int = 0
    smooth: float = math.nan
    reference: float = math.inf
    bad: int = 0
    cooling: int = 0
    worse: int = 0
    history: list = field(default_factory=list)


def raw_blocks(model, head, sample, features):
    """Return the network's blocks of a structure.

    Parameters
    ----------
    model : Model
        The model.
    head : PreparedHead
        Of the model.
    sample : Sample
        The structure.
    features : list of lists of tensors
        What the network returned for its groups.

    Returns
    -------
    list of (Kind, tensor)
        Blocks of the edges of each kind, eV.
    """
    joined = [torch.cat(parts) for parts in zip(*features, strict=True)]
    out = []
    for (one, two), kinds in sample.kinds.items():
        for kind in kinds:
            parts = [p.index_select(0, kind.edges) for p in joined]
            out.append((kind, head(parts, kind.geometry, one, two)))
    return out


def errors(model, sample, head=None):
    """Return the error of every block of a structure.

    Parameters
    ----------
    model : Model
        The model. A DeepH-E3 network is compared as it is, moireio's with its Hermitian part.
    sample : Sample
        The structure.
    head : PreparedHead, optional
        If it was made before.

    Returns
    -------
    list of (Kind, tensor)
        Predicted minus true blocks, eV.
    """
    head = head or model.prepare()
    made = raw_blocks(model, head, sample, model.network(sample.species, sample.groups))
    if not model.network.settings.local:
        return [(kind, blocks - kind.blocks) for kind, blocks in made]
    place = {(k.one, k.two, k.geometry.site): b for k, b in made}
    out = []
    for kind, blocks in made:
        other = place[kind.two, kind.one, kind.geometry.site].index_select(0, kind.partner)
        out.append((kind, (blocks + other.mH) / 2 - kind.blocks))
    return out


def loss_of(found, kind="mse"):
    """Return the loss of a structure.

    Parameters
    ----------
    found : list of (Kind, tensor)
        From `errors`.
    kind : {"mse", "mae"}
        Which.

    Returns
    -------
    tensor
        Mean over all elements of |ΔH|² (eV²) or |ΔH| (eV).
    """
    total = count = 0
    for _, gap in found:
        real = torch.view_as_real(gap) if gap.is_complex() else gap
        if kind == "mse":
            total = total + real.square().sum()
        elif gap.is_complex():
            total = total + torch.sqrt(real.square().sum(dim=-1) + 1e-12).sum()
        else:
            total = total + real.abs().sum()
        count += gap.numel()
    return total / count


class _Loss(nn.Module):
    """The loss of a structure as a module, which is what torch can distribute."""

    def __init__(self, model, kind):
        super().__init__()
        self.network, self._model, self._kind = model.network, model, kind

    def forward(self, sample):
        """Return the loss."""
        return loss_of(errors(self._model, sample), self._kind)


class Training:
    """A training that can be stopped and continued.

    Parameters
    ----------
    model : Model
        Is trained in place; on the device of the workers.
    train, validation : Samples, or sequences of Sample
        The data.
    plan : TrainingConfig
        How.
    folder : str, optional
        Where its state is kept, as ``state.pt`` and ``log.csv``.
    key : str
        What identifies the run; the state of another one is refused.
    workers : Workers, optional
        Who shares the structures of a batch.
    """

    def __init__(self, model, train, validation, plan, folder=None, key="", workers=None):
        self.model, self.plan, self.folder, self.key = model, plan, folder, key
        self.train, self.validation = Samples.of(train), Samples.of(validation)
        self.workers = workers or Workers()
        self.weights = [p for p in model.network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.weights, lr=plan.rate)
        self.progress = TrainingState()
        self.average = [w.detach().clone() for w in self.weights] if plan.average else None
        self.best = self.best_state = None
        self.steps = 0
        if folder is not None:
            os.makedirs(folder, exist_ok=True)
            self._load()
        self._loss = self.workers.wrap(_Loss(model, plan.loss))

    @property
    def rate(self):
        """The learning rate."""
        return self.optimiser.param_groups[0]["lr"]

    @rate.setter
    def rate(self, value):
        self.optimiser.param_groups[0]["lr"] = value

    @property
    def finished(self):
        """Whether nothing is left to do."""
        low = self.plan.schedule == "plateau" and self.rate < self.plan.least_rate
        return self.progress.epoch >= self.plan.epochs or low

    def step(self, samples, counted=None):
        """Make one step.

        Parameters
        ----------
        samples : sequence of Sample
            The batch; with several workers this one's part of it, as many as the others have.
        counted : sequence of bool, optional
            Which of them count.

        Returns
        -------
        float
            The loss before it.

        Raises
        ------
        MoireioError
            If the loss is not finite.
        """
        self.optimiser.zero_grad()
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
        if self.plan.clip:
            torch.nn.utils.clip_grad_norm_(self.weights, self.plan.clip)
        self.optimiser.step()
        self.steps += 1
        if self.average is not None:
            # young averages forget faster
            decay = min(self.plan.average, self.steps / (self.steps + 10))
            with torch.no_grad():
                for a, w in zip(self.average, self.weights, strict=True):
                    a.lerp_(w, 1 - decay)
        return total

    def _refuse(self, label):
        """Stop all workers if one met a loss that is not finite."""
        if not self.workers.total([label is not None])[0]:
            return
        raise MoireioError(
            f"the loss is no longer finite (epoch {self.progress.epoch + 1})",
            path=next(found for found in self.workers.gather(label) if found),
            remedy="train anew with a lower --rate, or leave the structure out",
        )

    def epoch(self):
        """Go through the training data once, validate, and set the rate.

        Returns
        -------
        dict
            What the log gets.
        """
        begin, plan, p = time.monotonic(), self.plan, self.progress
        if plan.schedule == "cosine":
            self.rate = plan.cosine(p.epoch)
        order = np.random.default_rng([plan.seed, p.epoch]).permutation(len(self.train))
        batches = [order[n : n + plan.batch] for n in range(0, len(order), plan.batch)]
        shares = [self._share(batch) for batch in batches]
        coming = self.train.in_order([n for share in shares for n, _ in share])
        losses, sizes = [], []
        for share in shares:
            samples, counted = [next(coming) for _ in share], [c for _, c in share]
            losses.append(self.step(samples, counted))
            own = [s.elements for s, c in zip(samples, counted, strict=True) if c]
            sizes.append(self.workers.total([sum(own)])[0])
        with self.averaged():
            loss, mean = self.validate(self.validation)
        p.epoch += 1
        row = {
            "epoch": p.epoch,
            "rate": self.rate,
            "training_loss": float(np.average(losses, weights=sizes)),
            "validation_loss": loss,
            "validation_mae_meV": mean * 1e3,
            "best_epoch": p.best_epoch,
            "seconds": time.monotonic() - begin,
        }
        self._judge(loss)
        row["best_epoch"] = p.best_epoch
        p.history.append(row)
        return row

    def _share(self, batch):
        """Return this worker's part of a batch: structures, and whether they count.

        All workers get as many; what fills up the last ones does not count.
        """
        missing = -len(batch) % self.workers.count
        whole = [(int(n), True) for n in batch] + [(int(batch[0]), False)] * missing
        return self.workers.own(whole)

    def averaged(self):
        """Return a context in which the network has its averaged weights."""
        return _Swapped(self.weights, self.average)

    @torch.no_grad()
    def validate(self, samples):
        """Return the loss and the mean modulus of the error over some structures.

        Parameters
        ----------
        samples : sequence of Sample
            The data.

        Returns
        -------
        loss, mean : float
            Of all elements together; the mean in eV.
        """
        head, total, mean, count = self.model.prepare(), 0.0, 0.0, 0
        samples = Samples.of(samples)
        for sample in samples.in_order(self.workers.own(range(len(samples)))):
            found = errors(self.model, to_device(sample, self.workers.device), head)
            total += float(loss_of(found, self.plan.loss)) * sample.elements
            mean += sum(float(gap.abs().sum()) for _, gap in found)
            count += sample.elements
        total, mean, count = self.workers.total([total, mean, count])
        return total / count, mean / count

    def _judge(self, loss):
        """Keep the best weights; lower the rate or go back, as DeepH-E3 does."""
        plan, p = self.plan, self.progress
        if loss < p.best:
            p.best, p.best_epoch, p.worse = loss, p.epoch, 0
            with self.averaged():
                self.best = [w.detach().clone() for w in self.weights]
            self.best_state = _copied((self.optimiser.state_dict(), self.rate))
        p.worse = p.worse + 1 if loss > 2 * p.best else 0
        if p.worse >= plan.revert_patience:
            state, rate = _copied(self.best_state)
            with torch.no_grad():
                for w, b in zip(self.weights, self.best, strict=True):
                    w.copy_(b)
                if self.average is not None:
                    for a, b in zip(self.average, self.best, strict=True):
                        a.copy_(b)
            self.optimiser.load_state_dict(state)
            self.rate = rate * plan.revert_factor
            p.worse, p.bad, p.cooling = 0, 0, plan.cooldown
            return
        if plan.schedule == "cosine":
            return
        s = plan.smoothing
        p.smooth = loss if math.isnan(p.smooth) else s * loss + (1 - s) * p.smooth
        if p.smooth < p.reference * (1 - plan.threshold):
            p.reference, p.bad = p.smooth, 0
        else:
            p.bad += 1
        if p.cooling > 0:
            p.cooling, p.bad = p.cooling - 1, 0
        if p.bad > plan.patience:
            self.rate = self.rate * plan.factor
            p.cooling, p.bad = plan.cooldown, 0

    def take_best(self):
        """Give the network the best weights seen."""
        if self.best is not None:
            with torch.no_grad():
                for w, b in zip(self.weights, self.best, strict=True):
                    w.copy_(b)

    # The state between two epochs.

    def save(self):
        """Keep the state, all or nothing."""
        if not self.workers.first:
            return
        p = asdict(self.progress)
        history = p.pop("history")
        state = {
            "key": self.key,
            "progress": p,
            "steps": self.steps,
            "weights": [w.detach() for w in self.weights],
            "average": self.average,
            "best": self.best,
            "best_state": self.best_state,
            "optimiser": self.optimiser.state_dict(),
            "history": [list(row.values()) for row in history],
            "columns": list(history[0]) if history else [],
        }
        path = os.path.join(self.folder, "state.pt")
        with open(path + ".new", "wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(path + ".new", path)
        with open(os.path.join(self.folder, "log.csv.new"), "w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(state["columns"])
            writer.writerows(state["history"])
        os.replace(os.path.join(self.folder, "log.csv.new"), os.path.join(self.folder, "log.csv"))

    def _load(self):
        path = os.path.join(self.folder, "state.pt")
        if not os.path.exists(path):
            return
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
        except OSError:
            raise
        except Exception as error:
            raise MoireioError(
                "is not the state of a training", path=path, remedy="remove it to begin again"
            ) from error
        if state["key"] != self.key:
            raise MoireioError(
                "belongs to a training with other data, network or settings",
                path=path,
                remedy="remove it to begin again, or use another -o",
            )
        rows = [dict(zip(state["columns"], row, strict=True)) for row in state["history"]]
        self.progress = TrainingState(**state["progress"], history=rows)
        self.steps = state["steps"]
        with torch.no_grad():
            for w, saved in zip(self.weights, state["weights"], strict=True):
                w.copy_(saved)
        here = [to_device(state[n], self.workers.device) for n in ("average", "best", "best_state")]
        self.average, self.best, self.best_state = here
        self.optimiser.load_state_dict(state["optimiser"])


class _Swapped:
    """Exchanges weights with their averages for a while."""

    def __init__(self, weights, average):
        self._weights, self._average, self._kept = weights, average, None

    def __enter__(self):
        if self._average is not None:
            self._kept = [w.detach().clone() for w in self._weights]
            self._set(self._average)

    def __exit__(self, *exc):
        if self._average is not None:
            self._set(self._kept)

    @torch.no_grad()
    def _set(self, values):
        for w, v in zip(self._weights, values, strict=True):
            w.copy_(v)


def _copied(value):
    """Return a deep copy of nested dicts, lists and tensors."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(v) for v in value)
    return value
