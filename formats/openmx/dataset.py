"""Folders of OpenMX calculations that make a training set.

Layout: ``manifest.json`` (what every structure is, and how it was made), ``runs.txt`` (one folder a
line, for the array jobs of a scheduler), and a folder for each structure with a complete input
``NAME/NAME.dat``; OpenMX writes ``NAME/NAME.scfout`` beside it.
"""

import hashlib
import json
import os
from dataclasses import dataclass, replace

from moireio.errors import MissingFileError, MoireioError, unreadable, unwritable
from moireio.formats.openmx import dat_write
from moireio.formats.openmx.out import Outcome, outcome
from moireio.runtime.files import write_text
from moireio.runtime.workdirs import work_folder

MANIFEST = "manifest.json"
RUNS = "runs.txt"
FORMAT = "moireio-dataset"


@dataclass(frozen=True)
class Entry:
    """One structure of a dataset.

    Parameters
    ----------
    name : str
        Its folder, and OpenMX's ``System.Name``.
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
    origin: dict
    digest: str

    @property
    def result(self):
        """Path of the ``.scfout``."""
        return os.path.join(self.folder, f"{self.name}.scfout")

    def outcome(self):
        """Tell how the calculation stands.

        Returns
        -------
        Outcome
            Failed, too, where the input is gone or is not the one that was made.
        """
        path = os.path.join(self.folder, f"{self.name}.dat")
        if not os.path.exists(path):
            return Outcome("failed", f"{self.name}.dat is gone (make the dataset again)")
        return outcome(self.folder, self.name)


def write(folder, samples, settings, basis_names=None, record=None):
    """Write a dataset; it appears whole or not at all.

    Parameters
    ----------
    folder : str
        To be made; must not exist, or be empty.
    samples : iterable of StructureSample
        The structures.
    settings : dat_write.Settings
        How OpenMX computes; `name` is replaced by that of each structure.
    basis_names : dict of str to str, optional
        Basis names by species.
    record : dict, optional
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
    entries, made = [], None
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with work_folder(".moireio-", os.path.dirname(target)) as work:
            made = os.path.join(work, "dataset")
            os.mkdir(made)
            for sample in samples:
                basis = dat_write.default_basis(sample.structure, basis_names)
                own = replace(settings, name=sample.name)
                text = dat_write.text(sample.structure, own, basis)
                os.mkdir(os.path.join(made, sample.name))
                with open(os.path.join(made, sample.name, f"{sample.name}.dat"), "w") as stream:
                    stream.write(text)
                digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
                row = {"name": sample.name, "atoms": len(sample.structure)}
                entries.append(row | {"origin": sample.origin, "digest": f"blake2b:{digest}"})
            manifest = {"format": FORMAT, "version": 1, "code": "openmx"}
            manifest |= {"made": record or {}, "structures": entries}
            with write_text(os.path.join(made, MANIFEST)) as stream:
                json.dump(manifest, stream, indent=1, ensure_ascii=False)
                stream.write("\n")
            with write_text(os.path.join(made, RUNS)) as stream:
                stream.writelines(f"{row['name']}\n" for row in entries)
            if os.path.isdir(target):
                os.rmdir(target)
            os.rename(made, target)
    except MoireioError:
        raise
    except OSError as error:
        raise unwritable(error, folder) from error
    return len(entries)


def read(folder):
    """Read the manifest of a dataset.

    Parameters
    ----------
    folder : str
        Of `write`.

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
        with open(path, encoding="utf-8") as stream:
            manifest = json.load(stream)
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']!r}")
        if manifest["version"] != 1:
            raise ValueError(f"version {manifest['version']} is not known")
        return [
            Entry(
                name=str(row["name"]),
                folder=os.path.join(folder, os.path.basename(str(row["name"]))),
                atoms=int(row["atoms"]),
                origin=dict(row["origin"]),
                digest=str(row["digest"]),
            )
            for row in manifest["structures"]
        ]
    except OSError as error:
        raise unreadable(error, path) from error
    except (ValueError, KeyError, TypeError) as error:
        raise MoireioError(f"is no manifest: {error}", path=path) from error


def prepare(entry):
    """Remove what an earlier run left, so that its result cannot pass for a new one.

    Parameters
    ----------
    entry : Entry
        About to be run.
    """
    for suffix in ("scfout", "out"):
        path = os.path.join(entry.folder, f"{entry.name}.{suffix}")
        if os.path.exists(path):
            os.remove(path)
