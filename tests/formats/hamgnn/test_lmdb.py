"""HamGNN's data sets in LMDB: of a naive writer, and of LMDB itself where it is installed."""

import io
import pickle
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hamgnn_graphs import naive_graph, only_s

from moireio.blockfile.calculation import read as block_file
from moireio.errors import MoireioError
from moireio.formats.hamgnn import graph_data, prediction, write
from moireio.formats.registry import detect_format

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fuzz"))

from mutations import damage_bytes, survives

PAGE = 4096


def pickled(graph):
    """One Data as ``pickle.dumps`` has it: what stands for graph 0 in a graph_data.npz."""
    stream = io.BytesIO()
    write.write_graphs(stream, [graph])
    raw = stream.getvalue()
    begin = raw.index(b"\x8c\x19torch_geometric.data.data")
    return b"\x80\x04" + raw[begin : raw.rindex(b"satb.")] + b"."


def naive_lmdb(folder, values):
    """A data base with one leaf page, large values in pages of their own."""
    folder.mkdir()
    pages, nodes = [], []
    for key, value in sorted(values.items()):
        if len(value) < 200:
            nodes.append(struct.pack("<HHHH", len(value), 0, 0, len(key)) + key + value)
            continue
        first = 3 + sum(map(len, pages)) // PAGE
        count = -(-(16 + len(value)) // PAGE)
        size = struct.pack("<HH", len(value) & 0xFFFF, len(value) >> 16)
        nodes.append(size + struct.pack("<HH", 1, len(key)) + key + struct.pack("<Q", first))
        pages.append((struct.pack("<QHHI", first, 0, 4, count) + value).ljust(count * PAGE, b"\0"))
    offsets, at, body = [], PAGE, b""
    for node in nodes:
        node += b"\0" * (len(node) % 2)
        at -= len(node)
        offsets.append(at)
        body = node + body
    lower = 16 + 2 * len(nodes)
    leaf = struct.pack("<QHHHH", 2, 0, 2, lower, at) + struct.pack(f"<{len(nodes)}H", *offsets)
    leaf = leaf.ljust(at, b"\0") + body
    last = 2 + sum(map(len, pages)) // PAGE

    def header(number, transaction, root):
        empty = struct.pack("<IHHQQQQQ", PAGE, 0, 0, 0, 0, 0, 0, (1 << 64) - 1)
        main = struct.pack("<IHHQQQQQ", 0, 0, 1, 0, 1, 0, len(nodes), root)
        page = struct.pack("<QHHHH", number, 0, 8, 0, 0)
        page += struct.pack("<IIQQ", 0xBEEFC0DE, 1, 0, 1 << 20) + empty + main
        return (page + struct.pack("<QQ", last, transaction)).ljust(PAGE, b"\0")

    (folder / "data.mdb").write_bytes(
        header(0, 4, (1 << 64) - 1) + header(1, 5, 2) + leaf + b"".join(pages)
    )


def by_lmdb(folder, values):
    """Each value in a transaction of its own, so that pages are freed; many of them at once."""
    lmdb = pytest.importorskip("lmdb")
    parts = [values] if len(values) > 10 else [{key: value} for key, value in values.items()]
    with lmdb.open(str(folder), map_size=1 << 28) as made:
        for part in parts:
            with made.begin(write=True) as transaction:
                for key, value in part.items():
                    transaction.put(key, value)


@pytest.mark.parametrize("writer", [naive_lmdb, by_lmdb])
def test_graphs_of_a_set(made, tmp_path, writer):
    with block_file(str(made["gr_ab"])) as calculation:
        graphs = {0: only_s(14), 1: naive_graph(calculation, 14, False)}
        values = {f"graph_{n}".encode(): pickled(graph) for n, graph in graphs.items()}
        assert len(values[b"graph_1"]) > 4 * PAGE
        folder = tmp_path / "set.lmdb"
        writer(folder, values | {b"num_graphs": b"2"})
        assert detect_format(str(folder)).name == "hamgnn"
        found = graph_data.read(str(folder), index=1)
        n = len(calculation.structure)
        difference = found.hamiltonian.rows(0, n) - calculation.hamiltonian.rows(0, n)
        assert np.abs(difference).max() < 2e-6
        assert len(graph_data.read(str(folder), index=0, code="openmx").structure) == 2
        with pytest.raises(MoireioError, match="holds 2 graphs, 0 to 1"):
            graph_data.read(str(folder))
        # the file alone, as LMDB makes it without a folder; the number as a pickle
        alone = tmp_path / "alone.lmdb"
        writer(tmp_path / "other", values | {b"num_graphs": pickle.dumps(2)})
        shutil.copy(tmp_path / "other" / "data.mdb", alone)
        for source in (folder / "data.mdb", alone):
            assert detect_format(str(source)).name == "hamgnn"
            again = graph_data.read(str(source), index=1)
            assert (again.hamiltonian.rows(0, n) == found.hamiltonian.rows(0, n)).all()


def test_predictions_of_a_set(made, tmp_path):
    """Rows follow the graphs of the data base: that beside, or one that is named."""
    with block_file(str(made["gr_ab"])) as calculation:
        graph = naive_graph(calculation, 14, False)
        values = {b"graph_0": pickled(only_s(14)), b"graph_1": pickled(graph), b"num_graphs": b"2"}
        naive_lmdb(tmp_path / "set.lmdb", values)
        first = len(only_s(14)["Son"]) + len(only_s(14)["Soff"])
        rows = np.concatenate([np.zeros((first, 14**2)), graph["Hon"], graph["Hoff"]])
        path = tmp_path / "prediction_hamiltonian.npy"
        np.save(path, rows.astype(np.float32))
        n = len(calculation.structure)
        expected = calculation.hamiltonian.rows(0, n)
        for companions in ((), (str(tmp_path / "set.lmdb"),)):
            found = prediction.read(str(path), companions=companions, index=1)
            assert np.abs(found.hamiltonian.rows(0, n) - expected).max() < 2e-6
            assert found.digest(["hamiltonian"]).startswith("blake2b:")
    naive_lmdb(tmp_path / "other.lmdb", values)
    with pytest.raises(MoireioError, match="several data bases"):
        prediction.read(str(path), index=1)


def test_many_graphs_in_a_tree_of_lmdb(tmp_path):
    """Branch pages, keys in the order of their bytes."""
    small = {f"graph_{n}".encode(): pickle.dumps(str(n)) for n in range(3000)}
    small[b"graph_1234"] = pickled(only_s(14))
    by_lmdb(tmp_path / "set.lmdb", small | {b"num_graphs": b"3000"})
    assert len(graph_data.read(str(tmp_path / "set.lmdb"), index=1234).structure) == 2
    with pytest.raises(MoireioError, match="graph 77 is no Data"):
        graph_data.read(str(tmp_path / "set.lmdb"), index=77)


def test_damage(tmp_path):
    folder = tmp_path / "set.lmdb"
    naive_lmdb(folder, {b"graph_0": pickled(only_s(14)), b"num_graphs": b"1"})
    path, raw = folder / "data.mdb", (folder / "data.mdb").read_bytes()
    assert len(graph_data.read(str(folder)).structure) == 2
    survives(path, raw, damage_bytes, lambda: graph_data.read(str(folder)))
    for content, text in (
        (raw[:1000], "too short"),
        (raw[:PAGE], "ends before byte"),
        (raw[: 3 * PAGE], "ends before byte"),
        (b"\0" * 20000, "does not begin as a data base"),
        (raw.replace(b"num_graphs1", b"num_graphs7"), "num_graphs 7, but"),
        (raw.replace(b"num_graphs", b"num_grapes"), "has no num_graphs"),
    ):
        path.write_bytes(content)
        with pytest.raises(MoireioError, match=text):
            graph_data.read(str(folder))
