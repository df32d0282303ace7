"""``deeph2h5``: DeepH's data folders into block files."""

import click

from moireio.tools.common import Command, arguments, say
from moireio.tools.options import options
from moireio.tools.progress import show_progress


@click.command("deeph2h5", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="FOLDER", type=click.Path())
@options("output", "storage", "precision", "container", "compression", "force")
@click.option("--predicted", is_flag=True, help="Take the predicted H (…_pred.h5).")
@click.pass_context
def main(ctx, source, predicted, output, storage, precision, container, compression, force):
    """Read a data FOLDER of DeepH-pack, DeepH-E3 or DeepH-dock: structure, basis, H(R), S(R).

    FOLDER has lat.dat, site_positions.dat, element.dat, orbital_types.dat, and hamiltonians.h5 or
    overlaps.h5; or POSCAR, info.json, and hamiltonian.h5 or overlap.h5. H is made exactly
    Hermitian, and the deviation found is recorded. The folder knows nothing of radial functions.
    """
    from moireio.blockfile.stream import check_container, check_outputs, write_target
    from moireio.errors import MoireioError
    from moireio.formats.deeph import folder as deeph
    from moireio.operators.views import CastView, UpperView

    output = "-" if output is None else output
    check_outputs([output], [source], force)
    check_container(output, container)
    folder = deeph.read(source)
    names = [
        n for n in ("predicted" if predicted else "hamiltonian", "overlap") if n in folder.files
    ]
    if not names or (predicted and "predicted" not in names):
        wanted = "predicted Hamiltonian" if predicted else "Hamiltonian or overlap"
        raise MoireioError(f"has no {wanted}", path=source)
    sources = [folder.operator(name) for name in names]
    residual = {s.meta.name: s.meta.residual for s in sources}
    if storage == "upper":
        sources = [UpperView(s) for s in sources]
    if precision:
        sources = [CastView(s, precision) for s in sources]
    with (
        write_target(output, force=force, container=container, compression=compression) as writer,
        show_progress(ctx, "deeph2h5") as update,
    ):
        writer.structure(folder.structure)
        writer.basis(folder.basis)
        writer.electrons(folder.electrons)
        writer.operators(sources, progress=update)
        writer.history("deeph2h5", arguments(), [(source, "")])
    for name, value in residual.items():
        if value > 1e-6:
            say(ctx, f"note: {source}: the {name} was {value:.1e} away from Hermitian")
