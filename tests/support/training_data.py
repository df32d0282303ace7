"""Structures with smooth Hamiltonians, and small networks to learn them."""

from dataclasses import dataclass

import numpy as np
import torch
from systems import NUMBERS, basis, graph_of, random_structure

from moireio.integrals.sources import OrbitalIntegrals, OverlapSource
from moireio.network.create import new_model
from moireio.network.irreps import Irreps
from moireio.network.training.samples import make_sample
from moireio.operators.blocks import OperatorMeta
from moireio.operators.views import ArraySource, symmetrised

HIDDEN = Irreps.parse("6x0e+4x1o+3x2e")


@dataclass
class Data:
    """What a sample is made of."""

    label: str
    structure: object
    basis: object
    hamiltonian: object
    overlap: object


def data(seed, spin=False, mu=0.0, two_centre=False):
    """A structure with an H that depends on it smoothly: powers of its overlap."""
    own, atoms = basis(), random_structure(seed)
    graph = graph_of(atoms, own)
    S = OverlapSource(atoms, OrbitalIntegrals(own), graph.pairs)
    flat = S.rows(0, len(atoms))
    S = ArraySource(S.meta, S.sizes, graph.pairs, flat)
    values = 3 * flat + (0 if two_centre else flat**2)
    values = values + mu * flat
    meta = OperatorMeta(
        "hamiltonian",
        "eV",
        spin="spinor" if spin else "none",
        dtype="complex128" if spin else "float64",
    )
    sizes = S.sizes * (2 if spin else 1)
    if spin:
        blocks, at = [], 0
        i = graph.pairs.i
        for p in range(len(graph.pairs)):
            shape = S.sizes[i[p]], S.sizes[graph.pairs.j[p]]
            block = values[at : at + shape[0] * shape[1]].reshape(shape)
            at += block.size
            blocks.append(np.kron(np.eye(2), block).ravel().astype(complex))
        values = np.concatenate(blocks)
    H = symmetrised(ArraySource(meta, sizes, graph.pairs, values), "made")
    return Data(f"made {seed}", atoms, own, H, S)


def samples(model, seeds=(0, 1, 2), **options):
    return [make_sample(data(s, **options), model.network, model.targets) for s in seeds]


def new_small_model(spin=False, dtype=torch.float64, local=True):
    numbers = [NUMBERS[n] for n in basis().species]
    model = new_model(basis(), numbers, spin, HIDDEN, blocks=2, lmax=2, local=local)
    model.network.to(dtype)
    return model
