"""Linear maps of features."""

import pytest
import torch

from moireio.network.frames import by_order
from moireio.network.irreps import Irreps
from moireio.network.linear import CONVENTIONS, Convention, Linear, path_weights

SOURCE, TARGET = Irreps.parse("3x0e+2x1o+1x0e+1x2e"), Irreps.parse("2x0e+3x1o+2x2e+1x0o")


@pytest.mark.parametrize("kinds", [1, 3])
def test_matrices_and_back(kinds):
    module = Linear(SOURCE, TARGET, Convention(), kinds=kinds).double()
    weight = module.weight.detach().clone()
    matrices = [[m.detach() for m in of_kind] for of_kind in module.matrices()]
    with torch.no_grad():
        module.weight.zero_()
    module.set_matrices(matrices)
    torch.testing.assert_close(module.weight.detach(), weight)


def test_both_orders_give_the_same():
    """Mapped degree by degree, or order by order in the frames of edges."""
    module = Linear(SOURCE, TARGET, Convention(), bias=True).double()
    with torch.no_grad():
        module.bias.normal_()
    parts = [torch.randn(5, 2 * d + 1, c).double() for d, c in enumerate((4, 2, 1))]
    for mapped in (by_order(module(parts)), by_order(module(parts, torch.zeros(5).long()))):
        for a, b in zip(mapped, module.prepare(orders=True)(by_order(parts)), strict=True):
            torch.testing.assert_close(a, b)


def test_weights_of_every_kind():
    """Each feature is mapped by the weights of its kind, alone as among others, and so backward."""
    module = Linear(SOURCE, TARGET, Convention(), kinds=3).double()
    parts = [torch.randn(5, 2 * d + 1, c).double() for d, c in enumerate((4, 2, 1))]
    kind = torch.tensor([2, 0, 2, 0, 2])
    together = module(parts, kind)
    for n in range(5):
        alone = module([p[n : n + 1] for p in parts], kind[n : n + 1])
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[n], b[0])
    whole = [p.requires_grad_() for p in parts]
    assert torch.autograd.gradcheck(lambda *x: tuple(module(list(x), kind)), tuple(whole))


def test_normalisations():
    """By element every path into an output has one factor, by path each has its own."""
    paths = [(0, 4), (0, 12), (1, 9)]
    assert path_weights(paths, CONVENTIONS["0.5"]) == pytest.approx([0.25, 0.25, 1 / 3])
    expected = [1 / 8**0.5, 1 / 24**0.5, 1 / 3]
    assert path_weights(paths, CONVENTIONS["0.3.5"]) == pytest.approx(expected)


def test_wide_features_order_by_order():
    """Degrees with many channels have blocks of their own; values and gradients as by degree."""
    source, target = Irreps.parse("2x0e+66x1o+3x2e"), Irreps.parse("2x0e+65x1o+4x2e+1x3o")
    one, two = (Linear(source, target, Convention(), bias=True).double() for _ in range(2))
    parts = [torch.randn(4, 2 * d + 1, c).double() for d, c in enumerate((2, 66, 3))]
    kind = torch.zeros(4, dtype=torch.long)
    totals = []
    for orders in (False, True):
        given = by_order(parts) if orders else parts
        made = one.prepare(orders).plus(given, two.prepare(orders), given, kind)
        totals.append(made if orders else by_order(made))
    gradients = []
    for made in totals:
        loss = sum(x.square().sum() for x in made)
        gradients.append(torch.autograd.grad(loss, [one.weight, one.bias, two.weight]))
    for a, b in zip([*totals[0], *gradients[0]], [*totals[1], *gradients[1]], strict=True):
        torch.testing.assert_close(a, b)
