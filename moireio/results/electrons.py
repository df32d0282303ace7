"""Occupation of the bands, the group ``/electrons``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from moireio.errors import DamagedError
from moireio.results.kind import ResultKind, read_schema
from moireio.store.base import Container, seal, verify

UNITS = {"count": "", "fermi": " eV", "temperature": " K", "spin": " ħ"}


@dataclass(frozen=True)
class Electrons:
    """Occupation of the bands.

    Parameters
    ----------
    count : float, optional
        Valence electrons in the cell.
    fermi : float, optional
        Fermi level, eV.
    temperature : float, optional
        Electronic temperature, K.
    spin : float, optional
        Total S_z, ħ.
    """

    count: float | None = None
    fermi: float | None = None
    temperature: float | None = None
    spin: float | None = None

    def known(self) -> dict[str, float]:
        """Return the values that are known, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


class ElectronsKind(ResultKind[Electrons]):
    """The group ``/electrons``."""

    section = "calculation"
    named = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the group."""
        return read_schema("electrons")

    def read(self, container: Container, group: str = "electrons") -> Electrons:
        """Read the group; values that it lacks are None."""
        attributes = verify(container, group)
        values = {field.name: attributes.get(field.name) for field in fields(Electrons)}
        for name, value in values.items():
            if value is not None and not (isinstance(value, (int, float)) and np.isfinite(value)):
                raise DamagedError(f"/{group}: {name} is not a finite number", path=container.label)
        return Electrons(**values)

    def write(
        self, container: Container, group: str, value: Electrons, compression: str = "none"
    ) -> None:
        """Write the group; unknown values are left out."""
        values = {name: float(value) for name, value in value.known().items()}
        container.create_group(group, values)
        seal(container, group)

    def summary(self, container: Container, group: str, value: Electrons) -> dict[str, float]:
        """Return the values that are known."""
        return value.known()

    def lines(self, group: str, summary: dict[str, float]) -> list[str]:
        """Return one line with the values and their units."""
        text = ", ".join(f"{name} {round(v, 6):g}{UNITS[name]}" for name, v in summary.items())
        return [f"{group:<12} {text}"]
