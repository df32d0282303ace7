"""A block file to damage, and what a check finds in it."""

import shutil

import moireio
from moireio.operators.blocks import checksum


def copy_to(folder, path):
    """A copy that may be altered."""
    copy = folder / "good.h5"
    shutil.copy(path, copy)
    return copy


def findings(path):
    with moireio.open(path) as file:
        return [str(f) for f in moireio.validate(file)]


def rewrite_checksums(file, name):
    """What somebody does who edits a file with care: the checksums fit again."""
    group = file[name]
    crc = group["crc"][...]
    for i in range(len(crc)):
        a, b = group["indptr"][i], group["indptr"][i + 1]
        u, v = group["row_offset"][i], group["row_offset"][i + 1]
        crc[i] = checksum(group["j"][a:b], group["R"][a:b], group["data"][..., u:v])
    group["crc"][...] = crc
