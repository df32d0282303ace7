"""Training: losses, steps, calibration, going on."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from reference_net import ReferenceTraining
from systems import NUMBERS, basis, graph_of, random_structure, small_model

from moireio.errors import MoireioError
from moireio.integrals.sources import OrbitalIntegrals, OverlapSource
from moireio.network.create import new_model
from moireio.network.head import Head, all_targets
from moireio.network.inference.hamiltonian import HamiltonianSource
from moireio.network.inference.passes import Predictor
from moireio.network.irreps import Irreps
from moireio.network.training.calibrate import calibrate
from moireio.network.training.config import TrainingConfig
from moireio.network.training.loop import Training
from moireio.network.training.loss import block_errors, mean_loss
from moireio.network.training.samples import make_sample, mean_level
from moireio.operators.blocks import OperatorMeta
from moireio.operators.views import ArraySource, symmetrised

HIDDEN = Irreps.parse("6x0e+4x1o+3x2e")


@dataclass
class Data:
    """What a sample is made of."""

    label: str
    structure: object
    basis: object
    hamiltonian: object
    overlap: object


def data(seed, spin=False, mu=0.0, two_centre=False):
    """A structure with an H that depends on it smoothly: powers of its overlap."""
    own, atoms = basis(), random_structure(seed)
    graph = graph_of(atoms, own)
    S = OverlapSource(atoms, OrbitalIntegrals(own), graph.pairs)
    flat = S.rows(0, len(atoms))
    S = ArraySource(S.meta, S.sizes, graph.pairs, flat)
    values = 3 * flat + (0 if two_centre else flat**2)
    values = values + mu * flat
    meta = OperatorMeta(
        "hamiltonian",
        "eV",
        spin="spinor" if spin else "none",
        dtype="complex128" if spin else "float64",
    )
    sizes = S.sizes * (2 if spin else 1)
    if spin:
        blocks, at = [], 0
        i = graph.pairs.i
        for p in range(len(graph.pairs)):
            shape = S.sizes[i[p]], S.sizes[graph.pairs.j[p]]
            block = values[at : at + shape[0] * shape[1]].reshape(shape)
            at += block.size
            blocks.append(np.kron(np.eye(2), block).ravel().astype(complex))
        values = np.concatenate(blocks)
    H = symmetrised(ArraySource(meta, sizes, graph.pairs, values), "made")
    return Data(f"made {seed}", atoms, own, H, S)


def samples(model, seeds=(0, 1, 2), **options):
    return [make_sample(data(s, **options), model.network, model.targets) for s in seeds]


@pytest.mark.parametrize("spin", [False, True])
@pytest.mark.parametrize("merge", [False, True])
def test_head_and_its_inverse(spin, merge):
    targets = all_targets([6, 7], [(0, 1, 2), (0, 0, 1)], spin, merge=merge)
    for one in range(2):
        for two in range(2):
            head = Head(targets, one, two)
            rows = [sum(2 * n + 1 for n in targets.shells[k]) * (1 + spin) for k in (one, two)]
            blocks = torch.randn(4, *rows, dtype=torch.complex128 if spin else torch.float64)
            assert (head(head.inverse(blocks)) - blocks).abs().max() < 1e-12


def test_ten_steps_are_those_of_e3nn():
    """The same weights, data and order give the same losses as e3nn's modules, in double."""
    torch.set_default_dtype(torch.float64)
    try:
        model = small_model()
        made = samples(model)
        plan = TrainingConfig(learning_rate=3e-3, clip=0.0)
        reference = ReferenceTraining(model, plan.learning_rate)
        training = Training(model, made, made[:1], plan)
        for n in range(10):
            sample = made[n % 3]
            ours, loss = training.step([sample]), reference.step(sample)
            assert abs(ours - loss) < 1e-9 * ours, n
    finally:
        torch.set_default_dtype(torch.float32)


def fresh(spin=False, dtype=torch.float64, local=True):
    numbers = [NUMBERS[n] for n in basis().species]
    model = new_model(basis(), numbers, spin, HIDDEN, blocks=2, lmax=2, local=local)
    model.network.to(dtype)
    return model


@pytest.mark.parametrize("spin", [False, True])
def test_calibration_finds_two_centres(spin):
    """An H of two centres only is found by the calibration, up to what Gaussians resolve."""
    model = fresh(spin)
    made = samples(model, seeds=range(6), spin=spin, two_centre=True)
    mean = float(
        np.mean([abs(k.blocks).mean() for s in made for v in s.pair_blocks.values() for k in v])
    )
    calibrate(model, made)
    with torch.no_grad():
        model.network.lin_edge.weight.zero_()
        model.network.lin_edge.bias.zero_()
        error = np.mean([float(mean_loss(block_errors(model, s), "mae")) for s in made])
    assert error < 0.12 * mean


@pytest.mark.parametrize("spin", [False, True])
def test_losses_fall(spin):
    model = fresh(spin, torch.float32)
    made = samples(model, spin=spin)
    calibrate(model, made)
    training = Training(model, made, made[:1], TrainingConfig(learning_rate=5e-3, ema_decay=0.9))
    rows = [training.epoch() for _ in range(15)]
    assert rows[-1]["training_loss"] < 0.5 * rows[0]["training_loss"]
    assert training.state.best_loss <= rows[-1]["validation_loss"]


def test_stopped_and_continued(tmp_path):
    """Two halves give the weights of one run, to the last digit."""

    def start(folder):
        model = fresh(dtype=torch.float32)
        made = samples(model)
        calibrate(model, made)
        plan = TrainingConfig(
            learning_rate=5e-3, ema_decay=0.9, patience=2, cooldown=1, revert_patience=2
        )
        return Training(model, made, made[1:2], plan, str(folder), "k")

    whole = start(tmp_path / "a")
    for _ in range(7):
        whole.epoch()
    first = start(tmp_path / "b")
    for _ in range(3):
        first.epoch()
    first.save()
    first.epoch()  # is lost
    second = start(tmp_path / "b")
    assert second.state.epoch == 3
    for _ in range(4):
        second.epoch()
    for a, b in zip(whole.weights, second.weights, strict=True):
        assert torch.equal(a, b)
    assert whole.state.best_loss == second.state.best_loss
    second.save()
    lines = (tmp_path / "b" / "log.csv").read_text().splitlines()
    assert len(lines) == 8
    with pytest.raises(MoireioError, match="belongs to a training with other data"):
        Training(fresh(dtype=torch.float32), [], [], TrainingConfig(), str(tmp_path / "b"), "other")


def test_rate_falls_and_weights_go_back():
    model = fresh(dtype=torch.float32)
    made = samples(model)
    training = Training(
        model, made, made, TrainingConfig(patience=1, cooldown=1, revert_patience=2)
    )
    training.epoch()
    rate, best = training.learning_rate, [w.clone() for w in training.best]
    for _ in range(4):
        training.update_schedule(training.state.best_loss * 1.5)
    assert training.learning_rate == rate / 2
    with torch.no_grad():
        training.weights[0].add_(1.0)
    for _ in range(2):
        training.update_schedule(training.state.best_loss * 3)
    assert torch.equal(training.weights[0], best[0])
    assert training.learning_rate == pytest.approx(0.8 * rate)


def test_numbers_that_are_not_finite():
    model = fresh(dtype=torch.float32)
    made = samples(model)
    made[1].pair_blocks[0, 0][0].blocks[0, 0, 0] = float("nan")
    training = Training(model, made, made[:1], TrainingConfig())
    with pytest.raises(MoireioError, match=r"made 1: the loss is no longer finite"):
        training.epoch()
    broken = data(3)
    broken.hamiltonian.data[5] = np.inf
    with pytest.raises(MoireioError, match="numbers that are not finite"):
        make_sample(broken, model.network, model.targets)


def test_the_zero_of_energy_does_not_matter():
    """H and H + μS give the same sample, and μ is found."""
    model = fresh()
    one, two = data(0), data(0, mu=1.7)
    a, b = mean_level(one), mean_level(two)
    assert b - a == pytest.approx(1.7)
    first = make_sample(one, model.network, model.targets, mu=a)
    second = make_sample(two, model.network, model.targets, mu=b)
    for pair, kinds in first.pair_blocks.items():
        for x, y in zip(kinds, second.pair_blocks[pair], strict=True):
            assert (x.blocks - y.blocks).abs().max() < 1e-10


@pytest.mark.parametrize("spin", [False, True])
def test_training_and_prediction_agree(spin):
    """What training calls the prediction is what predict-h writes."""
    model = fresh(spin)
    made = samples(model, spin=spin)
    calibrate(model, made)
    sample = made[0]
    predictor = Predictor(model, sample.graph)
    with torch.no_grad():
        found = block_errors(model, sample)
        predictor.run()
    source = HamiltonianSource(predictor)
    flat = source.rows(0, len(sample.species))
    blocks, at, i = {}, 0, source.pairs.i
    for p in range(len(source.pairs)):
        shape = source.sizes[i[p]], source.sizes[source.pairs.j[p]]
        size = int(shape[0] * shape[1])
        key = int(i[p]), int(source.pairs.j[p]), tuple(source.pairs.R[p])
        blocks[key] = flat[at : at + size].reshape(shape)
        at += size
    checked = 0
    for kind, gap in found:
        value = (gap + kind.blocks).numpy()
        for n, edge in enumerate(kind.edges.tolist()):
            if edge >= len(sample.graph):
                key = (edge - len(sample.graph),) * 2 + ((0, 0, 0),)
            else:
                bonds = sample.graph.bonds
                first = int(sample.graph.first(np.array([edge]))[0])
                key = first, int(bonds.j[edge]), tuple(bonds.R[edge])
            if key in blocks:
                assert np.abs(blocks[key] - value[n]).max() < 1e-10
                checked += 1
    assert checked == len(blocks)
