"""``h5-validate``: whether a block file is what it should be."""

import json
import sys

import click

from moireio.tools.common import Command
from moireio.tools.options import options, source_argument
from moireio.tools.progress import show_progress


@click.command("h5-validate", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@source_argument
@options("json")
@click.option(
    "--samples",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="k points (Γ and pseudo-random ones) where S must be positive definite.",
)
@click.pass_context
def main(ctx, source, as_json, samples):
    """Check a block file; one line per finding, exit code 1 if anything is wrong.

    Checked: schema and version, checksums, finite numbers, sorted pairs and on-site blocks, that
    every pair has its partner and is Hermitian with it, that S is positive definite, that H has
    no pairs beyond those of S.
    """
    from moireio.blockfile.checks import validate
    from moireio.blockfile.stream import open_source

    with open_source(source) as file:
        with show_progress(ctx, "h5-validate") as update:
            findings = validate(file, samples, update)
        label = file.label
    if as_json:
        click.echo(json.dumps([vars(f) for f in findings], ensure_ascii=False))
    else:
        for finding in findings:
            click.echo(f"{finding.level}: {label}: {finding.where}: {finding.what}")
        if not findings:
            click.echo(f"{label}: valid")
    if any(f.level == "error" for f in findings):
        sys.exit(1)
