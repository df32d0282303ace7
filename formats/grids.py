"""Numbers on a grid over the cell: Gaussian's ``.cube`` and XCrySDen's ``.xsf``.

Kept: structure, grid, numbers (five decimals of each in a cube, eight in an xsf). Lengths in a
cube are Bohr, in an xsf Å; the numbers are 1/Å³ in both. An xsf repeats the first plane of the
grid after the last.
"""

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.runtime.files import write_text
from moireio.system.structure import Structure

SUFFIXES = (".cube", ".xsf")


def check(path: str) -> None:
    """Refuse a name whose suffix is neither .cube nor .xsf.

    Parameters
    ----------
    path : str
        The file.

    Raises
    ------
    MoireioError
        If it is neither .cube nor .xsf.
    """
    if not path.lower().endswith(SUFFIXES):
        raise MoireioError("is neither .cube nor .xsf", path=path)


def write(
    path: str, structure: Structure, values: npt.NDArray[np.floating], comment: str = ""
) -> None:
    """Write numbers on a grid.

    Parameters
    ----------
    path : str
        The file, .cube or .xsf.
    structure : Structure
        Cell and atoms.
    values : (n1, n2, n3) array
        At the points (i/n1, j/n2, k/n3) of the cell.
    comment : str
        First line of a cube.
    """
    from ase.io.cube import write_cube
    from ase.io.xsf import write_xsf

    check(path)
    atoms = structure.to_ase()
    with write_text(path) as stream:
        if path.lower().endswith(".cube"):
            write_cube(stream, atoms, values, comment=comment)
        else:
            write_xsf(stream, [atoms])
            _write_grid(stream, structure.cell, np.pad(values, [(0, 1)] * 3, mode="wrap"))


def _write_grid(stream, cell, values):
    """Write the grid of an xsf, which spans the cell from corner to corner.

    ASE's own stretches it beyond the cell, moves it where the cell is not periodic, and writes
    six decimals, in which a density of few states in a large cell vanishes.
    """
    stream.write("BEGIN_BLOCK_DATAGRID_3D\n data\n BEGIN_DATAGRID_3Dgrid#1\n")
    stream.write("  {} {} {}\n".format(*values.shape))
    np.savetxt(stream, [np.zeros(3), *cell], "%.14f")
    for plane in values.T:
        np.savetxt(stream, plane, "%.8e")
    stream.write(" END_DATAGRID_3D\nEND_BLOCK_DATAGRID_3D\n")
