"""The kinds of results that a block file may hold: one row each.

A result of moireio's own is one file of this folder and one row of `KINDS`. Another package adds
one with an entry point in the group ``moireio.results`` (see `moireio.results.kind.ResultKind`).
"""

from typing import Any

from moireio.errors import MoireioError
from moireio.results.bands import BandsKind
from moireio.results.dos import DensityOfStatesKind
from moireio.results.electrons import ElectronsKind
from moireio.results.history import HistoryKind
from moireio.results.kind import SECTIONS, ResultKind
from moireio.results.kpath import KPathKind
from moireio.results.moire import MoireKind
from moireio.runtime import plugins

KINDS: dict[str, ResultKind[Any]] = {
    "moire": MoireKind(),
    "electrons": ElectronsKind(),
    "kpath": KPathKind(),
    "bands": BandsKind(),
    "dos": DensityOfStatesKind(),
    "history": HistoryKind(),
}
GROUP = "moireio.results"
FOREIGN = "x_"


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
    return KINDS.get(group) or _named(group, KINDS) or _of_plugin(group)


def _named(group: str, kinds: dict[str, ResultKind[Any]]) -> ResultKind[Any] | None:
    """Return the kind of which a group GROUP-NAME is one that is kept apart."""
    rows = (kind for name, kind in kinds.items() if group.startswith(f"{name}-") and kind.named)
    return next(rows, None)


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
