"""Which command reads which kind of file, and what to do with a file of another kind.

Files are looked at only after a command has failed: those that it reads cost nothing.
"""

import os
import shlex

#: Parameters that name files to be read, and the row of `READS` that holds for them.
INPUTS = {
    "source": None,  # the command's own row
    "sources": None,
    "files": None,
    "validation": None,
    "test": None,
    "model": "model",
    "init_from": "model",
    "overlay": "overlay",
    "pao": "pao",
    "dat": "input",
    "template": "input",
}
CALCULATIONS = ("block", "scfout", "deeph")
STRUCTURES = ("block", "structure", "dat")
#: Kinds of files (`moireio.formats.kinds`) that a command, or an option, reads; in words.
READS = {
    "openmx2h5": (("scfout",), "OpenMX's .scfout"),
    "deeph2h5": (("deeph", "folder"), "data folders of DeepH"),
    "build-twist": (STRUCTURES, "layers: names, block files and structure files"),
    "make": (STRUCTURES, "layers: names, block files and structure files"),
    "status": (("dataset",), "folders made by build-dataset make"),
    "run": (("dataset",), "folders made by build-dataset make"),
    "collect": (("dataset",), "folders made by build-dataset make"),
    "relax": (STRUCTURES, "block files and structure files"),
    "audit": (
        (*CALCULATIONS, "folder", "dataset"),
        "block files, OpenMX's .scfout, data folders of DeepH, folders of build-dataset make",
    ),
    "suggest": (
        (*CALCULATIONS, *STRUCTURES),
        "structure files, block files, OpenMX's .scfout, data folders of DeepH",
    ),
    "overlap": (STRUCTURES, "block files and structure files"),
    "tb-h": (STRUCTURES, "block files and structure files"),
    "predict-h": (("block",), "block files"),
    "choose": (
        (*CALCULATIONS, *STRUCTURES),
        "block files, structure files, OpenMX's .scfout, data folders of DeepH",
    ),
    "train-h": ((*CALCULATIONS, "folder"), "block files, OpenMX's .scfout, data folders of DeepH"),
    "compare-h": (CALCULATIONS, "block files, OpenMX's .scfout, data folders of DeepH"),
    "band": (("block",), "block files"),
    "flat-band": (("block",), "block files"),
    "dos": (("block",), "block files"),
    "chern": (("block",), "block files"),
    "edge-project": (("block",), "block files"),
    "symmetrise-h": (("block",), "block files"),
    "c3-chern": (("block",), "block files"),
    "irreps": (("block",), "block files"),
    "convert-h": (
        (
            "block",
            "scfout",
            "deeph",
            "foreign",
            "hdf5",
            "npz",
            "compressed",
            "pickle",
            "zip",
            "folder",
        ),
        "block files and what other programs write (convert-h --list)",
    ),
    "h5-info": (("block", "model"), "block files and model files"),
    "h5-validate": (("block",), "block files"),
    "model": (("model", "deeph-e3"), "model files of moireio and result folders of DeepH-E3"),
    "tb-h model": (("tb-model",), "names of its models, and TOML files"),
    "overlay": (("block", "band"), "block files and OpenMX's .Band"),
    "pao": (
        ("pao", "folder", "block", "model"),
        "folders of OpenMX's .pao files, block files, model files",
    ),
    "input": (("dat",), "OpenMX's inputs"),
}
#: Ways from a file F to what a command C reads, by the file's kind, for commands in a pipeline.
ROUTES = {
    "scfout": "openmx2h5 {F} | {C}",
    "deeph": "deeph2h5 {F} | {C}",
    "deeph-file": "deeph2h5 {D} | {C}",
    "hks": "openmx2h5 reads the .scfout of the same run, which HS.fileout on writes",
    "out": "openmx2h5 reads the .scfout of the same run, which HS.fileout on writes",
    "band": "band FILE.h5 draws it: --overlay {F}; its k points: --path {F}",
    "pao": "overlap reads it: --pao {D}",
    "vps": "overlap reads the .pao that belongs to it",
    "pickle": "moireio reads no pickles",
    "compressed": "unpack it first",
    "foreign": "convert-h --list prints what moireio reads of other programs",
    "model": "predict-h -m {F}, h5-info {F}",
    "deeph-e3": "predict-h -m {F}",
    "torch": "predict-h reads models of moireio and of DeepH-E3, whose result folder has a "
    "best_model.pkl",
    "torch-folder": "predict-h reads result folders of DeepH-E3, with best_model.pkl and src/",
    "safetensors": "predict-h reads models of moireio and of DeepH-E3",
    "tb-model": "tb-h -m {F}",
    "dataset": "build-dataset collect {F} -o BLOCKS/ makes block files of its calculations",
    "folder": "name the files in it",
    "structure": "overlap {F} | predict-h | {C}, or tb-h -m MODEL {F} | {C}",
    "dat": "overlap {F} | predict-h | {C}, or tb-h -m MODEL {F} | {C}",
    "block": "commands such as band, h5-info and convert-h read it as it is",
}
#: Kinds of folders whose files are no inputs of their own.
WHOLE = ("deeph", "deeph-e3", "dataset", "block", "model")
#: Kinds of files that may be calculations of other programs.
CONVERTED = ("foreign", "hdf5", "npz", "compressed", "pickle", "zip", "folder")
#: Commands that read no block files, so that nothing can be piped into them.
ENDS = ("openmx2h5", "deeph2h5", "make", "status", "run", "collect", "build-twist")
#: Ways that differ for some commands.
SPECIAL = {
    ("predict-h", "structure"): "overlap {F} | predict-h",
    ("predict-h", "dat"): "overlap {F} | predict-h",
    ("convert-h", "deeph-file"): "convert-h {D}",
    ("convert-h", "structure"): "overlap {F}, or tb-h -m MODEL {F}, makes a block file of it",
    ("convert-h", "dat"): "overlap {F}, or tb-h -m MODEL {F}, makes a block file of it",
    ("h5-info", "structure"): "overlap {F} | h5-info",
    ("h5-info", "dat"): "overlap {F} | h5-info",
    ("h5-validate", "structure"): "overlap {F} | h5-validate",
    ("h5-validate", "dat"): "overlap {F} | h5-validate",
}
ALONE = {
    "scfout": "openmx2h5 {F}",
    "deeph": "deeph2h5 {F}",
    "deeph-file": "deeph2h5 {D}",
    "structure": "overlap {F}, or tb-h -m MODEL {F}, makes a block file of it",
    "dat": "overlap {F}, or tb-h -m MODEL {F}, makes a block file of it",
}


def wrong_format(ctx, path=None):
    """Return the error of a file whose kind the running command does not read.

    Parameters
    ----------
    ctx : click.Context
        The running command, which has failed.
    path : str, optional
        The file that its error names; by default all that it was to read.

    Returns
    -------
    str or None
        One line, without "error: "; None if the kind of the file is not what is wrong.
    """
    from moireio.formats.kinds import identify
    from moireio.tools.common import program_name

    inputs = list(_inputs(ctx, path))
    if path is not None:  # an option's file can be at fault where the error names SOURCE
        inputs += [entry for entry in _inputs(ctx, None) if entry[1] != ctx.command.name]
    for name, row, option in inputs:
        kind = identify(name)
        if kind is None:
            continue
        kinds, words = READS[row]
        if kind.name not in kinds:
            option = "" if row == ctx.command.name else f" --{option.replace('_', '-')}"
            verb = "takes" if option else "reads"
            command = program_name(ctx)
            text = f"{name}: is {kind.description}; {command}{option} {verb} {words}"
            way = _way(ctx.command.name, row, kind.name, name)
            return f"{text} ({way})" if way else text
    return None


def _inputs(ctx, path):
    """Yield inputs, all or those that an error names, with their rows of `READS` and options.

    A file in a folder that is a calculation as a whole belongs to it: what its reader found wrong
    in the file counts.
    """
    for parameter, value in ctx.params.items():
        if parameter not in INPUTS or value is None:
            continue
        row = INPUTS[parameter] or ctx.command.name
        row = f"{ctx.command.name} {row}" if f"{ctx.command.name} {row}" in READS else row
        for name in (value,) if isinstance(value, str) else value:
            name = name[0] if isinstance(name, tuple) else name  # with its label
            if row not in READS or not isinstance(name, str):
                continue
            if path is None or path == name:
                yield name, row, parameter
            elif _stands_for(name, path):
                yield name, row, parameter
                if not _is_member(path, name) and not _is_calculation(name):
                    yield path, row, parameter


def _stands_for(name, path):
    """Return whether a file lies in a folder that was named, or a pattern or list was."""
    inside = os.path.isdir(name) and path.startswith(name.rstrip("/") + "/")
    return inside or name.startswith("@") or any(sign in name for sign in "*?[")


def _is_member(path, name):
    """Return whether a file is a part of a folder that is an input as a whole."""
    from moireio.formats.kinds import identify

    folder = os.path.dirname(path)
    while len(folder) >= len(name.rstrip("/")) > 0:
        kind = identify(folder)
        if kind is not None and kind.name in WHOLE:
            return True
        folder = os.path.dirname(folder)
    return False


def _is_calculation(path):
    """Return whether convert-h reads a file, which is no block file."""
    from moireio.formats.registry import detect_format

    row = detect_format(path)
    return row is not None and row.name != "moireio"


def _way(command, row, kind, path):
    """Return the way from a file to a command, or an empty text."""
    if row != command:
        way = {"scfout": "openmx2h5 {F} -o FILE.h5", "deeph": "deeph2h5 {F} -o FILE.h5"}.get(kind)
        way = way if row == "overlay" else None
        if row == "model":
            way = (
                ROUTES[kind]
                if kind in ("torch", "torch-folder", "safetensors", "tb-model")
                else None
            )
    elif kind in CONVERTED and _is_calculation(path):
        way = "convert-h {F} -o FILE.h5" if command in ENDS else "convert-h {F} | {C}"
    elif command in ENDS:
        way = ALONE.get(kind, ROUTES.get(kind))
    else:
        way = SPECIAL.get((command, kind), ROUTES.get(kind))
    if way is None:
        return ""
    folder = os.path.dirname(path.rstrip("/")) or "."
    return way.format(F=shlex.quote(path), D=shlex.quote(folder), C=command)
