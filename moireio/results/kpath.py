"""Paths in the Brillouin zone: their points, and the segments in the group ``/kpath``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.results.kind import ResultKind, read_schema
from moireio.store.base import Container, seal, verify, write_array


@dataclass(frozen=True, eq=False)
class KPath:
    """Points along a path in the Brillouin zone, one after another.

    Parameters
    ----------
    k : (nk, 3) array
        Fractional coordinates in the reciprocal cell.
    distance : (nk,) array
        Length of the path so far, Å⁻¹ with the 2π; a jump between two segments has none.
    label_index : (nl,) array of int
        Points that carry a label.
    labels : tuple of str
        Their labels.
    """

    k: npt.NDArray[np.float64]
    distance: npt.NDArray[np.float64]
    label_index: npt.NDArray[np.integer]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.k)

    @property
    def breaks(self) -> npt.NDArray[np.integer]:
        """Indices at which a new, unconnected segment begins."""
        moved = np.abs(np.diff(self.k, axis=0)).max(axis=1, initial=0) > 1e-9
        return np.flatnonzero(moved & (np.diff(self.distance) == 0)) + 1


@dataclass(frozen=True, eq=False)
class KPathSegments:
    """Corners of the path that an input of another program asks for, segment by segment.

    Parameters
    ----------
    points : (n, 2, 3) array
        Start and end of each segment, fractional coordinates in the reciprocal cell.
    labels : (n, 2) sequence of str
        Their labels.
    counts : (n,) array of int
        Points on each segment, both ends counted.
    """

    points: npt.NDArray[np.float64]
    labels: tuple[tuple[str, str], ...]
    counts: npt.NDArray[np.integer]

    def __len__(self) -> int:
        """Return the number of segments."""
        return len(self.counts)

    @property
    def letters(self) -> str:
        """The labels in a row, a comma at each jump: "GMK,GA"."""
        text, last = "", None
        for start, end in self.labels:
            text += end if start == last else f"{',' if text else ''}{start}{end}"
            last = end
        return text


class KPathKind(ResultKind[KPathSegments]):
    """The group ``/kpath``."""

    section = "calculation"
    named = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the group."""
        return read_schema("kpath")

    def read(self, container: Container, group: str = "kpath") -> KPathSegments:
        """Read the group; refuse arrays that do not fit together."""
        verify(container, group)
        points, labels, counts = (
            container.read(f"{group}/{n}") for n in ("points", "labels", "counts")
        )
        count = counts.size
        if labels.size != 2 * count:
            raise DamagedError(f"/{group}: labels and counts do not fit", path=container.label)
        whole = counts.ndim == 1 and counts.dtype.kind in "iu" and (counts > 0).all()
        if not whole or points.shape != (count, 2, 3):
            raise DamagedError(
                f"/{group}: points, labels and counts do not fit", path=container.label
            )
        pairs = tuple((str(start), str(end)) for start, end in labels.reshape(-1, 2))
        return KPathSegments(points, pairs, counts)

    def write(
        self, container: Container, group: str, value: KPathSegments, compression: str = "none"
    ) -> None:
        """Write the group."""
        container.create_group(group)
        points = np.asarray(value.points, dtype=np.float64)
        write_array(container, f"{group}/points", points, compression)
        write_array(container, f"{group}/labels", np.asarray(value.labels, dtype=object))
        write_array(container, f"{group}/counts", np.asarray(value.counts, dtype=np.int32))
        seal(container, group)

    def summary(self, container: Container, group: str, value: KPathSegments) -> str:
        """Return the labels in a row."""
        return value.letters

    def lines(self, group: str, summary: str) -> list[str]:
        """Return one line with the labels."""
        return [f"{group:<12} {summary}"]
