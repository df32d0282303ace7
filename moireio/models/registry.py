"""Registries: folders of model files with their cards; no torch is needed to look at them.

By default the folder ``models`` in the user's data folder and the models that come with moireio.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from moireio.blockfile.reader import read_basis
from moireio.errors import MissingFileError, MoireioError, unreadable
from moireio.models.cards import ModelCard, card_of_training
from moireio.models.shipped import FORMAT
from moireio.store.base import Container, verify
from moireio.store.containers import SUFFIXES, open_container
from moireio.system.basis import shell_counts

#: Stands for the models that come with moireio where folders are named.
SHIPPED = "shipped"
VARIABLE = "MOIREIO_MODELS"
#: Major version of the model format that is read.
MAJOR = "1"


@dataclass(frozen=True)
class Entry:
    """A model of a registry.

    Parameters
    ----------
    name : str
        Its file without the suffix.
    path : str
        The file.
    status : str
        "ok", "damaged", "other version" or "no model"; of all but the first nothing else is known.
    why : str
        What is wrong, in one line; empty if nothing is.
    digest : str
        Digest of weights and settings, as they are in the file.
    kind : str
        "moireio" or "deeph-e3".
    elements : tuple of str
        Symbols.
    basis : dict of str to str
        Name of the basis of each species, or its shells where it has no name.
    spin : str
        "none" or "spinor".
    card : ModelCard
        The card; of a file without one, what its record of training says.
    network : dict
        ``blocks``, ``hidden``, ``weights`` (their number).
    training : dict
        Record of the training.
    """

    name: str
    path: str
    status: str
    why: str = ""
    digest: str = ""
    kind: str = ""
    elements: tuple[str, ...] = ()
    basis: dict[str, str] | None = None
    spin: str = ""
    card: ModelCard = field(default_factory=ModelCard)
    network: dict[str, Any] | None = None
    training: dict[str, Any] | None = None

    @property
    def usable(self) -> bool:
        """Whether the model can be read."""
        return self.status == "ok"

    def to_plain(self) -> dict[str, Any]:
        """Return the entry as plain values for JSON, without bands."""
        card = self.card
        return {
            "name": self.name,
            "path": self.path,
            "digest": self.digest,
            "elements": list(self.elements),
            "basis": self.basis or {},
            "functional": card.functional,
            "layers": list(card.layers),
            "spin": self.spin,
            "test": [{"cell": test.cell, "mean_meV": test.mean} for test in card.tests],
            "status": self.status,
            "why": self.why,
        }

    def full(self) -> dict[str, Any]:
        """Return all that is known as plain values for JSON, without bands."""
        card, training = self.card, self.training or {}
        tests = [{k: v for k, v in t.to_plain().items() if k != "bands"} for t in card.tests]
        structures = training.get("structures", {})
        return self.to_plain() | {
            "kind": self.kind,
            "stackings": list(card.stackings),
            "domain": {k: list(v) for k, v in card.domain.items()},
            "licence": card.licence,
            "authors": list(card.authors),
            "reference": card.reference,
            "network": self.network or {},
            "training": {
                "structures": {k: len(v) for k, v in structures.items()},
                "epochs": training.get("epochs"),
                "init_from": training.get("init_from"),
                "after": training.get("after", {}),
            },
            "test": tests,
        }


def user_folder() -> str:
    """Return the folder of the user's own models.

    Returns
    -------
    str
        ``models`` in the data folder of moireio; it need not exist.

    Raises
    ------
    MoireioError
        If the package platformdirs is not installed.
    """
    try:
        import platformdirs
    except ImportError:
        raise MoireioError(
            "the user's data folder needs the package platformdirs",
            remedy="pip install platformdirs, or name a folder with `registry`",
        ) from None
    return os.path.join(platformdirs.user_data_dir("moireio", appauthor=False), "models")


def shipped_folder() -> str:
    """Return the folder of the models that come with moireio."""
    return str(files(__package__))


def registry_folders(named: Sequence[str] = ()) -> list[str]:
    """Return the folders in which models are looked up.

    Parameters
    ----------
    named : sequence of str
        Folders that a user names, instead of the usual ones; "shipped" stands for the models that
        come with moireio.

    Returns
    -------
    list of str
        The usual ones are the user's own and the shipped one.
    """
    if named:
        return [shipped_folder() if name == SHIPPED else name for name in named]
    with contextlib.suppress(MoireioError):
        return [user_folder(), shipped_folder()]
    return [shipped_folder()]


def entries(folders: Sequence[str]) -> list[Entry]:
    """Return the models in some folders.

    Parameters
    ----------
    folders : sequence of str
        Registries, from `registry_folders`.

    Returns
    -------
    list of Entry
        Folder by folder, by name; damaged ones and those of other versions too. Other files, as
        block files, are left out.

    Raises
    ------
    MoireioError
        If a folder cannot be read. The user's own need not exist.
    """
    found = []
    for folder in dict.fromkeys(folders):
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            if isinstance(error, FileNotFoundError) and _is_usual(folder):
                continue
            raise unreadable(error, folder, "a registry is a folder of model files") from error
        for name in names:
            stem, suffix = _split(name)
            if suffix and not name.startswith("."):
                entry = look_at(os.path.join(folder, name), stem)
                found += [] if entry.status == "no model" else [entry]
    return found


def _is_usual(folder: str) -> bool:
    try:
        return folder == user_folder()
    except MoireioError:
        return False


def _split(name: str) -> tuple[str, str]:
    """Return a file's name without its suffix, and the suffix, if it is one of a container."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix):
            return name.removesuffix(suffix), suffix
    return name, ""


def find(name: str, folders: Sequence[str]) -> Entry:
    """Return a model of a registry.

    Parameters
    ----------
    name : str
        Its name, or the path of a model file.
    folders : sequence of str
        Registries.

    Returns
    -------
    Entry
        The first of that name.

    Raises
    ------
    MoireioError
        If there is none.
    """
    known = entries(folders)
    for entry in known:
        if name == entry.name:
            return entry
    if os.path.exists(name):
        return look_at(name, _split(os.path.basename(os.path.normpath(name)))[0])
    names = ", ".join(dict.fromkeys(entry.name for entry in known)) or "none"
    raise MissingFileError("no model of this name", path=name, remedy=f"there are: {names}")


def look_at(path: str, name: str) -> Entry:
    """Look at a model file.

    Parameters
    ----------
    path : str
        Any file or folder.
    name : str
        What it shall be called.

    Returns
    -------
    Entry
        Its status says whether it could be read.
    """
    try:
        with contextlib.closing(open_container(path)) as container:
            attributes = container.attributes()
            if attributes.get("format") != FORMAT:
                return Entry(name, path, "no model", "is not a model file")
            version = str(attributes.get("format_version"))
            if version.split(".")[0] != MAJOR:
                why = f"has model format {version}, this program reads {MAJOR}"
                return Entry(name, path, "other version", why)
            return _described(container, path, name, str(attributes.get("kind")))
    except MoireioError as error:
        return Entry(name, path, "damaged", " ".join(error.what.split()))
    except (OSError, KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        why = f"its contents do not fit each other: {type(error).__name__}"
        return Entry(name, path, "damaged", why)


def _described(container: Container, path: str, name: str, kind: str) -> Entry:
    """Return the entry of a model file."""
    for group in ("", "model", "model/weights"):
        verify(container, group)
    description, training = (
        json.loads(str(container.read(f"model/{part}")[0])) for part in ("settings", "training")
    )
    settings, targets = description["settings"], description["targets"]
    weights, count = hashlib.blake2b(digest_size=16), 0
    for weight in sorted(container.arrays("model/weights")):
        values = np.ascontiguousarray(container.read(f"model/weights/{weight}"))
        weights.update(weight.encode())
        weights.update(values.tobytes())
        count += values.size
    weights.update(json.dumps((settings, targets)).encode())
    digest = f"blake2b:{weights.hexdigest()}"
    if "card" in container.arrays("model"):
        card = ModelCard.from_json(str(container.read("model/card")[0]))
    else:
        card = card_of_training(training, digest)
    known = read_basis(container).species if "basis" in container.groups() else {}
    names = description["names"]
    shells = targets["shells"]
    if card.digest and card.digest != digest:
        why = "its weights are not those of its card: they were changed afterwards"
        return Entry(name, path, "damaged", why)
    return Entry(
        name,
        path,
        "ok",
        digest=digest,
        kind=kind,
        elements=tuple(chemical_symbols[z] for z in targets["numbers"]),
        basis={
            one: known[one].label if one in known else shell_counts(shells[n])
            for n, one in enumerate(names)
        },
        spin="spinor" if targets["spinful"] else "none",
        card=card,
        network={"blocks": settings["blocks"], "hidden": settings["mid_edge"], "weights": count},
        training=training,
    )
