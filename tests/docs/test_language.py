"""Pages, help and messages are plain English; what they were once full of stays out."""

import ast
import io
import re
import tokenize
from pathlib import Path

import click
import pytest

from moireio.tools.main import main

ROOT = Path(__file__).parent.parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("schemas/*.md")]

FORBIDDEN = {
    r"(?i)\b(tells?|told|telling)\b": "report, give, set, show, determine",
    r"\blet(s|ting)? \w*\s?go\b": "free, release",
    r"\b(as|what|so) (\S+ ){0,3}says?\b": "according to, given by",
    r"\bsays? (so|otherwise|nothing|it)\b": "report, note, specify",
    r"\bcomes? along\b": "is shipped",
    r"\bReturn what\b": "name what is returned",
    r"\bat hand\b": "available",
}
# Descriptions of parameters name the quantity: "energies : eV", not "Of the levels".
BEGINNINGS = {r"^\s*Of (?!course)": "begin with the quantity"}


def violations(text, patterns=FORBIDDEN):
    """Return the lines of a text that match a pattern, each with the better words."""
    return [
        f"{line.strip()}   -> {better}"
        for line in text.splitlines()
        for pattern, better in patterns.items()
        if re.search(pattern, line)
    ]


def command_helps():
    context = click.Context(main, info_name="moireio")
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        records = [p.get_help_record(context) for p in command.params]
        yield name, command.help or "", [text for _, text in filter(None, records)]


def test_the_guard_finds_what_it_should():
    assert violations("the file tells its digits")
    assert violations("the factors are let go")
    assert violations("as the file says")
    assert violations("        Of the sparse solver.", BEGINNINGS)
    assert not violations("The header gives the Fermi level. Of course it does.")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page):
    assert violations(page.read_text("utf-8")) == []


def test_helps():
    for name, text, options in command_helps():
        assert violations("\n".join([text, *options])) == [], name
        assert violations("\n".join(options), BEGINNINGS) == [], name


@pytest.mark.parametrize("folder", ["moireio", "formats", "tools"])
def test_code(folder):
    """Every string and comment of the code: messages, docstrings, reasons."""
    bad = []
    for path in ROOT.glob(f"{folder}/**/*.py"):
        text = path.read_text("utf-8")
        strings = [
            (node.lineno, node.value)
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments = [(t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT]
        for patterns, texts in ((FORBIDDEN | BEGINNINGS, strings), (FORBIDDEN, comments)):
            for line, words in texts:
                bad += [
                    f"{path.relative_to(ROOT)}:{line}: {v}" for v in violations(words, patterns)
                ]
    assert bad == []
