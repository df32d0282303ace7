"""What every kind of result provides: to read, write, check and show its group."""

from __future__ import annotations

import json
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from moireio.store.base import Container
from moireio.store.finding import Finding
from moireio.system.structure import Structure

NOT_FINITE = "contains a number that is not finite"
SECTIONS = ("structure", "calculation", "results", "history")

Value = TypeVar("Value")


@runtime_checkable
class ResultKind(Protocol[Value]):
    """One kind of group of a block file, such as ``/bands`` with ``/bands-NAME``.

    moireio's own kinds are listed in `moireio.results.registry`. Another package adds one with an
    entry point in the group ``moireio.results`` that is called as its group, ``x_…``, and names
    an object with these methods. It may inherit this class and leave out all but `read` and
    `write`. `Value` is the dataclass that the group holds.
    """

    section: str = "results"
    """Where `h5-info` shows it: "structure", "calculation", "results" or "history".

    In the summary as data, "results" are one object, the others stand at the top.
    """
    named: bool = True
    """Whether several are kept apart as ``GROUP-NAME``."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the group's tree, as those in ``schemas/results``.

        The tree is an object of ``attributes`` (name to value), ``arrays`` (name to ``dtype``
        and ``shape``) and ``groups`` (name to tree). By default everything is allowed.
        """
        return {}

    def read(self, container: Container, group: str) -> Value:
        """Read a group.

        Parameters
        ----------
        container : Container
            Open for reading; it has the group.
        group : str
            Such as "bands" or "bands-NAME".

        Returns
        -------
        Value
            As it was written.

        Raises
        ------
        DamagedError
            If something is missing or does not fit.
        """

    def write(
        self, container: Container, group: str, value: Value, compression: str = "none"
    ) -> None:
        """Write a group.

        Parameters
        ----------
        container : Container
            Open for writing; it has no such group.
        group : str
            Such as "bands" or "bands-NAME".
        value : Value
            Its contents.
        compression : {"none", "lzf", "gzip", "zstd"}
            How large arrays are stored.
        """

    def check(
        self, container: Container, group: str, value: Value, structure: Structure | None
    ) -> list[Finding]:
        """Check numbers that could be read, as `h5-validate` does.

        Parameters
        ----------
        container : Container
            Open for reading.
        group : str
            Such as "bands" or "bands-NAME".
        value : Value
            As `read` returns it.
        structure : Structure or None
            Structure of the file; None if it cannot be read.

        Returns
        -------
        list of Finding
            Empty if all is well, and by default.
        """
        return []

    def summary(self, container: Container, group: str, value: Value) -> Any:
        """Return the entry of `h5-info`, as data.

        Parameters
        ----------
        container : Container
            Open for reading.
        group : str
            Such as "bands" or "bands-NAME".
        value : Value
            As `read` returns it.

        Returns
        -------
        dict, list or str
            Values of types that JSON has; by default an empty dict.
        """
        return {}

    def lines(self, group: str, summary: Any) -> list[str]:
        """Return the entry of `h5-info`, as text.

        Parameters
        ----------
        group : str
            Such as "bands" or "bands-NAME".
        summary : dict, list or str
            As `summary` returns it.

        Returns
        -------
        list of str
            Lines, each with a name in its first 12 columns; by default the group alone.
        """
        return [group]


def read_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of one of moireio's own kinds of results.

    Parameters
    ----------
    name : str
        Its group.

    Returns
    -------
    dict
        From ``schemas/results/NAME.json``, to stand in a larger schema.
    """
    from importlib import resources

    file = resources.files("moireio.schemas").joinpath("results", f"{name}.json")
    schema = json.loads(file.read_text("utf-8"))
    return {key: value for key, value in schema.items() if key != "$schema"}


def not_finite(group: str, value: Any, names: tuple[str, ...]) -> list[Finding]:
    """Find arrays with numbers that are not finite.

    Parameters
    ----------
    group : str
        The group that holds them.
    value : object
        Has the arrays as attributes; those that are None are passed over.
    names : tuple of str
        Their names, in the file too.

    Returns
    -------
    list of Finding
        One for each of these arrays.
    """
    arrays = {name: getattr(value, name) for name in names}
    return [
        Finding(f"/{group}/{name}", NOT_FINITE)
        for name, array in arrays.items()
        if array is not None and not np.isfinite(array).all()
    ]
