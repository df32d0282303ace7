"""Checksums of chunks against those that HDF5 itself computes."""

import h5py
import numpy as np
import pytest

from moireio.store.base import fill_value
from moireio.store.fletcher import ChunkWriter, fletcher32


def _by_hdf5(folder, raw):
    """Return the checksum that HDF5 appends to a chunk of these bytes."""
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("x", data=raw, chunks=raw.shape, fletcher32=True)
    with h5py.File(folder / "x.h5") as file:
        chunk = file["x"].id.read_direct_chunk((0,))[1]
    return int(np.frombuffer(chunk[-4:], "<u4")[0])


@pytest.mark.parametrize("n", [2, 10, 1022, 1024, 1026, 70_000, 1 << 20, (1 << 20) + 2])
def test_checksum_is_that_of_hdf5(tmp_path, n):
    rng = np.random.default_rng(n)
    last = np.zeros(n, dtype=np.uint8)
    last[-1] = 1
    alternating = np.tile(np.array([0xFF, 0xFE, 0x00, 0x01], np.uint8), n // 4 + 1)[:n]
    cases = [rng.integers(0, 256, n), np.zeros(n), np.full(n, 255), last, alternating]
    for raw in cases:
        raw = raw.astype(np.uint8)
        assert fletcher32(raw) == _by_hdf5(tmp_path, raw)


def _stored(dataset):
    """Return offset and bytes of every chunk, as they are in the file."""
    chunks = [dataset.id.get_chunk_info(n).chunk_offset for n in range(dataset.id.get_num_chunks())]
    return {offset: dataset.id.read_direct_chunk(offset) for offset in chunks}


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("lead", [(), (2,)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_chunks_are_those_of_hdf5(tmp_path, dtype, lead, shuffle):
    """Runs that begin at a chunk, in the middle of one, and end in the last, shorter one."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(*lead, 1000)).astype(dtype)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        options = {
            "chunks": (*(1 for _ in lead), 128),
            "fletcher32": True,
            "shuffle": shuffle,
            "fillvalue": fill_value(np.dtype(dtype)),
        }
        ours, theirs = (file.create_dataset(n, values.shape, dtype, **options) for n in "xy")
        runs = ChunkWriter(ours)
        for begin, end in ((128, 600), (600, 640), (0, 128), (640, 1000)):
            runs.write(values[..., begin:end], begin)
        theirs[...] = values
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["x"][...], values)
        assert _stored(file["x"]) == _stored(file["y"])
