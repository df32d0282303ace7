"""``compare-h``: the errors of a Hamiltonian."""

import click

from moireio.tools.common import Command, options


@click.command("compare-h", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("first", metavar="A", type=click.Path())
@click.argument("second", metavar="B", type=click.Path())
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
def main(ctx, first, second, bands, path, points, csv, plot, as_json, force):
    """Compare the Hamiltonian of A with that of B, the reference, on the same structure.

    Both are block files or data folders of DeepH. Printed in meV, by pair of elements: the mean of
    |ΔH| over all elements of all blocks (directed pairs, on-site blocks among them; |ΔH| is the
    complex modulus); the largest, over orbitals, of the mean over pairs of atoms, which papers call
    the maximum; the largest single one. A common shift μ·S is removed first, and printed.
    """
    from moireio import compare
    from moireio.formats.samples import open_calculation
    from moireio.plots import check_format, save
    from moireio.stream import check_outputs, write_text

    if plot:
        check_format(plot)
    check_outputs([plot, csv], [first, second], force)
    with open_calculation(first) as a, open_calculation(second) as b:
        found = compare.compare(a, b)
        if bands:
            found.bands = _bands(compare, a, b, path, points, bands, found.mu)
        shells = {name: list(b.basis[name].l) for name in b.structure.species_names}
    if csv:
        with write_text(csv) as stream:
            stream.writelines(_csv(found))
    if plot:
        save(compare.plot_errors(found, shells), plot)
    click.echo(_as_json(found) if as_json else _text(found))


def _bands(compare, a, b, path, points, count, mu):
    from moireio.banddata import choose_path

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


def _as_json(found):
    import json

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
    return json.dumps(out | {"only": found.only, "pairs": pairs, "bands": found.bands}, indent=1)


if __name__ == "__main__":
    main()
