"""Models that come with moireio."""

import contextlib
import functools
from importlib.resources import files

from moireio.blockfile import read_basis
from moireio.store import open_container


@functools.cache
def shipped():
    """Return the models that come with moireio.

    Returns
    -------
    dict of str to Basis
        Orbitals of each model, by the path of its file.
    """
    found = {}
    for entry in sorted(files(__name__).iterdir(), key=lambda e: e.name):
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
