"""``openmx2h5``: OpenMX's .scfout into block files."""

import click

from moireio.tools.common import Command, arguments
from moireio.tools.conversion import run_conversion
from moireio.tools.options import options


@click.command("openmx2h5", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sources", nargs=-1, required=True, type=click.Path())
@options("output", "storage", "precision", "container", "compression", "force", "jobs", "pbc")
@click.option("--position", is_flag=True, help="Also ⟨i| r − τ_i |j⟩, Å.")
@click.option("--momentum", is_flag=True, help="Also ⟨i| ∂ |j⟩, Å⁻¹ (OpenMX 3.9 and later).")
@click.option("--density", is_flag=True, help="Also the density matrix.")
@click.option(
    "--dat",
    type=click.Path(exists=True, dir_okay=False),
    help="OpenMX input file, for species and bases, where the .scfout carries no text.",
)
@click.option(
    "--ignore-text-coordinates",
    is_flag=True,
    help="Do not compare cell and positions with those of the input text.",
)
@click.pass_context
def main(ctx, sources, output, dat, ignore_text_coordinates, jobs, pbc, **settings):
    """Read OpenMX's FILE.scfout (3.7 to 4.0) into a block file: structure, basis, H(R), S(R).

    One SOURCE goes to -o OUT, by default to standard output. Several go into a folder, -o DIR/,
    in parallel; those converted already are skipped. H is in eV, positions are in Å; H and S
    are made exactly Hermitian, and the deviation found is recorded.
    """
    from functools import partial

    from moireio.blockfile.convert import Conversion
    from moireio.formats.registry import FORMATS

    more = [name for name in ("position", "momentum", "density") if settings.pop(name)]
    operators = ["hamiltonian", "overlap", *more]
    conversion = Conversion("openmx2h5", operators, arguments=arguments(), **settings)
    form = FORMATS["openmx"]
    read = partial(form.read, dat=dat, check_coordinates=not ignore_text_coordinates, pbc=pbc)
    run_conversion(ctx, sources, output, conversion, read, form.suffixes, jobs, inputs=[dat])
