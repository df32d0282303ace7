"""Networks for further elements."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from moireio.errors import MoireioError
from moireio.network.head import Targets, all_targets, channels_of
from moireio.network.irreps import Layout
from moireio.network.linear import Linear
from moireio.network.model import NetworkModel
from moireio.network.net import Calibration, Network
from moireio.runtime.random import torch_seed
from moireio.system.basis import Basis


@torch.no_grad()
def extended(
    model: NetworkModel, basis: Basis, numbers: Sequence[int], seed: int = 0
) -> tuple[NetworkModel, set[int]]:
    """Return a model for more species, which predicts the same for the old ones.

    The new species begin with random embeddings, with the mean of the old species' maps, and with
    blocks that still have to be calibrated and learnt.

    Parameters
    ----------
    model : NetworkModel
        Model to extend; it is not changed.
    basis : Basis
        Orbitals of the new species.
    numbers : sequence of int
        Their atomic numbers.
    seed : int
        Seed of the random weights.

    Returns
    -------
    model : NetworkModel
        The old species come first.
    fresh : set of int
        Entries of its output that the old model did not have.

    Raises
    ------
    MoireioError
        If blocks of the new species need features that the network does not have.
    """
    old, old_targets = model.network, model.targets
    shells = [*old_targets.shells, *(species.l for species in basis.species.values())]
    targets = all_targets(
        [*old_targets.numbers, *numbers],
        shells,
        old_targets.spinful,
        even=old_targets.even,
        merge=model.kind == "deeph-e3",
        time_reversal=old_targets.time_reversal,
    )
    reaches = old.settings.reaches
    if reaches:
        reaches = (*reaches, *(species.cutoff for species in basis.species.values()))
    settings = old.settings.with_(species=len(shells), out_edge=targets.irreps(), reaches=reaches)
    available = {e.kind for e in old.lin_edge.source.irreps}
    lacking = [e for e in settings.out_edge if e.kind not in available]
    if lacking:
        raise MoireioError(
            f"its last features lack {lacking[0]}, which blocks of {', '.join(basis.species)} need",
            path=model.label,
            remedy="train a new network with all elements",
        )
    with torch_seed(seed):
        network = Network(settings).to(old.dtype)
    _copy_unaffected(old, network)
    count, n_old = len(shells), old.settings.species
    network.embedding[:n_old] = old.embedding * np.sqrt(count / n_old)
    for block, old_block in zip(network.blocks, old.blocks, strict=True):
        _copy_kinds(old_block.node.sc, block.node.sc, lambda s: s if s < n_old else None)
        _copy_kinds(old_block.edge.sc, block.edge.sc, lambda k: _old_pair(k, count, n_old))
    old_entry = _old_entries(old_targets, targets)
    _copy_output(old.lin_edge, network.lin_edge, old_entry)
    if network.calibration is not None:
        _copy_calibration(old.calibration, network.calibration, old_entry)
    species = {} if model.basis is None else dict(model.basis.species)
    species = species | dict(basis.species)
    names = (*model.names, *basis.species)
    joined = Basis({n: species[n] for n in names}) if set(names) <= set(species) else None
    new_model = NetworkModel(
        network, targets, model.kind, names, joined, dict(model.training), model.label
    )
    return new_model, set(range(len(settings.out_edge))) - set(old_entry)


def _old_pair(pair: int, count: int, n_old: int) -> int | None:
    """Return the old number of a pair of species, or None if one is new."""
    one, two = divmod(pair, count)
    return one * n_old + two if max(one, two) < n_old else None


def _copy_unaffected(old: Network, new: Network) -> None:
    """Copy all weights that do not depend on the number of species."""
    values = dict(old.named_parameters())
    for name, weight in new.named_parameters():
        parts = name.split(".")
        if parts[0] in ("embedding", "lin_edge", "calibration") or "sc" in parts:
            continue
        weight.copy_(values[name])


def _copy_kinds(old: Linear, new: Linear, old_kind: Callable[[int], int | None]) -> None:
    """Copy the maps of the old kinds; a new kind gets the mean."""
    maps = old.matrices()
    mean = [torch.stack(of_degree).mean(dim=0) for of_degree in zip(*maps, strict=True)]
    kinds = [old_kind(kind) for kind in range(new.kinds)]
    new.set_matrices([mean if kind is None else maps[kind] for kind in kinds])


def _old_entries(old: Targets, new: Targets) -> dict[int, int]:
    """Return the old entry of every entry of the output that was there before."""
    first, n_old = {}, 0
    for target in old.targets:
        for pair, shells in target.items():
            first[pair, shells] = n_old
        n_old += len(channels_of(*old.degrees(target), old.spinful))
    out, place = {}, 0
    n_new = sum(len(channels_of(*new.degrees(t), new.spinful)) for t in new.targets)
    for target in new.targets:
        size = len(channels_of(*new.degrees(target), new.spinful))
        begin = next((first[key] for key in target.items() if key in first), None)
        if begin is not None:
            for n in range(size):
                for half in range(new.halves):
                    out[half * n_new + place + n] = half * n_old + begin + n
        place += size
    return out


def _copy_output(old: Linear, new: Linear, old_entry: Mapping[int, int]) -> None:
    """Copy the columns of the output's map; the others begin small."""
    old_layout, new_layout = Layout(old.target.irreps), Layout(new.target.irreps)
    old_maps, maps = old.matrices()[0], [0.1 * m for m in new.matrices()[0]]
    old_offset, offset = old.offset(), new.offset()
    for entry, source in old_entry.items():
        irrep = new.target.irreps[entry]
        start, old_start = new_layout.entry_starts[entry], old_layout.entry_starts[source]
        to, of = slice(start, start + irrep.mul), slice(old_start, old_start + irrep.mul)
        maps[irrep.l][:, to] = old_maps[irrep.l][:, of]
        if irrep.kind == (0, 1):
            offset[to] = old_offset[of]
    new.set_matrices([maps])
    new.bias.copy_(offset[new.places])


def _copy_calibration(old: Calibration, new: Calibration, old_entry: Mapping[int, int]) -> None:
    """Copy calibrations; the range of their functions, `NetworkSettings.cutoff`, stays."""
    entries, sources = list(old_entry), list(old_entry.values())
    for name in ("site_scale", "site_shift", "baseline", "log_scale"):
        getattr(new, name)[..., entries] = getattr(old, name)[..., sources]
