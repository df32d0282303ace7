"""OpenMX's text output (``.out``) and how a calculation ended.

Only the history of the self-consistency is read from the ``.out``: lines
``SCF=  22  NormRD=  …  Uele= …`` of the last geometry step. OpenMX stops when Uele changes by less
than ``scf.criterion`` (Hartree), or after ``scf.maxIter`` steps, and writes its ``.scfout`` in
either case. A complete ``.out`` ends with a table of times.
"""

import math
import os
import re
import time
from dataclasses import dataclass

from moireio.errors import MoireioError
from moireio.formats.openmx import dat, scfout
from moireio.moire.dataset import Outcome
from moireio.runtime.jobs import LOG, is_claimed, read_record

_STEP = re.compile(r"^\s*SCF=(.*)$", re.M)
_VALUES = re.compile(r"\s*(\d{1,9})\s+NormRD=\s*(\S+)\s+Uele=\s*(\S+)\s*", re.ASCII)
_COMPLAINT = re.compile(r"error|cannot|could not|fail|killed|abort|segmentation|invalid", re.I)
TIMES = "Total Computational Time"
TAIL_BYTES = 1 << 16
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


def outcome(folder: str, name: str) -> Outcome:
    """Return the state of the calculation in a folder.

    Parameters
    ----------
    folder : str
        Holds ``NAME.dat`` and the files that OpenMX wrote.
    name : str
        ``System.Name``.

    Returns
    -------
    Outcome
        Done means: the ``.scfout`` is whole, and the self-consistency has converged as far as the
        ``.out`` shows. Running also means: its files are incomplete, and one of them was written
        to within the last hour. Failed, too, where the input is gone, or a file is damaged.
    """
    try:
        return _outcome(folder, name)
    except MoireioError as error:
        where = "" if error.path is None else f"{os.path.basename(error.path)}: "
        return Outcome("failed", f"{where}{error.what}")
    except OSError as error:
        return Outcome("failed", f"{os.path.basename(error.filename or name)}: {error.strerror}")


def _outcome(folder, name):
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
    if os.path.exists(result):
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
