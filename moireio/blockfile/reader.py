"""The block file, open for reading."""

import hashlib
from dataclasses import fields
from functools import cached_property

import numpy as np

from moireio.blockfile.operator import Operator
from moireio.errors import DamagedError, MoireioError
from moireio.operators.catalogue import operator_names, operator_type
from moireio.results.bands import BandStructure
from moireio.results.electrons import Electrons
from moireio.results.kpath import KPath
from moireio.results.moire import Moire, MoireLayer
from moireio.store.base import verify
from moireio.store.containers import open_container
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure

FORMAT = "moireio"
FORMAT_VERSION = "1.0"


class BlockFile:
    """An open block file.

    Made by `moireio.open`; a context manager. Everything is read when it is first asked for.

    Parameters
    ----------
    container : Container
        The open container.
    """

    def __init__(self, container):
        self._container = container
        self.label = container.label
        attributes = container.attributes()
        if attributes.get("format") != FORMAT:
            raise DamagedError(
                "is not a block file: the root has no attribute format = moireio", path=self.label
            )
        version = str(attributes.get("format_version"))
        major, _, minor = version.partition(".")
        if not (major.isdigit() and minor.isdigit() and int(major) >= 1):
            raise DamagedError(f"has the unknown format version {version!r}", path=self.label)
        if int(major) > int(FORMAT_VERSION.split(".")[0]):
            raise MoireioError(
                f"has format version {version}, this program reads {FORMAT_VERSION}",
                path=self.label,
                remedy="update moireio",
            )
        self.attributes = verify(container, "")
        self.minor = int(minor)
        self._groups = container.groups()

    def __enter__(self):
        """Return itself."""
        return self

    def __exit__(self, *exc):
        """Close the file."""
        self.close()

    def __contains__(self, name):
        """Tell whether the file has a group of that name at its top."""
        return name in self._groups

    def __repr__(self):
        """Return the file's name and its groups."""
        return f"<block file {self.label}: {', '.join(self._groups)}>"

    @property
    def container(self):
        """The container underneath (`moireio.store.containers.Container`)."""
        return self._container

    @property
    def groups(self):
        """Names of the groups at the top."""
        return list(self._groups)

    def close(self):
        """Close the file."""
        self._container.close()

    def _need(self, name):
        if name not in self._groups:
            raise MoireioError(
                f"has no /{name}",
                path=self.label,
                remedy="a command that writes it comes earlier in the pipeline",
            )

    @cached_property
    def structure(self):
        """The `Structure`."""
        self._need("structure")
        verify(self._container, "structure")
        names = self._container.arrays("structure")
        wanted = {f.name for f in fields(Structure)}
        values = {n: self._container.read(f"structure/{n}") for n in names if n in wanted}
        missing = wanted - set(values) - {"layer", "magmoms"}
        if missing:
            raise DamagedError(f"/structure has no {min(missing)}", path=self.label)
        try:
            return Structure(**values)
        except (MoireioError, TypeError, ValueError) as error:
            raise DamagedError(str(error), path=self.label) from error

    @cached_property
    def basis(self):
        """The `Basis`; without blocks, species may be missing from it."""
        self._need("basis")
        basis = read_basis(self._container)
        # A structure may come before its basis; blocks cannot.
        for name in self.structure.species_names if self.operators else ():
            if name not in basis.species:
                raise DamagedError(f"/basis has no species {name}", path=self.label)
        return basis

    @cached_property
    def orbitals(self):
        """Number of orbitals of every atom, spin not counted; shape (N,)."""
        return self.basis.sizes(self.structure)

    def operator(self, name):
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
    def operators(self):
        """Names of the operators that the file has."""
        return [name for name in operator_names() if name in self._groups]

    @property
    def hamiltonian(self):
        """The Hamiltonian, an `Operator` in eV."""
        return self.operator("hamiltonian")

    @property
    def overlap(self):
        """The overlap, an `Operator`; None where the basis is orthogonal."""
        if "overlap" not in self._groups and "basis" in self and self.basis.orthogonal:
            return None
        return self.operator("overlap")

    @cached_property
    def electrons(self):
        """The `Electrons`, with None for what is unknown."""
        if "electrons" not in self._groups:
            return Electrons()
        found = verify(self._container, "electrons")
        values = {f.name: found.get(f.name) for f in fields(Electrons)}
        for name, value in values.items():
            if value is not None and not (isinstance(value, (int, float)) and np.isfinite(value)):
                raise DamagedError(f"/electrons: {name} is not a finite number", path=self.label)
        return Electrons(**values)

    @cached_property
    def moire(self):
        """How the moiré cell was built, a `Moire`; None if the file does not say."""
        if "moire" not in self._groups:
            return None
        found = verify(self._container, "moire")
        layers = []
        for name in sorted(self._container.groups("moire"), key=lambda n: (len(n), n)):
            group = f"moire/{name}"
            values = dict(verify(self._container, group))
            arrays = self._container.arrays(group)
            for array in ("lattice", "matrix", "strain"):
                if array not in arrays:
                    raise DamagedError(f"/{group} has no {array}", path=self.label)
                values[array] = self._container.read(f"{group}/{array}")
                if values[array].shape != (2, 2):
                    raise DamagedError(f"/{group}/{array} is not 2 x 2", path=self.label)
            known = {f.name for f in fields(MoireLayer)}
            values = {k: v for k, v in values.items() if k in known}
            for vector in ("shift", "centre"):
                values[vector] = np.asarray(values.get(vector, (0.0, 0.0)), dtype=float)
            layers.append(MoireLayer(**({"name": name, "angle": 0.0} | values)))
        return Moire(
            layers=tuple(layers),
            place=str(found.get("place", "none")),
            repeat=tuple(int(v) for v in found.get("repeat", (1, 1))),
            open_axis=int(found.get("open_axis", 0)),
        )

    @cached_property
    def kpath(self):
        """Corners of the path that came with the calculation, or None.

        A dict of `points` (n, 2, 3) fractional, `labels` (n, 2) and `counts` (n,).
        """
        if "kpath" not in self._groups:
            return None
        verify(self._container, "kpath")
        names = ("points", "labels", "counts")
        values = {n: self._container.read(f"kpath/{n}") for n in names}
        count = values["counts"].size
        if values["labels"].size != 2 * count:
            raise DamagedError("/kpath: labels and counts do not fit", path=self.label)
        values["labels"] = values["labels"].reshape(-1, 2)
        whole = values["counts"].ndim == 1 and values["counts"].dtype.kind in "iu"
        whole = whole and (values["counts"] > 0).all()
        if not whole or values["points"].shape != (count, 2, 3) or len(values["labels"]) != count:
            raise DamagedError("/kpath: points, labels and counts do not fit", path=self.label)
        return values

    def bands(self, name="bands"):
        """Return a stored band structure.

        Parameters
        ----------
        name : str
            Its group: "bands", or "bands-NAME" for one kept apart.

        Returns
        -------
        BandStructure
            With energies in eV.
        """
        self._need(name)
        read, found = self._container.read, verify(self._container, name)
        path = KPath(
            read(f"{name}/k"),
            read(f"{name}/distance"),
            read(f"{name}/label_index"),
            tuple(read(f"{name}/labels")),
        )
        energies, count = read(f"{name}/energies"), len(path.k)
        index = np.asarray(path.label_index)
        sound = energies.ndim == 3 and len(energies) in (1, 2) and energies.shape[1] == count
        sound = sound and path.k.shape == (count, 3) and path.distance.shape == (count,)
        sound = sound and index.shape == (len(path.labels),) and index.dtype.kind in "iu"
        sound = sound and (index >= 0).all() and (index < count).all()
        try:
            numbers = {k: found.get(k) for k in ("fermi", "electrons")}
            numbers = {k: None if v is None else float(v) for k, v in numbers.items()}
            first = int(found.get("first_band", 0))
        except (TypeError, ValueError, OverflowError):
            sound = False
        if not sound:
            raise DamagedError(f"/{name}: its arrays do not fit together", path=self.label)
        return BandStructure(
            path,
            energies,
            spinor=bool(found.get("spinor", False)),
            first_band=first,
            source=str(found.get("source", "dft")),
            **numbers,
        )

    def has_states(self, name="bands"):
        """Tell whether states were kept with bands.

        Parameters
        ----------
        name : str
            The bands' group.

        Returns
        -------
        bool
            Whether `states` gives them.
        """
        return "states" in self._container.arrays(name)

    def states(self, point, channel=0, name="bands"):
        """Return the states that belong to stored bands, at one k point.

        Parameters
        ----------
        point : int
            Number of the k point on the path, from 0.
        channel : int
            Of collinear spin, 0 (up) or 1 (down).
        name : str
            The bands' group.

        Returns
        -------
        (n, nb) complex array
            S-orthonormal, a column for every band that is kept; in the order of the rows of H(k)
            and in its phases, which are those of whole cells, exp(2πi k·R).

        Raises
        ------
        MoireioError
            If no states were kept, or there is no such k point.
        """
        energies = self.bands(name).energies
        if not self.has_states(name):
            raise MoireioError(
                f"/{name} has no states", path=self.label, remedy="make it with band --states"
            )
        ns, nk, nb = energies.shape
        if not (0 <= channel < ns and 0 <= point < nk):
            raise MoireioError(f"/{name} has no k point {point}, spin {channel}", path=self.label)
        place = channel * nk + point
        found = self._container.read(f"{name}/states", place, place + 1, axis=0)
        if found.ndim != 3 or found.shape[:2] != (1, nb):
            raise DamagedError(f"/{name}: its states do not fit its energies", path=self.label)
        return found[0].T

    def dos(self, name="dos"):
        """Return a stored density of states.

        Parameters
        ----------
        name : str
            Its group: "dos", or "dos-NAME" for one kept apart.

        Returns
        -------
        DensityOfStates
            In states per eV and cell.
        """
        from moireio.results.dos import read_dos

        return read_dos(self, name)

    @property
    def history(self):
        """The commands that made the file, oldest first; a list of dicts."""
        entries = []
        if "history" in self._groups:
            for name in self._container.groups("history"):
                group = f"history/{name}"
                entry = verify(self._container, group)
                for array in self._container.arrays(group):
                    entry[array] = [str(v) for v in self._container.read(f"{group}/{array}")]
                entries.append(entry)
        return entries

    def digest(self):
        """Return a digest of structure, basis and operators, the same in every container.

        Returns
        -------
        str
            ``blake2b:`` and 32 hexadecimal digits.
        """
        state = hashlib.blake2b(digest_size=16)
        for array in ("cell", "positions", "numbers"):
            state.update(np.ascontiguousarray(getattr(self.structure, array)).tobytes())
        for name in self.operators:
            state.update(name.encode())
            state.update(np.ascontiguousarray(self.operator(name).crc, dtype="<u4").tobytes())
        return f"blake2b:{state.hexdigest()}"


def read_basis(container):
    """Read a group ``/basis``.

    Parameters
    ----------
    container : Container
        Open for reading.

    Returns
    -------
    Basis
        Of all species in it.

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
        radial = None
        if "radial" in container.groups(group):
            radial = tuple(container.read(f"{group}/radial/{n}") for n in ("r", "R"))
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


def open_blockfile(path, label=None):
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
