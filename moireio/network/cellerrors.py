"""Errors of a model on reference cells, and what a set of structures covers."""

import contextlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.bands.flat import flat_bands
from moireio.blockfile.reader import open_blockfile
from moireio.blockfile.stream import write_target
from moireio.errors import MoireioError
from moireio.kspace.path import make_path
from moireio.models.cards import CellErrors
from moireio.network.graph import Graph
from moireio.network.inference.hamiltonian import HamiltonianSource
from moireio.network.inference.passes import Predictor
from moireio.network.model import NetworkModel
from moireio.network.referencecell import ReferenceCell
from moireio.network.training.samples import LabelledStructure, mean_level
from moireio.operators.blocks import OperatorSource, by_shape, read_pairs, take_blocks
from moireio.operators.views import ArraySource, UpperView
from moireio.results.electrons import Electrons
from moireio.runtime.workdirs import work_folder
from moireio.system.layers import assign_layers, joined_positions, layer_normal
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure

BANDS = 6  # on either side of the Fermi level
POINTS = 41
MOST_ORBITALS = 700  # of a cell whose bands are computed


def reference_cell(
    calculation: LabelledStructure, name: str, digest: str, model: NetworkModel
) -> ReferenceCell:
    """Make a reference cell of a calculation.

    Parameters
    ----------
    calculation : Calculation
        Structure, H and S.
    name, digest : str
        Its name; the digest of structure and H.
    model : NetworkModel
        The model whose zero of energy the cell gets: that of the mean on-site level of its training
        data, or, if it was trained with a free zero, the one nearest to its prediction. H is kept
        as it is for models that were trained so.

    Returns
    -------
    ReferenceCell
        With H − μS in single precision.

    Raises
    ------
    MoireioError
        If S is missing and needed, or lacks pairs of H, or the model does not fit.
    """
    level = model.training.get("level")
    H, S = UpperView(calculation.hamiltonian), calculation.overlap
    pairs = H.pairs
    blocks = np.array(H.rows(0, pairs.n_atoms))
    if level is not None:
        if S is None:
            raise MoireioError("has no overlap, which fixes the zero", path=calculation.label)
        overlap = overlap_like(S, H, np.arange(len(pairs)), calculation.label)
        mu = mean_level(calculation) - level
        if model.free_zero:
            cell = ReferenceCell(name, digest, calculation.structure, pairs, blocks)
            weighted = np.repeat(_copies(pairs), pairs.block_elements(H.sizes)) * overlap
            gap = blocks - predicted_blocks(model, cell).data
            mu = float((weighted @ gap).real / (weighted @ overlap))
        blocks = blocks - mu * overlap
    single = np.complex64 if np.iscomplexobj(blocks) else np.float32
    return ReferenceCell(name, digest, calculation.structure, pairs, blocks.astype(single))


def overlap_like(
    overlap: OperatorSource,
    hamiltonian: OperatorSource,
    indices: npt.NDArray[np.integer],
    label: str,
) -> npt.NDArray[np.floating]:
    """Return the blocks of S in the shape of those of H.

    Parameters
    ----------
    overlap, hamiltonian : OperatorSource
        S, without spin; H, perhaps of spinors.
    indices : (n,) array of int
        Numbers of pairs of H.
    label : str
        The file, for messages.

    Returns
    -------
    (n,) array
        Blocks one after another; for spinors those of both spins on the diagonal.

    Raises
    ------
    MoireioError
        If S lacks one of the pairs.
    """
    pairs = hamiltonian.pairs
    i = np.searchsorted(pairs.indptr, indices, side="right") - 1
    j, R = pairs.j[indices], pairs.R[indices]
    places = overlap.pairs.find(i, j, R)
    if (places < 0).any():
        raise MoireioError("its overlap lacks pairs of its Hamiltonian", path=label)
    data, offsets = read_pairs(overlap, places)
    if hamiltonian.meta.spin_factor == 1:
        return data
    out = np.zeros(4 * len(data))
    for shape, group in by_shape(overlap.sizes[i], overlap.sizes[j]):
        s = take_blocks(data, offsets[group], shape)
        both = np.einsum("st,nab->nsatb", np.eye(2), s).reshape(len(group), -1)
        out[4 * offsets[group][:, None] + np.arange(both.shape[1])] = both
    return out


def predicted_blocks(model: NetworkModel, cell: ReferenceCell) -> ArraySource:
    """Return the blocks that a model predicts for the pairs of a reference cell.

    Parameters
    ----------
    model : NetworkModel
        The model.
    cell : ReferenceCell
        The cell.

    Returns
    -------
    ArraySource
        One of each pair of partners, eV.

    Raises
    ------
    MoireioError
        If the model does not know an element.
    """
    species = species_of(model, cell.structure, cell.name)
    pairs = cell.pairs.with_partners()
    graph = Graph(cell.structure, pairs, species)
    with contextlib.closing(Predictor(model, graph)) as predictor:
        predictor.run()
        source = HamiltonianSource(predictor)
        return ArraySource(
            source.meta, source.sizes, source.pairs, source.rows(0, len(cell.structure))
        )


def species_of(model: NetworkModel, structure: Structure, label: str) -> npt.NDArray[np.int64]:
    """Return the model's species of every atom.

    Parameters
    ----------
    model : NetworkModel
        The model.
    structure : Structure
        The atoms.
    label : str
        The structure's name, for messages.

    Returns
    -------
    (N,) array of int
        Species, as the model numbers them.

    Raises
    ------
    MoireioError
        If the model does not know an element.
    """
    place = {z: n for n, z in enumerate(model.targets.numbers)}
    foreign = sorted(set(structure.numbers.tolist()) - set(place))
    if foreign:
        from ase.data import chemical_symbols

        elements = ", ".join(chemical_symbols[z] for z in place)
        raise MoireioError(
            f"has {chemical_symbols[foreign[0]]}, which {model.label} does not know ({elements})",
            path=label,
        )
    return np.array([place[int(z)] for z in structure.numbers], dtype=np.int64)


def cell_errors(model: NetworkModel, cell: ReferenceCell, stored: bool) -> CellErrors:
    """Return the errors of a model on a reference cell.

    Parameters
    ----------
    model : NetworkModel
        The model.
    cell : ReferenceCell
        The cell.
    stored : bool
        Whether the cell is kept with the model.

    Returns
    -------
    CellErrors
        Means over all elements of all blocks, both partners counted.

    Raises
    ------
    MoireioError
        If the model does not fit the cell.
    """
    found = predicted_blocks(model, cell)
    if len(found.pairs) != len(cell.pairs) or found.data.size != cell.blocks.size:
        raise MoireioError(
            f"the blocks of {model.label} have other sizes than those of the cell", path=cell.name
        )
    error = np.abs(found.data - cell.blocks)
    i, j, sizes = found.pairs.i, found.pairs.j, found.sizes
    twice = _copies(found.pairs)
    elements = found.pairs.block_elements(sizes)
    starts = np.concatenate([[0], np.cumsum(elements)[:-1]])
    sums, largest = np.add.reduceat(error, starts), np.maximum.reduceat(error, starts)
    symbols = np.array(cell.structure.element_symbols)
    names = np.array(["-".join(sorted(two)) for two in zip(symbols[i], symbols[j], strict=True)])
    pairs = {}
    for name in np.unique(names):
        group = names == name
        weight = twice[group] * elements[group]
        pairs[str(name)] = {
            "mean": float((twice[group] * sums[group]).sum() / weight.sum() * 1e3),
            "largest": float(largest[group].max() * 1e3),
        }
    mean = float((twice * sums).sum() / (twice * elements).sum() * 1e3)
    return CellErrors(cell.name, cell.digest, mean, pairs, stored)


def _copies(pairs: Pairs) -> npt.NDArray[np.float64]:
    """Return how many blocks each of one of two partners stands for."""
    copies = np.full(len(pairs), 2.0)
    copies[pairs.onsite()] = 1.0
    return copies


def cell_bands(
    model: NetworkModel, cell: ReferenceCell, calculation: LabelledStructure
) -> dict[str, Any] | None:
    """Return the bands of a model and of the reference next to the Fermi level.

    Parameters
    ----------
    model : NetworkModel
        The model, whose basis gives the number of electrons.
    cell : ReferenceCell
        The cell, in the model's zero of energy.
    calculation : Calculation
        Its structure, basis and S.

    Returns
    -------
    dict or None
        ``distance`` (nk), ``ticks`` and ``labels`` of the path; ``reference`` and ``model``,
        energies (nk, nb) in eV from the highest filled level; ``filled``, how many of the bands are
        filled; ``flat``, for both, widths and gaps (meV) of the four bands next to the gap.
        None if the number of electrons is unknown, or the cell is large.
    """
    basis, structure = calculation.basis, calculation.structure
    electrons = None if model.basis is None else model.basis.valence(structure)
    spinful = model.targets.spinful
    orbitals = int(basis.sizes(structure).sum()) * (1 + spinful)
    overlap = calculation.overlap
    if electrons is None or overlap is None or orbitals > MOST_ORBITALS:
        return None
    found = predicted_blocks(model, cell)
    reference = ArraySource(
        found.meta.with_(dtype=cell.blocks.dtype.name), found.sizes, cell.pairs, cell.blocks
    )
    path = make_path(structure, points=POINTS)
    plain: dict[str, Any] = {
        "distance": np.round(path.distance, 5).tolist(),
        "ticks": [float(path.distance[n]) for n in path.label_index],
        "labels": [str(label) for label in path.labels],
        "flat": {},
    }
    for name, source in (("reference", reference), ("model", found)):
        with work_folder("moireio-") as folder:
            target = f"{folder}/cell.h5"
            with write_target(target) as writer:
                writer.structure(structure)
                writer.basis(basis)
                writer.electrons(Electrons(count=electrons))
                writer.operator(source)
                writer.operator(overlap)
            with open_blockfile(target) as file:
                flat = flat_bands(file, path, 2, 2, margin=BANDS - 2, jobs=1, solver="dense")
        levels = flat.bands.energies[0]
        filled = flat.first + 2 - flat.bands.first_band
        top = levels[:, filled - 1].max()
        plain["filled"] = int(filled)
        plain[name] = np.round(levels - top, 4).tolist()
        plain["flat"][name] = {
            "width_meV": [round(float(w) * 1e3, 2) for w in flat.widths],
            "gap_below_meV": _in_mev(flat.gap_below),
            "gap_above_meV": _in_mev(flat.gap_above),
        }
    return plain


def _in_mev(energy: float | None) -> float | None:
    return None if energy is None else round(energy * 1e3, 2)


def covered(structures: Iterable[Structure]) -> dict[str, Any]:
    """Return the ranges that structures cover, for the card of a model trained on them.

    Parameters
    ----------
    structures : iterable of Structure
        Any number.

    Returns
    -------
    dict
        ``layers``, numbers of layers; ``domain`` with ``distances`` of the middles of neighbouring
        layers and ``bonds``, the shortest distance of two atoms of each structure, both Å.
    """
    counts, distances, bonds = set(), [], []
    for structure in structures:
        stored = structure.layer
        layer = assign_layers(structure) if stored is None else stored
        height = joined_positions(structure) @ layer_normal(structure)
        middles = [height[layer == n].mean() for n in np.unique(layer)]
        counts.add(len(middles))
        distances += np.diff(np.sort(middles)).tolist()
        closest = structure.closest_pair(4.0)
        bonds += [] if closest is None else [closest[0]]
    ranges = {"distances": distances, "bonds": bonds}
    domain = {k: [round(min(v), 3), round(max(v), 3)] for k, v in ranges.items() if v}
    return {"layers": sorted(counts), "domain": domain}
