"""Structures with their Hamiltonians, from whatever file or folder holds them."""

import glob
import os

from moireio.blockfile.calculation import Calculation
from moireio.blockfile.reader import open_blockfile
from moireio.errors import MissingFileError, MoireioError, unreadable
from moireio.formats.deeph import dock as deeph_dock
from moireio.formats.deeph import folder as deeph
from moireio.formats.structures import is_block_file


def open_calculation(path):
    """Open a structure with its Hamiltonian.

    Parameters
    ----------
    path : str
        A block file or a data folder of DeepH.

    Returns
    -------
    Calculation
        A context manager.

    Raises
    ------
    MoireioError
        If it is neither, or has no Hamiltonian.
    """
    if _is_folder(path):
        folder = deeph.read(path)
        overlap = folder.operator("overlap") if "overlap" in folder.files else None
        hamiltonian = folder.operator("hamiltonian")
        return Calculation(
            path,
            folder.structure,
            folder.basis,
            hamiltonian,
            overlap,
            electrons=folder.electrons,
        )
    file = open_blockfile(path)
    try:
        overlap = file.overlap.full() if "overlap" in file else None
        return Calculation(
            path,
            file.structure,
            file.basis,
            file.hamiltonian.full(),
            overlap,
            file,
            file.electrons if "electrons" in file else None,
            file.moire,
        )
    except BaseException:
        file.close()
        raise


def _is_folder(path):
    own = os.path.join(path, "lat.dat")
    return os.path.isdir(path) and (os.path.exists(own) or deeph_dock.is_folder(path))


def find_calculations(sources):
    """Find calculations behind names: files, folders of files, patterns, lists.

    Parameters
    ----------
    sources : sequence of str
        Block files, data folders of DeepH, folders that hold either, glob patterns, or ``@FILE``
        with one name a line.

    Returns
    -------
    list of str
        Paths, each once, in order.

    Raises
    ------
    MoireioError
        If a name stands for nothing.
    """
    found = []
    for source in sources:
        if source.startswith("@"):
            try:
                with open(source[1:], encoding="utf-8") as stream:
                    names = [line.strip() for line in stream if line.strip()]
            except OSError as error:
                raise unreadable(error, source[1:]) from error
            found += find_calculations(names)
            continue
        names = [source] if os.path.exists(source) else sorted(glob.glob(source))
        if not names:
            raise MissingFileError("no such file or folder, and no pattern that fits", path=source)
        for name in names:
            found += _inside(name)
    once = {}
    for path in found:
        once.setdefault(os.path.realpath(path), path)
    return list(once.values())


def _inside(name):
    if not os.path.isdir(name) or _is_folder(name) or is_block_file(name):
        return [name]
    entries = [os.path.join(name, entry) for entry in sorted(os.listdir(name))]
    inside = [e for e in entries if _is_folder(e) or is_block_file(e)]
    if not inside:
        raise MoireioError("holds no block files and no data folders of DeepH", path=name)
    return inside
