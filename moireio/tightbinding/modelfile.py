"""Files of tight-binding models (TOML), and those that come with moireio.

The format is described in ``docs/tight-binding.md``.
"""

import functools
import math
import os
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np

from moireio.errors import MissingFileError, MoireioError, unreadable
from moireio.system.basis import ORBITALS, SHELL_LETTERS
from moireio.tightbinding.model import (
    Bond,
    Law,
    ModelSpecies,
    OrbitalShell,
    TightBindingModel,
)
from moireio.tightbinding.slaterkoster import CHANNELS

_INTEGRAL = re.compile(rf"([spd]\*?)([spd]\*?)_({'|'.join(CHANNELS)})")
LONGEST = 50.0  # Å
SHORTEST = 0.3  # Å
MOST_BYTES = 1 << 20
LONGEST_LINE = 10_000
HELP = "see docs/tight-binding.md"


def read_model(path: str | os.PathLike[str]) -> TightBindingModel:
    """Read a model.

    Parameters
    ----------
    path : str
        A TOML file, or the name of a model that comes with moireio.

    Returns
    -------
    TightBindingModel
        The model, checked.

    Raises
    ------
    MoireioError
        If there is none, or it is not a valid model.
    """
    path = os.fspath(path)
    models = shipped()
    if path in models:
        path = models[path]
    elif not os.path.exists(path):
        raise MissingFileError(
            "no such file, and no model of this name comes with moireio",
            path=path,
            remedy=f"these do: {', '.join(models)}",
        )
    try:
        with open(path, "rb") as stream:
            text = stream.read(MOST_BYTES + 1)
        # TOML's reader takes time as the square of the length of a line, or does not end.
        if len(text) > MOST_BYTES or max(map(len, text.splitlines()), default=0) > LONGEST_LINE:
            raise MoireioError("is too large for a model", path=path, remedy=HELP)
        content = tomllib.loads(text.decode())
    except OSError as error:
        raise unreadable(error, path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MoireioError(f"is not TOML: {error}", path=path, remedy=HELP) from error
    except RecursionError as error:
        raise MoireioError("is nested too deep for a model", path=path, remedy=HELP) from error
    return parse_model(content, path)


@functools.cache
def shipped() -> dict[str, str]:
    """List the models that come with moireio.

    Returns
    -------
    dict of str to str
        Paths by name.
    """
    folder = files(__package__).joinpath("models")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {name.removesuffix(".toml"): str(folder.joinpath(name)) for name in names}


def parse_model(content: Mapping[str, Any], path: str = "model") -> TightBindingModel:
    """Make a model from the content of a file.

    Parameters
    ----------
    content : dict
        Tables and values of the TOML file.
    path : str
        The file, for messages.

    Returns
    -------
    TightBindingModel
        The model, checked.

    Raises
    ------
    MoireioError
        If a part is missing, unknown or contradicts another one.
    """
    top = _ModelTable(content, "", path)
    tables = top.table("species")
    species = {name: _species(tables.table(name)) for name in tables.values}
    if not species:
        raise top.wrong("species", "has no entry")
    bonds = top.take("bond", list, [])
    if not all(isinstance(bond, dict) for bond in bonds):
        raise top.wrong("bond", "is not a list of tables", "write [[bond]]")
    model = TightBindingModel(
        name=top.take("name", str),
        species=species,
        bonds=tuple(
            _bond(_ModelTable(bond, f"bond {number}", path), species)
            for number, bond in enumerate(bonds, 1)
        ),
        citation=top.take("citation", str, ""),
    )
    top.finish()
    return model


class _ModelTable:
    """A table of a file, from which known keys are taken; what is left is an error."""

    def __init__(self, values, place, path):
        self.values, self.place, self.path = values, place, path
        self._left = set(values)

    def wrong(self, key, what, remedy=HELP):
        place = f"{self.place}: " if self.place else ""
        return MoireioError(f"{place}{key} {what}", path=self.path, remedy=remedy)

    def take(self, key, expected, *default):
        """Return a value of some type, or the default if it is absent."""
        if key not in self.values:
            if default:
                return default[0]
            raise self.wrong(key, "is missing")
        self._left.discard(key)
        value = self.values[key]
        if not isinstance(value, expected):
            names = {str: "a text", list: "a list", dict: "a table"}
            raise self.wrong(key, f"is {value!r}, not {names[expected]}")
        return value

    def number(self, key, *default, least=None, positive=False):
        """Return a finite number."""
        if key not in self.values and default:
            return default[0]
        value = self.take(key, object)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, f"is {value!r}, not a number")
        if not math.isfinite(value):
            raise self.wrong(key, f"is {value}, not finite")
        if positive and value <= 0:
            raise self.wrong(key, f"is {value}, not above 0")
        if least is not None and value < least:
            raise self.wrong(key, f"is {value}, below {least}")
        return float(value)

    def table(self, key, *default):
        """Return a table inside this one."""
        place = f"{self.place}.{key}" if self.place else key
        return _ModelTable(self.take(key, dict, *default), place, self.path)

    def finish(self):
        """Refuse keys that were not taken."""
        if self._left:
            raise self.wrong(sorted(self._left)[0], "is not known here")


def _species(table):
    components_of = {}
    for word in table.take("orbitals", list):
        label, components = _orbitals(word)
        if label is None:
            raise table.wrong("orbitals", f"has {word!r}, which is no shell or orbital")
        earlier = components_of.setdefault(label, [])
        if set(earlier) & set(components):
            raise table.wrong("orbitals", f"has {word} twice")
        earlier += components
    if not components_of:
        raise table.wrong("orbitals", "is empty")
    shells = tuple(OrbitalShell(label, tuple(sorted(m))) for label, m in components_of.items())
    onsite_table = table.table("onsite", {})
    energies = {}
    for word in onsite_table.values:
        label, components = _orbitals(word)
        if not set(components) & set(components_of.get(label, ())):
            raise onsite_table.wrong(word, "is no orbital of this species")
        value = onsite_table.number(word)
        for m in components:  # an orbital's own energy overrides its shell's
            if (label, m) not in energies or word != label:
                energies[label, m] = value
    valence = table.number("valence", least=0)
    table.finish()
    onsite = tuple(energies.get((s.label, m), 0.0) for s in shells for m in s.m)
    return ModelSpecies(shells, onsite, valence)


def _orbitals(word):
    """Return the label of the shell and the list of m for a word such as "p", "s*" or "dxy"."""
    if isinstance(word, str) and word.removesuffix("*") in ORBITALS:
        l = SHELL_LETTERS.index(word[0])  # noqa: E741
        return word, list(range(-l, l + 1))
    for label, names in ORBITALS.items():
        if word in names:
            return label, [names.index(word) - len(names) // 2]
    return None, []


def _bond(table, species):
    names = table.take("species", list)
    if len(names) != 2 or not all(isinstance(n, str) for n in names):
        raise table.wrong("species", f"is {names!r}, not two names")
    for name in names:
        if name not in species:
            raise table.wrong("species", f"names {name}, of which there is no [species.{name}]")
    cutoff = table.number("cutoff", positive=True)
    if cutoff > LONGEST:
        raise table.wrong("cutoff", f"is {cutoff} Å, more than {LONGEST:g} Å")
    above = table.number("above", 0.0, least=0)
    if above >= cutoff:
        raise table.wrong("above", f"is {above}, not below the cutoff of {cutoff}")
    smooth = None
    if "smooth" in table.values:
        cut = table.table("smooth")
        smooth = cut.number("radius", positive=True), cut.number("width", positive=True)
        cut.finish()
    shortest = max(above, SHORTEST)
    hopping = _laws(table, names, species, shortest)
    overlap_table = table.table("overlap", {})
    overlap = _laws(overlap_table, names, species, shortest)
    overlap_table.finish()
    table.finish()
    if not hopping and not overlap:
        raise table.wrong("", "has no integrals", "give one such as pp_pi = -2.7")
    return Bond(tuple(names), cutoff, above, smooth, hopping, overlap)


def _laws(table, names, species, shortest):
    """Return the integrals of a table by shells and channel."""
    laws = {}
    for key in table.values:
        match = _INTEGRAL.fullmatch(key)
        if match is None:
            continue
        *labels, channel = match.groups()
        mu = CHANNELS.index(channel)
        for name, label in zip(names, labels, strict=True):
            if label not in {shell.label for shell in species[name].shells}:
                raise table.wrong(key, f"needs a shell {label}, which {name} lacks")
            if SHELL_LETTERS.index(label[0]) < mu:
                raise table.wrong(key, f"does not exist: {label} orbitals have no {channel} bond")
        if names[0] == names[1] and labels[0] != labels[1] and (*labels[::-1], mu) in laws:
            raise table.wrong(
                key, "is given in both orders", "give one of the two for atoms of one species"
            )
        laws[*labels, mu] = _law(table, key, shortest)
    return laws


def _law(table, key, shortest):
    if not isinstance(table.values[key], dict):
        return Law(table.number(key))
    law_table = table.table(key)
    law = Law(
        law_table.number("value"),
        r0=law_table.number("r0", None, positive=True),
        decay=law_table.number("decay", None, positive=True),
        power=law_table.number("power", 0.0),
    )
    law_table.finish()
    if law.r0 is None and (law.decay is not None or law.power):
        raise law_table.wrong("r0", "is missing")
    if law.r0 is not None and law.decay is None and not law.power:
        raise law_table.wrong("r0", "has no decay or power to go with it")
    with np.errstate(all="ignore"):
        if not np.isfinite(law(np.array([shortest]))).all():
            raise law_table.wrong(
                "decay", f"is so steep that the integral overflows at {shortest} Å"
            )
    return law
