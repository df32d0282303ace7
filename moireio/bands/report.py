"""Tables of a band structure."""

import json

import numpy as np

from moireio.results.bands import BandStructure


def bands_table(bands: BandStructure) -> str:
    """Return energies as a text table, for gnuplot, numpy.loadtxt or people.

    Parameters
    ----------
    bands : BandStructure
        The bands.

    Returns
    -------
    str
        A line for each k point: distance (Å⁻¹), k, energies (eV); spin up and down are two blocks
        (gnuplot's index 0 and 1), pieces of a broken path are separated by an empty line.
    """
    path = bands.path
    marks = ", ".join(
        f"{label or '·'} {path.distance[i]:.6f}"
        for i, label in zip(path.label_index, path.labels, strict=True)
    )
    lines = ["# energies in eV; distance along the path in 1/Å (with the 2π), k fractional"]
    if bands.fermi is not None:
        lines.append(f"# Fermi level {bands.fermi:z.9f} eV")
    if marks:
        lines.append(f"# corners: {marks}")
    lines.append(f"# distance k1 k2 k3 E{bands.first_band + 1} …")
    breaks = set(path.breaks.tolist())
    for channel, energies in enumerate(bands.energies):
        if len(bands.energies) == 2:
            lines += (["", ""] if channel else []) + [f"# spin {('up', 'down')[channel]}"]
        for n, values in enumerate(energies):
            if n in breaks:
                lines.append("")
            k = " ".join(f"{v:z11.8f}" for v in path.k[n])
            lines.append(f"{path.distance[n]:.8f} {k} " + " ".join(f"{v:z.9f}" for v in values))
    return "\n".join(lines) + "\n"


def bands_json(bands: BandStructure) -> str:
    """Return a band structure as JSON.

    Parameters
    ----------
    bands : BandStructure
        The bands.

    Returns
    -------
    str
        An object with k, distance, labels, label_index, energies (eV), first_band (from 0), fermi
        and unit; and where it is known how the energies were found, method ("anchored" or
        "direct"), anchors (fractional k), factorisations (k points solved directly, and counts at
        others), bounds (spin, k, band; eV), max_bound, counted (levels below the first band where
        they were counted) and tolerance.
    """
    path, accuracy = bands.path, bands.accuracy
    found = {}
    if accuracy is not None:
        found = {
            "method": accuracy.method,
            "anchors": accuracy.anchors.tolist(),
            "factorisations": accuracy.factorisations,
            "bounds": accuracy.bounds.tolist(),
            "max_bound": accuracy.max_bound,
            "counted": [[n if n >= 0 else None for n in row] for row in accuracy.counted.tolist()],
            "tolerance": accuracy.tolerance,
        }
    return json.dumps(
        {
            "k": path.k.tolist(),
            "distance": path.distance.tolist(),
            "labels": list(path.labels),
            "label_index": np.asarray(path.label_index).tolist(),
            "energies": bands.energies.tolist(),
            "first_band": bands.first_band,
            "fermi": bands.fermi,
            "unit": "eV",
            **found,
        }
    )


def accuracy_note(bands: BandStructure) -> str | None:
    """Return how bands from anchors were found, and how accurate they are.

    Parameters
    ----------
    bands : BandStructure
        The bands.

    Returns
    -------
    str or None
        One line; None where every k point was solved by itself.
    """
    accuracy = bands.accuracy
    if accuracy is None or accuracy.method != "anchored":
        return None
    ns, nk, nb = bands.energies.shape
    anchors = len(accuracy.anchors)
    alone = (accuracy.bounds == 0).all(axis=2).sum()  # those at anchors are above zero
    directly = f" ({alone} of them solved directly)" if alone > 0 else ""
    spins = "" if ns == 1 else " of both spins"
    plural = "s" if anchors > 1 else ""
    power = 10.0 ** np.floor(np.log10(max(accuracy.max_bound, 1e-12)))
    bound = np.ceil(accuracy.max_bound / power - 1e-9) * power
    everywhere = (accuracy.counted >= 0).all()
    numbered = (
        "levels counted at every k point"
        if everywhere
        else "bands numbered by counting at the anchors and by continuity between them"
    )
    return (
        f"{nb} bands{spins} at {nk} k points{directly} from {anchors} anchor{plural}; errors below "
        f"{bound:.0e} eV by residuals; {numbered}"
    )
