"""Averages over groups: they obey the symmetry, and what obeys it stays."""

import numpy as np
import pytest

import moireio
from moireio.operators.bloch import BlochSum
from moireio.operators.views import ArraySource, stored_as
from moireio.symmetry.action import BlochAction
from moireio.symmetry.average import AveragedOperator, in_memory
from moireio.symmetry.finder import crystal_operations
from moireio.symmetry.operations import chosen_operations, generated_operations, time_reversal

K = np.array([0.13, 0.29, 0.0])


def group_of(file, names):
    available = crystal_operations(file.structure)
    reverse = time_reversal(file.structure)
    available = [*available, *(o @ reverse for o in available)]
    return generated_operations(chosen_operations(available, names))


def deviation(total, operation, file, spinor):
    d = BlochAction(operation, file.structure, file.basis, spinor).matrix(K).toarray()
    here = total.dense(K)
    here = here.conj() if operation.time_reversal else here
    return np.abs(total.dense(operation.of_k(K)) @ d - d @ here).max()


@pytest.mark.parametrize("storage", ["full", "upper"])
@pytest.mark.parametrize(("case", "names"), [("hbn_soc", ["C3", "C2y", "T"]), ("gr_ab", ["S6"])])
def test_the_mean_obeys_the_group(made, case, names, storage):
    with moireio.open(made[case]) as file:
        group = group_of(file, names)
        assert len(group) == {"hbn_soc": 12, "gr_ab": 6}[case]
        for name in ("hamiltonian", "overlap"):
            source = stored_as(file.operator(name), storage)
            spinor = file.hamiltonian.meta.spin == "spinor"
            watched = {o.name: o for o in group}
            mean = AveragedOperator(source, group, file.structure, file.basis, watched)
            kept = in_memory(mean, 20_000)
            assert kept.meta.storage == storage
            total = BlochSum.from_source(kept, spinor=spinor and name == "overlap")
            worst = max(deviation(total, o, file, spinor) for o in group)
            assert worst < 1e-12
            before = BlochSum.from_source(source, spinor=spinor and name == "overlap")
            change = np.abs(before.dense(K) - total.dense(K)).max()
            if name == "hamiltonian":
                assert 1e-5 < mean.removed.largest < 1e-2
                assert 1e-6 < change < 2e-2
                assert mean.removed.rms < mean.removed.largest / 5
                assert mean.removed_by["E"].largest == 0
            again = AveragedOperator(kept, group, file.structure, file.basis)
            in_memory(again)
            assert again.removed.largest < 1e-13


def test_the_mean_is_the_sum_of_turned_operators(made):
    """At one k, against D O D† of the whole matrices."""
    with moireio.open(made["hbn_soc"]) as file:
        group = group_of(file, ["C3", "T"])
        mean = AveragedOperator(file.hamiltonian, group, file.structure, file.basis)
        total = BlochSum.from_source(in_memory(mean))
        h = file.hamiltonian.assembler()
        expected = 0
        for operation in group:
            action = BlochAction(operation, file.structure, file.basis, True)
            inverse = operation.lattice.T @ K  # the k point that goes to K
            inverse = -inverse if operation.time_reversal else inverse
            assert np.abs(operation.of_k(inverse) - K).max() < 1e-12
            d = action.matrix(inverse).toarray()
            here = h.dense(inverse)
            here = here.conj() if operation.time_reversal else here
            expected = expected + d @ here @ d.conj().T / len(group)
        assert np.abs(total.dense(K) - expected).max() < 1e-11


def test_pairs_without_images_are_completed(made):
    with moireio.open(made["gr_ab"]) as file:
        source = in_memory(file.hamiltonian)
        pairs = source.pairs
        gone = pairs.find(0, 0, (1, 0, 0))[0]
        cut = np.ones(len(pairs), dtype=bool)
        cut[[gone, pairs.partner()[gone]]] = False
        elements = pairs.block_elements(source.sizes)
        short = ArraySource(
            source.meta, source.sizes, pairs.select(cut), source.data[np.repeat(cut, elements)]
        )
        group = group_of(file, ["C3"])
        mean = AveragedOperator(short, group, file.structure, file.basis)
        assert len(short.pairs) + 2 == len(mean.pairs) == len(pairs)
        total = BlochSum.from_source(in_memory(mean))
        assert max(deviation(total, o, file, False) for o in group) < 1e-12
