"""``compare-h``: the errors of a Hamiltonian."""

import click

from moireio.tools.common import Command
from moireio.tools.options import options
from moireio.tools.progress import progress


@click.command("compare-h", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", metavar="A B [A B]...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--bands", type=click.IntRange(1), metavar="N", help="Also N bands below and above the gap."
)
@click.option(
    "--path", "-p", default="GMKG", show_default=True, help="Of --bands, corners as for band."
)
@click.option(
    "--points", type=click.IntRange(2), default=40, show_default=True, help="k points on the path."
)
@click.option("--csv", type=click.Path(), help="Write the means by orbitals as a table.")
@options("plot", "json", "force")
@click.pass_context
def main(ctx, files, bands, path, points, csv, plot, as_json, force):
    """Compare the Hamiltonian of A with that of B, the reference, on the same structure.

    Both are block files or data folders of DeepH. Printed in meV, by pair of elements: the mean of
    |ΔH| over all elements of all blocks (directed pairs, on-site blocks among them; |ΔH| is the
    complex modulus); the largest, over orbitals, of the mean over pairs of atoms, which papers call
    the maximum; the largest single one. A common shift μ·S is removed first, and printed.

    More pairs A B make a series, such as one over twist angles: a line for each, and a picture of
    the errors against the angle.
    """
    import os

    from moireio.blockfile.stream import check_outputs
    from moireio.errors import MissingFileError
    from moireio.plots.bands import check_format, save
    from moireio.runtime.files import write_text

    if len(files) % 2:
        raise click.UsageError("Files come in pairs: A and its reference B.")
    if plot:
        check_format(plot)
    check_outputs([plot, csv], files, force)
    absent = next((name for name in files if not os.path.exists(name)), None)
    if absent is not None:
        raise MissingFileError("no such file or folder", path=absent)
    rows = []
    with progress(ctx, len(files) // 2 if len(files) > 2 else 0, "compare-h") as update:
        for n in range(0, len(files), 2):
            rows.append(_row(*files[n : n + 2], bands, path, points))
            update(1)
    series = len(rows) > 1
    if csv:
        with write_text(csv) as stream:
            if series:
                _write_series(stream, rows)
            else:
                stream.writelines(_csv(rows[0]["found"]))
    if plot:
        from moireio.plots import compare as compare_plots

        if series:
            save(compare_plots.plot_series(rows), plot)
        else:
            save(compare_plots.plot_errors(rows[0]["found"], rows[0]["orbitals"]), plot)
    if as_json:
        made = [{"a": r["a"], "b": r["b"], "angle": r["angle"]} | _plain(r["found"]) for r in rows]
        click.echo(_dump(made if series else made[0]))
    else:
        click.echo(_series_text(rows) if series else _text(rows[0]["found"]))


def _row(first, second, bands, path, points):
    """Return the comparison of two files, with what a table or a picture tells about them."""
    from moireio.compare import hamiltonians as compare
    from moireio.formats.calculations import open_calculation

    with open_calculation(first) as a, open_calculation(second) as b:
        found = compare.compare(a, b)
        if bands:
            found.bands = _bands(compare, a, b, path, points, bands, found.mu)
        return {
            "a": first,
            "b": second,
            "angle": compare.twist_angle(a, b),
            "atoms": len(b.structure),
            "orbitals": {name: b.basis[name].groups for name in b.structure.species_names},
            "found": found,
        }


def _bands(compare, a, b, path, points, count, mu):
    from moireio.bands.overlay import choose_path

    kpath = choose_path(b, path, points)
    below, above, _ = compare.compare_bands(a, b, kpath, count, mu)
    return {"below": below.tolist(), "above": above.tolist()}


def _text(found):
    lines = [
        f"common shift μ = {found.mu * 1e3:.3f} meV, removed",
        f"{'|ΔH|, meV':14s}{'mean':>10s}{'by orbitals':>13s}{'largest':>10s}   at",
    ]
    for p in found.pairs:
        i, j, R = p.where
        lines.append(
            f"{p.one + '-' + p.two:14s}{p.mean * 1e3:10.3f}{p.worst_orbitals * 1e3:13.3f}"
            f"{p.largest * 1e3:10.2f}   atoms {i}, {j}, R = {R[0]} {R[1]} {R[2]}"
        )
    lines.append(f"{'all':14s}{found.mean * 1e3:10.3f}")
    lines.append(f"{'on site':14s}{found.onsite * 1e3:10.3f}")
    if any(found.only):
        lines.append(f"not compared: {found.only[0]} pairs only in A, {found.only[1]} only in B")
    for side in ("below", "above"):
        if side in found.bands:
            values = ", ".join(f"{v * 1e3:.2f}" for v in found.bands[side])
            lines.append(f"bands {side} the gap, mean |ΔE|, meV: {values}")
    return "\n".join(lines)


def _csv(found):
    yield "first,second,row,column,mean_meV\n"
    for p in found.pairs:
        for (row, column), value in _numbered(p.by_orbitals):
            yield f"{p.one},{p.two},{row},{column},{value * 1e3:.6g}\n"


def _numbered(values):
    import numpy as np

    return np.ndenumerate(values)


def _plain(found):
    pairs = [
        {
            "pair": [p.one, p.two],
            "mean": p.mean,
            "worst_orbitals": p.worst_orbitals,
            "largest": p.largest,
            "blocks": p.blocks,
        }
        for p in found.pairs
    ]
    out = {"unit": "eV", "mu": found.mu, "mean": found.mean, "onsite": found.onsite}
    return out | {"only": found.only, "pairs": pairs, "bands": found.bands}


def _dump(value):
    import json

    return json.dumps(value, indent=1)


def _series_columns(row):
    """Return name and value of what the table of a series has, in meV and degrees."""
    found = row["found"]
    yield "angle", row["angle"]
    yield "atoms", row["atoms"]
    yield "mean", found.mean * 1e3
    yield "by_orbitals", max(p.worst_orbitals for p in found.pairs) * 1e3
    yield "largest", max(p.largest for p in found.pairs) * 1e3
    for side, values in found.bands.items():
        yield side, 1e3 * sum(values) / len(values)


def _series_text(rows):
    lines = ["|ΔH| and mean |ΔE| of the bands below and above the gap, meV; angle in degrees"]
    lines.append("".join(f"{name:>13s}" for name, _ in _series_columns(rows[0])) + "   A")
    for row in rows:
        cells = []
        for name, value in _series_columns(row):
            text = "-" if value is None else f"{value:.0f}" if name == "atoms" else f"{value:.3f}"
            cells.append(f"{text:>13s}")
        lines.append("".join(cells) + f"   {row['a']}")
    return "\n".join(lines)


def _write_series(stream, rows):
    import csv

    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["a", "b", *(name for name, _ in _series_columns(rows[0]))])
    for row in rows:
        values = ("" if v is None else f"{v:.6g}" for _, v in _series_columns(row))
        writer.writerow([row["a"], row["b"], *values])
