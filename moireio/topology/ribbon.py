"""Ribbons: periodic along one vector, cut from H(R) and S(R) of a layer or read as they are.

A ribbon of width w keeps the cells 0 … w − 1 along one lattice vector. Every operator keeps the
blocks of two atoms that are both inside, H and S alike, so that S stays positive definite.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.operators.bloch import BlochSum
from moireio.operators.blocks import (
    OperatorSource,
    block_offsets,
    by_shape,
    components,
    row_bytes,
    scatter,
    slab_bounds,
    take_blocks,
)
from moireio.operators.views import stored_as
from moireio.spectrum.sums import bloch_sums
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure
from moireio.topology.links import side_of

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile


class RibbonSource:
    """An operator of a ribbon, made from that of the layer as its rows are asked for.

    Atom i of cell x is atom x·N + i of the ribbon. Blocks of position matrices, which count from
    their first atom, are the same in every cell, as those of H and S.

    Parameters
    ----------
    source : OperatorSource
        The layer's; its blocks are kept in memory.
    width : int
        Cells.
    axis : {0, 1, 2}
        Lattice vector along which the ribbon is cut.
    """

    def __init__(self, source: OperatorSource, width: int, axis: int) -> None:
        whole = stored_as(source, "full")
        self.meta = whole.meta
        n_atoms = len(whole.sizes)
        self._data = np.concatenate(
            [whole.rows(i0, i1) for i0, i1 in slab_bounds(row_bytes(whole))], axis=-1
        )
        self._offsets = block_offsets(whole.pairs.block_elements(whole.sizes))
        self.sizes = np.tile(whole.sizes, width)
        self.pairs, self._from = _ribbon_pairs(whole.pairs, n_atoms, width, axis)

    def rows(self, i0: int, i1: int) -> npt.NDArray[Any]:
        """Return all blocks of the atoms ``i0 <= i < i1``."""
        span = self.pairs.rows(i0, i1)
        taken = self._from[span]
        n_rows = np.repeat(self.sizes[i0:i1], np.diff(self.pairs.indptr[i0 : i1 + 1]))
        n_columns = self.sizes[self.pairs.j[span]]
        places = block_offsets(n_rows * n_columns)
        out = np.empty((*self._data.shape[:-1], int(places[-1])), dtype=self._data.dtype)
        for shape, group in by_shape(n_rows, n_columns):
            for target, flat in zip(components(out), components(self._data), strict=True):
                blocks = take_blocks(flat, self._offsets[:-1][taken[group]], shape)
                scatter(target, places[:-1][group], blocks.reshape(len(group), -1))
        return out


def _ribbon_pairs(
    pairs: Pairs, n_atoms: int, width: int, axis: int
) -> tuple[Pairs, npt.NDArray[np.integer]]:
    """Return the pairs inside a ribbon, and the pair of the layer that each comes from."""
    along = pairs.R[:, axis].astype(np.int64)
    rest = np.delete(pairs.R, axis, axis=1)
    order = np.lexsort((rest[:, 1], rest[:, 0], pairs.j, along, pairs.i))
    along, first = along[order], pairs.i[order].astype(np.int64)
    cells = np.arange(width)
    # row by row: cell, then atom, then the pairs of that atom as they are sorted in every cell
    inside = (cells[:, None] + along >= 0) & (cells[:, None] + along < width)
    x, place = np.nonzero(inside)
    R = pairs.R[order[place]].copy()
    R[:, axis] = 0
    counts = np.bincount(x * n_atoms + first[place], minlength=width * n_atoms)
    j = (x + along[place]) * n_atoms + pairs.j[order[place]]
    return Pairs(block_offsets(counts), j, R), order[place]


def ribbon_structure(structure: Structure, width: int, axis: int) -> Structure:
    """Return the atoms of a ribbon, cell after cell.

    Parameters
    ----------
    structure : Structure
        The layer.
    width : int
        Cells.
    axis : {0, 1, 2}
        Lattice vector along which the ribbon is cut.

    Returns
    -------
    Structure
        Not periodic along that vector, which is `width` times as long.
    """
    shifts = np.arange(width)[:, None, None] * structure.cell[axis]
    cell, pbc = structure.cell.copy(), structure.pbc.copy()
    cell[axis] *= width
    pbc[axis] = False
    optional = {
        name: None if value is None else np.concatenate([value] * width)
        for name, value in (("layer", structure.layer), ("magmoms", structure.magmoms))
    }
    return Structure(
        cell,
        (structure.positions + shifts).reshape(-1, 3),
        np.tile(structure.numbers, width),
        np.tile(structure.species, width),
        structure.species_names,
        pbc,
        **optional,
    )


@dataclass(frozen=True, eq=False)
class Ribbon:
    """H(k) and S(k) of a ribbon, and where its edges are.

    Parameters
    ----------
    structure : Structure
        Its atoms.
    sums : list of BlochSum
        H; of collinear spin, up and down.
    overlap : BlochSum or None
        S of the same states; None if orthogonal.
    spin : {"none", "collinear", "spinor"}
        Spin of the states.
    periodic, open : {0, 1, 2}
        Lattice vectors along the ribbon and across it.
    width : int or None
        Cells; None of a ribbon that was not cut.
    label : str
        The file it comes from.
    """

    structure: Structure
    sums: list[BlochSum]
    overlap: BlochSum | None
    spin: str
    periodic: int
    open: int
    width: int | None
    label: str

    @property
    def n_orbitals(self) -> int:
        """Rows of H."""
        return self.sums[0].n_orbitals

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Rows of every atom, shape (N,)."""
        return np.diff(self.sums[0].atom_start)

    @property
    def handedness(self) -> int:
        """On which side of the layer (periodic vector × open vector) points, see `handedness`."""
        return handedness(self.structure.cell, self.periodic, self.open)

    def heights(self) -> npt.NDArray[np.float64]:
        """Return where every atom is across the ribbon: 0 at the low edge, 1 at the high one.

        Returns
        -------
        (N,) array
            Positions along the normal of the periodic vector in the plane of the ribbon, scaled.
        """
        cell = self.structure.cell
        axis = cell[self.periodic] / np.linalg.norm(cell[self.periodic])
        across = cell[self.open] - (cell[self.open] @ axis) * axis
        s = self.structure.positions @ across
        return (s - s.min()) / max(np.ptp(s), 1e-12)

    def k_points(self, fractions: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return k points along the ribbon.

        Parameters
        ----------
        fractions : (nk,) array
            In the reciprocal vector of the periodic one.

        Returns
        -------
        (nk, 3) array
            Fractional coordinates.
        """
        k = np.zeros((np.size(fractions), 3))
        k[:, self.periodic] = fractions
        return k


def handedness(cell: npt.NDArray[np.float64], periodic: int, across: int) -> int:
    """Return on which side of the layer (periodic vector × open vector) points.

    Parameters
    ----------
    cell : (3, 3) array
        Lattice vectors as rows.
    periodic, across : {0, 1, 2}
        Which of them are along and across a ribbon.

    Returns
    -------
    {1, -1}
        1 for +z, or for a ribbon that stands upright +y or +x, from where C is seen.
    """
    return side_of(np.cross(cell[periodic], cell[across]))


def cut_ribbon(file: "BlockFile", width: int, axis: int) -> Ribbon:
    """Cut a ribbon from a layer.

    Parameters
    ----------
    file : BlockFile
        With H, and S unless its basis is orthogonal; periodic along two vectors.
    width : int
        Cells across the ribbon.
    axis : {0, 1, 2}
        Lattice vector along which it is cut.

    Returns
    -------
    Ribbon
        Its low edge is that of cell 0.

    Raises
    ------
    MoireioError
        If the structure is not periodic along two vectors, that one among them, or the width is
        not positive.
    """
    structure = file.structure
    periodic = [n for n in range(3) if structure.pbc[n] and n != axis]
    if not structure.pbc[axis] or len(periodic) != 1:
        along = ", ".join(str(n + 1) for n in range(3) if structure.pbc[n]) or "none"
        raise MoireioError(
            f"a ribbon is cut along vector {axis + 1} of a structure that is periodic along two "
            f"vectors, that one among them; this one is periodic along {along}",
            path=file.label,
            remedy="leave out `cut` for a file that is a ribbon already"
            if structure.pbc.sum() == 1
            else "give another `open`, or convert the calculation with another `pbc`",
        )
    if width < 1:
        raise MoireioError(f"a ribbon is at least one cell wide, not {width}", path=file.label)
    spin = bloch_sums(file)[2]
    hamiltonian = RibbonSource(file.hamiltonian, width, axis)
    channels = (0, 1) if spin == "collinear" else (0,)
    overlap = file.overlap
    return Ribbon(
        ribbon_structure(structure, width, axis),
        [BlochSum.from_source(hamiltonian, component=c) for c in channels],
        None
        if overlap is None
        else BlochSum.from_source(RibbonSource(overlap, width, axis), spinor=spin == "spinor"),
        spin,
        periodic[0],
        axis,
        width,
        file.label,
    )


def own_ribbon(file: "BlockFile", axis: int | None = None) -> Ribbon:
    """Return the ribbon that a file holds.

    Parameters
    ----------
    file : BlockFile
        With H, and S unless its basis is orthogonal; periodic along one vector.
    axis : {0, 1, 2}, optional
        Lattice vector across the ribbon; by default of the two others the one along which the
        atoms reach further.

    Returns
    -------
    Ribbon
        As it is.

    Raises
    ------
    MoireioError
        If the structure is not periodic along one vector, or along the one given.
    """
    structure = file.structure
    periodic = np.flatnonzero(structure.pbc)
    if len(periodic) != 1:
        raise MoireioError(
            f"the structure is periodic along {len(periodic)} vectors, a ribbon along one",
            path=file.label,
            remedy="cut one from it with `cut`" if len(periodic) == 2 else None,
        )
    others = [n for n in range(3) if n != periodic[0]]
    if axis is None:
        reach = [np.ptp(structure.positions @ _unit(structure.cell[n])) for n in others]
        axis = others[int(np.argmax(reach))]
    elif axis not in others:
        raise MoireioError(
            f"the ribbon is periodic along vector {axis + 1}", path=file.label, remedy="`open`"
        )
    sums, overlap, spin = bloch_sums(file)
    return Ribbon(structure, sums, overlap, spin, int(periodic[0]), axis, None, file.label)


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return vector / np.linalg.norm(vector)
