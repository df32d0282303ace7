"""Trained networks, from whatever file or folder holds them."""

import os
from collections.abc import Sequence

from moireio.errors import MissingFileError, MoireioError
from moireio.formats.deeph import e3 as deephe3
from moireio.formats.kinds import identify
from moireio.models.registry import entries, registry_folders
from moireio.network import modelfile
from moireio.network.model import NetworkModel
from moireio.store.containers import kind_of_file

#: Kinds of files that can be model files, damaged ones too.
CONTAINERS = ("model", "block", "hdf5", "deeph-file", "zarr", "zip")


def load_model(
    path: str, e3nn: str | None = None, folders: Sequence[str] | None = None
) -> NetworkModel:
    """Read a trained network.

    Parameters
    ----------
    path : str
        Model file of moireio, result folder of DeepH-E3 (or the ``best_model.pkl`` in it), or name
        of a model of a registry, as "graphene-bilayer".
    e3nn : str, optional
        For DeepH-E3's networks, the version of e3nn whose rules hold (`deephe3.model`).
    folders : sequence of str, optional
        Registries in which names are looked up; by default the usual ones.

    Returns
    -------
    NetworkModel
        The model.

    Raises
    ------
    MoireioError
        If it is neither, or damaged, or `e3nn` is given for a model file of moireio.
    """
    if not os.path.exists(path):
        found = entries(registry_folders() if folders is None else folders)
        known = [entry for entry in found if entry.name == path]
        if not known:
            raise MissingFileError(
                "no such file or folder, and no model of this name is known",
                path=path,
                remedy=f"these are: {', '.join(dict.fromkeys(entry.name for entry in found))}",
            )
        path = known[0].path
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "zarr.json")):
        kind = identify(path)
        if kind is None or kind.name != "deeph-e3":
            raise _no_model(path)
        return deephe3.model(path, e3nn)
    folder, name = os.path.split(path)
    if name == "best_model.pkl" and os.path.isdir(os.path.join(folder, "src")):
        return deephe3.model(folder, e3nn)
    kind = identify(path)
    if (kind is not None and kind.name not in CONTAINERS) or not _is_container(path):
        raise _no_model(path)
    if e3nn is not None:
        raise MoireioError(
            "is a model file of moireio; `e3nn` is for DeepH-E3's networks", path=path
        )
    return modelfile.read(path)


def _no_model(path):
    """Return the error of a file or folder that is no model."""
    kind = identify(path)
    return MoireioError(
        f"is {kind.description}, not a model" if kind else "is not a model",
        path=path,
        remedy="model files of train-h and result folders of DeepH-E3, with best_model.pkl and "
        "src/, are read",
    )


def _is_container(path):
    """Return whether the first bytes are those of a model file."""
    try:
        return kind_of_file(path) is not None
    except MoireioError:
        return False
