"""e3nn's gate and the factors from the distance, on features in the frames of edges."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from moireio.network.irreps import Irrep, Irreps, Layout, reachable

# e3nn's second-moment constants, from a million fixed samples.
SILU, TANH, SIGMOID = 1.6791767923989418, 1.5937334472592695, 1.8467055342154763


def harmonics_irreps(lmax: int, even: bool = False) -> Irreps:
    """Return the list of an edge's harmonics.

    Parameters
    ----------
    lmax : int
        Highest degree.
    even : bool
        All of even parity.

    Returns
    -------
    Irreps
        ``1x0e+1x1o+…``
    """
    return Irreps(Irrep(1, n, 1 if even else (-1) ** n) for n in range(lmax + 1))


class GateLists:
    """The lists of e3nn's Gate for what a product can reach.

    Parameters
    ----------
    source, harmonics : Irreps
        Factors of the product.
    wanted : Irreps
        What shall come out.
    """

    def __init__(self, source: Irreps, harmonics: Irreps, wanted: Irreps) -> None:
        kept = [e for e in wanted if reachable(source, harmonics, e.kind)]
        gate = 1 if reachable(source, harmonics, (0, 1)) else -1
        self.scalars = Irreps(e for e in kept if e.l == 0).simplify()
        self.gated = Irreps(e for e in kept if e.l > 0).simplify()
        self.gates = Irreps(Irrep(e.mul, 0, gate) for e in self.gated).simplify()
        self.gate_parity = gate
        self.out = Irreps(self.scalars + self.gated)
        joined = Irreps(self.scalars + self.gates + self.gated)
        ordered, order = joined.sort()
        self.product = ordered.simplify()
        # column (m = 0) of every channel: scalars, gates, gated ones by degree
        layout, n_scalars, n_gated = Layout(self.out), self.scalars.channels, self.gated.channels
        place = np.empty(n_gated, dtype=int)
        place[layout.order[n_scalars:] - n_scalars] = np.arange(n_gated)
        columns = np.concatenate(
            [np.arange(n_scalars), n_scalars + place, n_scalars + n_gated + place]
        )
        first = np.cumsum([0, *(e.mul for e in joined)])
        self.places = [int(c) for n in order for c in columns[first[n] : first[n + 1]]]
        degrees = [n for n, count in enumerate(layout.per_degree) for _ in range(count)]
        self.degrees = [0] * (n_scalars + n_gated) + degrees[n_scalars:]


@dataclass(frozen=True)
class GateShape:
    """What a gate is applied to.

    Parameters
    ----------
    scalars, gated : int
        Channels with l = 0, and with l ≥ 1; these have as many gates.
    parity : {1, -1}
        Parity of the gates.
    odd : (scalars,) tensor of bool, or None
        Which scalars are odd; None if none is.
    below : list of int
        For every order, gated channels of lower degree.
    """

    scalars: int
    gated: int
    parity: int
    odd: torch.Tensor | None
    below: list[int]


def gated(
    zero: torch.Tensor, factors: torch.Tensor, orders: list[torch.Tensor], shape: GateShape
) -> list[torch.Tensor]:
    """Apply a gate.

    Parameters
    ----------
    zero : (n, scalars + 2 · gated) tensor
        Scalars, gates, and the components m = 0 of the others.
    factors : (n, scalars + gated) tensor
        Multiplies every channel of the result; e3nn's constants (`gate_constants`) are part of it.
    orders : list of (n, 2, channels) tensors
        Components −m and m for m = 1, 2 and so on; overwritten where no gradient is wanted.
    shape : GateShape
        Numbers of channels.

    Returns
    -------
    list of (n, 1 or 2, channels) tensors
        As `by_order` has features.
    """
    return list(_Gate.apply(shape, zero, factors, *orders))


def gate_constants(shape: GateShape, like: torch.Tensor) -> torch.Tensor:
    """Return e3nn's constants, which `gated` leaves out, for every channel of its result.

    Parameters
    ----------
    shape : GateShape
        Numbers of channels.
    like : tensor
        Has the precision and device of the result.

    Returns
    -------
    (scalars + gated,) tensor
        Belong to `factors`.
    """
    constants = like.new_full((shape.scalars + shape.gated,), SILU)
    if shape.odd is not None:
        constants[: shape.scalars][shape.odd] = TANH
    constants[shape.scalars :] = SIGMOID if shape.parity == 1 else TANH
    return constants


def _activation(x: torch.Tensor, shape: GateShape) -> torch.Tensor:
    active = torch.nn.functional.silu(x)
    return active if shape.odd is None else torch.where(shape.odd, torch.tanh(x), active)


def _slope(x: torch.Tensor, shape: GateShape) -> torch.Tensor:
    level = torch.sigmoid(x)
    slope = (1 - level).mul_(x).add_(1).mul_(level)
    return slope if shape.odd is None else torch.where(shape.odd, 1 - torch.tanh(x) ** 2, slope)


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, shape: GateShape, zero: torch.Tensor, factors: torch.Tensor, *orders: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        parts = [shape.scalars, shape.gated, shape.gated]
        scalars, gates, middle = torch.split_with_sizes(zero, parts, dim=1)
        own, others = torch.split_with_sizes(factors, parts[:2], dim=1)
        level = torch.sigmoid(gates) if shape.parity == 1 else torch.tanh(gates)
        factor = level.mul_(others)
        out = [_activation(scalars, shape).mul_(own)[:, None]]
        if shape.gated:
            out.append((middle * factor)[:, None])
        if any(ctx.needs_input_grad):
            ctx.shape = shape
            ctx.save_for_backward(zero, factors, *orders)
            out += [x * factor[:, None, n:] for x, n in zip(orders, shape.below, strict=True)]
        else:
            out += [x.mul_(factor[:, None, n:]) for x, n in zip(orders, shape.below, strict=True)]
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple:
        shape: GateShape = ctx.shape
        zero, factors, *orders = ctx.saved_tensors
        parts = [shape.scalars, shape.gated, shape.gated]
        scalars, gates, middle = torch.split_with_sizes(zero, parts, dim=1)
        own, others = torch.split_with_sizes(factors, parts[:2], dim=1)
        of_zero, of_factors = torch.empty_like(zero), torch.empty_like(factors)
        of_scalars, of_gates, of_middle = torch.split_with_sizes(of_zero, parts, dim=1)
        of_own, of_others = torch.split_with_sizes(of_factors, parts[:2], dim=1)
        first = gradients[0][:, 0]
        torch.mul(first, _activation(scalars, shape), out=of_own)
        torch.mul(first, own, out=of_scalars)
        of_scalars.mul_(_slope(scalars, shape))
        out = []
        if shape.gated:
            if shape.parity == 1:
                level = torch.sigmoid(gates)
                slope = (1 - level).mul_(level)
            else:
                level = torch.tanh(gates)
                slope = 1 - level.square()
            factor = level * others
            second = gradients[1][:, 0]
            torch.mul(second, factor, out=of_middle)
            of_factor = second * middle
            for gradient, x, n in zip(gradients[2:], orders, shape.below, strict=True):
                for row in range(2):
                    of_factor[:, n:].addcmul_(gradient[:, row], x[:, row])
                out.append(gradient * factor[:, None, n:])
            torch.mul(of_factor, level, out=of_others)
            torch.mul(of_factor, others, out=of_gates)
            of_gates.mul_(slope)
        return None, of_zero, of_factors, *out
