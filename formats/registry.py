"""The formats of calculations: how each is detected, read and written.

A format is one row here and one module with `detect`, `read` and, where moireio writes it,
`write`. Another package adds one with an entry point in the group ``moireio.formats`` that names a
`Format`. Modules are imported when they are first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.runtime import plugins

GROUP = "moireio.formats"


class Read(Protocol):
    """A function that opens a file or folder as a calculation."""

    def __call__(self, path: str, *, label: str | None = None, **options: Any) -> Calculation:
        """Open `path`; messages show `label`. Further options belong to the format."""


class Write(Protocol):
    """A function that writes a calculation; the file or folder appears whole or not at all."""

    def __call__(self, calculation: Calculation, path: str, **options: Any) -> None:
        """Write to `path`. Further options belong to the format."""


@dataclass(frozen=True)
class Format:
    """One format of calculations.

    Parameters
    ----------
    name : str
        Its name.
    description : str
        A few words.
    detect : callable
        Returns for a path, quickly and without an error, whether it is of the format.
    read : callable
        Opens it (`Read`).
    write : callable, optional
        Writes it (`Write`).
    suffixes : tuple of str
        Suffixes of its files; none for folders.
    keeps, loses : str
        Contents that reach a block file, and those that do not.
    """

    name: str
    description: str
    detect: Callable[[str], bool]
    read: Read
    write: Write | None = None
    suffixes: tuple[str, ...] = ()
    keeps: str = ""
    loses: str = ""


@dataclass(frozen=True)
class Late:
    """A function of a module that is imported when the function is first called.

    Parameters
    ----------
    module, function : str
        Where it is. Worker processes can take it as it is.
    """

    module: str
    function: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return getattr(import_module(self.module), self.function)(*args, **kwargs)


FORMATS = {
    row.name: row
    for row in (
        Format(
            "moireio",
            "block file",
            Late("moireio.blockfile.calculation", "is_block_file"),
            Late("moireio.blockfile.calculation", "read"),
            suffixes=(".h5", ".zarr", ".zarr.zip"),
            keeps="everything",
        ),
        Format(
            "openmx",
            "OpenMX's .scfout, versions 3.7 to 4.0",
            Late("moireio.formats.openmx.scfout", "detect"),
            Late("moireio.formats.openmx.scfout", "read"),
            suffixes=(".scfout",),
            keeps="structure, bases, H, S, position, momentum, density, electrons, band path",
            loses="higher powers of position, dipoles, electrode counts",
        ),
        Format(
            "deeph-dock",
            "data folder of DeepH-dock",
            Late("moireio.formats.deeph.dock", "detect"),
            Late("moireio.formats.deeph.dock", "read"),
            keeps="structure, shells, H, S, Fermi level",
            loses="other files of the folder",
        ),
        Format(
            "deeph",
            "data folder of DeepH-pack and DeepH-E3",
            Late("moireio.formats.deeph.folder", "detect"),
            Late("moireio.formats.deeph.folder", "read"),
            keeps="structure, shells, H, S, Fermi level",
            loses="other files of the folder",
        ),
    )
}


def format_names() -> list[str]:
    """Return the names of all formats, those of other packages last.

    Returns
    -------
    list of str
        Nothing is imported for them.
    """
    return [*FORMATS, *plugins.entries(GROUP, FORMATS)]


def named_format(name: str) -> Format:
    """Return a format.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    Format
        The row of the registry.

    Raises
    ------
    MoireioError
        If there is none of that name, or another package's is unusable.
    """
    if name in FORMATS:
        return FORMATS[name]
    plugin = plugins.entries(GROUP, FORMATS).get(name)
    if plugin is None:
        raise MoireioError(f"no format is called {name!r}", remedy="known: " + ", ".join(FORMATS))
    row = plugin.load()
    if not isinstance(row, Format):
        raise MoireioError(
            f"{name!r} ({GROUP}) of the distribution {plugin.distribution} is not a Format",
            remedy=f"update or uninstall {plugin.distribution}",
        )
    return row


def detect_format(path: str, names: Iterable[str] | None = None) -> Format | None:
    """Return the format of a file or folder.

    Parameters
    ----------
    path : str
        Any path.
    names : iterable of str, optional
        The formats that count; by default all.

    Returns
    -------
    Format or None
        The first that it is of, moireio's own formats before those of other packages; None if it
        is of none.
    """
    for name in format_names() if names is None else names:
        row = named_format(name)
        if row.detect(path):
            return row
    return None
