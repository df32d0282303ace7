"""Entry points: what other packages add to moireio.

A distribution adds a command, a format, a solver, an operator or a result with an entry point in
the group ``moireio.commands``, ``moireio.formats``, ``moireio.solvers``, ``moireio.operators`` or
``moireio.results``. Nothing of it is imported before it is used.

The ``entry_points.txt`` of the distributions on ``sys.path`` are read here directly, because
``importlib.metadata`` alone takes longer to import than the help of a command may take.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Container
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from moireio.errors import MoireioError, first_line


@dataclass(frozen=True)
class Plugin:
    """An object that another distribution provides, imported by `load`.

    Parameters
    ----------
    group : str
        Such as "moireio.commands".
    name : str
        The entry point's name.
    value : str
        Where the object is, "package.module:attribute".
    distribution : str
        The distribution that provides it.
    summary : str
        One line about that distribution.
    rivals : tuple of str
        Other distributions that provide the same name.
    """

    group: str
    name: str
    value: str
    distribution: str
    summary: str = ""
    rivals: tuple[str, ...] = field(default=())

    def load(self) -> Any:
        """Import the object.

        Returns
        -------
        object
            What `value` names.

        Raises
        ------
        MoireioError
            If it cannot be imported, or two distributions provide the same name.
        """
        if self.rivals:
            raise MoireioError(
                f"{self.name!r} ({self.group}) is provided by {self.distribution} and by "
                f"{', '.join(self.rivals)}",
                remedy="uninstall all but one of them",
            )
        module, _, attributes = self.value.partition(":")
        try:
            target = import_module(module.strip())
            for attribute in filter(None, attributes.strip().split(".")):
                target = getattr(target, attribute)
        except Exception as error:  # whatever a foreign module raises when it is imported
            raise MoireioError(
                f"{self.name!r} ({self.group}) of the distribution {self.distribution} cannot be "
                f"loaded from {self.value}: {type(error).__name__}: {first_line(error)}",
                remedy=f"update or uninstall {self.distribution}",
            ) from error
        return target


def entries(group: str, builtin: Container[str] = ()) -> dict[str, Plugin]:
    """Return the plug-ins that other distributions provide in a group.

    Parameters
    ----------
    group : str
        Such as "moireio.commands".
    builtin : container of str
        Names of moireio's own. A plug-in of such a name is not used, with a warning.

    Returns
    -------
    dict of str to Plugin
        By name, sorted. Nothing is imported.
    """
    usable: dict[str, Plugin] = {}
    for plugin in _installed(tuple(sys.path)):
        if plugin.group != group:
            continue
        if plugin.name in builtin:
            warnings.warn(
                f"{plugin.name!r} ({group}) of the distribution {plugin.distribution} is not used: "
                "moireio has its own",
                stacklevel=2,
            )
            continue
        first = usable.get(plugin.name)
        if first is not None:
            rivals = (*first.rivals, plugin.distribution)
            plugin = Plugin(**{**first.__dict__, "rivals": rivals})
        usable[plugin.name] = plugin
    return dict(sorted(usable.items()))


@cache
def _installed(path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """Return the plug-ins of all distributions on a search path."""
    plugins: list[Plugin] = []
    seen: set[str] = set()
    for folder in path:
        try:
            names = sorted(os.listdir(folder or "."))
        except OSError:  # zip files, folders that do not exist
            continue
        for name in names:
            if not name.endswith((".dist-info", ".egg-info")):
                continue
            distribution = re.split(r"-\d", name.rpartition(".")[0])[0]
            key = re.sub(r"[-_.]+", "-", distribution).lower()
            if key in seen:  # Python would import the one that comes first on the path
                continue
            seen.add(key)
            plugins += _of_distribution(os.path.join(folder, name), distribution)
    return tuple(plugins)


def _of_distribution(folder: str, distribution: str) -> list[Plugin]:
    """Return the plug-ins that a distribution's metadata declares."""
    rows, group = [], ""
    for line in _lines(os.path.join(folder, "entry_points.txt")):
        if line.startswith("["):
            group = line.strip("[]").strip()
        elif group.startswith("moireio.") and "=" in line:
            name, _, value = line.partition("=")
            rows.append((group, name.strip(), value.partition("[")[0].strip()))
    if not rows:
        return []
    summary = ""
    for file in ("METADATA", "PKG-INFO"):
        for line in _lines(os.path.join(folder, file)):
            if line.startswith("Summary:"):
                summary = line.removeprefix("Summary:").strip()
    return [Plugin(*row, distribution, summary) for row in rows]


def _lines(file: str) -> list[str]:
    """Return the lines of a text file that say something; none if there is no such file."""
    try:
        with open(file, encoding="utf-8") as stream:
            lines = [line.strip() for line in stream]
    except OSError:
        return []
    return [line for line in lines if line and not line.startswith(("#", ";"))]
