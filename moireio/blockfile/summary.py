"""A summary of a block file, as data and as text."""

import numpy as np


def summarise(file):
    """Return what is in a block file.

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
    out = {
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
            own = file.basis[name]
            out["basis"][name] = {
                "name": own.label,
                "orbitals": own.size,
                "cutoff": own.cutoff,
                "valence": own.valence,
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
    if file.moire is not None:
        out["moire"] = _moire(file.moire)
    electrons = file.electrons
    if "electrons" in file:
        out["electrons"] = {k: v for k, v in vars(electrons).items() if v is not None}
    if file.kpath is not None:
        out["kpath"] = _segments(file.kpath["labels"])
    for name in file.groups:
        if name == "bands" or name.startswith("bands-"):
            bands = file.bands(name)
            out["results"][name] = {
                "k_points": len(bands.path),
                "bands": int(bands.energies.shape[2]),
                "spins": int(bands.energies.shape[0]),
                "path": _letters(bands.path),
                "lowest": float(np.min(bands.energies)),
                "highest": float(np.max(bands.energies)),
                "states": file.has_states(name),
            }
        elif name == "dos" or name.startswith("dos-"):
            dos = file.dos(name)
            out["results"][name] = {
                "mesh": list(dos.mesh),
                "method": dos.method,
                "groups": len(dos.labels),
                "spins": int(dos.total.shape[0]),
                "lowest": float(dos.energies[0]),
                "highest": float(dos.energies[-1]),
            }
        elif name in ("symmetry", "chern", "edges", "flat"):
            out["results"][name] = {}
    out["history"] = file.history
    return out


def _moire(moire):
    layers = [
        {
            "name": layer.name,
            "angle": layer.angle,
            "turned": layer.turned,
            "matrix": np.asarray(layer.matrix).tolist(),
            "strain": np.asarray(layer.strain).tolist(),
            "shift": layer.shift.tolist(),
        }
        for layer in moire.layers
    ]
    repeat, axis = list(moire.repeat), moire.open_axis
    return {"layers": layers, "place": moire.place, "repeat": repeat, "open_axis": axis}


def _moire_lines(moire):
    lines = []
    for number, own in enumerate(moire["layers"]):
        rows = " ".join(f"({a} {b})" for a, b in own["matrix"])
        text = f"layer {number:<6} {own['name']}, {own['angle']:.6f}°, cell {rows}"
        text += ", turned by 180°" if own["turned"] else ""
        (xx, xy), (_, yy) = own["strain"]
        if xx or xy or yy:
            text += f", strain xx {100 * xx:.4f} yy {100 * yy:.4f} xy {100 * xy:.4f} %"
        lines.append(text)
    if moire["open_axis"]:
        width = moire["repeat"][moire["open_axis"] - 1]
        lines.append(f"ribbon       {width} cells, open along {'ab'[moire['open_axis'] - 1]}")
    elif moire["repeat"] != [1, 1]:
        lines.append("repeated     {} × {} moiré cells".format(*moire["repeat"]))
    return lines


def _segments(labels):
    text = ""
    last = None
    for start, end in labels:
        text += end if start == last else f"{',' if text else ''}{start}{end}"
        last = end
    return text


def _letters(path):
    text, breaks = "", set(path.breaks.tolist())
    for index, label in zip(path.label_index.tolist(), path.labels, strict=True):
        text += f",{label}" if index in breaks else label
    return text


def summary_text(summary):
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
        f"structure    {summary['formula']}, {summary['atoms']} atoms"
        + (f", {summary['layers']} layers" if summary["layers"] else ""),
    ]
    for name, row, periodic in zip("abc", summary["cell"], summary["pbc"], strict=True):
        text = " ".join(f"{v:12.6f}" for v in row)
        lines.append(f"  {name}         {text} Å{'' if periodic else '   (not periodic)'}")
    if "moire" in summary:
        lines += _moire_lines(summary["moire"])
    if summary["basis"]:
        kind = ", orthogonal" if summary["orthogonal"] else ""
        lines.append(f"basis        {summary['orbitals']} orbitals{kind}")
    for name, own in summary["basis"].items():
        text = f"  {name:<10} {own['name']}, {own['orbitals']} orbitals"
        text += f", cutoff {own['cutoff']:.4f} Å" if own["cutoff"] else ""
        text += f", {own['valence']:g} electrons" if own["valence"] is not None else ""
        lines.append(text)
    for name, own in summary["operators"].items():
        size = f", {_bytes(own['stored_bytes'])}"
        unit = "" if own["unit"] == "1" else f"{own['unit']}, "
        program = f", {own['program']} {own.get('program_version', '')}" if "program" in own else ""
        lines.append(
            f"{name:<12} {own['pairs']} pairs, {unit}{own['dtype']}, spin {own['spin']}, "
            f"{own['storage']}{size}; {own['source']}{program.rstrip()}, "
            f"residual {own['residual']:.1e}"
        )
    if "electrons" in summary:
        own = summary["electrons"]
        units = {"count": "", "fermi": " eV", "temperature": " K", "spin": " ħ"}
        text = ", ".join(f"{k} {round(v, 6):g}{units[k]}" for k, v in own.items())
        lines.append(f"electrons    {text}")
    if "kpath" in summary:
        lines.append(f"kpath        {summary['kpath']}")
    for name, own in summary["results"].items():
        text = ""
        if "mesh" in own:
            mesh = " × ".join(map(str, own["mesh"]))
            text = (
                f"{mesh} k points, {own['method']}, {own['groups']} projections, "
                f"{own['lowest']:.4f} … {own['highest']:.4f} eV"
            )
        elif own:
            spins = " (spin up and down)" if own["spins"] == 2 else ""
            text = (
                f"{own['path']}, {own['k_points']} k points, {own['bands']} bands{spins}, "
                f"{own['lowest']:.4f} … {own['highest']:.4f} eV"
                + (", with states" if own["states"] else "")
            )
        lines.append(f"{name:<12} {text}".rstrip())
    for number, entry in enumerate(summary["history"], 1):
        inputs = ", ".join(entry.get("inputs", []))
        lines.append(
            f"history {number:<4} {entry.get('time', '?')}  {entry.get('command', '?')} "
            f"{entry.get('version', '')}" + (f"  from {inputs}" if inputs else "")
        )
    return "\n".join(lines)


def _bytes(count):
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
