"""Folders of DFT calculations that make a training set.

Layout: ``manifest.json`` (every structure, and how it was made), ``runs.txt`` (one folder a line,
for the array jobs of a scheduler), and a folder for each structure with a complete input of the DFT
code, as ``NAME/NAME.dat`` of OpenMX; the code writes its results beside it.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moireio.errors import MissingFileError, MoireioError, first_line, unreadable, unwritable
from moireio.moire.sample import StructureSample
from moireio.runtime.files import write_text
from moireio.runtime.replace import place
from moireio.runtime.workdirs import prefix_beside, work_folder

MANIFEST = "manifest.json"
RUNS = "runs.txt"
FORMAT = "moireio-dataset"
MOST_BYTES = 256 << 20
STATES = ("done", "failed", "running", "interrupted", "missing")


@dataclass(frozen=True)
class Outcome:
    """State of a calculation.

    Parameters
    ----------
    state : str
        One of `STATES`.
    reason : str
        Why it failed.
    """

    state: str
    reason: str = ""


@dataclass(frozen=True)
class Entry:
    """One structure of a dataset.

    Parameters
    ----------
    name : str
        Its folder, and the name with which its files begin.
    folder : str
        Path of the folder.
    atoms : int
        How many.
    origin : dict
        How it was made.
    digest : str
        BLAKE2b of the input.
    """

    name: str
    folder: str
    atoms: int
    origin: Mapping[str, Any]
    digest: str

    def file(self, suffix: str) -> str:
        """Return the path of a file of the calculation.

        Parameters
        ----------
        suffix : str
            Such as ".scfout".

        Returns
        -------
        str
            ``FOLDER/NAME.suffix``.
        """
        return os.path.join(self.folder, self.name + suffix)


def write(
    folder: str,
    samples: Iterable[StructureSample],
    input_text: Callable[[StructureSample], str],
    *,
    suffix: str,
    code: str,
    record: Mapping[str, Any] | None = None,
) -> int:
    """Write a dataset; it appears whole or not at all.

    Parameters
    ----------
    folder : str
        To be made; must not exist, or be empty.
    samples : iterable of StructureSample
        The structures.
    input_text : callable
        Returns the input of the DFT code for a structure.
    suffix : str
        Suffix of its inputs, as ".dat".
    code : str
        Name of the code, for the manifest.
    record : mapping, optional
        Plain values to keep in the manifest.

    Returns
    -------
    int
        Number of structures.

    Raises
    ------
    MoireioError
        If the folder holds something, or cannot be written.
    """
    target = os.path.realpath(folder)
    if os.path.exists(target) and (not os.path.isdir(target) or os.listdir(target)):
        raise MoireioError("exists and is not empty", path=folder, remedy="name a new folder")
    entries = []
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with work_folder(prefix_beside(target), os.path.dirname(target)) as work:
            part = os.path.join(work, "dataset")
            os.mkdir(part)
            for sample in samples:
                text = input_text(sample)
                path = os.path.join(part, sample.name, sample.name + suffix)
                os.mkdir(os.path.dirname(path))
                with open(path, "w", encoding="utf-8") as stream:
                    stream.write(text)
                digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
                row = {"name": sample.name, "atoms": len(sample.structure)}
                entries.append(row | {"origin": sample.origin, "digest": f"blake2b:{digest}"})
            manifest = {"format": FORMAT, "version": 1, "code": code}
            manifest |= {"made": dict(record or {}), "structures": entries}
            with write_text(os.path.join(part, MANIFEST)) as stream:
                json.dump(manifest, stream, indent=1, ensure_ascii=False)
                stream.write("\n")
            with write_text(os.path.join(part, RUNS)) as stream:
                stream.writelines(f"{row['name']}\n" for row in entries)
            if os.path.isdir(target):
                os.rmdir(target)
            place(part, target, force=False)
    except MoireioError:
        raise
    except OSError as error:
        raise unwritable(error, folder) from error
    return len(entries)


def is_dataset(folder: str) -> bool:
    """Return whether a folder is a dataset, sound or not.

    Parameters
    ----------
    folder : str
        Any path.

    Returns
    -------
    bool
        True if its manifest has the format of one.
    """
    path = os.path.join(folder, MANIFEST)
    try:
        with open(path, encoding="utf-8") as stream:
            return os.path.getsize(path) <= MOST_BYTES and json.load(stream)["format"] == FORMAT
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return False


def read(folder: str) -> list[Entry]:
    """Read the manifest of a dataset.

    Parameters
    ----------
    folder : str
        A folder that `write` made.

    Returns
    -------
    list of Entry
        In the order of the manifest.

    Raises
    ------
    MoireioError
        If the folder is no dataset, or its manifest is damaged.
    """
    path = os.path.join(folder, MANIFEST)
    if not os.path.exists(path):
        raise MissingFileError(
            f"has no {MANIFEST}", path=folder, remedy="name a folder of build-dataset make"
        )
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
        with open(path, encoding="utf-8") as stream:
            manifest = json.load(stream)
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']!r}")
        if manifest["version"] != 1:
            raise ValueError(f"version {manifest['version']} is not known")
        return [_entry(folder, number, row) for number, row in enumerate(manifest["structures"], 1)]
    except OSError as error:
        raise unreadable(error, path) from error
    except KeyError as error:
        what = f"is no manifest: {error} is missing"
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        what = f"is no manifest: {first_line(error)}"
    raise MoireioError(what, path=path, remedy="it is written by build-dataset make")


def _entry(folder: str, number: int, row: Mapping[str, Any]) -> Entry:
    name = str(row["name"])
    if name in ("", ".", "..") or os.path.basename(name) != name or not name.isprintable():
        raise ValueError(
            f"structure {number} has the name {name[:60]!r}, that of a folder is expected"
        )
    return Entry(
        name=name,
        folder=os.path.join(folder, name),
        atoms=int(row["atoms"]),
        origin=dict(row["origin"]),
        digest=str(row["digest"]),
    )
