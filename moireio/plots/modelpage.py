"""A page of models: cards, errors, bands and flat bands, in one HTML file without a server."""

import html
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from moireio.errors import ExistingFileError, MoireioError
from moireio.models.cards import DOMAIN, CellErrors
from moireio.models.registry import Entry
from moireio.plots.svg import band_figure, bar_figure
from moireio.runtime.files import write_text

FLAT_GAPS = ("gap_below_meV", "gap_above_meV")


def write_page(folder: str, entries: Sequence[Entry], force: bool = False) -> str:
    """Write the page of some models.

    Parameters
    ----------
    folder : str
        Folder to make; the page is ``index.html`` in it.
    entries : sequence of Entry
        The models.
    force : bool
        Replace a page that exists.

    Returns
    -------
    str
        Path of the page.

    Raises
    ------
    MoireioError
        If it exists, or the folder cannot be made.
    """
    path = os.path.join(folder, "index.html")
    if os.path.exists(path) and not force:
        raise ExistingFileError("exists already", path=path, remedy="name another, or `force`")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise MoireioError(f"cannot be made: {error.strerror}", path=folder) from error
    with write_text(path) as stream:
        stream.write(page(entries))
    return path


def page(entries: Sequence[Entry]) -> str:
    """Return the page of some models.

    Parameters
    ----------
    entries : sequence of Entry
        The models.

    Returns
    -------
    str
        HTML that loads nothing from elsewhere.
    """
    style = files(__package__).joinpath("modelpage.css").read_text("utf-8")
    anchors = {id(entry): f"model-{n}" for n, entry in enumerate(entries, 1)}
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Models</title><style>{style}</style></head><body>",
        f"<h1>Models</h1><p>{_count(entries)} of Hamiltonians from neural networks.</p>",
        _overview(entries, anchors),
        _errors(entries),
    ]
    parts += [_article(entry, anchors[id(entry)]) for entry in entries]
    parts.append('<p class="note">Made by model-db page.</p></body></html>')
    return "\n".join(parts) + "\n"


def _count(entries: Sequence[Entry]) -> str:
    return f"{len(entries)} model{'' if len(entries) == 1 else 's'}"


def _escaped(value: Any) -> str:
    return html.escape(str(value))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Return a table; cells are HTML already."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=number' if n in numbers else ''}>{cell}</{tag}>"
            for n, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{cells("th", head)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _overview(entries: Sequence[Entry], anchors: Mapping[int, str]) -> str:
    """Return the table of all models."""
    rows = []
    for entry in entries:
        name = f'<a href="#{anchors[id(entry)]}">{_escaped(entry.name)}</a>'
        status = "sound" if entry.usable else f'<span class="bad">{_escaped(entry.status)}</span>'
        tests = [test.mean for test in entry.card.tests]
        error = f"{min(tests):.2f} to {max(tests):.2f}" if len(tests) > 1 else ""
        error = f"{tests[0]:.2f}" if len(tests) == 1 else error
        rows.append(
            [
                name,
                _escaped(", ".join(entry.elements)),
                _escaped(", ".join((entry.basis or {}).values())),
                _escaped(", ".join(map(str, entry.card.layers))),
                {"none": "no", "spinor": "yes"}.get(entry.spin, ""),
                error,
                status,
            ]
        )
    head = ["model", "elements", "basis", "layers", "spin", "mean |ΔH|, meV", "file"]
    return _table(head, rows, numbers=(5,))


def _errors(entries: Sequence[Entry]) -> str:
    """Return the errors of all models, by pair of elements."""
    rows: list[tuple[str, str, float, float]] = []
    for entry in entries:
        sums: dict[str, list[float]] = {}
        for test in entry.card.tests:
            for pair, row in test.pairs.items():
                sums.setdefault(pair, []).append(float(row["mean"]))
        for pair, means in sums.items():
            rows.append((entry.name, pair, sum(means) / len(means), max(means)))
    if not rows:
        return '<p class="note">No model has errors on test cells.</p>'
    return (
        "<h2>Errors</h2><figure>"
        + bar_figure(rows)
        + "<figcaption>Mean |ΔH| by pair of elements, over the test cells of each model; the line "
        "marks the cell with the largest. Logarithmic.</figcaption></figure>"
    )


def _article(entry: Entry, anchor: str) -> str:
    """Return the card of a model."""
    parts = [f'<article id="{anchor}"><h2>{_escaped(entry.name)}</h2>']
    if not entry.usable:
        parts.append(f'<p class="bad">{_escaped(entry.status)}: {_escaped(entry.why)}</p>')
        return "".join([*parts, f"<p class=faint>{_escaped(entry.path)}</p></article>"])
    facts = [(name, value) for name, value in _facts(entry) if value]
    parts.append("<dl>" + "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in facts) + "</dl>")
    if entry.card.tests:
        parts += ["<h3>Errors on cells that it was not trained on</h3>", _test_table(entry)]
    for test in entry.card.tests:
        if test.bands is not None:
            parts.append(_bands(test))
    return "".join([*parts, "</article>"])


def _facts(entry: Entry) -> list[tuple[str, str]]:
    card, network, training = entry.card, entry.network or {}, entry.training or {}
    sets = training.get("structures", {})
    counts = ", ".join(f"{len(v)} for {k}" for k, v in sets.items() if v)
    epochs = training.get("epochs")
    domain = [f"{k} {low:g} to {high:g} {DOMAIN[k]}" for k, (low, high) in card.domain.items()]
    basis = ", ".join(f"{k}: {v}" for k, v in (entry.basis or {}).items())
    return [
        ("basis", _escaped(basis)),
        ("functional", _escaped(card.functional or "")),
        ("spin", "spinor Hamiltonians" if entry.spin == "spinor" else "without spin"),
        ("layers", _escaped(", ".join(map(str, card.layers)))),
        ("stackings", _escaped(", ".join(card.stackings))),
        ("domain", _escaped("; ".join(domain))),
        (
            "network",
            _escaped(
                f"{entry.kind}, {network.get('blocks')} blocks of {network.get('hidden')}, "
                f"{network.get('weights')} weights"
            ),
        ),
        ("training", _escaped(counts + (f"; {epochs} epochs" if epochs else ""))),
        ("licence", _escaped(card.licence or "")),
        ("authors", _escaped(", ".join(card.authors))),
        ("reference", _escaped(card.reference or "")),
        ("digest", f"<code>{_escaped(entry.digest)}</code>"),
    ]


def _test_table(entry: Entry) -> str:
    rows = []
    for test in entry.card.tests:
        for n, (pair, row) in enumerate(test.pairs.items()):
            cell = _escaped(test.cell) if n == 0 else ""
            mean = f"{test.mean:.3f}" if n == 0 else ""
            largest = row.get("largest")
            rows.append(
                [
                    cell,
                    mean,
                    _escaped(pair),
                    f"{row['mean']:.3f}",
                    "" if largest is None else f"{largest:.1f}",
                ]
            )
    head = ["cell", "all, meV", "pair", "mean |ΔH|, meV", "largest, meV"]
    return _table(head, rows, numbers=(1, 3, 4))


def _bands(test: CellErrors) -> str:
    """Return the figure of the bands of a cell, and the table of its flat bands."""
    bands = test.bands or {}
    rows = []
    for who in ("reference", "model"):
        flat = bands["flat"][who]
        widths = ", ".join(f"{w:.1f}" for w in flat["width_meV"])
        gaps = ["" if flat[k] is None else f"{flat[k]:.1f}" for k in FLAT_GAPS]
        rows.append([who, widths, *gaps])
    head = ["", "widths of the four bands next to the gap, meV", "gap below, meV", "gap above, meV"]
    name = _escaped(test.cell)
    return (
        f"<h3>Bands of {name}</h3><figure>{band_figure(bands)}"
        '<figcaption class="legend"><span class="m">— model</span>'
        '<span class="r">– – reference</span>energies in eV from the highest filled level'
        f"</figcaption></figure>{_table(head, rows, numbers=(2, 3))}"
    )
