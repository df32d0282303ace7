"""Small figures for pages, as SVG that takes its colours from the page."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 720
ROW = 22
LEFT = 250  # of the bars
PLACE = ("x", "y", "width", "height")
WINDOW = 2.0  # eV around the highest filled level


def bar_figure(rows: Sequence[tuple[str, str, float, float]]) -> str:
    """Return horizontal bars on a logarithmic axis.

    Parameters
    ----------
    rows : sequence of (str, str, float, float)
        Name, label, value, and a larger value that is marked; positive.

    Returns
    -------
    str
        SVG with the classes ``bar``, ``mark`` and ``axis``.
    """
    values = [max(v, 1e-6) for row in rows for v in row[2:]]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    low, span = min(low, high - 1), max(high - min(low, high - 1), 1)
    width = WIDTH - LEFT - 70

    def x(value: float) -> float:
        return LEFT + width * (math.log10(max(value, 1e-6)) - low) / span

    height = ROW * len(rows) + 30
    parts = [_open(height, "errors of all models")]
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts.append(f'<path class="axis" d="M{at:.1f} 0V{height - 24}"/>')
        parts.append(_text(at, height - 8, f"{10.0**power:g} meV", "middle"))
    former = None
    for n, (name, label, value, largest) in enumerate(rows):
        y = ROW * n + 3
        if name != former:
            parts.append(_text(0, y + 12, name[:24], "start"))
        former = name
        parts.append(_text(LEFT - 8, y + 12, label, "end"))
        bar = max(x(value) - LEFT, 1.0)
        parts.append(
            f'<rect class="bar" x="{LEFT}" y="{y}" width="{bar:.1f}" height="{ROW - 8}">'
            f"<title>{html.escape(f'{name}, {label}: {value:.3g} meV')}</title></rect>"
        )
        parts.append(f'<path class="mark" d="M{x(largest):.1f} {y - 1}V{y + ROW - 7}"/>')
        parts.append(_text(max(x(largest), LEFT + bar) + 6, y + 12, f"{value:.3g}", "start"))
    return "".join([*parts, "</svg>"])


def band_figure(bands: Mapping[str, Any]) -> str:
    """Return bands of a model over those of a reference.

    Parameters
    ----------
    bands : mapping
        As `moireio.models.cards.CellErrors` has them.

    Returns
    -------
    str
        SVG with the classes ``model``, ``reference`` and ``axis``.
    """
    distance = bands["distance"]
    left, right, top, height = 46, 12, 8, 330
    low, high = _window(bands)
    width = WIDTH - left - right

    def point(d: float, e: float) -> str:
        x = left + width * d / max(distance[-1], 1e-9)
        return f"{x:.1f} {top + (height - top - 26) * (high - e) / (high - low):.1f}"

    parts = [_open(height, "bands")]
    for at, label in zip(bands["ticks"], bands["labels"], strict=True):
        x = left + width * at / max(distance[-1], 1e-9)
        parts.append(f'<path class="axis" d="M{x:.1f} {top}V{height - 26}"/>')
        parts.append(_text(x, height - 8, {"G": "Γ"}.get(label, label), "middle"))
    step = 0.5 if high - low <= 4 else 1.0
    energy = math.ceil(low / step) * step
    while energy <= high:
        y = float(point(0.0, energy).split()[1])
        parts.append(f'<path class="axis" d="M{left} {y}H{WIDTH - right}"/>')
        parts.append(_text(left - 6, y + 4, f"{energy:g}", "end"))
        energy += step
    frame = f"{left} {top} {width} {height - top - 26}"
    sizes = " ".join(f'{k}="{v}"' for k, v in zip(PLACE, frame.split(), strict=True))
    parts.append(f'<svg {sizes} viewBox="{frame}" overflow="hidden">')
    for name in ("model", "reference"):
        for band in zip(*bands[name], strict=True):
            line = "L".join(point(d, e) for d, e in zip(distance, band, strict=True))
            parts.append(f'<path class="{name}" d="M{line}"/>')
    return "".join([*parts, "</svg></svg>"])


def _window(bands: Mapping[str, Any]) -> tuple[float, float]:
    """Return the energies between which bands are drawn: complete ones, near the gap."""
    filled = bands["filled"]
    levels = bands["reference"]
    below = max(min(row[0] for row in levels), -WINDOW)
    gap = min(row[filled] for row in levels) if len(levels[0]) > filled else 0.0
    above = min(max(row[-1] for row in levels), max(gap, 0.0) + WINDOW)
    return below - 0.05, max(above, below + 0.1) + 0.05


def _open(height: int, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{html.escape(label)}">'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'
