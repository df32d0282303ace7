"""Seeded damage to the bytes and to the text of files."""

import os
import random
import re
import struct

EXTREME_NUMBERS = (
    "nan", "inf", "-inf", "1e300", "-1e300", "1e999", "1e12", "-1", "0", "1e-300", "1e9",
    "99999999999999999999999", "2147483648", "-2147483649", "9223372036854775808", "0.5", "1.0D+00",
    "--3", "1e", "1_000", "٣", "0x10", "½", "",
)  # fmt: skip
EXTREME_TEXTS = ("", " ", "\x00", "π", "#", "=", "<", ">", "[", "{}", '"', "\ufeff", "A" * 70000)
DOUBLES = (float("nan"), float("inf"), 1e300, -1e300, 1e30, 1e12, -0.0, 5e-324, 1.0, -7.0)
INTEGERS = (-1, 0, 1, 2, 7, 255, 65536, 2**31 - 1, -(2**31))
NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def damage_bytes(data, rng):
    """Change bytes anywhere, as a disk, a transfer or an attacker would.

    Parameters
    ----------
    data : bytes
        A file.
    rng : random.Random
        Decides everything.

    Returns
    -------
    bytes
        The damaged file.
    str
        A few words on the damage.
    """
    kinds = (
        "flip", "flip", "flip", "bytes", "zeros", "cut", "remove", "insert", "repeat", "swap",
        "double", "double", "integer", "integer", "empty", "append",
    )  # fmt: skip
    kind = rng.choice(kinds)
    n = len(data)
    at = rng.randrange(n) if rng.random() < 0.6 else min(n - 1, rng.randrange(4096))
    length = min(n - at, rng.choice((1, 4, 8, 37, 512, 5000)))
    new = bytearray(data)
    if kind == "flip":
        new[at] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        new[at : at + length] = rng.randbytes(length)
    elif kind == "zeros":
        new[at : at + length] = bytes(length)
    elif kind == "cut":
        del new[at:]
    elif kind == "remove":
        del new[at : at + length]
    elif kind == "insert":
        new[at:at] = rng.randbytes(length)
    elif kind == "repeat":
        new[at:at] = new[at : at + length]
    elif kind == "swap":
        to = rng.randrange(n)
        new[at : at + length], new[to : to + length] = data[to : to + length], new[at : at + length]
    elif kind == "double":
        at -= at % 4
        new[at : at + 8] = struct.pack("<d", rng.choice(DOUBLES))
    elif kind == "integer":
        at -= at % 4
        new[at : at + 4] = struct.pack("<i", rng.choice(INTEGERS))
    elif kind == "empty":
        new.clear()
    elif kind == "append":
        new += rng.randbytes(length)
    return bytes(new), f"{kind} at byte {at} of {n}, {length} long"


def damage_text(data, rng):
    """Change lines, numbers and words, as a hand, a script or another program would.

    Parameters
    ----------
    data : bytes
        A text file.
    rng : random.Random
        Decides everything.

    Returns
    -------
    bytes
        The damaged file.
    str
        A few words on the damage.
    """
    kinds = (
        "number", "number", "number", "number", "number", "word", "word", "remove line",
        "repeat line", "swap lines", "cut", "endings", "bytes",
    )  # fmt: skip
    kind = rng.choice(kinds)
    if kind == "bytes":
        return damage_bytes(data, rng)
    lines = data.split(b"\n")
    row = rng.randrange(len(lines))
    if kind == "number":
        numbers = list(NUMBER.finditer(data))
        if numbers:
            # Most numbers of long files stand in tables; the head decides how they are read.
            hit = rng.choice(numbers if rng.random() < 0.5 else numbers[:60])
            value = rng.choice(EXTREME_NUMBERS)
            line = data.count(b"\n", 0, hit.start()) + 1
            damaged = data[: hit.start()] + value.encode() + data[hit.end() :]
            return damaged, f"{hit[0].decode()} -> {value!r} in line {line}"
    elif kind == "word":
        words = list(re.finditer(rb"[^\s=,]+", data))
        if words:
            hit = rng.choice(words if rng.random() < 0.5 else words[:60])
            value = rng.choice(EXTREME_TEXTS + EXTREME_NUMBERS)
            line = data.count(b"\n", 0, hit.start()) + 1
            damaged = data[: hit.start()] + value.encode() + data[hit.end() :]
            shown = hit[0].decode(errors="replace")
            return damaged, f"{shown[:20]} -> {value[:20]!r} in line {line}"
    elif kind == "remove line":
        del lines[row]
    elif kind == "repeat line":
        lines.insert(row, lines[row])
    elif kind == "swap lines":
        other = rng.randrange(len(lines))
        lines[row], lines[other] = lines[other], lines[row]
    elif kind == "cut":
        at = rng.randrange(max(len(data), 1))
        return data[:at], f"cut at byte {at} of {len(data)}"
    elif kind == "endings":
        return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b" \n", b"\n\n"))), "line endings"
    return b"\n".join(lines), f"{kind} {row + 1}"


def survives(path, whole, damage, call, trials=200):
    """Read damaged versions of one file; return how many were refused.

    A message is one line and names the file or its folder.
    """
    from moireio.errors import MoireioError

    refused = 0
    for seed in range(trials):
        content, what = damage(whole, random.Random(seed))
        path.write_bytes(content)
        try:
            call()
        except MoireioError as error:
            refused += 1
            text = str(error)
            assert str(path.parent) in text, f"{what}: {text}"
            assert "\n" not in text, what
    return refused


def damage_file(path, seed, missing=False):
    """Damage one file, or one file of a folder, where it is.

    Parameters
    ----------
    path : str
        A file or folder.
    seed : int
        The same seed makes the same damage.
    missing : bool
        A file of a folder may also vanish.

    Returns
    -------
    str
        A few words on the damage.
    """
    rng = random.Random(seed)
    files = [path]
    if os.path.isdir(path):
        files = sorted(os.path.join(f, n) for f, _, names in os.walk(path) for n in names)
        # Small files, which say how the large ones are read, are hit as often as these.
    target = rng.choice(files)
    label = os.path.relpath(target, os.path.dirname(path))
    if missing and len(files) > 1 and rng.random() < 0.06:
        os.remove(target)
        return f"{label} removed"
    with open(target, "rb") as stream:
        data = stream.read()
    binary = b"\0" in data[:4096] or not data
    if not data:
        damaged, what = b"rubbish", "rubbish in an empty file"
    elif binary:
        damaged, what = damage_bytes(data, rng)
    else:
        damaged, what = damage_text(data, rng)
    with open(target, "wb") as stream:
        stream.write(damaged)
    return f"{label}: {what}"


def edit_hdf5(path, seed, missing=False):
    """Edit one object of an HDF5 file by its own library, so that all its checksums fit.

    Parameters
    ----------
    path : str
        An HDF5 file, or a folder with some.
    seed : int
        The same seed makes the same edit.
    missing : bool
        Not used: objects vanish anyway.

    Returns
    -------
    str
        A few words on the edit.
    """
    import h5py
    import numpy as np

    rng = random.Random(seed)
    if os.path.isdir(path):
        files = sorted(os.path.join(f, n) for f, _, names in os.walk(path) for n in names)
        path = rng.choice([name for name in files if name.endswith(".h5")])
    with h5py.File(path, "r+") as file:
        names = []
        file.visit(names.append)
        name = rng.choice(names)
        item = file[name]
        attributes = sorted(item.attrs)
        if attributes and rng.random() < 0.5:
            key = rng.choice(attributes)
            value = rng.choice(
                (-1, 0, 10**12, 0.5, float("nan"), "", "x", "9" * 5000, [], [1, 2, 3], True, None)
            )
            del item.attrs[key]
            if value is not None:
                item.attrs[key] = value
            return f"attribute {key} of {name} = {str(value)[:20]!r}"
        kind = rng.choice(("delete", "group", "dtype", "shape", "values", "value", "value", "link"))
        if kind in ("shape", "values", "value", "dtype") and not isinstance(item, h5py.Dataset):
            kind = "delete"
        if kind in ("delete", "group", "link"):
            del file[name]
            if kind == "group":
                file.create_group(name)
            elif kind == "link":
                file[name] = rng.choice(
                    (h5py.SoftLink("/nowhere"), h5py.SoftLink("/"), h5py.SoftLink(f"/{name}"),
                     h5py.ExternalLink("other.h5", "/"), h5py.ExternalLink(path, f"/{name}"))
                )  # fmt: skip
            return f"{name}: {kind}"
        kept = dict(item.attrs)
        values = item[()] if item.shape is not None else np.zeros(1)
        if kind == "dtype":
            kinds = (
                ("S3", "i1", "f4", "c16", "u8") if np.asarray(values).dtype.kind in "fciu" else "S"
            )
            with np.errstate(all="ignore"):
                values = np.asarray(values).astype(rng.choice(kinds))
        elif kind == "shape":
            flat = np.ravel(values)
            changes = (flat, flat[:-1], flat[:0], np.stack([values, values]), np.resize(flat, 7))
            values = rng.choice(changes)
        elif np.asarray(values).dtype.kind in "fciu":
            values, flat = np.array(values), None
            flat = values.reshape(-1)
            extreme = DOUBLES if values.dtype.kind in "fc" else (*INTEGERS, 10**6)
            chosen = slice(None) if kind == "values" else rng.randrange(max(flat.size, 1))
            if flat.size:
                with np.errstate(all="ignore"):
                    flat[chosen] = np.array(rng.choice(extreme)).astype(values.dtype)
        del file[name]
        made = file.create_dataset(name, data=values)
        for key, value in kept.items():
            made.attrs[key] = value
        return f"{name}: {kind}"
