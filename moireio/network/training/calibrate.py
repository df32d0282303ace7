"""Calibration of a network's output from data.

It takes two passes through the data, so that they need not fit into memory: the first fits, by
least squares, the part of H that depends on two atoms alone; the second measures the rest.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from moireio.network.ends import Edges
from moireio.network.frames import frames_by_degree, into_frames
from moireio.network.head import Head
from moireio.network.irreps import Irreps, Layout, e3nn_places
from moireio.network.model import NetworkModel
from moireio.network.net import CALIBRATION_BINS, Calibration
from moireio.network.training.samples import SpeciesPairBlocks, TrainingSample

RIDGE = 1e-6
SMALLEST_SCALE = 1e-4

# Entries of the output, each with its (n, 2l + 1) values in the frames of the edges
Channels = list[tuple[int, torch.Tensor]]


@torch.no_grad()
def calibrate(
    model: NetworkModel, samples: Iterable[TrainingSample], only: set[int] | None = None
) -> None:
    """Set scales, offsets and the two-centre part of a model's output from data.

    Parameters
    ----------
    model : NetworkModel
        Model whose network is `calibrated`.
    samples : iterable of TrainingSample
        Data; they are gone through twice.
    only : set of int, optional
        Entries of the network's output to set; all by default.
    """
    network = model.network
    out, calibration = network.settings.out_edge, network.calibration
    fits: dict[tuple[int, int, bool], _TwoCentreFit] = {}
    n_edges = n_atoms = 0
    for sample in samples:
        n_edges, n_atoms = n_edges + len(sample.graph), n_atoms + len(sample.species)
        for group, channels in _channels(model, sample, only):
            fit = fits.setdefault(_key(group), _TwoCentreFit(calibration, out))
            fit.add(group.geometry, channels)
    for fit in fits.values():
        fit.solve()
    for sample in samples:
        for group, channels in _channels(model, sample, only):
            fits[_key(group)].measure(group.geometry, channels)
    for fit in fits.values():
        fit.write()
    if only is None:
        network.settings = network.settings.with_(neighbours=float(n_edges / n_atoms))
        network.lin_edge.weight.mul_(0.1)


def _key(group: SpeciesPairBlocks) -> tuple[int, int, bool]:
    return group.species_i, group.species_j, group.geometry.site


def _channels(
    model: NetworkModel, sample: TrainingSample, only: set[int] | None
) -> Iterator[tuple[SpeciesPairBlocks, Channels]]:
    """Yield the blocks of every pair of species with the channels that they ask for."""
    settings = model.network.settings
    for group in sample.all_blocks():
        head = Head(model.targets, group.species_i, group.species_j, settings.convention.old_signs)
        irreps = Irreps(settings.out_edge[n] for n in head.entries)
        double = torch.complex128 if group.blocks.is_complex() else torch.float64
        flat = head.reads(e3nn_places(irreps)).inverse(group.blocks.to(double))
        frames = frames_by_degree(group.geometry.frames)
        frames = None if frames is None else [f.double() for f in frames]
        parts = into_frames(Layout(irreps).split(flat), frames)
        channels, seen = [], [0] * len(parts)
        for entry, irrep in zip(head.entries, irreps, strict=True):
            if only is None or entry in only:
                channels.append((entry, parts[irrep.l][:, :, seen[irrep.l]]))
            seen[irrep.l] += 1
        yield group, channels


class _TwoCentreFit:
    """Sums over the edges between two species, and the fit to them."""

    def __init__(self, calibration: Calibration, out: Irreps) -> None:
        self._calibration, self._out = calibration, out
        n_gaussians = calibration.baseline.shape[0]
        self._normal = torch.zeros(n_gaussians, n_gaussians, dtype=torch.float64)
        self._right: dict[int, Any] = {}
        self._shift: dict[int, float] = {}
        self._square: dict[int, Any] = {}
        self._weight = torch.zeros(CALIBRATION_BINS, dtype=torch.float64)
        self._count, self._site = 0, False

    def _functions(self, geometry: Edges) -> torch.Tensor:
        functions = self._calibration.radial(geometry.distance.double())
        if geometry.envelope is None:
            return functions
        return functions * geometry.envelope[:, 0].double()

    def _axial(self, entry: int) -> bool:
        """Return whether a channel can depend on two centres alone."""
        irrep = self._out[entry]
        return irrep.p == (-1) ** irrep.l

    def add(self, geometry: Edges, channels: Channels) -> None:
        """Add edges to the sums that the fit needs."""
        self._count += len(geometry)
        self._site = geometry.site
        if geometry.site:
            for entry, value in channels:
                if self._out[entry].kind == (0, 1):
                    self._shift[entry] = self._shift.get(entry, 0.0) + float(value.sum())
            return
        G = self._functions(geometry)
        self._normal += G.T @ G
        for entry, value in channels:
            if self._axial(entry):
                middle = value[:, self._out[entry].l]
                self._right[entry] = self._right.get(entry, 0.0) + G.T @ middle

    def solve(self) -> None:
        """Fit."""
        self._shift = {entry: total / self._count for entry, total in self._shift.items()}
        if self._site:
            return
        size = len(self._normal)
        normal = self._normal + RIDGE * self._count * torch.eye(size, dtype=torch.float64)
        self._right = {entry: torch.linalg.solve(normal, b) for entry, b in self._right.items()}

    def measure(self, geometry: Edges, channels: Channels) -> None:
        """Add edges to the sums of squares of the rest."""
        if self._site:
            for entry, value in channels:
                rest = value - self._shift.get(entry, 0.0)
                square = rest.square().mean(dim=1).sum()
                self._square[entry] = self._square.get(entry, 0.0) + float(square)
            return
        G, step = self._functions(geometry), float(self._calibration.step)
        bins = torch.arange(CALIBRATION_BINS, dtype=torch.float64) * step
        distance = geometry.distance.double()
        closeness = torch.exp(-0.5 * ((distance[:, None] - bins) / step) ** 2)
        self._weight += closeness.sum(dim=0)
        for entry, value in channels:
            if entry in self._right:
                value = value.clone()
                value[:, self._out[entry].l] -= G @ self._right[entry]
            square = closeness.T @ value.square().mean(dim=1)
            self._square[entry] = self._square.get(entry, 0.0) + square

    def write(self) -> None:
        """Set the calibration."""
        calibration = self._calibration
        if self._site:
            for entry, square in self._square.items():
                rms = max((square / self._count) ** 0.5, 10 * SMALLEST_SCALE)
                calibration.site_scale[entry] = rms
                calibration.site_shift[entry] = self._shift.get(entry, 0.0)
            return
        occupied = self._weight > 0.5
        for entry, square in self._square.items():
            if entry in self._right:
                calibration.baseline[:, entry] = self._right[entry].to(calibration.baseline.dtype)
            rms = torch.sqrt(square / self._weight.clamp(min=1e-6))
            scale = torch.full_like(rms, SMALLEST_SCALE)
            scale[occupied] = rms[occupied].clamp(min=SMALLEST_SCALE)
            if occupied.any():  # nearer than any distance in the data: as the nearest
                first = int(torch.nonzero(occupied)[0])
                scale[:first] = scale[first]
            calibration.log_scale[:, entry] = scale.log().to(calibration.log_scale.dtype)
