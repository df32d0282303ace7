"""HDF5 files that point elsewhere, or claim more than they hold."""

import zlib

import h5py
import numpy as np
import pytest

import moireio
from moireio.errors import DamagedError, MoireioError
from moireio.store.hdf5_guard import EXPANSION, own_dataset, own_object


@pytest.fixture
def foreign(tmp_path):
    """A file whose user has not named it."""
    path = tmp_path / "foreign.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(6.0)
        file["group/x"] = np.arange(6.0)
    (tmp_path / "raw.bin").write_bytes(np.arange(6.0).tobytes())
    return path


def external_link(file, foreign):
    file["x"] = h5py.ExternalLink(str(foreign), "/x")
    return "x", "a link into another file"


def group_of_another_file(file, foreign):
    file["group"] = h5py.ExternalLink(str(foreign), "/group")
    return "group/x", "a link into another file"


def soft_link(file, foreign):
    file["own"] = np.arange(6.0)
    file["x"] = h5py.SoftLink("/own")
    return "x", "a link to /own"


def raw_data_elsewhere(file, foreign):
    raw = [(str(foreign.parent / "raw.bin"), 0, 48)]
    file.create_dataset("x", (6,), dtype=float, external=raw)
    return "x", "of another file"


def virtual(file, foreign):
    layout = h5py.VirtualLayout((6,), float)
    layout[:] = h5py.VirtualSource(str(foreign), "x", (6,))
    file.create_virtual_dataset("x", layout)
    return "x", "composed of other datasets"


@pytest.mark.parametrize(
    "make", [external_link, group_of_another_file, soft_link, raw_data_elsewhere, virtual]
)
def test_nothing_outside_the_file_is_read(tmp_path, foreign, make):
    """Each is readable by h5py itself, and refused here with the name of the dataset."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        name, message = make(file, foreign)
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file[name][...], np.arange(6.0))
        with pytest.raises(MoireioError, match=f"x.h5: .*/{name} .*{message}"):
            own_dataset(file, name, "x.h5")


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (1000,), "maxshape": (None,)},
        {"chunks": (1000,), "compression": "gzip"},
        {"chunks": (10**8,), "compression": "gzip"},
        {},
    ],
)
def test_shapes_that_the_file_cannot_hold(tmp_path, options):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        x = file.create_dataset("x", (10**8,), dtype=float, **options)
        if options.get("chunks") == (1000,):
            x[:10] = 1.0
    with h5py.File(tmp_path / "x.h5") as file:
        message = r"shape \(100000000,\) of /x stands for 800000000 bytes, of which the file holds"
        with pytest.raises(DamagedError, match=message):
            own_dataset(file, "x", "x.h5")


def test_a_chunk_larger_than_its_array(tmp_path):
    """HDF5 allocates whole chunks, however few of their elements count."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        x = file.create_dataset("x", (5,), "f8", chunks=(10**8,), maxshape=(None,))
        x.id.write_direct_chunk((0,), b"x" * 40, filter_mask=0)
    with h5py.File(tmp_path / "x.h5") as file, pytest.raises(DamagedError, match="800000000 bytes"):
        own_dataset(file, "x", "x.h5")


def test_a_compressed_chunk_larger_than_its_array(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        options = {"chunks": (10**7,), "maxshape": (None,), "compression": "gzip"}
        x = file.create_dataset("x", (5,), "f8", **options)
        x.id.write_direct_chunk((0,), zlib.compress(bytes(8 * 10**7)), filter_mask=0)
    message = r"a chunk of /x has the shape \(10000000,\), all of it \(5,\)"
    with h5py.File(tmp_path / "x.h5") as file, pytest.raises(DamagedError, match=message):
        own_dataset(file, "x", "x.h5")


@pytest.mark.parametrize("compression", [None, "lzf", "gzip"])
@pytest.mark.parametrize("shape", [(), (0, 3), (200_000,), (1000, 700)])
def test_what_is_whole_passes(tmp_path, compression, shape):
    """Zeros too, which deflate packs as tightly as it packs anything."""
    whole = h5py.File(tmp_path / "x.h5", "w")
    chunked = {"compression": compression, "shuffle": True} if np.prod(shape) > 1 else {}
    whole.create_dataset("a/x", data=np.zeros(shape), **chunked)
    whole.close()
    with h5py.File(tmp_path / "x.h5") as file:
        assert own_dataset(file, "a/x", "x.h5").shape == shape
        assert own_object(file, "a", "x.h5").name == "/a"
        assert own_object(file, "", "x.h5").name == "/"
        for absent in ("b", "a/b", "a/x/b"):
            with pytest.raises(KeyError):
                own_object(file, absent, "x.h5")
        with pytest.raises(KeyError, match="is a group"):
            own_dataset(file, "a", "x.h5")
        assert EXPANSION > 1000


def test_block_files_that_point_elsewhere(tmp_path, made):
    """Positions in another file: neither read, nor called valid."""
    with h5py.File(made["gr_ab"]) as good:
        positions = good["structure/positions"][...]
    (tmp_path / "secret.bin").write_bytes(positions.tobytes())
    path = tmp_path / "a.h5"
    path.write_bytes(made["gr_ab"].read_bytes())
    with h5py.File(path, "r+") as file:
        del file["structure/positions"]
        raw = [(str(tmp_path / "secret.bin"), 0, positions.nbytes)]
        file.create_dataset("structure/positions", positions.shape, "f8", external=raw)
    message = "values of /structure/positions are of another file"
    with pytest.raises(MoireioError, match=message), moireio.open(path) as block_file:
        _ = block_file.structure
