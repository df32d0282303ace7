"""The calibration of a network's output from data.

Two passes through the data, so that they need not fit into memory: the first fits, by least
squares, the part of H that depends on two atoms alone; the second measures what is left.
"""

import torch

from moireio.network.frames import into_frames
from moireio.network.head import Head
from moireio.network.irreps import Irreps, Layout
from moireio.network.net import CALIBRATION_BINS, places_of_e3nn

RIDGE = 1e-6
SMALLEST_SCALE = 1e-4


@torch.no_grad()
def calibrate(model, samples, only=None):
    """Set scales, offsets and the two-centre part of a model's output from data.

    Parameters
    ----------
    model : Model
        Whose network is `calibrated`.
    samples : iterable of Sample
        The data; is gone through twice.
    only : set of int, optional
        Entries of the network's output that are set; all by default.
    """
    network = model.network
    out, calibration = network.settings.out_edge, network.calibration
    fits, edges, count = {}, 0, 0
    for sample in samples:
        edges, count = edges + len(sample.graph), count + len(sample.species)
        for kind, channels in _channels(model, sample, only):
            fit = fits.setdefault((kind.one, kind.two, kind.geometry.site), _Fit(calibration, out))
            fit.add(kind.geometry, channels)
    for fit in fits.values():
        fit.solve()
    for sample in samples:
        for kind, channels in _channels(model, sample, only):
            fits[kind.one, kind.two, kind.geometry.site].measure(kind.geometry, channels)
    for fit in fits.values():
        fit.write()
    if only is None:
        network.settings = network.settings.with_(neighbours=float(edges / count))
        network.lin_edge.weight.mul_(0.1)


def _channels(model, sample, only):
    """Yield the kinds of a sample with (entry, (n, 2l + 1) target in the edges' frames) of each."""
    settings = model.network.settings
    for kinds in sample.kinds.values():
        for kind in kinds:
            head = Head(model.targets, kind.one, kind.two, settings.convention.old_signs)
            irreps = Irreps(settings.out_edge[n] for n in head.entries)
            blocks = kind.blocks.to(torch.complex128 if kind.blocks.is_complex() else torch.float64)
            flat = head.reads(places_of_e3nn(irreps)).inverse(blocks)
            frames = kind.geometry.frames
            frames = None if frames is None else [f.double() for f in frames]
            parts = into_frames(Layout(irreps).split(flat), frames)
            channels, seen = [], [0] * len(parts)
            for entry, irrep in zip(head.entries, irreps, strict=True):
                if only is None or entry in only:
                    channels.append((entry, parts[irrep.l][:, :, seen[irrep.l]]))
                seen[irrep.l] += 1
            yield kind, channels


class _Fit:
    """Sums over the edges between two species, and what is fitted to them."""

    def __init__(self, calibration, out):
        self._calibration, self._out = calibration, out
        gaussians = calibration.baseline.shape[0]
        self._normal = torch.zeros(gaussians, gaussians, dtype=torch.float64)
        self._right, self._shift, self._square = {}, {}, {}
        self._weight = torch.zeros(CALIBRATION_BINS, dtype=torch.float64)
        self._count, self._site = 0, False

    def _functions(self, geometry):
        distance = geometry.distance.double()
        functions = self._calibration.radial(distance)
        if geometry.envelope is None:
            return functions
        return functions * geometry.envelope[:, 0].double()

    def _axial(self, entry):
        """Whether a channel can depend on two centres alone."""
        irrep = self._out[entry]
        return irrep.p == (-1) ** irrep.l

    def add(self, geometry, channels):
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

    def solve(self):
        """Fit."""
        self._shift = {entry: total / self._count for entry, total in self._shift.items()}
        if self._site:
            return
        size = len(self._normal)
        normal = self._normal + RIDGE * self._count * torch.eye(size, dtype=torch.float64)
        self._right = {entry: torch.linalg.solve(normal, b) for entry, b in self._right.items()}

    def measure(self, geometry, channels):
        """Add edges to the sums of squares of what is left."""
        if self._site:
            for entry, value in channels:
                rest = value - self._shift.get(entry, 0.0)
                square = rest.square().mean(dim=1).sum()
                self._square[entry] = self._square.get(entry, 0.0) + float(square)
            return
        G, step = self._functions(geometry), float(self._calibration.step)
        bins = torch.arange(CALIBRATION_BINS, dtype=torch.float64) * step
        distance = geometry.distance.double()
        near = torch.exp(-0.5 * ((distance[:, None] - bins) / step) ** 2)
        self._weight += near.sum(dim=0)
        for entry, value in channels:
            if entry in self._right:
                value = value.clone()
                value[:, self._out[entry].l] -= G @ self._right[entry]
            square = near.T @ value.square().mean(dim=1)
            self._square[entry] = self._square.get(entry, 0.0) + square

    def write(self):
        """Set the calibration."""
        calibration = self._calibration
        if self._site:
            for entry, square in self._square.items():
                rms = max((square / self._count) ** 0.5, 10 * SMALLEST_SCALE)
                calibration.site_scale[entry] = rms
                calibration.site_shift[entry] = self._shift.get(entry, 0.0)
            return
        known = self._weight > 0.5
        for entry, square in self._square.items():
            if entry in self._right:
                calibration.baseline[:, entry] = self._right[entry].to(calibration.baseline.dtype)
            rms = torch.sqrt(square / self._weight.clamp(min=1e-6))
            scale = torch.full_like(rms, SMALLEST_SCALE)
            scale[known] = rms[known].clamp(min=SMALLEST_SCALE)
            if known.any():  # nearer than anything seen: as the nearest
                first = int(torch.nonzero(known)[0])
                scale[:first] = scale[first]
            calibration.log_scale[:, entry] = scale.log().to(calibration.log_scale.dtype)
