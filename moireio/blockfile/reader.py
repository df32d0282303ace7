"""The block file, open for reading."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Collection
from dataclasses import fields
from functools import cached_property
from numbers import Real
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from moireio.blockfile.operator import Operator
from moireio.errors import DamagedError, MoireioError
from moireio.operators.catalogue import CATALOGUE, operator_names, operator_type
from moireio.results.electrons import Electrons
from moireio.results.registry import require_kind
from moireio.store.base import Container, verify
from moireio.store.containers import open_container
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure
from moireio.units import Constants

if TYPE_CHECKING:
    from moireio.results.bands import BandStructure
    from moireio.results.dos import DensityOfStates
    from moireio.results.history import HistoryEntry
    from moireio.results.kpath import KPathSegments
    from moireio.results.moire import Moire

FORMAT = "moireio"
EARLIER = "a command that writes it comes earlier in the pipeline"
#: How a file comes by the groups that most commands need.
ADDED_BY = {
    "structure": "build-twist, openmx2h5 and overlap make files that have one",
    "basis": "add it: overlap FILE | …",
    "overlap": "add it: overlap FILE | …",
    "hamiltonian": "add it: overlap FILE | predict-h | …, or tb-h -m MODEL FILE | …",
}
FORMAT_VERSION = "1.1"
VERSION = re.compile(r"[1-9][0-9]{0,5}\.(0|[1-9][0-9]{0,5})")


class BlockFile:
    """An open block file.

    Made by `moireio.open`; a context manager. Everything is read when it is first asked for.

    Parameters
    ----------
    container : Container
        The open container.
    """

    def __init__(self, container: Container) -> None:
        self._container = container
        self.label = container.label
        attributes = container.attributes()
        if attributes.get("format") != FORMAT:
            raise DamagedError(
                "is not a block file: the root has no attribute format = moireio", path=self.label
            )
        version = str(attributes.get("format_version"))
        if not VERSION.fullmatch(version):
            raise DamagedError(
                f"has the unknown format version {version[:20]!r}",
                path=self.label,
                remedy=f"MAJOR.MINOR is expected, as {FORMAT_VERSION}",
            )
        major, _, minor = version.partition(".")
        if int(major) > int(FORMAT_VERSION.split(".")[0]):
            raise MoireioError(
                f"has format version {version}, this program reads {FORMAT_VERSION}",
                path=self.label,
                remedy="update moireio",
            )
        self.attributes = verify(container, "")
        self.minor = int(minor)
        self._groups = container.groups()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def __contains__(self, group: object) -> bool:
        """Return whether the file has a group of that name at its top."""
        return group in self._groups

    def __repr__(self) -> str:
        """Return the file's name and its groups."""
        return f"<block file {self.label}: {', '.join(self._groups)}>"

    @property
    def constants(self) -> Constants:
        """The constants with which the numbers became Å and eV."""
        values = (self.attributes.get(name) for name in Constants._fields)
        return Constants(*(float(value) for value in values if value is not None))

    @property
    def container(self) -> Container:
        """The container underneath (`moireio.store.containers.Container`)."""
        return self._container

    @property
    def groups(self) -> list[str]:
        """Names of the groups at the top."""
        return list(self._groups)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _need(self, group: str) -> None:
        if group not in self._groups:
            raise MoireioError(
                f"has no /{group}",
                path=self.label,
                remedy=ADDED_BY.get(group, EARLIER),
            )

    @cached_property
    def structure(self) -> Structure:
        """The `Structure`."""
        self._need("structure")
        verify(self._container, "structure")
        names = self._container.arrays("structure")
        wanted = {f.name for f in fields(Structure)}
        values: dict[str, Any] = {
            n: self._container.read(f"structure/{n}") for n in names if n in wanted
        }
        missing = wanted - set(values) - {"layer", "magmoms"}
        if missing:
            raise DamagedError(f"/structure has no {min(missing)}", path=self.label)
        try:
            structure = Structure(**values)
        except (MoireioError, TypeError, ValueError) as error:
            raise DamagedError(str(error), path=self.label) from error
        if len(structure) == 0:
            raise DamagedError("/structure holds no atoms", path=self.label)
        return structure

    @cached_property
    def basis(self) -> Basis:
        """The `Basis`; without blocks, species may be missing from it."""
        self._need("basis")
        basis = read_basis(self._container)
        # A structure may come before its basis; blocks cannot.
        for name in self.structure.species_names if self.operators else ():
            if name not in basis.species:
                raise DamagedError(f"/basis has no species {name}", path=self.label)
        return basis

    @cached_property
    def orbitals(self) -> npt.NDArray[np.int64]:
        """Number of orbitals of every atom, spin not counted; shape (N,)."""
        return self.basis.sizes(self.structure)

    def operator(self, name: str) -> Operator:
        """Return an operator.

        Parameters
        ----------
        name : str
            One of the catalogue, as "hamiltonian".

        Returns
        -------
        Operator
            Reading from this file.

        Raises
        ------
        MoireioError
            If the file has none of that name.
        """
        operator_type(name)
        self._need(name)
        cache = self.__dict__.setdefault("_operators", {})
        if name not in cache:
            cache[name] = Operator(self._container, name, self.orbitals)
        return cache[name]

    @property
    def operators(self) -> list[str]:
        """Names of the operators that the file has."""
        return [name for name in operator_names() if name in self._groups]

    @property
    def hamiltonian(self) -> Operator:
        """The Hamiltonian, an `Operator` in eV."""
        return self.operator("hamiltonian")

    @property
    def overlap(self) -> Operator | None:
        """The overlap, an `Operator`; None where the basis is orthogonal."""
        if "overlap" not in self._groups and "basis" in self and self.basis.orthogonal:
            return None
        return self.operator("overlap")

    def result(self, group: str) -> Any:
        """Return the contents of a group of results.

        Parameters
        ----------
        group : str
            Such as "bands", or "bands-NAME" for one kept apart.

        Returns
        -------
        object
            The dataclass of its kind (`moireio.results.registry`), such as `BandStructure`.

        Raises
        ------
        MoireioError
            If the file has no such group, or it is damaged.
        """
        kind = require_kind(group)
        self._need(group)
        return kind.read(self._container, group)

    @cached_property
    def electrons(self) -> Electrons:
        """The `Electrons`, with None for what is unknown."""
        return self.result("electrons") if "electrons" in self else Electrons()

    @cached_property
    def moire(self) -> Moire | None:
        """How the moiré cell was built; None if unknown."""
        return self.result("moire") if "moire" in self else None

    @cached_property
    def kpath(self) -> KPathSegments | None:
        """Corners of the path that came with the calculation; None if there was none."""
        return self.result("kpath") if "kpath" in self else None

    @property
    def history(self) -> list[HistoryEntry]:
        """The commands that made the file, oldest first."""
        return self.result("history") if "history" in self else []

    def bands(self, group: str = "bands") -> BandStructure:
        """Return a stored band structure, as `result`; its states are read by `states`."""
        return self.result(group)

    def dos(self, group: str = "dos") -> DensityOfStates:
        """Return a stored density of states, as `result`."""
        return self.result(group)

    def has_states(self, group: str = "bands") -> bool:
        """Return whether states were kept with bands."""
        from moireio.results.bands import has_states

        return has_states(self._container, group)

    def states(
        self, point: int, channel: int = 0, group: str = "bands"
    ) -> npt.NDArray[np.complex128]:
        """Return the states of stored bands at one k point (`moireio.results.bands.read_states`).

        Parameters
        ----------
        point : int
            Number of the k point on the path, from 0.
        channel : int
            0 (up) or 1 (down) for collinear spin.
        group : str
            The bands' group.

        Returns
        -------
        (n, nb) complex array
            S-orthonormal, a column for every band that is kept.
        """
        from moireio.results.bands import read_states

        return read_states(self._container, group, self.bands(group), point, channel)

    def digest(self, operators: Collection[str] | None = None) -> str:
        """Return a digest of structure and operators, the same in every container.

        Operators of other packages do not count, so that it is the same without them.

        Parameters
        ----------
        operators : collection of str, optional
            Those that count; by default all.

        Returns
        -------
        str
            ``blake2b:`` and 32 hexadecimal digits.
        """
        state = hashlib.blake2b(digest_size=16)
        for array in ("cell", "positions", "numbers"):
            state.update(np.ascontiguousarray(getattr(self.structure, array)).tobytes())
        counted = CATALOGUE if operators is None else operators
        for name in filter(counted.__contains__, self.operators):
            state.update(name.encode())
            state.update(np.ascontiguousarray(self.operator(name).crc, dtype="<u4").tobytes())
        return f"blake2b:{state.hexdigest()}"


def _is_finite(value: str | float) -> bool:
    try:
        return isinstance(value, str) or math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def read_basis(container: Container) -> Basis:
    """Read a group ``/basis``.

    Parameters
    ----------
    container : Container
        Open for reading.

    Returns
    -------
    Basis
        All species in it.

    Raises
    ------
    DamagedError
        If something is missing or does not fit.
    """
    species = {}
    for name in container.groups("basis"):
        group = f"basis/{name}"
        arrays = container.arrays(group)
        attributes = verify(container, group)
        if "l" not in arrays:
            raise DamagedError(f"/{group} has no l", path=container.label)
        for key, kind in (("name", str), ("cutoff", Real), ("valence", Real)):
            given = key in attributes
            if given and not (isinstance(attributes[key], kind) and _is_finite(attributes[key])):
                found, wanted = attributes[key], "a text" if kind is str else "a finite number"
                raise DamagedError(
                    f"/{group}: {key} is {str(found)[:40]!r}, {wanted} is expected",
                    path=container.label,
                )
        radial = None
        if "radial" in container.groups(group):
            r, R = (container.read(f"{group}/radial/{n}") for n in ("r", "R"))
            radial = (r, R)
        try:
            species[name] = SpeciesBasis(
                l=tuple(container.read(f"{group}/l").tolist()),
                m=tuple(container.read(f"{group}/m").tolist()) if "m" in arrays else None,
                name=attributes.get("name"),
                cutoff=attributes.get("cutoff"),
                valence=attributes.get("valence"),
                radial=radial,
            )
        except (MoireioError, TypeError, ValueError) as error:
            raise DamagedError(f"/{group}: {error}", path=container.label) from error
    return Basis(species, bool(verify(container, "basis").get("orthogonal", False)))


def open_blockfile(path: str | os.PathLike[str], label: str | None = None) -> BlockFile:
    """Open a block file: HDF5, zarr folder or zarr zip.

    Parameters
    ----------
    path : str or path-like
        The file or folder.
    label : str, optional
        The name that error messages show.

    Returns
    -------
    BlockFile
        Open for reading; use it in a ``with`` statement or call its ``close``.

    Raises
    ------
    MoireioError
        If the file is absent, damaged, of a newer major version, or no block file.

    Examples
    --------
    >>> import moireio
    >>> with moireio.open("graphene.h5") as file:  # doctest: +SKIP
    ...     h = file.hamiltonian.at_k([0, 0, 0], dense=True)
    """
    container = open_container(path, label)
    try:
        return BlockFile(container)
    except BaseException:
        container.close()
        raise
