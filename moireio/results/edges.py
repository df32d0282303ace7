"""States of ribbons and edges, the groups ``/edges`` and ``/edges-NAME``."""

import json
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.results.kind import ResultKind, not_finite, read_schema
from moireio.store.base import Container, seal, verify, write_array
from moireio.store.finding import Finding
from moireio.system.structure import Structure


@dataclass(frozen=True)
class EdgeCount:
    """States of one edge that pass an energy.

    Parameters
    ----------
    net : int or None
        Right minus left movers along the periodic vector; None where they could not be counted.
    up, down : int or None
        The part of either spin (⟨σ_z⟩ above 0.1, below −0.1); None without spin.
    crossings : int
        Right plus left movers.
    k : tuple of float
        Where each passes, in the reciprocal vector of the periodic one, 0 … 1.
    """

    net: int | None
    up: int | None = None
    down: int | None = None
    crossings: int = 0
    k: tuple[float, ...] = ()


@dataclass(frozen=True)
class EdgeGap:
    """The edge states that pass one energy, beside the Chern number of the bands below it.

    Parameters
    ----------
    energy : float
        eV.
    low, high : EdgeCount
        States of either edge.
    chern : int or None
        Chern number of all bands below; None where it is unknown.
    agree : bool or None
        Whether both edges have the net number that it implies; None where it is unknown, or the
        ribbon too narrow.
    """

    energy: float
    low: EdgeCount
    high: EdgeCount
    chern: int | None = None
    agree: bool | None = None


@dataclass(frozen=True, eq=False)
class EdgeMap:
    """The weight of states at the edges of half-infinite layers.

    Parameters
    ----------
    energies : (ne,) array
        eV.
    low, high : (nk, ne) array
        States per eV in one principal layer at either edge.
    """

    energies: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EdgeStates:
    """Bands of a ribbon with their weights at its edges.

    Parameters
    ----------
    k : (nk,) array
        In the reciprocal vector of the periodic one, ascending in 0 … 1.
    energies : (nk, nb) array
        eV; of collinear spin the bands of spin up, then those of spin down. NaN, here and in the
        weights, where there are fewer states in a window. No columns where only a half-infinite
        layer was looked at.
    low, high : (nk, nb) array
        Gross populations of the quarter of the ribbon at its low and at its high edge.
    gaps : tuple of EdgeGap
        One for each energy.
    periodic, open : {0, 1, 2}
        Lattice vectors along the ribbon and across it.
    width : int or None
        Cells; None of a ribbon that was not cut, and of a half-infinite layer.
    spin : (3, nk, nb) array, optional
        ⟨σ_x⟩, ⟨σ_y⟩, ⟨σ_z⟩.
    layers : (nl, nk, nb) array, optional
        Gross populations of the layers.
    first_band : int or None
        Index (from 0) of the first band; None of the states in a window.
    period : float
        Length of the periodic vector, Å.
    semi_infinite : bool
        Whether the edges are those of half-infinite layers, by Green's functions.
    map : EdgeMap, optional
        Weights at their edges.
    """

    k: npt.NDArray[np.float64]
    energies: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    gaps: tuple[EdgeGap, ...]
    periodic: int
    open: int
    width: int | None
    spin: npt.NDArray[np.float64] | None = None
    layers: npt.NDArray[np.float64] | None = None
    first_band: int | None = 0
    period: float = 1.0
    semi_infinite: bool = False
    map: EdgeMap | None = None


REQUIRED = ("k", "energies", "low", "high")
ARRAYS = (*REQUIRED, "spin", "layers")
OPTIONAL = ("width", "first_band")
MAP = ("map_energies", "map_low", "map_high")
SCALARS = {"periodic": int, "open": int, "period": float, "semi_infinite": bool}


class EdgesKind(ResultKind[EdgeStates]):
    """The groups ``/edges`` and ``/edges-NAME``."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the group."""
        return read_schema("edges")

    def read(self, container: Container, group: str) -> EdgeStates:
        """Read everything."""
        attributes, arrays = verify(container, group), container.arrays(group)
        missing = [n for n in (*REQUIRED, "gaps") if n not in arrays]
        if missing:
            raise DamagedError(f"/{group} has no {missing[0]}", path=container.label)
        values: dict[str, Any] = {n: container.read(f"{group}/{n}") for n in ARRAYS if n in arrays}
        try:
            values |= {name: kind(attributes[name]) for name, kind in SCALARS.items()}
            for name in OPTIONAL:
                values[name] = int(attributes[name]) if name in attributes else None
            values["gaps"] = tuple(map(_gap, container.read(f"{group}/gaps")))
            drawn = [container.read(f"{group}/{n}") for n in MAP if n in arrays]
            values["map"] = EdgeMap(*drawn) if drawn else None
            edges = EdgeStates(**values)
            shape = edges.energies.shape
            sound = len(shape) == 2 and edges.k.shape == shape[:1]
            sound = sound and edges.low.shape == edges.high.shape == shape
            sound = sound and (edges.spin is None or edges.spin.shape == (3, *shape))
            sound = sound and (edges.layers is None or edges.layers.shape[1:] == shape)
            if edges.map is not None:
                size = len(edges.k), len(edges.map.energies)
                sound = sound and edges.map.low.shape == edges.map.high.shape == size
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise DamagedError(f"/{group}: its arrays do not fit together", path=container.label)
        return edges

    def write(
        self, container: Container, group: str, value: EdgeStates, compression: str = "none"
    ) -> None:
        """Write everything."""
        attributes: dict[str, Any] = {n: kind(getattr(value, n)) for n, kind in SCALARS.items()}
        numbers = {name: getattr(value, name) for name in OPTIONAL}
        attributes |= {name: int(n) for name, n in numbers.items() if n is not None}
        container.create_group(group, {"unit": "eV", **attributes})
        arrays = {name: getattr(value, name) for name in ARRAYS}
        if value.map is not None:
            arrays |= dict(zip(MAP, vars(value.map).values(), strict=True))
        for name, array in arrays.items():
            if array is not None:
                array = np.asarray(array, dtype=np.float64)
                write_array(container, f"{group}/{name}", array, compression)
        texts = np.array([json.dumps(asdict(gap)) for gap in value.gaps], dtype=object)
        write_array(container, f"{group}/gaps", texts, compression)
        seal(container, group)

    def check(
        self, container: Container, group: str, value: EdgeStates, structure: Structure | None
    ) -> list[Finding]:
        """Check that all numbers of states are finite."""
        there = np.isfinite(value.energies)
        parts = {
            name: None if array is None else np.where(there, array, 0.0)
            for name, array in (
                (n, getattr(value, n)) for n in ARRAYS if n not in ("k", "energies")
            )
        }
        return not_finite(group, SimpleNamespace(**parts, k=value.k), ("k", *parts))

    def summary(self, container: Container, group: str, value: EdgeStates) -> dict[str, Any]:
        """Return width, sizes, and the counts of every energy."""
        return {
            "open": value.open + 1,
            "width": value.width,
            "kpoints": len(value.k),
            "bands": int(value.energies.shape[1]),
            "gaps": [[g.energy, g.low.net, g.high.net, g.chern] for g in value.gaps],
        }

    def lines(self, group: str, summary: dict[str, Any]) -> list[str]:
        """Return one line."""
        of_what = "half-infinite" if not summary["bands"] else "ribbon"
        if summary["width"] is not None:
            of_what = f"{summary['width']} cells wide"
        text = f"{of_what}, {summary['kpoints']} k points, {summary['bands']} bands"
        for energy, low, high, _ in summary["gaps"]:
            text += f"; {energy:z.4f} eV: low edge {signed(low)}, high edge {signed(high)}"
        return [f"{group:<12} {text}"]


def signed(number: int | None) -> str:
    """Return a number with its sign; "?" for None."""
    return "?" if number is None else f"{number:+d}" if number else "0"


def _gap(text: str) -> EdgeGap:
    """Return the counts that one line of JSON holds."""
    values = json.loads(str(text))
    for name in ("low", "high"):
        values[name] = EdgeCount(**values[name] | {"k": tuple(values[name]["k"])})
    return EdgeGap(**values)
