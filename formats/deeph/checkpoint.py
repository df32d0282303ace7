"""Torch's checkpoints of DeepH-E3: the weights, and nothing that could run.

A checkpoint is a zip with one member for each tensor. Torch does not compare them with their
CRC-32 when it reads, and passes over damage; here every member is checked, and every weight.
"""

import os
import re
import reprlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moireio.errors import DamagedError, MissingFileError, MoireioError, first_line, unreadable
from moireio.store.containers import ZIP_SIGNATURE

if TYPE_CHECKING:
    import torch

# Members are not compressed by torch; packed weights shrink by a few percent.
EXPANSION = 20
FREE_BYTES = 64 << 20
REMEDY = "the file is damaged; copy it again"
_GLOBAL = re.compile(r"(?:GLOBAL|global|class) ([\w.]+\.[\w.]+)")


def read_state(path: str) -> "dict[str, torch.Tensor]":
    """Read the weights of a network.

    Parameters
    ----------
    path : str
        DeepH-E3's ``best_model.pkl``.

    Returns
    -------
    dict of str to tensor
        The state dict; all tensors are dense, on the CPU, and finite.

    Raises
    ------
    MoireioError
        If it is absent, or a checkpoint of another program.
    DamagedError
        If a member does not fit its CRC-32, or a weight is not finite.
    """
    import torch

    _check_members(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch's unpickler raises whatever the bytes make it
        raise _not_plain(path, error) from error
    state = checkpoint.get("state_dict") if isinstance(checkpoint, Mapping) else None
    named = isinstance(state, Mapping) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    )
    if not named or "embedding.weight" not in state or "lin_edge.weight" not in state:
        found = state if named else checkpoint
        raise MoireioError(
            f"is a torch checkpoint of another program: {_described(found)}",
            path=path,
            remedy="those of DeepH-E3 hold a state_dict with embedding.weight and lin_edge.weight",
        )
    for key, value in state.items():
        _check_tensor(key, value, path)
    return dict(state)


def _check_members(path):
    """Raise if a file is no zip of torch, or a member of it is damaged."""
    if not os.path.isfile(path):
        raise MissingFileError(path=path)
    try:
        with open(path, "rb") as stream:
            head = stream.read(4)
    except OSError as error:
        raise unreadable(error, path) from error
    if head != ZIP_SIGNATURE:
        remedy = "one from before torch 1.6 has no checksums: load and save it with a newer torch"
        raise MoireioError("is not a checkpoint: it is not torch's zip", path=path, remedy=remedy)
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            names = [member.filename for member in members]
            if len(set(names)) < len(names):
                raise DamagedError("has two members of one name", path=path, remedy=REMEDY)
            if not any(os.path.basename(name) == "data.pkl" for name in names):
                raise MoireioError(
                    "is not a checkpoint: torch's zip has a member data.pkl",
                    path=path,
                    remedy=f"its members are {reprlib.repr(names)}",
                )
            size, total = os.path.getsize(path), sum(member.file_size for member in members)
            if total > FREE_BYTES + EXPANSION * size:
                raise DamagedError(
                    f"its members stand for {total} bytes, too many for a file of {size}",
                    path=path,
                    remedy="torch does not compress",
                )
            bad = file.testzip()
    except MoireioError:
        raise
    except (zipfile.BadZipFile, EOFError, zlib.error, OSError, ValueError, RuntimeError) as error:
        # zipfile raises RuntimeError for encrypted members and for compressions it does not know.
        what = f"is cut short or damaged: {first_line(error)}"
        raise DamagedError(what, path=path, remedy=REMEDY) from error
    if bad is not None:
        raise DamagedError(
            f"its member {reprlib.repr(bad)} does not fit its CRC-32", path=path, remedy=REMEDY
        )


def _not_plain(path, error):
    """Return the error of a checkpoint that torch does not unpickle, without torch's advice."""
    found = _GLOBAL.search(str(error))
    what = f"objects of {found[1]}" if found else "more than tensors, numbers and texts"
    return MoireioError(
        f"is not a checkpoint of DeepH-E3: it holds {what}",
        path=path,
        remedy="such a file could run any program when it is read, and is not",
    )


def _described(value: Any) -> str:
    """Return in a few words what a checkpoint holds."""
    if isinstance(value, Mapping):
        return "it holds " + (", ".join(str(key)[:40] for key in list(value)[:4]) or "nothing")
    return f"it holds {type(value).__name__}"


def _check_tensor(key, value, path):
    """Raise if a tensor is not dense, claims more than is stored, or is not finite."""
    import torch

    plain = value.layout == torch.strided and value.device.type == "cpu"
    if not plain or value.is_quantized:
        raise MoireioError(f"{reprlib.repr(key)} is no dense tensor", path=path)
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise DamagedError(
            f"{reprlib.repr(key)} claims {value.numel()} numbers, of which the file holds "
            f"{value.untyped_storage().nbytes() // value.element_size()}",
            path=path,
            remedy=REMEDY,
        )
    if not torch.isfinite(value).all():
        raise DamagedError(
            f"the weight {reprlib.repr(key)} has numbers that are not finite",
            path=path,
            remedy="the training went wrong; take an earlier checkpoint",
        )
