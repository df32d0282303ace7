"""Model files, as far as that needs no torch; those that come with moireio."""

import contextlib
import functools
import os
from collections.abc import Iterable
from importlib.resources import files

from moireio.blockfile.reader import read_basis
from moireio.errors import MoireioError
from moireio.store.containers import open_container
from moireio.system.basis import Basis

FORMAT = "moireio-model"


def is_model_file(path: str) -> bool:
    """Return whether a file is a model file.

    Parameters
    ----------
    path : str
        Path of any file or folder.

    Returns
    -------
    bool
        False also if it cannot be read.
    """
    if not os.path.exists(path):
        return False
    try:
        with contextlib.closing(open_container(path)) as container:
            return container.attributes().get("format") == FORMAT
    except (MoireioError, OSError):
        return False


@functools.cache
def shipped() -> dict[str, Basis]:
    """Return the models that come with moireio.

    Returns
    -------
    dict of str to Basis
        Orbitals of each model, by the path of its file.
    """
    bases = {}
    for entry in sorted(files(__package__).iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".h5"):
            with contextlib.closing(open_container(str(entry))) as container:
                bases[str(entry)] = read_basis(container)
    return bases


def model_with(elements: Iterable[str]) -> str | None:
    """Return the path of a shipped model that knows some elements.

    Parameters
    ----------
    elements : iterable of str
        Symbols.

    Returns
    -------
    str or None
        The first that does; None if there is none.
    """
    wanted = set(elements)
    return next((path for path, basis in shipped().items() if wanted <= set(basis.species)), None)
