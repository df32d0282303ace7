"""DeepH-E3's result folders: networks that were trained with it.

Layout: ``best_model.pkl`` (a torch file with a state dict), ``src/train.ini`` (the user's
settings), ``src/dataset_info.json`` (species, shells, spin) and ``src/target_blocks.json`` (which
blocks share channels). Kept: all of these that define the function. Lost: optimiser and scheduler,
logs, constant buffers. The version of e3nn that a network was trained with is part of its function:
in checkpoints written before 0.4.2 it follows from the names of their buffers, in later ones from
the signs in them.
"""

import configparser
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from moireio.errors import MissingFileError, MoireioError, first_line, unreadable
from moireio.network.create import with_reachable
from moireio.network.head import Targets
from moireio.network.irreps import Irreps
from moireio.network.layers import harmonics_irreps
from moireio.network.linear import CONVENTIONS
from moireio.network.model import NetworkModel
from moireio.network.net import Network, NetworkSettings
from moireio.network.wigner import coupling
from moireio.runtime.random import torch_seed

DEFAULTS = {
    "cutoff_radius": "7.2",
    "spherical_harmonics_lmax": "4",
    "irreps_embed": "64x0e",
    "irreps_mid": "64x0e+32x1o+16x2e+8x3o+8x4e",
    "num_blocks": "3",
    "ignore_parity": "False",
}
# The version that DeepH-E3 asks for, where a checkpoint does not show its own.
REQUIRED = "0.3.5"


def read_settings(folder: str) -> tuple[NetworkSettings, Targets]:
    """Read the settings of a network.

    Parameters
    ----------
    folder : str
        A result folder.

    Returns
    -------
    settings : NetworkSettings
        Settings, without the convention of e3nn.
    targets : Targets
        Meaning of the output.

    Raises
    ------
    MoireioError
        If a file is missing or asks for what is not supported.
    """
    ini = configparser.ConfigParser(inline_comment_prefixes=(";",))
    path = os.path.join(folder, "src", "train.ini")
    try:
        with open(path, encoding="utf-8") as stream:
            ini.read_file(stream)
    except OSError as error:
        remedy = "a DeepH-E3 result folder has best_model.pkl and src/train.ini"
        raise unreadable(error, path, remedy) from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise MoireioError(f"is not a settings file: {first_line(error)}", path=path) from error
    network = DEFAULTS | (dict(ini["network"]) if ini.has_section("network") else {})
    network = {k: v.strip() for k, v in network.items() if v.strip()}
    if "spherical_basis_irreps" in network:
        raise MoireioError("a network with a spherical Bessel basis is not supported", path=path)
    if ini.get("target", "convert_net_out", fallback="False").strip().lower() == "true":
        raise MoireioError("convert_net_out = True is not supported", path=path)
    info = _json(os.path.join(folder, "src", "dataset_info.json"))
    blocks = _json(os.path.join(folder, "src", "target_blocks.json"))
    try:
        numbers = [int(z) for z in info["index_to_Z"]]
        even = network["ignore_parity"].lower() == "true"
        targets = Targets(
            tuple(numbers),
            tuple(tuple(int(n) for n in shells) for shells in info["orbital_types"]),
            bool(info["spinful"]),
            tuple(_target(block, numbers) for block in blocks),
            even,
        )
        settings = _settings(network, targets)
    except MoireioError as error:
        raise MoireioError(error.what, path=path, remedy=error.remedy) from error
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise MoireioError(
            f"its src folder is not one of DeepH-E3: {error}", path=folder
        ) from error
    return settings, targets


def _json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except OSError as error:
        raise unreadable(error, path) from error
    except ValueError as error:
        raise MoireioError(f"is not JSON: {first_line(error)}", path=path) from error


def _target(
    block: Mapping[str, Sequence[int]], numbers: list[int]
) -> dict[tuple[int, int], tuple[int, int]]:
    out = {}
    for pair, (a, b) in block.items():
        one, two = (numbers.index(int(z)) for z in pair.split())
        out[one, two] = (int(a), int(b))
    return out


def _settings(network: Mapping[str, str], targets: Targets) -> NetworkSettings:
    lmax, even = int(network["spherical_harmonics_lmax"]), targets.even
    given = {k: Irreps.parse(v) for k, v in network.items() if "irreps" in k}
    embed = given["irreps_embed"]
    mid = given["irreps_mid"]
    out_edge = given.get("out_irreps", targets.irreps())
    mid_node, mid_edge = (given.get(f"irreps_mid_{n}", mid) for n in ("node", "edge"))
    post_edge = given.get("irreps_post_edge", targets.irreps().sort()[0].simplify())
    post_node = given.get("irreps_post_node")
    if post_node is None:
        post_node = mid_node
        if targets.spinful:
            sh = harmonics_irreps(lmax, even)
            post_node = with_reachable(post_node, mid_node, mid_edge, post_edge, sh)
    return NetworkSettings(
        species=len(targets.numbers),
        embed_node=given.get("irreps_embed_node", embed),
        edge_init=given.get("irreps_edge_init", embed),
        mid_node=mid_node,
        mid_edge=mid_edge,
        post_node=post_node,
        post_edge=post_edge,
        out_edge=out_edge,
        blocks=int(network["num_blocks"]),
        harmonics_lmax=lmax,
        cutoff=float(network["cutoff_radius"]),
        even=even,
    )


def read(folder: str, e3nn: str | None = None) -> tuple[Network, Targets, str | None]:
    """Read a trained network.

    Parameters
    ----------
    folder : str
        A result folder.
    e3nn : str, optional
        Version that it is evaluated with, a key of `CONVENTIONS`; "0.4+" is the version of the
        checkpoint, but not before 0.4. By default the version of the checkpoint.

    Returns
    -------
    network : Network
        Network with its weights.
    targets : Targets
        Meaning of its output.
    version : str or None
        Version of e3nn that the checkpoint was written with, if it can be seen.

    Raises
    ------
    MoireioError
        If files are missing, damaged, or do not fit each other.
    """
    settings, targets = read_settings(folder)
    path = os.path.join(folder, "best_model.pkl")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except FileNotFoundError as error:
        raise MissingFileError(path=path) from error
    except Exception as error:  # torch's unpickler raises whatever the bytes make it
        raise MoireioError(f"is not a checkpoint: {first_line(error)}", path=path) from error
    version = e3nn_version(state)
    if e3nn == "0.4+":
        e3nn = version if version in ("0.4.4", "0.5") else "0.5"
    settings = settings.with_(convention=CONVENTIONS[e3nn or version or REQUIRED])
    with torch_seed(0):  # the weights are overwritten
        network = Network(settings)
    fill(network, state, path)
    return network, targets, version


def model(folder: str, e3nn: str | None = None) -> NetworkModel:
    """Read a trained network as a model.

    Parameters
    ----------
    folder : str
        A result folder.
    e3nn : str, optional
        As in `read`.

    Returns
    -------
    NetworkModel
        Its species are the elements.
    """
    from ase.data import chemical_symbols

    network, targets, version = read(folder, e3nn)
    names = tuple(chemical_symbols[z] for z in targets.numbers)
    training = {"program": "DeepH-E3", "e3nn": version}
    return NetworkModel(network, targets, "deeph-e3", names, training=training, label=folder)


def e3nn_version(state: Mapping[str, torch.Tensor]) -> str | None:
    """Return the version of e3nn that wrote a checkpoint.

    Parameters
    ----------
    state : dict
        The state dict.

    Returns
    -------
    str or None
        Key of `CONVENTIONS`; None if it cannot be seen.
    """
    if any("_compiled_main_out" in key for key in state):
        return "0.3.5"
    buffers = {key.rpartition("._w3j_")[2]: key for key in state if "._w3j_" in key}
    for name, key in buffers.items():
        degrees = tuple(int(n) for n in name.split("_"))
        old, new = coupling(*degrees, True), coupling(*degrees)
        if not np.allclose(old, new):
            stored = state[key].double().numpy()
            return "0.4.4" if np.allclose(stored, old, atol=1e-4) else "0.5"
    return "0.5" if buffers else None


def fill(network: Network, state: Mapping[str, torch.Tensor], path: str) -> None:
    """Copy DeepH-E3's weights into a network.

    Parameters
    ----------
    network : Network
        Network with the checkpoint's settings.
    state : dict
        DeepH-E3's state dict.
    path : str
        The file, for messages.

    Raises
    ------
    MoireioError
        If a weight is missing or has another size.
    """
    used: set[str] = set()

    def take(key: str, like: torch.Tensor) -> torch.Tensor:
        if key not in state:
            raise MoireioError(f"has no weight {key}", path=path, remedy="src/ is of another run")
        used.add(key)
        value = state[key]
        if value.numel() != like.numel():
            raise MoireioError(
                f"{key} has {value.numel()} numbers, {like.numel()} expected",
                path=path,
                remedy="src/ is of another run",
            )
        return value.reshape(like.shape)

    def joined(prefix: str, like: torch.Tensor) -> torch.Tensor:
        parts = []
        while f"{prefix}.{len(parts)}" in state:
            parts.append(state[f"{prefix}.{len(parts)}"].flatten())
            used.add(f"{prefix}.{len(parts) - 1}")
        value = torch.cat(parts) if parts else torch.zeros(0)
        if value.numel() != like.numel():
            raise MoireioError(
                f"{prefix} has {value.numel()} numbers, {like.numel()} expected", path=path
            )
        return value

    def copy(weight: torch.Tensor, key: str) -> None:
        weight.copy_(take(key, weight))

    with torch.no_grad():
        dtype = next(iter(state.values())).dtype
        network.to(torch.float64 if dtype == torch.float64 else torch.float32)
        copy(network.embedding, "embedding.weight")
        for name, module in (("basis", network.radial), ("distance_expansion", network.expansion)):
            for part in ("offsets", "width"):
                copy(getattr(module, part), f"{name}.{part}")
        for part in ("weight", "bias"):
            copy(getattr(network.lin_edge, part), f"lin_edge.{part}")
        for number, block in enumerate(network.blocks):
            for update, name in ((block.node, "node"), (block.edge, "edge")):
                prefix = f"{name}_update_blocks.{number}"
                modules = {
                    "lin_pre": update.lin_pre,
                    "lin_post": update.lin_post,
                    "norm": update.norm,
                    **{f"conv.fc.{n}": update.conv.fc[n] for n in (0, 2, 4)},
                }
                for key, module in modules.items():
                    for part in ("weight", "bias"):
                        copy(getattr(module, part), f"{prefix}.{key}.{part}")
                tp = update.conv.tp
                tp.weights1.copy_(joined(f"{prefix}.conv.tp.weights1", tp.weights1))
                tp.weights2.copy_(joined(f"{prefix}.conv.tp.weights2", tp.weights2))
                copy(update.sc.weight, f"{prefix}.sc.weight")
                if update.skip is not None:
                    copy(update.skip.weight, f"{prefix}.skip_connect.sc.weight")
    left = [
        key
        for key, value in state.items()
        if key not in used
        and value.numel()
        and "output_mask" not in key
        and "_w3j_" not in key
        and not key.startswith(("lin_node.", "sh."))
        and not key.endswith("nonlin.mul.weight")
    ]
    if left:
        raise MoireioError(f"has weights that have no place: {left[0]}", path=path)
