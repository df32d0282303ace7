"""The schema of the block file: ``schemas/blockfile-1.json`` and the catalogue of operators."""

import json
from importlib import resources

from moireio.operators.catalogue import operator_names, operator_type


def load_schema():
    """Return the JSON Schema of a block file's tree.

    Returns
    -------
    dict
        The schema, draft 2020-12.
    """
    text = resources.files("moireio.schemas").joinpath("blockfile-1.json").read_text("utf-8")
    schema = json.loads(text)
    groups = schema["properties"]["groups"]["properties"]
    groups |= {name: operator_type(name).schema() for name in operator_names()}
    return schema


def tree(container, name=""):
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
        ``attributes``, ``arrays`` (dtype and shape of each) and ``groups``, nested.
    """
    prefix = f"{name}/" if name else ""
    arrays = {}
    for array in container.arrays(name):
        info = container.info(prefix + array)
        arrays[array] = {"dtype": info.dtype, "shape": list(info.shape)}
    return {
        "attributes": container.attributes(name),
        "arrays": arrays,
        "groups": {g: tree(container, prefix + g) for g in container.groups(name)},
    }


def violations(container, newer=False):
    """Return how a container's tree departs from the schema.

    Parameters
    ----------
    container : Container
        Open for reading.
    newer : bool
        The file is of a newer minor version: names that are not known are passed over.

    Returns
    -------
    list of (str, str)
        Where and what, one entry per violation.
    """
    from jsonschema import Draft202012Validator

    found = []
    for error in Draft202012Validator(load_schema()).iter_errors(tree(container)):
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
            known = set(error.schema.get("properties", {}))
            extra = sorted(set(error.instance) - known)
            what = f"unknown {kind.get(path[-1] if path else '', 'part')} {', '.join(extra)}"
        elif len(what) > 160:
            what = f"{what[:80]} … {what[-70:]}"
        found.append((where, what))
    return sorted(set(found))
