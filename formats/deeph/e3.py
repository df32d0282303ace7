"""DeepH-E3's result folders: networks that were trained with it.

Layout: ``best_model.pkl`` (a torch file with a state dict), ``src/train.ini`` (the user's
settings), ``src/dataset_info.json`` (species, shells, spin) and ``src/target_blocks.json`` (which
blocks share channels). Kept: all of these that define the function. Lost: optimiser and scheduler,
logs, constant buffers. The version of e3nn that a network was trained with is part of its function:
in checkpoints written before 0.4.2 it follows from the names of their buffers, in later ones from
the signs in them.
"""

import configparser
import os
import re
import reprlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from moireio.errors import DamagedError, MissingFileError, MoireioError, first_line, naming
from moireio.formats.deeph.checkpoint import read_state
from moireio.formats.deeph.files import flag, read_json
from moireio.formats.structures.text import read_text
from moireio.network.bounds import MOST_DEGREE, require_outputs, require_weights, update_lists
from moireio.network.create import with_reachable
from moireio.network.gate import harmonics_irreps
from moireio.network.head import Targets
from moireio.network.irreps import Irreps
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
_BUFFER = re.compile(r"\._w3j_(\d{1,2})_(\d{1,2})_(\d{1,2})$")


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
    path = os.path.join(folder, "src", "train.ini")
    network, converted = _network_section(path)
    if "spherical_basis_irreps" in network:
        raise MoireioError("a network with a spherical Bessel basis is not supported", path=path)
    if converted:
        raise MoireioError("convert_net_out = True is not supported", path=path)
    file = os.path.join(folder, "src", "dataset_info.json")
    info = read_json(file)
    with naming(file):
        numbers, shells = _species(info)
        spinful = flag(info, "spinful", file)
        if spinful is None:
            raise MoireioError("has no spinful")
    file = os.path.join(folder, "src", "target_blocks.json")
    blocks = read_json(file, list)
    with naming(file):
        listed = tuple(_target(block, numbers) for block in blocks)
        even = network["ignore_parity"].lower() == "true"
        targets = Targets(tuple(numbers), shells, spinful, listed, even)
    with naming(path):
        settings = _settings(network, targets)
        require_outputs(settings, targets)
    return settings, targets


def _network_section(path: str) -> tuple[dict[str, str], bool]:
    """Return the settings of the network, and whether its output is converted."""
    if not os.path.exists(path):
        remedy = "a DeepH-E3 result folder has best_model.pkl and src/train.ini"
        raise MissingFileError(path=path, remedy=remedy)
    ini = configparser.ConfigParser(inline_comment_prefixes=(";",), interpolation=None)
    try:
        ini.read_string(read_text(path))
    except configparser.Error as error:
        raise MoireioError(f"is not a settings file: {first_line(error)}", path=path) from error
    section = dict(ini["network"]) if ini.has_section("network") else {}
    network = {k: v.strip() for k, v in (DEFAULTS | section).items() if v and v.strip()}
    converted = ini.get("target", "convert_net_out", fallback="") or ""
    return DEFAULTS | network, converted.strip().lower() == "true"


def _species(info: Mapping) -> tuple[list[int], tuple[tuple[int, ...], ...]]:
    """Return atomic numbers and shells of ``dataset_info.json``."""
    numbers, shells = info.get("index_to_Z"), info.get("orbital_types")
    fits = isinstance(numbers, list) and all(type(z) is int for z in numbers)
    if not fits or len(set(numbers)) < len(numbers):
        raise MoireioError(f"index_to_Z is {reprlib.repr(numbers)}, atomic numbers expected")
    fits = isinstance(shells, list) and all(
        isinstance(one, list) and all(type(degree) is int for degree in one) for one in shells
    )
    if not fits:
        raise MoireioError(
            f"orbital_types is {reprlib.repr(shells)}, a list of degrees per species expected"
        )
    return numbers, tuple(tuple(one) for one in shells)


def _target(
    block: Mapping[str, Sequence[int]], numbers: list[int]
) -> dict[tuple[int, int], tuple[int, int]]:
    """Return a target of ``target_blocks.json`` by species."""
    out = {}
    for pair, place in block.items() if isinstance(block, dict) else [(block, None)]:
        words = pair.split() if isinstance(pair, str) else []
        known = [numbers.index(int(w)) for w in words if w.isdecimal() and int(w[:4]) in numbers]
        fits = isinstance(place, list) and len(place) == 2 and all(type(n) is int for n in place)
        if len(words) != 2 or len(known) != 2 or not fits:
            raise MoireioError(
                f"{reprlib.repr({pair: place} if isinstance(pair, str) else block)} is no target",
                remedy=f"'Z1 Z2': [shell, shell] expected, Z of {numbers}",
            )
        out[known[0], known[1]] = (place[0], place[1])
    return out


def _settings(network: Mapping[str, str], targets: Targets) -> NetworkSettings:
    lmax, even = _integer(network, "spherical_harmonics_lmax"), targets.even
    if not 0 <= lmax <= MOST_DEGREE:
        raise MoireioError(f"spherical_harmonics_lmax is {lmax}, 0 to {MOST_DEGREE} expected")
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
        blocks=_integer(network, "num_blocks"),
        harmonics_lmax=lmax,
        cutoff=_number(network, "cutoff_radius"),
        even=even,
    )


def _integer(network: Mapping[str, str], name: str) -> int:
    text = network[name]
    if not re.fullmatch(r"[+-]?\d{1,9}", text):
        raise MoireioError(f"{name} is {reprlib.repr(text)}, an integer of a few digits expected")
    return int(text)


def _number(network: Mapping[str, str], name: str) -> float:
    try:
        return float(network[name])
    except ValueError:
        shown = reprlib.repr(network[name])
        raise MoireioError(f"{name} is {shown}, a number expected") from None


def read(folder: str, e3nn: str | None = None) -> tuple[Network, Targets, str | None]:
    """Read a trained network.

    Parameters
    ----------
    folder : str
        A result folder.
    e3nn : str, optional
        Version that it is evaluated with, a key of `CONVENTIONS`; "0.4+" is 0.4.4 or 0.5, by the
        signs in the checkpoint. By default the version of the checkpoint.

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
    state = read_state(path)
    with naming(path):
        _require_fit(settings, state)
        version = e3nn_version(state)
    if e3nn == "0.4+":  # signs as in the buffers; those of 0.3.5 are the ones before 0.5
        e3nn = {"0.3.5": "0.4.4", None: "0.5"}.get(version, version)
    settings = settings.with_(convention=CONVENTIONS[e3nn or version or REQUIRED])
    with torch_seed(0):  # the weights are overwritten
        network = Network(settings)
    fill(network, state, path)
    return network, targets, version


def _require_fit(settings: NetworkSettings, state: Mapping[str, torch.Tensor]) -> None:
    """Raise if the settings are not those of the weights, before a network is made of them."""

    def prefix(block: str, half: str) -> str:
        return f"{half}_update_blocks.{block}"

    def stored(name: str) -> int | None:
        parts = name.split(".")
        key = "embedding.weight" if name == "embedding" else name
        if parts[0] == "blocks":
            key = ".".join([prefix(parts[1], parts[2]), *parts[3:]])
        if key in state:
            return state[key].numel()
        pieces = [state[f"{key}.{n}"].numel() for n in range(len(state)) if f"{key}.{n}" in state]
        return sum(pieces) if pieces else None

    try:
        require_weights(settings, stored)
        for lists in update_lists(settings):
            key = f"{prefix(str(lists.block), lists.half)}.conv.tp.weights1"
            for number, (a, b) in enumerate(lists.paths):
                shape = tuple(state[f"{key}.{number}"].shape) if f"{key}.{number}" in state else ()
                if shape != (a, b) and shape != (a * b,):
                    raise MoireioError(f"{key}.{number} has the shape {shape}, {(a, b)} expected")
    except MoireioError as error:
        remedy = "src/ is of another run, or damaged"
        raise MoireioError(error.what, path=error.path, remedy=remedy) from error


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

    Raises
    ------
    DamagedError
        If a stored coupling coefficient is of no version, or two are of different ones.
    """
    if any("_compiled_main_out" in key for key in state):
        return "0.3.5"
    versions, seen = {}, False
    for key, value in state.items():
        match = _BUFFER.search(key)
        if not match:
            continue
        seen = True
        degrees = tuple(int(n) for n in match.groups())
        if max(degrees) > MOST_DEGREE or value.shape != tuple(2 * n + 1 for n in degrees):
            raise DamagedError(f"{key} are no coupling coefficients: shape {tuple(value.shape)}")
        stored, old, new = value.double().numpy(), coupling(*degrees, True), coupling(*degrees)
        found = [v for v, C in (("0.4.4", old), ("0.5", new)) if np.allclose(stored, C, atol=1e-4)]
        if not found:
            raise DamagedError(f"{key} are no coupling coefficients of any version of e3nn")
        if len(found) == 1:
            versions[found[0]] = key
    if len(versions) > 1:
        raise DamagedError(
            f"{versions['0.4.4']} has the signs of e3nn 0.4, {versions['0.5']} those of 0.5"
        )
    return next(iter(versions), "0.5" if seen else None)


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
        dtype = state["embedding.weight"].dtype
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
