"""A structure with its basis and operators, wherever they come from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt

from moireio.blockfile.reader import BlockFile, open_blockfile
from moireio.blockfile.schema import naming_misfits
from moireio.errors import MoireioError
from moireio.operators.blocks import OperatorSource
from moireio.operators.views import stored_as
from moireio.store.containers import kind_of_file, kind_of_name
from moireio.system.basis import Basis
from moireio.system.structure import Structure
from moireio.units import Constants

if TYPE_CHECKING:
    from moireio.results.electrons import Electrons
    from moireio.results.kpath import KPathSegments
    from moireio.results.moire import Moire

MOST_EXTRA = 1 << 20  # bytes of an array of another program that is read without being asked for


class Operators(Mapping[str, OperatorSource]):
    """Operators by name, each read when it is first asked for.

    Parameters
    ----------
    names : iterable of str
        Those that there are, in the order in which they are written.
    load : callable
        Returns the operator of a name. It is also called for other names, to say in its
        `MoireioError` why they are absent.
    """

    def __init__(self, names: Iterable[str], load: Callable[[str], OperatorSource]):
        self._names = tuple(names)
        self._load = load
        self._loaded: dict[str, OperatorSource] = {}

    def __getitem__(self, name: str) -> OperatorSource:
        """Return an operator."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        """Return whether there is an operator of that name."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return the number of operators."""
        return len(self._names)


@dataclass(eq=False)
class Calculation:
    """A structure with its basis and operators, in memory or in an open file.

    A context manager, which closes the file.

    Parameters
    ----------
    label : str
        Where it comes from, for messages and the history.
    structure : Structure
        The atoms.
    basis : Basis
        Their orbitals.
    operators : mapping of str to OperatorSource
        By name in the catalogue, in any storage.
    electrons : Electrons, optional
        Their number, Fermi level and so on.
    moire : Moire, optional
        How the cell was built.
    kpath : KPathSegments, optional
        The band path of its input.
    constants : Constants
        With which the numbers became Å and eV.
    extra : dict of str to mapping of str to array
        Groups of other programs, called ``x_…``: their arrays by name.
    notes : list of str
        What could not be verified.
    files : sequence of str
        What was read, and must not be replaced by what is made of it.
    usual_residual : mapping of str to float
        How far each operator of an intact file is from its partner rule at most, in its unit.
    digest : callable
        Returns the digest of what was read for the operators named, for the history.
    close : callable
        Closes the file.
    """

    label: str
    structure: Structure
    basis: Basis
    operators: Mapping[str, OperatorSource]
    electrons: Electrons | None = None
    moire: Moire | None = None
    kpath: KPathSegments | None = None
    constants: Constants = field(default_factory=Constants)
    extra: dict[str, Mapping[str, npt.NDArray[Any]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: Sequence[str] = ()
    usual_residual: Mapping[str, float] = field(default_factory=dict)
    digest: Callable[[Sequence[str]], str] = field(default=lambda operators: "")
    close: Callable[[], None] = field(default=lambda: None)

    def operator(self, name: str) -> OperatorSource:
        """Return an operator.

        Parameters
        ----------
        name : str
            Such as "hamiltonian".

        Returns
        -------
        OperatorSource
            As it is stored.

        Raises
        ------
        MoireioError
            If there is none of that name, or it is damaged.
        """
        try:
            return self.operators[name]
        except KeyError:
            raise MoireioError(f"has no {name}", path=self.label) from None

    @cached_property
    def hamiltonian(self) -> OperatorSource:
        """The Hamiltonian with both partners of every pair, eV."""
        return stored_as(self.operator("hamiltonian"), "full")

    @cached_property
    def overlap(self) -> OperatorSource | None:
        """The overlap with both partners of every pair; None where there is none."""
        if "overlap" not in self.operators:
            return None
        return stored_as(self.operator("overlap"), "full")

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


def is_block_file(path: str) -> bool:
    """Return whether a file is a block file, by its name and contents.

    Parameters
    ----------
    path : str
        A file, a folder, or "-" for standard input.

    Returns
    -------
    bool
        True also for pipes, which cannot be looked into.
    """
    if path == "-":
        return True
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        return True
    if os.fspath(path).lower().endswith(".npz"):  # a zip too, of arrays
        return False
    try:
        kind = kind_of_file(path)
    except MoireioError:
        return kind_of_name(path) is not None
    return kind != "h5" or _has_format(path)


def _has_format(path: str) -> bool:
    """Return whether an HDF5 file has the mark of a block file, or cannot be opened."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "format" in file.attrs
    except (OSError, KeyError, RuntimeError):  # KeyError: a damaged header of an object
        return True


def read(path: str, *, label: str | None = None) -> Calculation:
    """Open a block file as a calculation.

    Parameters
    ----------
    path : str
        HDF5, zarr folder or zarr zip.
    label : str, optional
        The name that messages show.

    Returns
    -------
    Calculation
        A context manager.

    Raises
    ------
    MoireioError
        If it cannot be read, or lacks structure or basis.
    """
    with contextlib.ExitStack() as stack:
        file = open_blockfile(path, label)
        stack.callback(file.close)
        stack.enter_context(naming_misfits(file.container))
        calculation = Calculation(
            file.label,
            file.structure,
            file.basis,
            Operators(file.operators, file.operator),
            electrons=file.electrons if "electrons" in file else None,
            moire=file.moire,
            kpath=file.kpath,
            constants=file.constants,
            extra=_extra(file),
            files=(path,),
            digest=lambda operators: file.digest(),
            close=file.close,
        )
        stack.pop_all()
    return calculation


def _extra(file: BlockFile) -> dict[str, Mapping[str, npt.NDArray[Any]]]:
    """Return the small arrays of the groups of other programs."""
    container = file.container
    found: dict[str, Mapping[str, npt.NDArray[Any]]] = {}
    for group in file.groups:
        if not group.startswith("x_"):
            continue
        with contextlib.suppress(MoireioError):  # what others wrote does not matter here
            names = [f"{group}/{name}" for name in container.arrays(group)]
            small = [name for name in names if container.stored_bytes(name) <= MOST_EXTRA]
            found[group] = {name.rpartition("/")[2]: container.read(name) for name in small}
    return found
