"""Densities of states, the groups ``/dos`` and ``/dos-NAME``."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.results.bands import named_energy
from moireio.results.kind import ResultKind, not_finite, read_schema
from moireio.store.base import Container, seal, verify, write_array
from moireio.store.finding import Finding
from moireio.system.structure import Structure


@dataclass(frozen=True, eq=False)
class DensityOfStates:
    """A density of states on a regular grid of energies.

    Its integral over all energies is the number of states in the cell, two in every band where
    spin is left out. So the integral up to the Fermi level is the number of electrons.

    Parameters
    ----------
    energies : (ne,) array
        eV, ascending, equally spaced; each value is the mean over the interval around it.
    total : (ns, ne) array
        States per eV and cell; ns = 2 for collinear spin (up, down), else 1.
    projected : (ns, ng, ne) array
        The part that belongs to each group of orbitals, by Mulliken's gross populations.
    labels : tuple of str
        Names of the groups of orbitals.
    projection : tuple of str
        The projection to which each group belongs, such as "element,shell". The groups of one
        projection add up to `total`.
    method : {"gaussian", "tetrahedron", "kpm"}
        How levels were broadened.
    width : float, optional
        Standard deviation of a level, eV; None for the tetrahedron method.
    mesh : (int, int, int)
        k points along the reciprocal vectors.
    shift : (float, float, float)
        Displacement of the mesh, in its steps.
    fermi : float, optional
        Fermi level, eV.
    electrons : float, optional
        Valence electrons in the cell.
    vbm : float, optional
        Valence band maximum on the mesh, eV; None without a gap.
    gap : float, optional
        Energy from `vbm` to the lowest empty level, eV; None where bands are partly filled or
        unknown.
    error : (ns, ne) array, optional
        Standard error of `total` from random vectors.
    fermi_error : float, optional
        Standard error of the Fermi level from random vectors, eV; None where they do not move it.
    fermi_resolution : float, optional
        Standard deviation of a level at a Fermi level from moments, eV, within which its place, and
        those of `vbm` and `gap`, are known.
    fermi_from : {"levels", "moments", "counts", "file"}, optional
        Where the Fermi level came from: levels on the mesh, the integral of the density, the same
        from where levels were counted, or the block file, which has no number of electrons.
    source : str
        Where the Hamiltonian came from.
    notes : tuple of str
        Remarks for the user; not stored.
    """

    energies: npt.NDArray[np.float64]
    total: npt.NDArray[np.float64]
    projected: npt.NDArray[np.float64]
    labels: tuple[str, ...] = ()
    projection: tuple[str, ...] = ()
    method: str = "gaussian"
    width: float | None = None
    mesh: tuple[int, ...] = (1, 1, 1)
    shift: tuple[float, ...] = (0.0, 0.0, 0.0)
    fermi: float | None = None
    electrons: float | None = None
    vbm: float | None = None
    gap: float | None = None
    error: npt.NDArray[np.float64] | None = None
    fermi_error: float | None = None
    fermi_resolution: float | None = None
    fermi_from: str | None = None
    source: str = "dft"
    notes: tuple[str, ...] = field(default=())

    def zero(self, level: str | float) -> float:
        """Return the energy that a named level has, eV (see `BandStructure.zero`).

        Parameters
        ----------
        level : {"fermi", "vbm", "none"} or float
            Fermi level, valence band maximum, no shift, or an energy in eV.

        Returns
        -------
        float
            The energy to subtract.

        Raises
        ------
        MoireioError
            If that level is unknown.
        """
        return named_energy(level, fermi=self.fermi, vbm=self.vbm)


ARRAYS = ("energies", "total", "projected", "error")
REQUIRED = ("energies", "total", "projected", "labels", "projection")
# Fields that are numbers, and their names in a file.
SCALARS = {n: n for n in ("width", "fermi", "electrons", "gap", "fermi_error", "fermi_resolution")}
SCALARS |= {"vbm": "valence_top"}


class DensityOfStatesKind(ResultKind[DensityOfStates]):
    """The groups ``/dos`` and ``/dos-NAME``."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the group."""
        return read_schema("dos")

    def read(self, container: Container, group: str) -> DensityOfStates:
        """Read all but the notes, which are not stored."""
        attributes, arrays = verify(container, group), container.arrays(group)
        missing = [n for n in REQUIRED if n not in arrays]
        if missing:
            raise DamagedError(f"/{group} has no {missing[0]}", path=container.label)
        values: dict[str, Any] = {n: container.read(f"{group}/{n}") for n in REQUIRED}
        values |= {n: tuple(str(v) for v in values[n]) for n in ("labels", "projection")}
        if "error" in arrays:
            values["error"] = container.read(f"{group}/error")
        try:
            values |= {n: float(attributes[s]) for n, s in SCALARS.items() if s in attributes}
            origin = attributes.get("fermi_from")
            dos = DensityOfStates(
                **values,
                method=str(attributes["method"]),
                fermi_from=None if origin is None else str(origin),
                source=str(attributes.get("source", "dft")),
                mesh=tuple(int(v) for v in attributes["mesh"]),
                shift=tuple(float(v) for v in attributes.get("shift", (0, 0, 0))),
            )
            ns, ne, ng = len(dos.total), len(dos.energies), len(dos.labels)
            sound = dos.total.shape == (ns, ne) and dos.projected.shape == (ns, ng, ne)
            sound = sound and len(dos.projection) == ng and ns in (1, 2) and ne > 1
            sound = sound and (dos.error is None or dos.error.shape == (ns, ne))
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise DamagedError(f"/{group}: its arrays do not fit together", path=container.label)
        return dos

    def write(
        self, container: Container, group: str, value: DensityOfStates, compression: str = "none"
    ) -> None:
        """Write all but the notes."""
        numbers = {stored: getattr(value, field) for field, stored in SCALARS.items()}
        attributes: dict[str, Any] = {n: float(v) for n, v in numbers.items() if v is not None}
        attributes |= {"unit": "1/eV", "method": value.method, "source": value.source}
        if value.fermi_from is not None:
            attributes["fermi_from"] = value.fermi_from
        attributes["mesh"] = [int(v) for v in value.mesh]
        attributes["shift"] = [float(v) for v in value.shift]
        container.create_group(group, attributes)
        for name in ARRAYS:
            if getattr(value, name) is not None:
                array = np.asarray(getattr(value, name), dtype=np.float64)
                write_array(container, f"{group}/{name}", array, compression)
        for name in ("labels", "projection"):
            texts = np.asarray(getattr(value, name), dtype=object)
            write_array(container, f"{group}/{name}", texts, compression)
        seal(container, group)

    def check(
        self, container: Container, group: str, value: DensityOfStates, structure: Structure | None
    ) -> list[Finding]:
        """Check that all numbers are finite."""
        return not_finite(group, value, ARRAYS)

    def summary(self, container: Container, group: str, value: DensityOfStates) -> dict[str, Any]:
        """Return mesh, method, sizes, the lowest and the highest energy."""
        return {
            "mesh": list(value.mesh),
            "method": value.method,
            "groups": len(value.labels),
            "spins": int(value.total.shape[0]),
            "lowest": float(value.energies[0]),
            "highest": float(value.energies[-1]),
        }

    def lines(self, group: str, summary: dict[str, Any]) -> list[str]:
        """Return one line."""
        mesh = " × ".join(map(str, summary["mesh"]))
        text = f"{mesh} k points, {summary['method']}, {summary['groups']} projections"
        text += f", {summary['lowest']:z.4f} … {summary['highest']:z.4f} eV"
        return [f"{group:<12} {text}"]
