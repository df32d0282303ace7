"""Random operators that obey the rules, and naive versions of what moireio does."""

import numpy as np

from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure

SHELLS = {"C": (0, 1), "Mo": (0, 1, 2), "H": (0,)}
NUMBERS = {"C": 6, "Mo": 42, "H": 1}


def random_system(seed, n_atoms=4):
    """A structure and a basis of three species with different shells."""
    rng = np.random.default_rng(seed)
    names = list(SHELLS)
    species = rng.integers(0, len(names), n_atoms)
    structure = Structure(
        cell=np.eye(3) * 5 + rng.normal(size=(3, 3)) * 0.3,
        positions=rng.normal(size=(n_atoms, 3)) * 2,
        numbers=[NUMBERS[names[s]] for s in species],
        species=species,
        species_names=names,
        pbc=[True, True, False],
    )
    return structure, Basis({n: SpeciesBasis(l=SHELLS[n], cutoff=3.0) for n in names})


def random_operator(seed, sizes, *, name="hamiltonian", spin="none", reach=1, fill=0.5):
    """A sparse operator whose blocks obey the partner rule of its parity."""
    meta = operator_type(name).meta(spin=spin, source="test")
    parity, components = meta.parity, meta.components
    rng = np.random.default_rng(seed)
    n = len(sizes)
    factor = 2 if spin == "spinor" else 1
    dims = np.asarray(sizes) * factor
    blocks = {}
    for i in range(n):
        for j in range(n):
            for R in np.ndindex(2 * reach + 1, 2 * reach + 1):
                R = (R[0] - reach, R[1] - reach, 0)
                onsite = i == j and R == (0, 0, 0)
                if (i, j, R) in blocks or not (onsite or rng.random() < fill):
                    continue
                block = rng.normal(size=(components, dims[i], dims[j]))
                if spin == "spinor":
                    block = block + 1j * rng.normal(size=block.shape)
                turned = np.swapaxes(block, 1, 2).conj() * parity
                if onsite:
                    block = turned = (block + turned) / 2
                back = (-R[0], -R[1], 0)
                blocks[i, j, R] = block if components > 1 else block[0]
                blocks[j, i, back] = turned if components > 1 else turned[0]
    return ArraySource.from_blocks(meta, dims, blocks), blocks


def naive_at_k(blocks, dims, k, component=None):
    """Σ_R e^{2πi k·R} O(R), one block after another."""
    start = np.concatenate([[0], np.cumsum(dims)])
    out = np.zeros((start[-1], start[-1]), dtype=complex)
    for (i, j, R), block in blocks.items():
        block = block if component is None else block[component]
        phase = np.exp(2j * np.pi * np.dot(k, R))
        out[start[i] : start[i + 1], start[j] : start[j + 1]] += phase * block
    return out


def write_file(path, structure, basis, *sources, **options):
    """Write a block file with the given operators."""
    from moireio.blockfile.stream import write_target

    with write_target(str(path), **options) as writer:
        writer.structure(structure)
        writer.basis(basis)
        for source in sources:
            writer.operator(source, slab_bytes=2000)
        writer.history("test")
    return path


def convert(source, target, operators=("hamiltonian", "overlap"), **options):
    """Convert a .scfout as openmx2h5 does; options of the reader or of the conversion."""
    from functools import partial

    from moireio.blockfile.convert import Conversion, convert_file
    from moireio.formats.openmx import scfout

    chosen = {k: options.pop(k) for k in ("dat", "check_coordinates") if k in options}
    settings = Conversion("openmx2h5", operators, **options)
    return convert_file(str(source), str(target), settings, partial(scfout.read, **chosen))


def overlap_like(seed, sizes, fill=0.5):
    """A positive definite overlap with the pairs of `random_operator` of the same seed."""
    source, blocks = random_operator(seed, sizes, name="overlap", fill=fill)
    scale = 0.02
    for (i, j, R), block in blocks.items():
        block *= scale
        if i == j and R == (0, 0, 0):
            block += np.eye(len(block))
    return ArraySource.from_blocks(source.meta, sizes, blocks), blocks
