"""The formats of calculations: how each is detected, read and written.

A format is one row here and one module with `detect`, `read` and, where moireio writes it,
`write`. Another package adds one with an entry point in the group ``moireio.formats`` that names a
`Format`. Modules are imported when they are first needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.shells import SHELLS_HELP
from moireio.formats.structures.text import plain_name
from moireio.runtime import plugins

GROUP = "moireio.formats"


class Read(Protocol):
    """A function that opens a file or folder as a calculation."""

    def __call__(self, path: str, *, label: str | None = None, **options: Any) -> Calculation:
        """Open `path`; messages show `label`.

        Further options belong to the format: `companions`, paths of further files, where its row
        names them; `pbc`; and those of its row.
        """


class Write(Protocol):
    """A function that writes a calculation; the file or folder appears whole or not at all."""

    def __call__(
        self, calculation: Calculation, path: str, *, force: bool = False, **options: Any
    ) -> None:
        """Write to `path`; with `force` what exists is replaced.

        Further options are those of the format's row. Remarks are added to the calculation's
        `notes`.
        """


@dataclass(frozen=True)
class FormatOption:
    """An option of a format's reader or writer.

    Parameters
    ----------
    description : str
        A few words, with the unit.
    parse : callable
        Makes its value of a text; a ValueError means that the text is none.
    writes : bool
        Whether it belongs to the writer.
    reads : bool, optional
        Whether it belongs to the reader; by default where it does not belong to the writer.
    """

    description: str
    parse: Callable[[str], Any] = str
    writes: bool = False
    reads: bool | None = None

    @property
    def of(self) -> tuple[str, ...]:
        """The functions that take it: "read", "write" or both."""
        reads = not self.writes if self.reads is None else self.reads
        return tuple(word for word, on in (("read", reads), ("write", self.writes)) if on)


def yes_or_no(text: str) -> bool:
    """Return the value of an option that is on or off.

    Parameters
    ----------
    text : str
        "yes" or "no", "true" or "false", "1" or "0".

    Returns
    -------
    bool
        Whether it is on.

    Raises
    ------
    ValueError
        If it is another word.
    """
    if text.lower() not in ("yes", "true", "1", "no", "false", "0"):
        raise ValueError(text)
    return text.lower() in ("yes", "true", "1")


@dataclass(frozen=True)
class Format:
    """One format of calculations.

    Parameters
    ----------
    name : str
        Its name.
    description : str
        A few words.
    detect : callable
        Returns for a path, quickly and without an error, whether it is of the format.
    read : callable
        Opens it (`Read`).
    write : callable, optional
        Writes it (`Write`).
    suffixes : tuple of str
        Suffixes of its files; none for folders.
    keeps, loses : str
        Contents that reach a block file, and those that do not.
    companions : str
        Further files that the reader takes as `companions`, in words; empty if it takes none.
    options : mapping of str to FormatOption
        Options of the reader and the writer, by the names of their parameters.
    """

    name: str
    description: str
    detect: Callable[[str], bool]
    read: Read
    write: Write | None = None
    suffixes: tuple[str, ...] = ()
    keeps: str = ""
    loses: str = ""
    companions: str = ""
    options: Mapping[str, FormatOption] = field(default_factory=dict)


@dataclass(frozen=True)
class Late:
    """A function of a module that is imported when the function is first called.

    Parameters
    ----------
    module, function : str
        Where it is. Worker processes can take it as it is.
    """

    module: str
    function: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return getattr(import_module(self.module), self.function)(*args, **kwargs)


_WANNIER90 = (
    "X.win, X_wsvec.dat, X_centres.xyz, X.wout, the down spin's Hamiltonian, or a structure file "
    "for the lattice"
)
_PLAIN_OPTIONS = {
    "orthogonalise": FormatOption("mesh of k points where S is not 1, as 12x12x1", writes=True),
    "digits": FormatOption("digits after the point", int, writes=True),
}
_WANNIER90_OPTIONS = {
    **_PLAIN_OPTIONS,
    "spinor_order": FormatOption("order of spinor functions, alternating or blocks"),
}

FORMATS = {
    row.name: row
    for row in (
        # before block files, as these are HDF5 too
        Format(
            "tbmodels",
            "TBmodels' HDF5 files",
            Late("moireio.formats.tbmodels.hdf5", "detect"),
            Late("moireio.formats.tbmodels.hdf5", "read"),
            Late("moireio.formats.tbmodels.hdf5", "write"),
            keeps="lattice, orbital positions, H, number of occupied states",
            loses="elements, shells, Fermi level, names of spins, S",
            options={
                "orthogonalise": _PLAIN_OPTIONS["orthogonalise"],
                "spinor": FormatOption(
                    "order of spin orbitals: blocks (up, down) or interleaved",
                    writes=True,
                    reads=True,
                ),
                "spin": FormatOption("which of two spins: 0 is up, 1 is down", int, writes=True),
            },
        ),
        Format(
            "abacus",
            "ABACUS's H(R) and S(R) with STRU",
            Late("moireio.formats.abacus.files", "detect"),
            Late("moireio.formats.abacus.files", "read"),
            Late("moireio.formats.abacus.write", "write"),
            keeps="structure, shells, H (nspin 1, 2, 4), S, positions, Fermi level, electrons",
            loses="derivatives, magnetic moments of STRU, earlier ionic steps",
            companions="S, H of spin down, positions, STRU, running_scf.log, orbital files",
            options={"shells": FormatOption(SHELLS_HELP)},
        ),
        # before block files, as its .nc are HDF5 too
        Format(
            "siesta",
            "SIESTA's HSX, TSHS and NetCDF (also sisl's)",
            Late("moireio.formats.siesta.files", "detect"),
            Late("moireio.formats.siesta.files", "read"),
            Late("moireio.formats.siesta.write", "write"),
            suffixes=(".HSX", ".TSHS", ".nc"),
            keeps="structure, shells, cutoffs, radial functions of .ion files, H, S, electrons",
            loses="density matrices, k mesh, electronic temperature",
            companions="ORB_INDX, XV, .ion.xml or .ion of a species",
            options={"shells": FormatOption(SHELLS_HELP)},
        ),
        Format(
            "moireio",
            "block file",
            Late("moireio.blockfile.calculation", "is_block_file"),
            Late("moireio.blockfile.calculation", "read"),
            suffixes=(".h5", ".zarr", ".zarr.zip"),
            keeps="everything",
        ),
        Format(
            "openmx",
            "OpenMX's .scfout, versions 3.7 to 4.0",
            Late("moireio.formats.openmx.scfout", "detect"),
            Late("moireio.formats.openmx.scfout", "read"),
            suffixes=(".scfout",),
            keeps="structure, bases, H, S, position, momentum, density, electrons, band path",
            loses="higher powers of position, dipoles, electrode counts",
        ),
        Format(
            "deeph-dock",
            "data folder of DeepH-dock",
            Late("moireio.formats.deeph.dock", "detect"),
            Late("moireio.formats.deeph.dock", "read"),
            Late("moireio.formats.deeph.dock_write", "write"),
            options={"predicted": FormatOption("yes: the predicted Hamiltonian", yes_or_no)},
            keeps="structure, shells, H, S, Fermi level",
            loses="other files of the folder; writing: other operators and results",
        ),
        Format(
            "deeph",
            "data folder of DeepH-pack and DeepH-E3",
            Late("moireio.formats.deeph.folder", "detect"),
            Late("moireio.formats.deeph.folder", "read"),
            Late("moireio.formats.deeph.folder_write", "write"),
            options={"predicted": FormatOption("yes: the predicted Hamiltonian", yes_or_no)},
            keeps="structure, shells, H, S, Fermi level; rh with rc of DeepH-pack",
            loses="other files of the folder; writing: other operators and results",
        ),
        Format(
            "wanniertools",
            "WannierTools' sparse or dense Hamiltonian, or its wt.in",
            Late("moireio.formats.wanniertools.hr", "detect"),
            Late("moireio.formats.wanniertools.hr", "read"),
            Late("moireio.formats.wanniertools.hr", "write"),
            keeps="structure and shells of wt.in, H, S, Fermi level",
            loses="what else wt.in asks for",
            companions="wt.in, the overlap, or a structure file for the lattice",
            options={
                "form": FormatOption("sparse or dense", writes=True),
                **_PLAIN_OPTIONS,
            },
        ),
        Format(
            "wannier90",
            "Wannier90's X_hr.dat and X_tb.dat",
            Late("moireio.formats.wannier90.files", "detect"),
            Late("moireio.formats.wannier90.files", "read"),
            Late("moireio.formats.wannier90.files", "write"),
            suffixes=("_hr.dat", "_tb.dat"),
            keeps="lattice, centres as sites, H with its images, positions of X_tb.dat, atoms in "
            "x_wannier90",
            loses="spreads, projections, k mesh, positions with spin; there is no Fermi level",
            companions=_WANNIER90,
            options=_WANNIER90_OPTIONS,
        ),
        Format(
            "cp2k",
            "CP2K's output with real-space CSR files",
            Late("moireio.formats.cp2k.realspace", "detect"),
            Late("moireio.formats.cp2k.realspace", "read"),
            Late("moireio.formats.cp2k.write", "write"),
            keeps="structure, shells, H of both spins, S, Fermi level, electrons",
            loses="radial functions; runs at Gamma are cut into nearest images; writing: spinors",
            companions="output, CSR files, their folder or .tar.gz, input, basis files",
            options={"shells": FormatOption(SHELLS_HELP)},
        ),
        Format(
            "aims",
            "FHI-aims's rs_hamiltonian, rs_overlap and rs_indices (.out, .h5)",
            Late("moireio.formats.aims.realspace", "detect"),
            Late("moireio.formats.aims.realspace", "read"),
            keeps="structure, shells, H of both spins, S, Fermi level, electrons",
            loses="radial functions; spin-orbit coupling, which the files have not",
            companions="rs_* files, basis-indices.out, geometry.in, control.in, aims.out",
        ),
        Format(
            "dftbplus",
            "DFTB+'s hamreal1.dat, hamreal2.dat and overreal.dat",
            Late("moireio.formats.dftbplus.realspace", "detect"),
            Late("moireio.formats.dftbplus.realspace", "read"),
            keeps="structure, shells, H of both spins, S, Fermi level",
            loses="radial functions; non-collinear matrices",
            companions="dftb_in.hsd, geometry (.gen), matrices, detailed.out",
            options={"shells": FormatOption(SHELLS_HELP)},
        ),
        Format(
            "rescu",
            "RESCU's .h5 with its .mat",
            Late("moireio.formats.rescu.h5", "detect"),
            Late("moireio.formats.rescu.h5", "read"),
            keeps="structure, shells, H, S, Fermi level, electrons",
            loses="radial functions; calculations with spin",
            companions="the .mat or the .h5",
        ),
        Format(
            "deeptb",
            "data folder of DeePTB and dftio",
            Late("moireio.formats.deeptb.h5", "detect"),
            Late("moireio.formats.deeptb.h5", "read"),
            Late("moireio.formats.deeptb.write", "write"),
            keeps="structure, shells, H, S",
            loses="Fermi level, radial functions; writing: order of shells, collinear spin",
            companions="the folder's files",
            options={
                "frame": FormatOption("structure of a trajectory, from 0", int),
                "shells": FormatOption(SHELLS_HELP),
            },
        ),
        Format(
            "hamgnn",
            "HamGNN's graph_data.npz, and its data sets in LMDB",
            Late("moireio.formats.hamgnn.graph_data", "detect"),
            Late("moireio.formats.hamgnn.graph_data", "read"),
            Late("moireio.formats.hamgnn.write", "write"),
            suffixes=("graph_data.npz",),
            keeps="structure, shells, H, S, in single precision",
            loses="Hon0, Lon, total energy; writing: Fermi level, other operators, results",
            options={
                "index": FormatOption("number of the graph, where there are several", int),
                "code": FormatOption("the program of the orbitals: openmx, siesta or abacus"),
                "program": FormatOption("that of the orbitals written, as for code", writes=True),
                "nao": FormatOption("orbitals of every atom, such as 14 or 26", int, writes=True),
            },
        ),
        Format(
            "hamgnn-prediction",
            "HamGNN's prediction_hamiltonian.npy",
            Late("moireio.formats.hamgnn.prediction", "detect"),
            Late("moireio.formats.hamgnn.prediction", "read"),
            keeps="H; structure, shells and S of its graph_data.npz",
            loses="nothing",
            companions="the graph_data.npz that was predicted",
            options={
                "index": FormatOption("number of the graph, where there are several", int),
                "code": FormatOption("the program of the orbitals: openmx, siesta or abacus"),
            },
        ),
    )
}


def format_names() -> list[str]:
    """Return the names of all formats, those of other packages last.

    Returns
    -------
    list of str
        Nothing is imported for them.
    """
    return [*FORMATS, *plugins.entries(GROUP, FORMATS)]


def named_format(name: str) -> Format:
    """Return a format.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    Format
        The row of the registry.

    Raises
    ------
    MoireioError
        If there is none of that name, or another package's is unusable.
    """
    if name in FORMATS:
        return FORMATS[name]
    plugin = plugins.entries(GROUP, FORMATS).get(name)
    if plugin is None:
        raise MoireioError(f"no format is called {name!r}", remedy="known: " + ", ".join(FORMATS))
    row = plugin.load()
    if not isinstance(row, Format):
        raise MoireioError(
            f"{name!r} ({GROUP}) of the distribution {plugin.distribution} is not a Format",
            remedy=f"update or uninstall {plugin.distribution}",
        )
    return row


def writable_format(path: str) -> Format | None:
    """Return the format that a file name asks for.

    Parameters
    ----------
    path : str
        Name of a file to write.

    Returns
    -------
    Format or None
        The one with the longest suffix that fits, of those that are written; None if there is none.
    """
    rows = [named_format(name) for name in format_names() if name != "moireio"]
    return _longest_suffix(path, [row for row in rows if row.write is not None])


def _longest_suffix(path: str, rows: Iterable[Format]) -> Format | None:
    fitting = [
        (len(suffix), row)
        for row in rows
        for suffix in row.suffixes
        if path.lower().endswith(suffix.lower())
    ]
    return max(fitting, key=lambda one: one[0])[1] if fitting else None


def format_by_suffix(path: str) -> Format | None:
    """Return the format that the name of a file promises, whatever its contents.

    Parameters
    ----------
    path : str
        A file; compressed ones end with a further suffix.

    Returns
    -------
    Format or None
        The one with the longest suffix that fits, block files aside, as many programs have the
        suffix ``.h5``; None if there is none.
    """
    rows = [row for row in map(named_format, format_names()) if row.name != "moireio"]
    return _longest_suffix(plain_name(path), rows) if os.path.isfile(path) else None


def detect_format(path: str, names: Iterable[str] | None = None) -> Format | None:
    """Return the format of a file or folder.

    Parameters
    ----------
    path : str
        Any path.
    names : iterable of str, optional
        The formats that count; by default all.

    Returns
    -------
    Format or None
        The first that it is of, moireio's own formats before those of other packages; None if it
        is of none.
    """
    path = os.fspath(path)
    for name in format_names() if names is None else names:
        row = named_format(name)
        if row.detect(path):
            return row
    return None
