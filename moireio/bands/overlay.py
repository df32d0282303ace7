"""Around a band structure: which path, what to lay over it, tables of it."""

import json

import numpy as np

from moireio.bands.solve import solve_bands
from moireio.blockfile.reader import open_blockfile
from moireio.errors import MoireioError, naming, unreadable
from moireio.kspace.path import make_path, path_of_points, path_of_segments, place_on_path
from moireio.results.kpath import KPath


def choose_path(file, path=None, points=200, kpoints=None, convention="ase"):
    """Return the k points that a user asked for.

    Parameters
    ----------
    file : BlockFile
        Its cell, and the path that came with it.
    path : str, KPath or list, optional
        Corners or points (see `moireio.kspace.path.parse_path`), "input" for the stored path, a
        path from another file, or OpenMX's segments.
    points : int
        k points along a path of corners.
    kpoints : (nk, 3) array, optional
        Explicit points instead.
    convention : {"ase", "seekpath"}
        Whose letters crystals have.

    Returns
    -------
    KPath
        With distances of this cell.

    Raises
    ------
    MoireioError
        If a label is unknown, or no path is stored.
    """
    structure = file.structure
    if kpoints is not None:
        return path_of_points(structure, kpoints)
    if isinstance(path, KPath):
        return path_of_points(structure, path.k, path.label_index, path.labels)
    if isinstance(path, list):
        if not path:
            raise MoireioError("the OpenMX input that --path names has no Band.kpath")
        return path_of_segments(structure, path)
    if path == "input":
        stored = file.kpath
        if stored is None:
            raise MoireioError("no path came with this file", path=file.label, remedy="--path GMKG")
        starts, ends = stored.points[:, 0], stored.points[:, 1]
        segments = zip(stored.counts.tolist(), starts, ends, stored.labels, strict=True)
        return path_of_segments(structure, segments)
    with naming(file.label):
        return make_path(structure, path, points, convention=convention)


def read_kpoints(path):
    """Read a text file of k points.

    Parameters
    ----------
    path : str
        Three fractional coordinates a line; further columns and ``#`` comments are ignored.

    Returns
    -------
    (nk, 3) array
        The points.

    Raises
    ------
    MoireioError
        If a line has no three numbers, or there is none.
    """
    points = []
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            for number, line in enumerate(stream, 1):
                words = line.split("#")[0].split()
                if not words:
                    continue
                try:
                    point = [float(v) for v in words[:3]]
                except ValueError:
                    point = []
                if len(point) != 3 or not (np.abs(point) < 1e3).all():
                    raise MoireioError(
                        f"line {number} has no three coordinates",
                        path=path,
                        remedy="one k point a line: k1 k2 k3, fractional",
                    )
                points.append(point)
    except OSError as error:
        raise unreadable(error, path) from error
    if not points:
        raise MoireioError("has no k points", path=path)
    return np.array(points)


def overlay_points(file, bands, data, name, zero):
    """Place another band structure on the path of this one.

    Parameters
    ----------
    file : BlockFile
        Whose cell the path refers to.
    bands : BandStructure
        What is drawn.
    data : BandStructure or None
        The other; None to take it from the block file `name` (its bands, or else its
        Hamiltonian at the same k points).
    name : str
        File of the other.
    zero : str or float
        Level that becomes 0 in each.

    Returns
    -------
    distance : (p,) array
        Å⁻¹ along the path.
    energies : (ns, p, nb) array
        eV, shifted.
    missing : int
        Points of the other that do not lie on the path.

    Raises
    ------
    MoireioError
        If no point lies on the path, or the level is unknown.
    """
    if data is None:
        with open_blockfile(name) as other:
            data = other.bands() if "bands" in other else solve_bands(other, bands.path)
    distance, index = place_on_path(bands.path, data.path.k, file.structure)
    if len(index) == 0:
        raise MoireioError("none of its k points lie on the path that is drawn", path=name)
    try:
        shift = data.zero(zero)
    except MoireioError:
        # A .Band file lacks the number of electrons; the calculation it belongs to has it.
        known = {"electrons": bands.electrons, "spinor": bands.spinor}
        shift = _with(data, **known).zero(zero)
    missing = len(data.path) - len(np.unique(index))
    return distance, data.energies[:, index] - shift, missing


def _with(bands, **changes):
    from dataclasses import replace

    return replace(bands, **changes)


def bands_table(bands):
    """Return energies as a text table, for gnuplot, numpy.loadtxt or people.

    Parameters
    ----------
    bands : BandStructure
        What to print.

    Returns
    -------
    str
        One line per k point: distance (Å⁻¹), k, energies (eV); spin up and down are two blocks
        (gnuplot's index 0 and 1), pieces of a broken path are separated by an empty line.
    """
    path = bands.path
    marks = ", ".join(
        f"{label or '·'} {path.distance[i]:.6f}"
        for i, label in zip(path.label_index, path.labels, strict=True)
    )
    lines = ["# energies in eV; distance along the path in 1/Å (with the 2π), k fractional"]
    if bands.fermi is not None:
        lines.append(f"# Fermi level {bands.fermi:.9f} eV")
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
            where = " ".join(f"{v:11.8f}" for v in path.k[n])
            lines.append(f"{path.distance[n]:.8f} {where} " + " ".join(f"{v:.9f}" for v in values))
    return "\n".join(lines) + "\n"


def bands_json(bands):
    """Return a band structure as JSON.

    Parameters
    ----------
    bands : BandStructure
        What to print.

    Returns
    -------
    str
        An object with k, distance, labels, label_index, energies and fermi.
    """
    path = bands.path
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
        }
    )
