"""The schema of the block file: a core, the catalogue of operators and the kinds of results."""

import contextlib
import json
import re
from collections.abc import Collection, Iterator
from importlib import resources
from typing import Any

from moireio.errors import DamagedError, MoireioError
from moireio.operators.catalogue import CATALOGUE, operator_names, operator_type
from moireio.results.registry import FOREIGN, KINDS, usable_kind
from moireio.store.base import Container

#: What code raises at values of another kind than the schema's.
MISFITS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
)


@contextlib.contextmanager
def naming_misfits(container: Container) -> Iterator[None]:
    """Name the place in a file that departs from the schema, where code fails at its values.

    Parameters
    ----------
    container : Container
        Open for reading.

    Yields
    ------
    None
        Once. Errors of a file that keeps to the schema pass as they are.

    Raises
    ------
    DamagedError
        With the first such place, what was found and what is expected.
    """
    try:
        yield
    except MoireioError:
        raise
    except MISFITS as error:
        found = violations(container)
        if not found:
            raise
        where, what = found[0]
        raise DamagedError(
            f"{where}: {what}", path=container.label, remedy="h5-validate lists all that is wrong"
        ) from error


def load_schema(groups: Collection[str] = ()) -> dict[str, Any]:
    """Return the JSON Schema of a block file's tree.

    Parameters
    ----------
    groups : collection of str
        Groups at the top of a file: operators and results of other packages among them get a
        place in the schema.

    Returns
    -------
    dict
        The schema, draft 2020-12: ``schemas/blockfile-1.json`` with all operators and results.
    """
    text = resources.files("moireio.schemas").joinpath("blockfile-1.json").read_text("utf-8")
    schema = json.loads(text)
    top = schema["properties"]["groups"]
    names, patterns = top["properties"], top["patternProperties"]
    for name in operator_names():
        if name in CATALOGUE or name in groups:
            names[name] = operator_type(name).schema()
    for name, kind in KINDS.items():
        names[name] = kind.schema()
        if kind.named:
            patterns[f"^{name}-.+$"] = names[name]
    for name in groups:
        other = usable_kind(name) if name.startswith(FOREIGN) else None
        if other is not None:
            names[name] = other.schema()
    return schema


def is_foreign(group: str) -> bool:
    """Return whether a group belongs to a program that no installed package knows.

    Parameters
    ----------
    group : str
        A group at the top of a file.

    Returns
    -------
    bool
        Such groups are kept and not looked into.
    """
    other = group.startswith(FOREIGN) and group not in operator_names()
    return other and usable_kind(group) is None


def tree(container: Container, name: str = "") -> dict[str, Any]:
    """Describe a container's groups, arrays and attributes without reading arrays.

    Parameters
    ----------
    container : Container
        Open for reading.
    name : str
        The group to start from.

    Returns
    -------
    dict
        ``attributes``, ``arrays`` (dtype and shape of each) and ``groups``, nested. Groups of
        programs that no installed package knows are left out.
    """
    prefix = f"{name}/" if name else ""
    arrays = {}
    for array in container.arrays(name):
        info = container.info(prefix + array)
        arrays[array] = {"dtype": info.dtype, "shape": list(info.shape)}
    groups = [g for g in container.groups(name) if name or not is_foreign(g)]
    return {
        "attributes": container.attributes(name),
        "arrays": arrays,
        "groups": {group: tree(container, prefix + group) for group in groups},
    }


def violations(container: Container, newer: bool = False) -> list[tuple[str, str]]:
    """Find where a container's tree departs from the schema.

    Parameters
    ----------
    container : Container
        Open for reading.
    newer : bool
        The file is of a newer minor version: unknown names are no violation.

    Returns
    -------
    list of (str, str)
        Place and description of each.
    """
    from jsonschema import Draft202012Validator

    entries = []
    schema = load_schema(container.groups())
    for error in Draft202012Validator(schema).iter_errors(tree(container)):
        path = [str(part) for part in error.absolute_path]
        where = "/" + "/".join(p for p in path if p not in ("groups", "arrays", "attributes"))
        kind = {"groups": "group", "arrays": "array", "attributes": "attribute"}
        what = error.message
        if error.validator == "required":
            missing = [n for n in error.validator_value if n not in error.instance]
            what = f"{kind.get(path[-1] if path else '', 'part')} {', '.join(missing)} is missing"
        elif error.validator == "additionalProperties":
            if newer:
                continue
            patterns = error.schema.get("patternProperties", ())
            extra = sorted(
                name
                for name in set(error.instance) - set(error.schema.get("properties", ()))
                if not any(re.search(pattern, name) for pattern in patterns)
            )
            what = f"unknown {kind.get(path[-1] if path else '', 'part')} {', '.join(extra)}"
        elif len(what) > 160:
            what = f"{what[:80]} … {what[-70:]}"
        entries.append((where, what))
    return sorted(set(entries))
