"""Networks that get to know further elements."""

import numpy as np
import torch

from moireio.errors import MoireioError
from moireio.network.head import all_targets, channels_of
from moireio.network.irreps import Layout
from moireio.network.model import NetworkModel
from moireio.network.net import Network
from moireio.system.basis import Basis


@torch.no_grad()
def extended(model, basis, numbers, seed=0):
    """Return a model for more species, which predicts the same for the old ones.

    The new species begin with random embeddings, with the mean of the old species' maps, and with
    blocks that still have to be calibrated and learnt.

    Parameters
    ----------
    model : NetworkModel
        Is not changed.
    basis : Basis
        Orbitals of the new species.
    numbers : sequence of int
        Their atomic numbers.
    seed : int
        Seed of the random parameters.

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
    old, known = model.network, model.targets
    shells = [*known.shells, *(own.l for own in basis.species.values())]
    targets = all_targets(
        [*known.numbers, *numbers],
        shells,
        known.spinful,
        even=known.even,
        merge=model.kind == "deeph-e3",
        time_reversal=known.time_reversal,
    )
    reaches = old.settings.reaches
    if reaches:
        reaches = (*reaches, *(own.cutoff for own in basis.species.values()))
    settings = old.settings.with_(species=len(shells), out_edge=targets.irreps(), reaches=reaches)
    kinds = {e.kind for e in old.lin_edge.source.irreps}
    lost = [e for e in settings.out_edge if e.kind not in kinds]
    if lost:
        raise MoireioError(
            f"its last features lack {lost[0]}, which blocks of {', '.join(basis.species)} need",
            path=model.label,
            remedy="train a new network with all elements",
        )
    torch.manual_seed(seed)
    network = Network(settings).to(old.dtype)
    _copy_alike(old, network)
    count, before = len(shells), old.settings.species
    network.embedding[:before] = old.embedding * np.sqrt(count / before)
    for block, own in zip(network.blocks, old.blocks, strict=True):
        _copy_kinds(own.node.sc, block.node.sc, lambda s: s if s < before else None)
        _copy_kinds(own.edge.sc, block.edge.sc, lambda k: _old_pair(k, count, before))
    same = _same_entries(known, targets)
    _copy_output(old.lin_edge, network.lin_edge, same)
    if network.calibration is not None:
        _copy_calibration(old.calibration, network.calibration, same)
    species = {} if model.basis is None else dict(model.basis.species)
    species = species | dict(basis.species)
    names = (*model.names, *basis.species)
    whole = Basis({n: species[n] for n in names}) if set(names) <= set(species) else None
    made = NetworkModel(
        network, targets, model.kind, names, whole, dict(model.training), model.label
    )
    return made, set(range(len(settings.out_edge))) - set(same)


def _old_pair(kind, count, before):
    one, two = divmod(kind, count)
    return one * before + two if max(one, two) < before else None


def _copy_alike(old, new):
    """Copy all weights that do not depend on the number of species."""
    values = dict(old.named_parameters())
    for name, weight in new.named_parameters():
        own = name.split(".")
        if own[0] in ("embedding", "lin_edge", "calibration") or "sc" in own:
            continue
        weight.copy_(values[name])


def _copy_kinds(old, new, place):
    """Copy the maps of the old kinds; a new kind gets the mean."""
    maps = old.matrices()
    mean = [torch.stack(own).mean(dim=0) for own in zip(*maps, strict=True)]
    made = []
    for kind in range(new.kinds):
        known = place(kind)
        made.append(mean if known is None else maps[known])
    new.set_matrices(made)


def _same_entries(old, new):
    """Return the old entry of every entry of the output that was there before."""
    starts, at = {}, 0
    for target in old.targets:
        for pair, shells in target.items():
            starts[pair, shells] = at
        at += len(channels_of(*old.degrees(target), old.spinful))
    half, out, place = at, {}, 0
    total = sum(len(channels_of(*new.degrees(t), new.spinful)) for t in new.targets)
    for target in new.targets:
        size = len(channels_of(*new.degrees(target), new.spinful))
        found = [starts[key] for key in target.items() if key in starts]
        for n in range(size if found else 0):
            for h in range(new.halves):
                out[h * total + place + n] = h * half + found[0] + n
        place += size
    return out


def _copy_output(old, new, same):
    """Copy the columns of the output's map; the others begin small."""
    before, after = Layout(old.target.irreps), Layout(new.target.irreps)
    maps, made = old.matrices()[0], [0.1 * m for m in new.matrices()[0]]
    offset, added = old.offset(), new.offset()
    for entry, known in same.items():
        irrep = new.target.irreps[entry]
        columns, own = after.entry_starts[entry], before.entry_starts[known]
        made[irrep.l][:, columns : columns + irrep.mul] = maps[irrep.l][:, own : own + irrep.mul]
        if irrep.kind == (0, 1):
            added[columns : columns + irrep.mul] = offset[own : own + irrep.mul]
    new.set_matrices([made])
    new.bias.copy_(added[new.places])


def _copy_calibration(old, new, same):
    """Copy calibrations; the range of their functions, `NetworkSettings.cutoff`, stays."""
    entries, known = list(same), list(same.values())
    for name in ("site_scale", "site_shift", "baseline", "log_scale"):
        getattr(new, name)[..., entries] = getattr(old, name)[..., known]
