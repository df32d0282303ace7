"""Options of the commands that stack layers, and what they mean."""

from dataclasses import dataclass

import click

from moireio.tools.options import basis_names


@dataclass(frozen=True)
class Stack:
    """Layers with the options that tell how they lie on each other.

    Parameters
    ----------
    layers : list of Layer
        From the bottom to the top.
    pattern : tuple of int
        Which are turned.
    stacking : Stacking
        Centre, shifts, distances.
    limits : Limits
        Of the search for a common cell.
    """

    layers: list
    pattern: tuple
    stacking: object
    limits: object

    @property
    def heads(self):
        """The first layer that keeps its axes and the first that is turned."""
        return self.layers[0], self.layers[self.pattern.index(1)]

    @property
    def fits_exactly(self):
        """Tell whether unstrained twisted cells are to be expected."""
        first, second = self.heads
        return first.resembles(second) and first.kind in ("hexagonal", "square")


_LAYER_OPTIONS = (
    click.option(
        "--index",
        nargs=2,
        type=int,
        metavar="M N",
        help="Exact cell: hexagonal rows (M,N) (−N,M+N) below and (N,M) (−M,M+N) above; square "
        "(M,N) (−N,M) and (N,M) (−M,N). Clockwise for M > N.",
    ),
    click.option(
        "--stacking",
        type=click.Choice(["R", "H"]),
        default="R",
        show_default=True,
        help="H turns the layers of the second kind by 180 degrees first.",
    ),
    click.option(
        "--pattern",
        metavar="DIGITS",
        help="One digit a layer: 0 keeps its axes, 1 is turned.  [default: 0101…]",
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
        help="Displace a layer (1 is the lowest) by U, V of its own lattice vectors.",
    ),
    click.option(
        "--interlayer",
        type=click.FloatRange(0, min_open=True),
        multiple=True,
        metavar="D",
        help="Distance of neighbouring middle planes, Å; once, or for every gap.  [default: known]",
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
        type=click.Choice(["first", "second", "shared"]),
        default="shared",
        show_default=True,
        help="Which layer takes the mismatch of the lattices.",
    ),
    click.option(
        "--max-atoms",
        type=click.IntRange(1),
        help="In the cell, for the search.  [default: 20000; build-dataset: 200]",
    ),
    click.option(
        "--max-strain",
        type=click.FloatRange(0),
        help="Largest principal strain of a layer.  [default: 0 where equal lattices have such a "
        "cell, else 0.005]",
    ),
    click.option(
        "--max-aspect",
        type=click.FloatRange(1),
        default=4.0,
        show_default=True,
        help="Longest over shortest side of the cell, for the search.",
    ),
    click.option(
        "--basis",
        multiple=True,
        metavar="X=NAME",
        callback=basis_names,
        help="Basis of a species, as C=C6.0-s2p2d1; the others get OpenMX's usual one.",
    ),
)


def layer_options(function):
    """Add the options of stacks.

    Parameters
    ----------
    function : callable
        A command.

    Returns
    -------
    callable
        The same.
    """
    for option in reversed(_LAYER_OPTIONS):
        function = option(function)
    return function


def read_stack(sources, settings, max_atoms=20_000):
    """Load layers and turn options into what the library takes.

    Parameters
    ----------
    sources : sequence of str
        Names or files; one stands for two like layers.
    settings : dict
        The command's options.
    max_atoms : int
        For the search, unless the user says otherwise.

    Returns
    -------
    Stack
        To be built.
    """
    from moireio.formats.structures import read_layer
    from moireio.moire.build import Stacking, groups
    from moireio.moire.search import Limits

    layers = [read_layer(name) for name in sources]
    layers = layers * 2 if len(layers) == 1 else layers
    text = settings["pattern"]
    if text is not None and set(text) - {"0", "1"}:
        raise click.UsageError(f"--pattern {text}: one digit a layer, 0 or 1.")
    pattern, _ = groups(layers, None if text is None else [int(c) for c in text])
    shifts = {}
    for layer, u, v in settings["shift"]:
        if layer != int(layer) or not 1 <= layer <= len(layers):
            raise click.UsageError(f"--shift {layer:g}: there are {len(layers)} layers.")
        shifts[int(layer) - 1] = (u, v)
    stacking = Stacking(
        pattern=pattern,
        turned=tuple(settings["stacking"] == "H" and p == 1 for p in pattern),
        centre=settings["centre"],
        shifts=shifts,
        interlayer=settings["interlayer"] or None,
        vacuum=settings["vacuum"],
    )
    limits = Limits(
        window=(0.0, 0.0),
        max_atoms=settings["max_atoms"] or max_atoms,
        max_strain=settings["max_strain"],
        place=settings["strain_on"],
        max_aspect=settings["max_aspect"],
    )
    return Stack(layers, pattern, stacking, limits)
