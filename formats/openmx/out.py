"""OpenMX's text output (``.out``) and how a calculation ended.

The history of the self-consistency stands in lines ``SCF=  22  NormRD=  …  Uele= …`` of the last
geometry step. OpenMX stops when Uele changes by less than ``scf.criterion`` (Hartree), or after
``scf.maxIter`` steps, and writes its ``.scfout`` in either case. A complete ``.out`` ends with a
table of times.

Energies stand in lines ``Utot.`` and ``UvdW.`` (Hartree), forces in a table
``<coordinates.forces`` (positions in Å with 5 decimals, forces in Hartree/Bohr) of the last
geometry, its positions with 14 decimals under ``Fractional coordinates of the final structure``.
The cell is that of the input, which the file repeats. The stress tensor goes to standard output
only, in Hartree/Bohr³ with 8 decimals: the derivative of the energy by the strain over the volume,
positive under tension. So the source of OpenMX 3.9 defines it. Total_Energy.c prints
``Stress_Tensor[3*i+j]/Cell_Volume``; a pair of atoms at r adds V′(r) r_i r_j / r to it (there, in
Calc_EdftD, and in Calc_EdftD3), the Hartree energy itself is a volume term, and Force.c adds +pV of
the enthalpy for an applied pressure p. ASE's reader of OpenMX takes the same sign.
"""

import math
import os
import re
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.formats.openmx import dat, scfout
from moireio.moire.dataset import Outcome
from moireio.runtime.jobs import LOG, is_claimed, read_record
from moireio.units import BOHR_ANGSTROM, HARTREE_EV

_STEP = re.compile(r"^\s*SCF=(.*)$", re.M)
_VALUES = re.compile(r"\s*(\d{1,9})\s+NormRD=\s*(\S+)\s+Uele=\s*(\S+)\s*", re.ASCII)
_COMPLAINT = re.compile(r"error|cannot|could not|fail|killed|abort|segmentation|invalid", re.I)
TIMES = "Total Computational Time"
TAIL_BYTES = 1 << 16
_FINAL = "Fractional coordinates of the final structure"
_CELL_MOVES = ("optc", "rfc", "cellopt", "npt")
_ROUNDING = 1.1e-5  # Å; positions in the table of forces have 5 decimals
_AGAIN = "the file is damaged, or not finished; run OpenMX again"
RECENT = 3600.0  # s; a file that was written to since then may still grow


@dataclass(frozen=True)
class History:
    """The last self-consistency of a ``.out``.

    Parameters
    ----------
    steps : int
        Iterations done; 0 if the file holds none.
    change : float
        Change of Uele in the last one, Hartree.
    complete : bool
        Whether the file ends as OpenMX ends it.
    """

    steps: int
    change: float
    complete: bool


def convergence(path: str) -> History:
    """Read the last history of a self-consistency.

    Parameters
    ----------
    path : str
        A ``.out`` file.

    Returns
    -------
    History
        Without a last line that is cut short.

    Raises
    ------
    MoireioError
        If the file cannot be read, or its history is damaged.
    """
    text = dat.read_text(path)
    complete = TIMES in text[-TAIL_BYTES:]
    found = list(_STEP.finditer(text))
    rows: list[tuple[int, float]] = []
    for n, match in enumerate(found):
        values = _VALUES.fullmatch(match[1])
        energy = _number(values[3]) if values else None
        if values is None or energy is None:
            if n == len(found) - 1 and not complete:
                break  # OpenMX is still writing, or was stopped
            line = text.count("\n", 0, match.start()) + 1
            raise MoireioError(
                f"line {line} is no step of a self-consistency: {match[0].strip()[:60]!r}",
                path=path,
                remedy="the file is damaged; run OpenMX again",
            )
        expected = {1, rows[-1][0] + 1} if rows else {1}
        if int(values[1]) not in expected:
            what = f"step {rows[-1][0]} is followed by" if rows else "its history begins with"
            raise MoireioError(
                f"{what} step {values[1]}, {max(expected)} is expected",
                path=path,
                remedy="the file is damaged; run OpenMX again",
            )
        rows.append((int(values[1]), energy))
    if not rows:
        return History(0, math.inf, complete)
    last = max(n for n, row in enumerate(rows) if row[0] == 1)
    energies = [energy for _, energy in rows[last:]]
    change = abs(energies[-1] - energies[-2]) if len(energies) > 1 else math.inf
    return History(rows[-1][0], change if math.isfinite(change) else math.inf, complete)


def _number(word):
    """Return a number as C writes it, nan and inf included; None if it is none."""
    try:
        return float(word) if word.isascii() and "_" not in word else None
    except ValueError:
        return None


@dataclass(frozen=True, eq=False)
class Forces:
    """Energy and forces of the last geometry of a calculation.

    Parameters
    ----------
    symbols : tuple of str
        Element of every atom.
    cell : (3, 3) array
        Rows, Å.
    positions : (N, 3) array
        Cartesian, Å.
    forces : (N, 3) array
        eV/Å.
    energy : float
        Utot, which holds the dispersion, eV.
    dispersion : float
        UvdW, eV; 0 where there was none.
    stress : (3, 3) array or None
        Derivative of the energy by the strain over the volume, eV/Å³; None where the standard
        output was not kept, or has none.
    """

    symbols: tuple[str, ...]
    cell: npt.NDArray[np.float64]
    positions: npt.NDArray[np.float64]
    forces: npt.NDArray[np.float64]
    energy: float
    dispersion: float
    stress: npt.NDArray[np.float64] | None = None


def forces(path: str, log: str | None = None) -> Forces:
    """Read energy, positions and forces.

    Parameters
    ----------
    path : str
        A ``.out`` file.
    log : str, optional
        Standard output of the same run, for the stress.

    Returns
    -------
    Forces
        In eV and Å, with OpenMX's own constants.

    Raises
    ------
    MoireioError
        If a part is missing or damaged, or the cell moved.
    """
    text = dat.read_text(path)
    start = text.find(dat.OUTPUT)
    header = text[start if start >= 0 else 0 :]
    inputs = dat.parse(header[: header.find("SCF history at MD=")], path)
    if inputs.motion.startswith(_CELL_MOVES):
        raise MoireioError(
            f"MD.Type {inputs.motion} moves the cell, which this file does not hold",
            path=path,
            remedy="calculate the final structure with MD.Type nomd",
        )
    if inputs.cell is None or inputs.positions is None:
        raise MoireioError("repeats no input with a cell", path=path, remedy=_AGAIN)
    rows = _force_rows(text, path)
    fractional = _final_rows(text, path)
    count = len(inputs.symbols)
    if not len(rows) == len(fractional) == count:
        what = f"has {len(rows)} forces and {len(fractional)} final positions of {count} atoms"
        raise MoireioError(what, path=path, remedy=_AGAIN)
    cell = inputs.cell
    apart = (rows[:, :3] - fractional @ cell) @ np.linalg.inv(cell)
    apart = (apart - np.round(apart)) @ cell
    if np.abs(apart).max() > _ROUNDING:
        what = f"its tables of forces and of final positions differ by {np.abs(apart).max():.1e} Å"
        raise MoireioError(what, path=path, remedy=_AGAIN)
    elements = inputs.basis()[1]
    return Forces(
        symbols=tuple(elements[name] for name in inputs.symbols),
        cell=cell,
        positions=fractional @ cell,
        forces=rows[:, 3:] * (HARTREE_EV / BOHR_ANGSTROM),
        energy=_last_energy(text, "Utot", path) * HARTREE_EV,
        dispersion=_last_energy(text, "UvdW", path) * HARTREE_EV,
        stress=None if log is None else _stress(log),
    )


def _force_rows(text, path):
    """Return positions (Å) and forces (Hartree/Bohr) of the last geometry, (N, 6)."""
    opened = text.rfind("<coordinates.forces")
    closed = text.find("coordinates.forces>", opened + 1)
    if opened < 0 or closed < 0:
        raise MoireioError(
            "has no forces (no whole table <coordinates.forces)", path=path, remedy=_AGAIN
        )
    lines = [line.split() for line in text[opened:closed].splitlines()[1:]]
    lines = [words for words in lines if words]
    numbers = [[_number(word) for word in words[2:8]] for words in lines[1:]]
    names = [words[:1] for words in lines[1:]]
    expected = [[str(n)] for n in range(1, len(names) + 1)]
    if not lines or lines[0] != [str(len(names))] or names != expected:
        raise MoireioError("its table of forces is cut short", path=path, remedy=_AGAIN)
    return _finite(numbers, 6, "table of forces", path)


def _final_rows(text, path):
    """Return the fractional positions of the last geometry, (N, 3)."""
    found = text.rfind(_FINAL)
    if found < 0:
        raise MoireioError(f"has no {_FINAL.lower()}", path=path, remedy=_AGAIN)
    rows = []
    for line in text[found:].splitlines()[1:]:
        words = line.split()
        if len(words) == 5 and words[0] == str(len(rows) + 1):
            rows.append([_number(word) for word in words[2:]])
        elif rows:
            break
    return _finite(rows, 3, "table of final positions", path)


def _finite(rows, width, what, path):
    if any(len(row) != width or None in row for row in rows):
        raise MoireioError(f"its {what} is damaged", path=path, remedy=_AGAIN)
    numbers = np.array(rows, dtype=float).reshape(-1, width)
    if not np.isfinite(numbers).all():
        raise MoireioError(
            f"its {what} has numbers that are not finite",
            path=path,
            remedy="the self-consistency diverged; run OpenMX again",
        )
    return numbers


def _last_energy(text, name, path):
    """Return an energy of the last geometry, Hartree."""
    found = re.findall(rf"^\s*{name}\.\s+(\S+)\s*$", text, re.M)
    energy = _number(found[-1]) if found else None
    if energy is None or not math.isfinite(energy):
        raise MoireioError(f"has no {name}", path=path, remedy=_AGAIN)
    return energy


def _stress(log):
    """Return the last stress tensor of a standard output, eV/Å³; None if there is none."""
    try:
        text = dat.read_text(log)
    except MoireioError:
        return None
    found = text.rfind("Stress tensor (Hartree/bohr^3)")
    words = text[found:].splitlines()[1:8] if found >= 0 else []
    rows = [line.split() for line in words if len(line.split()) == 3]
    numbers = [[_number(word) for word in row] for row in rows]
    if len(numbers) != 3 or any(n is None or not math.isfinite(n) for row in numbers for n in row):
        return None
    return np.array(numbers) * (HARTREE_EV / BOHR_ANGSTROM**3)


def outcome(folder: str, name: str, with_forces: bool = False) -> Outcome:
    """Return the state of the calculation in a folder.

    Parameters
    ----------
    folder : str
        Holds ``NAME.dat`` and the files that OpenMX wrote.
    name : str
        ``System.Name``.
    with_forces : bool
        Whether it is the forces that are wanted, and not H and S.

    Returns
    -------
    Outcome
        Done means: the ``.scfout`` is whole, and the self-consistency has converged as far as the
        ``.out`` shows; where forces are wanted, the ``.out`` is whole and has them. Running also
        means: its files are incomplete, and one of them was written to within the last hour.
        Failed, too, where the input is gone, or a file is damaged.
    """
    try:
        return _outcome(folder, name, with_forces)
    except MoireioError as error:
        where = "" if error.path is None else f"{os.path.basename(error.path)}: "
        return Outcome("failed", f"{where}{error.what}")
    except OSError as error:
        return Outcome("failed", f"{os.path.basename(error.filename or name)}: {error.strerror}")


def _outcome(folder, name, with_forces):
    if not os.path.exists(os.path.join(folder, f"{name}.dat")):
        return Outcome("failed", f"{name}.dat is gone (make the dataset again)")
    if is_claimed(folder):
        return Outcome("running")
    result, text = (os.path.join(folder, f"{name}.{suffix}") for suffix in ("scfout", "out"))
    record = read_record(folder)
    history = convergence(text) if os.path.exists(text) else None
    finished = bool(record) or (history is not None and history.complete)
    if not finished and _is_recent(result, text):
        return Outcome("running")
    whole, complaint = False, f"there is no {name}.scfout"
    if with_forces:
        complaint = f"{name}.out has no forces"
        whole = history is not None and history.complete
        if whole:
            forces(text)
    elif os.path.exists(result):
        try:
            with scfout.open_scfout(result, check_coordinates=False):
                whole = True
        except MoireioError as error:
            complaint = f"{name}.scfout {error.what}"
    if whole:
        return _converged(folder, name, history, finished)
    if record.get("state") == "running":
        return Outcome("interrupted")
    last_line = _complaint(os.path.join(folder, LOG))
    last_line = f": {last_line}" if last_line else ""
    if record.get("state") == "timeout":
        return Outcome("failed", f"did not end within {_seconds(record)} s")
    if record.get("code"):
        code = record["code"]
        killed = isinstance(code, int) and code < 0
        end = f"killed by signal {-code}" if killed else f"exit code {code}"
        return Outcome("failed", end + last_line)
    if record or history is not None or os.path.exists(result):
        return Outcome("failed", complaint + last_line)
    return Outcome("missing")


def _is_recent(*paths):
    """Return whether one of some files was written to a short time ago."""
    return any(os.path.exists(p) and time.time() - os.path.getmtime(p) < RECENT for p in paths)


def _seconds(record):
    seconds = record.get("seconds")
    return f"{seconds:.0f}" if isinstance(seconds, int | float) else "?"


def _converged(folder, name, history, finished):
    if history is None:
        return Outcome("done")
    keywords = dat.read(os.path.join(folder, f"{name}.dat")).keywords
    limit = int(keywords.number("scf.maxIter", 40))
    criterion = keywords.number("scf.criterion", 1e-6)
    if history.change <= criterion:
        return Outcome("done")
    if history.steps >= limit:
        return Outcome(
            "failed",
            f"not converged after {history.steps} steps (Uele moves by {history.change:.1e} Ha)",
        )
    if not finished:
        return Outcome("interrupted", f"{name}.out ends after step {history.steps}")
    return Outcome("done")


def _complaint(path):
    """Return the last line of a log that reads like an error, or its last line."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.path.getsize(path) - TAIL_BYTES))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    lines = [" ".join(n.split()) for n in lines if n.strip(" *-=\t")]
    bad = [n for n in lines if _COMPLAINT.search(n)]
    return (bad or lines or [""])[-1][:160]


def remove_results(folder: str, name: str) -> None:
    """Remove the files of an earlier run, so that its result cannot pass for a new one.

    Parameters
    ----------
    folder : str
        Holds ``NAME.dat``.
    name : str
        ``System.Name``.
    """
    for suffix in ("scfout", "out"):
        path = os.path.join(folder, f"{name}.{suffix}")
        if os.path.exists(path):
            os.remove(path)
