"""OpenMX's ``.Band`` file: energies along a path.

Layout: number of states, spin (0 or 1), Fermi level (Hartree); three reciprocal vectors
(Bohr⁻¹) in a line; number of segments, one line each; then for every k point a line
``n k1 k2 k3`` and a line of n energies (Hartree). With collinear spin the records of spin up
and down alternate. Kept: k points, energies in eV, Fermi level, labels. Lost: nothing.
"""

import os
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.formats.openmx.dat import read_text
from moireio.formats.openmx.keywords import Row, read_integer, read_number
from moireio.formats.openmx.kpath import FARTHEST, MOST_POINTS, BandSegment
from moireio.results.bands import BandStructure
from moireio.results.kpath import KPath
from moireio.units import BOHR_ANGSTROM, HARTREE_EV

LARGEST_ENERGY = 1e6  # Hartree
SAME_ENERGY = 1e-8  # Hartree
SAME_K = 1e-5
_PLAIN = re.compile(r"[0-9eE+\-. ]*", re.ASCII)


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
    text = read_text(path)
    rows = [Row(line.split(), number) for number, line in enumerate(text.splitlines(), 1)]
    return _Reader([row for row in rows if row], str(path)).read()


class _Reader:
    """Reads the lines of a ``.Band`` one after another."""

    def __init__(self, rows, path):
        self._rows, self._path, self._at = rows, path, 0

    def _wrong(self, what):
        return DamagedError(what, path=self._path, remedy="run OpenMX's band calculation again")

    def _row(self, what, words, exactly=True):
        """Return the next line, which must have so many words."""
        if self._at == len(self._rows):
            raise self._wrong(f"is cut short: the file ends where {what} is expected")
        row = self._rows[self._at]
        self._at += 1
        if len(row) < words or (exactly and len(row) > words):
            raise self._wrong(f"line {row.line}: {what} has {len(row)} of {words} numbers")
        return row

    def _number(self, row, column, what, largest):
        return read_number(row[column], self._path, f"line {row.line}: {what}", largest)

    def _integer(self, row, column, what, smallest, largest):
        return read_integer(row[column], self._path, f"line {row.line}: {what}", smallest, largest)

    def read(self):
        """Return the contents."""
        head = self._row("the first line", 3)
        states = self._integer(head, 0, "the number of states", 1, 10**7)
        channels = 2 if self._integer(head, 1, "the spin", 0, 3) == 1 else 1
        fermi = self._number(head, 2, "the Fermi level", 100.0)
        row = self._row("the reciprocal cell", 9)
        vectors = [self._number(row, n, "a reciprocal vector", 1e6) for n in range(9)]
        reciprocal = np.array(vectors).reshape(3, 3) / BOHR_ANGSTROM
        if np.linalg.matrix_rank(reciprocal) < 3:
            raise self._wrong(f"line {row.line}: the reciprocal vectors are not independent")
        row = self._row("the number of segments", 1)
        count = self._integer(row, 0, "the number of segments", 1, 10**6)
        segments = [self._segment() for _ in range(count)]
        points = sum(segment.count for segment in segments)
        left, expected = len(self._rows) - self._at, 2 * channels * points
        if left != expected:
            raise self._wrong(
                f"has {left} lines behind the segments, {expected} are expected for {points} "
                "k points"
            )
        if len(self._rows[self._at + 1]) != states:
            self._at += 1
            self._row("the first k point", states)
        k = np.empty((points, 3))
        energies = np.empty((channels, points, states))
        for point, expected in enumerate(_k_points(segments)):
            for channel in range(channels):
                k[point], energies[channel, point] = self._record(states, expected)
        return OpenMXBands(k, energies * HARTREE_EV, fermi * HARTREE_EV, reciprocal, segments)

    def _segment(self):
        row = self._row("a segment", 7, exactly=False)
        count = self._integer(row, 0, "the points of a segment", 1, MOST_POINTS)
        ends = [self._number(row, n, "the end of a segment", FARTHEST) for n in range(1, 7)]
        labels = (row[7], row[8]) if len(row) > 8 else ("", "")
        return BandSegment(count, ends[:3], ends[3:], labels)

    def _record(self, states, expected):
        """Return one k point and its energies, Hartree."""
        row = self._row("a k point", 4)
        self._integer(row, 0, "the number of states", states, states)
        k = np.array([self._number(row, n, "a k point", FARTHEST) for n in (1, 2, 3)])
        if np.abs(k - expected).max() > SAME_K:
            where = " ".join(f"{v:.6f}" for v in expected)
            raise self._wrong(f"line {row.line}: the k point of its segment is {where}")
        row = self._row("a k point", states)
        values = _plain_numbers(row)
        if values is None:  # the slow way, which names the wrong word
            values = np.array(
                [self._number(row, n, "an energy", LARGEST_ENERGY) for n in range(states)]
            )
        if (np.diff(values) < -SAME_ENERGY).any():
            state = int(np.diff(values).argmin()) + 1
            raise self._wrong(f"line {row.line}: energies {state} and {state + 1} do not ascend")
        return k, values


def _k_points(segments):
    """Yield the k points of all segments."""
    for count, start, end, _ in segments:
        steps = np.linspace(0, 1, count)[:, None] if count > 1 else np.zeros((1, 1))
        yield from (1 - steps) * start + steps * np.array(end)


def _plain_numbers(row):
    """Return the numbers of a line; None if one is out of range or none."""
    if not _PLAIN.fullmatch(" ".join(row)):
        return None
    try:
        values = np.array(row, dtype=np.float64)
    except ValueError:
        return None
    return values if np.abs(values).max() <= LARGEST_ENERGY else None
