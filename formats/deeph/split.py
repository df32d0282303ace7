"""DeepH-dock's split storage: H without spin in one file, what spin adds in another.

With ``"split_hkb": true`` in ``info.json`` (also written ``"hamiltonian_storage":
"spinless_plus_hkb"``), ``hamiltonian.h5`` holds H₀ with blocks n × n and ``hkb.h5`` the rest with
blocks 2n × 2n: H = 1 ⊗ H₀ + H_KB. A reader that does not know this loses spin-orbit coupling. The
overlap of such folders may be spelled out for both spins.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError
from moireio.formats.deeph.blocks import BlockFile
from moireio.system.pairs import Pairs

HKB = "hkb.h5"
STORAGES = {"full": False, "spinless_plus_hkb": True}
SPIN_TOLERANCE = 1e-12  # of the overlap between up and down, and between the two spins' overlaps
#: Words in the name of a setting that may say how numbers are stored.
MEANING = ("split", "storage", "store", "format", "layout", "unit", "frame", "local", "order",
           "convention", "gauge", "phase", "sign", "sparse", "compress", "triang", "half", "spin",
           "scale", "shift", "delta", "hkb", "soc")  # fmt: skip
#: Switches without a meaning for the numbers.
HARMLESS = ("hermiti", "converge", "relax", "verbose", "debug", "finished", "success")


def split_storage(info: Mapping[str, Any]) -> str | None:
    """Return the setting that keeps H in two files.

    Parameters
    ----------
    info : dict
        Settings of ``info.json``.

    Returns
    -------
    str or None
        Its name; None where H is in one file.

    Raises
    ------
    MoireioError
        If settings are unknown or contradict each other.
    """
    flagged, storage = info.get("split_hkb"), info.get("hamiltonian_storage")
    if flagged is not None and not isinstance(flagged, bool):
        raise MoireioError(f"split_hkb is {reprlib.repr(flagged)}, true or false expected")
    if storage is not None and (not isinstance(storage, str) or storage not in STORAGES):
        raise MoireioError(
            f"hamiltonian_storage is {reprlib.repr(storage)}: what H is then is not known",
            remedy="known: " + ", ".join(STORAGES),
        )
    stored = None if storage is None else STORAGES[storage]
    if flagged is not None and stored is not None and flagged != stored:
        raise MoireioError(
            f"split_hkb is {str(flagged).lower()}, but hamiltonian_storage is {storage}: the two "
            "contradict each other"
        )
    if not (flagged or stored):
        return None
    name = "split_hkb" if flagged else "hamiltonian_storage"
    if info.get("spinful") is not True:
        raise MoireioError(f"has {name}, but not spinful: a part of H with spin needs it")
    return name


def require_known(info: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raise if a setting that is not known may change what the numbers are.

    Parameters
    ----------
    info : dict
        Settings of ``info.json``.
    known : tuple of str
        Names that have no such effect, or whose effect is known.

    Raises
    ------
    MoireioError
        For switches that are on, and for settings whose name speaks of how numbers are stored.
        Others, as counts and comments, are harmless.
    """
    for name, value in info.items():
        if name in known or value in (None, False, "") or value == []:
            continue
        words = str(name).lower()
        switch = value is True and not any(word in words for word in HARMLESS)
        if switch or any(word in words for word in MEANING):
            raise MoireioError(
                f"has {reprlib.repr(name)}: {reprlib.repr(value)}, which is not known here and may "
                "change what the numbers are",
                remedy="if it does not, take it out of the file",
            )


class SplitBlocks:
    """H = 1 ⊗ H₀ + H_KB.

    Parameters
    ----------
    base : BlockFile
        H₀, blocks n × n.
    rest : BlockFile
        H_KB, blocks 2n × 2n; pairs that one of the two lacks are zero there.
    """

    in_order = False

    def __init__(self, base: BlockFile, rest: BlockFile) -> None:
        self._base, self._rest = base, rest
        self.dtype = np.result_type(base.dtype, rest.dtype, np.complex64)
        self.pairs = joined(base.pairs, rest.pairs)
        where = self.pairs.i, self.pairs.j, self.pairs.R
        self._in_base, self._in_rest = base.pairs.find(*where), rest.pairs.find(*where)

    def take(
        self, members: npt.NDArray[np.int64], shape: tuple[int, int]
    ) -> npt.NDArray[np.inexact]:
        """Return the blocks of some pairs of one shape, (p, rows, columns)."""
        n, m = shape[0] // 2, shape[1] // 2
        out = np.zeros((len(members), *shape), dtype=self.dtype)
        there = np.flatnonzero(self._in_rest[members] >= 0)
        out[there] = self._rest.take(self._in_rest[members[there]], shape)
        there = np.flatnonzero(self._in_base[members] >= 0)
        base = self._base.take(self._in_base[members[there]], (n, m))
        out[there, :n, :m] += base
        out[there, n:, m:] += base
        return out


class SpinDiagonal:
    """The overlap from blocks 2n × 2n, in which it stands twice.

    Parameters
    ----------
    both : BlockFile
        Blocks with both spins.
    """

    in_order = False

    def __init__(self, both: BlockFile) -> None:
        self._both, self.pairs, self.dtype = both, both.pairs, both.dtype

    def take(
        self, members: npt.NDArray[np.int64], shape: tuple[int, int]
    ) -> npt.NDArray[np.inexact]:
        """Return the blocks of some pairs of one shape, (p, rows, columns)."""
        n, m = shape
        blocks = self._both.take(members, (2 * n, 2 * m))
        up, down = blocks[:, :n, :m], blocks[:, n:, m:]
        mixed = max(
            np.abs(blocks[:, :n, m:]).max(initial=0.0), np.abs(blocks[:, n:, :m]).max(initial=0.0)
        )
        gap = np.abs(up - down).max(initial=0.0)
        if not max(mixed, gap) <= SPIN_TOLERANCE:
            raise DamagedError(
                "its blocks are those of two spins, but "
                + (f"up and down overlap by {mixed:.1e}" if not gap > mixed else "")
                + (f"those of up and down differ by {gap:.1e}" if gap > mixed else ""),
                remedy="the file is damaged; make it again",
            )
        return np.ascontiguousarray(up)


def joined(one: Pairs, other: Pairs) -> Pairs:
    """Return the pairs that are in at least one of two lists.

    Parameters
    ----------
    one, other : Pairs
        Pairs of the same atoms.

    Returns
    -------
    Pairs
        Sorted.
    """
    new = one.find(other.i, other.j, other.R) < 0
    if not new.any():
        return one
    i, j = np.concatenate([one.i, other.i[new]]), np.concatenate([one.j, other.j[new]])
    return Pairs.sort(one.n_atoms, i, j, np.concatenate([one.R, other.R[new]]))[0]
