"""Orders and signs of the orbitals inside a shell, one row for each program.

moireio's real harmonics have no Condon–Shortley sign and m = −l … l. A program lists the orbitals
of a shell in an order of its own, and gives some of them the opposite sign. Eigenvalues do not show
either; the overlap of two atoms of known direction does, and so these rows were verified.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.basis import SHELL_LETTERS


@dataclass(frozen=True)
class OrbitalOrder:
    """The orbitals of a shell as a program has them.

    Parameters
    ----------
    program : str
        For messages.
    shell : callable
        Returns for an l the m of each orbital, in the program's order; None where it is not known.
    negative : callable
        Returns for an m whether the program's orbital is minus moireio's.
    """

    program: str
    shell: Callable[[int], Sequence[int] | None]
    negative: Callable[[int], bool] = lambda m: False

    def to_ours(
        self, momenta: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return where each orbital of a block file stands in the program's order, and its sign.

        Parameters
        ----------
        momenta : sequence of int
            Angular momentum of each radial function.

        Returns
        -------
        permutation : (n,) array of int64
            ``ours[a] = signs[a] * theirs[permutation[a]]``.
        signs : (n,) array
            +1 or −1.

        Raises
        ------
        MoireioError
            For shells whose order is not known here.
        """
        places: list[int] = []
        signs: list[float] = []
        for momentum in momenta:
            theirs = self.shell(momentum)
            if theirs is None:
                raise MoireioError(
                    f"the order of {self.program}'s {SHELL_LETTERS[momentum]} orbitals is not known"
                )
            begin = len(places)
            for m in range(-momentum, momentum + 1):
                places.append(begin + list(theirs).index(m))
                signs.append(-1.0 if self.negative(m) else 1.0)
        return np.array(places, dtype=np.int64), np.array(signs)


def _ascending(momentum: int) -> Sequence[int]:
    return range(-momentum, momentum + 1)


def _outward(momentum: int) -> Sequence[int]:
    """Return 0, 1, −1, 2, −2 and so on."""
    return [0, *(sign * m for m in range(1, momentum + 1) for sign in (1, -1))]


def _cartesian_p(momentum: int) -> Sequence[int]:
    """Return x, y, z for p, else −l … l."""
    return (1, -1, 0) if momentum == 1 else _ascending(momentum)


# p = (x, y, z); d = (3z²−r², x²−y², xy, xz, yz);
# f = (5z²−3r², 5xz²−xr², 5yz²−yr², zx²−zy², xyz, x³−3xy², 3yx²−y³).
_OPENMX = {0: (0,), 1: (1, -1, 0), 2: (0, 2, -2, 1, -1), 3: (0, 1, -1, 2, -2, 3, -3)}

NATURAL = OrbitalOrder("moireio", _ascending)
OPENMX = OrbitalOrder("OpenMX", _OPENMX.get)
PYSCF = OrbitalOrder("PySCF", _cartesian_p)
SIESTA = OrbitalOrder("SIESTA", _ascending, lambda m: m % 2 == 1)
ABACUS = OrbitalOrder("ABACUS", _outward, lambda m: m % 2 == 1)
AIMS = OrbitalOrder("FHI-aims", _ascending, lambda m: m > 0 and m % 2 == 1)
