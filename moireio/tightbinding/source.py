"""The Hamiltonian and the overlap of a tight-binding model, by runs of atoms."""

from typing import Literal

import numpy as np

from moireio.operators.catalogue import operator_type
from moireio.operators.twocentre import PairSource, place_blocks
from moireio.system.layers import layer_normal
from moireio.system.neighbours import close_pairs
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure
from moireio.tightbinding.model import TightBindingModel

LEAST_UPRIGHT = 0.98  # z component of a layer's normal: 11 degrees
NARROWEST = 0.5  # root mean square width of a ribbon, Å; narrower ones are lines
FLATTEST = 0.2  # root mean square height of a flat ribbon, of its width


def fallen_orbitals(structure: Structure, model: TightBindingModel) -> str | None:
    """Return a remark where a layer does not lie as its model's orbitals want it.

    Parameters
    ----------
    structure : Structure
        The atoms.
    model : TightBindingModel
        A model that has their species.

    Returns
    -------
    str or None
        A remark if a species has some orbitals of a shell but not all (p_z alone), whose axes are
        x, y and z, and a layer, or a flat ribbon or molecule, is inclined to the xy plane;
        else None.
    """
    parts = [s for n in model.names_for(structure) for s in model.species[n].shells]
    if all(len(s.m) == 2 * s.l + 1 for s in parts):
        return None
    normal = _normal(structure)
    if normal is None or abs(normal[2]) > LEAST_UPRIGHT:
        return None
    angle = np.degrees(np.arccos(abs(normal[2])))
    return (
        f"the atoms lie in a plane that is inclined to xy by {angle:.0f} degrees, but the orbitals "
        f"of {model.name} have x, y and z as their axes; rotate the structure"
    )


def _normal(structure):
    """Return the normal of a layer, of a flat ribbon or a flat molecule; None for other things."""
    if structure.pbc.sum() == 2:
        return layer_normal(structure)
    if structure.pbc.all():
        return None
    ends = structure.positions + structure.cell[structure.pbc].sum(axis=0)
    points = np.concatenate([structure.positions, ends])
    _, spread, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    width = spread[1] / np.sqrt(len(points))
    return axes[2] if width > NARROWEST and spread[2] < FLATTEST * spread[1] else None


def bonded_pairs(structure: Structure, model: TightBindingModel) -> Pairs:
    """Return the pairs of atoms that are bonded in a model.

    Parameters
    ----------
    structure : Structure
        The atoms.
    model : TightBindingModel
        A model that has their species.

    Returns
    -------
    Pairs
        Sorted, on-site pairs included, both partners of each.
    """
    return close_pairs(structure, model.reach(structure))


class TightBindingSource(PairSource):
    """An operator of a tight-binding model.

    Parameters
    ----------
    structure : Structure
        The atoms.
    model : TightBindingModel
        A model that has their species.
    pairs : Pairs
        From `bonded_pairs`.
    name : {"hamiltonian", "overlap"}
        The operator.
    storage : {"full", "upper"}
        Both partners of every pair, or one.
    """

    def __init__(
        self,
        structure: Structure,
        model: TightBindingModel,
        pairs: Pairs,
        name: Literal["hamiltonian", "overlap"] = "hamiltonian",
        storage: Literal["full", "upper"] = "full",
    ):
        if storage == "upper":
            pairs = pairs.select(pairs.upper())
        meta = operator_type(name).meta(
            source="tight-binding", storage=storage, extra={"model": model.name}
        )
        super().__init__(structure, model.basis(structure), pairs, meta)
        self._model, self._names = model, model.names_for(structure)
        self._integrals: Literal["hopping", "overlap"] = (
            "hopping" if name == "hamiltonian" else "overlap"
        )

    def _fill(self, out, offsets, species, swapped, vectors):
        a, b = (self._names[n] for n in species)
        place_blocks(out, offsets, self._model.blocks(self._integrals, a, b, vectors), swapped)
