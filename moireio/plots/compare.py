"""Figures of the errors of Hamiltonians."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from moireio.compare.hamiltonians import Comparison


def plot_errors(comparison: "Comparison", labels: dict[str, list[tuple[str, int]]]) -> "Figure":
    """Draw the mean errors of all pairs of orbitals, a panel for each pair of species.

    Parameters
    ----------
    comparison : Comparison
        The errors.
    labels : dict of str to list of (str, int)
        Names and lengths of every species' runs of orbitals (`SpeciesBasis.groups`), for the ticks.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    from matplotlib.figure import Figure

    n = len(comparison.pairs)
    columns = min(n, 2)
    rows = -(-n // columns)
    figure = Figure(figsize=(3.6 * columns + 0.6, 3.3 * rows), dpi=200, layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    top = max(p.largest_mean for p in comparison.pairs) * 1e3
    image = None
    for axis, pair in zip(axes, comparison.pairs, strict=False):
        values = pair.means * 1e3
        image = axis.imshow(values, cmap="magma_r", vmin=0, vmax=top, interpolation="nearest")
        axis.set_title(f"{'–'.join(pair.species)}: mean {pair.mean * 1e3:.3g} meV", fontsize=9)
        for name, set_ticks in zip(pair.species, (axis.set_yticks, axis.set_xticks), strict=True):
            seen, widths = zip(*labels[name], strict=True)
            widths = np.array(widths)
            size = int(widths.sum())
            copies = (values.shape[0] if set_ticks == axis.set_yticks else values.shape[1]) // size
            centres = np.cumsum(widths) - widths / 2 - 0.5
            ticks = np.concatenate([centres + c * size for c in range(copies)])
            spins = [""] if copies == 1 else ["↑", "↓"]
            set_ticks(ticks, [s + spin for spin in spins for s in seen], fontsize=6)
            if set_ticks == axis.set_xticks:
                axis.tick_params(axis="x", labelrotation=90)
            edges = np.concatenate(
                [
                    np.cumsum(widths)[: None if c < copies - 1 else -1] + c * size
                    for c in range(copies)
                ]
            )
            draw = axis.axhline if set_ticks == axis.set_yticks else axis.axvline
            for edge in edges:
                draw(edge - 0.5, color="white", linewidth=0.4)
    for axis in axes[n:]:
        axis.set_axis_off()
    figure.colorbar(image, ax=list(axes), shrink=0.8, label="mean |ΔH| (meV)")
    return figure


def plot_series(rows: list[dict[str, Any]]) -> "Figure":
    """Draw the errors of a series of structures against their twist angle.

    Parameters
    ----------
    rows : list of dict
        Each with ``errors`` (Comparison), ``bands`` (BandErrors, or None), ``angle`` (degrees, or
        None) and ``a`` (name of a file).

    Returns
    -------
    matplotlib.figure.Figure
        Bands, if they were compared, above the elements of H; in meV.
    """
    from matplotlib.figure import Figure

    angles = [row["angle"] for row in rows]
    known = all(angle is not None for angle in angles)
    x = np.array(angles if known else range(len(rows)), dtype=float)
    order = np.argsort(x, kind="stable")
    banded = all(row["bands"] is not None for row in rows)
    figure = Figure(figsize=(4.6, 5.2 if banded else 3.0), dpi=200, layout="constrained")
    axes = np.atleast_1d(figure.subplots(1 + banded, 1, sharex=True))
    if banded:
        for side, marker, label in (("below", "v", "below the gap"), ("above", "^", "above it")):
            values = [np.mean(getattr(row["bands"], side)) * 1e3 for row in rows]
            count = len(getattr(rows[0]["bands"], side))
            text = f"{count} bands {label}" if side == "below" else f"{count} {label}"
            axes[0].plot(x[order], np.array(values)[order], marker=marker, label=text)
        axes[0].set_ylabel("mean |ΔE| (meV)")
        axes[0].legend(frameon=False, fontsize=8)
    series = {
        "mean": [row["errors"].mean for row in rows],
        "max over orbital pairs of the mean": [
            max(p.largest_mean for p in row["errors"].pairs) for row in rows
        ],
    }
    for (name, values), marker in zip(series.items(), "os", strict=True):
        axes[-1].plot(x[order], np.array(values)[order] * 1e3, marker=marker, label=name)
    axes[-1].set_ylabel("|ΔH| (meV)")
    axes[-1].legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3, linewidth=0.5)
    if known:
        axes[-1].set_xlabel("twist angle (degrees)")
    else:
        axes[-1].set_xticks(x, [row["a"].rstrip("/").split("/")[-1] for row in rows])
        axes[-1].tick_params(axis="x", labelrotation=30)
    return figure
