"""The commands that made a file, the group ``/history``."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from moireio.results.kind import ResultKind, read_schema
from moireio.store.base import Container, seal, verify, write_array


@dataclass(frozen=True)
class HistoryEntry:
    """One command.

    Parameters
    ----------
    command : str
        Its name.
    version : str
        Version of moireio.
    time : str
        ISO 8601, UTC; by default now.
    arguments : sequence of str
        Its command line.
    inputs : sequence of str
        Names of the files that it read.
    digests : sequence of str
        Their digests.
    notes : sequence of str
        What could not be verified, and what was lost.
    """

    command: str = "?"
    version: str = ""
    time: str = "?"
    arguments: Sequence[str] = ()
    inputs: Sequence[str] = ()
    digests: Sequence[str] = ()
    notes: Sequence[str] = ()

    @classmethod
    def now(
        cls,
        command: str,
        arguments: Sequence[str] = (),
        inputs: Sequence[tuple[str, str]] = (),
        notes: Sequence[str] = (),
    ) -> HistoryEntry:
        """Return the entry of a command that has just run.

        Parameters
        ----------
        command : str
            Its name.
        arguments : sequence of str
            Its command line.
        inputs : sequence of (str, str)
            Names of the files that it read, and their digests.
        notes : sequence of str
            What could not be verified, and what was lost.

        Returns
        -------
        HistoryEntry
            With the version of moireio and the time.
        """
        from moireio import __version__

        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        names, digests = [name for name, _ in inputs], [digest for _, digest in inputs]
        return cls(command, __version__, time, list(arguments), names, digests, tuple(notes))


TEXTS = ("command", "version", "time")
LISTS = ("arguments", "inputs", "digests", "notes")


class HistoryKind(ResultKind[list[HistoryEntry]]):
    """The group ``/history``, to which entries are appended."""

    section = "history"
    named = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the group."""
        return read_schema("history")

    def read(self, container: Container, group: str = "history") -> list[HistoryEntry]:
        """Read the entries, oldest first."""
        return [_read_entry(container, f"{group}/{name}") for name in container.groups(group)]

    def write(
        self,
        container: Container,
        group: str,
        value: Sequence[HistoryEntry],
        compression: str = "none",
    ) -> None:
        """Append entries."""
        present = container.groups(group) if group in container.groups() else []
        last = max((int(name) for name in present if name.isdigit()), default=0)
        container.create_group(group)
        for number, entry in enumerate(value, last + 1):
            name = f"{group}/{number:04d}"
            container.create_group(name, {key: getattr(entry, key) for key in TEXTS})
            for key in LISTS if entry.notes else LISTS[:-1]:
                # File names need not be UTF-8; what is not is replaced.
                values = [
                    str(v).encode("utf-8", "replace").decode("utf-8") for v in getattr(entry, key)
                ]
                write_array(container, f"{name}/{key}", np.array(values, dtype=object))
            seal(container, name)

    def summary(
        self, container: Container, group: str, value: Sequence[HistoryEntry]
    ) -> list[dict[str, Any]]:
        """Return all entries, oldest first."""
        return [asdict(entry) for entry in value]

    def lines(self, group: str, summary: list[dict[str, Any]]) -> list[str]:
        """Return two lines for every command: when and from what, and its command line."""
        texts = []
        for number, entry in enumerate(summary, 1):
            inputs = ", ".join(entry["inputs"])
            text = f"{group} {number:<4} {entry['time']}  {entry['command']} {entry['version']}"
            texts.append(text + (f"  from {inputs}" if inputs else ""))
            if entry["arguments"]:
                texts.append(f"{'':12} $ {shlex.join([entry['command'], *entry['arguments']])}")
            texts += [f"{'':12} note: {note}" for note in entry["notes"]]
        return texts


def _read_entry(container: Container, group: str) -> HistoryEntry:
    attributes, arrays = verify(container, group), container.arrays(group)
    values: dict[str, Any] = {n: str(attributes[n]) for n in TEXTS if n in attributes}
    for name in LISTS:
        if name in arrays:
            texts = [str(v) for v in container.read(f"{group}/{name}")]
            values[name] = tuple(texts) if name == "notes" else texts
    return HistoryEntry(**values)
