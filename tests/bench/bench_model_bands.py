"""Bands of a predicted Hamiltonian against those of OpenMX's ``.Band``.

``python tests/bench/bench_model_bands.py PREDICTED.h5 FILE.Band [--states 4] [--range 1]
[--plot FILE.png]`` solves H at the k points of the ``.Band`` file, removes the mean difference of
the highest valence bands, and prints for each of the bands next to the gap the mean and the largest
difference in meV, of those at k where the level lies within ``--range`` eV of the gap.
"""

import argparse

import numpy as np
from scipy.linalg import eigh


def levels_of(path, k):
    """Return all levels of a block file and the number of filled ones.

    Parameters
    ----------
    path : str
        Block file with H and S.
    k : (nk, 3) array
        Fractional coordinates.

    Returns
    -------
    (nk, n) array
        eV.
    """
    import moireio
    from moireio.spectrum.sums import bloch_sums

    with moireio.open(path) as file:
        (H,), S, _ = bloch_sums(file)
    return np.array(
        [eigh(H.dense(one), S.dense(one), eigvals_only=True, check_finite=False) for one in k]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("predicted")
    parser.add_argument("band")
    parser.add_argument("--states", type=int, default=4, help="bands on either side of the gap")
    parser.add_argument("--range", type=float, default=1.0, help="eV from the gap")
    parser.add_argument("--plot")
    options = parser.parse_args()

    from moireio.formats.openmx import band as band_file

    true = band_file.read(options.band)
    energies = true.energies[0]
    filled = round((energies < true.fermi).sum(axis=1).mean())
    k, places = np.unique(np.round(true.k, 9), axis=0, return_inverse=True)
    found = levels_of(options.predicted, k)[places]
    top, bottom = energies[:, filled - 1].max(), energies[:, filled].min()
    near = slice(filled - options.states, filled)
    shift = np.mean((found - energies)[:, near])
    print(f"gap {bottom - top:.4f} eV, {filled} filled bands, common shift {shift * 1e3:.1f} meV")
    for band in range(filled - options.states, filled + options.states):
        edge = top if band < filled else bottom
        inside = np.abs(energies[:, band] - edge) < options.range
        error = 1e3 * np.abs(found[:, band] - shift - energies[:, band])[inside]
        name = f"v{filled - band}" if band < filled else f"c{band - filled + 1}"
        if not error.size:
            print(f"{name}: not within {options.range:g} eV of the gap")
            continue
        print(f"{name}: mean {error.mean():.1f}, largest {error.max():.1f} meV")
    if options.plot:
        plot(options.plot, true.path(), energies - top, found - shift - top, filled)


def plot(path, points, true, found, filled):
    """Draw both sets of bands along the path of the ``.Band`` file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4.5, 4))
    for bands, style, label in ((true, "k-", "OpenMX"), (found, "r--", "network")):
        lines = axes.plot(points.distance, bands, style, lw=0.9)
        lines[0].set_label(label)
    corners = points.distance[points.label_index]
    for corner in corners[1:-1]:
        axes.axvline(corner, color="0.7", lw=0.6, zorder=0)
    axes.set_xticks(corners, [{"G": "Γ"}.get(name, name) for name in points.labels])
    axes.set_xlim(corners[0], corners[-1])
    axes.set_ylim(-0.6, true[:, filled].min() + 0.5)
    axes.set_ylabel("energy (eV)")
    axes.legend(loc="center right")
    figure.tight_layout()
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    main()
