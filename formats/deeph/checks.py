"""What the blocks of DeepH's folders must obey, apart from being Hermitian."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.operators.blocks import block_offsets, by_shape, take_blocks
from moireio.operators.views import ArraySource

BlockName = Callable[[int, int, npt.NDArray[np.int32]], str]

# eV and 1; the 1s level of the heaviest atoms is at 1e5 eV.
LARGEST = 1e7
REMEDY = "the file is damaged; make it again"


def check_elements(source: ArraySource, path: str, name: BlockName) -> None:
    """Raise if an element is not finite, or larger than any can be.

    Parameters
    ----------
    source : ArraySource
        An operator.
    path : str
        Its file, for messages.
    name : callable
        Returns how messages call the block of (i, j, R).

    Raises
    ------
    DamagedError
        With the block and the number.
    """
    data = source.data
    top = np.abs(data).max(initial=0.0)
    if top <= LARGEST:
        return
    place = int(np.flatnonzero(~(np.abs(data) <= LARGEST))[0])
    pairs = source.pairs
    pair = int(np.searchsorted(block_offsets(pairs.block_elements(source.sizes)), place, "right"))
    where = name(pairs.i[pair - 1], pairs.j[pair - 1], pairs.R[pair - 1])
    value = data[place]
    what = "is not finite" if not np.isfinite(value) else f"is {value:.1e}: larger than any can be"
    raise DamagedError(f"an element of {where} {what}", path=path, remedy=REMEDY)


def check_overlap(source: ArraySource, path: str, name: BlockName) -> None:
    """Raise if an orbital has no positive norm, or two overlap by more than their norms.

    Parameters
    ----------
    source : ArraySource
        S with the blocks of every atom with itself.
    path : str
        Its file, for messages.
    name : callable
        Returns how messages call the block of (i, j, R).

    Raises
    ------
    DamagedError
        With the block.

    Notes
    -----
    Cauchy and Schwarz: |S_ab|² ≤ S_aa S_bb.
    """
    pairs, sizes = source.pairs, source.sizes
    offsets = block_offsets(pairs.block_elements(sizes))[:-1]
    starts = block_offsets(sizes)
    norms = np.empty(int(starts[-1]))
    for atom, pair in enumerate(pairs.onsite()):
        size = int(sizes[atom])
        norms[starts[atom] : starts[atom + 1]] = source.data[
            offsets[pair] : offsets[pair] + size * size : size + 1
        ].real
        if not (norms[starts[atom] : starts[atom + 1]] > 0).all():
            where = name(atom, atom, np.zeros(3, dtype=np.int32))
            raise DamagedError(
                f"{where}: the overlap of an orbital with itself is not positive",
                path=path,
                remedy=REMEDY,
            )
    roots = np.sqrt(norms) * (1 + 1e-6)
    i, wrong = pairs.i, []
    for shape, group in by_shape(sizes[i], sizes[pairs.j]):
        blocks = np.abs(take_blocks(source.data, offsets[group], shape))
        rows = roots[starts[i[group]][:, None] + np.arange(shape[0])]
        columns = roots[starts[pairs.j[group]][:, None] + np.arange(shape[1])]
        outside = (blocks > rows[:, :, None] * columns[:, None, :]).any(axis=(1, 2))
        wrong += group[outside].tolist()
    if wrong:
        where = name(i[min(wrong)], pairs.j[min(wrong)], pairs.R[min(wrong)])
        raise DamagedError(
            f"{where}: two orbitals overlap by more than their norms", path=path, remedy=REMEDY
        )
