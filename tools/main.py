"""``moireio COMMAND`` and ``python -m moireio COMMAND``: all commands under one name."""

import warnings
from importlib import import_module

import click

from moireio.errors import MoireioError
from moireio.tools.common import Command, Failure, Group

GROUP = "moireio.commands"

COMMANDS = {
    "openmx2h5": "read H(R), S(R) of OpenMX calculations into block files",
    "build-twist": "build twisted, strained, shifted stacks of layers",
    "build-dataset": "write the calculations of a training set, run and collect them",
    "relax": "relax positions and cell in the forces of a calculator",
    "overlap": "compute S(R) of any structure from its orbitals",
    "predict-h": "predict H(R) with a trained network",
    "tb-h": "compute a Slater-Koster tight-binding Hamiltonian",
    "train-h": "train networks for Hamiltonians",
    "models": "keep, check and choose trained networks",
    "compare-h": "compare Hamiltonians by elements, orbitals and bands",
    "deeph2h5": "read DeepH's data folders into block files",
    "band": "compute bands along a path, draw and compare them",
    "flat-band": "report width and gaps of flat bands, and where they are localised",
    "dos": "compute the density of states, total and projected",
    "edge-project": "count edge states of ribbons and half-infinite layers",
    "symmetrise-h": "average H and S over the symmetry of the crystal",
    "c3-chern": "compute Chern numbers modulo 3 from eigenvalues of C3",
    "chern": "find Chern numbers, Z2, curvature and Wannier centres of groups of bands",
    "irreps": "report little groups, irreps and parities at corners of the zone",
    "convert-h": "convert H and S of other programs, and block files into their forms",
    "h5-info": "list the contents and the history of a block file",
    "h5-validate": "check a block file",
}


class AllCommands(Group):
    """Commands that are imported when they are called, those of other packages too."""

    def list_commands(self, ctx):
        """Return the names of the commands."""
        return [*COMMANDS, *_plugins(ctx), "completion"]

    def get_command(self, ctx, name):
        """Import a command."""
        if name == "completion":
            return completion
        if name in COMMANDS:
            return import_module(f"moireio.tools.{name.replace('-', '_')}").main
        plugin = _plugins(ctx).get(name)
        if plugin is None:
            return None
        try:
            command = plugin.load()
        except MoireioError as error:
            return Unusable(name, str(error))
        if not isinstance(command, click.Command):
            return Unusable(
                name,
                f"{name!r} ({GROUP}) of the distribution {plugin.distribution} is not a click "
                f"command (update or uninstall {plugin.distribution})",
            )
        return command

    def format_commands(self, ctx, formatter):
        """List the commands without importing them."""
        foreign = [(name, plugin.summary) for name, plugin in _plugins(ctx).items()]
        rows = [*COMMANDS.items(), *foreign, ("completion", "print completion for your shell")]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Unusable(click.Command):
    """A command of another package that cannot be loaded; completion passes it over.

    Parameters
    ----------
    name : str
        Its name.
    reason : str
        One line.
    """

    def __init__(self, name, reason):
        super().__init__(name, hidden=True)
        self.reason = reason

    def make_context(self, info_name, args, parent=None, **extra):
        """Fail, unless arguments are only completed."""
        if not extra.get("resilient_parsing"):
            raise Failure(self.reason)
        return super().make_context(info_name, args, parent, **extra)


def _plugins(ctx):
    """Return the commands of other packages, by name; a note names those that are not used."""
    from moireio.runtime import plugins

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        commands = plugins.entries(GROUP, (*COMMANDS, "completion"))
    for warning in () if ctx.resilient_parsing else caught:
        click.echo(f"note: {warning.message}", err=True)
    return commands


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell):
    """Print completion of all commands for a shell.

    As in: moireio completion bash > ~/.local/share/moireio.bash; source it from your profile.
    """
    from click.shell_completion import get_completion_class

    for name in ["moireio", *COMMANDS]:
        variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
        command = main if name == "moireio" else main.get_command(None, name)
        click.echo(get_completion_class(shell)(command, {}, name, variable).source())


@click.group(cls=AllCommands, context_settings={"help_option_names": ["-h", "--help"]})
def main():
    """From DFT output to the topology of twisted two-dimensional materials.

    Each command reads a block file, adds one thing, and can stand in a pipeline; each is also
    a program of its own name. Energies are eV, lengths Å.
    """
