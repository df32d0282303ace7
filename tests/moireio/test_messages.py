"""Messages of the library: they name its own parameters, which commands print as options."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from moireio.tools.common import OPTION_OF, with_options
from moireio.tools.main import main as all_commands

ROOT = Path(__file__).resolve().parent.parent.parent
PARAMETER = re.compile(r"`([A-Za-z_]\w*)`")
OPTION = re.compile(r"(^|[\s(\"'`])--[a-z]")
#: Arguments that the library gives to programs or looks for, and options of other programs.
NOT_OURS = re.compile(r"--(probe|debug)|.*\bmpirun\b.*")
#: Parameters that only a caller of the library can set.
LIBRARY_ONLY = {"band_range", "cell", "params", "partners", "real", "shells", "structure"}


def _texts() -> Iterator[tuple[str, str]]:
    """Yield every string of the library that is no docstring, with its place."""
    for path in [*(ROOT / "moireio").rglob("*.py"), *(ROOT / "formats").rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        alone = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        for node in ast.walk(tree):
            if id(node) in alone or not isinstance(node, ast.Constant):
                continue
            if isinstance(node.value, str):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def _names() -> set[str]:
    """Return the names of all arguments and fields of the library."""
    names = set()
    for path in [*(ROOT / "moireio").rglob("*.py"), *(ROOT / "formats").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.arg):
                names.add(node.arg)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
    return names


def _commands(group=all_commands) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command)
        else:
            yield command


TEXTS = list(_texts())


def test_the_library_names_no_options():
    named = [
        f"{place}: {text}"
        for place, text in TEXTS
        if OPTION.search(text) and not NOT_OURS.fullmatch(text)
    ]
    assert named == []


def test_words_in_backticks_are_parameters():
    names = _names() | {p.name for command in _commands() for p in command.params}
    unknown = [
        f"{place}: {word}"
        for place, text in TEXTS
        for word in PARAMETER.findall(text)
        if word not in names
    ]
    assert unknown == []


def test_every_parameter_in_a_message_is_an_option_of_some_command():
    contexts = [click.Context(command) for command in _commands()]
    words = {word for _, text in TEXTS for word in PARAMETER.findall(text)} - LIBRARY_ONLY
    plain = {w for w in words if all(with_options(f"`{w}`", c) == w for c in contexts)}
    assert plain == set()


def test_options_of_formats_are_named_as_the_command_takes_them():
    command = next(c for c in _commands() if c.name == "convert-h")
    text = with_options("choose with `spin`, replace it with `force`", click.Context(command))
    assert text == "choose with --option spin=…, replace it with --force"


@pytest.mark.parametrize("parameter", sorted(OPTION_OF))
def test_the_table_of_other_names_is_needed(parameter):
    names = {parameter for _, text in TEXTS for parameter in PARAMETER.findall(text)}
    assert parameter in names
    others = [c for c in _commands() if parameter not in {p.name for p in c.params}]
    printed = {with_options(f"`{parameter}`", click.Context(c)) for c in others}
    assert printed - {parameter}
