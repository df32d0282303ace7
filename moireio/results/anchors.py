"""k points that were solved for others, with their states: ``/anchors`` and ``/anchors-NAME``."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError
from moireio.results.kind import NOT_FINITE, ResultKind, not_finite, read_schema
from moireio.runtime.memory import size_text
from moireio.store.base import Container, seal, verify, write_array
from moireio.store.finding import Finding
from moireio.system.structure import Structure


@dataclass(frozen=True, eq=False)
class KeptAnchors:
    """Levels and states at some k points, from which those at others follow.

    Parameters
    ----------
    digest : str
        Digest of the structure, H and S that they belong to.
    k : (na, 3) array
        Fractional coordinates.
    channel : (na,) array of int
        Spin channels: 0, or 1 (down) for collinear spin.
    first_band : (na,) array of int
        Index from 0 of the first level.
    energies : tuple of (nb,) arrays
        eV, ascending; each k point has its own number of levels.
    states : tuple of (n, nb) arrays, optional
        S-orthonormal, in the order of the rows of H(k) and in its phases, where they were just
        computed; those in a file are read one k point at a time, by `read_anchor`.
    changes : tuple of (n, c) arrays, optional
        Changes of states with k, in the same phases; those in a file are read by `read_changes`.
    """

    digest: str
    k: npt.NDArray[np.float64]
    channel: npt.NDArray[np.integer]
    first_band: npt.NDArray[np.integer]
    energies: tuple[npt.NDArray[np.float64], ...]
    states: tuple[npt.NDArray[Any], ...] | None = None
    changes: tuple[npt.NDArray[Any], ...] | None = None

    def __len__(self) -> int:
        """Return the number of k points."""
        return len(self.k)


class AnchorsKind(ResultKind[KeptAnchors]):
    """The groups ``/anchors`` and ``/anchors-NAME``."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the group."""
        return read_schema("anchors")

    def read(self, container: Container, group: str) -> KeptAnchors:
        """Read the energies; states stay in the file (see `read_anchor`)."""
        attributes = verify(container, group)
        k, channel, first, count, energies = (
            container.read(f"{group}/{name}")
            for name in ("k", "channel", "first_band", "count", "energies")
        )
        number = len(k)
        whole = all(a.shape == (number,) and a.dtype.kind in "iu" for a in (channel, first, count))
        sound = whole and k.shape == (number, 3) and number > 0 and "digest" in attributes
        sound = sound and energies.shape == (int(count.sum()),) and bool((count > 0).all())
        sound = sound and bool((first >= 0).all() and (channel >= 0).all() and (channel < 2).all())
        shape = container.info(f"{group}/states").shape
        if not (sound and len(shape) == 2 and shape[0] == len(energies)):
            raise DamagedError(f"/{group}: its arrays do not fit together", path=container.label)
        parts = tuple(np.split(energies, np.cumsum(count)[:-1]))
        return KeptAnchors(str(attributes["digest"]), k, channel, first, parts)

    def write(
        self, container: Container, group: str, value: KeptAnchors, compression: str = "none"
    ) -> None:
        """Write energies and states."""
        if value.states is None:
            raise MoireioError(f"the states of /{group} are not there to be written")
        container.create_group(group, {"unit": "eV", "digest": value.digest})
        counts = [len(energies) for energies in value.energies]
        arrays = {
            "k": np.asarray(value.k, dtype=float),
            "channel": np.asarray(value.channel, dtype=np.int32),
            "first_band": np.asarray(value.first_band, dtype=np.int64),
            "count": np.asarray(counts, dtype=np.int64),
            "energies": np.concatenate(value.energies),
        }
        for name, array in arrays.items():
            write_array(container, f"{group}/{name}", array, compression)
        shape = sum(counts), len(value.states[0])
        container.create_array(f"{group}/states", shape, np.complex128, compression)
        row = 0
        for states in value.states:  # level by level, so that each k point can be read by itself
            levels = np.ascontiguousarray(states.T, dtype=np.complex128)
            container.write(f"{group}/states", levels, row, axis=0)
            row += len(levels)
        for number, changes in enumerate(value.changes or ()):
            if changes.size:
                name = f"{group}/changes_{number:04d}"
                write_array(container, name, changes.T.astype(np.complex128), compression)
        seal(container, group)

    def check(
        self, container: Container, group: str, value: KeptAnchors, structure: Structure | None
    ) -> list[Finding]:
        """Check that all numbers are finite, those of the states too."""
        findings = not_finite(group, value, ("k",))
        if not all(np.isfinite(energies).all() for energies in value.energies):
            findings.append(Finding(f"/{group}/energies", NOT_FINITE))
        where = f"/{group}/states"
        try:
            for number in range(len(value)):
                if not np.isfinite(read_anchor(container, group, value, number)).all():
                    return [*findings, Finding(where, NOT_FINITE)]
        except MoireioError as error:
            findings.append(Finding(where, error.what))
        return findings

    def summary(self, container: Container, group: str, value: KeptAnchors) -> dict[str, Any]:
        """Return sizes, and which bands there are."""
        last = [first + len(e) for first, e in zip(value.first_band, value.energies, strict=True)]
        return {
            "k_points": len(value),
            "spins": len(set(value.channel.tolist())),
            "first_band": int(value.first_band.min()) + 1,
            "last_band": int(max(last)),
            "orbitals": int(container.info(f"{group}/states").shape[1]),
            "bytes": container.stored_bytes(f"{group}/states"),
        }

    def lines(self, group: str, summary: dict[str, Any]) -> list[str]:
        """Return a line."""
        spins = " (spin up and down)" if summary["spins"] == 2 else ""
        text = f"states of bands {summary['first_band']} to {summary['last_band']}{spins} at "
        text += f"{summary['k_points']} k points, {summary['orbitals']} orbitals, "
        return [f"{group:<12} {text}{size_text(summary['bytes'])}"]


def read_changes(
    container: Container, group: str, number: int
) -> npt.NDArray[np.complex128] | None:
    """Return how states at one of the k points that were kept change with k.

    Parameters
    ----------
    container : Container
        Open for reading.
    group : str
        Such as "anchors".
    number : int
        Which k point, from 0.

    Returns
    -------
    (n, c) complex array or None
        None if they were not kept.
    """
    name = f"changes_{number:04d}"
    if name not in container.arrays(group):
        return None
    found = container.read(f"{group}/{name}")
    if found.ndim != 2 or found.shape[1] != container.info(f"{group}/states").shape[1]:
        raise DamagedError(f"/{group}/{name} does not fit the states", path=container.label)
    return found.T


def read_anchor(
    container: Container, group: str, anchors: KeptAnchors, number: int
) -> npt.NDArray[np.complex128]:
    """Return the states at one of the k points that were kept.

    Parameters
    ----------
    container : Container
        Open for reading.
    group : str
        Such as "anchors".
    anchors : KeptAnchors
        As it is stored there.
    number : int
        Which k point, from 0.

    Returns
    -------
    (n, nb) complex array
        S-orthonormal, a column for every level; in the order of the rows of H(k) and with its
        phases, exp(2πi k·R).

    Raises
    ------
    MoireioError
        If there is no such k point.
    """
    if not 0 <= number < len(anchors):
        raise MoireioError(f"/{group} has no k point {number}", path=container.label)
    start = sum(len(energies) for energies in anchors.energies[:number])
    stop = start + len(anchors.energies[number])
    states = container.read(f"{group}/states", start, stop, axis=0)
    if states.ndim != 2 or len(states) != stop - start:
        raise DamagedError(f"/{group}: its states do not fit its energies", path=container.label)
    return states.T
