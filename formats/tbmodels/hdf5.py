"""TBmodels' HDF5 files.

Layout: ``uc`` (d, d: lattice vectors as rows), ``pos`` (n, d: positions in lattice vectors),
``dim``, ``size``, ``occ``, ``sparse``, and ``hop/0``, ``hop/1`` … with ``R`` (d) and ``mat``
(n, n), or ``data``, ``indices``, ``indptr`` and ``shape`` of a CSR matrix. There is one of each
pair R, −R and half of R = 0: H is the sum of all matrices and their adjoints. An old form has all
of it in ``tb_model``. Kept: all. Lost in writing: elements, shells, the Fermi level, and spin but
for the arrangement of the rows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MoireioError, naming
from moireio.formats.assembly.hoppings import FARTHEST_CELL
from moireio.formats.assembly.losses import note_losses
from moireio.formats.deeph.files import open_hdf5
from moireio.formats.tbmodels.objects import calculation_of_parts, occupied_states, parts_of
from moireio.formats.text.streams import first_bytes
from moireio.runtime.files import require_free, write_whole
from moireio.store.hdf5_guard import own_dataset, own_object

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
TAG = "tbmodels.model"
#: Matrices with more rows are written sparse.
MOST_DENSE = 500


def detect(path: str) -> bool:
    """Return whether a file is one of TBmodels.

    Parameters
    ----------
    path : str
        Any file or folder.

    Returns
    -------
    bool
        True for HDF5 files with ``hop`` and ``size``.
    """
    if not os.path.isfile(path):
        return False
    if first_bytes(path, 8) != SIGNATURE:
        return False
    try:
        with open_hdf5(path) as file:
            root = file.get("tb_model", file)
            return "hop" in root and "size" in root and "structure" not in root
    except (MoireioError, KeyError, TypeError, RuntimeError):
        return False


def read(
    path: str,
    *,
    label: str | None = None,
    companions: Sequence[str] = (),
    pbc: Sequence[bool] | None = None,
    spinor: str | None = None,
) -> Calculation:
    """Read a file.

    Parameters
    ----------
    path : str
        The file.
    label : str, optional
        The name that messages show.
    companions : sequence of str
        None are needed.
    pbc : sequence of three bool, optional
        Whether the model is periodic along each vector; by default where hoppings cross it.
    spinor : {"blocks", "interleaved"}, optional
        All up orbitals before the down ones, or in turn; by default orbitals have no spin.

    Returns
    -------
    Calculation
        With structure, basis and Hamiltonian; S = 1.

    Raises
    ------
    MoireioError
        If it is no such file, or its parts do not fit each other.
    """
    name = label or path
    with naming(name), open_hdf5(path) as file:
        root = own_object(file, "tb_model", name) if "tb_model" in file else file
        size, dimension = _whole(root, "size", name), _whole(root, "dim", name)
        cells, matrices = _hoppings(root, size, name)
        parts = {key: _numbers(root, key, name) for key in ("uc", "pos")}
        occupied = _numbers(root, "occ", name)
    return calculation_of_parts(
        name,
        parts["uc"],
        parts["pos"],
        cells,
        matrices,
        dimension=dimension,
        size=size,
        occupied=None if occupied is None else float(occupied.ravel()[0]),
        spinor=spinor,
        pbc=pbc,
        files=[path],
    )


def write(
    calculation: Calculation,
    path: str,
    *,
    force: bool = False,
    spin: int | None = None,
    spinor: str = "blocks",
    orthogonalise: str | None = None,
) -> None:
    """Write a file.

    Parameters
    ----------
    calculation : Calculation
        With a Hamiltonian.
    path : str
        The file; it appears whole or not at all.
    force : bool
        Replace an existing one.
    spin : {0, 1}, optional
        Up or down, where spin is collinear.
    spinor : {"blocks", "interleaved"}
        How rows are arranged where orbitals have spin.
    orthogonalise : str, optional
        Mesh of k points for Löwdin's orthogonalisation, as ``12x12x1``, where S is not 1.

    Raises
    ------
    MoireioError
        If S is not 1 and no mesh is given, `spin` is needed, or the file cannot be written.
    """
    require_free(path, force=force)
    import h5py

    reduced, cells, matrices = parts_of(
        calculation, spin=spin, spinor=spinor, orthogonalise=orthogonalise
    )
    note_losses(calculation, "TBmodels' files", fermi=False)
    sparse = len(reduced) > MOST_DENSE
    occupied = occupied_states(calculation)
    with write_whole(path) as part, h5py.File(part, "w") as file:
        file["type_tag"] = TAG
        file["uc"] = calculation.structure.cell
        file["pos"] = reduced
        file["dim"], file["size"], file["sparse"] = 3, len(reduced), sparse
        if occupied is not None:
            file["occ"] = occupied
        hoppings = file.create_group("hop")
        for number, (cell, matrix) in enumerate(zip(cells, matrices, strict=True)):
            group = hoppings.create_group(str(number))
            group["R"] = cell
            if sparse:
                group["data"] = matrix.data.astype(np.complex128)
                group["indices"], group["indptr"] = matrix.indices, matrix.indptr
                group["shape"] = matrix.shape
            else:
                group["mat"] = matrix.toarray().astype(np.complex128)


def _hoppings(root: h5py.Group, size: int, label: str) -> tuple[list[list[int]], list[Any]]:
    """Return the R and the matrices of a file."""
    from scipy.sparse import csr_array

    try:
        group = own_object(root, "hop", label)
    except KeyError as error:
        raise MoireioError("has no hop", remedy="a file of TBmodels is expected") from error
    if not hasattr(group, "keys"):
        raise DamagedError("its hop is no group of matrices")
    cells, matrices = [], []
    for key in list(group):
        place = f"hop/{key}"
        cell = _numbers(root, f"{place}/R", label)
        if cell is None or cell.ndim != 1 or cell.dtype.kind not in "iu":
            raise DamagedError(f"{place} has no R of integers")
        cells.append([int(n) for n in cell])
        if max(map(abs, cells[-1]), default=0) > FARTHEST_CELL:
            raise DamagedError(f"{place} has R = {cells[-1]}, beyond {FARTHEST_CELL}")
        dense = _numbers(root, f"{place}/mat", label)
        if dense is not None:
            matrices.append(dense)
            continue
        arrays = [
            _numbers(root, f"{place}/{part}", label) for part in ("data", "indices", "indptr")
        ]
        if any(array is None or array.ndim != 1 for array in arrays):
            raise DamagedError(f"{place} has neither mat nor data, indices and indptr")
        data, indices, indptr = arrays
        fits = (
            len(indptr) == size + 1
            and indptr[0] == 0
            and indptr[-1] == len(data) == len(indices)
            and (np.diff(indptr) >= 0).all()
            and (len(indices) == 0 or (indices.min() >= 0 and indices.max() < size))
        )
        if not fits:
            raise DamagedError(f"{place} is no CSR matrix of {size} rows")
        matrices.append(csr_array((data, indices, indptr), shape=(size, size)))
    return cells, matrices


def _numbers(root: h5py.Group, name: str, label: str) -> npt.NDArray[Any] | None:
    """Return an array of a file; None if there is none."""
    try:
        dataset = own_dataset(root, name, label)
    except KeyError:
        return None
    if dataset.dtype.kind not in "iufc" or dataset.shape is None:
        raise DamagedError(f"{name} is {dataset.dtype}, numbers expected")
    values = np.asarray(dataset[()])
    if not np.isfinite(values).all():
        raise DamagedError(f"{name} has a number that is not finite")
    return values


def _whole(root: h5py.Group, name: str, label: str) -> int:
    """Return a whole number of a file."""
    value = _numbers(root, name, label)
    if value is None or value.shape != () or value.dtype.kind not in "iu":
        raise DamagedError(f"has no whole number {name}", remedy="a file of TBmodels is expected")
    return int(value)
