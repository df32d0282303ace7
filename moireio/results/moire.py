"""How a moiré cell was built, the group ``/moire``."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.results.kind import ResultKind, read_schema
from moireio.store.base import Container, seal, verify, write_array
from moireio.store.finding import Finding
from moireio.system.structure import Structure

VECTORS = ("shift", "centre")


@dataclass(frozen=True, eq=False)
class MoireLayer:
    """How one layer lies in a moiré cell.

    A vector r of the layer by itself becomes F r with F = (1 + strain) R(angle), and the moiré
    cell has the rows ``matrix @ lattice @ F.T``.

    Parameters
    ----------
    name : str
        Name of the layer.
    lattice : (2, 2) array
        Lattice vectors of the layer before strain and rotation, Å, as rows.
    matrix : (2, 2) array of int
        Rows of the moiré cell in `lattice`.
    strain : (2, 2) array
        Symmetric tensor in the axes of the structure.
    angle : float
        Degrees, counter-clockwise seen from +z.
    turned : bool
        The layer's atoms were turned by 180 degrees before.
    shift : (2,) array
        Displacement before the rotation, Å.
    centre : (2,) array
        The rotation axis in the structure, Å.
    """

    name: str
    lattice: npt.NDArray[np.float64]
    matrix: npt.NDArray[np.integer]
    strain: npt.NDArray[np.float64]
    angle: float
    turned: bool = False
    shift: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    centre: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    @property
    def gradient(self) -> npt.NDArray[np.float64]:
        """Deformation gradient F of the layer; shape (2, 2)."""
        c, s = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        return (np.eye(2) + self.strain) @ np.array([[c, -s], [s, c]])

    @property
    def cell(self) -> npt.NDArray[np.float64]:
        """Moiré lattice vectors as rows, Å; shape (2, 2)."""
        return self.matrix @ self.lattice @ self.gradient.T

    @property
    def multiple(self) -> int:
        """Number of the layer's cells in the moiré cell."""
        (a, b), (c, d) = self.matrix
        return abs(int(a) * int(d) - int(b) * int(c))


@dataclass(frozen=True, eq=False)
class Moire:
    """How a moiré structure was built.

    Parameters
    ----------
    layers : tuple of MoireLayer
        From the bottom to the top; the entries of `Structure.layer` point here.
    place : {"first", "second", "shared", "none"}
        The layers that take the mismatch of the lattices.
    repeat : (int, int)
        Moiré cells in the structure along the first and second vector.
    open_axis : {0, 1, 2}
        Lattice vector along which a ribbon is open; 0 for none.
    """

    layers: tuple[MoireLayer, ...]
    place: str = "none"
    repeat: tuple[int, ...] = (1, 1)
    open_axis: int = 0


class MoireKind(ResultKind[Moire]):
    """The group ``/moire``."""

    section = "structure"
    named = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the group."""
        return read_schema("moire")

    def read(self, container: Container, group: str = "moire") -> Moire:
        """Read all layers, from the bottom to the top."""
        attributes = verify(container, group)
        names = sorted(container.groups(group), key=lambda name: (len(name), name))
        repeat, axis = attributes.get("repeat", [1, 1]), attributes.get("open_axis", 0)
        if axis not in (0, 1, 2) or not isinstance(repeat, list) or len(repeat) != 2:
            raise DamagedError(
                f"/{group}: open_axis is {axis} and repeat {repeat}; 0, 1 or 2 and two numbers "
                "are expected",
                path=container.label,
            )
        return Moire(
            layers=tuple(_read_layer(container, f"{group}/{name}") for name in names),
            place=str(attributes.get("place", "none")),
            repeat=tuple(int(v) for v in repeat),
            open_axis=int(axis),
        )

    def write(
        self, container: Container, group: str, value: Moire, compression: str = "none"
    ) -> None:
        """Write a group for every layer."""
        repeat, axis = [int(n) for n in value.repeat], int(value.open_axis)
        attributes: dict[str, Any] = {"place": value.place, "repeat": repeat, "open_axis": axis}
        container.create_group(group, attributes)
        for number, layer in enumerate(value.layers):
            name = f"{group}/{number}"
            vectors = {n: [float(v) for v in getattr(layer, n)] for n in VECTORS}
            container.create_group(
                name,
                {"name": layer.name, "angle": layer.angle, "turned": bool(layer.turned), **vectors},
            )
            write_array(container, f"{name}/lattice", layer.lattice)
            write_array(container, f"{name}/matrix", np.asarray(layer.matrix, dtype=np.int64))
            write_array(container, f"{name}/strain", layer.strain)
            seal(container, name)
        seal(container, group)

    def check(
        self, container: Container, group: str, value: Moire, structure: Structure | None
    ) -> list[Finding]:
        """Check that matrix, strain and angle of every layer make the cell of the structure."""
        if structure is None:
            return []
        findings = []
        for number, layer in enumerate(value.layers):
            cell = layer.cell * np.array(value.repeat)[:, None]
            rows = [n for n in (0, 1) if n + 1 != value.open_axis]
            gap = np.abs(cell[rows] - structure.cell[rows, :2]).max()
            if not gap <= 1e-8 * np.abs(structure.cell).max():
                text = f"matrix, strain and angle do not make the cell (off by {gap:.1e} Å)"
                findings.append(Finding(f"/{group}/{number}", text))
        if structure.layer is not None and structure.layer.max(initial=0) >= len(value.layers):
            findings.append(Finding(f"/{group}", "has fewer layers than /structure"))
        return findings

    def summary(self, container: Container, group: str, value: Moire) -> dict[str, Any]:
        """Return the layers, and how the cell repeats."""
        layers = [
            {
                "name": layer.name,
                "angle": layer.angle,
                "turned": layer.turned,
                "matrix": np.asarray(layer.matrix).tolist(),
                "strain": np.asarray(layer.strain).tolist(),
                "shift": layer.shift.tolist(),
            }
            for layer in value.layers
        ]
        repeat, axis = list(value.repeat), value.open_axis
        return {"layers": layers, "place": value.place, "repeat": repeat, "open_axis": axis}

    def lines(self, group: str, summary: dict[str, Any]) -> list[str]:
        """Return a line for every layer, and one where the cell repeats."""
        texts = []
        for number, layer in enumerate(summary["layers"], 1):
            rows = " ".join(f"({a} {b})" for a, b in layer["matrix"])
            text = f"layer {number:<6} {layer['name']}, {layer['angle']:.6f}°, cell {rows}"
            text += ", turned by 180°" if layer["turned"] else ""
            (xx, xy), (_, yy) = layer["strain"]
            if xx or xy or yy:
                text += f", strain xx {100 * xx:.4f} yy {100 * yy:.4f} xy {100 * xy:.4f} %"
            texts.append(text)
        axis, repeat = summary["open_axis"], summary["repeat"]
        if axis:
            texts.append(f"ribbon       {repeat[axis - 1]} cells, open along {'ab'[axis - 1]}")
        elif repeat != [1, 1]:
            texts.append("repeated     {} × {} moiré cells".format(*repeat))
        return texts


def _read_layer(container: Container, group: str) -> MoireLayer:
    values, arrays = dict(verify(container, group)), container.arrays(group)
    for name in ("lattice", "matrix", "strain"):
        if name not in arrays:
            raise DamagedError(f"/{group} has no {name}", path=container.label)
        values[name] = container.read(f"{group}/{name}")
        if values[name].shape != (2, 2):
            raise DamagedError(f"/{group}/{name} is not 2 x 2", path=container.label)
        if not np.isfinite(values[name]).all():
            text = f"/{group}/{name} has numbers that are not finite"
            raise DamagedError(text, path=container.label)
    for name in VECTORS:
        values[name] = np.asarray(values.get(name, (0.0, 0.0)), dtype=float)
        if values[name].shape != (2,) or not np.isfinite(values[name]).all():
            raise DamagedError(f"/{group}: {name} is not two finite numbers", path=container.label)
    default: dict[str, Any] = {"name": group.rpartition("/")[2], "angle": 0.0}
    names = {field.name for field in fields(MoireLayer)}
    return MoireLayer(**default | {k: v for k, v in values.items() if k in names})
