"""``h5-info``: what is in a block file or a model file."""

import json

import click

from moireio.tools.common import Command
from moireio.tools.options import options, source_argument


@click.command("h5-info", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@source_argument
@options("json")
def main(source, as_json):
    """List the contents of a block file: structure, basis, operators, results, sizes, history.

    For a model file: its species and shells, its size, and how it was trained.
    """
    from moireio.blockfile.stream import open_source
    from moireio.blockfile.summary import summarise, summary_text
    from moireio.models.shipped import is_model_file

    if is_model_file(source):
        from moireio.network import modelfile
        from moireio.network.training.report import model_summary, model_summary_text

        model = model_summary(modelfile.read(source))
        click.echo(json.dumps(model, ensure_ascii=False) if as_json else model_summary_text(model))
        return
    with open_source(source) as file:
        summary = summarise(file)
    click.echo(json.dumps(summary, ensure_ascii=False) if as_json else summary_text(summary))
