"""The Hamiltonian and the overlap of a tight-binding model, by runs of atoms."""

from typing import Literal

from moireio.operators.catalogue import operator_type
from moireio.operators.twocentre import PairSource, place_blocks
from moireio.system.neighbours import close_pairs
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure
from moireio.tightbinding.model import TightBindingModel


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
