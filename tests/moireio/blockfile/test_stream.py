"""Spools, outputs that must not be made, and files that appear whole or not at all."""

import gzip
import io
import os
import threading

import pytest

import moireio
from moireio.blockfile import stream
from moireio.errors import MoireioError


@pytest.mark.parametrize("limit", [10, 1 << 30])
def test_a_spool_in_memory_and_past_it_on_disk(made, monkeypatch, limit):
    monkeypatch.setattr(stream, "SPOOL_BYTES", limit)
    whole = made["gr_ab"].read_bytes()
    with stream._spool(io.BytesIO(whole), "x", None) as path:
        with open(path, "rb") as copy:
            assert copy.read() == whole
        with moireio.open(path, "x") as file:
            assert file.hamiltonian.n_pairs == 330


def test_what_is_no_block_file_is_refused_at_once():
    class Endless(io.RawIOBase):
        def read(self, size=-1):
            return b"y\n" * (size // 2)

    from moireio.store.containers import kind_of_bytes

    with (
        pytest.raises(MoireioError, match="first bytes"),
        stream._spool(Endless(), "pipe", kind_of_bytes),
    ):
        pass


def test_outputs(tmp_path):
    source = tmp_path / "x.h5"
    source.write_bytes(b"")
    store = tmp_path / "s.zarr"
    store.mkdir()
    (store / "zarr.json").write_text("{}")
    check = stream.check_outputs
    check([str(tmp_path / "y.h5"), None, "-"], [str(source)])
    for outputs, inputs, force, what in (
        ([source], [source], True, "is an input too"),
        ([tmp_path / "a", tmp_path / "a"], [], False, "two outputs"),
        ([source], [], False, "force"),
        ([tmp_path], [source], True, "in which"),
        ([store / "y.h5"], [store], True, "lies inside"),
        ([tmp_path / "no" / "y.h5"], [], False, "folder does not exist"),
        ([tmp_path], [], True, "no block file"),
        ([store], [source], True, "no block file"),
    ):
        with pytest.raises(MoireioError, match=what):
            check([str(p) for p in outputs], [str(p) for p in inputs], force)


def test_outputs_in_a_folder_that_is_read(tmp_path):
    """A data folder takes results; its own files are never replaced."""
    from helpers import random_operator, random_system, write_file

    structure, basis = random_system(0)
    sizes = basis.sizes(structure)
    result, own = tmp_path / "result.h5", tmp_path / "hamiltonians.h5"
    stream.check_outputs([str(result)], [str(tmp_path)])
    write_file(result, structure, basis, random_operator(0, sizes)[0])
    stream.check_outputs([str(result)], [str(tmp_path)], force=True)
    own.write_bytes(b"not a block file")
    with pytest.raises(MoireioError, match="is a file of the input"):
        stream.check_outputs([str(own)], [str(tmp_path)], force=True)


def test_devices_that_do_not_end_are_not_copied():
    with (
        pytest.raises(MoireioError, match="/dev/zero: is a device"),
        stream.source_file("/dev/zero"),
    ):
        pass


def test_a_structure_in_a_pipe_is_refused_with_what_to_do(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("C\n1.0\n1 0 0\n",))
    writer.start()
    with (
        pytest.raises(MoireioError, match="are read from files, whose names give their format"),
        stream.open_source(str(pipe)),
    ):
        pass
    writer.join()


def test_a_compressed_block_file_is_unpacked(tmp_path, made):
    path = tmp_path / "x.h5.gz"
    whole = made["gr_ab"].read_bytes()
    path.write_bytes(gzip.compress(whole, 1))
    with stream.open_source(str(path)) as file:
        assert (file.label, file.hamiltonian.n_pairs) == (str(path), 330)
        assert moireio.validate(file) == []
        with (
            pytest.raises(MoireioError, match=r"x\.h5\.gz: cannot be changed in place \(unpack it"),
            stream.write_target(None, base=file, in_place=True),
        ):
            pass
    packed = path.read_bytes()
    for damaged in (packed[: len(packed) // 2], packed[:-8] + bytes(8)):
        path.write_bytes(damaged)
        with (
            pytest.raises(MoireioError, match=r"x\.h5\.gz: its compressed data is damaged"),
            stream.open_source(str(path)),
        ):
            pass
    path.write_bytes(gzip.compress(b"text"))
    assert not stream.is_compressed_block(str(path))
