"""``crystal-field``: levels of every atom's on-site block of H."""

import click

from moireio.tools.common import Command, arguments
from moireio.tools.options import destination, options, source_argument


@click.command(
    "crystal-field", cls=Command, context_settings={"help_option_names": ["-h", "--help"]}
)
@source_argument
@options("output", "in_place", "force")
@click.pass_context
def main(ctx, source, output, in_place, force):
    """Print the crystal-field levels of every atom (eV), from the on-site blocks of H.

    With -o or --in-place the blocks are added to the block file as the operator x_onsite, and the
    levels as x_crystal_field.
    """
    from moireio.blockfile.stream import check_outputs, open_source, write_target
    from outsider.operator import OnsiteBlocks
    from outsider.result import crystal_field

    destination(output, in_place)
    check_outputs([output], [source], force)
    with open_source(source) as file:
        onsite = OnsiteBlocks(file.hamiltonian)
        levels = crystal_field(onsite)
        if output or in_place:
            groups = ("x_onsite", "x_crystal_field")
            with write_target(
                output, base=file, in_place=in_place, force=force, drop=groups
            ) as writer:
                writer.operator(onsite)
                writer.result("x_crystal_field", levels)
                writer.history("crystal-field", arguments(), [(file.label, file.digest())])
    if output != "-":
        for atom, *energies in zip(levels.atom, *levels.energies, strict=True):
            click.echo(f"{atom:4d} " + " ".join(f"{energy:12.6f}" for energy in energies))
