"""What lies in an HDF5 file itself, and is no larger than the file can hold.

HDF5 can point elsewhere: links into other files, raw data in any file of the disk, datasets
composed of those of other files. None of these is followed: a file that the user did not name is
not read. And a shape is only a claim: HDF5 allocates all of it, though no chunk was ever written.
"""

from __future__ import annotations

import math

import h5py

from moireio.errors import DamagedError, MoireioError
from moireio.store.bounds import EXPANSION

LARGEST_CHUNK = 64 << 20  # bytes, where it is larger than its array
REMEDY = "only what lies in the file itself is read"


def own_object(file: h5py.Group, name: str, label: str) -> h5py.Group | h5py.Dataset:
    """Return a group or dataset that lies in the file itself.

    Parameters
    ----------
    file : h5py.File or h5py.Group
        Open for reading.
    name : str
        Its path inside.
    label : str
        The file, for messages.

    Returns
    -------
    h5py.Group or h5py.Dataset
        The object.

    Raises
    ------
    KeyError
        If there is none of that name.
    MoireioError
        If a link on the way leads elsewhere.
    """
    found: h5py.Group | h5py.Dataset = file
    for part in filter(None, name.split("/")):
        if not isinstance(found, h5py.Group):
            raise KeyError(f"{found.name} is no group")
        raw = part.encode("utf-8", "surrogateescape")
        if not found.id.links.exists(raw):
            raise KeyError(f"no {part} in {found.name}")
        if found.id.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
            link = found.get(part, getlink=True)
            external = isinstance(link, h5py.ExternalLink)
            what = f"into another file, {link.filename}" if external else f"to {link.path}"
            raise MoireioError(f"/{name} is a link {what}", path=label, remedy=REMEDY)
        found = found[part]
        if isinstance(found, h5py.Group) and h5py.h5o.get_info(found.id).rc > 1:
            raise DamagedError(f"/{name} lies in several groups", path=label)
    return found


def own_dataset(file: h5py.Group, name: str, label: str) -> h5py.Dataset:
    """Return a dataset whose values lie in the file itself, all of them.

    Parameters
    ----------
    file : h5py.File or h5py.Group
        Open for reading.
    name : str
        Its path inside.
    label : str
        The file, for messages.

    Returns
    -------
    h5py.Dataset
        The dataset, unread.

    Raises
    ------
    KeyError
        If there is none of that name.
    MoireioError
        If a link on the way, or its values, lie elsewhere.
    DamagedError
        If its shape claims more than the file holds of it.
    """
    dataset = own_object(file, name, label)
    if not isinstance(dataset, h5py.Dataset):
        raise KeyError(f"{name} is a group")
    plan = dataset.id.get_create_plist()
    layout = plan.get_layout()
    if plan.get_external_count() or layout == h5py.h5d.VIRTUAL:
        whose = "of another file" if plan.get_external_count() else "composed of other datasets"
        raise MoireioError(f"the values of /{name} are {whose}", path=label, remedy=REMEDY)
    shape = dataset.shape
    if shape is None or 0 in shape:
        return dataset
    needed = math.prod(shape) * dataset.dtype.itemsize
    claimed, expansion = needed, 1
    if layout != h5py.h5d.CHUNKED:
        stored = dataset.id.get_storage_size()
    else:
        chunk = plan.get_chunk()
        chunks = math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
        claimed = chunks * math.prod(chunk) * dataset.dtype.itemsize
        size = dataset.file.id.get_filesize()
        # The size of what is stored takes a look at every chunk there may be.
        stored = min(size, dataset.id.get_storage_size()) if claimed <= size * EXPANSION else size
        filters = {plan.get_filter(n)[0] for n in range(plan.get_nfilters())}
        if filters - {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}:
            expansion = EXPANSION
    if claimed > stored * expansion:
        raise DamagedError(
            f"the shape {shape} of /{name} stands for {claimed} bytes, of which the file "
            f"holds {stored}",
            path=label,
            remedy="the file is damaged, or was not written to its end",
        )
    if layout == h5py.h5d.CHUNKED and claimed / chunks > max(needed, LARGEST_CHUNK):
        raise DamagedError(
            f"a chunk of /{name} has the shape {chunk}, all of it {shape}", path=label
        )
    if layout == h5py.h5d.CHUNKED and dataset.id.get_num_chunks() < chunks:
        lost = chunks - dataset.id.get_num_chunks()
        raise DamagedError(
            f"{lost} of {chunks} chunks of /{name} are lost",
            path=label,
            remedy="the file is damaged, or was not written to its end",
        )
    return dataset


def on_heap(kind: h5py.h5t.TypeID) -> bool:
    """Return whether values lie in HDF5's global heap, which has no checksum.

    Parameters
    ----------
    kind : h5py.h5t.TypeID
        Type of a dataset or attribute.

    Returns
    -------
    bool
        True for texts of variable length, and all else that can have any length.
    """
    text = kind.get_class() == h5py.h5t.STRING
    return kind.is_variable_str() if text else bool(kind.detect_class(h5py.h5t.VLEN))
