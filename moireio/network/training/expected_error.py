"""What a model expects of its own errors, from its training data.

Two passes through the data: the first finds the spread of the atoms' features, the second how the
errors grow with the distance from their middle.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from moireio.network.expected_error import RIDGE, ExpectedError, FloatArray, weights
from moireio.network.model import NetworkModel
from moireio.network.training.cache import to_device
from moireio.network.training.loss import block_errors
from moireio.network.training.samples import TrainingSample

SMALLEST_SPREAD = 1e-4  # of the features of a block
QUANTILE = 0.99  # of the distances, where the training data end
SLOPES = (0.5, 3.0)
# d², error (eV) and species of every atom of a structure
AtomErrors = tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]

FEW_ATOMS, NARROW = 8, 0.05  # no slope can be had from fewer, or from a narrower spread of ln d


@torch.no_grad()
def fit_expected_error(
    model: NetworkModel, sets: Mapping[str, Iterable[TrainingSample]]
) -> ExpectedError:
    """Find out what errors a model should have.

    Parameters
    ----------
    model : NetworkModel
        The model, trained.
    sets : dict of str to iterable of TrainingSample
        "training", and what there is of "validation" and "test". Where errors of the validation
        set exceed the expected ones by more than those of any structure trained on, all are scaled
        up (the network has learnt its data by heart); the test set only gives `own`.

    Returns
    -------
    ExpectedError
        Errors are the mean |ΔH| over the elements of an atom's blocks.
    """
    n_species = len(model.targets.numbers)
    centres, metrics = _metrics(_features(model, sets["training"]), n_species)
    ones = np.ones(n_species)
    found = ExpectedError(centres, metrics, ones, ones, ones, 0.0, "training")
    rows = _distances_and_errors(model, found, sets["training"])
    squared, errors, species = _joined(rows)
    level, slope, turn = np.ones(n_species), np.ones(n_species), np.ones(n_species)
    for kind in range(n_species):
        chosen = species == kind
        if chosen.any():
            level[kind], slope[kind], turn[kind] = _curve(squared[chosen], errors[chosen])
        else:  # a species of the initial model that the data lack
            level[kind] = errors.mean()
    found = replace(found, level=level, slope=slope, turn=turn, own=float(errors.mean()))
    usual = max(1.0, *(_excess(found, [row]) for row in rows))
    for name in ("validation", "test"):
        rows = _distances_and_errors(model, found, sets.get(name, ()))
        if rows:
            found = replace(found, own=float(_joined(rows)[1].mean()), own_set=name)
            if name == "validation":
                found = replace(found, level=level * max(1.0, _excess(found, rows) / usual))
    return found


def _joined(rows: list[AtomErrors]) -> AtomErrors:
    squared, errors, species = (np.concatenate(column) for column in zip(*rows, strict=True))
    return squared, errors, species


def _excess(found: ExpectedError, rows: list[AtomErrors]) -> float:
    """Return the mean error over the expected one."""
    squared, errors, species = _joined(rows)
    return float(errors.mean() / found.of_atoms(squared, species).mean())


Features = tuple[list[list[torch.Tensor]], torch.Tensor]


def _features(model: NetworkModel, samples: Iterable[TrainingSample]) -> Iterator[Features]:
    """Yield the features of a structure's atoms after every block, and their species."""
    for sample in samples:
        sample = to_device(sample, model.network.embedding.device)
        atoms: list[list[torch.Tensor]] = []
        model.network(sample.species, sample.groups, atoms)
        yield atoms, sample.species


def _metrics(
    features: Iterable[Features], n_species: int
) -> tuple[list[FloatArray], list[list[FloatArray]]]:
    """Return the centres and the metrics."""
    counts = np.zeros(n_species)
    sums: list[FloatArray] = []
    squares: list[list[FloatArray]] = []
    for atoms, species in features:
        if not sums:
            for parts in atoms:
                sums.append(np.zeros((n_species, parts[0].shape[2])))
                squares.append([np.zeros((n_species, *2 * (p.shape[2],))) for p in parts])
        for kind in range(n_species):
            chosen = species == kind
            counts[kind] += int(chosen.sum())
            for b, parts in enumerate(atoms):
                doubles = [p[chosen].double() for p in parts]
                sums[b][kind] += doubles[0].sum(dim=(0, 1)).cpu().numpy()
                for degree, x in enumerate(doubles):
                    square = torch.einsum("nmc,nmd->cd", x, x)
                    squares[b][degree][kind] += square.cpu().numpy()
    counts = np.maximum(counts, 1)
    centres = [total / counts[:, None] for total in sums]
    table = weights(len(sums), range(len(squares[0])))
    metrics = []
    for centre, of_block, block_weights in zip(centres, squares, table, strict=True):
        rows: list[FloatArray] = []
        for degree, (square, weight) in enumerate(zip(of_block, block_weights, strict=True)):
            moments = square / counts[:, None, None] / (2 * degree + 1)
            if degree == 0:
                moments = moments - centre[:, :, None] * centre[:, None]
            floor = SMALLEST_SPREAD * np.sqrt(np.mean(np.square(centre)))
            rows.append(
                np.stack([_whitening(m, floor, weight / (2 * degree + 1)) for m in moments])
            )
        metrics.append(rows)
    return centres, metrics


def _whitening(moments: FloatArray, floor: float, weight: float) -> FloatArray:
    """Return W, with the mean of Σ |x W|² over the training data equal to a weight.

    Parameters
    ----------
    moments : (c, c) array
        Mean of x xᵀ.
    floor : float
        Smallest root mean square of a channel.
    weight : float
        Mean of |x W|² for one component m.
    """
    if moments.size == 0:
        return moments
    spread = np.sqrt(np.maximum(np.diag(moments), 0.0)) + max(floor, 1e-12)
    values, vectors = np.linalg.eigh(moments / spread[:, None] / spread)
    values = np.maximum(values, 0.0)
    softened = values + RIDGE * max(float(values[-1]), RIDGE)
    mean = float((values / softened).sum())
    return vectors / np.sqrt(softened) / spread[:, None] * np.sqrt(weight / max(mean, 1e-3))


def _distances_and_errors(
    model: NetworkModel, found: ExpectedError, samples: Iterable[TrainingSample]
) -> list[AtomErrors]:
    """Return d², the error (eV) and the species of every atom, by structure."""
    head = model.prepare()
    rows: list[AtomErrors] = []
    for sample in samples:
        sample = to_device(sample, model.network.embedding.device)
        atoms: list[list[torch.Tensor]] = []
        n_atoms = len(sample.species)
        total = torch.zeros(n_atoms, dtype=torch.float64, device=sample.species.device)
        count = torch.zeros_like(total)
        for group, difference in block_errors(model, sample, head, atoms):
            first, size = group.geometry.i, difference.shape[1] * difference.shape[2]
            total.index_add_(0, first, difference.abs().double().sum(dim=(1, 2)))
            count.index_add_(0, first, torch.full_like(first, size, dtype=torch.float64))
        squared = torch.zeros_like(total)
        for b, parts in enumerate(atoms):
            squared += found.squared_distance(b, parts, sample.species)
        d2, errors, species = (v.cpu().numpy() for v in (squared, total / count, sample.species))
        rows.append((d2, errors, species))
    return rows


def _curve(squared: FloatArray, errors: FloatArray) -> tuple[float, float, float]:
    """Fit error = level · d^slope; return level, slope, and the distance where the data end."""
    x = np.log(np.maximum(squared, 1e-12)) / 2
    y = np.log(np.maximum(errors, 1e-9))
    slope = 1.0
    if len(x) >= FEW_ATOMS and x.std() > NARROW:
        slope = float(np.clip(np.polyfit(x, y, 1)[0], *SLOPES))
    level = float(errors.mean() / np.exp(slope * x).mean())
    return level, slope, float(np.exp(np.quantile(x, QUANTILE)))
