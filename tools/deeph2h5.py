"""``deeph2h5``: DeepH's data folders into block files."""

import click

from moireio.tools.common import Command, arguments
from moireio.tools.conversion import run_conversion
from moireio.tools.options import options


@click.command("deeph2h5", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sources", metavar="FOLDER...", nargs=-1, required=True, type=click.Path())
@options("output", "storage", "precision", "container", "compression", "force", "jobs", "pbc")
@click.option("--predicted", is_flag=True, help="Take the predicted H (…_pred.h5).")
@click.pass_context
def main(ctx, sources, predicted, output, jobs, pbc, **settings):
    """Read a data FOLDER of DeepH-pack, DeepH-E3 or DeepH-dock: structure, basis, H(R), S(R).

    FOLDER has lat.dat, site_positions.dat, element.dat, orbital_types.dat, and hamiltonians.h5 or
    overlaps.h5; or POSCAR, info.json, and hamiltonian.h5 or overlap.h5. Several go into a folder,
    -o DIR/, in parallel. H is made exactly Hermitian, and the deviation found is recorded. Radial
    functions are not in the FOLDER.
    """
    from functools import partial

    from moireio.blockfile.convert import Conversion
    from moireio.formats.calculations import open_calculation

    conversion = Conversion("deeph2h5", arguments=arguments(), **settings)
    read = partial(open_calculation, formats=("deeph-dock", "deeph"), predicted=predicted, pbc=pbc)
    run_conversion(ctx, sources, output, conversion, read, jobs=jobs)
