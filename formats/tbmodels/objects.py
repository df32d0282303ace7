"""Models of TBmodels in memory.

Kept: lattice, orbital positions, hoppings, the number of occupied states. A model holds one of each
pair R, −R and half of R = 0: H is the sum of its matrices and their adjoints. TBmodels has no
overlap, no elements and no name for spin: with `spinor` the rows of a model become spinors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.elements import OrbitalMap
from moireio.formats.assembly.hoppings import calculation_of_model
from moireio.formats.assembly.orthogonal import one_spin
from moireio.formats.assembly.plain import plain_hamiltonian
from moireio.results.electrons import Electrons

ARRANGEMENTS = ("blocks", "interleaved")


def read(model: Any, *, spinor: str | None = None) -> Calculation:
    """Return a model as a calculation.

    Parameters
    ----------
    model : tbmodels.Model
        Its lengths are taken as Å, its energies as eV.
    spinor : {"blocks", "interleaved"}, optional
        All up orbitals before the down ones, or in turn; by default orbitals have no spin.

    Returns
    -------
    Calculation
        With structure, basis and Hamiltonian; S = 1.

    Raises
    ------
    MoireioError
        If it is not such a model, or has more than three dimensions.
    """
    label = f"TBmodels {type(model).__name__}"
    for name in ("hop", "pos", "uc", "dim", "size"):
        if not hasattr(model, name):
            raise MoireioError(f"has no {name}", path=label, remedy="a tbmodels.Model is expected")
    return calculation_of_parts(
        label,
        model.uc,
        model.pos,
        list(model.hop),
        list(model.hop.values()),
        dimension=int(model.dim),
        size=int(model.size),
        occupied=getattr(model, "occ", None),
        spinor=spinor,
    )


def calculation_of_parts(
    label: str,
    lattice: npt.ArrayLike | None,
    reduced: npt.ArrayLike | None,
    cells: Sequence[Iterable[int]],
    matrices: Sequence[Any],
    *,
    dimension: int,
    size: int,
    occupied: float | None = None,
    spinor: str | None = None,
    pbc: Sequence[bool] | None = None,
    files: Sequence[str] = (),
) -> Calculation:
    """Return a calculation of what TBmodels keeps of a model, in memory or in a file.

    Parameters
    ----------
    label : str
        For messages.
    lattice : (d, d) array or None
        Lattice vectors as rows; None: unit vectors are taken.
    reduced : (size, d) array or None
        Positions in lattice vectors.
    cells : sequence of sequences of d int
        The R of the matrices.
    matrices : sequence of (size, size) matrices
        Half of H.
    dimension, size : int
        d and the number of orbitals.
    occupied : float, optional
        Number of occupied states.
    spinor : {"blocks", "interleaved"}, optional
        Arrangement of spinors.
    pbc : sequence of three bool, optional
        Whether the model is periodic along each vector; by default where hoppings cross it.
    files : sequence of str
        Files that were read.

    Returns
    -------
    Calculation
        With structure, basis and Hamiltonian.

    Raises
    ------
    MoireioError
        If the parts do not fit each other.
    """
    _require_arrangement(spinor)
    if not 1 <= dimension <= 3:
        raise MoireioError(f"has {dimension} dimensions, 1 to 3 are possible", path=label)
    if size < 1 or (spinor and size % 2):
        raise MoireioError(f"has {size} orbitals" + (", an odd number" * bool(spinor)), path=label)
    if occupied is not None and not 0 <= occupied <= size:
        raise MoireioError(f"has {occupied} occupied states of {size}", path=label)
    notes = []
    if lattice is None:
        lattice = np.eye(dimension)
        notes.append("TBmodels: the model has no lattice; its vectors are taken as 1 Å long")
    if not matrices:
        cells, matrices = [(0,) * dimension], [np.zeros((size, size))]
    whole = np.zeros((len(cells), 3), dtype=np.int64)
    for number, (cell, matrix) in enumerate(zip(cells, matrices, strict=True)):
        R = tuple(int(n) for n in cell)
        if len(R) != dimension or matrix.shape != (size, size):
            raise MoireioError(
                f"the matrix of R = {list(R)} has the shape {matrix.shape}; {dimension} integers "
                f"and ({size}, {size}) expected",
                path=label,
            )
        whole[number, :dimension] = R
    rows = np.asarray(lattice, dtype=np.float64)
    centres = None
    if reduced is not None:
        at = np.asarray(reduced, dtype=np.float64)
        if at.shape != (size, dimension) or rows.shape != (dimension, dimension):
            raise MoireioError(
                f"has positions {at.shape} and lattice vectors {rows.shape} for {size} orbitals in "
                f"{dimension} dimensions",
                path=label,
            )
        centres = at @ rows
        if spinor:
            centres = _one_each(centres, spinor, label)
    return calculation_of_model(
        label,
        rows,
        _periodic(dimension, pbc),
        centres,
        whole,
        [_real_if_possible(matrix) for matrix in matrices],
        partners="half",
        spinor=spinor,  # type: ignore[arg-type]
        electrons=None if occupied is None else Electrons(count=_electrons(occupied, spinor)),
        notes=notes,
        files=files,
    )


def write(
    calculation: Calculation,
    *,
    spin: int | None = None,
    spinor: str = "blocks",
    sparse: bool = False,
    orthogonalise: str | None = None,
) -> Any:
    """Return a model of a calculation.

    Parameters
    ----------
    calculation : Calculation
        With a Hamiltonian.
    spin : {0, 1}, optional
        Up or down, where spin is collinear.
    spinor : {"blocks", "interleaved"}
        How rows are arranged where orbitals have spin.
    sparse : bool
        Keep sparse matrices.
    orthogonalise : str, optional
        Mesh of k points for Löwdin's orthogonalisation, as ``12x12x1``, where S is not 1.

    Returns
    -------
    tbmodels.Model
        Its positions are wrapped into the cell by TBmodels, and R with them.

    Raises
    ------
    MoireioError
        If TBmodels is not installed, S is not 1 and no mesh is given, or `spin` is needed.
    """
    try:
        import tbmodels
    except ImportError as error:
        raise MoireioError("TBmodels is not installed", remedy="pip install tbmodels") from error
    reduced, cells, matrices = parts_of(
        calculation, spin=spin, spinor=spinor, orthogonalise=orthogonalise
    )
    return tbmodels.Model(
        hop={
            tuple(cell): matrix if sparse else matrix.toarray()
            for cell, matrix in zip(cells.tolist(), matrices, strict=True)
        },
        pos=reduced,
        uc=calculation.structure.cell,
        occ=occupied_states(calculation),
        contains_cc=False,
        sparse=sparse,
    )


def parts_of(
    calculation: Calculation,
    *,
    spin: int | None = None,
    spinor: str = "blocks",
    orthogonalise: str | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], list[Any]]:
    """Return positions and half of H, as TBmodels keeps them.

    Parameters
    ----------
    calculation : Calculation
        With a Hamiltonian.
    spin, spinor, orthogonalise
        As in `write`.

    Returns
    -------
    reduced : (n, 3) array
        Positions in lattice vectors, one for each row.
    cells : (m, 3) array of int64
        R, one of each pair R, −R.
    matrices : list of m csr_array
        H(R); half of it for R = 0.

    Raises
    ------
    MoireioError
        If S is not 1 and no mesh is given, or `spin` is needed.
    """
    from scipy.sparse import csr_array

    _require_arrangement(spinor)
    source, structure = calculation.hamiltonian, calculation.structure
    channel = one_spin(source, spin, calculation.label)
    is_spinor = source.meta.spin == "spinor"
    orbitals = OrbitalMap.make(
        structure,
        calculation.basis,
        spinor=spinor if is_spinor else None,  # type: ignore[arg-type]
    )
    plain = plain_hamiltonian(calculation, orbitals, orthogonalise, "TBmodels")
    cells, matrices = plain.cells, plain.components[channel]
    kept = [number for number, cell in enumerate(cells.tolist()) if cell >= [0, 0, 0]]
    halves = [
        csr_array(matrices[n]) * (1.0 if cells[n].any() else 0.5)  # exact in binary
        for n in kept
    ]
    positions = np.repeat(
        structure.positions @ np.linalg.inv(structure.cell),
        calculation.basis.sizes(structure),
        axis=0,
    )
    if is_spinor:
        blocks = spinor == "blocks"
        positions = np.tile(positions, (2, 1)) if blocks else np.repeat(positions, 2, axis=0)
    return positions, cells[kept], halves


def occupied_states(calculation: Calculation) -> int | None:
    """Return the number of occupied states, where it is known and whole.

    Parameters
    ----------
    calculation : Calculation
        With the number of electrons.

    Returns
    -------
    int or None
        Electrons, or half of them where levels hold two.
    """
    count = None if calculation.electrons is None else calculation.electrons.count
    if count is None:
        return None
    states = count if calculation.hamiltonian.meta.spin == "spinor" else count / 2
    return int(states) if states == int(states) else None


def _periodic(dimension: int, pbc: Sequence[bool] | None) -> list[bool] | None:
    if pbc is None:
        return None if dimension == 3 else [True] * dimension
    return list(pbc)[:dimension]


def _electrons(occupied: float, spinor: str | None) -> float:
    """Return the number of electrons in some states: two in each without spin."""
    return float(occupied) * (1 if spinor else 2)


def _require_arrangement(spinor: str | None) -> None:
    if spinor is not None and spinor not in ARRANGEMENTS:
        raise MoireioError(
            f"spinors are arranged in {' or '.join(ARRANGEMENTS)}, not {spinor!r}",
            remedy="give another `spinor`",
        )


def _one_each(centres: npt.NDArray[np.float64], spinor: str, label: str) -> npt.NDArray[np.float64]:
    """Return the centres of the up orbitals, which must be those of the down ones."""
    n = len(centres) // 2
    up = centres[:n] if spinor == "blocks" else centres[::2]
    down = centres[n:] if spinor == "blocks" else centres[1::2]
    if np.abs(up - down).max() > 1e-4:
        raise MoireioError(
            "an up orbital is not where its down orbital is",
            path=label,
            remedy="are spinors arranged in another way? give another `spinor`",
        )
    return up


def _real_if_possible(matrix: Any) -> Any:
    data = matrix.data if hasattr(matrix, "tocsr") else matrix
    return matrix if np.imag(data).any() else matrix.real
