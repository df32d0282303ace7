"""Tables of the eigenvalues of C3: Chern numbers modulo 3 by row, group and spin, and a series."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.results.symmetry import POINTS, RotationEigenvalues
from moireio.topology.rotation import LEAST_SPIN, WARN_DEVIATION
from moireio.topology.threefold import chern_mod3

SIGNS = (
    "# ξ = e^{iπn/3} of (C3 ψ)(r) = ψ(C3⁻¹ r), counter-clockwise seen from +z; "
    "e^{2πiC/3} = Π (−1)^F ξ(Γ)ξ(K)ξ(K'), C counter-clockwise in k"
)


def chern_of(result: RotationEigenvalues, axis: int, channel: int, rows: npt.ArrayLike) -> int:
    """Return C modulo 3 of some rows.

    Parameters
    ----------
    result : RotationEigenvalues
        Eigenvalues.
    axis, channel : int
        Axis and spin channel.
    rows : array of int
        Whole groups, or rows of one spin.

    Returns
    -------
    int
        −1, 0 or 1.
    """
    return chern_mod3(result.n[channel, axis][:, np.asarray(rows)], result.spinor)


def chern_of_spin(
    result: RotationEigenvalues, axis: int, spin: int, group: int | None = None
) -> int | None:
    """Return C modulo 3 of the states of one spin.

    Parameters
    ----------
    result : RotationEigenvalues
        Eigenvalues.
    axis : int
        0, 1 or 2.
    spin : {1, -1}
        Up or down.
    group : int, optional
        Number of the first band of a group; by default all bands.

    Returns
    -------
    int or None
        −1, 0 or 1; None where states have no spin, or not as many are up at every point.
    """
    if len(result.energies) == 2:
        channel = (1 - spin) // 2
        rows = np.arange(result.count)
        chosen = rows if group is None else rows[result.group[channel] == group]
        return chern_of(result, axis, channel, chosen)
    if not result.spinor:
        return None
    rows = np.arange(result.count) if group is None else np.flatnonzero(result.group[0] == group)
    sz = result.sz[0][:, rows]
    counts = (sz > 0).sum(axis=1)
    if (np.abs(sz) < LEAST_SPIN).any() or len(set(counts.tolist())) > 1:
        return None
    n = np.array([row[s * spin > 0] for row, s in zip(result.n[0, axis][:, rows], sz, strict=True)])
    return chern_mod3(n, True)


def spin_of_row(result: RotationEigenvalues, channel: int, row: int) -> str | None:
    """Return the spin of a row.

    Parameters
    ----------
    result : RotationEigenvalues
        Eigenvalues.
    channel, row : int
        Which.

    Returns
    -------
    {"up", "down"} or None
        None without spin, or where it is not the same at all three points.
    """
    if len(result.energies) == 2:
        return ("up", "down")[channel]
    sz = result.sz[channel, :, row]
    if not result.spinor or not (np.abs(sz) >= LEAST_SPIN).all() or len(set(np.sign(sz))) > 1:
        return None
    return "up" if sz[0] > 0 else "down"


def chern_of_row(result: RotationEigenvalues, axis: int, channel: int, row: int) -> int | None:
    """Return C modulo 3 of one row.

    Parameters
    ----------
    result : RotationEigenvalues
        Eigenvalues.
    axis, channel, row : int
        Which.

    Returns
    -------
    int or None
        −1, 0 or 1; None in a group of several bands, unless it is a pair of opposite spins.
    """
    members = np.flatnonzero(result.group[channel] == result.group[channel, row])
    spins = {spin_of_row(result, channel, int(m)) for m in members}
    if len(members) > 1 and not (len(members) == 2 and spins == {"up", "down"}):
        return None
    return chern_of(result, axis, channel, [row])


def chern_of_all(result: RotationEigenvalues, axis: int) -> int:
    """Return C modulo 3 of all bands together.

    Parameters
    ----------
    result : RotationEigenvalues
        Eigenvalues.
    axis : int
        0, 1 or 2.

    Returns
    -------
    int
        −1, 0 or 1.
    """
    total = sum(chern_mod3(n[axis], result.spinor) for n in result.n)
    return (total + 1) % 3 - 1


def groups_of(result: RotationEigenvalues, channel: int) -> list[tuple[int, int]]:
    """Return the groups of bands of a spin channel.

    Parameters
    ----------
    result : RotationEigenvalues
        Eigenvalues.
    channel : int
        Spin channel.

    Returns
    -------
    list of (first, last)
        Numbers from 1.
    """
    starts = np.unique(result.group[channel]).tolist()
    ends = [*(s - 1 for s in starts[1:]), result.first_band + result.count - 1]
    return list(zip(starts, ends, strict=True))


def warning(result: RotationEigenvalues) -> str | None:
    """Return a warning where C3 is broken.

    Parameters
    ----------
    result : RotationEigenvalues
        Eigenvalues.

    Returns
    -------
    str or None
        None where |ξ³ − (−1)^F| is small everywhere.
    """
    worst = float(result.deviation.max())
    if worst <= WARN_DEVIATION:
        return None
    _, point, row = np.unravel_index(result.deviation.argmax(), result.deviation.shape)
    sign = "+ 1" if result.spinor else "− 1"
    band, label = result.first_band + row, _greek(POINTS[point])
    return f"|ξ³ {sign}| is {worst:.1e} for band {band} at {label}: H breaks C3 (see `symmetrise`)"


def _greek(label: str) -> str:
    return label.replace("G", "Γ")


def rotation_table(result: RotationEigenvalues, name: str) -> str:
    """Return the table of one file and one group of bands.

    Parameters
    ----------
    result : RotationEigenvalues
        Eigenvalues.
    name : str
        The file.

    Returns
    -------
    str
        Lines, the last one ended; those of the header begin with "#".
    """
    lines = [SIGNS]
    angle = "" if result.angle is None else f", {result.angle:.4f}°"
    averaged = ""
    if result.symmetrised:
        averaged = f"; averaged over C3, {1e3 * (result.removed or 0):.2f} meV removed at most"
    lines.append(f"# {name}{angle}{averaged}")
    for axis, centre in enumerate(result.centres):
        lines.append(f"# axis at {centre[0]:.4f} {centre[1]:.4f} Å")
        lines.append(
            "# band E(Γ) E(K) E(K') n(Γ) n(K) n(K') sz(Γ) sz(K) sz(K') spin C cumulated  "
            "(eV; C modulo 3)"
        )
        for channel in range(len(result.energies)):
            lines += _rows(result, axis, channel)
        total = f"# C = {chern_of_all(result, axis):d} mod 3 of all"
        up, down = (chern_of_spin(result, axis, spin) for spin in (1, -1))
        if up is not None and down is not None:
            total += f", {up:d} of ↑, {down:d} of ↓"
        lines.append(total)
    return "\n".join(lines) + "\n"


def _rows(result: RotationEigenvalues, axis: int, channel: int) -> list[str]:
    lines, ends = [], dict(groups_of(result, channel))
    for row in range(result.count):
        band = result.first_band + row
        energies = " ".join(f"{e:z.5f}" for e in result.energies[channel, :, row])
        n = " ".join(f"{v:2d}" for v in result.n[channel, axis, :, row])
        sz = " ".join("-" if np.isnan(v) else f"{v:z.2f}" for v in result.sz[channel, :, row])
        spin = spin_of_row(result, channel, row) or ("no spin" if result.spinor else "-")
        own = chern_of_row(result, axis, channel, row)
        text = f"{band} {energies} {n} {sz} {spin.replace(' ', '_')} {_sign(own)}"
        start = int(result.group[channel, row])
        if band == ends[start]:
            whole = chern_of(result, axis, channel, np.arange(row + 1))
            text += f" {whole:d}"
            if start != band:
                rows = np.arange(start - result.first_band, row + 1)
                text += f"   group {start}:{band} C = {chern_of(result, axis, channel, rows):d}"
                if result.spinor:
                    up, down = (chern_of_spin(result, axis, s, start) for s in (1, -1))
                    text += f" (↑ {_sign(up)}, ↓ {_sign(down)})"
        lines.append(text)
    return lines


def _sign(value: int | None) -> str:
    return "-" if value is None else f"{value:d}"


def rotation_object(result: RotationEigenvalues, name: str) -> dict[str, Any]:
    """Return the result of one file and one group of bands for JSON.

    Parameters
    ----------
    result : RotationEigenvalues
        Eigenvalues.
    name : str
        The file.

    Returns
    -------
    dict
        With `file`, `angle`, `bands`, `centres`, `symmetrised` and `removed_eV`.
    """
    last = result.first_band + result.count - 1
    return {
        "file": name,
        "angle": result.angle,
        "bands": [result.first_band, last],
        "centres": [_axis_object(result, axis) for axis in range(3)],
        "symmetrised": result.symmetrised,
        "removed_eV": result.removed,
    }


def _axis_object(result: RotationEigenvalues, axis: int) -> dict[str, Any]:
    bands, groups = [], []
    for channel in range(len(result.energies)):
        ends = dict(groups_of(result, channel))
        for start, end in ends.items():
            rows = np.arange(start, end + 1) - result.first_band
            groups.append(
                {
                    "bands": [start, end],
                    "channel": ("up", "down")[channel] if len(result.energies) == 2 else None,
                    "chern_mod3": chern_of(result, axis, channel, rows),
                    "chern_mod3_up": chern_of_spin(result, axis, 1, start),
                    "chern_mod3_down": chern_of_spin(result, axis, -1, start),
                }
            )
        for row in range(result.count):
            start = int(result.group[channel, row])
            bands.append(
                {
                    "band": result.first_band + row,
                    "energy": _by_point(result.energies[channel, :, row]),
                    "n": _by_point(result.n[channel, axis, :, row]),
                    "xi": _by_point(
                        [[z.real, z.imag] for z in result.xi[channel, axis, :, row].tolist()]
                    ),
                    "deviation": _by_point(result.deviation[channel, :, row]),
                    "sz": _by_point(result.sz[channel, :, row]) if result.spinor else None,
                    "spin": spin_of_row(result, channel, row),
                    "group": [start, ends[start]],
                    "chern_mod3": chern_of_row(result, axis, channel, row),
                }
            )
    return {
        "position": result.centres[axis].tolist(),
        "chern_mod3": chern_of_all(result, axis),
        "chern_mod3_up": chern_of_spin(result, axis, 1),
        "chern_mod3_down": chern_of_spin(result, axis, -1),
        "groups": groups,
        "bands": bands,
    }


def _by_point(values: Any) -> dict[str, Any]:
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    return dict(zip(POINTS, plain, strict=True))


def rotation_json(objects: list[dict[str, Any]]) -> str:
    """Return JSON of one object, or a list of several.

    Parameters
    ----------
    objects : list of dict
        From `rotation_object`.

    Returns
    -------
    str
        Indented.
    """
    return json.dumps(objects if len(objects) > 1 else objects[0], indent=1)


def transition(before: RotationEigenvalues, after: RotationEigenvalues) -> list[dict[str, Any]]:
    """Return where eigenvalues of a group of bands differ between two files of a series.

    Parameters
    ----------
    before, after : RotationEigenvalues
        The same bands, counted from the gap, of two neighbours in the series.

    Returns
    -------
    list of dict
        By point and spin ("up", "down" or None): the n of the states about the first axis before
        and after. Empty where none changed.
    """
    out = []
    for at, label in enumerate(POINTS):
        for spin in ("up", "down", None):
            n = [_n_of_spin(result, at, spin) for result in (before, after)]
            if n[0] != n[1] and None not in n:
                out.append({"point": label, "spin": spin, "n": n})
    return out


def _n_of_spin(result: RotationEigenvalues, at: int, spin: str | None) -> list[int] | None:
    """Return the sorted n at one point of the states of one spin; all where there are no spins."""
    separated = chern_of_spin(result, 0, 1) is not None
    if separated == (spin is None):
        return None
    if spin is None:
        return sorted(result.n[:, 0, at].ravel().tolist())
    if len(result.energies) == 2:
        return sorted(result.n[("up", "down").index(spin), 0, at].tolist())
    chosen = result.sz[0, at] > LEAST_SPIN if spin == "up" else result.sz[0, at] < -LEAST_SPIN
    return sorted(result.n[0, 0, at][chosen].tolist())


def series_table(rows: list[tuple[str, RotationEigenvalues]]) -> str:
    """Return C modulo 3 of every group of bands over a series of files.

    Parameters
    ----------
    rows : list of (name, RotationEigenvalues)
        In the order of the table.

    Returns
    -------
    str
        A line a file.
    """
    lines = [SIGNS, "# angle C C_up C_down C_of_groups(first:last=C,↑,↓ …) file"]
    for name, result in rows:
        angle = "-" if result.angle is None else f"{abs(result.angle):.4f}"
        up, down = (chern_of_spin(result, 0, spin) for spin in (1, -1))
        groups = " ".join(
            f"{start}:{end}={chern_of(result, 0, c, np.arange(start, end + 1) - result.first_band)}"
            + "".join(f",{_sign(chern_of_spin(result, 0, s, start))}" for s in (1, -1))
            for c in range(len(result.energies))
            for start, end in groups_of(result, c)
        )
        lines.append(
            f"{angle} {chern_of_all(result, 0):d} {_sign(up)} {_sign(down)} {groups} {name}"
        )
    return "\n".join(lines) + "\n"
