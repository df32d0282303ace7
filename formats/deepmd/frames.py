"""Structures with energies and forces: DeePMD-kit's folders of NumPy arrays, and extended xyz.

Layout of a DeePMD system, as dpdata writes it: ``type.raw`` (number of the type of every atom, one
a line), ``type_map.raw`` (symbol of every type), and ``set.000`` with ``coord.npy``, ``force.npy``
(frames, 3N), ``box.npy`` (frames, 9), ``energy.npy`` (frames), and where all frames have a stress
``virial.npy`` (frames, 9). Units are Å, eV, eV/Å; the virial is −V times the stress, eV. One
system has frames with the same atoms in the same order: they are sorted by element, and every
composition has a folder of its own.

Extended xyz, for MACE, NequIP and ASE, has ``energy`` and ``stress`` (eV/Å³, positive under
tension, nine numbers) in the comment and the columns ``species``, ``pos`` and ``forces``.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, unwritable
from moireio.runtime.files import write_text
from moireio.runtime.replace import place
from moireio.runtime.workdirs import prefix_beside, work_folder

EXTXYZ = "all.xyz"
FOLDER = "deepmd"


@dataclass(frozen=True, eq=False)
class Frame:
    """One structure with its energy and forces.

    Parameters
    ----------
    symbols : tuple of str
        Element of every atom.
    cell : (3, 3) array
        Rows, Å.
    positions, forces : (N, 3) arrays
        Å and eV/Å.
    energy : float
        eV.
    stress : (3, 3) array, optional
        Derivative of the energy by the strain over the volume, eV/Å³.
    pbc : tuple of bool
        Along which vectors the structure is periodic, for extended xyz; DeePMD has the whole box.
    """

    symbols: tuple[str, ...]
    cell: npt.NDArray[np.float64]
    positions: npt.NDArray[np.float64]
    forces: npt.NDArray[np.float64]
    energy: float
    stress: npt.NDArray[np.float64] | None = None
    pbc: tuple[bool, bool, bool] = (True, True, True)


def systems(frames: Sequence[Frame]) -> dict[str, list[Frame]]:
    """Sort frames by composition, and the atoms of each by element.

    Parameters
    ----------
    frames : sequence of Frame
        In any order.

    Returns
    -------
    dict of str to list of Frame
        By formula, as ``Mo18Te36``.
    """
    found: dict[str, list[Frame]] = {}
    for frame in frames:
        order = np.argsort(np.array(frame.symbols), kind="stable")
        symbols = tuple(frame.symbols[n] for n in order)
        formula = "".join(f"{s}{symbols.count(s)}" for s in dict.fromkeys(symbols))
        ordered = Frame(
            symbols,
            frame.cell,
            frame.positions[order],
            frame.forces[order],
            frame.energy,
            frame.stress,
            frame.pbc,
        )
        found.setdefault(formula, []).append(ordered)
    return found


def write(frames: Sequence[Frame], folder: str) -> list[str]:
    """Write a training set; it appears whole or not at all.

    Parameters
    ----------
    frames : sequence of Frame
        At least one.
    folder : str
        To be made; must not exist, or be empty.

    Returns
    -------
    list of str
        Formulas of the systems, folders in ``FOLDER/deepmd``.

    Raises
    ------
    MoireioError
        If there are no frames, or the folder holds something or cannot be written.
    """
    if not frames:
        raise MoireioError("there are no structures with forces to write")
    target = os.path.realpath(folder)
    if os.path.exists(target) and (not os.path.isdir(target) or os.listdir(target)):
        raise MoireioError("exists and is not empty", path=folder, remedy="name a new folder")
    sorted_frames = systems(frames)
    types = sorted({symbol for frame in frames for symbol in frame.symbols})
    with_stress = all(frame.stress is not None for frame in frames)
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with work_folder(prefix_beside(target), os.path.dirname(target)) as work:
            part = os.path.join(work, "forces")
            for formula, members in sorted_frames.items():
                _write_system(os.path.join(part, FOLDER, formula), members, types, with_stress)
            with write_text(os.path.join(part, EXTXYZ)) as stream:
                for members in sorted_frames.values():
                    stream.writelines(_extxyz(frame) for frame in members)
            if os.path.isdir(target):
                os.rmdir(target)
            place(part, target, force=False)
    except MoireioError:
        raise
    except OSError as error:
        raise unwritable(error, folder) from error
    return list(sorted_frames)


def _write_system(folder, frames, types, with_stress):
    """Write one system of DeePMD-kit."""
    arrays = os.path.join(folder, "set.000")
    os.makedirs(arrays)
    numbers = [types.index(symbol) for symbol in frames[0].symbols]
    for name, words in (("type.raw", numbers), ("type_map.raw", types)):
        with write_text(os.path.join(folder, name)) as stream:
            stream.writelines(f"{word}\n" for word in words)
    values = {
        "coord": [f.positions for f in frames],
        "box": [f.cell for f in frames],
        "energy": [f.energy for f in frames],
        "force": [f.forces for f in frames],
    }
    if with_stress:
        values["virial"] = [-abs(np.linalg.det(f.cell)) * f.stress for f in frames]
    for name, value in values.items():
        array = np.array(value, dtype=np.float64)
        shape = (len(frames), -1) if array.ndim > 1 else (len(frames),)
        np.save(os.path.join(arrays, f"{name}.npy"), array.reshape(shape))


def _extxyz(frame):
    """Return a frame as extended xyz, with all digits."""
    lattice = " ".join(repr(float(v)) for v in frame.cell.ravel())
    comment = f'Lattice="{lattice}" Properties=species:S:1:pos:R:3:forces:R:3 '
    comment += f"energy={float(frame.energy)!r} "
    if frame.stress is not None:
        comment += 'stress="{}" '.format(" ".join(repr(float(v)) for v in frame.stress.ravel()))
    comment += 'pbc="{}"'.format(" ".join("T" if p else "F" for p in frame.pbc))
    lines = [str(len(frame.symbols)), comment]
    for symbol, position, force in zip(frame.symbols, frame.positions, frame.forces, strict=True):
        lines.append(" ".join([symbol, *(repr(float(v)) for v in (*position, *force))]))
    return "\n".join(lines) + "\n"
