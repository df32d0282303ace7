"""Sizes of networks: what makes sense, and what the weights of one must count.

Settings come from texts that anyone can edit. They are compared with these before a network is
made, which could take all memory or never end.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

from moireio.errors import MoireioError
from moireio.network.irreps import Irreps
from moireio.system.structure import HIGHEST_NUMBER

if TYPE_CHECKING:
    from moireio.network.head import Targets
    from moireio.network.net import NetworkSettings

MOST_DEGREE = 12  # of features and harmonics
MOST_CHANNELS = 1 << 16  # of a list
MOST_ENTRIES = 64  # of a list between blocks
MOST_OUTPUTS = 1 << 18  # entries of the last list
MOST_BLOCKS = 64
MOST_RADIAL = 1 << 12
MOST_SHELL = 5  # h
MOST_SHELLS = 100
FARTHEST = 100.0  # Å


class UpdateLists(NamedTuple):
    """Lists of one half of a block.

    Parameters
    ----------
    block : int
        Number of the block.
    half : {"node", "edge"}
        Which of its two updates.
    own, out : Irreps
        Features that are updated, and those that come out.
    kinds : int
        Species, or pairs of species.
    paths : list of (int, int)
        For every path of the product with the harmonics, in order: channels in, channels out.
    """

    block: int
    half: str
    own: Irreps
    out: Irreps
    kinds: int
    paths: list[tuple[int, int]]


def require_sensible(settings: NetworkSettings) -> None:
    """Raise if settings are not of a network that there can be.

    Parameters
    ----------
    settings : NetworkSettings
        Any.

    Raises
    ------
    MoireioError
        With the setting, its value, and the bounds.
    """
    for name, value, low, high in (
        ("species", settings.species, 1, HIGHEST_NUMBER),
        ("blocks", settings.blocks, 1, MOST_BLOCKS),
        ("harmonics_lmax", settings.harmonics_lmax, 0, MOST_DEGREE),
        ("radial", settings.radial, 1, MOST_RADIAL),
    ):
        _require_integer(name, value, low, high)
    for name, value in (("cutoff", settings.cutoff), ("neighbours", settings.neighbours)):
        limit = FARTHEST if name == "cutoff" else math.inf
        if not isinstance(value, Real) or not 0 < value <= limit or math.isinf(value):
            what = f"above 0 up to {limit:g} Å" if name == "cutoff" else "a number above 0"
            raise MoireioError(f"network: {name} is {reprlib.repr(value)}, {what} expected")
    if not all(isinstance(one, Real) and 0 < one <= FARTHEST for one in settings.reaches):
        raise MoireioError(
            f"network: reaches are {settings.reaches}, up to {FARTHEST:g} Å expected"
        )
    for name, most in (
        *((name, MOST_ENTRIES) for name in ("embed_node", "edge_init", "mid_node", "mid_edge")),
        *((name, MOST_ENTRIES) for name in ("post_node", "post_edge")),
        ("out_edge", MOST_OUTPUTS),
    ):
        _require_list(name, getattr(settings, name), most)


def _require_integer(name: str, value: Any, low: int, high: int) -> None:
    if not _is_integer(value) or not low <= value <= high:
        shown = reprlib.repr(value)
        raise MoireioError(f"network: {name} is {shown}, {low} to {high} expected")


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _require_list(name: str, irreps: Irreps, most: int) -> None:
    if not irreps or len(irreps) > most:
        raise MoireioError(f"network: {name} has {len(irreps)} entries, 1 to {most} expected")
    if irreps.lmax > MOST_DEGREE:
        text = f"network: {name} has a representation of degree {reprlib.repr(irreps.lmax)}"
        raise MoireioError(f"{text}, 0 to {MOST_DEGREE} expected")
    if not 0 < irreps.channels <= MOST_CHANNELS and most == MOST_ENTRIES:
        text = f"network: {name} has {reprlib.repr(irreps.channels)} channels"
        raise MoireioError(f"{text}, 1 to {MOST_CHANNELS} expected")
    if irreps.channels > MOST_OUTPUTS:
        text = f"network: {name} has {reprlib.repr(irreps.channels)} channels"
        raise MoireioError(f"{text}, up to {MOST_OUTPUTS} expected")


def require_targets(targets: Targets) -> None:
    """Raise if targets are not blocks between shells of the species.

    Parameters
    ----------
    targets : Targets
        Any.

    Raises
    ------
    MoireioError
        With what does not fit.
    """
    numbers, shells = targets.numbers, targets.shells
    fits = all(_is_integer(z) and 0 <= z <= HIGHEST_NUMBER for z in numbers)
    if not fits or not numbers:
        shown = reprlib.repr(numbers)
        raise MoireioError(f"network: atomic numbers {shown}, 0 to {HIGHEST_NUMBER} expected")
    if len(shells) != len(numbers):
        raise MoireioError(f"network: shells of {len(shells)} species, {len(numbers)} expected")
    for one in shells:
        fits = all(_is_integer(degree) and 0 <= degree <= MOST_SHELL for degree in one)
        if not fits or not 0 < len(one) <= MOST_SHELLS:
            raise MoireioError(
                f"network: shells {reprlib.repr(one)}, degrees from 0 to {MOST_SHELL} expected"
            )
    if not targets.targets:
        raise MoireioError("network: predicts no blocks")
    seen = set()
    for target in targets.targets:
        degrees = set()
        for pair, place in target.items():
            inside = all(
                _is_integer(species)
                and _is_integer(shell)
                and 0 <= species < len(shells)
                and 0 <= shell < len(shells[species])
                for species, shell in zip(pair, place, strict=True)
            )
            if not inside or (pair, place) in seen:
                what = "twice" if inside else "which there is not"
                raise MoireioError(
                    f"network: predicts the block of species {pair} and shells {place}, {what}"
                )
            seen.add((pair, place))
            degrees.add((shells[pair[0]][place[0]], shells[pair[1]][place[1]]))
        if len(degrees) != 1:
            raise MoireioError(
                f"network: blocks of degrees {sorted(degrees)} share channels, one pair of degrees "
                "expected"
            )


def require_outputs(settings: NetworkSettings, targets: Targets) -> None:
    """Raise if a network's output is not that of its targets.

    Parameters
    ----------
    settings : NetworkSettings
        The network.
    targets : Targets
        Meaning of its output.

    Raises
    ------
    MoireioError
        If species or output differ.
    """
    if settings.species != len(targets.numbers):
        raise MoireioError(
            f"network: {settings.species} species, its targets have {len(targets.numbers)}"
        )
    if settings.out_edge != targets.irreps():
        raise MoireioError("network: its output does not have the representations of its targets")


def update_lists(settings: NetworkSettings) -> Iterator[UpdateLists]:
    """Yield the lists of a network's updates, without making it.

    Parameters
    ----------
    settings : NetworkSettings
        The network.

    Yields
    ------
    UpdateLists
        For both halves of every block, in order.
    """
    from moireio.network.gate import GateLists, harmonics_irreps

    harmonics = harmonics_irreps(settings.harmonics_lmax, settings.even)
    nodes, edges = settings.embed_node, settings.edge_init
    for block in range(settings.blocks):
        last = block == settings.blocks - 1
        for half in ("node", "edge"):
            own, kinds = (nodes, 1) if half == "node" else (edges, 2)
            wanted = getattr(settings, f"{'post' if last else 'mid'}_{half}")
            gate = GateLists(Irreps(nodes + edges), harmonics, wanted)
            paths = [
                (a.mul, b.mul)
                for a in (*nodes, *nodes, *edges)
                for h in harmonics
                for b in gate.product
                if a.p * h.p == b.p and abs(a.l - h.l) <= b.l <= a.l + h.l
            ]
            yield UpdateLists(block, half, own, gate.out, settings.species**kinds, paths)
            if half == "node":
                nodes = gate.out
            else:
                edges = gate.out


def require_weights(settings: NetworkSettings, stored: Callable[[str], int | None]) -> None:
    """Raise if settings ask for other numbers of weights than there are.

    Parameters
    ----------
    settings : NetworkSettings
        The network.
    stored : callable
        Returns how many numbers a weight has, by its name in the network; None if it is absent.

    Raises
    ------
    MoireioError
        With the first weight that differs.
    """
    last = settings.edge_init
    _compare("embedding", settings.species * settings.embed_node.channels, stored)
    for lists in update_lists(settings):
        prefix = f"blocks.{lists.block}.{lists.half}"
        for name, count in (
            ("conv.tp.weights1", sum(a * b for a, b in lists.paths)),
            ("conv.tp.weights2", sum(b for _, b in lists.paths)),
            ("lin_pre.weight", _weights(lists.own, lists.own)),
            ("lin_post.weight", _weights(lists.out, lists.out)),
            ("sc.weight", lists.kinds * _weights(lists.own, lists.out)),
        ):
            _compare(f"{prefix}.{name}", count, stored)
        last = lists.out  # of the edges, in the end
    _compare("lin_edge.weight", _weights(last, settings.out_edge), stored)
    if stored(f"blocks.{settings.blocks}.node.lin_pre.weight") is not None:
        raise MoireioError(f"the settings ask for {settings.blocks} blocks, the file has more")


def _weights(source: Irreps, target: Irreps) -> int:
    """Return the number of weights of a linear map."""
    channels: dict[tuple[int, int], int] = {}
    for entry in target:
        channels[entry.kind] = channels.get(entry.kind, 0) + entry.mul
    return sum(entry.mul * channels.get(entry.kind, 0) for entry in source)


def _compare(name: str, count: int, stored: Callable[[str], int | None]) -> None:
    found = stored(name)
    if found is None:
        raise MoireioError(f"has no weight {name}; by the settings it has {count} numbers")
    if found != count:
        raise MoireioError(f"{name} has {found} numbers, {count} expected by the settings")
