"""``h5-info``: what is in a block file."""

import json

import click

from moireio.tools.common import Command, options, source_argument


@click.command("h5-info", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@source_argument
@options("json")
def main(source, as_json):
    """Tell what is in a block file: structure, basis, operators, results, sizes, history."""
    from moireio.stream import open_source
    from moireio.summary import summarise, summary_text

    with open_source(source) as file:
        summary = summarise(file)
    click.echo(json.dumps(summary, ensure_ascii=False) if as_json else summary_text(summary))


if __name__ == "__main__":
    main()
