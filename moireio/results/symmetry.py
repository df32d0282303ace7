"""Eigenvalues of a threefold rotation at Γ, K and K′, the group ``/symmetry``."""

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

POINTS = ("G", "K", "K'")


@dataclass(frozen=True, eq=False)
class RotationEigenvalues:
    """Eigenvalues ξ of C3 on neighbouring bands, about each of its three axes.

    Parameters
    ----------
    first_band : int
        Number (from 1) of the first band.
    k : (3, 3) array
        Γ, K and K′, fractional.
    centres : (3, 2) array
        Where the axes cross the plane, Å.
    energies : (ns, 3, nb) array
        eV, by spin channel, point and row. Rows of one group are ordered by spin where it
        separates them.
    xi : (ns, 3, 3, nb) array of complex
        ξ by spin channel, axis, point and row.
    n : (ns, 3, 3, nb) array of int
        ξ is nearest to e^{iπn/3}; −2 … 3.
    sz : (ns, 3, nb) array
        ⟨σ_z⟩; NaN where states are no spinors.
    group : (ns, nb) array of int
        Number (from 1) of the first band of the group to which a row belongs: bands that touch at
        one of the points at least.
    spinor : bool
        Whether states are spinors, so that ξ³ = −1.
    angle : float, optional
        Twist angle, degrees.
    symmetrised : bool
        Whether H and S were averaged over C3 first.
    removed : float, optional
        Largest element of H that this removed, eV.
    notes : tuple of str
        Remarks for the user; not stored.
    """

    first_band: int
    k: npt.NDArray[np.float64]
    centres: npt.NDArray[np.float64]
    energies: npt.NDArray[np.float64]
    xi: npt.NDArray[np.complex128]
    n: npt.NDArray[np.int64]
    sz: npt.NDArray[np.float64]
    group: npt.NDArray[np.int64]
    spinor: bool
    angle: float | None = None
    symmetrised: bool = False
    removed: float | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def count(self) -> int:
        """Number of bands of each spin channel."""
        return int(self.energies.shape[2])

    @property
    def deviation(self) -> npt.NDArray[np.float64]:
        """Distance of ξ³ from (−1)^F, the same about every axis; shape (ns, 3, nb)."""
        sign = -1 if self.spinor else 1
        return np.asarray(np.abs(self.xi[:, 0] ** 3 - sign))


ARRAYS = ("k", "centres", "energies", "xi", "n", "sz", "group")


class SymmetryKind(ResultKind[RotationEigenvalues]):
    """The groups ``/symmetry`` and ``/symmetry-NAME``."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the group."""
        return read_schema("symmetry")

    def read(self, container: Container, group: str) -> RotationEigenvalues:
        """Read all but the notes, which are not stored."""
        attributes, arrays = verify(container, group), container.arrays(group)
        missing = [n for n in ARRAYS if n not in arrays]
        if missing:
            raise DamagedError(f"/{group} has no {missing[0]}", path=container.label)
        values: dict[str, Any] = {n: container.read(f"{group}/{n}") for n in ARRAYS}
        try:
            angle, removed = (attributes.get(name) for name in ("angle", "removed"))
            found = RotationEigenvalues(
                first_band=int(attributes["first_band"]),
                spinor=bool(attributes["spinor"]),
                symmetrised=bool(attributes["symmetrised"]),
                angle=None if angle is None else float(angle),
                removed=None if removed is None else float(removed),
                **values,
            )
            ns, _, nb = found.energies.shape
            shapes = {
                "k": (3, 3),
                "centres": (3, 2),
                "energies": (ns, 3, nb),
                "xi": (ns, 3, 3, nb),
                "n": (ns, 3, 3, nb),
                "sz": (ns, 3, nb),
                "group": (ns, nb),
            }
            sound = all(values[name].shape == shape for name, shape in shapes.items())
            sound = sound and found.first_band >= 1
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise DamagedError(f"/{group}: its arrays do not fit together", path=container.label)
        return found

    def write(
        self,
        container: Container,
        group: str,
        value: RotationEigenvalues,
        compression: str = "none",
    ) -> None:
        """Write all but the notes."""
        attributes: dict[str, Any] = {
            "unit": "eV",
            "rotation": "C3",
            "first_band": int(value.first_band),
            "spinor": bool(value.spinor),
            "symmetrised": bool(value.symmetrised),
        }
        for name in ("angle", "removed"):
            if getattr(value, name) is not None:
                attributes[name] = float(getattr(value, name))
        container.create_group(group, attributes)
        for name in ARRAYS:
            array = np.asarray(getattr(value, name))
            kind = {"i": np.int64, "f": np.float64, "c": np.complex128}[array.dtype.kind]
            write_array(container, f"{group}/{name}", array.astype(kind), compression)
        seal(container, group)

    def check(
        self,
        container: Container,
        group: str,
        value: RotationEigenvalues,
        structure: Structure | None,
    ) -> list[Finding]:
        """Check that numbers are finite, and that n belongs to ξ."""
        findings = not_finite(group, value, ("k", "centres", "energies", "xi"))
        if (
            not findings
            and np.abs(np.angle(value.xi * np.exp(-1j * np.pi * value.n / 3))).max(initial=0)
            > np.pi / 3 + 1e-6
        ):
            findings.append(Finding(f"/{group}", "n does not belong to xi"))
        return findings

    def summary(
        self, container: Container, group: str, value: RotationEigenvalues
    ) -> dict[str, Any]:
        """Return the bands."""
        last = value.first_band + value.count - 1
        return {"bands": [value.first_band, last], "symmetrised": value.symmetrised}

    def lines(self, group: str, summary: dict[str, Any]) -> list[str]:
        """Return one line."""
        first, last = summary["bands"]
        text = f"C3 at Γ, K and K', bands {first} to {last}"
        return [f"{group:<12} {text}{', symmetrised' if summary['symmetrised'] else ''}"]
