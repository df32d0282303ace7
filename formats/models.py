"""Trained networks, from whatever file or folder holds them."""

import os

from moireio.errors import MissingFileError, MoireioError
from moireio.formats.deeph import e3 as deephe3
from moireio.models.shipped import shipped
from moireio.network import modelfile
from moireio.network.model import NetworkModel


def load_model(path: str, e3nn: str | None = None) -> NetworkModel:
    """Read a trained network.

    Parameters
    ----------
    path : str
        Model file of moireio, result folder of DeepH-E3, or name of a model that comes with
        moireio, as "graphene-bilayer".
    e3nn : str, optional
        For DeepH-E3's networks, the version of e3nn whose rules hold (`deephe3.model`).

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
        known = {os.path.splitext(os.path.basename(p))[0]: p for p in shipped()}
        if path not in known:
            raise MissingFileError(
                "no such file or folder, and no model of this name comes with moireio",
                path=path,
                remedy=f"these do: {', '.join(known)}",
            )
        path = known[path]
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "zarr.json")):
        return deephe3.model(path, e3nn)
    if e3nn is not None:
        raise MoireioError(
            "is a model file of moireio; `e3nn` is for DeepH-E3's networks", path=path
        )
    return modelfile.read(path)
