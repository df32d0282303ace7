"""Small structures and networks for tests."""

import contextlib

import numpy as np
import torch
from orbitals import gaussian_basis

from moireio.integrals.pairs import overlapping_pairs
from moireio.network.create import with_reachable
from moireio.network.gate import harmonics_irreps
from moireio.network.graph import Graph
from moireio.network.head import all_targets
from moireio.network.inference.hamiltonian import HamiltonianSource
from moireio.network.inference.passes import Predictor
from moireio.network.irreps import Irreps
from moireio.network.model import NetworkModel
from moireio.network.net import Network, NetworkSettings
from moireio.system.basis import Basis
from moireio.system.harmonics import harmonics
from moireio.system.structure import Structure

SHELLS = {"C": "s1p1d1", "N": "s2p1"}
NUMBERS = {"C": 6, "N": 7}


def basis(**shells):
    return Basis({k: gaussian_basis(v, k) for k, v in (shells or SHELLS).items()})


def structure(positions, cell, kinds):
    names = tuple(NUMBERS)[: max(kinds) + 1]
    numbers = [NUMBERS[names[k]] for k in kinds]
    return Structure(cell, positions, numbers, kinds, names, [True] * 3)


def random_structure(seed, n=3, size=5.0):
    """Atoms of two species, none too close to another."""
    rng = np.random.default_rng(seed)
    cell = size * np.eye(3) + rng.normal(size=(3, 3)) * 0.4
    while True:
        positions = rng.uniform(0, 1, (n, 3)) @ cell
        made = structure(positions, cell, [int(k) for k in np.arange(n) % 2])
        if made.closest_pair(0.8) is None:
            return made


CASES = [(False, False), (True, False), (False, True), (True, True)]


def small_model(
    spin=False, local=False, dtype=torch.float64, seed=0, mid="6x0e+4x1o+3x2e+2x3o", **shells
):
    """A network with random weights for C and N."""
    torch.manual_seed(seed)
    own = basis(**shells)
    degrees = [own[n].l for n in own.species]
    targets = all_targets([NUMBERS[n] for n in own.species], degrees, spin)
    if spin and local:
        targets = time_reversed(targets)
    lists = Irreps.parse(mid)
    post_edge = targets.irreps().sort()[0].simplify()
    post_node = lists
    if spin:
        post_node = with_reachable(lists, lists, lists, post_edge, harmonics_irreps(3))
    scalars = Irreps([lists[0]])
    settings = NetworkSettings(
        species=len(degrees),
        embed_node=scalars,
        edge_init=scalars,
        mid_node=lists,
        mid_edge=lists,
        post_node=post_node,
        post_edge=post_edge,
        out_edge=targets.irreps(),
        blocks=2,
        harmonics_lmax=3,
        cutoff=7.2,
        local=local,
        reaches=tuple(own[n].cutoff for n in own.species) if local else (),
        neighbours=30.0 if local else 1.0,
    )
    network = Network(settings)
    with torch.no_grad():  # biases and norms that matter
        for name, value in network.named_parameters():
            if "bias" in name or "norm" in name:
                value.add_(0.3 * torch.randn_like(value))
    kind = "moireio" if local else "deeph-e3"
    return NetworkModel(network.to(dtype), targets, kind, tuple(own.species), own)


def time_reversed(targets):
    from dataclasses import replace

    return replace(targets, time_reversal=True)


def graph_of(atoms, own):
    pairs = overlapping_pairs(atoms, own)
    order = [list(own.species).index(n) for n in atoms.species_names]
    return Graph(atoms, pairs, np.array(order)[atoms.species])


def hamiltonian(model, atoms, raw=False, **options):
    """Blocks of all pairs: (pairs, sizes, flat data)."""
    with contextlib.closing(Predictor(model, graph_of(atoms, model.basis), **options)) as predictor:
        predictor.run()
        source = HamiltonianSource(predictor, raw)
        return source, source.rows(0, len(atoms))


def blocks_of(source, data):
    """Yield (i, j, R, block)."""
    i = source.pairs.i
    at = 0
    for p in range(len(source.pairs)):
        shape = source.sizes[i[p]], source.sizes[source.pairs.j[p]]
        size = int(shape[0] * shape[1])
        yield (
            int(i[p]),
            int(source.pairs.j[p]),
            source.pairs.R[p],
            data[at : at + size].reshape(shape),
        )
        at += size


def rotation_of_orbitals(momenta, turn):
    """Return D with Y(R r) = D Y(r) for the orbitals of some shells."""
    from scipy.linalg import block_diag

    points = np.random.default_rng(5).normal(size=(3, 60))
    points /= np.linalg.norm(points, axis=0)
    top = max(momenta)
    before, after = harmonics(top, points), harmonics(top, turn @ points)
    D = {}
    for degree in set(momenta):
        part = slice(degree * degree, (degree + 1) ** 2)
        D[degree] = np.linalg.lstsq(before[part].T, after[part].T, rcond=None)[0].T
    return block_diag(*map(D.get, momenta))


def rotation_of_spin(turn):
    """Return the matrix of SU(2) for a rotation (the inversion does nothing to spins)."""
    from scipy.spatial.transform import Rotation

    proper = turn * np.sign(np.linalg.det(turn))
    x, y, z = Rotation.from_matrix(proper).as_rotvec()
    angle = np.sqrt(x * x + y * y + z * z)
    sigma = np.array([[z, x - 1j * y], [x + 1j * y, -z]])
    if angle < 1e-12:
        return np.eye(2)
    return np.cos(angle / 2) * np.eye(2) - 1j * np.sin(angle / 2) * sigma / angle
