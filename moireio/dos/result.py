"""A density of states, and how it is stored, printed and read."""

import json
from dataclasses import dataclass, field

import numpy as np

from moireio.errors import DamagedError, MoireioError
from moireio.results import named_energy
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
    valence_top : float, optional
        Highest occupied level on the mesh where there is a gap, eV.
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
    valence_top: float | None = None
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
        return named_energy(level, fermi=self.fermi, vbm=self.valence_top)


SCALARS = ("width", "fermi", "electrons", "valence_top", "gap", "fermi_error")


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
    values = {n: getattr(dos, n) for n in SCALARS}
    attributes = {n: float(v) for n, v in values.items() if v is not None}
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
            **{n: float(found[n]) for n in SCALARS if n in found},
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


def header(dos):
    """Return lines that tell how a density of states was made.

    Parameters
    ----------
    dos : DensityOfStates
        Any.

    Returns
    -------
    list of str
        Without comment signs.
    """
    mesh = " × ".join(map(str, dos.mesh))
    if any(dos.shift):
        mesh += " shifted by " + " ".join(f"{v:g}" for v in dos.shift)
    method = {"gaussian": "Gaussians", "kpm": "kernel polynomials"}.get(dos.method, dos.method)
    if dos.width is not None:
        method += f" of standard deviation {dos.width:.4g} eV"
    lines = [f"density of states, 1/eV and cell; {mesh} k points; {method}"]
    if dos.fermi is not None:
        lines.append(fermi_line(dos))
    return lines


def fermi_line(dos):
    """Return one line with the Fermi level, and the gap if there is one.

    Parameters
    ----------
    dos : DensityOfStates
        With a Fermi level.

    Returns
    -------
    str
        Such as ``Fermi level -3.5614 eV (electrons 16)``.
    """
    text = f"Fermi level {dos.fermi:.4f}"
    if dos.fermi_error is not None:
        text += f" ± {dos.fermi_error:.4f}"
    text += " eV"
    if dos.electrons is not None:
        text += f" (electrons {dos.electrons:g})"
    if dos.gap is not None:
        text += f", in a gap of {dos.gap:.4f} eV on this mesh"
    return text


def columns(dos):
    """Return names and values of the columns of a table.

    Parameters
    ----------
    dos : DensityOfStates
        Any.

    Returns
    -------
    names : list of str
        Energy, total (up and down for collinear spin), then the groups.
    values : (ne, columns) array
        eV, and 1/eV.
    """
    spins = (" up", " down") if len(dos.total) == 2 else ("",)
    names, values = ["energy"], [dos.energies]
    for spin, total in zip(spins, dos.total, strict=True):
        names.append(f"total{spin}")
        values.append(total)
    if dos.error is not None:
        for spin, error in zip(spins, dos.error, strict=True):
            names.append(f"error{spin}")
            values.append(error)
    for g, label in enumerate(dos.labels):
        for spin, projected in zip(spins, dos.projected, strict=True):
            names.append(f"{label}{spin}")
            values.append(projected[g])
    return names, np.stack(values, axis=1)


def dos_table(dos):
    """Return a density of states as a text table.

    Parameters
    ----------
    dos : DensityOfStates
        What to print.

    Returns
    -------
    str
        Comments, then one line per energy.
    """
    names, values = columns(dos)
    lines = [f"# {line}" for line in header(dos)]
    lines.append("# " + "  ".join(n.replace(" ", "_") for n in names))
    lines += [f"{v[0]:.6f} " + " ".join(f"{x:.8g}" for x in v[1:]) for v in values]
    return "\n".join(lines) + "\n"


def dos_json(dos):
    """Return a density of states as JSON.

    Parameters
    ----------
    dos : DensityOfStates
        What to print.

    Returns
    -------
    str
        An object with energies, total, projected, labels, projection and what else is known.
    """
    out = {"energies": dos.energies.tolist(), "total": dos.total.tolist()}
    out |= {"projected": dos.projected.tolist(), "labels": list(dos.labels)}
    out |= {"projection": list(dos.projection), "method": dos.method, "unit": "1/eV"}
    out |= {"mesh": list(dos.mesh), "shift": list(dos.shift), "source": dos.source}
    out |= {n: getattr(dos, n) for n in SCALARS}
    out["error"] = None if dos.error is None else dos.error.tolist()
    return json.dumps(out)
