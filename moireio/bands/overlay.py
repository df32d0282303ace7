"""Bands of another file on the path of a band structure."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.bands.solve import solve_bands
from moireio.blockfile.reader import open_blockfile
from moireio.errors import MoireioError
from moireio.kspace.path import place_on_path
from moireio.results.bands import BandStructure

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile


def overlay_points(
    file: "BlockFile",
    bands: BandStructure,
    data: BandStructure | None,
    name: str,
    zero: str | float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], int]:
    """Place another band structure on the path of this one.

    Parameters
    ----------
    file : BlockFile
        With the cell that the path refers to.
    bands : BandStructure
        Bands that are drawn.
    data : BandStructure or None
        Bands to lay over them; None to take them from the block file `name` (its bands, or else
        those of its Hamiltonian at the same k points).
    name : str
        File of the latter.
    zero : str or float
        Level that becomes 0 in either (see `BandStructure.zero`).

    Returns
    -------
    distance : (p,) array
        Å⁻¹ along the path.
    energies : (ns, p, nb) array
        eV, shifted.
    missing : int
        Number of points of the overlay that do not lie on the path.

    Raises
    ------
    MoireioError
        If no point lies on the path, or the level is unknown.
    """
    if data is None:
        with open_blockfile(name) as other:
            data = other.bands() if "bands" in other else solve_bands(other, bands.path)
    distance, index = place_on_path(bands.path, data.path.k, file.structure)
    if len(index) == 0:
        raise MoireioError("none of its k points lie on the path that is drawn", path=name)
    try:
        shift = data.zero(zero)
    except MoireioError:
        # a .Band file has no number of electrons; the calculation that it belongs to does
        shift = replace(data, electrons=bands.electrons, spinor=bands.spinor).zero(zero)
    missing = len(data.path) - len(np.unique(index))
    return distance, data.energies[:, index] - shift, missing
