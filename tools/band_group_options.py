"""The option ``--bands`` of the commands that look at groups of bands."""

import click


def _selections(ctx, param, texts):
    """Read every ``--bands``."""
    if not texts:
        return ()
    from moireio.errors import MoireioError
    from moireio.topology.bandgroups import parse_group

    try:
        return tuple(parse_group(text) for text in texts)
    except MoireioError as error:
        remedy = f" ({error.remedy})" if error.remedy else ""
        raise click.BadParameter(error.what.replace("`bands` ", "") + remedy) from None


def band_groups_option(default):
    """Add ``--bands``, repeatable, and ``--energy``.

    The values are a tuple of `moireio.topology.bandgroups.BandSelection`, and eV or None.

    Parameters
    ----------
    default : str
        The bands without the option, in words.

    Returns
    -------
    callable
        A decorator.
    """
    bands = click.option(
        "--bands",
        multiple=True,
        metavar="GROUP",
        callback=_selections,
        help="Bands: A:B, numbered from 1; v1:v3, counted down from the highest filled band; "
        "c1:c2, counted up from the lowest empty one; or a number of bands around --energy or the "
        f"gap. Repeatable.  [default: {default}]",
    )
    energy = click.option(
        "--energy",
        type=float,
        help="Energy (eV) between filled and empty bands.  [default: by the number of electrons, "
        "or the Fermi level where that is unknown]",
    )

    def decorate(function):
        return bands(energy(function))

    return decorate
