"""Test cells of a model: structures with the blocks that it should give, in its own file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.store.base import Container, seal, verify, write_array
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure


@dataclass(frozen=True, eq=False)
class ReferenceCell:
    """A structure with its Hamiltonian in the model's zero of energy.

    Parameters
    ----------
    name : str
        Its name.
    digest : str
        Digest of structure and Hamiltonian as they were read.
    structure : Structure
        The atoms.
    pairs : Pairs
        One of each pair of partners.
    blocks : (n,) array
        H − μS for these pairs, each block row-major; eV, single precision.
    """

    name: str
    digest: str
    structure: Structure
    pairs: Pairs
    blocks: npt.NDArray[Any]


def write_cells(container: Container, group: str, cells: Sequence[ReferenceCell]) -> None:
    """Write test cells.

    Parameters
    ----------
    container : Container
        Open for writing.
    group : str
        Group to make; each cell is a group in it, by number.
    cells : sequence of ReferenceCell
        The cells.
    """
    container.create_group(group)
    for number, cell in enumerate(cells):
        place, atoms = f"{group}/{number}", cell.structure
        container.create_group(place, {"name": cell.name, "digest": cell.digest})
        arrays = {
            "cell": atoms.cell,
            "pbc": atoms.pbc,
            "numbers": atoms.numbers,
            "positions": atoms.positions,
            "indptr": cell.pairs.indptr,
            "j": cell.pairs.j,
            "R": cell.pairs.R,
            "blocks": cell.blocks,
        }
        for name, values in arrays.items():
            write_array(container, f"{place}/{name}", values, compression="gzip")
        seal(container, place)
    seal(container, group)


def read_cells(container: Container, group: str) -> tuple[ReferenceCell, ...]:
    """Read test cells.

    Parameters
    ----------
    container : Container
        Open for reading.
    group : str
        Their group; files before version 1.2 have none.

    Returns
    -------
    tuple of ReferenceCell
        In the order in which they were written.

    Raises
    ------
    MoireioError
        If they are damaged.
    """
    parent, _, name = group.rpartition("/")
    if name not in container.groups(parent):
        return ()
    verify(container, group)
    numbers = sorted(container.groups(group), key=int)
    return tuple(_read_cell(container, f"{group}/{number}") for number in numbers)


def _read_cell(container: Container, place: str) -> ReferenceCell:
    attributes = verify(container, place)
    arrays = {name: container.read(f"{place}/{name}") for name in container.arrays(place)}
    numbers = np.asarray(arrays["numbers"])
    kinds, species = np.unique(numbers, return_inverse=True)
    from ase.data import chemical_symbols

    structure = Structure(
        arrays["cell"],
        arrays["positions"],
        numbers,
        species,
        tuple(chemical_symbols[z] for z in kinds),
        arrays["pbc"],
    )
    pairs = Pairs(arrays["indptr"], arrays["j"], arrays["R"])
    if len(structure) != pairs.n_atoms or not np.isfinite(arrays["blocks"]).all():
        raise DamagedError(f"/{place} does not make sense", path=container.label)
    return ReferenceCell(
        str(attributes["name"]), str(attributes["digest"]), structure, pairs, arrays["blocks"]
    )
