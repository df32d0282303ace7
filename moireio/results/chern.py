"""Chern numbers of groups of bands, the groups ``/chern`` and ``/chern-NAME``."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.results.kind import ResultKind, not_finite, read_schema
from moireio.store.base import Container, seal, verify, write_array
from moireio.store.finding import Finding
from moireio.system.structure import Structure


@dataclass(frozen=True, eq=False)
class ChernGroup:
    """The topology of one group of bands.

    Parameters
    ----------
    bands : (int, int)
        First and last band, numbered from 1.
    chern : int
        Chern number, counter-clockwise in the right-handed reciprocal cell.
    mesh, refined_mesh : (int, int)
        Plaquettes along the reciprocal vectors of the two meshes, which agree.
    solves : int
        Eigenproblems that were solved, for all groups of one run together.
    min_link : float
        Smallest singular value of the links of a plaquette that counts.
    max_flux : float
        Largest flux of one, without its sign.
    link : {"position", "midpoint"}
        Links with position matrices, or without, so that curvature and centres lack the
        intra-atomic dipoles.
    winding : int, optional
        From Wilson loops, with the sign that makes it equal `chern`; None if they were not
        followed.
    z2 : int, optional
        0 or 1 of a group that time reversal maps onto itself.
    chern_up, chern_down : int, optional
        Chern numbers of the two parts that P·σz·P has.
    c3_mod3 : int, optional
        −1, 0 or 1: the Chern number modulo 3 from C3 eigenvalues, where C3 holds.
    c3_mod3_up, c3_mod3_down : int, optional
        The same of the states of either spin, where there are as many up at Γ, K and K′.
    direct_gap : float, optional
        Smallest direct gap to a neighbouring band on all k points, eV; None where there is none.
    direct_gap_k : (3,) tuple of float, optional
        Where it is.
    strain : float, optional
        Largest principal strain between the layers, or of the cell in a series.
    channel : {0, 1}, optional
        Spin up or down, where spin is collinear.
    curvature : (N1, N2) array, optional
        Berry curvature, Å², the mean over each plaquette of `mesh`.
    metric : (N1, N2, 2, 2) array, optional
        Quantum metric at the middle of each plaquette, Å².
    centres : (n, nb) array, optional
        Wannier centres, units of the first periodic lattice vector.
    centres_k2 : (n,) array, optional
        Their coordinates along the second reciprocal vector.
    """

    bands: tuple[int, int]
    chern: int
    mesh: tuple[int, int]
    refined_mesh: tuple[int, int]
    solves: int
    min_link: float
    max_flux: float
    link: str
    winding: int | None = None
    z2: int | None = None
    chern_up: int | None = None
    chern_down: int | None = None
    c3_mod3: int | None = None
    c3_mod3_up: int | None = None
    c3_mod3_down: int | None = None
    direct_gap: float | None = None
    direct_gap_k: tuple[float, ...] | None = None
    strain: float | None = None
    channel: int | None = None
    curvature: npt.NDArray[np.float64] | None = None
    metric: npt.NDArray[np.float64] | None = None
    centres: npt.NDArray[np.float64] | None = None
    centres_k2: npt.NDArray[np.float64] | None = None

    @property
    def spin_chern(self) -> float | None:
        """Spin Chern number, half of C↑ − C↓; None if P·σz·P has no gap."""
        if self.chern_up is None or self.chern_down is None:
            return None
        twice = self.chern_up - self.chern_down
        return twice // 2 if twice % 2 == 0 else twice / 2


@dataclass(frozen=True, eq=False)
class ChernNumbers:
    """The topology of some groups of bands.

    Parameters
    ----------
    groups : tuple of ChernGroup
        In the order in which they were asked for; of collinear spin each twice.
    """

    groups: tuple[ChernGroup, ...]

    def of(self, bands: tuple[int, int]) -> ChernGroup | None:
        """Return the group of some bands, None if there is none.

        Parameters
        ----------
        bands : tuple of two int
            First and last band, numbered from 1.

        Returns
        -------
        ChernGroup or None
            The first one.
        """
        return next((g for g in self.groups if tuple(g.bands) == tuple(bands)), None)

    def with_strain(self, strain: float | None) -> "ChernNumbers":
        """Return the same numbers of a strained cell.

        Parameters
        ----------
        strain : float or None
            Largest principal strain.

        Returns
        -------
        ChernNumbers
            With the strain in every group.
        """
        return ChernNumbers(tuple(replace(one, strain=strain) for one in self.groups))


ARRAYS = ("curvature", "metric", "centres", "centres_k2")
OF_SPINS = ("chern_up", "chern_down", "c3_mod3_up", "c3_mod3_down")
WHOLE = ("chern", "solves", "winding", "z2", *OF_SPINS, "c3_mod3", "channel")
REAL = ("min_link", "max_flux", "direct_gap", "strain")
LISTS = ("bands", "mesh", "refined_mesh")
REQUIRED = (*LISTS, "chern", "solves", "min_link", "max_flux", "link")


class ChernKind(ResultKind[ChernNumbers]):
    """The groups ``/chern`` and ``/chern-NAME``."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the group."""
        return read_schema("chern")

    def read(self, container: Container, group: str) -> ChernNumbers:
        """Read all groups of bands."""
        verify(container, group)
        names = sorted(container.groups(group), key=lambda name: (len(name), name))
        return ChernNumbers(tuple(_read(container, f"{group}/{name}") for name in names))

    def write(
        self, container: Container, group: str, value: ChernNumbers, compression: str = "none"
    ) -> None:
        """Write a group for every group of bands; what is unknown is left out."""
        container.create_group(group, {"unit": "eV"})
        for number, one in enumerate(value.groups):
            attributes: dict[str, Any] = {"link": one.link}
            for name in LISTS:
                attributes[name] = [int(n) for n in getattr(one, name)]
            for names, kind in ((WHOLE, int), (REAL, float)):
                values = {name: getattr(one, name) for name in names}
                attributes |= {n: kind(v) for n, v in values.items() if v is not None}
            if one.direct_gap_k is not None:
                attributes["direct_gap_k"] = [float(v) for v in one.direct_gap_k]
            name = f"{group}/{number}"
            container.create_group(name, attributes)
            for array in ARRAYS:
                if getattr(one, array) is not None:
                    data = np.asarray(getattr(one, array), dtype=np.float64)
                    write_array(container, f"{name}/{array}", data, compression)
            seal(container, name)
        seal(container, group)

    def check(
        self, container: Container, group: str, value: ChernNumbers, structure: Structure | None
    ) -> list[Finding]:
        """Check that all numbers are finite."""
        return [
            finding
            for number, one in enumerate(value.groups)
            for finding in not_finite(f"{group}/{number}", one, ARRAYS)
        ]

    def summary(self, container: Container, group: str, value: ChernNumbers) -> Any:
        """Return bands, Chern number, Z2 and gap of every group."""
        return [
            {
                "bands": list(one.bands),
                "chern": one.chern,
                "z2": one.z2,
                "spin_chern": one.spin_chern,
                "mesh": list(one.mesh),
                "direct_gap": one.direct_gap,
            }
            for one in value.groups
        ]

    def lines(self, group: str, summary: Any) -> list[str]:
        """Return a line for every group of bands."""
        texts: list[str] = []
        for one in summary:
            text = "bands {} to {}: C = {}".format(*one["bands"], one["chern"])
            text += "" if one["z2"] is None else f", Z2 = {one['z2']}"
            text += "" if one["spin_chern"] is None else f", spin C = {one['spin_chern']:g}"
            gap = one["direct_gap"]
            text += "" if gap is None else f", direct gap {gap:.4f} eV"
            texts.append(f"{group if not texts else '':<12} {text}")
        return texts


def _read(container: Container, group: str) -> ChernGroup:
    attributes, arrays = verify(container, group), container.arrays(group)
    missing = [name for name in REQUIRED if name not in attributes]
    if missing:
        raise DamagedError(f"/{group} has no {missing[0]}", path=container.label)
    try:
        values: dict[str, Any] = {"link": str(attributes["link"])}
        for name in LISTS:
            first, second = (int(n) for n in attributes[name])
            values[name] = (first, second)
        values |= {name: int(attributes[name]) for name in WHOLE if name in attributes}
        values |= {name: float(attributes[name]) for name in REAL if name in attributes}
        if "direct_gap_k" in attributes:
            values["direct_gap_k"] = tuple(float(v) for v in attributes["direct_gap_k"])
        values |= {n: container.read(f"{group}/{n}") for n in ARRAYS if n in arrays}
        one = ChernGroup(**values)
        sound = len(one.direct_gap_k or (0, 0, 0)) == 3
        sound = sound and (one.curvature is None or one.curvature.shape == one.mesh)
        sound = sound and (one.metric is None or one.metric.shape == (*one.mesh, 2, 2))
        known = one.centres is not None, one.centres_k2 is not None
        sound = sound and known[0] == known[1]
        if sound and one.centres is not None and one.centres_k2 is not None:
            sound = one.centres.ndim == 2 and one.centres_k2.shape == one.centres.shape[:1]
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        text = f"/{group}: its attributes and arrays do not fit together"
        raise DamagedError(text, path=container.label)
    return one
