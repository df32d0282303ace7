"""Kinds of files and folders, for messages about those that a command does not read.

They differ by their first bytes and members where there are some, else by their names.
Nothing is read that a damaged file could make long: a few kB, a zip's directory, HDF5's root.
"""

import contextlib
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

from moireio.errors import DamagedError, MoireioError
from moireio.formats.deeph import dock, folder
from moireio.formats.openmx import dat
from moireio.formats.structures import files as structure_files
from moireio.formats.structures.text import plain_name
from moireio.moire.dataset import FORMAT as DATASET
from moireio.moire.dataset import MANIFEST
from moireio.store.containers import HDF5_SIGNATURE, ZIP_SIGNATURE, open_container

HEAD_BYTES = 4096
DEEPH_E3_FILES = ("best_model.pkl", os.path.join("src", "train.ini"))
SAFETENSORS_HEADER = 100_000_000  # bytes at most, by its specification
TORCH_SUFFIXES = (".pkl", ".pt", ".pth", ".ckpt", ".pth.tar")
#: Members of DeepH's data folders.
DEEPH_FILES = tuple(
    f"{name}{end}.h5"
    for name in ("hamiltonian", "hamiltonians", "overlap", "overlaps", "rh", "rc", "rhamiltonian")
    for end in ("", "_pred")
)


@dataclass(frozen=True)
class FileKind:
    """One kind of file or folder.

    Parameters
    ----------
    name : str
        For tables.
    description : str
        Completes "is …".
    """

    name: str
    description: str


KINDS = {
    name: FileKind(name, description)
    for name, description in {
        "block": "a block file",
        "model": "a model file of moireio",
        "deeph-e3": "a result folder of DeepH-E3",
        "torch": "a torch checkpoint of another program",
        "torch-folder": "a folder with a torch checkpoint of another program",
        "safetensors": "a safetensors file of another program",
        "deeph": "a data folder of DeepH",
        "deeph-file": "one file of a data folder of DeepH",
        "hdf5": "an HDF5 file of another program",
        "zarr": "a zarr store of another program",
        "zip": "a zip file of another program",
        "dataset": "a training set of build-dataset",
        "folder": "a folder",
        "scfout": "an OpenMX .scfout",
        "hks": "an OpenMX .hks",
        "band": "an OpenMX .Band",
        "out": "an OpenMX .out",
        "pao": "an OpenMX .pao",
        "dat": "an OpenMX input",
        "tb-model": "a TOML file",
        "structure": "a structure file",
    }.items()
}


def identify(path: str) -> FileKind | None:
    """Return the kind of a file or folder.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    FileKind or None
        None if it is of none, cannot be read, is damaged, or is a pipe or device.
    """
    try:
        if os.path.isdir(path):
            return KINDS[_folder(path)]
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as stream:
            head = stream.read(HEAD_BYTES)
        name = _by_bytes(path, head)
    except (OSError, MoireioError):  # a damaged container is of no kind that could be seen
        return None
    name = name or next((n for n, fits in _BY_NAME.items() if fits(path)), None)
    if name is None and head.startswith(b"\x80") and path.lower().endswith(TORCH_SUFFIXES):
        name = "torch"
    if name is None and dat.detect(path):
        name = "dat"
    return KINDS.get(name or "")


def _folder(path: str) -> str:
    if os.path.isfile(os.path.join(path, "zarr.json")):
        return _container(path) or "zarr"
    if any(os.path.isfile(os.path.join(path, name)) for name in DEEPH_E3_FILES):
        return "deeph-e3"
    if dock.detect(path) or folder.detect(path):
        return "deeph"
    with (
        contextlib.suppress(OSError, ValueError, AttributeError),
        open(os.path.join(path, MANIFEST), encoding="utf-8") as stream,
    ):
        if json.loads(stream.read(1 << 24)).get("format") == DATASET:
            return "dataset"
    return "torch-folder" if any(n.endswith(TORCH_SUFFIXES) for n in os.listdir(path)) else "folder"


def _by_bytes(path: str, head: bytes) -> str | None:
    if head.startswith(HDF5_SIGNATURE):
        member = os.path.basename(path) in DEEPH_FILES
        return _container(path) or ("deeph-file" if member else "hdf5")
    if head.startswith(ZIP_SIGNATURE):
        try:
            with zipfile.ZipFile(path) as file:
                members = file.namelist()
        except (zipfile.BadZipFile, OSError, ValueError, EOFError):
            return None
        if "zarr.json" in members:
            return _container(path) or "zarr"
        if any(os.path.basename(member) == "data.pkl" for member in members):
            folder, name = os.path.split(path)
            own = name == "best_model.pkl" and os.path.isdir(os.path.join(folder, "src"))
            return "deeph-e3" if own else "torch"
        return "zip"
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < SAFETENSORS_HEADER:
        return "safetensors"
    return None


def _container(path: str) -> str | None:
    """Return "block" or "model" for a container of moireio, None for another program's.

    Raises
    ------
    MoireioError
        If it is damaged.
    """
    with contextlib.closing(open_container(path)) as container:
        form = container.attributes().get("format")
        if form is None and {"structure", "basis"} & set(container.groups()):
            raise DamagedError("the root has no attribute format = moireio", path=path)
    return {"moireio": "block", "moireio-model": "model"}.get(str(form))


def _suffix(*suffixes: str) -> Callable[[str], bool]:
    return lambda path: path.lower().endswith(suffixes)


def _is_structure(path: str) -> bool:
    return structure_files.kind(plain_name(path)) not in (None, "block", "openmx")


_BY_NAME: dict[str, Callable[[str], bool]] = {
    "scfout": _suffix(".scfout"),
    "hks": _suffix(".hks"),
    "band": _suffix(".band"),
    "out": _suffix(".out"),
    "pao": _suffix(".pao", ".vps"),
    "dat": _suffix(".dat", ".dat#"),
    "tb-model": _suffix(".toml"),
    "structure": _is_structure,
}
