"""Everything in a ``.scfout`` but its matrices, and the checks that its redundancy allows."""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError
from moireio.formats.openmx import dat as openmx_dat
from moireio.units import BOHR_ANGSTROM

VERSIONS = {0: "3.7 or 3.8", 3: "3.9 or 4.0"}  # OpenMX, by layout
SPINS = {0: "none", 1: "collinear", 3: "spinor"}
LINE_BYTES = 256
LARGEST_FERMI = 10.0  # Hartree
LARGEST_LENGTH = 1e6  # Bohr


@dataclass(frozen=True, eq=False)
class Header:
    """The numbers before and after the matrices, in the file's units (Bohr, Hartree).

    Parameters
    ----------
    path : str
        The file.
    byte_order : {"=", "<", ">"}
        "=" where the file has the machine's order.
    layout : int
        0 or 3.
    switch : int
        SpinP_switch: 0, 1 or 3.
    order_max : int
        Powers of the position operator that are stored.
    orbitals : (N,) array of int64
        Orbitals of every atom.
    pair_i, pair_j : (p,) arrays of int64
        Atoms of the blocks, from 0, in the order of the file.
    pair_R : (p, 3) array of int64
        Their cells.
    cell : (3, 3) array
        Rows.
    positions : (N, 3) array
        Cartesian.
    matrix_start, matrix_bytes, matrix_end : int
        Where the matrices begin, the length of each, and where they end.
    tail_end : int
        Where the appended text ends.
    fermi, temperature, electron_count, total_spin : float
        Values from the tail.
    text : str
        The appended input text; empty where there is none.
    """

    path: str
    byte_order: str
    layout: int
    switch: int
    order_max: int
    orbitals: npt.NDArray[np.int64]
    pair_i: npt.NDArray[np.int64]
    pair_j: npt.NDArray[np.int64]
    pair_R: npt.NDArray[np.int64]
    cell: npt.NDArray[np.float64]
    positions: npt.NDArray[np.float64]
    matrix_start: int
    matrix_bytes: int
    matrix_end: int
    tail_end: int
    fermi: float
    temperature: float
    electron_count: float
    total_spin: float
    text: str

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.orbitals)

    @property
    def spin(self) -> str:
        """Spin of H: "none", "collinear" or "spinor"."""
        return SPINS[self.switch]

    def matrices_of(self, operator: str) -> list[int]:
        """Return the matrices of the file that make up an operator, in the order of use.

        Parameters
        ----------
        operator : str
            "hamiltonian", "overlap", "position", "momentum" or "density".

        Returns
        -------
        list of int
            Numbers of the matrices from 0; a spinor's real parts come before its imaginary.
        """
        spins = self.switch + 1
        h = list(range(spins + (3 if self.switch == 3 else 0)))
        s = len(h)
        powers = self.order_max if self.layout else 1
        position = [s + 1 + axis * powers for axis in range(3)]
        at = s + 1 + 3 * powers
        momentum = [at, at + 1, at + 2] if self.layout == 3 else []
        at += len(momentum)
        density = list(range(at, at + spins))
        if self.switch == 3 and self.layout == 3:
            density += [at + spins, at + spins + 1]
        return {
            "hamiltonian": h,
            "overlap": [s],
            "position": position,
            "momentum": momentum,
            "density": density,
        }[operator]

    def input_text(
        self, dat: str | os.PathLike[str] | None = None, check_coordinates: bool = True
    ) -> tuple[openmx_dat.OpenMXInput, list[str], bool]:
        """Return the parsed input text, compared with the header.

        Parameters
        ----------
        dat : str or path-like, optional
            A file to use instead of the appended text.
        check_coordinates : bool
            Compare cell and positions.

        Returns
        -------
        text : moireio.formats.openmx.dat.OpenMXInput
            The text.
        notes : list of str
            What could not be verified.
        verified : bool
            Whether cell and positions are those of the text.

        Raises
        ------
        MoireioError
            If there is no text.
        DamagedError
            If text and header disagree.
        """
        if dat is not None:
            text = openmx_dat.read(dat)
        elif self.text.strip():
            text = openmx_dat.parse(self.text, self.path)
        else:
            raise MoireioError(
                "carries no input text, so its species are unknown",
                path=self.path,
                remedy="give the input file as `dat`",
            )
        if len(text.symbols) != self.n_atoms:
            raise DamagedError(
                f"has {self.n_atoms} atoms, but its input text {len(text.symbols)}",
                path=self.path,
                remedy="give the right input file as `dat`" if dat else None,
            )
        if text.spin is not None and text.spin != self.spin:
            raise DamagedError(
                f"has spin {self.spin}, but its input text {text.spin}", path=self.path
            )
        temperature = text.keywords.number("scf.ElectronicTemperature", 300.0)
        if dat is None and abs(temperature - self.temperature) > 1e-6 * max(1.0, temperature):
            raise DamagedError(
                f"has an electronic temperature of {self.temperature:g} K, but its input text "
                f"{temperature:g} K",
                path=self.path,
            )
        notes = []
        expected = float(text.charges.sum()) - text.system_charge
        if len(text.charges) and abs(expected - self.electron_count) > 1e-6:
            notes.append(
                f"it counts {self.electron_count:g} electrons, the initial charges of its input "
                f"text add up to {expected:g}: the valence of its species is left unknown"
            )
        if not check_coordinates:
            notes.append("cell and positions were not compared with the input text")
            return text, notes, False
        more = self._compare(text)
        return text, notes + more, not more

    def _compare(self, text):
        """Compare cell and positions with those of the text; return what is not verified.

        The text is that with which the calculation began. Where ``MD.Type`` moves atoms or cell,
        a difference is no damage.
        """
        notes, moved = [], []
        if text.cell is None:
            notes.append("the low digits of the cell could not be verified (not in the text)")
        if text.positions is None:
            notes.append("the low digits of the positions could not be verified")
        cell = self.cell * BOHR_ANGSTROM
        # The text of the file itself is what OpenMX read; another may have fewer digits.
        rounding = max(1e-9, 1e-11 * np.abs(cell).max())
        digits = 0.51 * text.digits * (text.label != self.path)
        if text.cell is not None:
            gap = float(np.abs(cell - text.cell).max())
            if not gap <= rounding + digits.max(initial=0.0):
                moved.append(("the cell", gap))
        if text.positions is not None:
            shift = (self.positions * BOHR_ANGSTROM - text.positions) @ np.linalg.inv(cell)
            gaps = np.abs((shift - np.rint(shift)) @ cell)
            excess = (gaps - digits).max(axis=1)
            atom = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
            if not excess[atom] <= rounding:
                moved.append((f"the position of atom {atom + 1}", float(gaps[atom].max())))
        if not moved:
            return notes
        where = "of its input text" + ("" if text.label == self.path else f" {text.label}")
        (what, gap), *_ = moved
        if text.motion == "nomd":
            raise DamagedError(
                f"{what} differs from that {where} by {gap:.1e} Å",
                path=self.path,
                remedy="if the text is from before a relaxation, see `check_coordinates`",
            )
        largest = ", ".join(f"{what} by {gap:.2g} Å" for what, gap in moved)
        notes.append(
            f"MD.Type is {text.motion[:30]}: cell and positions are the last ones, those {where} "
            f"the first ({largest})"
        )
        return notes


class _Cursor:
    """Reads numbers one after another and refuses to pass the end."""

    def __init__(self, data, path, order):
        self.data, self.path, self.order, self.at = data, path, order, 0

    def array(self, kind, count, what):
        dtype = np.dtype(self.order + kind)
        size = dtype.itemsize * count
        if count < 0 or self.at + size > len(self.data):
            raise DamagedError(
                f"is cut short or damaged: {what} would end at byte {self.at + size}, the file "
                f"has {len(self.data)}",
                path=self.path,
                remedy="was the disk full, or OpenMX still writing?",
            )
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += size
        return values.astype(np.int64 if kind == "i4" else np.float64)


def read_header(data: mmap.mmap | bytes, path: str) -> Header:
    """Read and check everything but the matrices.

    Parameters
    ----------
    data : buffer
        The bytes of the file, as a memory map.
    path : str
        Its name, for messages.

    Returns
    -------
    Header
        Consistent in itself.

    Raises
    ------
    DamagedError
        If the file is cut short, of an unknown version, or contradicts itself.
    """
    order = _byte_order(data, path)
    cursor = _Cursor(data, path, order)

    def wrong(what):
        return DamagedError(what, path=path, remedy="is this an OpenMX .scfout, undamaged?")

    n_atoms, code, *_, n_cells = cursor.array("i4", 6, "the first record").tolist()
    layout, switch = divmod(code, 4)
    if layout not in (0, 3):
        what = f"has layout {layout}, this reader knows 0 (OpenMX 3.7, 3.8) and 3 (3.9, 4.0)"
        raise DamagedError(what, path=path, remedy="make it with one of these versions")
    if switch not in SPINS or n_atoms < 1 or n_cells < 0:
        raise wrong(f"is damaged: {n_atoms} atoms, spin switch {switch}, {n_cells} cells")
    order_max = int(cursor.array("i4", 1, "order_max")[0]) if layout else 1
    if not 1 <= order_max <= 20:
        raise wrong(f"is damaged: order_max = {order_max}")
    vectors = cursor.array("f8", 4 * (n_cells + 1), "the cell translations").reshape(-1, 4)[:, 1:]
    triples = cursor.array("i4", 4 * (n_cells + 1), "the cell indices").reshape(-1, 4)[:, 1:]
    orbitals = cursor.array("i4", n_atoms, "the orbital counts")
    neighbours = cursor.array("i4", n_atoms, "the neighbour counts")
    if orbitals.min() < 1 or orbitals.max() > 10_000 or neighbours.min() < 0:
        raise wrong("is damaged: an orbital or neighbour count is out of range")
    total = int(neighbours.sum()) + n_atoms
    pair_j = cursor.array("i4", total, "the neighbour lists") - 1
    cell_index = cursor.array("i4", total, "the neighbours' cells")
    pair_i = np.repeat(np.arange(n_atoms), neighbours + 1)
    first = np.cumsum(neighbours + 1) - (neighbours + 1)
    if pair_j.min() < 0 or pair_j.max() >= n_atoms:
        raise wrong("is damaged: a neighbour list names an atom that does not exist")
    if cell_index.min() < 0 or cell_index.max() > n_cells:
        raise wrong("is damaged: a neighbour list names a cell that does not exist")
    pair_R = triples[cell_index]
    if (pair_j[first] != np.arange(n_atoms)).any() or pair_R[first].any():
        raise wrong("is damaged: an atom is not its own first neighbour")
    cell = cursor.array("f8", 12, "the cell").reshape(3, 4)[:, 1:]
    reciprocal = cursor.array("f8", 12, "the reciprocal cell").reshape(3, 4)[:, 1:]
    positions = cursor.array("f8", 4 * n_atoms, "the positions").reshape(-1, 4)[:, 1:]
    _check_geometry(cell, reciprocal, positions, vectors, triples, wrong)
    elements = int((orbitals[pair_i] * orbitals[pair_j]).sum())
    spins = switch + 1
    count = spins + (3 if switch == 3 else 0) + 1 + 3 * order_max + spins
    count += 5 if layout == 3 else 0
    matrix_start, matrix_bytes = cursor.at, 8 * elements
    cursor.at += count * matrix_bytes
    matrix_end = cursor.at
    tail = _read_tail(cursor, int(orbitals.sum()), wrong)
    return Header(
        path=path,
        byte_order=order,
        layout=layout,
        switch=switch,
        order_max=order_max,
        orbitals=orbitals,
        pair_i=pair_i,
        pair_j=pair_j,
        pair_R=pair_R,
        cell=cell,
        positions=positions,
        matrix_start=matrix_start,
        matrix_bytes=matrix_bytes,
        matrix_end=matrix_end,
        tail_end=cursor.at,
        **tail,
    )


def _byte_order(data, path):
    """Return the byte order in which the counts of the first record fit the file."""
    if len(data) < 24:
        raise DamagedError(f"is cut short: {len(data)} bytes", path=path)
    orders = ("=", ">" if np.dtype("<i4").isnative else "<")
    small = [o for o in orders if 0 <= struct.unpack(o + "6i", data[:24])[1] < 4 * 64]
    for order in small:
        n_atoms, *_, n_cells = struct.unpack(order + "6i", data[:24])
        if 1 <= n_atoms <= len(data) // 40 and 0 <= n_cells <= len(data) // 48:
            return order
    if small:
        return small[0]  # the counts are wrong, which the reader reports
    raise DamagedError(
        "is not an OpenMX .scfout: its second number is no spin switch",
        path=path,
        remedy="openmx2h5 reads the .scfout that OpenMX writes with HS.fileout on",
    )


def _check_geometry(cell, reciprocal, positions, vectors, triples, wrong):
    for what, values in (
        ("a lattice vector", cell),
        ("the position of an atom", positions),
        ("a translation", vectors),
    ):
        bad = ~(np.abs(values) <= LARGEST_LENGTH)
        if bad.any():
            row, axis = np.argwhere(bad)[0]
            raise wrong(
                f"is damaged: {what} ({row + 1}, {'xyz'[axis]}) is {values[row, axis]:g} Bohr, "
                f"up to {LARGEST_LENGTH:g} is expected"
            )
    with np.errstate(all="ignore"):
        product = cell @ reciprocal.T - 2 * np.pi * np.eye(3)
        if not np.abs(product).max() < 1e-7:
            raise wrong("is damaged: cell and reciprocal cell do not belong together")
        gap = np.abs(triples @ cell - vectors).max()
    if not gap < 1e-6 * max(1.0, np.abs(cell).max()):
        raise wrong("is damaged: the cell translations are not multiples of the cell")


def _read_tail(cursor, n_orbitals, wrong):
    if cursor.at + 88 > len(cursor.data):
        raise DamagedError(
            f"is cut short or damaged: matrices and Fermi level would end at byte "
            f"{cursor.at + 88}, the file has {len(cursor.data)}",
            path=cursor.path,
            remedy="was the disk full, or OpenMX still writing?",
        )
    solver = int(cursor.array("i4", 1, "the solver")[0])
    numbers = cursor.array("f8", 10, "the energies")
    lines = int(cursor.array("i4", 1, "the number of lines")[0])
    fermi, temperature, electrons, spin = numbers[[0, 1, 8, 9]].tolist()
    most = 2.0 * n_orbitals
    ranges = {
        "the solver's number": (solver, 0, 100),
        "the Fermi level (Hartree)": (fermi, -LARGEST_FERMI, LARGEST_FERMI),
        "the temperature (K)": (temperature, 0, 1e7),
        "a dipole moment": (float(np.abs(numbers[2:8]).max()), 0, 1e12),
        "the number of electrons": (electrons, 0, most),
        "the total spin": (spin, -most, most),
        "the number of lines of text": (lines, 0, 10_000_000),
    }
    for what, (value, smallest, largest) in ranges.items():
        if not smallest <= value <= largest:
            raise wrong(
                f"is damaged: behind the matrices {what} is {value:g}, "
                f"{smallest:g} to {largest:g} is expected"
            )
    raw = cursor.array("u1", LINE_BYTES * lines, "the input text") if lines else np.zeros(0)
    records = raw.astype(np.uint8).tobytes()
    text = [
        records[at : at + LINE_BYTES].split(b"\0")[0].decode("utf-8", "replace").rstrip("\r\n")
        for at in range(0, len(records), LINE_BYTES)
    ]
    return {
        "fermi": fermi,
        "temperature": temperature,
        "electron_count": electrons,
        "total_spin": spin,
        "text": "\n".join(text),
    }
