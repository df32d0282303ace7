"""Pickles of graphs are read as data; what is anything else is refused."""

import io
import os
import pickle
import random
import struct
import subprocess
import time
import zipfile

import numpy as np
import pytest
from hamgnn_graphs import only_s, save_plainly

from moireio.errors import MoireioError
from moireio.formats.hamgnn import graph_data
from moireio.formats.hamgnn.graphs import read_graphs


def with_pickle(path, raw, compression=zipfile.ZIP_STORED):
    """An npz whose member is an array of one object, with a given pickle."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|O", "fortran_order": False, "shape": ()}
    )
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("graph.npy", stream.getvalue() + raw)
    return str(path)


def test_the_synthetic_file(shared):
    """Arrays that torch_geometric 2.8.1 has pickled."""
    folder = shared / "foreign" / "hamgnn_synthetic"
    graphs = read_graphs(str(folder / "graph_data.npz"))
    with np.load(folder / "ref.npz") as reference:
        assert len(reference.files) == 30
        for name in reference.files:
            number, key = name.split("_", 1)
            found = np.asarray(graphs[int(number)][key])
            np.testing.assert_array_equal(found, reference[name])
            assert found.dtype == reference[name].dtype


class Attack:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(
    "attack",
    [
        (os.system, "touch {}"),
        (eval, "open({!r}, 'w')"),
        (subprocess.Popen, "touch {}"),
        (pickle.loads, b""),
    ],
)
def test_nothing_is_run(tmp_path, protocol, attack):
    function, text = attack
    mark = tmp_path / "run"
    argument = text.format(str(mark)) if isinstance(text, str) else text
    for value in (Attack(function, argument), {0: Attack(function, argument)}):
        raw = pickle.dumps(value, protocol=protocol)
        with pytest.raises(MoireioError) as error:
            read_graphs(with_pickle(tmp_path / "graph_data.npz", raw))
        assert "pickle" in str(error.value)
    assert not mark.exists()


def test_a_storage_is_not_unpickled(tmp_path):
    """What torch's `_load_from_bytes` would run is in the bytes of a storage."""
    mark = tmp_path / "run"
    inner = pickle.dumps(Attack(os.system, f"touch {mark}"))
    coded = b"B" + struct.pack("<I", len(inner)) + inner
    raw = b"\x80\x04ctorch.storage\n_load_from_bytes\n" + coded + b"\x85R."
    with pytest.raises(MoireioError, match=r"posix.system, which no graph of HamGNN has"):
        read_graphs(with_pickle(tmp_path / "graph_data.npz", raw))
    assert not mark.exists()


def storage(count, shape, stride, offset=0):
    """A tensor with any size over a storage of some numbers."""
    from moireio.formats.hamgnn import write

    stream = io.BytesIO()
    write.write_graphs(stream, [{"a": np.zeros(count, dtype=np.float32)}])
    raw = stream.getvalue()
    good = b"\x85RK\x00(" + _number(count) + b"t(" + _number(1) + b"t"
    assert good in raw
    changed = b"\x85R" + _number(offset) + b"(" + b"".join(map(_number, shape))
    changed += b"t(" + b"".join(map(_number, stride)) + b"t"
    return raw.replace(good, changed)


def _number(value):
    return b"\x8a\x09" + int(value).to_bytes(9, "little", signed=True)


@pytest.mark.parametrize(
    ("shape", "stride", "offset"),
    [
        ((10**9,), (0,), 0),
        ((10**12, 10**12), (0, 0), 0),
        ((4,), (1,), 2),
        ((4,), (-1,), 3),
        ((-1,), (1,), 0),
        ((2, 2), (1,), 0),
        ((1,) * 40, (1,) * 40, 0),
    ],
)
def test_tensors_beyond_their_storage(tmp_path, shape, stride, offset):
    path = tmp_path / "graph_data.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("graph.npy", storage(4, shape, stride, offset))
    with pytest.raises(MoireioError, match="a tensor of size"):
        read_graphs(str(path))


def doubled(levels, double):
    """A tuple of two tuples and so on, as a key: to hash it takes 2^levels steps."""
    return b"\x80\x04})\x94" + b"".join(map(double, range(levels))) + b"K\x01s."


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x80\x04",
        b"\x80\x04.",
        b"\x80\x04N.",
        b"\x80\x04}.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",
        b"\x80\x04X" + struct.pack("<I", 2**31) + b".",
        b"\x80\x04Nr" + struct.pack("<I", 2**31 - 1) + b"0.",
        b"\x80\x04" + b"]" * 100 + b"a" * 99 + b".",
        b"\x80\x04(t" * 50 + b".",
        b"\x80\x04K\x01K\x02s.",
        b"\x80\x04}K\x00Ns.",
        b"\x80\x04cnumpy\nndarray\n)\x81.",
        b"\x80\x04}(]K\x01u.",
        doubled(60, lambda n: b"2\x86"),
        doubled(60, lambda n: b"h" + bytes([n]) + b"\x86\x94"),
        b"(" * 1000 + b".",
        b"I" + b"9" * 100000 + b"\n.",
    ],
)
def test_nonsense(tmp_path, raw):
    start = time.process_time()
    with pytest.raises(MoireioError) as error:
        read_graphs(with_pickle(tmp_path / "graph_data.npz", raw))
    assert "graph_data.npz" in str(error.value)
    assert time.process_time() - start < 1


def test_bombs(tmp_path):
    """A zip of zeros, and one that claims more than it holds."""
    path = tmp_path / "graph_data.npz"
    with_pickle(path, b"\0" * (70 << 20), zipfile.ZIP_DEFLATED)
    with pytest.raises(MoireioError, match="stands for 734"):
        read_graphs(str(path))
    with pytest.raises(MoireioError, match="the instruction 0x30"):
        read_graphs(with_pickle(path, b"\x80\x04" + b"]0" * 100))


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"other.npy": b""}, "has no graph.npy, but other.npy"),
        ({"graph.npy": b"text"}, "is no array of NumPy"),
        ({}, "has no graph.npy, but nothing"),
    ],
)
def test_other_files(tmp_path, members, complaint):
    path = tmp_path / "graph_data.npz"
    with zipfile.ZipFile(path, "w") as file:
        for name, raw in members.items():
            file.writestr(name, raw)
    with pytest.raises(MoireioError, match=complaint):
        read_graphs(str(path))


def test_numbers_instead_of_a_pickle(tmp_path):
    np.savez(tmp_path / "graph_data.npz", graph=np.arange(3))
    with pytest.raises(MoireioError, match="a pickle of graphs expected"):
        read_graphs(str(tmp_path / "graph_data.npz"))


def test_damage(tmp_path):
    """200 changes: refused in one line, or read as a calculation."""
    good = tmp_path / "good.npz"
    save_plainly(good, only_s(14))
    with zipfile.ZipFile(good) as file:
        member = file.read("graph.npy")
    rng = random.Random(0)
    messages = []
    for trial in range(200):
        raw = bytearray(member)
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(raw))
            kind = rng.randrange(3)
            if kind == 0:
                raw[place] = rng.randrange(256)
            elif kind == 1:
                del raw[place : place + rng.randrange(1, 20)]
            else:
                raw[place:place] = raw[place : place + rng.randrange(1, 20)]
        path = tmp_path / f"{trial}.npz"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("graph.npy", bytes(raw))
        try:
            with graph_data.read(str(path)) as found:
                assert np.isfinite(found.hamiltonian.rows(0, len(found.structure))).all()
        except MoireioError as error:
            messages.append(f"{error}")
    assert len(messages) > 60
    assert all("\n" not in m and ".npz" in m for m in messages)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_and_numbers_of_numpy(tmp_path, protocol):
    """Data may hold arrays and scalars of NumPy too, in any protocol."""
    geometric = pytest.importorskip("torch_geometric.data")
    values = {"a": np.arange(6.0).reshape(2, 3), "b": np.float64(0.1), "c": [1, 2], "d": "text"}
    fortran = np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3))
    graph = geometric.Data(**values, f=fortran)
    path = with_pickle(tmp_path / "graph_data.npz", pickle.dumps({3: graph}, protocol=protocol))
    found = read_graphs(path)[3]
    np.testing.assert_array_equal(found["a"], values["a"])
    np.testing.assert_array_equal(found["f"], fortran)
    assert (found["b"], found["c"], found["d"]) == (0.1, [1, 2], "text")
