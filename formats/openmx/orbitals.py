"""OpenMX's order of the orbitals inside a shell."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.basis import SHELL_LETTERS

# OpenMX: p = (x, y, z); d = (3z²−r², x²−y², xy, xz, yz);
# f = (5z²−3r², 5xz²−xr², 5yz²−yr², zx²−zy², xyz, x³−3xy², 3yx²−y³).
# Entry m + l is the position of orbital m in that list.
_SHELL = {0: (0,), 1: (1, 2, 0), 2: (2, 4, 0, 3, 1), 3: (6, 4, 2, 0, 1, 3, 5)}


def permutation(momenta: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return where each orbital of a block file stands in OpenMX's order.

    Parameters
    ----------
    momenta : sequence of int
        Angular momentum of each radial function.

    Returns
    -------
    (n,) array of int64
        ``ours[a] = openmx[permutation[a]]``.

    Raises
    ------
    MoireioError
        For shells above f, whose order is not known here.
    """
    out, start = [], 0
    for momentum in momenta:
        if momentum not in _SHELL:
            raise MoireioError(
                f"the order of OpenMX's {SHELL_LETTERS[momentum]} orbitals is not known",
                remedy="use a basis with s, p, d and f shells",
            )
        out.extend(start + place for place in _SHELL[momentum])
        start += 2 * momentum + 1
    return np.array(out, dtype=np.int64)
