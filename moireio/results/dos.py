"""Densities of states, the groups ``/dos`` and ``/dos-NAME``."""

from dataclasses import dataclass, field

import numpy as np

from moireio.errors import DamagedError, MoireioError
from moireio.results.bands import named_energy
from moireio.store.base import seal, verify


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
        Names of the groups.
    projection : tuple of str
        What each group belongs to, such as "element,shell". Those of one add up to `total`.
    method : {"gaussian", "tetrahedron", "kpm"}
        How levels were broadened.
    width : float, optional
        Standard deviation of a level, eV; None for the tetrahedron method.
    mesh : (int, int, int)
        k points along the reciprocal vectors.
    shift : (float, float, float)
        Of the mesh, in its steps.
    fermi : float, optional
        Fermi level, eV.
    electrons : float, optional
        Valence electrons in the cell.
    vbm : float, optional
        Valence band maximum on the mesh, eV; None without a gap.
    gap : float, optional
        From there to the lowest empty level, eV; None where bands are partly filled or unknown.
    error : (ns, ne) array, optional
        Standard error of `total` from random vectors.
    fermi_error : float, optional
        Of the Fermi level, eV.
    source : str
        Where the Hamiltonian came from.
    notes : tuple of str
        What a user should know; not stored.
    """

    energies: np.ndarray
    total: np.ndarray
    projected: np.ndarray
    labels: tuple = ()
    projection: tuple = ()
    method: str = "gaussian"
    width: float | None = None
    mesh: tuple = (1, 1, 1)
    shift: tuple = (0.0, 0.0, 0.0)
    fermi: float | None = None
    electrons: float | None = None
    vbm: float | None = None
    gap: float | None = None
    error: np.ndarray | None = None
    fermi_error: float | None = None
    source: str = "dft"
    notes: tuple = field(default=())

    def zero(self, level):
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


# Fields that are numbers, and their names in a file.
SCALARS = {n: n for n in ("width", "fermi", "electrons", "gap", "fermi_error")}
SCALARS |= {"vbm": "valence_top"}


def write_dos(writer, dos, name="dos"):
    """Write a density of states into a block file.

    Parameters
    ----------
    writer : BlockWriter
        Where to.
    dos : DensityOfStates
        What to write.
    name : str
        Its group, "dos" or "dos-NAME".
    """
    values = {stored: getattr(dos, field) for field, stored in SCALARS.items()}
    attributes = {stored: float(v) for stored, v in values.items() if v is not None}
    attributes |= {"unit": "1/eV", "method": dos.method, "source": dos.source}
    attributes |= {"mesh": [int(v) for v in dos.mesh], "shift": [float(v) for v in dos.shift]}
    writer.container.create_group(name, attributes)
    for array in ("energies", "total", "projected", "error"):
        if getattr(dos, array) is not None:
            writer.array(f"{name}/{array}", np.asarray(getattr(dos, array), dtype=np.float64))
    for array in ("labels", "projection"):
        writer.array(f"{name}/{array}", np.asarray(getattr(dos, array), dtype=object))
    seal(writer.container, name)


def read_dos(file, name="dos"):
    """Read a density of states from a block file.

    Parameters
    ----------
    file : BlockFile
        Open for reading.
    name : str
        Its group, "dos" or "dos-NAME".

    Returns
    -------
    DensityOfStates
        As it was written.

    Raises
    ------
    MoireioError
        If there is none of that name, or it is damaged.
    """
    if name not in file:
        raise MoireioError(f"has no /{name}", path=file.label, remedy="dos -o writes it")
    container = file.container
    found, arrays = verify(container, name), container.arrays(name)
    wanted = ("energies", "total", "projected", "labels", "projection")
    missing = [n for n in wanted if n not in arrays]
    if missing:
        raise DamagedError(f"/{name} has no {missing[0]}", path=file.label)
    values = {n: container.read(f"{name}/{n}") for n in wanted}
    values |= {n: tuple(str(v) for v in values[n]) for n in ("labels", "projection")}
    if "error" in arrays:
        values["error"] = container.read(f"{name}/error")
    try:
        dos = DensityOfStates(
            **values,
            **{field: float(found[n]) for field, n in SCALARS.items() if n in found},
            method=str(found["method"]),
            source=str(found.get("source", "dft")),
            mesh=tuple(int(v) for v in found["mesh"]),
            shift=tuple(float(v) for v in found.get("shift", (0, 0, 0))),
        )
        ns, ne, ng = len(dos.total), len(dos.energies), len(dos.labels)
        sound = dos.total.shape == (ns, ne) and dos.projected.shape == (ns, ng, ne)
        sound = sound and len(dos.projection) == ng and ns in (1, 2) and ne > 1
        sound = sound and (dos.error is None or dos.error.shape == (ns, ne))
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise DamagedError(f"/{name}: its arrays do not fit together", path=file.label)
    return dos
