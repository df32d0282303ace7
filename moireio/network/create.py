"""New networks."""

from collections.abc import Sequence

from moireio.errors import MoireioError
from moireio.network.gate import harmonics_irreps
from moireio.network.head import all_targets
from moireio.network.irreps import Irrep, Irreps, reachable
from moireio.network.model import NetworkModel
from moireio.network.net import Network, NetworkSettings
from moireio.runtime.random import torch_seed
from moireio.system.basis import Basis


def new_model(
    basis: Basis,
    numbers: Sequence[int],
    spinful: bool,
    hidden: Irreps,
    blocks: int = 3,
    lmax: int = 4,
    seed: int = 0,
    local: bool = True,
    cutoff: float = 7.2,
) -> NetworkModel:
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
        Number of blocks.
    lmax : int
        Highest degree of the edges' harmonics.
    seed : int
        Seed of the weights.
    local : bool
        moireio's variant, else DeepH-E3's network.
    cutoff : float
        End of DeepH-E3's radial functions, Å; moireio's end at the reach of the orbitals.

    Returns
    -------
    NetworkModel
        Not calibrated.

    Raises
    ------
    MoireioError
        If the features have no scalars.
    """
    shells = [species.l for species in basis.species.values()]
    targets = all_targets(
        numbers, shells, spinful, merge=not local, time_reversal=local and spinful
    )
    out = targets.irreps()
    if (0, 1) not in {e.kind for e in hidden}:
        raise MoireioError(
            f"`hidden` {hidden} has no scalars", remedy="add some, as in 32x0e+16x1o"
        )
    post_edge, scalars = out.sort()[0].simplify(), Irreps(e for e in hidden if e.l == 0)[:1]
    post_node = hidden
    if spinful:
        post_node = with_reachable(hidden, hidden, hidden, post_edge, harmonics_irreps(lmax))
    if local:
        cutoff = 2 * max(species.cutoff for species in basis.species.values())
        # the input of the last layer need not be as wide as its output
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
        reaches=tuple(species.cutoff for species in basis.species.values()) if local else (),
        calibrated=local,
    )
    with torch_seed(seed):
        network = Network(settings)
    kind = "moireio" if local else "deeph-e3"
    return NetworkModel(network, targets, kind, tuple(basis.species), basis)


def _bounded(post: Irreps, hidden: Irreps) -> Irreps:
    """Return a list with at most four times the channels of each degree of the hidden one."""
    limit: dict[int, int] = {}
    for entry in hidden:
        limit[entry.l] = max(limit.get(entry.l, 0), 4 * entry.mul)
    lowest = min(limit.values())
    return Irreps(Irrep(min(e.mul, limit.get(e.l, lowest)), *e.kind) for e in post)


def with_reachable(
    post_node: Irreps, mid_node: Irreps, mid_edge: Irreps, post_edge: Irreps, harmonics: Irreps
) -> Irreps:
    """Extend the atoms' last list until the edges' last list can be reached.

    DeepH-E3 does so with spin.

    Parameters
    ----------
    post_node, mid_node, mid_edge, post_edge : Irreps
        As in `NetworkSettings`.
    harmonics : Irreps
        List of the edges' harmonics.

    Returns
    -------
    Irreps
        The atoms' last list.
    """
    for wanted in post_edge:
        if reachable(Irreps(post_node + mid_edge), harmonics, wanted.kind):
            continue
        kinds = sorted(
            {
                (n, wanted.p * h.p)
                for h in harmonics
                for n in range(abs(wanted.l - h.l), wanted.l + h.l + 1)
            }
        )
        for kind in kinds:
            if reachable(Irreps(mid_node + mid_edge), harmonics, kind):
                mul = next((e.mul for e in post_node if e.l == kind[0]), post_node[-1].mul)
                post_node = Irreps([*post_node, Irrep(mul, *kind)])
                break
    return post_node
