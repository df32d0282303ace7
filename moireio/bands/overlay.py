"""Bands of another file on the path of a band structure."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.bands.solve import solve_bands
from moireio.blockfile.reader import ADDED_BY, open_blockfile
from moireio.errors import MoireioError, naming
from moireio.kspace.path import place_on_path
from moireio.results.bands import BandStructure

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile

SAME_LENGTH = 1e-3  # largest relative difference of two cells that count as the same
SAME_ANGLE = 0.1  # degrees
CORNER = 1e-4  # Å⁻¹; more than that is a bend, not the digits of a file


@dataclass(frozen=True, eq=False)
class OverlayData:
    """Bands of another file, and what is known of their crystal.

    Parameters
    ----------
    name : str
        The file.
    bands : BandStructure
        Its bands.
    cell : (3, 3) array
        Its lattice vectors as rows, Å.
    formula : str, optional
        Its elements, such as "Mo2 Te4"; None if they are unknown.
    """

    name: str
    bands: BandStructure
    cell: npt.NDArray[np.float64]
    formula: str | None = None


@dataclass(frozen=True, eq=False)
class Overlay:
    """Bands that are placed on the path of others.

    Parameters
    ----------
    distance : (p,) array
        Å⁻¹ along the path, ascending.
    energies : (ns, p, nb) array
        eV, counted from a level of their own.
    breaks : (m,) array of int
        Points that are not joined to the one before: where the path jumps, and where the overlay
        has no points.
    source : str
        Where they come from: "dft", "model", …
    missing : int
        Number of points of the overlay that do not lie on the path.
    """

    distance: npt.NDArray[np.float64]
    energies: npt.NDArray[np.float64]
    breaks: npt.NDArray[np.integer]
    source: str = "dft"
    missing: int = 0


def check_overlay(name: str) -> None:
    """Refuse a block file that holds no bands and nothing to compute them from.

    Parameters
    ----------
    name : str
        The block file.

    Raises
    ------
    MoireioError
        If it cannot be read, or has neither bands nor a Hamiltonian.
    """
    with open_blockfile(name) as other:
        if "bands" not in other and "hamiltonian" not in other:
            raise MoireioError(
                "has neither /bands nor /hamiltonian", path=name, remedy=ADDED_BY["hamiltonian"]
            )


def read_overlay(name: str, bands: BandStructure, options: Mapping[str, Any]) -> OverlayData:
    """Return the bands of a block file: those that it keeps, or else those of its Hamiltonian.

    Parameters
    ----------
    name : str
        The block file.
    bands : BandStructure
        Bands over which they are laid; the Hamiltonian is solved at their k points.
    options : mapping
        Arguments of `solve_bands` for that.

    Returns
    -------
    OverlayData
        The bands, with cell and formula of the file.

    Raises
    ------
    MoireioError
        If the file has neither, or they cannot be computed.
    """
    with open_blockfile(name) as other:
        if "bands" in other:
            found = other.bands()
        else:
            with naming(name):
                found = solve_bands(other, bands.path, **options)
        return OverlayData(name, found, other.structure.cell, other.structure.formula)


def place_overlay(
    file: "BlockFile", bands: BandStructure, data: OverlayData, zero: str | float
) -> Overlay:
    """Place other bands on the path of these.

    Parameters
    ----------
    file : BlockFile
        With the cell that the path refers to.
    bands : BandStructure
        Bands that are drawn.
    data : OverlayData
        Bands to lay over them. Their fractional k points are taken in the cell of `file`.
    zero : str or float
        Level that becomes 0 (see `BandStructure.zero`).

    Returns
    -------
    Overlay
        What lies on the path.

    Raises
    ------
    MoireioError
        If no point lies on the path, or the level is unknown.
    """
    found, path = data.bands, data.bands.path
    distance, index, piece = place_on_path(bands.path, path.k, file.structure)
    if len(index) == 0:
        raise MoireioError("none of its k points lie on the path that is drawn", path=data.name)
    places = np.flatnonzero((np.diff(distance, prepend=-1) > 0) | (np.diff(piece, prepend=-1) != 0))
    numbers = np.split(_own_places(path)[index], places[1:])
    distance, first, piece = distance[places], index[places], piece[places]
    periodic = file.structure.pbc
    steps = np.diff(path.k[first][:, periodic], axis=0) @ file.structure.reciprocal[periodic]
    joined = [(np.abs(np.subtract.outer(m, n)) == 1).any() for m, n in itertools.pairwise(numbers)]
    apart = ~np.array(joined, dtype=bool) | (np.diff(piece) != 0)
    # A corner between two points that has none itself: the straight way is shorter.
    apart |= np.diff(distance) - np.linalg.norm(steps, axis=1) > CORNER
    return Overlay(
        distance,
        found.energies[:, first] - overlay_zero(bands, data, zero),
        np.flatnonzero(apart) + 1,
        found.source,
        len(path) - len(np.unique(index)),
    )


def _own_places(path):
    """Return numbers of the points that differ by 1 for neighbours, by 0 for repeated points."""
    moved = np.abs(np.diff(path.k, axis=0)).max(axis=1, initial=0) > 1e-9
    numbers = np.concatenate([[0], np.cumsum(moved)])
    for jump in path.breaks:
        numbers[jump:] += 1
    return numbers


def overlay_zero(bands: BandStructure, data: OverlayData, zero: str | float) -> float:
    """Return the energy that a level has in an overlay, eV.

    Parameters
    ----------
    bands : BandStructure
        Bands over which it is laid.
    data : OverlayData
        The overlay.
    zero : str or float
        The level (see `BandStructure.zero`).

    Returns
    -------
    float
        The energy to subtract.

    Raises
    ------
    MoireioError
        If it is unknown.
    """
    found = data.bands
    if zero == "vbm" and found.electrons is None and data.formula is None:
        # A .Band file has no number of electrons; the calculation that it belongs to does.
        found = replace(found, electrons=bands.electrons, spinor=bands.spinor)
    with naming(data.name):
        return found.zero(zero)


def common_zero(bands: BandStructure, overlays: list[OverlayData]) -> str:
    """Return the level that is drawn as 0 where none was asked for.

    Parameters
    ----------
    bands : BandStructure
        Bands that are drawn.
    overlays : list of OverlayData
        Bands that are laid over them.

    Returns
    -------
    str
        "fermi", or "vbm", if all data sets have one, else "none".
    """
    for level in ("fermi", "vbm"):
        try:
            bands.zero(level)
            for data in overlays:
                overlay_zero(bands, data, level)
        except MoireioError:
            continue
        return level
    return "none"


def differences(file: "BlockFile", bands: BandStructure, data: OverlayData) -> list[str]:
    """Return in which respects an overlay belongs to another crystal.

    Parameters
    ----------
    file : BlockFile
        With the cell, elements and orbitals of the bands that are drawn.
    bands : BandStructure
        Bands that are drawn.
    data : OverlayData
        Bands that are laid over them.

    Returns
    -------
    list of str
        Each names both crystals; empty if they are alike.
    """
    structure, found = file.structure, []
    if data.formula is not None and data.formula != structure.formula:
        found.append(f"it is {data.formula}, {file.label} is {structure.formula}")
    own = _cell_parameters(structure.cell, structure.pbc)
    other = _cell_parameters(data.cell, structure.pbc)
    lengths = int(structure.pbc.sum())
    limits = [SAME_LENGTH * v for v in own[:lengths]] + [SAME_ANGLE] * (len(own) - lengths)
    if (np.abs(own - other) > limits).any():
        cells = [
            f"{', '.join(f'{v:.4f}' for v in values[:lengths])} Å"
            + "".join(f", {v:.2f}°" for v in values[lengths:])
            for values in (other, own)
        ]
        found.append(
            f"its cell has {cells[0]}, that of {file.label} {cells[1]}, in which its fractional k "
            "points are taken"
        )
    if data.formula is None and "hamiltonian" in file:
        states = int(file.orbitals.sum()) * (2 if bands.spinor else 1)
        count = data.bands.energies.shape[2]
        if states != count:
            found.append(f"it has {count} bands, {file.label} {states}: another basis or material")
    return found


def _cell_parameters(cell, pbc):
    """Return the lengths (Å) of the periodic vectors, then the angles between them (degrees)."""
    vectors = np.asarray(cell, dtype=float)[np.asarray(pbc)]
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors.T / np.outer(lengths, lengths)
    angles = np.degrees(np.arccos(np.clip(cosines[np.triu_indices(len(vectors), 1)], -1, 1)))
    return np.concatenate([lengths, angles])
