"""OpenMX's ``.Band`` file: energies along a path.

Layout: number of states, spin (0 or 1), Fermi level (Hartree); three reciprocal vectors
(Bohr⁻¹) in a line; number of segments, one line each; then for every k point a line
``n k1 k2 k3`` and a line of n energies (Hartree). With collinear spin the records of spin up
and down alternate. Kept: k points, energies in eV, Fermi level, labels. Lost: nothing.
"""

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, unreadable
from moireio.formats.openmx.kpath import BandSegment
from moireio.results.bands import BandStructure
from moireio.results.kpath import KPath
from moireio.units import BOHR_ANGSTROM, HARTREE_EV


@dataclass(frozen=True, eq=False)
class OpenMXBands:
    """Contents of a ``.Band`` file.

    Parameters
    ----------
    k : (nk, 3) array
        Fractional coordinates.
    energies : (ns, nk, nb) array
        eV.
    fermi : float
        eV.
    reciprocal : (3, 3) array
        Reciprocal vectors as rows, Å⁻¹ with the 2π.
    segments : list of BandSegment
        Points, fractional ends and labels of each segment.
    """

    k: npt.NDArray[np.float64]
    energies: npt.NDArray[np.float64]
    fermi: float
    reciprocal: npt.NDArray[np.float64]
    segments: list[BandSegment]

    def path(self) -> KPath:
        """Return the k points with their distances and labels (`KPath`)."""
        distance, labels, index, at, total = [], [], [], 0, 0.0
        for count, _, _, ends in self.segments:
            k = self.k[at : at + count]
            steps = np.linalg.norm(np.diff(k, axis=0) @ self.reciprocal, axis=1)
            distance.append(total + np.concatenate([[0.0], np.cumsum(steps)]))
            total = float(distance[-1][-1])
            for label, place in zip(ends, (at, at + count - 1), strict=True):
                if not (labels and label == labels[-1] and place == index[-1] + 1):
                    labels.append(label)
                    index.append(place)
            at += count
        return KPath(self.k, np.concatenate(distance), np.array(index), tuple(labels))

    def band_structure(self) -> BandStructure:
        """Return everything as a `BandStructure`."""
        return BandStructure(self.path(), self.energies, fermi=self.fermi, source="dft")


def is_band_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file name is that of a ``.Band`` file.

    Parameters
    ----------
    path : str
        File name.

    Returns
    -------
    bool
        True for the suffix ``.Band`` in any case.
    """
    return str(path).lower().endswith(".band")


def read(path: str | os.PathLike[str]) -> OpenMXBands:
    """Read a ``.Band`` file.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    OpenMXBands
        In eV and Å.

    Raises
    ------
    MoireioError
        If it cannot be read.
    DamagedError
        If it is cut short or no such file.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError as error:
        raise unreadable(error, path) from error
    try:
        return _parse(lines)
    except (ValueError, IndexError) as error:
        raise DamagedError(
            f"is no complete OpenMX .Band file: {error}",
            path=path,
            remedy="run OpenMX's band calculation again",
        ) from error


def _parse(lines):
    head = lines[0].split()
    states, switch, fermi = int(head[0]), int(head[1]), float(head[2])
    reciprocal = np.array([float(v) for v in lines[1].split()]).reshape(3, 3) / BOHR_ANGSTROM
    count = int(lines[2])
    segments = []
    for line in lines[3 : 3 + count]:
        words = line.split()
        ends = [[float(v) for v in words[a : a + 3]] for a in (1, 4)]
        labels = (words[7], words[8]) if len(words) > 8 else ("", "")
        segments.append(BandSegment(int(words[0]), *ends, labels))
    body = [line for line in lines[3 + count :] if line.strip()]
    channels = 2 if switch == 1 else 1
    points = sum(segment[0] for segment in segments)
    if segments and min(segment[0] for segment in segments) < 1:
        raise ValueError("a segment has no k points")
    if not segments or len(body) < 2 * channels * points:
        raise ValueError(f"{points} k points expected, {len(body) // (2 * channels)} found")
    if len(body[1].split()) != states:
        raise ValueError(f"the first k point has {len(body[1].split())} of {states} energies")
    k = np.empty((points, 3))
    energies = np.empty((channels, points, states))
    for record in range(channels * points):
        where, values = body[2 * record].split(), body[2 * record + 1].split()
        if len(values) != states or int(where[0]) != states:
            raise ValueError(f"record {record + 1} has {len(values)} of {states} energies")
        k[record // channels] = [float(v) for v in where[1:4]]
        energies[record % channels, record // channels] = [float(v) for v in values]
    numbers = (k, energies, fermi, reciprocal)
    if not all(np.isfinite(values).all() for values in numbers):
        raise ValueError("a number is not finite")
    return OpenMXBands(k, energies * HARTREE_EV, fermi * HARTREE_EV, reciprocal, segments)
