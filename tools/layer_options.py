"""Options of the commands that stack layers, and the stack that they describe."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from moireio.tools.options import basis_names, options

if TYPE_CHECKING:
    from moireio.moire.build import Stacking
    from moireio.moire.layers import Layer
    from moireio.moire.search import Limits


@dataclass(frozen=True)
class Stack:
    """Layers, their arrangement, and the limits of the search for a common cell.

    Parameters
    ----------
    layers : list of Layer
        From the bottom to the top.
    pattern : tuple of int
        For each layer 0 (keeps its axes) or 1 (is twisted).
    stacking : Stacking
        Centre, shifts, distances.
    limits : Limits
        Limits of the search for a common cell.
    """

    layers: "list[Layer]"
    pattern: tuple[int, ...]
    stacking: "Stacking"
    limits: "Limits"

    @property
    def heads(self) -> "tuple[Layer, Layer]":
        """The first layer that keeps its axes and the first that is twisted."""
        return self.layers[0], self.layers[self.pattern.index(1)]

    @property
    def fits_exactly(self) -> bool:
        """Whether unstrained twisted cells can be expected."""
        first, second = self.heads
        return first.same_lattice(second) and first.bravais_class in ("hexagonal", "square")


#: Values of ``--strain-on``, and the library's.
STRAIN_ON = {"1": "first", "2": "second", "shared": "shared", "first": "first", "second": "second"}

_LAYER_OPTIONS = (
    click.option(
        "--index",
        nargs=2,
        type=int,
        metavar="M N",
        help="Exact cell: hexagonal rows (M,N) (−N,M+N) below and (N,M) (−M,M+N) above; square "
        "(M,N) (−N,M) below and (N,M) (−M,N) above. Clockwise for M > N, a negative --angle.",
    ),
    click.option(
        "--stacking",
        type=click.Choice(["R", "H"]),
        default="R",
        show_default=True,
        help="H turns the twisted layers by 180 degrees first.",
    ),
    click.option(
        "--pattern",
        metavar="DIGITS",
        help="One digit for each layer: 0 keeps its axes, 1 is twisted.  [default: 0101…]",
    ),
    click.option(
        "--centre",
        type=click.Choice(["hexagon", "atom", "bond", "cell"]),
        help="Point of every layer on the rotation axis.  [default: hexagon, else cell]",
    ),
    click.option(
        "--shift",
        nargs=3,
        type=float,
        multiple=True,
        metavar="LAYER U V",
        help="Displace a layer (1 is the lowest) by the fractions U and V of its own lattice "
        "vectors. Repeatable.",
    ),
    click.option(
        "--interlayer",
        type=click.FloatRange(0, min_open=True),
        multiple=True,
        metavar="D",
        help="Distance of neighbouring middle planes, Å: one for all gaps, or repeated for every "
        "gap.  [default: that of the table of layers]",
    ),
    click.option(
        "--vacuum",
        type=click.FloatRange(0, min_open=True),
        default=20.0,
        show_default=True,
        help="Empty space above the stack (and beside a ribbon), Å.",
    ),
    click.option(
        "--strain-on",
        type=click.Choice([*STRAIN_ON]),
        metavar="[1|2|shared]",
        default="shared",
        show_default=True,
        callback=lambda ctx, param, word: STRAIN_ON[word],
        help="Layers that take the mismatch of the lattices: 1, those that keep their axes; 2, "
        "those that are twisted; or both.",
    ),
    click.option(
        "--max-atoms",
        type=click.IntRange(1),
        help="Largest cell to search, in atoms.  [default: 20000; build-dataset: 200]",
    ),
    click.option(
        "--max-strain",
        type=click.FloatRange(0, 0.2),
        help="Largest principal strain of a layer (0.01 is 1 %).  [default: 0 where equal lattices "
        "have such a cell, else 0.005]",
    ),
    click.option(
        "--max-aspect",
        type=click.FloatRange(1, 100),
        default=4.0,
        show_default=True,
        help="Largest ratio of the sides of a cell to search.",
    ),
    click.option(
        "--basis",
        multiple=True,
        metavar="X=NAME",
        callback=basis_names,
        help="Basis of a species, as C=C6.0-s2p2d1; other species get OpenMX's usual one. "
        "Repeatable.",
    ),
)


def layer_options(function):
    """Add the options of stacks to a command.

    Parameters
    ----------
    function : callable
        The function of the command.

    Returns
    -------
    callable
        The same function with the options.
    """
    for option in reversed(_LAYER_OPTIONS):
        function = option(function)
    return options("pbc")(function)


def read_stack(sources, settings, max_atoms=20_000):
    """Load layers and collect the options of a stack.

    Parameters
    ----------
    sources : sequence of str
        Names or files of the layers; one stands for two like layers.
    settings : dict
        The options of the command.
    max_atoms : int
        Default of ``--max-atoms``.

    Returns
    -------
    Stack
        Layers, arrangement and limits.
    """
    from moireio.formats.structures.files import read_layer
    from moireio.moire.build import Stacking, resolve_pattern
    from moireio.moire.search import Limits

    layers = [read_layer(name, pbc=settings["pbc"]) for name in sources]
    layers = layers * 2 if len(layers) == 1 else layers
    digits = settings["pattern"]
    if digits is not None and set(digits) - {"0", "1"}:
        raise click.UsageError(f"--pattern {digits}: expected one digit for each layer, 0 or 1.")
    pattern, _ = resolve_pattern(layers, None if digits is None else [int(c) for c in digits])
    shifts = {}
    for layer, u, v in settings["shift"]:
        if layer != int(layer) or not 1 <= layer <= len(layers):
            raise click.UsageError(f"--shift {layer:g}: there are {len(layers)} layers.")
        shifts[int(layer) - 1] = (u, v)
    stacking = Stacking(
        pattern=pattern,
        turned=tuple(settings["stacking"] == "H" and group == 1 for group in pattern),
        centre=settings["centre"],
        shifts=shifts,
        interlayer=settings["interlayer"] or None,
        vacuum=settings["vacuum"],
    )
    limits = Limits(
        angles=(0.0, 0.0),
        max_atoms=settings["max_atoms"] or max_atoms,
        max_strain=settings["max_strain"],
        strain_on=settings["strain_on"],
        max_aspect=settings["max_aspect"],
    )
    return Stack(layers, pattern, stacking, limits)
