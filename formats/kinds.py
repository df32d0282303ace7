"""Kinds of files and folders, for messages about those that a command does not read.

They differ by their first bytes and members where there are some, else by their names; a name alone
is not enough where other programs use it too (``.dat``, ``.out``). Nothing is read that a damaged
file could make long: a few kB, a zip's directory, HDF5's root.
"""

import contextlib
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from moireio.errors import DamagedError, MoireioError
from moireio.formats import foreign
from moireio.formats.deeph import dock, folder
from moireio.formats.openmx import dat
from moireio.formats.structures import ase_text
from moireio.formats.structures import files as structure_files
from moireio.formats.structures.text import MAGIC, plain_name
from moireio.moire.dataset import is_dataset
from moireio.store.containers import HDF5_SIGNATURE, ZIP_SIGNATURE, open_container

HEAD_BYTES = 4096
DEEPH_E3_FILES = ("best_model.pkl", os.path.join("src", "train.ini"))
SAFETENSORS_HEADER = 100_000_000  # bytes at most, by its specification
TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".pth.tar")
#: Beginning of what torch wrote before it wrote zip files (its version 1.6).
TORCH_LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
#: Members of DeepH's data folders.
DEEPH_FILES = (
    *(f"{name}.dat" for name in ("element", "lat", "rlat", "orbital_types", "site_positions")),
    "info.json",
    *(
        f"{name}{end}.h5"
        for name in ("hamiltonian", "hamiltonians", "overlap", "overlaps", "rh", "rc")
        for end in ("", "_pred")
    ),
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
        "pickle": "a pickle of Python",
        "safetensors": "a safetensors file of another program",
        "deeph": "a data folder of DeepH",
        "deeph-file": "one file of a data folder of DeepH",
        "hdf5": "an HDF5 file of another program",
        "zarr": "a zarr store of another program",
        "npz": "a NumPy .npz",
        "zip": "a zip file of another program",
        "compressed": "a compressed file",
        "foreign": "a file of another program",
        "dataset": "a training set of build-dataset",
        "folder": "a folder",
        "scfout": "an OpenMX .scfout",
        "hks": "an OpenMX .hks",
        "band": "an OpenMX .Band",
        "out": "an OpenMX .out",
        "pao": "an OpenMX .pao",
        "vps": "an OpenMX .vps",
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
        if head.startswith(tuple(MAGIC)):
            return _compressed(path)
        return _file(path, head)
    except (OSError, MoireioError):  # a damaged container is of no kind that could be seen
        return None


def _file(path: str, head: bytes) -> FileKind | None:
    """Return the kind of a file with some beginning."""
    folder, name = os.path.split(path)
    if name in DEEPH_FILES and _folder(folder or ".") == "deeph":
        return KINDS["deeph-file"]
    if (found := _by_bytes(path, head)) is not None:
        return KINDS[found]
    if (words := foreign.describe(name, head)) is not None:
        return FileKind("foreign", words)
    text = "" if b"\0" in head else head.decode("utf-8", "replace")
    if dat.detect(path):
        return KINDS["dat"]
    if dat.OUTPUT in text:
        return KINDS["out"]
    if (found := next((n for n, fits in _BY_NAME.items() if fits(path)), None)) is not None:
        return KINDS[found]
    return KINDS["structure"] if text and _is_structure(path, text) else None


def _compressed(path: str) -> FileKind | None:
    """Return the kind of what a file holds in compressed form; structures are read as they are."""
    try:
        with next(o for m, o in MAGIC.items() if _starts(path, m))(path) as stream:
            head = stream.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return None
    if head[257:262] == b"ustar":
        return FileKind("compressed", "a compressed tar archive")
    name = plain_name(path)
    words = foreign.describe(name, head)
    if words is not None:
        return FileKind("foreign", words)
    for kind in ("scfout", "hks", "pao", "vps", "band"):
        if _BY_NAME[kind](name):
            return FileKind("compressed", f"{KINDS[kind].description} in compressed form")
    if head.startswith(HDF5_SIGNATURE):
        return FileKind("compressed", "an HDF5 file in compressed form")
    text = "" if b"\0" in head else head.decode("utf-8", "replace")
    return KINDS["structure"] if text and _is_structure(name, text) else KINDS["compressed"]


def _starts(path: str, magic: bytes) -> bool:
    with open(path, "rb") as stream:
        return stream.read(len(magic)) == magic


def _folder(path: str) -> str:
    if os.path.isfile(os.path.join(path, "zarr.json")):
        return _container(path) or "zarr"
    if any(os.path.isfile(os.path.join(path, name)) for name in DEEPH_E3_FILES):
        return "deeph-e3"
    if dock.detect(path) or folder.detect(path):
        return "deeph"
    if is_dataset(path):
        return "dataset"
    return "torch-folder" if any(n.endswith(TORCH_SUFFIXES) for n in os.listdir(path)) else "folder"


def _by_bytes(path: str, head: bytes) -> str | None:
    if head.startswith(HDF5_SIGNATURE):
        return _container(path) or "hdf5"
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
        return "npz" if members and all(m.endswith(".npy") for m in members) else "zip"
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < SAFETENSORS_HEADER:
        return "safetensors"
    if head.startswith(TORCH_LEGACY):
        return "torch"
    return "pickle" if head.startswith(PICKLE) else None


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


def _is_structure(name: str, text: str) -> bool:
    """Return whether a file is a structure file, by its name or the beginning of its text."""
    plain = plain_name(name)
    if structure_files.kind(plain) not in (None, "block", "openmx"):
        return True
    return ase_text.format_of(plain, text) is not None


_BY_NAME: dict[str, Callable[[str], bool]] = {
    "scfout": _suffix(".scfout"),
    "hks": _suffix(".hks"),
    "band": _suffix(".band"),
    "pao": _suffix(".pao"),
    "vps": _suffix(".vps"),
    "tb-model": _suffix(".toml"),
}
