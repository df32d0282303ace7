"""The Hamiltonian and the overlap of a tight-binding model, by runs of atoms."""

from moireio.operators.blocks import OperatorMeta
from moireio.operators.twocentre import PairSource, place_blocks
from moireio.system.neighbours import close_pairs


def bonded_pairs(structure, model):
    """Return the pairs of atoms that a model bonds.

    Parameters
    ----------
    structure : Structure
        The atoms.
    model : Model
        That knows their species.

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
    model : Model
        That knows their species.
    pairs : Pairs
        From `bonded_pairs`.
    name : {"hamiltonian", "overlap"}
        Which.
    storage : {"full", "upper"}
        Both partners of every pair, or one.
    """

    def __init__(self, structure, model, pairs, name="hamiltonian", storage="full"):
        if storage == "upper":
            pairs = pairs.select(pairs.upper())
        unit = "eV" if name == "hamiltonian" else "1"
        extra = {"model": model.name}
        meta = OperatorMeta(name, unit, storage=storage, source="tight-binding", extra=extra)
        super().__init__(structure, model.basis(structure), pairs, meta)
        self._model, self._names = model, model.names_for(structure)
        self._kind_of = "hopping" if name == "hamiltonian" else "overlap"

    def _fill(self, out, offsets, species, swapped, vectors):
        a, b = (self._names[n] for n in species)
        place_blocks(out, offsets, self._model.blocks(self._kind_of, a, b, vectors), swapped)
