"""e3nn's gate."""

import pytest
import torch

from moireio.network.gate import (
    SIGMOID,
    SILU,
    TANH,
    GateLists,
    GateShape,
    gate_constants,
    gated,
    harmonics_irreps,
)
from moireio.network.irreps import Irreps


@pytest.mark.parametrize("parity", [1, -1])
def test_values_and_gradients(parity):
    """Of even and odd scalars, of gates of either parity, and of all orders."""
    torch.manual_seed(0)
    odd = torch.tensor([False, True, False])
    shape = GateShape(3, 4, parity, odd, [0, 2])
    zero, factors = torch.randn(5, 11).double(), torch.randn(5, 7).double()
    orders = [torch.randn(5, 2, 4).double(), torch.randn(5, 2, 2).double()]
    constants = gate_constants(shape, zero)
    level = SIGMOID if parity == 1 else TANH
    assert constants.tolist() == pytest.approx([SILU, TANH, SILU, *[level] * 4])
    active = torch.where(odd, torch.tanh(zero[:, :3]), zero[:, :3].sigmoid())
    active = active * torch.where(odd, torch.ones(()), zero[:, :3]) * factors[:, :3]
    level = zero[:, 3:7].sigmoid() if parity == 1 else zero[:, 3:7].tanh()
    level = level * factors[:, 3:]
    expected = [active[:, None], (zero[:, 7:] * level)[:, None]]
    expected += [orders[0] * level[:, None], orders[1] * level[:, None, 2:]]
    given = [x.requires_grad_() for x in (zero, factors, *orders)]
    for found, value in zip(gated(zero, factors, orders, shape), expected, strict=True):
        torch.testing.assert_close(found, value)
    function = lambda z, f, *o: tuple(gated(z, f, list(o), shape))  # noqa: E731
    assert torch.autograd.gradcheck(function, tuple(given))
    with torch.no_grad():
        for found, value in zip(gated(zero, factors, orders, shape), expected, strict=True):
            torch.testing.assert_close(found, value)


def test_scalars_alone():
    shape = GateShape(3, 0, 1, None, [])
    zero = torch.randn(4, 3)
    (found,) = gated(zero, torch.ones(4, 3), [], shape)
    torch.testing.assert_close(found[:, 0], torch.nn.functional.silu(zero))


def test_harmonics_and_their_parities():
    assert str(harmonics_irreps(2)) == "1x0e+1x1o+1x2e"
    assert str(harmonics_irreps(2, even=True)) == "1x0e+1x1e+1x2e"


def test_gates_for_what_can_be_reached():
    """From scalars and harmonics no 1e comes out, and every other l > 0 has a gate."""
    lists = GateLists(
        Irreps.parse("4x0e"), harmonics_irreps(2), Irreps.parse("3x0e+2x1o+5x1e+1x2e")
    )
    assert str(lists.out) == "3x0e+2x1o+1x2e"
    assert str(lists.gates) == "3x0e"
    assert sorted(lists.places) == list(range(lists.product.channels))
