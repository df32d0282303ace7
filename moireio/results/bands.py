"""Energies along a path, the groups ``/bands`` and ``/bands-NAME``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError
from moireio.results.kind import NOT_FINITE, ResultKind, not_finite, read_schema
from moireio.results.kpath import KPath
from moireio.store.base import Container, seal, verify, write_array
from moireio.store.finding import Finding
from moireio.system.structure import Structure

NAMES = {"fermi": "Fermi level", "vbm": "valence band maximum"}


def named_energy(level: str | float, **energies: float | None) -> float:
    """Return the energy that a named level has.

    Parameters
    ----------
    level : {"fermi", "vbm", "none"} or float
        A name, or an energy in eV.
    **energies : float or None
        Energy of each named level, eV; None where it is unknown.

    Returns
    -------
    float
        eV.

    Raises
    ------
    MoireioError
        If that level is unknown.
    """
    if level == "none":
        return 0.0
    if level not in NAMES:
        return float(level)
    energy = energies[str(level)]
    if energy is None:
        others = "vbm or none" if level == "fermi" else "none"
        raise MoireioError(f"the {NAMES[str(level)]} is unknown", remedy=f"use `zero` {others}")
    return energy


@dataclass(frozen=True, eq=False)
class BandAccuracy:
    """How energies were found, and how accurate they are.

    Parameters
    ----------
    method : {"anchored", "direct"}
        From the states at a few k points, the anchors, or at every k point by itself.
    bounds : (ns, nk, nb) array
        On the errors of energies, eV; 0 where a k point was solved directly.
    counted : (ns, nk) array of int
        Levels below the first band where they were counted, −1 elsewhere.
    anchors : (na, 3) array
        k points of the anchors, fractional.
    factorisations : int
        k points that were solved directly, and counts of levels at others, of all spin channels.
    tolerance : float
        Largest bound that was wanted, eV.
    """

    method: str
    bounds: npt.NDArray[np.float64]
    counted: npt.NDArray[np.integer]
    anchors: npt.NDArray[np.float64]
    factorisations: int
    tolerance: float

    @property
    def max_bound(self) -> float:
        """Largest bound, eV."""
        return float(self.bounds.max(initial=0))


@dataclass(frozen=True, eq=False)
class BandStructure:
    """Energies along a path or at a list of k points.

    Parameters
    ----------
    path : KPath
        The k points.
    energies : (ns, nk, nb) array
        eV, ascending; ns = 2 for collinear spin (up, down), else 1.
    fermi : float, optional
        Fermi level, eV.
    electrons : float, optional
        Valence electrons in the cell.
    spinor : bool
        Whether a band holds one electron (spinors) or two.
    first_band : int
        Index from 0 of the lowest band that is kept.
    source : str
        Where the Hamiltonian came from: "dft", "model", …
    states : (ns, nk, nb, n) array, optional
        S-orthonormal states, complex, in the order of the rows of H(k) and in its phases, where
        they were just computed; those in a file are read one k point at a time, by `read_states`.
    accuracy : BandAccuracy, optional
        How the energies were found.
    """

    path: KPath
    energies: npt.NDArray[np.float64]
    fermi: float | None = None
    electrons: float | None = None
    spinor: bool = False
    first_band: int = 0
    source: str = "dft"
    states: npt.NDArray[np.complex128] | None = None
    accuracy: BandAccuracy | None = None

    def vbm(self) -> float:
        """Return the valence band maximum of an insulator, eV.

        Returns
        -------
        float
            Maximum over k of the last occupied band.

        Raises
        ------
        MoireioError
            If the number of electrons is unknown, or the band is not among those kept.
        """
        if self.electrons is None:
            raise MoireioError("the valence band maximum needs the number of electrons")
        if len(self.energies) == 2:
            if self.first_band:
                raise MoireioError(
                    "the valence band maximum of collinear spin needs the bands from the lowest"
                )
            return float(self._sorted()[:, round(self.electrons) - 1].max())
        filled = self.electrons if self.spinor else self.electrons / 2
        index = round(filled) - 1 - self.first_band
        if not 0 <= index < self.energies.shape[2]:
            raise MoireioError("the last occupied band is not among the bands that were kept")
        return float(self.energies[0, :, index].max())

    def _sorted(self) -> npt.NDArray[np.float64]:
        """Return the levels of both spins at every k point, ascending; shape (nk, ns·nb)."""
        return np.sort(np.concatenate(list(self.energies), axis=1), axis=1)

    def edges(self) -> tuple[float, float] | None:
        """Return the highest energy of the last filled band and the lowest of the next, eV.

        Returns
        -------
        (float, float) or None
            On these k points; the second is below the first where the bands overlap. None if the
            number of electrons is unknown, fills no whole bands, or one of the two is not kept.
        """
        if self.electrons is None or (len(self.energies) == 2 and self.first_band):
            return None
        filled = self.electrons / (1 if self.spinor or len(self.energies) == 2 else 2)
        index = round(filled) - self.first_band
        levels = self._sorted()
        if abs(filled - round(filled)) > 1e-6 or not 0 < index < levels.shape[1] or not len(levels):
            return None
        return float(levels[:, index - 1].max()), float(levels[:, index].min())

    def zero(self, level: str | float) -> float:
        """Return the energy that a named level has, eV.

        Parameters
        ----------
        level : {"fermi", "vbm", "none"} or float
            Fermi level, valence band maximum, no shift, or an energy in eV.

        Returns
        -------
        float
            The energy to subtract.

        Raises
        ------
        MoireioError
            If that level is unknown.
        """
        if level == "vbm":
            return self.vbm()
        return named_energy(level, fermi=self.fermi)


class BandsKind(ResultKind[BandStructure]):
    """The groups ``/bands`` and ``/bands-NAME``."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the group."""
        return read_schema("bands")

    def read(self, container: Container, group: str) -> BandStructure:
        """Read the energies; states stay in the file (see `read_states`)."""
        attributes, read = verify(container, group), container.read
        path = KPath(
            read(f"{group}/k"),
            read(f"{group}/distance"),
            read(f"{group}/label_index"),
            tuple(read(f"{group}/labels")),
        )
        energies, nk = read(f"{group}/energies"), len(path.k)
        index = np.asarray(path.label_index)
        sound = energies.ndim == 3 and len(energies) in (1, 2) and energies.shape[1] == nk
        sound = sound and path.k.shape == (nk, 3) and path.distance.shape == (nk,)
        sound = sound and index.shape == (len(path.labels),) and index.dtype.kind in "iu"
        sound = sound and bool((index >= 0).all() and (index < nk).all())
        try:
            numbers: dict[str, Any] = {
                n: float(attributes[n]) for n in ("fermi", "electrons") if n in attributes
            }
            first = int(attributes.get("first_band", 0))
        except (TypeError, ValueError, OverflowError):
            sound = False
        if not sound:
            raise DamagedError(f"/{group}: its arrays do not fit together", path=container.label)
        return BandStructure(
            path,
            energies,
            spinor=bool(attributes.get("spinor", False)),
            first_band=first,
            source=str(attributes.get("source", "dft")),
            accuracy=_accuracy(container, group, attributes, energies),
            **numbers,
        )

    def write(
        self, container: Container, group: str, value: BandStructure, compression: str = "none"
    ) -> None:
        """Write energies, and states where there are some."""
        attributes = {
            "unit": "eV",
            "fermi": value.fermi,
            "electrons": value.electrons,
            "spinor": value.spinor,
            "first_band": int(value.first_band),
            "source": value.source,
        }
        accuracy = value.accuracy
        if accuracy is not None:
            attributes |= {
                "method": accuracy.method,
                "factorisations": int(accuracy.factorisations),
                "tolerance": float(accuracy.tolerance),
                "max_bound": accuracy.max_bound,
            }
        container.create_group(group, {k: v for k, v in attributes.items() if v is not None})
        arrays: dict[str, npt.NDArray[Any]] = {
            "k": value.path.k,
            "distance": value.path.distance,
            "label_index": np.asarray(value.path.label_index, dtype=np.int32),
            "labels": np.asarray(value.path.labels, dtype=object),
            "energies": value.energies,
        }
        if accuracy is not None:
            arrays["bounds"] = accuracy.bounds
            arrays["counted"] = np.asarray(accuracy.counted, dtype=np.int64)
            arrays["anchors"] = np.asarray(accuracy.anchors, dtype=float).reshape(-1, 3)
        if value.states is not None:
            # one k point after another, so that each can be read by itself
            arrays["states"] = value.states.reshape(-1, *value.states.shape[2:])
        for name, array in arrays.items():
            write_array(container, f"{group}/{name}", array, compression)
        seal(container, group)

    def check(
        self, container: Container, group: str, value: BandStructure, structure: Structure | None
    ) -> list[Finding]:
        """Check that all numbers are finite, those of the states too."""
        findings = not_finite(group, value.path, ("k", "distance"))
        findings += not_finite(group, value, ("energies",))
        if not has_states(container, group):
            return findings
        where = f"/{group}/states"
        try:
            for channel, energies in enumerate(value.energies):
                for point in range(len(energies)):
                    states = read_states(container, group, value, point, channel)
                    if not np.isfinite(states).all():
                        return [*findings, Finding(where, NOT_FINITE)]
        except MoireioError as error:
            findings.append(Finding(where, error.what))
        return findings

    def summary(self, container: Container, group: str, value: BandStructure) -> dict[str, Any]:
        """Return sizes, the letters of the path, and energies: range, Fermi level, edges, gap."""
        letters, breaks = "", set(value.path.breaks.tolist())
        for index, label in zip(value.path.label_index.tolist(), value.path.labels, strict=True):
            letters += f",{label}" if index in breaks else label
        edges = value.edges()
        return {
            "k_points": len(value.path),
            "bands": int(value.energies.shape[2]),
            "spins": int(value.energies.shape[0]),
            "path": letters,
            "lowest": float(np.min(value.energies)),
            "highest": float(np.max(value.energies)),
            "fermi": value.fermi,
            "electrons": value.electrons,
            "vbm": None if edges is None else edges[0],
            "cbm": None if edges is None else edges[1],
            "gap": None if edges is None else max(0.0, edges[1] - edges[0]),
            "states": has_states(container, group),
        }

    def lines(self, group: str, summary: dict[str, Any]) -> list[str]:
        """Return a line, and one of the Fermi level and the gap where they are known."""
        spins = " (spin up and down)" if summary["spins"] == 2 else ""
        text = f"{summary['path']}, {summary['k_points']} k points, {summary['bands']} bands{spins}"
        text += f", {summary['lowest']:z.4f} … {summary['highest']:z.4f} eV"
        lines = [f"{group:<12} {text}" + (", with states" if summary["states"] else "")]
        vbm, cbm, fermi = (summary[name] for name in ("vbm", "cbm", "fermi"))
        parts = [] if fermi is None else [f"Fermi level {fermi:z.4f} eV"]
        if vbm is not None:
            parts += [f"VBM {vbm:z.4f} eV", f"CBM {cbm:z.4f} eV"]
            overlap = f"no gap: they overlap by {vbm - cbm:.4f} eV"
            parts.append(f"gap {cbm - vbm:.4f} eV on this path" if cbm > vbm else overlap)
        return [*lines, f"{'':12} {', '.join(parts)}"] if parts else lines


def _accuracy(
    container: Container, group: str, attributes: Mapping[str, Any], energies: npt.NDArray
) -> BandAccuracy | None:
    """Return how energies of a file were found; None in files of earlier versions."""
    if "method" not in attributes:
        return None
    bounds, counted, anchors = (
        container.read(f"{group}/{name}") for name in ("bounds", "counted", "anchors")
    )
    sound = bounds.shape == energies.shape and counted.shape == energies.shape[:2]
    if not (sound and anchors.ndim == 2 and anchors.shape[1] == 3):
        raise DamagedError(f"/{group}: its arrays do not fit together", path=container.label)
    try:
        factorisations = int(attributes["factorisations"])
        tolerance = float(attributes["tolerance"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DamagedError(f"/{group} lacks attributes", path=container.label) from None
    method = str(attributes["method"])
    return BandAccuracy(method, bounds, counted, anchors, factorisations, tolerance)


def has_states(container: Container, group: str) -> bool:
    """Return whether states were kept with bands.

    Parameters
    ----------
    container : Container
        Open for reading.
    group : str
        The bands' group.

    Returns
    -------
    bool
        Whether `read_states` gives them.
    """
    return "states" in container.arrays(group)


def read_states(
    container: Container, group: str, bands: BandStructure, point: int, channel: int = 0
) -> npt.NDArray[np.complex128]:
    """Return the states that belong to stored bands, at one k point.

    Parameters
    ----------
    container : Container
        Open for reading.
    group : str
        The bands' group.
    bands : BandStructure
        As it is stored there.
    point : int
        Number of the k point on the path, from 0.
    channel : int
        0 (up) or 1 (down) for collinear spin.

    Returns
    -------
    (n, nb) complex array
        S-orthonormal, a column for every band that is kept; in the order of the rows of H(k) and
        with its phases, exp(2πi k·R).

    Raises
    ------
    MoireioError
        If no states were kept, or there is no such k point.
    """
    if not has_states(container, group):
        raise MoireioError(
            f"/{group} has no states",
            path=container.label,
            remedy="compute the bands with `states`",
        )
    ns, nk, nb = bands.energies.shape
    if not (0 <= channel < ns and 0 <= point < nk):
        raise MoireioError(f"/{group} has no k point {point}, spin {channel}", path=container.label)
    row = channel * nk + point
    states = container.read(f"{group}/states", row, row + 1, axis=0)
    if states.ndim != 3 or states.shape[:2] != (1, nb):
        raise DamagedError(f"/{group}: its states do not fit its energies", path=container.label)
    return states[0].T
