"""The options that several commands share, and how their values are read."""

import re

import click


class OutputFile(click.Path):
    """Name of a file to write; those of standard output, as ``/dev/stdout``, become "-"."""

    def __init__(self):
        super().__init__(allow_dash=True)

    def convert(self, value, param, ctx):
        """Return the name."""
        from moireio.runtime.files import descriptor

        path = super().convert(value, param, ctx)
        return "-" if descriptor(path) == 1 else path


class Suggested(click.Path):
    """Name of a file, or of something that comes with moireio; completion offers those first.

    Parameters
    ----------
    names : callable
        Returns the names that begin with a text.
    **settings
        For click's Path.
    """

    def __init__(self, names, **settings):
        super().__init__(**settings)
        self.names = names

    def shell_complete(self, ctx, param, incomplete):
        """Return the names, and files where there are none."""
        from click.shell_completion import CompletionItem

        # In bash "file" must come first: it drops what it was given before.
        begin = incomplete.lower()
        names = [name for name in self.names(incomplete) if name.lower().startswith(begin)]
        return [CompletionItem(incomplete, type="file"), *map(CompletionItem, names)]


class BlockFile(Suggested):
    """Name of a block file, or "-"."""

    def __init__(self):
        super().__init__(block_files, allow_dash=True)


def block_files(beginning):
    """Return the names of block files that begin with a text.

    Parameters
    ----------
    beginning : str
        Such as "out/tw".

    Returns
    -------
    list of str
        By their suffixes. Names with blanks are left out: no shell would get them right.
    """
    import glob

    from moireio.store.containers import SUFFIXES

    names = sorted(glob.glob(glob.escape(beginning) + "*"))
    return [n for n in names if n.endswith(tuple(SUFFIXES)) and not re.search(r"\s", n)]


def source_argument(function):
    """Add the argument SOURCE of commands that read block files, by default standard input."""
    return click.argument("source", default="-", type=BlockFile())(function)


def structure_argument(function):
    """Add the argument SOURCE of commands that read structures too, by default standard input."""
    return click.argument("source", default="-", type=click.Path(allow_dash=True))(function)


def package_files(package, suffix, folder="."):
    """Return the names of files that come with moireio, without importing numpy.

    Parameters
    ----------
    package : str
        Such as "moireio.models".
    suffix : str
        Such as ".h5", which the names are without.
    folder : str
        Folder inside the package.

    Returns
    -------
    list of str
        Sorted.
    """
    from importlib.resources import files

    entries = (entry.name for entry in files(package).joinpath(folder).iterdir())
    return sorted(name.removesuffix(suffix) for name in entries if name.endswith(suffix))


def basis_names(ctx, param, words):
    """Read the values of ``--basis``, as a click callback.

    Parameters
    ----------
    ctx : click.Context
        Not used.
    param : click.Parameter
        Not used.
    words : sequence of str
        Such as ``C=C6.0-s2p2d1``.

    Returns
    -------
    dict of str to str
        Basis names by species.
    """
    names = {}
    for word in words:
        species, equals, name = word.partition("=")
        if not equals:
            raise click.UsageError(f"--basis {word}: expected one like C=C6.0-s2p2d1.")
        names[species] = name
    return names


def memory_bytes(text):
    """Read an amount of memory.

    Parameters
    ----------
    text : str or None
        Such as ``4G``, ``500M`` or ``2.5GiB``; None for half of what is free.

    Returns
    -------
    int
        Bytes.
    """
    if text is None:
        from moireio.runtime.memory import free_memory

        return int(free_memory() / 2)
    found = re.fullmatch(r"([0-9.]+)\s*([kKMGT]?)(i?)[bB]?", text.strip())
    try:
        unit = " kMGT".index(found[2].replace("K", "k") or " ")
        return int(float(found[1]) * (1024 if found[3] else 1000) ** unit)
    except (TypeError, ValueError, OverflowError):
        raise click.UsageError(f"--memory {text}: expected an amount such as 4G.") from None


def periodic_axes(text):
    """Read the value of ``--pbc``.

    Parameters
    ----------
    text : str or None
        Three letters T or F, such as ``TTF``, one for each lattice vector.

    Returns
    -------
    tuple of three bool or None
        None without the option.
    """
    if text is None:
        return None
    if not re.fullmatch(r"[TtFf]{3}", text):
        raise click.UsageError(f"--pbc {text}: expected three letters T or F, as TTF for a layer.")
    return tuple(letter in "Tt" for letter in text)


_OPTIONS = {
    "output": click.option(
        "-o",
        "--output",
        type=OutputFile(),
        help="File to write: .h5, .zarr (folder) or .zarr.zip; '-' is standard output.",
    ),
    "in_place": click.option("--in-place", is_flag=True, help="Add the result to SOURCE itself."),
    "force": click.option("--force", is_flag=True, help="Replace files that exist."),
    "container": click.option(
        "--container",
        type=click.Choice(["h5", "zarr", "zip"]),
        help="Container of the output, where its name has no suffix.",
    ),
    "compression": click.option(
        "--compression",
        type=click.Choice(["none", "lzf", "gzip", "zstd"]),
        default="none",
        show_default=True,
        help="Compression of arrays; lzf is for HDF5, zstd for zarr.",
    ),
    "storage": click.option(
        "--storage",
        type=click.Choice(["full", "upper"]),
        help="Both partners of every atom pair, or one (half the size).",
    ),
    "soc": click.option(
        "--soc",
        is_flag=True,
        help="Spin-orbit coupling in an OpenMX input (OUTPUT ends with .dat).",
    ),
    "precision": click.option(
        "--precision",
        type=click.Choice(["float32", "float64"]),
        help="Precision of matrix elements.",
    ),
    "memory": click.option(
        "--memory",
        metavar="BYTES",
        callback=lambda ctx, param, text: memory_bytes(text),
        help="Limit, as 4G or 500M.  [default: half of what is free]",
    ),
    "jobs": click.option(
        "-j", "--jobs", type=click.IntRange(1), help="Processes.  [default: one per core]"
    ),
    "resume": click.option(
        "--resume",
        is_flag=True,
        help="Go on with an interrupted run, from OUTPUT.part.jsonl beside the output.",
    ),
    "device": click.option(
        "--device",
        type=click.Choice(["cpu", "cuda"]),
        default="cpu",
        show_default=True,
        help="Where dense linear algebra runs (cuda needs torch).",
    ),
    "basis": click.option(
        "--basis",
        multiple=True,
        metavar="X=NAME",
        callback=basis_names,
        help="Basis of a species in OpenMX's notation, as Mo=Mo7.0-s3p2d1. Others keep their own, "
        "else get OpenMX's usual one. Repeatable.",
    ),
    "pao": click.option(
        "--pao",
        type=click.Path(exists=True),
        envvar="MOIREIO_PAO",
        show_envvar=True,
        help="Radial functions: folder of OpenMX's .pao files, or a block file or model file that "
        "has them.",
    ),
    "pbc": click.option(
        "--pbc",
        metavar="TTF",
        callback=lambda ctx, param, text: periodic_axes(text),
        help="Periodic (T) or not (F) along each of the three lattice vectors of a file of another "
        "program.  [default: not along a vacuum wider than the orbitals reach, or than 8 Å where "
        "no basis is known; nor where every pair of atoms has R = 0]",
    ),
    "registry": click.option(
        "--registry",
        "registries",
        multiple=True,
        type=click.Path(),
        envvar="MOIREIO_MODELS",
        show_envvar=True,
        metavar="DIR",
        help="Folder of models; repeatable. 'shipped' stands for those that come with moireio.  "
        "[default: the user's own, and shipped]",
    ),
    "name": click.option(
        "--name", help="Keep the result apart under this name instead of replacing the last one."
    ),
    "plot": click.option(
        "--plot", type=OutputFile(), help="Draw the result: FILE.png, .pdf or .svg."
    ),
    "text": click.option("--text", type=OutputFile(), help="Write the result as a text table."),
    "json": click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
}


def layer_names(beginning=""):
    """Return the names of the layers of the table, a list of str, without importing numpy."""
    import tomllib
    from importlib.resources import files

    text = files("moireio.moire").joinpath("layers.toml").read_text("utf-8")
    return list(tomllib.loads(text))


def options(*names):
    """Add options that several commands share.

    Parameters
    ----------
    *names : str
        Which: output, in_place, force, container, compression, storage, soc, precision, memory,
        jobs, resume, device, basis, pao, pbc, registry, name, plot, text, json.

    Returns
    -------
    callable
        A decorator.
    """

    def decorate(function):
        for name in reversed(names):
            function = _OPTIONS[name](function)
        return function

    return decorate


def one_to_stdout(opts, *names):
    """Refuse several results on standard output.

    Parameters
    ----------
    opts : dict
        Values of the options; JSON goes there too, unless the block file does.
    *names : str
        Options whose value may be "-".
    """
    there = ["--" + name.replace("_", "-") for name in names if opts.get(name) == "-"]
    if opts.get("as_json") and "--output" not in there:
        there.append("--json")
    if len(there) > 1:
        raise click.UsageError(f"{' and '.join(there)} go to standard output: name a file.")


def destination(output, in_place):
    """Check that a command has at most one place for its output.

    Parameters
    ----------
    output : str or None
        The value of ``-o``.
    in_place : bool
        The value of ``--in-place``.
    """
    if output and in_place:
        raise click.UsageError("-o and --in-place exclude each other.")
