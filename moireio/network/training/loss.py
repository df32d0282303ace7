"""Errors of predicted blocks of H, and the loss of a structure."""

from collections.abc import Iterable

import torch
from torch import nn

from moireio.network.model import NetworkModel, PreparedHead
from moireio.network.training.samples import SpeciesPairBlocks, TrainingSample

BlockErrors = list[tuple[SpeciesPairBlocks, torch.Tensor]]


def raw_blocks(
    model: NetworkModel,
    head: PreparedHead,
    sample: TrainingSample,
    features: Iterable[list[torch.Tensor]],
) -> BlockErrors:
    """Return the network's blocks of a structure.

    Parameters
    ----------
    model : NetworkModel
        The model.
    head : PreparedHead
        Its last layers.
    sample : TrainingSample
        The structure.
    features : list of lists of tensors
        Features that the network returned for the groups of edges.

    Returns
    -------
    list of (SpeciesPairBlocks, tensor)
        Blocks of the edges of each pair of species, eV.
    """
    joined = [torch.cat(parts) for parts in zip(*features, strict=True)]
    out = []
    for group in sample.all_blocks():
        parts = [p.index_select(0, group.edges) for p in joined]
        out.append((group, head(parts, group.geometry, group.species_i, group.species_j)))
    return out


def block_errors(
    model: NetworkModel,
    sample: TrainingSample,
    head: PreparedHead | None = None,
    atoms: list[list[torch.Tensor]] | None = None,
) -> BlockErrors:
    """Return the error of every block of a structure.

    A DeepH-E3 network is compared as it is, moireio's variant with its Hermitian part. Where the
    sample holds S, the multiple of S that makes the errors smallest is removed from them.

    Parameters
    ----------
    model : NetworkModel
        The model.
    sample : TrainingSample
        The structure.
    head : PreparedHead, optional
        Its last layers, if they were prepared before.
    atoms : list, optional
        Gets the features of the atoms after every block of the network.

    Returns
    -------
    list of (SpeciesPairBlocks, tensor)
        Predicted minus true blocks, eV.
    """
    head = head or model.prepare()
    features = model.network(sample.species, sample.groups, atoms)
    predicted = raw_blocks(model, head, sample, features)
    if not model.network.settings.local:
        return without_shift([(group, blocks - group.blocks) for group, blocks in predicted])
    by_species = {(g.species_i, g.species_j, g.geometry.site): b for g, b in predicted}
    out = []
    for group, blocks in predicted:
        key = group.species_j, group.species_i, group.geometry.site
        adjoint = by_species[key].index_select(0, group.partner).mH
        out.append((group, (blocks + adjoint) / 2 - group.blocks))
    return without_shift(out)


def without_shift(errors: BlockErrors) -> BlockErrors:
    """Remove μ·S from the errors of a structure, with the μ that minimises Σ |ΔH − μS|².

    H and H + μS are the same physics.

    Parameters
    ----------
    errors : list of (SpeciesPairBlocks, tensor)
        Error of every block.

    Returns
    -------
    list of (SpeciesPairBlocks, tensor)
        What is left, eV; the same where the groups hold no S.
    """
    if not errors or any(group.overlap is None for group, _ in errors):
        return errors
    products = [(d.real * group.overlap).sum() for group, d in errors]
    mu = sum(products) / sum(group.overlap.square().sum() for group, _ in errors)
    return [(group, d - mu * group.overlap) for group, d in errors]


def mean_loss(errors: BlockErrors, kind: str = "mse") -> torch.Tensor:
    """Return the loss of a structure.

    Parameters
    ----------
    errors : list of (SpeciesPairBlocks, tensor)
        From `block_errors`.
    kind : {"mse", "mae"}
        Mean square or mean absolute error.

    Returns
    -------
    tensor
        Mean over all elements of |ΔH|² (eV²) or |ΔH| (eV).
    """
    total = count = 0
    for _, difference in errors:
        real = torch.view_as_real(difference) if difference.is_complex() else difference
        if kind == "mse":
            total = total + real.square().sum()
        elif difference.is_complex():
            total = total + torch.sqrt(real.square().sum(dim=-1) + 1e-12).sum()
        else:
            total = total + real.abs().sum()
        count += difference.numel()
    return total / count


def without_layer_shifts(
    errors: BlockErrors, layers: torch.Tensor, weight: float
) -> tuple[BlockErrors, torch.Tensor]:
    """Remove errors of the layers' levels as far as that costs less than it saves.

    A level v_i, the same for all atoms of a layer, adds (v_i + v_j) S_ij / 2 to H. The v are those
    that minimise Σ |ΔH_ij − (v_i + v_j) S_ij / 2|² + weight · Σ (v_i − v̄)²: generalised least
    squares, for targets in which the levels of layers are less certain than all else.

    Parameters
    ----------
    errors : list of (SpeciesPairBlocks, tensor)
        Error of every block; the groups hold S.
    layers : (N,) tensor of int
        Layer of every atom.
    weight : float
        Weight of the levels.

    Returns
    -------
    errors : list of (SpeciesPairBlocks, tensor)
        What is left of the errors, eV.
    penalty : tensor
        The last sum with its weight, eV².
    """
    start = errors[0][1].real
    sizes = torch.bincount(layers).to(start)
    count = len(sizes)
    matrix, vector = start.new_zeros(count, count), start.new_zeros(count)
    for group, d in errors:
        i, j = layers[group.geometry.i], layers[group.geometry.j]
        product = (d.real * group.overlap).sum(dim=(1, 2)) / 2
        square = group.overlap.square().sum(dim=(1, 2)) / 4
        vector = vector.index_add(0, i, product).index_add(0, j, product)
        for one, two in ((i, i), (j, j), (i, j), (j, i)):
            matrix.index_put_((one, two), square, accumulate=True)
    spread = torch.diag(sizes) - torch.outer(sizes, sizes) / len(layers)
    levels = torch.linalg.solve(matrix + weight * spread, vector)
    left = []
    for group, d in errors:
        mean = (levels[layers[group.geometry.i]] + levels[layers[group.geometry.j]]) / 2
        left.append((group, d - mean[:, None, None] * group.overlap))
    return left, weight * levels @ spread @ levels


class LossModule(nn.Module):
    """The loss of a structure as a module, which torch can distribute.

    Parameters
    ----------
    model : NetworkModel
        The model.
    kind : {"mse", "mae"}
        Mean square or mean absolute error.
    band_weight : float
        Weight of the error of the bands near the Fermi level (`WindowStates.loss`; with "mae" its
        root).
    layer_weight : float, optional
        Weight of errors of the layers' levels (`without_layer_shifts`), for elements and bands; by
        default all of them count. With "mse" only.

    Attributes
    ----------
    turn : int
        Which of a structure's k points counts in `forward`; they take turns.
    """

    def __init__(
        self,
        model: NetworkModel,
        kind: str,
        band_weight: float = 0.0,
        layer_weight: float | None = None,
    ) -> None:
        super().__init__()
        self._layer_weight = layer_weight
        self.network, self._model, self._kind = model.network, model, kind
        self._band_weight, self.turn = band_weight, 0

    def forward(self, sample: TrainingSample) -> torch.Tensor:
        """Return the loss of a sample, with the error of its bands at one k point."""
        errors = block_errors(self._model, sample)
        penalty = 0.0
        if self._layer_weight is not None:
            errors, penalty = without_layer_shifts(errors, sample.layers, self._layer_weight)
            penalty = penalty / sample.elements
        loss = mean_loss(errors, self._kind) + penalty
        if not self._band_weight or sample.states is None:
            return loss
        bands = sample.states.loss(errors, self.turn % len(sample.states))
        return loss + self._band_weight * as_loss(bands, self._kind)


def as_loss(mean_square: torch.Tensor, kind: str) -> torch.Tensor:
    """Return a mean square as it enters a loss.

    Parameters
    ----------
    mean_square : tensor
        eV².
    kind : {"mse", "mae"}
        Kind of the loss.

    Returns
    -------
    tensor
        Itself (eV²), or its root (eV).
    """
    return mean_square if kind == "mse" else torch.sqrt(mean_square + 1e-12)
