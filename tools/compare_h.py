"""``compare-h``: the errors of a Hamiltonian."""

import click

from moireio.tools.common import Command, say
from moireio.tools.options import OutputFile, one_to_stdout, options
from moireio.tools.progress import show_progress
from moireio.tools.solver_options import checkpoint_path, solver_choice, solver_options


@click.command("compare-h", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", metavar="A B [A B]...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--bands",
    type=click.IntRange(1),
    metavar="N",
    help="Compare N bands below and N above the gap too.",
)
@click.option(
    "--path",
    "-p",
    help="Path of --bands, corners as for band.  [default: the usual path of the lattice]",
)
@click.option(
    "--points", type=click.IntRange(2), default=40, show_default=True, help="k points on the path."
)
@click.option(
    "--csv", type=OutputFile(), help="Write the mean over atoms of every pair of orbitals."
)
@solver_options("dense", "sparse", "slepc")
@options("plot", "json", "force")
@click.pass_context
def main(ctx, files, **opts):
    """Compare the Hamiltonian of A with that of B, the reference, on the same structure.

    Both are block files, OpenMX's .scfout or data folders of DeepH. Printed in meV, by pair of
    elements: the mean of |ΔH| over all elements of all blocks (directed pairs, on-site blocks among
    them; |ΔH| is the complex modulus); the maximum over pairs of orbitals of the mean over pairs of
    atoms, which papers call the maximum; the largest single |ΔH|. A common shift μ·S is removed
    first, and printed. Collinear spin gives a table for each spin, with one shift for both.

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
    one_to_stdout(opts, "csv", "plot")
    plot, csv = opts["plot"], opts["csv"]
    if plot:
        check_format(plot)
    check_outputs([plot, csv], files, opts["force"])
    if "-" in files:
        raise click.UsageError("A and B are files, not standard input.")
    absent = next((name for name in files if not os.path.exists(name)), None)
    if absent is not None:
        raise MissingFileError("no such file or folder", path=absent)
    pairs = [files[n : n + 2] for n in range(0, len(files), 2)]
    series = len(pairs) > 1
    opts["checkpoint"] = checkpoint_path(opts, [csv, plot], not series)
    opts["choice"] = solver_choice(opts)
    rows, notes = [], {}  # each note once, in their order
    with show_progress(ctx, "compare-h") as update:
        for a, b in pairs:
            rows += _rows(a, b, opts, None if series else update, notes.setdefault)
            if series:
                update(1, len(pairs))
    for line in notes:
        say(ctx, f"note: {line}")
    if csv:
        with write_text(csv) as stream:
            if series:
                _write_series(stream, rows)
            else:
                stream.writelines(_csv(rows))
    if plot:
        from moireio.plots import compare as compare_plots

        if series:
            save(compare_plots.plot_series(rows), plot)
        else:
            save(compare_plots.plot_errors(rows[0]["errors"], rows[0]["orbitals"]), plot)
    if "-" in (csv, plot):
        return
    if opts["as_json"]:
        objects = [_object(row) for row in rows]
        click.echo(_dump(objects if len(rows) > 1 else objects[0]))
    else:
        click.echo(_series_text(rows) if series else "\n\n".join(map(_text, rows)))


def _rows(first, second, opts, progress, note):
    """Return the comparison of two files, of each spin, with all that tables and pictures show."""
    from moireio.bands.paths import choose_path
    from moireio.compare.hamiltonians import compare, compare_bands, twist_angle
    from moireio.errors import MoireioError
    from moireio.formats.calculations import open_calculation

    with open_calculation(first) as a, open_calculation(second) as b:
        collinear = a.hamiltonian.meta.spin == "collinear"
        if collinear and opts["plot"]:
            raise MoireioError(
                "errors of collinear Hamiltonians are not drawn",
                path=first,
                remedy="leave out `plot`, or write them with `csv`",
            )
        channels = (0, 1) if collinear else (None,)
        found, bands = [compare(a, b, channel) for channel in channels], None
        if opts["bands"]:
            bands = compare_bands(
                a,
                b,
                choose_path(b, opts["path"], opts["points"], note=note),
                opts["bands"],
                found[0].mu,
                solver=opts["choice"],
                checkpoint=opts["checkpoint"],
                resume=opts["resume"],
                progress=progress,
                note=note,
            )
        same = {
            "a": first,
            "b": second,
            "angle": twist_angle(a, b),
            "atoms": len(b.structure),
            "orbitals": {name: b.basis[name].groups for name in b.structure.species_names},
            "bands": bands,
        }
        spins = ("up", "down") if collinear else (None,)
        return [same | {"spin": s, "errors": e} for s, e in zip(spins, found, strict=True)]


def _band_errors(row):
    """Return the errors below and above the gap by name, nothing if they were not compared."""
    bands = row["bands"]
    return {} if bands is None else {"below": bands.below, "above": bands.above}


def _text(row):
    errors = row["errors"]
    lines = [] if row["spin"] is None else [f"spin {row['spin']}"]
    lines += [
        f"common shift μ = {errors.mu * 1e3:z.3f} meV, removed",
        f"{'|ΔH|, meV':14s}{'mean':>10s}{'max over orbital pairs of the mean':>38s}{'largest':>10s}"
        "   at",
    ]
    for p in errors.pairs:
        i, j, R = p.location
        lines.append(
            f"{'-'.join(p.species):14s}{p.mean * 1e3:10.3f}{p.largest_mean * 1e3:38.3f}"
            f"{p.largest * 1e3:10.2f}   atoms {i}, {j}, R = {R[0]} {R[1]} {R[2]}"
        )
    lines.append(f"{'all':14s}{errors.mean * 1e3:10.3f}")
    lines.append(f"{'on site':14s}{errors.onsite * 1e3:10.3f}")
    if any(errors.unmatched):
        only_a, only_b = errors.unmatched
        lines.append(f"not compared: {only_a} pairs only in A, {only_b} only in B")
    for side, values in _band_errors(row).items():
        text = ", ".join(f"{v * 1e3:.2f}" for v in values)
        lines.append(f"bands {side} the gap, mean |ΔE|, meV: {text}")
    return "\n".join(lines)


def _csv(rows):
    collinear = rows[0]["spin"] is not None
    yield ("spin," if collinear else "") + "first,second,row,column,mean_meV\n"
    for one in rows:
        begin = f"{one['spin']}," if collinear else ""
        for p in one["errors"].pairs:
            for (row, column), value in _numbered(p.means):
                yield f"{begin}{','.join(p.species)},{row},{column},{value * 1e3:.6g}\n"


def _numbered(values):
    import numpy as np

    return np.ndenumerate(values)


def _object(row):
    """Return the errors as JSON has them, in eV."""
    errors = row["errors"]
    pairs = [
        {
            "pair": list(p.species),
            "mean": p.mean,
            "worst_orbitals": p.largest_mean,
            "largest": p.largest,
            "blocks": p.blocks,
        }
        for p in errors.pairs
    ]
    out = {"a": row["a"], "b": row["b"], "spin": row["spin"], "angle": row["angle"], "unit": "eV"}
    out |= {"mu": errors.mu, "mean": errors.mean, "onsite": errors.onsite}
    out |= {"only": errors.unmatched, "pairs": pairs}
    return out | {"bands": {side: list(v) for side, v in _band_errors(row).items()}}


def _dump(value):
    import json

    return json.dumps(value, indent=1)


def _series_columns(row):
    """Yield name and value of every column of the table of a series, in meV and degrees."""
    errors = row["errors"]
    yield "angle", row["angle"]
    yield "atoms", row["atoms"]
    yield "mean", errors.mean * 1e3
    yield "by_orbitals", max(p.largest_mean for p in errors.pairs) * 1e3
    yield "largest", max(p.largest for p in errors.pairs) * 1e3
    for side, values in _band_errors(row).items():
        yield side, 1e3 * sum(values) / len(values)


def _series_text(rows):
    lines = ["|ΔH| and mean |ΔE| of the bands below and above the gap, meV; angle in degrees"]
    lines.append("".join(f"{name:>13s}" for name, _ in _series_columns(rows[0])) + "   A")
    for row in rows:
        cells = []
        for name, value in _series_columns(row):
            text = "-" if value is None else f"{value:.0f}" if name == "atoms" else f"{value:.3f}"
            cells.append(f"{text:>13s}")
        spin = "" if row["spin"] is None else f", spin {row['spin']}"
        lines.append("".join(cells) + f"   {row['a']}{spin}")
    return "\n".join(lines)


def _write_series(stream, rows):
    import csv

    writer = csv.writer(stream, lineterminator="\n")
    collinear = any(row["spin"] for row in rows)
    names = ["a", "b", "spin"] if collinear else ["a", "b"]
    writer.writerow([*names, *(name for name, _ in _series_columns(rows[0]))])
    for row in rows:
        values = ("" if v is None else f"{v:.6g}" for _, v in _series_columns(row))
        writer.writerow([*(row[name] for name in names), *values])
