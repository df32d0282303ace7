"""Libraries of radial functions: folders of OpenMX's ``.pao`` files, block files, model files."""

import contextlib
import os

from moireio.blockfile.reader import read_basis
from moireio.errors import MoireioError
from moireio.formats.openmx import pao
from moireio.formats.openmx.dat_write import usual_basis
from moireio.integrals.library import FORMATS, BasisOfFile, RadialLibrary
from moireio.store.containers import open_container
from moireio.system.basis import SpeciesBasis


class PaoFolder:
    """A folder of orbital files.

    Parameters
    ----------
    path : str
        Holds ``.pao`` files, or the folder ``PAO`` with them.
    """

    fallback = False

    def __init__(self, path: str):
        self.label = path

    def default(self, species: str, element: str) -> str | None:
        """Return OpenMX's usual basis of an element, if the folder has its file.

        Parameters
        ----------
        species, element : str
            What is wanted.

        Returns
        -------
        str or None
            Such as ``Mo7.0-s3p2d1``.
        """
        name = usual_basis(element)
        return name if name and pao.find(self.label, name.partition("-")[0]) else None

    def known(self, species: str, element: str) -> list[str]:
        """Return the orbital files of an element.

        Parameters
        ----------
        species, element : str
            What is wanted.

        Returns
        -------
        list of str
            The orbital files without their suffix, as ``C6.0``.
        """
        return pao.stems(self.label, element)

    def find(self, species: str, element: str, name: str) -> SpeciesBasis:
        """Return a basis by its name.

        Parameters
        ----------
        species, element : str
            What it is for.
        name : str
            Such as ``Mo7.0-s3p2d1``.

        Returns
        -------
        SpeciesBasis
            With radial functions.
        """
        return pao.species_basis(self.label, name, element)


def open_library(path: str) -> RadialLibrary:
    """Return a library of radial functions.

    Parameters
    ----------
    path : str
        A folder of orbital files, a block file or a model file.

    Returns
    -------
    PaoFolder or BasisOfFile
        Ready to be asked.

    Raises
    ------
    MoireioError
        If it is neither.
    """
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "zarr.json")):
        return PaoFolder(path)
    if path.lower().endswith(".pao"):
        raise MoireioError("is one orbital file", path=path, remedy="give the folder it lies in")
    with contextlib.closing(open_container(path)) as container:
        if container.attributes().get("format") not in FORMATS:
            raise MoireioError("is neither a block file nor a model file", path=path)
        if "basis" not in container.groups():
            raise MoireioError("has no /basis with radial functions", path=path)
        return BasisOfFile(read_basis(container), path)
