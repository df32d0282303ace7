"""Anchors in block files: those of another run, and those that a run leaves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from moireio.blockfile.reader import open_blockfile
from moireio.errors import DamagedError, MoireioError
from moireio.results.anchors import KeptAnchors, read_anchor, read_changes
from moireio.spectrum.anchors.anchor import Anchor

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.spectrum.anchors.settings import Accuracy

OPERATORS = ("hamiltonian", "overlap")
GROUP = "anchors"


def read_anchors(path: str, file: "BlockFile") -> dict[int, list[Anchor]]:
    """Read the anchors that a block file keeps, for the Hamiltonian of the same or another file.

    Parameters
    ----------
    path : str
        The file with ``/anchors``; groups ``/anchors-NAME`` are read too.
    file : BlockFile
        The file with H, and S unless its basis is orthogonal.

    Returns
    -------
    dict of int to list of Anchor
        By spin channel, for `Anchoring`.

    Raises
    ------
    MoireioError
        If there are none, or they belong to another structure, H or S.
    """
    found: dict[int, list[Anchor]] = {}
    digest, spin = file.digest(OPERATORS), file.hamiltonian.meta.spin
    size = int(file.orbitals.sum()) * (2 if spin == "spinor" else 1)
    with open_blockfile(path) as source:
        names = source.container.groups()
        groups = [n for n in names if n == GROUP or n.startswith(f"{GROUP}-")]
        if not groups:
            raise MoireioError(
                "has no /anchors",
                path=path,
                remedy="band keeps them with `keep_anchors`, of large cells",
            )
        for group in groups:
            kept: KeptAnchors = source.result(group)
            if kept.digest != digest:
                continue
            for n, energies in enumerate(kept.energies):
                states = read_anchor(source.container, group, kept, n)
                channel = int(kept.channel[n])
                if len(states) != size or channel >= (2 if spin == "collinear" else 1):
                    raise DamagedError(f"/{group}: its states do not fit H", path=path)
                changes = read_changes(source.container, group, n)
                anchor = Anchor(kept.k[n], energies, states, int(kept.first_band[n]), changes)
                found.setdefault(channel, []).append(anchor)
    if not found:
        raise MoireioError(
            f"/{groups[0]} belongs to another structure, H or S than those of {file.label}",
            path=path,
            remedy="compute the bands without `anchors`, and keep new ones with `keep_anchors`",
        )
    return found


def all_anchors(
    file: "BlockFile",
    known: Mapping[int, Sequence[Anchor]],
    accuracy: "Mapping[int, Accuracy]",
) -> KeptAnchors:
    """Return the anchors that a run had, and those that it found, for a block file.

    Parameters
    ----------
    file : BlockFile
        The file with H and S.
    known : dict of int to sequence of Anchor
        By spin channel, those known from before.
    accuracy : dict of int to Accuracy
        By spin channel, how levels were found; not empty.

    Returns
    -------
    KeptAnchors
        With states.
    """
    pairs: list[tuple[int, Anchor]] = []
    for channel in sorted({*known, *accuracy}):
        own = list(known.get(channel, ()))
        used = accuracy[channel].anchors if channel in accuracy else []
        own += [anchor for anchor in used if all(anchor is not one for one in own)]
        pairs += [(channel, anchor) for anchor in own]
    return KeptAnchors(
        file.digest(OPERATORS),
        np.array([anchor.k for _, anchor in pairs]),
        np.array([channel for channel, _ in pairs], dtype=np.int32),
        np.array([anchor.first for _, anchor in pairs], dtype=np.int64),
        tuple(anchor.energies for _, anchor in pairs),
        tuple(anchor.states for _, anchor in pairs),
        tuple(
            anchor.states[:, :0] if anchor.responses is None else anchor.responses
            for _, anchor in pairs
        ),
    )
