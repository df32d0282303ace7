"""Model files: networks with everything that is needed to use them, without pickle.

An HDF5 file (or zarr) whose root says ``format = "moireio-model"``: ``/model/settings`` and
``/model/training`` (JSON texts), ``/model/weights/NAME``, ``/model/expected_error/NAME``,
``/model/card`` (JSON) with ``/model/cells/NAME``, and ``/basis`` as in a block file.
"""

import contextlib
import json
import math

import numpy as np
import torch

from moireio.blockfile.reader import read_basis
from moireio.blockfile.writer import root_attributes, write_basis
from moireio.errors import DamagedError, MoireioError, first_line
from moireio.models.cards import ModelCard
from moireio.models.shipped import FORMAT
from moireio.network.bounds import require_outputs, require_weights
from moireio.network.expected_error import ExpectedError
from moireio.network.head import Targets
from moireio.network.irreps import Layout
from moireio.network.model import NetworkModel
from moireio.network.net import Network, NetworkSettings
from moireio.network.referencecell import read_cells, write_cells
from moireio.runtime.random import torch_seed
from moireio.store.base import Container, seal, verify, write_array
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

FORMAT_VERSION = "1.2"


def write(path: str, model: NetworkModel, force: bool = False) -> None:
    """Write a model file.

    Parameters
    ----------
    path : str
        File to make.
    model : NetworkModel
        The model.
    force : bool
        Replace a file that exists.
    """
    with write_container(path, kind="h5", force=force) as container:
        version = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": model.kind}
        container.create_group("", root_attributes() | version)
        seal(container, "")
        container.create_group("model")
        description = {
            "settings": model.network.settings.to_plain(),
            "targets": model.targets.to_plain(),
            "names": list(model.names),
        }
        for name, value in (("settings", description), ("training", model.training)):
            write_array(container, f"model/{name}", np.array([json.dumps(value)], dtype=object))
        container.create_group("model/weights")
        for name, value in model.network.state_dict().items():
            array = value.detach().cpu().numpy()
            write_array(container, f"model/weights/{name}", array)
        seal(container, "model/weights")
        if model.expected_error is not None:
            container.create_group("model/expected_error")
            for name, array in model.expected_error.arrays().items():
                write_array(container, f"model/expected_error/{name}", array)
            seal(container, "model/expected_error")
        if model.card is not None:
            text = model.card.to_json()
            write_array(container, "model/card", np.array([text], dtype=object))
        if model.cells:
            write_cells(container, "model/cells", model.cells)
        seal(container, "model")
        if model.basis is not None:
            write_basis(container, model.basis)


def read(path: str) -> NetworkModel:
    """Read a model file.

    Parameters
    ----------
    path : str
        Model file.

    Returns
    -------
    NetworkModel
        The model, with `path` as its label.

    Raises
    ------
    MoireioError
        If it is not a model file, or damaged.
    """
    with contextlib.closing(open_container(path)) as container:
        attributes = container.attributes()
        if attributes.get("format") != FORMAT:
            raise MoireioError("is not a model file", path=path, remedy="train-h makes them")
        version = str(attributes.get("format_version"))
        if version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
            raise MoireioError(
                f"has model format {version}, this program reads {FORMAT_VERSION}",
                path=path,
                remedy="update moireio",
            )
        for group in ("", "model", "model/weights"):
            verify(container, group)
        try:
            description, training = (
                json.loads(str(container.read(f"model/{name}")[0]))
                for name in ("settings", "training")
            )
            targets = Targets.from_plain(description["targets"])
            settings = NetworkSettings.from_plain(description["settings"])
            counts = {
                name: math.prod(container.info(f"model/weights/{name}").shape)
                for name in container.arrays("model/weights")
            }
            require_weights(settings, counts.get)
            require_outputs(settings, targets)
            with torch_seed(0):  # the weights are overwritten
                network = Network(settings)
            weights = {
                name: torch.from_numpy(
                    np.ascontiguousarray(container.read(f"model/weights/{name}"))
                )
                for name in container.arrays("model/weights")
            }
            network.to(next(iter(weights.values())).dtype)
            network.load_state_dict(weights)
            names = tuple(description["names"])
            expected = _read_expected_error(container, network, len(targets.numbers))
            card = _read_card(container)
            cells = read_cells(container, "model/cells")
        except MoireioError as error:
            raise type(error)(error.what, path=error.path or path, remedy=error.remedy) from error
        except (KeyError, ValueError, TypeError, RuntimeError, IndexError, StopIteration) as error:
            text = f"{type(error).__name__}, {first_line(error)}"
            raise DamagedError(f"its contents do not fit each other: {text}", path=path) from error
        basis = read_basis(container) if "basis" in container.groups() else None
        kind = attributes["kind"]
        return NetworkModel(
            network, targets, kind, names, basis, training, path, expected, card, cells
        )


def _read_card(container: Container) -> ModelCard | None:
    """Return the card, or None: files before version 1.2 have none."""
    if "card" not in container.arrays("model"):
        return None
    return ModelCard.from_json(str(container.read("model/card")[0]))


def _read_expected_error(
    container: Container, network: Network, n_species: int
) -> ExpectedError | None:
    """Return the model's `ExpectedError`, or None: files before version 1.1 have none."""
    group = "model/expected_error"
    if "expected_error" not in container.groups("model"):
        return None
    verify(container, group)
    arrays = {name: container.read(f"{group}/{name}") for name in container.arrays(group)}
    channels = [Layout(block.node.out).per_degree for block in network.blocks]
    return ExpectedError.from_arrays(arrays, channels, n_species)
