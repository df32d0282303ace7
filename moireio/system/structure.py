"""Atomic structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError

if TYPE_CHECKING:
    from ase import Atoms

HIGHEST_NUMBER = 118
FARTHEST = 1e7  # Å; doubles have 2e-9 Å left there


@dataclass(frozen=True, eq=False)
class Structure:
    """A periodic structure.

    Parameters
    ----------
    cell : (3, 3) array
        Lattice vectors as rows, Å.
    positions : (N, 3) array
        Cartesian positions, Å, not wrapped: the integers R of an operator refer to them as stored.
    numbers : (N,) array of int
        Atomic numbers; 0 for an empty (ghost) atom.
    species : (N,) array of int
        Index of each atom into `species_names`.
    species_names : tuple of str
        Names of the species; by default the symbols of the elements.
    pbc : (3,) array of bool
        Whether the structure is periodic along each lattice vector.
    layer : (N,) array of int, optional
        Layer of each atom, from 0 at the bottom.
    magmoms : (N,) or (N, 3) array, optional
        Magnetic moments, Bohr magnetons.

    Raises
    ------
    MoireioError
        If shapes do not fit, numbers are not finite or beyond `FARTHEST`, or the lattice vectors
        are not independent.

    Notes
    -----
    Sequences of any kind are accepted and stored as arrays.
    """

    cell: npt.NDArray[np.float64]
    positions: npt.NDArray[np.float64]
    numbers: npt.NDArray[np.int32]
    species: npt.NDArray[np.int32]
    species_names: tuple[str, ...]
    pbc: npt.NDArray[np.bool_]
    layer: npt.NDArray[np.int32] | None = None
    magmoms: npt.NDArray[np.float64] | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            cell: npt.ArrayLike,
            positions: npt.ArrayLike,
            numbers: npt.ArrayLike,
            species: npt.ArrayLike,
            species_names: Sequence[str],
            pbc: npt.ArrayLike,
            layer: npt.ArrayLike | None = None,
            magmoms: npt.ArrayLike | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Bring arrays to their stored types and check them."""
        convert = {
            "cell": np.float64,
            "positions": np.float64,
            "numbers": np.int32,
            "species": np.int32,
            "pbc": bool,
            "layer": np.int32,
            "magmoms": np.float64,
        }
        for name, dtype in convert.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, np.ascontiguousarray(value, dtype=dtype))
        object.__setattr__(self, "species_names", tuple(str(s) for s in self.species_names))
        n = len(self.numbers)
        shapes = {"cell": (3, 3), "positions": (n, 3), "numbers": (n,), "species": (n,)}
        shapes |= {"pbc": (3,)}
        if self.layer is not None:
            shapes["layer"] = (n,)
        for name, shape in shapes.items():
            actual = getattr(self, name).shape
            if actual != shape:
                raise MoireioError(f"structure: {name} has shape {actual}, expected {shape}")
        if self.magmoms is not None and self.magmoms.shape not in ((n,), (n, 3)):
            raise MoireioError(f"structure: magmoms has shape {self.magmoms.shape}")
        for name, row in (("cell", "lattice vector"), ("positions", "atom")):
            wrong = ~(np.abs(getattr(self, name)) <= FARTHEST).all(axis=1)
            if wrong.any():
                _refuse_number(row, int(wrong.argmax()), getattr(self, name))
        if abs(np.linalg.det(self.cell)) < 1e-8:
            raise MoireioError("structure: the three lattice vectors are not independent")
        if n and not (self.species.min() >= 0 and self.species.max() < len(self.species_names)):
            raise MoireioError("structure: a species index is outside species_names")
        if n and not (self.numbers.min() >= 0 and self.numbers.max() <= HIGHEST_NUMBER):
            raise MoireioError(f"structure: an atomic number is outside 0..{HIGHEST_NUMBER}")

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self.numbers)

    @property
    def reciprocal(self) -> npt.NDArray[np.float64]:
        """Reciprocal lattice vectors as rows, with the 2π, Å⁻¹; shape (3, 3)."""
        return np.asarray(2 * np.pi * np.linalg.inv(self.cell).T, dtype=np.float64)

    @property
    def species_of_atoms(self) -> list[str]:
        """Species name of each atom."""
        return [self.species_names[s] for s in self.species]

    @property
    def element_symbols(self) -> list[str]:
        """Element symbol of each atom; "X" for an empty atom."""
        from ase.data import chemical_symbols

        return [chemical_symbols[n] for n in self.numbers]

    def closest_pair(self, radius: float) -> tuple[float, int, int] | None:
        """Find the two closest atoms, if they are closer than a radius.

        Parameters
        ----------
        radius : float
            Largest distance of interest, Å.

        Returns
        -------
        (float, int, int) or None
            Distance of the two atoms in Å, and their indices; None if no two atoms are so close.
        """
        if len(self) == 0:
            return None
        from moireio.system.neighbours import crowded_pair, neighbour_list

        crowded = crowded_pair(self)
        if crowded is not None and crowded[0] < radius:
            return crowded
        i, j, d = neighbour_list(self, radius, "ijd")
        if len(d) == 0:
            return None
        nearest = int(d.argmin())
        return float(d[nearest]), int(i[nearest]), int(j[nearest])

    @property
    def formula(self) -> str:
        """Composition such as ``Mo2Te4``, species in the order of `species_names`."""
        counts = np.bincount(self.species, minlength=len(self.species_names))
        return "".join(
            f"{name}{count if count > 1 else ''}"
            for name, count in zip(self.species_names, counts, strict=True)
            if count
        )

    def to_ase(self) -> Atoms:
        """Return the structure as ``ase.Atoms``.

        Returns
        -------
        ase.Atoms
            Cell and positions in Å; the indices of species are its tags.
        """
        from ase import Atoms

        magmoms = {} if self.magmoms is None else {"magmoms": self.magmoms}
        return Atoms(
            numbers=self.numbers,
            positions=self.positions,
            cell=self.cell,
            pbc=self.pbc,
            tags=self.species,
            **magmoms,
        )

    @classmethod
    def from_ase(cls, atoms: Atoms) -> Self:
        """Make a structure from ``ase.Atoms``, one species per element.

        Parameters
        ----------
        atoms : ase.Atoms
            Any structure with three lattice vectors.

        Returns
        -------
        Structure
            Species in order of first appearance.
        """
        symbols = atoms.get_chemical_symbols()
        names = list(dict.fromkeys(symbols))
        magmoms = atoms.get_initial_magnetic_moments() if atoms.has("initial_magmoms") else None
        return cls(
            cell=np.asarray(atoms.cell),
            positions=atoms.positions,
            numbers=atoms.numbers,
            species=[names.index(s) for s in symbols],
            species_names=names,
            pbc=atoms.pbc,
            magmoms=magmoms,
        )


def _refuse_number(row: str, index: int, values: npt.NDArray[np.float64]) -> None:
    """Raise the error of a row with a number that is not finite, or too large."""
    worst = values[index][~(np.abs(values[index]) <= FARTHEST)][0]
    name = "cell contains" if row != "atom" else "positions contains"
    if not np.isfinite(worst):
        raise MoireioError(
            f"structure: {name} a number that is not finite ({row} {index})",
            remedy="correct it in the file",
        )
    raise MoireioError(
        f"structure: {row} {index} has the coordinate {worst:g} Å; beyond {FARTHEST:g} Å too few "
        "digits are left for distances",
        remedy="correct it, or move the atoms into a smaller cell",
    )
