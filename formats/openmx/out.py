"""OpenMX's text output (``.out``) and how a calculation ended.

Only the history of the self-consistency is read from the ``.out``: lines
``SCF=  22  NormRD=  …  Uele= …`` of the last geometry step. OpenMX stops when Uele changes by less
than ``scf.criterion`` (Hartree), or after ``scf.maxIter`` steps, and writes its ``.scfout`` in
either case.
"""

import os
import re

from moireio.errors import MoireioError
from moireio.formats.openmx import dat, scfout
from moireio.moire.dataset import Outcome
from moireio.runtime.jobs import LOG, is_claimed, read_record

_STEP = re.compile(r"SCF=\s*(\d+)\s+NormRD=\s*(\S+)\s+Uele=\s*(\S+)")
_COMPLAINT = re.compile(r"error|cannot|could not|fail|killed|abort|segmentation|invalid", re.I)
TAIL_BYTES = 1 << 16


def convergence(path: str) -> tuple[int, float]:
    """Read the last history of a self-consistency.

    Parameters
    ----------
    path : str
        A ``.out`` file.

    Returns
    -------
    steps : int
        Iterations done; 0 if the file holds none.
    change : float
        Change of Uele in the last one, Hartree.
    """
    with open(path, encoding="utf-8", errors="replace") as stream:
        steps = _STEP.findall(stream.read())
    if not steps:
        return 0, float("inf")
    last = max(n for n, row in enumerate(steps) if int(row[0]) == 1)
    energies = [float(row[2]) for row in steps[last:]]
    change = abs(energies[-1] - energies[-2]) if len(energies) > 1 else float("inf")
    return int(steps[-1][0]), change


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
        ``.out`` shows. Failed, too, where the input is gone.
    """
    if not os.path.exists(os.path.join(folder, f"{name}.dat")):
        return Outcome("failed", f"{name}.dat is gone (make the dataset again)")
    if is_claimed(folder):
        return Outcome("running")
    result = os.path.join(folder, f"{name}.scfout")
    whole, complaint = False, f"there is no {name}.scfout"
    if os.path.exists(result):
        try:
            with scfout.open_scfout(result, check_coordinates=False):
                whole = True
        except MoireioError as error:
            complaint = f"{name}.scfout {error.what}"
    record, text = read_record(folder), os.path.join(folder, f"{name}.out")
    if whole:
        return _converged(folder, name, text)
    if record.get("state") == "running":
        return Outcome("interrupted")
    last_line = _complaint(os.path.join(folder, LOG))
    last_line = f": {last_line}" if last_line else ""
    if record.get("state") == "timeout":
        return Outcome("failed", f"did not end within {record.get('seconds', 0):.0f} s")
    if record.get("code"):
        code = record["code"]
        end = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return Outcome("failed", end + last_line)
    if record or os.path.exists(text) or os.path.exists(result):
        return Outcome("failed", complaint + last_line)
    return Outcome("missing")


def _converged(folder, name, text):
    if not os.path.exists(text):
        return Outcome("done")
    steps, change = convergence(text)
    keywords = dat.read(os.path.join(folder, f"{name}.dat")).keywords
    limit = int(keywords.number("scf.maxIter", 40))
    criterion = keywords.number("scf.criterion", 1e-6)
    if steps >= limit and change > criterion:
        return Outcome(
            "failed", f"not converged after {steps} steps (Uele moves by {change:.1e} Ha)"
        )
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
