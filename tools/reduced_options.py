"""``band --reduced``: a small model of bands near a k point."""

import click

from moireio.tools.common import say
from moireio.tools.options import OutputFile
from moireio.tools.progress import show_progress

_OPTIONS = (
    click.option(
        "--reduced",
        type=OutputFile(),
        metavar="FILE.npz",
        help="Write the bands of --bands or --energy-range near a k point as a small model too: H "
        "and S as polynomials of k, for k·p, Berry phases and many-body work. With --states it "
        "has its basis functions too.",
    ),
    click.option(
        "--reduced-at",
        metavar="K",
        help="Centre of --reduced: a corner as K, or three fractional coordinates k1,k2,k3.  "
        "[default: K, where the cell has one, else G]",
    ),
    click.option(
        "--reduced-radius",
        type=click.FloatRange(1e-3, 0.5),
        metavar="R",
        help="Largest distance from the centre along each axis, fractional coordinates.  "
        "[default: 0.1, or less where that is too much for --tolerance]",
    ),
)


def reduced_options(function):
    """Add the options of a reduced model to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def check_reduced(opts):
    """Refuse options of a reduced model that make no sense, as wrong usage.

    Parameters
    ----------
    opts : dict
        Values of the options.
    """
    if opts["reduced"] and not (opts["bands"] or opts["energy_range"]):
        raise click.UsageError("--reduced needs --bands or --energy-range.")
    if opts["reduced"] == "-":
        raise click.UsageError("--reduced needs the name of a file.")
    for name in ("reduced_at", "reduced_radius"):
        if opts[name] is not None and not opts["reduced"]:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --reduced.")


def write_reduced(ctx, file, bands, opts, choice):
    """Write the model of ``--reduced``, of the bands that were found along the path.

    Parameters
    ----------
    ctx : click.Context
        The running command.
    file : BlockFile
        With H.
    bands : BandStructure
        Which bands.
    opts : dict
        Values of the options.
    choice : SolverChoice
        How k points are solved.
    """
    from moireio.errors import MoireioError, naming
    from moireio.kspace.corners import special_points
    from moireio.kspace.path import parse_path
    from moireio.spectrum.anchors.reduction import reduced_model

    with naming(file.label):
        if "hamiltonian" not in file:
            raise MoireioError("has bands only: `reduced` needs H")
        if len(bands.energies) == 2:
            raise MoireioError(
                "has two spin channels, `reduced` is of one",
                remedy="use moireio.spectrum.anchors.reduction.reduced_model in Python",
            )
        corners = special_points(file.structure)[0]
        centre = opts["reduced_at"] or ("K" if "K" in corners else "G")
        pieces = parse_path(centre, corners)
        if len(pieces) > 1 or len(pieces[0]) > 1:
            raise MoireioError(f"`reduced_at` {centre!r} is more than one k point")
        k0 = pieces[0][0][1]
    count = bands.energies.shape[2]
    with show_progress(ctx, "reduced model") as update:
        model = reduced_model(
            file,
            k0,
            (bands.first_band, bands.first_band + count - 1),
            energy=float(bands.energies.mean()),
            radius=opts["reduced_radius"],
            tolerance=opts["tolerance"],
            states=opts["states"],
            solver=choice,
            progress=update,
        )
    model.write(opts["reduced"])
    say(
        ctx,
        f"note: reduced model of {count} bands with {model.h.shape[1]} basis functions, within "
        f"{model.radius:.3g} of {' '.join(f'{v:.6g}' for v in k0)} along each axis; errors below "
        f"{model.error:.0e} eV",
    )
