"""Hamiltonians in DeepH-pack's local frames.

Layout: ``rh.h5`` or ``rh.npz`` (predictions: ``rh_pred``) has the block of each pair in the frame
of that pair, ``rc.h5`` or ``rc.npz`` the frame: a 3 × 3 matrix whose columns are the local axes,
by the same names. A block is Dᵀ H D with the matrices D that turn the orbitals of either atom by
the frame (with spinors also D^½ ⊗ D). The frame follows from neighbours whose order is arbitrary,
so it cannot be found again without the file.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MissingFileError
from moireio.formats.deeph.blocks import StoredBlocks
from moireio.formats.deeph.datasets import Collector, block_list
from moireio.formats.structures.text import plain_name
from moireio.formats.text.streams import beside
from moireio.symmetry.rotations import rotated_harmonics
from moireio.system.pairs import Pairs

NAMES = {"hamiltonian": "rh", "predicted": "rh_pred"}
SUFFIXES = (".h5", ".npz")
ORTHOGONAL = 1e-3  # of the axes' products; files have single precision


def local_files(path: str) -> dict[str, tuple[str, ...]]:
    """Return which Hamiltonians a folder has in local frames.

    Parameters
    ----------
    path : str
        The folder.

    Returns
    -------
    dict of str to tuple of str
        Path by operator.
    """
    found = {}
    for operator, stem in NAMES.items():
        for suffix in SUFFIXES:
            file = beside(path, stem + suffix)
            if operator not in found and file is not None:
                found[operator] = (file,)
    return found


def frame_file(path: str, file: str) -> str:
    """Return the file of the frames of a folder.

    Parameters
    ----------
    path : str
        The folder.
    file : str
        That of the blocks, for messages.

    Returns
    -------
    str
        Path of ``rc.h5`` or ``rc.npz``.

    Raises
    ------
    MissingFileError
        If there is none.
    """
    same = os.path.splitext(plain_name(file))[1]
    frames = beside(path, *(f"rc{suffix}" for suffix in (same, *SUFFIXES)))
    if frames is not None:
        return frames
    raise MissingFileError(
        f"has {os.path.basename(file)}, but neither rc.h5 nor rc.npz: without the local frames H "
        "cannot be turned back",
        path=path,
        remedy="rc comes from the same preprocessing of DeepH-pack",
    )


def read_frames(path: str, pairs: Pairs, label: str) -> npt.NDArray[np.float64]:
    """Read the frames of pairs.

    Parameters
    ----------
    path : str
        ``rc.h5`` or ``rc.npz``.
    pairs : Pairs
        The pairs of the Hamiltonian.
    label : str
        Its file, for messages.

    Returns
    -------
    (n, 3, 3) array
        Columns are the local axes.

    Raises
    ------
    DamagedError
        If a pair has no frame, or axes are not orthonormal and right-handed.
    """
    listed, (names,) = block_list([path])
    given = {tuple(key): name for key, name in zip(listed.tolist(), names, strict=True)}
    keys = np.column_stack([pairs.R, pairs.i + 1, pairs.j + 1]).tolist()
    absent = [key for key in keys if tuple(key) not in given]
    if absent:
        raise DamagedError(
            f"lacks {absent[0]}, which {os.path.basename(label)} has",
            path=path,
            remedy=f"{len(absent)} of {len(keys)} blocks have no frame: the two files are of "
            "different calculations",
        )

    def check(array, pair, file):
        if array.shape != (3, 3) or array.dtype.kind != "f":
            raise DamagedError(
                f"{keys[pair]} is {array.dtype} {array.shape}, the axes of a frame (3, 3) expected",
                path=file,
            )

    collector = Collector(pairs, np.full((len(pairs), 2), 3), check)
    collector.add(path, [given[tuple(key)] for key in keys], range(len(keys)))
    frames = collector.blocks(np.float64).take(np.arange(len(pairs)), (3, 3))
    with np.errstate(all="ignore"):
        gap = np.abs(frames @ frames.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2))
        fits = (gap <= ORTHOGONAL) & (np.linalg.det(np.nan_to_num(frames)) > 0)
    if not fits.all():
        wrong = int(np.flatnonzero(~fits)[0])
        raise DamagedError(
            f"the axes of {keys[wrong]} are not orthonormal and right-handed", path=path
        )
    return frames


class LocalBlocks:
    """Blocks of local frames, turned back.

    Parameters
    ----------
    local : StoredBlocks
        Blocks as stored, in the file's order of orbitals.
    frames : (n, 3, 3) array
        The frame of every pair.
    momenta : sequence of tuple of int
        For each species the l of its radial functions.
    orders : sequence of arrays
        For each species, where its orbitals stand in the file; spin not included.
    species : (N,) array of int
        Species of the atoms.
    spinor : bool
        Whether blocks are spinor blocks.
    """

    in_order = True

    def __init__(
        self,
        local: StoredBlocks,
        frames: npt.NDArray[np.float64],
        momenta: list[tuple[int, ...]],
        orders: list[npt.NDArray[np.int64]],
        species: npt.NDArray[np.integer],
        spinor: bool,
    ) -> None:
        self._local, self._frames, self._momenta = local, frames, momenta
        self._orders, self._species, self._spinor = orders, species, spinor
        self.pairs = local.pairs
        self.dtype = local.dtype
        self._i = local.pairs.i

    def take(
        self, members: npt.NDArray[np.int64], shape: tuple[int, int]
    ) -> npt.NDArray[np.inexact]:
        """Return the blocks of some pairs of one shape, (p, rows, columns)."""
        raw = self._local.take(members, shape).astype(np.result_type(self.dtype, np.float64))
        out = np.empty_like(raw)
        first = self._species[self._i[members]].astype(np.int64)
        second = self._species[self.pairs.j[members]].astype(np.int64)
        kinds = first * len(self._orders) + second
        for kind in np.unique(kinds):
            mine = np.flatnonzero(kinds == kind)
            a, b = divmod(int(kind), len(self._orders))
            out[mine] = self._turned(raw[mine], self._frames[members[mine]], a, b)
        return out.astype(self.dtype)

    def _turned(self, raw, frames, a, b):
        rows, columns = self._orders[a], self._orders[b]
        spins = 2 if self._spinor else 1
        blocks = raw.reshape(len(raw), spins, len(rows), spins, len(columns))
        blocks = blocks[:, :, rows][..., columns]
        shells = {v: rotated_harmonics(v, frames) for v in {*self._momenta[a], *self._momenta[b]}}
        left, right = (_of_shells(shells, self._momenta[s], len(raw)) for s in (a, b))
        blocks = np.einsum("pac,psctd->psatd", left, blocks, optimize=True)
        blocks = np.einsum("psatd,pbd->psatb", blocks, right, optimize=True)
        if self._spinor:
            spin = _spins(frames)
            blocks = np.einsum("psu,puavb,ptv->psatb", spin, blocks, spin.conj(), optimize=True)
        return blocks.reshape(raw.shape)


def _of_shells(shells, momenta, count):
    """Return the matrices of all orbitals, (count, n, n)."""
    size = sum(2 * v + 1 for v in momenta)
    out, at = np.zeros((count, size, size)), 0
    for momentum in momenta:
        end = at + 2 * momentum + 1
        out[:, at:end, at:end] = shells[momentum]
        at = end
    return out


def _spins(frames):
    """Return D^½ of rotations, (n, 2, 2); its sign is arbitrary and cancels."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(frames).as_quat().T
    return np.stack([[w - 1j * z, -y - 1j * x], [y - 1j * x, w + 1j * z]]).transpose(2, 0, 1)
