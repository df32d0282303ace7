"""New networks."""

import torch

from moireio.errors import MoireioError
from moireio.network.head import all_targets
from moireio.network.irreps import Irrep, Irreps, reachable
from moireio.network.layers import harmonics_irreps
from moireio.network.model import NetworkModel
from moireio.network.net import Network, NetworkSettings


def new_model(basis, numbers, spinful, hidden, blocks=3, lmax=4, seed=0, local=True, cutoff=7.2):
    """Make a model with random weights.

    Parameters
    ----------
    basis : Basis
        Orbitals of the species, with cutoffs; the species in order of the network.
    numbers : sequence of int
        Their atomic numbers.
    spinful : bool
        Whether blocks are spinor blocks.
    hidden : Irreps
        Features between the first and the last block.
    blocks : int
        How many.
    lmax : int
        Largest l of the edges' harmonics.
    seed : int
        Seed of the weights.
    local : bool
        moireio's variant, else DeepH-E3's network.
    cutoff : float
        Cutoff of DeepH-E3's radial functions, Å; moireio's end at the reach of the orbitals.

    Returns
    -------
    NetworkModel
        Not calibrated.

    Raises
    ------
    MoireioError
        If the features have no scalars.
    """
    shells = [own.l for own in basis.species.values()]
    targets = all_targets(
        numbers, shells, spinful, merge=not local, time_reversal=local and spinful
    )
    out = targets.irreps()
    if (0, 1) not in {e.kind for e in hidden}:
        raise MoireioError(f"{hidden} has no scalars", path="--hidden", remedy="as 32x0e+16x1o")
    post_edge, scalars = out.sort()[0].simplify(), Irreps(e for e in hidden if e.l == 0)[:1]
    post_node = hidden
    if spinful:
        sh = harmonics_irreps(lmax)
        post_node = repaired(hidden, hidden, hidden, post_edge, sh)
    if local:
        cutoff = 2 * max(own.cutoff for own in basis.species.values())
        # what the last layer reads need not be as wide as what it gives
        post_edge = _bounded(post_edge, hidden)
    settings = NetworkSettings(
        species=len(shells),
        embed_node=Irreps(scalars),
        edge_init=Irreps(scalars),
        mid_node=hidden,
        mid_edge=hidden,
        post_node=post_node,
        post_edge=post_edge,
        out_edge=out,
        blocks=blocks,
        harmonics_lmax=lmax,
        cutoff=cutoff,
        local=local,
        reaches=tuple(own.cutoff for own in basis.species.values()) if local else (),
        calibrated=local,
    )
    torch.manual_seed(seed)
    network = Network(settings)
    kind = "moireio" if local else "deeph-e3"
    return NetworkModel(network, targets, kind, tuple(basis.species), basis)


def _bounded(post, hidden):
    """Return a list with at most four times the channels of each degree of the hidden one."""
    limit = {}
    for entry in hidden:
        limit[entry.l] = max(limit.get(entry.l, 0), 4 * entry.mul)
    least = min(limit.values())
    return Irreps(Irrep(min(e.mul, limit.get(e.l, least)), *e.kind) for e in post)


def repaired(post_node, mid_node, mid_edge, post_edge, sh):
    """Add to the atoms' last list what edges would lack, as DeepH-E3 does with spin.

    Parameters
    ----------
    post_node, mid_node, mid_edge, post_edge : Irreps
        As in `NetworkSettings`.
    sh : Irreps
        Irreps of the edges' harmonics.

    Returns
    -------
    Irreps
        The atoms' last list.
    """
    for wanted in post_edge:
        if reachable(Irreps(post_node + mid_edge), sh, wanted.kind):
            continue
        kinds = sorted(
            {
                (n, wanted.p * h.p)
                for h in sh
                for n in range(abs(wanted.l - h.l), wanted.l + h.l + 1)
            }
        )
        for kind in kinds:
            if reachable(Irreps(mid_node + mid_edge), sh, kind):
                mul = next((e.mul for e in post_node if e.l == kind[0]), post_node[-1].mul)
                post_node = Irreps([*post_node, Irrep(mul, *kind)])
                break
    return post_node
