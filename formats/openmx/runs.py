"""What OpenMX's files beside a calculation say about its run: convergence and settings."""

import os

from moireio.errors import MoireioError
from moireio.formats.openmx import dat, out

SETTINGS = (
    "scf.XcType",
    "scf.energycutoff",
    "scf.criterion",
    "scf.SpinPolarization",
    "scf.SpinOrbit.Coupling",
    "scf.ElectronicTemperature",
    "scf.Hubbard.U",
    "scf.system.charge",
)
DEFAULT_CRITERION = 1e-6  # Hartree


def _beside(path: str, suffix: str) -> str | None:
    """Return the file of a run that belongs to a calculation, by its suffix."""
    path = path.rstrip("/")
    folder, name = os.path.split(path)
    stem = name.partition(".")[0] if os.path.isfile(path) else name
    places = [os.path.join(folder, stem + suffix)]
    places.append(os.path.join(path, stem + suffix))  # a folder, or a zarr
    up = os.path.dirname(folder)  # DIR/blocks/NAME.h5 of DIR/NAME/NAME.out
    for parent in (folder, up):
        places.append(os.path.join(parent, stem, stem + suffix))
        places.append(os.path.join(parent, "structures", stem, stem + suffix))
    if os.path.isdir(path):
        places += [os.path.join(path, e) for e in sorted(os.listdir(path)) if e.endswith(suffix)]
    return next((place for place in places if os.path.isfile(place)), None)


def _input(path: str) -> dat.OpenMXInput | None:
    file = _beside(path, ".dat")
    try:
        return None if file is None or not dat.detect(file) else dat.read(file)
    except MoireioError:
        return None


def unconverged(path: str) -> tuple[float, float, str] | None:
    """Return how far a run was from convergence when it ended.

    Parameters
    ----------
    path : str
        A calculation; OpenMX's ``.out`` and ``.dat`` are looked for beside it, in it, and in the
        folder of its dataset.

    Returns
    -------
    (float, float, str) or None
        Last change of Uele and the limit, Hartree, and a few words; None if it has converged, or
        there is no such file.
    """
    file = _beside(path, ".out")
    if file is None:
        return None
    try:
        history = out.convergence(file)
    except MoireioError:
        return None  # the text of another program
    if history.steps == 0:
        return None
    settings = _input(path)
    number = DEFAULT_CRITERION
    if settings is not None:
        number = settings.keywords.number("scf.criterion", DEFAULT_CRITERION)
    if history.change <= number:
        return None
    return history.change, number, f"Uele still moves after {history.steps} steps, Ha"


def settings_of(path: str) -> dict[str, str]:
    """Return the settings of a run that all structures of a training set should share.

    Parameters
    ----------
    path : str
        A calculation; OpenMX's ``.dat`` is looked for as by `unconverged`.

    Returns
    -------
    dict of str to str
        Values by keyword, in lower case; empty if there is no input.
    """
    settings = _input(path)
    if settings is None:
        return {}
    words = {name: settings.keywords.word(name).lower() for name in SETTINGS}
    return {name: word for name, word in words.items() if word}
