"""``convert-h``: the same operators in another container, storage or precision."""

import click

from moireio.tools.common import Command, arguments
from moireio.tools.options import options, source_argument
from moireio.tools.progress import show_progress


@click.command("convert-h", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@source_argument
@options("output", "container", "storage", "precision", "compression", "force")
@click.pass_context
def main(ctx, source, output, container, storage, precision, compression, force):
    """Copy a block file into another container (HDF5, zarr, zip), storage or precision.

    By default to standard output. Values do not change, unless --precision float32 rounds them.
    """
    from moireio.blockfile.stream import check_container, check_outputs, open_source, write_target
    from moireio.operators.blocks import row_bytes
    from moireio.operators.views import stored_as
    from moireio.runtime.progress import share

    output = "-" if output is None else output
    check_outputs([output], [source], force)
    check_container(output, container)
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
