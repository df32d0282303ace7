"""Lattices that ABACUS knows by name: ``latname`` of INPUT, with LATTICE_PARAMETERS of STRU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError

ROOT = float(np.sqrt(3))


def _trigonal(cosine: float) -> list[list[float]]:
    x, y, z = np.sqrt([(1 - cosine) / 2, (1 - cosine) / 6, (1 + 2 * cosine) / 3]).tolist()
    return [[x, -y, z], [0, 2 * y, z], [-x, -y, z]]


def _monoclinic(b: float, cosine: float) -> list[float]:
    return [b * cosine, b * float(np.sqrt(1 - cosine**2)), 0]


def _triclinic(b: float, c: float, ab: float, ac: float, bc: float) -> list[list[float]]:
    sine = float(np.sqrt(1 - ab**2))
    third = float(np.sqrt(1 + 2 * ab * ac * bc - ab**2 - ac**2 - bc**2))
    return [[1, 0, 0], [b * ab, b * sine, 0], [c * ac, c * (bc - ac * ab) / sine, c * third / sine]]


#: Lattice vectors in lattice constants, from b/a, c/a and cosines, as far as a lattice has them.
VECTORS: dict[str, tuple[int, Callable[..., list[list[float]]]]] = {
    "sc": (0, lambda: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "fcc": (0, lambda: [[-0.5, 0, 0.5], [0, 0.5, 0.5], [-0.5, 0.5, 0]]),
    "bcc": (0, lambda: [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [-0.5, -0.5, 0.5]]),
    "hexagonal": (1, lambda c: [[1, 0, 0], [-0.5, ROOT / 2, 0], [0, 0, c]]),
    "trigonal": (1, _trigonal),
    "st": (1, lambda c: [[1, 0, 0], [0, 1, 0], [0, 0, c]]),
    "bct": (1, lambda c: [[0.5, -0.5, c / 2], [0.5, 0.5, c / 2], [-0.5, -0.5, c / 2]]),
    "so": (2, lambda b, c: [[1, 0, 0], [0, b, 0], [0, 0, c]]),
    "baco": (2, lambda b, c: [[0.5, b / 2, 0], [-0.5, b / 2, 0], [0, 0, c]]),
    "fco": (2, lambda b, c: [[0.5, 0, c / 2], [0.5, b / 2, 0], [0, b / 2, c / 2]]),
    "bco": (
        2,
        lambda b, c: [[0.5, b / 2, c / 2], [-0.5, b / 2, c / 2], [-0.5, -b / 2, c / 2]],
    ),
    "sm": (3, lambda b, c, ab: [[1, 0, 0], _monoclinic(b, ab), [0, 0, c]]),
    "bacm": (3, lambda b, c, ab: [[0.5, 0, -c / 2], _monoclinic(b, ab), [0.5, 0, c / 2]]),
    "triclinic": (5, _triclinic),
}


def named_lattice(name: str, parameters: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return the vectors of a lattice.

    Parameters
    ----------
    name : str
        A key of `VECTORS`.
    parameters : sequence of float
        Those of LATTICE_PARAMETERS; more than the lattice has are passed over.

    Returns
    -------
    (3, 3) array
        Rows, in lattice constants.

    Raises
    ------
    MoireioError
        If the name is not known, or parameters are missing or make no lattice.
    """
    if name not in VECTORS:
        raise MoireioError(f"the latname {name!r} is none of {', '.join(VECTORS)}")
    count, vectors = VECTORS[name]
    if len(parameters) < count:
        raise MoireioError(
            f"has {len(parameters)} LATTICE_PARAMETERS, {count} expected with latname {name}"
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        cell = np.array(vectors(*np.array(parameters[:count])), dtype=np.float64)
    if not np.isfinite(cell).all():
        raise MoireioError(f"its LATTICE_PARAMETERS make no lattice with latname {name}")
    return cell
