"""Graphs of HamGNN as calculations, and back."""

import numpy as np
import pytest
from deeph_systems import system
from hamgnn_graphs import naive_graph, only_s, save, save_plainly

from moireio.blockfile.calculation import Calculation, read
from moireio.errors import MoireioError
from moireio.formats.hamgnn import graph_data, prediction, write
from moireio.formats.hamgnn.graphs import read_graphs
from moireio.formats.hamgnn.slots import LAYOUTS
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource, symmetrised
from moireio.system.basis import Basis, SpeciesBasis

CASES = ("gr_ab", "hbn_soc", "o2_col")


@pytest.fixture(scope="module", params=CASES)
def case(request, made):
    with read(str(made[request.param])) as calculation:
        yield calculation


def assert_same(found, made, energy=2e-6, length=1e-6):
    """The same operators within single precision."""
    n = len(made.structure)
    np.testing.assert_allclose(found.structure.positions, made.structure.positions, atol=length)
    np.testing.assert_allclose(found.structure.cell, made.structure.cell, atol=2 * length)
    np.testing.assert_array_equal(found.structure.numbers, made.structure.numbers)
    for one, other, limit in (
        (found.hamiltonian, made.hamiltonian, energy),
        (found.overlap, made.overlap, 1e-7),
    ):
        assert one.meta.spin == other.meta.spin
        np.testing.assert_array_equal(one.pairs.j, other.pairs.j)
        np.testing.assert_array_equal(one.pairs.R, other.pairs.R)
        np.testing.assert_allclose(one.rows(0, n), other.rows(0, n), atol=limit)


@pytest.mark.parametrize("angstrom", [False, True])
def test_graphs_of_openmx(tmp_path, case, angstrom):
    """As HamGNN's scripts make them, their down-up blocks and their Å included."""
    save_plainly(tmp_path / "graph_data.npz", naive_graph(case, 14, angstrom))
    found = graph_data.read(str(tmp_path / "graph_data.npz"))
    assert_same(found, case)
    wrong = [note for note in found.notes if "not Hermitian as stored" in note]
    assert len(wrong) == (case.hamiltonian.meta.spin == "spinor")
    assert any("no Fermi level" in note for note in found.notes)


def test_down_up_blocks_are_those_of_the_partners(tmp_path, made):
    """Without time reversal the mean of what is stored would be far off."""
    with read(str(made["hbn_soc"])) as calculation:
        full = calculation.hamiltonian
        rng = np.random.default_rng(0)
        data = full.rows(0, 2)
        source = ArraySource(full.meta, full.sizes, full.pairs, data + rng.normal(size=data.shape))
        operators = {"hamiltonian": symmetrised(source, "made"), "overlap": calculation.overlap}
        strong = Calculation("made", calculation.structure, calculation.basis, operators)
        save_plainly(tmp_path / "graph_data.npz", naive_graph(strong, 14))
        found = graph_data.read(str(tmp_path / "graph_data.npz"))
        assert_same(found, strong)
    (note,) = [note for note in found.notes if "not Hermitian as stored" in note]
    assert float(note.split("blocks are ")[1].split(" eV")[0]) > 2


@pytest.mark.parametrize("program", ["openmx", "siesta", "abacus"])
@pytest.mark.parametrize("nao", [None, 19, 27, 40])
def test_round_trip(tmp_path, case, program, nao):
    """S between atoms shows whose orbitals they are; the digits are those of single precision."""
    path = str(tmp_path / "graph_data.npz")
    if nao is not None and (nao, program) not in LAYOUTS:
        with pytest.raises(MoireioError, match=f"HamGNN has no {nao} orbitals for {program}"):
            write.write(case, path, program=program, nao=nao)
        return
    write.write(case, path, program=program, nao=nao)
    ambiguous = (nao or {"openmx": 14, "siesta": 13, "abacus": 13}[program]) in (13, 19)
    if nao == 19 and "C" not in case.basis.species:
        # Half a turn about z is the difference: in a plane and along an axis nothing shows it.
        with pytest.raises(MoireioError, match="does not show whose they are"):
            graph_data.read(path)
        assert_same(graph_data.read(path, code=program), case)
        return
    found = graph_data.read(path)
    assert_same(found, case)
    decided = [note for note in found.notes if "by S between atoms" in note]
    assert decided == ([f"the orbitals are those of {program}, by S between atoms"] * ambiguous)


def test_torch_geometric_reads_it(tmp_path, case):
    """The file that is written without torch, by torch; and the way back."""
    torch_geometric = pytest.importorskip("torch_geometric.data")
    path = str(tmp_path / "graph_data.npz")
    write.write(case, path)
    with np.load(path, allow_pickle=True) as file:
        graphs = file["graph"].item()
    (mapping,) = read_graphs(path).values()
    assert set(graphs[0].keys()) == set(mapping)
    for key, value in mapping.items():
        theirs = graphs[0][key]
        assert np.array_equal(theirs if isinstance(theirs, float) else theirs.numpy(), value), key
    batch = torch_geometric.Batch.from_data_list([graphs[0], graphs[0]])
    assert batch.num_graphs == 2
    save(path, mapping, mapping)
    with pytest.raises(MoireioError, match="holds 2 graphs, 0 to 1"):
        graph_data.read(path)
    assert_same(graph_data.read(path, index=1), case)


@pytest.mark.parametrize("spin", ["none", "spinor", "collinear"])
def test_f_shells_and_interleaved_elements(tmp_path, spin):
    """Slots of 26 orbitals; made-up numbers, so S is not that of two centres."""
    made = system(spin)
    made.operators["overlap"] = _on_pairs(made)
    save_plainly(tmp_path / "graph_data.npz", naive_graph(made, 26))
    found = graph_data.read(str(tmp_path / "graph_data.npz"), pbc=(True, True, False))
    assert_same(found, made, length=5e-6)
    assert any("is not that of openmx's orbitals" in note for note in found.notes)
    write.write(made, str(tmp_path / "graph_data.npz"), force=True)
    again = graph_data.read(str(tmp_path / "graph_data.npz"), pbc=(True, True, False))
    assert_same(again, made, length=5e-6)


def _on_pairs(made):
    """An overlap on the pairs of H."""
    sizes = made.basis.sizes(made.structure)
    pairs = made.operators["hamiltonian"].pairs
    elements = pairs.block_elements(sizes)
    data = np.random.default_rng(0).normal(size=elements.sum()) / 100
    starts = np.cumsum([0, *elements])
    for pair, size in zip(pairs.onsite(), sizes, strict=True):
        data[starts[pair] : starts[pair + 1] : size + 1] = 1.0
    meta = operator_type("overlap").meta()
    return symmetrised(ArraySource(meta, sizes, pairs, data), "made")


def with_pz(nao):
    """The same with p orbitals: along z nothing shows the order of x and y."""
    graph = only_s(nao)
    first = {13: 2, 19: 3}[nao]
    for name, value in (("Son", 1.0), ("Soff", 0.1)):
        blocks = graph[name].reshape(2, nao, nao)
        for m in range(3):
            blocks[:, first + m, first + m] = value
    return graph


def test_programs_that_s_does_not_show(tmp_path):
    path = str(tmp_path / "graph_data.npz")
    save_plainly(path, only_s(13))
    assert graph_data.read(path).basis["H"].l == (0,)
    save_plainly(path, with_pz(13))
    with pytest.raises(MoireioError, match=r"S between atoms does not show .* `code`"):
        graph_data.read(path)
    found = graph_data.read(path, code="siesta")
    assert found.basis["H"].l == (0, 1)
    # Hartree of the scripts times the Rydberg of SIESTA
    onsite = found.hamiltonian.rows(0, 1)[0]
    assert abs(onsite + 2 * 13.6058 * 27.21138506 / (2 * 13.6058)) < 1e-6


def test_another_program_is_noticed(tmp_path, made):
    with read(str(made["gr_ab"])) as calculation:
        write.write(calculation, str(tmp_path / "graph_data.npz"), program="siesta", nao=19)
    found = graph_data.read(str(tmp_path / "graph_data.npz"), code="openmx")
    (note,) = [note for note in found.notes if "is not that of openmx's orbitals" in note]
    assert note.endswith("those of siesta fit")


def change(**entries):
    def damage(graph):
        graph.update({k: v for k, v in entries.items() if v is not None})
        for key in [k for k, v in entries.items() if v is None]:
            del graph[key]

    return damage


def put(key, place, value):
    def damage(graph):
        graph[key] = np.array(graph[key])
        graph[key][place] = value

    return damage


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (change(Son=None, Soff=None), "without S orbitals are not known"),
        (change(Soff=None), "has no Soff"),
        (change(cell_shift=None), "has no cell_shift"),
        (change(Hon=np.zeros((4, 197), dtype=np.float32)), "its Hoff is float32"),
        (change(z=np.array([6.5] * 4)), "its z are no atomic numbers"),
        (change(z=np.array([6] * 3)), "its edge_index are no integers from 0 to 2"),
        (put("edge_index", (0, 0), 9), "its edge_index are no integers from 0 to 3"),
        (put("cell_shift", (0, 0), 5), "is not cell_shift times cell"),
        (put("nbr_shift", (0, 0), np.nan), "its nbr_shift has a number that is not finite"),
        (put("pos", (0, 0), np.inf), "its pos has a number that is not finite"),
        (put("Hon", (0, 0), np.nan), "an element of H is not finite"),
        (put("Soff", (0, 0), np.nan), "is negative, or not finite"),
        (put("Hoff", (0, 0), 5.0), "and of its partner differ by"),
        (put("Son", (0, 13 * 14 + 13), 0.0), "uses 4 of 5 orbitals of a d shell at slot 9"),
        (put("Son", (1, 0), 0.0), "atom 1 has other orbitals than the first C"),
        (change(Son=np.zeros((4, 144), dtype=np.float32)), "its Soff is"),
    ],
)
def test_graphs_that_do_not_fit(tmp_path, made, damage, complaint):
    with read(str(made["gr_ab"])) as calculation:
        graph = dict(write.graph(calculation))
    del graph["hamiltonian"], graph["overlap"]
    damage(graph)
    save_plainly(tmp_path / "graph_data.npz", {k: _plain(v) for k, v in graph.items()})
    with pytest.raises(MoireioError) as error:
        graph_data.read(str(tmp_path / "graph_data.npz"))
    assert complaint in str(error.value)
    assert "graph_data.npz" in str(error.value)


def _plain(value):
    """float32 or int64, which files have."""
    if isinstance(value, float):
        return value
    kind = np.float32 if np.asarray(value).dtype.kind == "f" else np.int64
    return np.ascontiguousarray(value, dtype=kind)


def test_missing_partner(tmp_path, made):
    with read(str(made["gr_ab"])) as calculation:
        graph = dict(write.graph(calculation))
    del graph["hamiltonian"], graph["overlap"]
    for key in ("Hoff", "Soff", "nbr_shift", "cell_shift"):
        graph[key] = graph[key][1:]
    graph["edge_index"] = np.ascontiguousarray(graph["edge_index"][:, 1:])
    save_plainly(tmp_path / "graph_data.npz", graph)
    with pytest.raises(MoireioError, match="has no partner"):
        graph_data.read(str(tmp_path / "graph_data.npz"))


def test_what_hamgnn_cannot_hold(tmp_path, made):
    with read(str(made["gr_ab"])) as calculation:
        C = SpeciesBasis((0, 0, 0, 0), m=None)
        path = str(tmp_path / "graph_data.npz")
        parts = calculation.structure, Basis({"C": C}), calculation.operators
        with pytest.raises(MoireioError, match="the shells of C do not fit into 26 orbitals"):
            write.write(Calculation("made", *parts), path)
        partial = Basis({"C": SpeciesBasis((1,), m=(0,))})
        with pytest.raises(MoireioError, match="incomplete shells"):
            write.write(Calculation("made", parts[0], partial, parts[2]), path)
        alone = {"hamiltonian": calculation.operators["hamiltonian"]}
        with pytest.raises(MoireioError, match="lacks H or S"):
            write.write(Calculation("made", parts[0], calculation.basis, alone), path)
        write.write(calculation, path)
        with pytest.raises(MoireioError, match="exists already"):
            write.write(calculation, path)


def predicted(graphs):
    """The rows of a prediction: blocks of one structure after another, imaginary ones after."""
    rows = []
    for graph in graphs:
        rows += [graph["Hon"], graph["Hoff"]]
        rows += [graph["iHon"], graph["iHoff"]] if "iHon" in graph else []
    return np.concatenate(rows)


def test_predictions(tmp_path, case):
    graph = naive_graph(case, 14)
    other = dict(graph, Hon=graph["Hon"] + 1, Hoff=graph["Hoff"] * 2)
    save_plainly(tmp_path / "graph_data.npz", graph, other)
    np.save(tmp_path / "prediction_hamiltonian.npy", predicted([graph, other]))
    path = str(tmp_path / "prediction_hamiltonian.npy")
    assert prediction.detect(path)
    found = prediction.read(path, index=0)
    assert_same(found, case)
    assert found.hamiltonian.meta.source == "model"
    second = prediction.read(path, index=1)
    first = found.hamiltonian.rows(0, 1)
    assert np.abs(second.hamiltonian.rows(0, 1) - first).max() > 1
    with pytest.raises(MoireioError, match="holds 2 graphs"):
        prediction.read(path)
    np.save(tmp_path / "prediction_hamiltonian.npy", predicted([graph]))
    assert_same(prediction.read(path, index=0), case)
    np.save(tmp_path / "prediction_hamiltonian.npy", predicted([graph])[:-1])
    with pytest.raises(MoireioError, match="the graphs that were predicted are needed"):
        prediction.read(path, index=0)


def test_damaged_predictions(tmp_path, made):
    path = tmp_path / "hamiltonian.npy"
    with read(str(made["gr_ab"])) as calculation:
        graph = naive_graph(calculation, 14)
    np.save(path, predicted([graph]))
    with pytest.raises(MoireioError, match=r"has no graph_data.npz beside it"):
        prediction.read(str(path))
    graphs = tmp_path / "other" / "graph_data.npz"
    graphs.parent.mkdir()
    save_plainly(graphs, graph)
    found = prediction.read(str(path), companions=[str(graphs)])
    assert len(found.structure) == 4
    with pytest.raises(MoireioError, match=r"is no graph_data.npz of HamGNN"):
        prediction.read(str(path), companions=[str(path)])
    raw = path.read_bytes()
    for damaged, complaint in (
        (raw[:-10], "bytes, but has"),
        (raw[:20], "is no array of NumPy"),
        (b"", "is no array of NumPy"),
        (raw.replace(b"(330, 196)", b"(330, 999)"), "bytes, but has"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(MoireioError, match=complaint):
            prediction.read(str(path), companions=[str(graphs)])
    np.save(path, np.full((330, 196), np.nan, dtype=np.float32))
    with pytest.raises(MoireioError, match="is not finite"):
        prediction.read(str(path), companions=[str(graphs)])
    np.save(path, np.zeros((330, 169), dtype=np.float32))
    with pytest.raises(MoireioError, match=r"rows of 196 or, with spinors, 784"):
        prediction.read(str(path), companions=[str(graphs)])
