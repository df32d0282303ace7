"""Tables of a density of states."""

import json

import numpy as np
import numpy.typing as npt

from moireio.results.dos import SCALARS, DensityOfStates


def header(dos: DensityOfStates) -> list[str]:
    """Return lines that describe how a density of states was made.

    Parameters
    ----------
    dos : DensityOfStates
        The density of states.

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
    lines.append("energies are those of H, not counted from the Fermi level")
    lines.append("no Fermi level" if dos.fermi is None else fermi_line(dos))
    return lines


def fermi_line(dos: DensityOfStates) -> str:
    """Return one line with the Fermi level, and the gap if there is one.

    Parameters
    ----------
    dos : DensityOfStates
        With a Fermi level.

    Returns
    -------
    str
        Such as ``Fermi level -3.5614 eV (electrons 16)``; of one from moments with its errors.
    """
    text = f"Fermi level {dos.fermi:z.4f}"
    if dos.fermi_error is not None:
        text += f" ± {dos.fermi_error:.4f}"
    text += " eV"
    if dos.electrons is not None:
        text += f" (electrons {dos.electrons:g})"
    if dos.gap is not None:
        text += f", in a gap of {dos.gap:.4f} eV on this mesh"
    if dos.fermi_from == "file":
        text += ", as the file has it"
    if dos.fermi_resolution is not None:
        counts = " and counts of levels" if dos.fermi_from == "counts" else ""
        text += f"; from moments{counts}, which resolve {dos.fermi_resolution:.4f} eV"
    if dos.fermi_error is not None:
        text += "; ± is the error of random vectors"
    return text


def columns(dos: DensityOfStates) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Return names and values of the columns of a table.

    Parameters
    ----------
    dos : DensityOfStates
        The density of states.

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


def dos_table(dos: DensityOfStates) -> str:
    """Return a density of states as a text table.

    Parameters
    ----------
    dos : DensityOfStates
        The density of states.

    Returns
    -------
    str
        Comments, then one line per energy.
    """
    names, values = columns(dos)
    lines = [f"# {line}" for line in header(dos)]
    lines.append("# " + "  ".join(n.replace(" ", "_") for n in names))
    lines += [f"{v[0]:z.6f} " + " ".join(f"{x:.8g}" for x in v[1:]) for v in values]
    return "\n".join(lines) + "\n"


def dos_json(dos: DensityOfStates) -> str:
    """Return a density of states as JSON.

    Parameters
    ----------
    dos : DensityOfStates
        The density of states.

    Returns
    -------
    str
        An object with energies, total, projected, labels, projection, method and all numbers that
        are known.
    """
    out = {"energies": dos.energies.tolist(), "total": dos.total.tolist()}
    out |= {"projected": dos.projected.tolist(), "labels": list(dos.labels)}
    out |= {"projection": list(dos.projection), "method": dos.method, "unit": "1/eV"}
    out |= {"mesh": list(dos.mesh), "shift": list(dos.shift), "source": dos.source}
    out |= {stored: getattr(dos, field) for field, stored in SCALARS.items()}
    out["fermi_from"] = dos.fermi_from
    out["energy_zero"] = "of the Hamiltonian"
    out["error"] = None if dos.error is None else dos.error.tolist()
    return json.dumps(out)
