"""Model files, as far as that needs no torch; those that come with moireio."""

import contextlib
import functools
import os
from importlib.resources import files

from moireio.blockfile.reader import read_basis
from moireio.errors import MoireioError
from moireio.store.containers import open_container

FORMAT = "moireio-model"


def is_model_file(path):
    """Return whether a file is a model file.

    Parameters
    ----------
    path : str
        Any.

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
def shipped():
    """Return the models that come with moireio.

    Returns
    -------
    dict of str to Basis
        Orbitals of each model, by the path of its file.
    """
    found = {}
    for entry in sorted(files(__package__).iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".h5"):
            with contextlib.closing(open_container(str(entry))) as container:
                found[str(entry)] = read_basis(container)
    return found


def model_with(elements):
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
    return next((path for path, own in shipped().items() if wanted <= set(own.species)), None)
