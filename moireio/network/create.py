"""New networks, and the calibration of their output from data."""

import numpy as np
import torch

from moireio.network.frames import into_frames
from moireio.network.head import Head, all_targets
from moireio.network.irreps import Irrep, Irreps, Layout, reachable
from moireio.network.layers import harmonics_irreps
from moireio.network.model import Model
from moireio.network.net import CALIBRATION_BINS, Network, Settings, places_of_e3nn

RIDGE = 1e-6
SMALLEST_SCALE = 1e-4


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
        Of the edges' harmonics.
    seed : int
        Of the weights.
    local : bool
        moireio's variant, else DeepH-E3's network.
    cutoff : float
        Of DeepH-E3's radial functions, Å; moireio's end at the reach of the orbitals.

    Returns
    -------
    Model
        Not calibrated.
    """
    shells = [own.l for own in basis.species.values()]
    targets = all_targets(
        numbers, shells, spinful, merge=not local, time_reversal=local and spinful
    )
    out = targets.irreps()
    post_edge, scalars = out.sort()[0].simplify(), Irreps(e for e in hidden if e.l == 0)[:1]
    post_node = hidden
    if spinful:
        sh = harmonics_irreps(lmax)
        post_node = repaired(hidden, hidden, hidden, post_edge, sh)
    if local:
        cutoff = 2 * max(own.cutoff for own in basis.species.values())
        # what the last layer reads need not be as wide as what it gives
        post_edge = _bounded(post_edge, hidden)
    settings = Settings(
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
    return Model(network, targets, kind, tuple(basis.species), basis)


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
        As in `Settings`.
    sh : Irreps
        Of the edges' harmonics.

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


@torch.no_grad()
def calibrate(model, samples):
    """Set scales, offsets and the two-centre part of a model's output from data.

    Parameters
    ----------
    model : Model
        Whose network is `calibrated`.
    samples : iterable of Sample
        The data.
    """
    network = model.network
    calibration, settings = network.calibration, network.settings
    bonds, sites = {}, {}
    edges = count = 0
    for sample in samples:
        edges, count = edges + len(sample.graph), count + len(sample.species)
        for kinds in sample.kinds.values():
            for kind in kinds:
                store = sites if kind.geometry.site else bonds
                store.setdefault((kind.one, kind.two), []).append(_channels(model, kind))
    for found in bonds.values():
        entries = found[0][0]
        distance = torch.cat([f[1] for f in found])
        envelope = torch.cat([f[2] for f in found])
        parts = [torch.cat(p) for p in zip(*(f[3] for f in found), strict=True)]
        _fit(calibration, settings.out_edge, entries, distance, envelope, parts)
    for found in sites.values():
        entries = found[0][0]
        parts = [torch.cat(p) for p in zip(*(f[3] for f in found), strict=True)]
        seen = [0] * len(parts)
        for entry in entries:
            irrep = settings.out_edge[entry]
            value = parts[irrep.l][:, :, seen[irrep.l]]
            seen[irrep.l] += 1
            if irrep.kind == (0, 1):
                calibration.site_shift[entry] = value.mean()
                value = value - value.mean()
            rms = value.square().mean().sqrt()
            calibration.site_scale[entry] = rms.clamp(min=10 * SMALLEST_SCALE)
    network.settings = settings.with_(neighbours=float(edges / count))
    network.lin_edge.weight.mul_(0.1)


def _channels(model, kind):
    """Return entries, distances, envelope and target channels of some edges, in their frames."""
    settings = model.network.settings
    head = Head(model.targets, kind.one, kind.two, settings.convention.old_signs)
    irreps = Irreps(settings.out_edge[n] for n in head.entries)
    blocks = kind.blocks.to(torch.complex128 if kind.blocks.is_complex() else torch.float64)
    head.reads(places_of_e3nn(irreps))
    flat = head.inverse(blocks)
    parts = Layout(irreps).split(flat)
    geometry = kind.geometry
    frames = None if geometry.site else [f.double() for f in geometry.frames]
    ones = torch.ones(len(flat), dtype=torch.float64)
    envelope = ones if geometry.envelope is None else geometry.envelope[:, 0, 0].double()
    return head.entries, geometry.distance.double(), envelope, into_frames(parts, frames)


def _fit(calibration, out, entries, distance, envelope, parts):
    """Fit the two-centre part, and measure what is left of every channel against distance."""
    G = calibration.radial(distance) * envelope[:, None]
    normal = G.T @ G
    normal += RIDGE * len(distance) * torch.eye(len(normal), dtype=normal.dtype)
    step = float(calibration.step)
    bins = np.arange(CALIBRATION_BINS) * step
    near = torch.exp(-0.5 * ((distance[:, None] - torch.tensor(bins)) / step) ** 2)
    weight = near.sum(dim=0)
    seen = [0] * len(parts)
    for entry in entries:
        irrep = out[entry]
        value = parts[irrep.l][:, :, seen[irrep.l]].clone()
        seen[irrep.l] += 1
        if irrep.p == (-1) ** irrep.l:  # otherwise it vanishes between two centres
            axial = value[:, irrep.l]
            coefficients = torch.linalg.solve(normal, G.T @ axial)
            calibration.baseline[:, entry] = coefficients.to(calibration.baseline.dtype)
            value[:, irrep.l] = axial - G @ coefficients
        square = (near * value.square().mean(dim=1)[:, None]).sum(dim=0)
        rms = torch.sqrt(square / weight.clamp(min=1e-6))
        known = weight > 0.5
        scale = torch.full_like(rms, SMALLEST_SCALE)
        scale[known] = rms[known].clamp(min=SMALLEST_SCALE)
        if known.any():  # nearer than anything seen: as the nearest
            first = int(torch.nonzero(known)[0])
            scale[:first] = scale[first]
        calibration.log_scale[:, entry] = scale.log().to(calibration.log_scale.dtype)
