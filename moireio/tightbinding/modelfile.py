"""Files of tight-binding models (TOML), and those that come with moireio.

The format is described in ``docs/tight-binding.md``.
"""

import functools
import math
import os
import re
import tomllib
from dataclasses import replace
from importlib.resources import files

import numpy as np

from moireio.errors import MissingFileError, MoireioError, unreadable
from moireio.system.basis import ORBITALS, SHELL_LETTERS
from moireio.tightbinding.model import Bond, Law, Model, ModelSpecies, Shell
from moireio.tightbinding.slaterkoster import CHANNELS

_INTEGRAL = re.compile(rf"([spd]\*?)([spd]\*?)_({'|'.join(CHANNELS)})")
LONGEST = 50.0
SHORTEST = 0.3
HELP = "see docs/tight-binding.md"


def read_model(path):
    """Read a model.

    Parameters
    ----------
    path : str
        A TOML file, or the name of a model that comes with moireio.

    Returns
    -------
    Model
        Checked.

    Raises
    ------
    MoireioError
        If there is none, or it is not a valid model.
    """
    own = shipped()
    if path in own:
        path = own[path]
    elif not os.path.exists(path):
        raise MissingFileError(
            "no such file, and no model of this name comes with moireio",
            path=path,
            remedy=f"those are {', '.join(own)}",
        )
    try:
        with open(path, "rb") as stream:
            content = tomllib.load(stream)
    except OSError as error:
        raise unreadable(error, path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MoireioError(f"is not TOML: {error}", path=path, remedy=HELP) from error
    return parse_model(content, path)


@functools.cache
def shipped():
    """Return the models that come with moireio.

    Returns
    -------
    dict of str to str
        Paths by name.
    """
    folder = files(__package__).joinpath("models")
    found = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {name.removesuffix(".toml"): str(folder.joinpath(name)) for name in found}


def parse_model(content, path="model"):
    """Make a model of the content of a file.

    Parameters
    ----------
    content : dict
        As TOML gives it.
    path : str
        The file, for messages.

    Returns
    -------
    Model
        Checked.

    Raises
    ------
    MoireioError
        If a part is missing, unknown or contradicts another one.
    """
    top = _Table(content, "", path)
    tables = top.table("species")
    species = {name: _species(tables.table(name)) for name in tables.values}
    if not species:
        raise top.wrong("species", "has no entry")
    bonds = top.take("bond", list, [])
    if not all(isinstance(one, dict) for one in bonds):
        raise top.wrong("bond", "is not a list of tables", "write [[bond]]")
    model = Model(
        name=top.take("name", str),
        species=species,
        bonds=tuple(
            _bond(_Table(one, f"bond {number}", path), species)
            for number, one in enumerate(bonds, 1)
        ),
        citation=top.take("citation", str, ""),
    )
    top.finish()
    return model


class _Table:
    """A table of a file, from which known keys are taken; what is left is an error."""

    def __init__(self, values, place, path):
        self.values, self.place, self.path = values, place, path
        self._left = set(values)

    def wrong(self, key, what, remedy=HELP):
        place = f"{self.place}: " if self.place else ""
        return MoireioError(f"{place}{key} {what}", path=self.path, remedy=remedy)

    def take(self, key, kind, *default):
        """Return a value of some type, or the default if it is absent."""
        if key not in self.values:
            if default:
                return default[0]
            raise self.wrong(key, "is missing")
        self._left.discard(key)
        value = self.values[key]
        if not isinstance(value, kind):
            names = {str: "a text", list: "a list", dict: "a table"}
            raise self.wrong(key, f"is {value!r}, not {names[kind]}")
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
        return _Table(self.take(key, dict, *default), place, self.path)

    def finish(self):
        """Refuse what nobody has asked for."""
        if self._left:
            raise self.wrong(sorted(self._left)[0], "is not known here")


def _species(table):
    shells = {}
    for word in table.take("orbitals", list):
        label, components = _orbitals(word)
        if label is None:
            raise table.wrong("orbitals", f"has {word!r}, which is no shell or orbital")
        members = shells.setdefault(label, [])
        if set(members) & set(components):
            raise table.wrong("orbitals", f"has {word} twice")
        members += components
    if not shells:
        raise table.wrong("orbitals", "is empty")
    made = tuple(Shell(label, tuple(sorted(members))) for label, members in shells.items())
    table_of_energies = table.table("onsite", {})
    energies = {}
    for word in table_of_energies.values:
        label, components = _orbitals(word)
        if not set(components) & set(shells.get(label, ())):
            raise table_of_energies.wrong(word, "is no orbital of this species")
        value = table_of_energies.number(word)
        for m in components:  # an orbital's own energy overrides its shell's
            if (label, m) not in energies or word != label:
                energies[label, m] = value
    valence = table.number("valence", least=0)
    table.finish()
    onsite = tuple(energies.get((s.label, m), 0.0) for s in made for m in s.m)
    return ModelSpecies(made, onsite, valence)


def _orbitals(word):
    """Return the label of a shell and which m a word such as "p", "s*" or "dxy" means."""
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
        own = table.table("smooth")
        smooth = own.number("radius", positive=True), own.number("width", positive=True)
        own.finish()
    shortest = max(above, SHORTEST)
    hopping = _laws(table, names, species, shortest)
    overlaps = table.table("overlap", {})
    overlap = _laws(overlaps, names, species, shortest)
    overlaps.finish()
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
                raise table.wrong(key, f"needs a shell {label}, which {name} has not")
            if SHELL_LETTERS.index(label[0]) < mu:
                raise table.wrong(key, f"does not exist: {label} orbitals have no {channel} bond")
        if names[0] == names[1] and labels[0] != labels[1] and (*labels[::-1], mu) in laws:
            raise table.wrong(key, "is given in both orders", "of like atoms give one")
        laws[*labels, mu] = _law(table, key, shortest)
    return laws


def _law(table, key, shortest):
    if not isinstance(table.values[key], dict):
        return Law(table.number(key))
    own = table.table(key)
    law = Law(own.number("value"))
    law = replace(law, r0=own.number("r0", None, positive=True))
    law = replace(law, decay=own.number("decay", None, positive=True))
    law = replace(law, power=own.number("power", 0.0))
    own.finish()
    if law.r0 is None and (law.decay is not None or law.power):
        raise own.wrong("r0", "is missing")
    if law.r0 is not None and law.decay is None and not law.power:
        raise own.wrong("r0", "has no decay or power to go with it")
    with np.errstate(all="ignore"):
        if not np.isfinite(law(np.array([shortest]))).all():
            raise own.wrong("decay", f"is so steep that the integral overflows at {shortest} Å")
    return law
