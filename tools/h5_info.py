"""``h5-info``: what is in block files and model files."""

import json

import click

from moireio.tools.common import Command, describe_error
from moireio.tools.options import BlockFile, options


@click.command("h5-info", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", metavar="[SOURCE]...", nargs=-1, type=BlockFile())
@options("json")
@click.pass_context
def main(ctx, files, as_json):
    """List the contents of block files: structure, basis, operators, results, sizes, history.

    For a model file: its species and shells, its size, and how it was trained. The JSON of several
    files is a list. A file that cannot be read is reported; the others are listed.
    """
    if len(files) < 2:
        value, text = _summary(files[0] if files else "-")
        click.echo(json.dumps(value, ensure_ascii=False) if as_json else text())
        return
    values, texts, failed = [], [], False
    for name in files:
        try:
            value, text = _summary(name)
        except Exception as error:
            if ctx.meta["moireio.debug"]:
                raise
            click.echo(f"error: {describe_error(error, ctx, name)}", err=True)
            failed = True
            continue
        values.append(value)
        texts.append(text())
    click.echo(json.dumps(values, ensure_ascii=False) if as_json else "\n\n".join(texts))
    ctx.exit(1 if failed else 0)


def _summary(source):
    """Return the contents of a file as data, and a function that returns them as text."""
    from functools import partial

    from moireio.blockfile.stream import open_source
    from moireio.blockfile.summary import summarise, summary_text
    from moireio.models.shipped import is_model_file

    if is_model_file(source):
        from moireio.network import modelfile
        from moireio.network.training.report import model_summary, model_summary_text

        model = model_summary(modelfile.read(source))
        return model, partial(model_summary_text, model)
    with open_source(source) as file:
        summary = summarise(file)
    return summary, partial(summary_text, summary)
