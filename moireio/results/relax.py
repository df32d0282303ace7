"""How a structure was relaxed, the group ``/relax``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.results.kind import ResultKind, not_finite, read_schema
from moireio.store.base import Container, seal, verify, write_array
from moireio.store.finding import Finding
from moireio.system.structure import Structure


@dataclass(frozen=True)
class LayerPair:
    """What became of two neighbouring layers.

    Parameters
    ----------
    layers : (int, int)
        Their numbers, from 1 at the bottom.
    distances : dict of str to float
        Distance of the layers at each stacking, Å.
    local_twist : dict of str to float
        Local twist at each stacking, degrees.
    """

    layers: tuple[int, int]
    distances: dict[str, float]
    local_twist: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the numbers under the names of ``relax --json``."""
        return {
            "layers": list(self.layers),
            "distances_A": self.distances,
            "local_twist_deg": self.local_twist,
        }


@dataclass(frozen=True, eq=False)
class RelaxRecord:
    """How a structure was relaxed, and what became of it.

    Parameters
    ----------
    calculator : str
        As it was named, with its dispersion.
    version : str
        Version of its package, such as "chgnet 0.4.2".
    files : dict of str to str
        Digests of its parameter files by name.
    energy_before, energy_after : float
        eV.
    fmax : float
        Largest component of the force on any atom at the end, eV/Å.
    fmax_asked : float
        At which it was to end, eV/Å.
    evaluations, steps : int
        Calls of the calculator, and steps of the minimiser.
    converged : bool
        Whether the forces became as small as asked.
    cell : {"fixed", "free", "potential"}
        What was done with the cell.
    symmetry : {"check", "keep", "off"}
        What was done with the symmetry.
    displacements : (N, 3) array
        By how much each atom moved, Å: from the structure before, deformed with the cell.
    group_before, group_after : str or None
        Space or layer group's symbol at a tolerance of 1e-3 Å.
    pairs : tuple of LayerPair
        Neighbouring layers that make a moiré pattern.
    inplane : (nl,) array
        Largest displacement of an atom in the plane, of each layer, Å.
    """

    calculator: str
    version: str
    files: dict[str, str]
    energy_before: float
    energy_after: float
    fmax: float
    fmax_asked: float
    evaluations: int
    steps: int
    converged: bool
    cell: str
    symmetry: str
    displacements: npt.NDArray[np.float64]
    group_before: str | None = None
    group_after: str | None = None
    pairs: tuple[LayerPair, ...] = ()
    inplane: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def distances(self) -> dict[str, float]:
        """Distance of the layers of the first pair at each stacking, Å."""
        return self.pairs[0].distances if self.pairs else {}

    @property
    def local_twist(self) -> dict[str, float]:
        """Local twist of the first pair at each stacking, degrees."""
        return self.pairs[0].local_twist if self.pairs else {}

    def as_json(self) -> dict[str, Any]:
        """Return the numbers of ``relax --json``, of types that JSON has."""
        return {
            "calculator": self.calculator,
            "version": self.version,
            "files": self.files,
            "energy_before_eV": self.energy_before,
            "energy_after_eV": self.energy_after,
            "fmax": self.fmax,
            "evaluations": self.evaluations,
            "steps": self.steps,
            "converged": self.converged,
            "cell": self.cell,
            "symmetry": self.symmetry,
            "distances_A": self.distances,
            "local_twist_deg": self.local_twist,
            "pairs": [pair.as_json() for pair in self.pairs],
            "inplane_A": [float(v) for v in self.inplane],
            "group_before": self.group_before,
            "group_after": self.group_after,
        }


NUMBERS = {
    "calculator": str,
    "version": str,
    "energy_before": float,
    "energy_after": float,
    "fmax": float,
    "fmax_asked": float,
    "evaluations": int,
    "steps": int,
    "converged": bool,
    "cell": str,
    "symmetry": str,
}
GROUPS = ("group_before", "group_after")
PLACES = ("distances", "local_twist")


class RelaxKind(ResultKind[RelaxRecord]):
    """The group ``/relax``."""

    section = "structure"
    named = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the group."""
        return read_schema("relax")

    def read(self, container: Container, group: str = "relax") -> RelaxRecord:
        """Read everything."""
        attributes, arrays = verify(container, group), container.arrays(group)
        if "displacements" not in arrays:
            raise DamagedError(f"/{group} has no displacements", path=container.label)

        def read(name: str) -> npt.NDArray[Any]:
            array = container.read(f"{group}/{name}") if name in arrays else np.zeros(0)
            return np.asarray(array)

        def entries(name: str, convert: type) -> list[tuple[str, Any]]:
            keys, values = read(f"{name}_of"), read(name)
            if keys.shape != values.shape or keys.ndim != 1:
                raise ValueError(name)
            return [(str(k), convert(v)) for k, v in zip(keys, values, strict=True)]

        def pairs() -> tuple[LayerPair, ...]:
            found: dict[int, LayerPair] = {}
            for name in PLACES:
                values = entries(name, float)
                lower = read(f"{name}_layer") if f"{name}_layer" in arrays else [1] * len(values)
                for n, (key, value) in zip(map(int, lower), values, strict=True):
                    pair = found.setdefault(n, LayerPair((n, n + 1), {}, {}))
                    getattr(pair, name)[key] = value
            return tuple(found.values())

        try:
            values: dict[str, Any] = {
                name: kind(attributes[name]) for name, kind in NUMBERS.items()
            }
            values |= {name: str(attributes[name]) for name in GROUPS if name in attributes}
            record = RelaxRecord(
                **values,
                files=dict(entries("files", str)),
                pairs=pairs(),
                displacements=read("displacements"),
                inplane=read("inplane"),
            )
            sound = record.displacements.ndim == 2 and record.displacements.shape[1] == 3
            sound = sound and record.inplane.ndim == 1
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise DamagedError(f"/{group}: its parts do not fit together", path=container.label)
        return record

    def write(
        self, container: Container, group: str, value: RelaxRecord, compression: str = "none"
    ) -> None:
        """Write everything."""
        attributes: dict[str, Any] = {"unit": "eV"}
        attributes |= {name: kind(getattr(value, name)) for name, kind in NUMBERS.items()}
        known = {name: getattr(value, name) for name in GROUPS}
        attributes |= {name: text for name, text in known.items() if text is not None}
        container.create_group(group, attributes)
        arrays: dict[str, npt.NDArray[Any]] = {
            "displacements": np.asarray(value.displacements, dtype=np.float64),
            "inplane": np.asarray(value.inplane, dtype=np.float64),
        }
        arrays["files_of"] = np.array(list(value.files), dtype=object)
        arrays["files"] = np.array(list(value.files.values()), dtype=object)
        for name in PLACES:
            entries = [
                (pair.layers[0], *entry)
                for pair in value.pairs
                for entry in getattr(pair, name).items()
            ]
            lower = [n for n, _, _ in entries]
            arrays[f"{name}_of"] = np.array([key for _, key, _ in entries], dtype=object)
            arrays[name] = np.array([number for _, _, number in entries], dtype=np.float64)
            if set(lower) != {1}:
                arrays[f"{name}_layer"] = np.array(lower, dtype=np.int32)
        for name, array in arrays.items():
            if len(array):
                write_array(container, f"{group}/{name}", array, compression)
        seal(container, group)

    def check(
        self, container: Container, group: str, value: RelaxRecord, structure: Structure | None
    ) -> list[Finding]:
        """Check that the numbers are finite, and that there is a displacement of each atom."""
        findings = not_finite(group, value, ("displacements", "inplane"))
        if structure is not None and len(value.displacements) != len(structure):
            text = f"has {len(value.displacements)} rows for {len(structure)} atoms"
            findings.append(Finding(f"/{group}/displacements", text))
        return findings

    def summary(self, container: Container, group: str, value: RelaxRecord) -> dict[str, Any]:
        """Return the numbers of ``relax --json``."""
        return value.as_json()

    def lines(self, group: str, summary: dict[str, Any]) -> list[str]:
        """Return one line."""
        gain = summary["energy_before_eV"] - summary["energy_after_eV"]
        text = f"{summary['calculator']}, {gain:.6f} eV lower, largest force "
        text += f"{summary['fmax']:.1e} eV/Å" + ("" if summary["converged"] else ", not converged")
        several = len(summary["inplane_A"]) > 2
        for pair in summary["pairs"]:
            if pair["distances_A"]:
                named = (f"{name} {d:.4f}" for name, d in pair["distances_A"].items())
                which = " of layers {} and {}".format(*pair["layers"]) if several else ""
                text += f"; distances{which} {', '.join(named)} Å"
        return [f"{group:<12} {text}"]
