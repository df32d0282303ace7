"""The kinds of results that a block file may hold: one row each.

A result of moireio's own is one file of this folder and one row of `KINDS`. Another package adds
one with an entry point in the group ``moireio.results`` (see `moireio.results.kind.ResultKind`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from moireio.errors import MoireioError
from moireio.results.kind import SECTIONS, ResultKind
from moireio.runtime import plugins

GROUP = "moireio.results"
FOREIGN = "x_"


class Kinds(Mapping[str, ResultKind[Any]]):
    """Kinds of results by group; the module of each is imported when it is first asked for.

    Parameters
    ----------
    rows : dict of str to str
        By group, the class of the kind, "package.module:Class".
    """

    def __init__(self, rows: dict[str, str]) -> None:
        self._rows = rows

    def __getitem__(self, group: str) -> ResultKind[Any]:
        """Return the kind of a group."""
        return _made(self._rows[group])

    def __iter__(self) -> Iterator[str]:
        """Go through the groups."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Return their number."""
        return len(self._rows)


@cache
def _made(place: str) -> ResultKind[Any]:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)()


KINDS = Kinds(
    {
        "moire": "moireio.results.moire:MoireKind",
        "relax": "moireio.results.relax:RelaxKind",
        "electrons": "moireio.results.electrons:ElectronsKind",
        "kpath": "moireio.results.kpath:KPathKind",
        "bands": "moireio.results.bands:BandsKind",
        "dos": "moireio.results.dos:DensityOfStatesKind",
        "edges": "moireio.results.edges:EdgesKind",
        "symmetry": "moireio.results.symmetry:SymmetryKind",
        "anchors": "moireio.results.anchors:AnchorsKind",
        "chern": "moireio.results.chern:ChernKind",
        "history": "moireio.results.history:HistoryKind",
    }
)


def result_kind(group: str) -> ResultKind[Any] | None:
    """Return the kind of a group.

    Parameters
    ----------
    group : str
        Such as "bands" or "bands-NAME".

    Returns
    -------
    ResultKind or None
        None for groups of no kind: structure, basis, operators, groups of other programs.

    Raises
    ------
    MoireioError
        If another package's kind cannot be used.
    """
    return KINDS.get(group) or _named(group) or _of_plugin(group)


def _named(group: str) -> ResultKind[Any] | None:
    """Return the kind of which a group GROUP-NAME is one that is kept apart."""
    names = (name for name in KINDS if group.startswith(f"{name}-") and KINDS[name].named)
    return next((KINDS[name] for name in names), None)


def _of_plugin(group: str) -> ResultKind[Any] | None:
    if not group.startswith(FOREIGN):
        return None
    for name, plugin in plugins.entries(GROUP, KINDS).items():
        if group != name and not group.startswith(f"{name}-"):
            continue
        kind = plugin.load()
        if not isinstance(kind, ResultKind) or kind.section not in SECTIONS:
            raise MoireioError(
                f"{name!r} ({GROUP}) of the distribution {plugin.distribution} is not a ResultKind",
                remedy=f"update or uninstall {plugin.distribution}",
            )
        if group == name or kind.named:
            return kind
    return None


def usable_kind(group: str) -> ResultKind[Any] | None:
    """Return the kind of a group as `result_kind`, None where it cannot be used."""
    try:
        return result_kind(group)
    except MoireioError:
        return None


def require_kind(group: str) -> ResultKind[Any]:
    """Return the kind of a group that must have one.

    Parameters
    ----------
    group : str
        Such as "bands" or "bands-NAME".

    Returns
    -------
    ResultKind
        Its kind.

    Raises
    ------
    MoireioError
        If it has none.
    """
    kind = result_kind(group)
    if kind is None:
        names = ", ".join([*KINDS, *plugins.entries(GROUP, KINDS)])
        raise MoireioError(f"no result is called {group!r}", remedy=f"known: {names}")
    return kind
