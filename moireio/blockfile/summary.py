"""A summary of a block file, as data and as text."""

from collections.abc import Iterable
from typing import Any

from moireio.blockfile.reader import BlockFile
from moireio.blockfile.schema import is_foreign
from moireio.results.kind import SECTIONS, ResultKind
from moireio.results.registry import usable_kind
from moireio.runtime.memory import size_text

PARTS = ("structure", "basis")


def summarise(file: BlockFile) -> dict[str, Any]:
    """Return the contents of a block file.

    Parameters
    ----------
    file : BlockFile
        The open file.

    Returns
    -------
    dict
        Plain values: structure, basis, operators with sizes, results, history.
    """
    structure, container = file.structure, file.container
    out: dict[str, Any] = {
        "file": file.label,
        "container": container.kind,
        "format_version": file.attributes.get("format_version"),
        "creator": file.attributes.get("creator"),
        "formula": structure.formula,
        "atoms": len(structure),
        "cell": structure.cell.tolist(),
        "pbc": structure.pbc.tolist(),
        "layers": None if structure.layer is None else int(structure.layer.max()) + 1,
        "basis": {},
        "operators": {},
        "results": {},
    }
    if "basis" in file and file.basis.covers(structure):
        out["orbitals"] = int(file.orbitals.sum())
        out["orthogonal"] = file.basis.orthogonal
        for name in structure.species_names:
            species = file.basis[name]
            out["basis"][name] = {
                "name": species.label,
                "orbitals": species.size,
                "cutoff": species.cutoff,
                "valence": species.valence,
            }
    for name in file.operators:
        operator = file.operator(name)
        meta = operator.meta
        parts = [f"{name}/{a}" for a in container.arrays(name)]
        out["operators"][name] = {
            "pairs": operator.n_pairs,
            "dtype": meta.dtype,
            "unit": meta.unit,
            "spin": meta.spin,
            "storage": meta.storage,
            "source": meta.source,
            "residual": meta.residual,
            "stored_bytes": sum(container.stored_bytes(p) for p in parts),
            **{k: v for k, v in meta.extra.items() if isinstance(v, (str, int, float))},
        }
        entry = out["operators"][name]
        if isinstance(entry.get("expected_error"), float):
            entry["expected_error_meV"] = entry.pop("expected_error") * 1e3
        if name == "hamiltonian" and "model" in entry:
            about = ("model", "model_digest", "expected_error_meV")
            out[name] = {key: entry[key] for key in about if key in entry}
    for group, kind in _by_section(file.groups):
        if kind is not None:
            value = kind.read(container, group)
            entry = kind.summary(container, group, value)
            section = out["results"] if kind.section == "results" else out
            section[group] = entry
        elif group not in (*PARTS, *file.operators):
            out["results"][group] = {}
    out.setdefault("history", [])
    return out


def _by_section(groups: Iterable[str]) -> list[tuple[str, ResultKind[Any] | None]]:
    """Return groups and their kinds, section by section, groups of no kind last."""
    kinds = [(group, usable_kind(group)) for group in sorted(groups)]
    return sorted(kinds, key=lambda row: SECTIONS.index(row[1].section) if row[1] else 99)


def summary_text(summary: dict[str, Any]) -> str:
    """Return a summary as a page of text.

    Parameters
    ----------
    summary : dict
        From `summarise`.

    Returns
    -------
    str
        Several lines.
    """
    lines = [
        f"{summary['file']}: block file {summary['format_version']} "
        f"({summary['container']}), made by {summary['creator']}",
        f"structure    {summary['formula']}, {summary['atoms']} atoms" + _layers(summary["layers"]),
    ]
    for name, row, periodic in zip("abc", summary["cell"], summary["pbc"], strict=True):
        text = " ".join(f"{v:12.6f}" for v in row)
        lines.append(f"  {name}         {text} Å{'' if periodic else '   (not periodic)'}")
    texts = _result_lines(summary)
    lines += texts["structure"]
    if summary["basis"]:
        kind = ", orthogonal" if summary["orthogonal"] else ""
        lines.append(f"basis        {summary['orbitals']} orbitals{kind}")
    for name, species in summary["basis"].items():
        text = f"  {name:<10} {species['name']}, {species['orbitals']} orbitals"
        text += f", cutoff {species['cutoff']:.4f} Å" if species["cutoff"] else ""
        text += f", {species['valence']:g} electrons" if species["valence"] is not None else ""
        lines.append(text)
    for name, entry in summary["operators"].items():
        size = f", {size_text(entry['stored_bytes'])}"
        unit = "" if entry["unit"] == "1" else f"{entry['unit']}, "
        program = (
            f", {entry['program']} {entry.get('program_version', '')}" if "program" in entry else ""
        )
        lines.append(
            f"{name:<12} {entry['pairs']} pairs, {unit}{entry['dtype']}, spin {entry['spin']}, "
            f"{entry['storage']}{size}; {entry['source']}{program.rstrip()}, "
            f"residual {entry['residual']:.1e}"
        )
        if entry["source"] == "model" and "model" in entry:
            known = entry.get("expected_error_meV")
            error = "unknown" if known is None else f"{known:.2f} meV"
            lines.append(f"  by {entry['model']}, expected |ΔH| {error}")
    lines += texts["calculation"] + texts["results"] + texts["history"]
    return "\n".join("".join(c if c.isprintable() else "�" for c in line) for line in lines)


def _layers(count: int | None) -> str:
    return f", {count} layer{'s' if count > 1 else ''}" if count else ""


def _result_lines(summary: dict[str, Any]) -> dict[str, list[str]]:
    """Return the lines of all results, by section."""
    lines: dict[str, list[str]] = {section: [] for section in SECTIONS}
    entries = {group: entry for group, entry in summary.items() if usable_kind(group)}
    for group, entry in (entries | summary["results"]).items():
        kind = usable_kind(group)
        if kind is not None:
            lines[kind.section] += kind.lines(group, entry)
        elif is_foreign(group):
            lines["results"].append(f"{group:<12} of another program")
        else:
            lines["results"].append(group)
    return lines
