"""Model files: networks with everything that is needed to use them, without pickle.

An HDF5 file (or zarr) whose root says ``format = "moireio-model"``: ``/model/settings`` and
``/model/training`` (JSON texts), ``/model/weights/NAME``, and ``/basis`` as in a block file.
"""

import contextlib
import json
from dataclasses import asdict, fields

import numpy as np
import torch

from moireio.blockfile.reader import read_basis
from moireio.blockfile.writer import root_attributes, write_array, write_basis
from moireio.errors import DamagedError, MoireioError
from moireio.models.shipped import FORMAT
from moireio.network.head import Targets
from moireio.network.irreps import Irreps
from moireio.network.linear import Convention
from moireio.network.model import Model
from moireio.network.net import Network, Settings
from moireio.store.base import seal, verify
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

FORMAT_VERSION = "1.0"


def write(path, model, force=False):
    """Write a model file.

    Parameters
    ----------
    path : str
        File to make.
    model : Model
        The model.
    force : bool
        Replace a file that exists.
    """
    with write_container(path, kind="h5", force=force) as container:
        version = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": model.kind}
        container.create_group("", root_attributes() | version)
        seal(container, "")
        container.create_group("model")
        about = {
            "settings": _settings_to_plain(model.network.settings),
            "targets": _targets_to_plain(model.targets),
            "names": list(model.names),
        }
        for name, value in (("settings", about), ("training", model.training)):
            write_array(container, f"model/{name}", np.array([json.dumps(value)], dtype=object))
        container.create_group("model/weights")
        for name, value in model.network.state_dict().items():
            array = value.detach().cpu().numpy()
            write_array(container, f"model/weights/{name}", array)
        seal(container, "model/weights")
        seal(container, "model")
        if model.basis is not None:
            write_basis(container, model.basis)


def read(path):
    """Read a model file.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    Model
        Ready to be used.

    Raises
    ------
    MoireioError
        If it is not a model file, or damaged.
    """
    with contextlib.closing(open_container(path)) as container:
        attributes = container.attributes()
        if attributes.get("format") != FORMAT:
            raise MoireioError("is not a model file", path=path, remedy="see predict-h --help")
        version = str(attributes.get("format_version"))
        if version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
            raise MoireioError(
                f"has model format {version}, this program reads {FORMAT_VERSION}",
                path=path,
                remedy="update moireio",
            )
        verify(container, "")
        try:
            about, training = (
                json.loads(str(container.read(f"model/{name}")[0]))
                for name in ("settings", "training")
            )
            targets = _targets_from_plain(about["targets"])
            network = Network(_settings_from_plain(about["settings"]))
            weights = {
                name: torch.from_numpy(
                    np.ascontiguousarray(container.read(f"model/weights/{name}"))
                )
                for name in container.arrays("model/weights")
            }
            network.to(next(iter(weights.values())).dtype)
            network.load_state_dict(weights)
            names = tuple(about["names"])
        except MoireioError:
            raise
        except (KeyError, ValueError, TypeError, RuntimeError, IndexError, StopIteration) as error:
            text = str(error).partition("\n")[0]
            raise DamagedError(f"its contents do not fit each other: {text}", path=path) from error
        basis = read_basis(container) if "basis" in container.groups() else None
        return Model(network, targets, attributes["kind"], names, basis, training, path)


def _settings_to_plain(settings):
    out = {}
    for f in fields(settings):
        value = getattr(settings, f.name)
        if isinstance(value, Irreps):
            value = str(value)
        elif isinstance(value, Convention):
            value = asdict(value)
        out[f.name] = value
    return out


def _settings_from_plain(values):
    out = {}
    for f in fields(Settings):
        value = values[f.name]
        if f.type is Irreps or f.type == "Irreps":
            value = Irreps.parse(value)
        elif f.name == "convention":
            value = Convention(**value)
        elif isinstance(value, list):
            value = tuple(value)
        out[f.name] = value
    return Settings(**out)


def _targets_to_plain(targets):
    blocks = [[[*pair, *shells] for pair, shells in t.items()] for t in targets.targets]
    return asdict(targets) | {"targets": blocks}


def _targets_from_plain(values):
    blocks = tuple({(a, b): (m, n) for a, b, m, n in t} for t in values["targets"])
    shells = tuple(tuple(s) for s in values["shells"])
    return Targets(
        **(values | {"targets": blocks, "shells": shells, "numbers": tuple(values["numbers"])})
    )
