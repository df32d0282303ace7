"""``convert-h``: the same operators in another container, storage or precision."""

import click

from moireio.tools.common import Command, arguments, say
from moireio.tools.options import options, source_argument
from moireio.tools.progress import show_progress


@click.command("convert-h", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@source_argument
@options("output", "container", "storage", "precision", "compression", "force", "soc")
@click.pass_context
def main(ctx, source, output, container, storage, precision, compression, force, soc):
    """Copy a block file into another container (HDF5, zarr, zip), storage or precision.

    By default to standard output. Values do not change, unless --precision float32 rounds them.
    With a suffix of structure files (.cif, .vasp, .xyz, .lmp, .dat …; also POSCAR) OUTPUT holds the
    structure alone.
    """
    from moireio.blockfile.stream import check_outputs, open_source, write_target
    from moireio.errors import MoireioError
    from moireio.formats.structures import files as structure_files
    from moireio.operators.blocks import row_bytes
    from moireio.operators.views import stored_as
    from moireio.runtime.progress import share

    output = "-" if output is None else output
    check_outputs([output], [source], force)
    form = "block" if container else structure_files.kind(output)
    if form not in (None, "block"):
        _write_structure(ctx, source, output, soc)
        return
    if soc:
        raise click.UsageError("--soc is for OpenMX inputs: -o FILE.dat.")
    if form is None:
        raise MoireioError(
            "has no suffix of a block file or a structure file",
            path=output,
            remedy="use .h5, .zarr or .zarr.zip; for the structure alone .cif, .vasp, .xyz, .lmp "
            "or .dat",
        )
    with open_source(source) as file:
        kept, changed = [], []
        for name in file.operators:
            operator = file.operator(name)
            view = stored_as(operator, storage, precision)
            if view is operator and compression == "none":
                kept.append(operator)
            else:
                changed.append(view)
        total = sum(int(row_bytes(s).sum()) for s in (*changed, *kept))
        with (
            write_target(
                output,
                base=file,
                container=container,
                force=force,
                drop=tuple(s.meta.name for s in changed),
                compression=compression,
            ) as writer,
            show_progress(ctx, "convert-h") as update,
        ):
            step = share(update, total)
            for operator in kept:  # copied as they are, chunk by chunk: only checked here
                operator.check(step)
            for operator in changed:
                writer.operator(operator, progress=step)
            writer.history("convert-h", arguments(), [(file.label, file.digest())])


def _write_structure(ctx, source, output, soc):
    """Write the structure of a block file, with the names of its bases where OUTPUT has them."""
    from click.core import ParameterSource

    from moireio.blockfile.stream import open_source
    from moireio.formats.structures import files as structure_files

    for name in ("storage", "precision", "compression"):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} is for block files; {output} holds a structure.")
    with open_source(source) as file:
        basis = file.basis if "basis" in file else None
        structure_files.write(output, file.structure, basis, f"moireio convert-h {file.label}", soc)
        left = [name for name in file.groups if name not in ("structure", "basis", "history")]
        if left:
            names = ", ".join(f"/{name}" for name in left)
            say(ctx, f"note: {output} holds the structure alone, without {names}")
