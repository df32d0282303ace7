"""What commands that give energies share: levels, windows, meshes, tables."""

import re

import click

from moireio.tools.common import arguments, is_sensible


def level(text):
    """Read the value of ``--zero``.

    Parameters
    ----------
    text : str or None
        A name, or an energy in eV.

    Returns
    -------
    str, float or None
        "fermi", "vbm", "none", an energy, or None as given.
    """
    if text is None or text in ("fermi", "vbm", "none"):
        return text
    value = energy(text)
    if value is None:
        raise click.BadParameter(f"{text!r} is neither fermi, vbm, none nor an energy in eV")
    return value


def energy(text):
    """Read an energy.

    Parameters
    ----------
    text : str
        In eV.

    Returns
    -------
    float or None
        None if it is no finite number.
    """
    try:
        value = float(text)
    except ValueError:
        return None
    return value if is_sensible(value) else None


def check_window(window, option="--window"):
    """Refuse a window of energies that is none.

    Parameters
    ----------
    window : tuple of two float, or None
        Lowest and highest energy, eV.
    option : str
        Whose value it is.
    """
    low, high = window or (0.0, 1.0)
    if not low < high:
        raise click.BadParameter(f"{option} takes the lowest energy, then the highest, in eV")


def check_name(name):
    """Refuse a ``--name`` that cannot be part of a group's name.

    Parameters
    ----------
    name : str or None
        The value.
    """
    if name is not None and not re.fullmatch(r"[\w.-]*\w[\w.-]*", name):
        raise click.BadParameter("--name takes letters, digits, '.', '_' and '-'")


def numbers(kind):
    """Return a click callback that reads one to three numbers.

    Parameters
    ----------
    kind : type
        int or float.

    Returns
    -------
    callable
        From (ctx, param, text) to a list of numbers, or None.
    """

    def read(ctx, param, text):
        if text is None:
            return None
        try:
            values = [kind(v) for v in re.split(r"[x×, ]+", text.strip())]
            if len(values) > 3 or not all(is_sensible(v) for v in values):
                raise ValueError
        except ValueError:
            raise click.BadParameter(f"{text!r}: expected one to three numbers") from None
        return values

    return read


def join_numbers(args, names):
    """Make one word of up to three numbers after the options that have one for each axis.

    Parameters
    ----------
    args : list of str
        The command line.
    names : tuple of str
        These options.

    Returns
    -------
    list of str
        The command line that click reads.
    """
    joined, rest = [], list(args)
    while rest:
        word = rest.pop(0)
        joined.append(word)
        if word in names:
            found = []
            while rest and len(found) < 3 and re.fullmatch(r"-?[0-9.]+", rest[0]):
                found.append(rest.pop(0))
            if found:
                joined.append("x".join(found))
    return joined


def add_result(ctx, opts, file, results):
    """Write results into the file that ``-o`` or ``--in-place`` names, if one does.

    Parameters
    ----------
    ctx : click.Context
        The running command.
    opts : dict
        The options output, in_place, force and container, and, where a command has it, anchors.
    file : BlockFile
        The file that the results belong to.
    results : dict of str to object
        By group, which is replaced, the dataclass of its kind.
    """
    from moireio.blockfile.reader import open_blockfile
    from moireio.blockfile.stream import write_target

    if not (opts["output"] or opts["in_place"]):
        return
    inputs = [(file.label, file.digest())]
    if opts.get("anchors"):
        with open_blockfile(opts["anchors"]) as kept:
            inputs.append((kept.label, kept.digest()))
    with write_target(
        opts["output"],
        base=file,
        in_place=opts["in_place"],
        force=opts["force"],
        container=opts["container"],
        drop=tuple(results),
    ) as writer:
        for group, value in results.items():
            writer.result(group, value)
        writer.history(ctx.command.name, arguments(), inputs)


def print_result(opts, table, as_json):
    """Write the table that ``--text`` names; print it, or JSON, if nothing else was asked for.

    Parameters
    ----------
    opts : dict
        The options text, as_json and, where a command has them, plot, output and in_place.
    table, as_json : callable
        Return the text.
    """
    from moireio.runtime.files import write_text

    if opts["text"]:
        with write_text(opts["text"]) as stream:
            stream.write(table())
    if opts["as_json"]:
        click.echo(as_json(), err=opts.get("output") == "-")
    elif not any(opts.get(name) for name in ("text", "plot", "output", "in_place")):
        click.echo(table(), nl=False)
