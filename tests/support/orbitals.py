"""Orbital files and bases with Gaussian radial functions, whose integrals are known."""

import numpy as np

from moireio.system.basis import SpeciesBasis
from moireio.units import BOHR_ANGSTROM

# exponents in Bohr⁻²; at the cutoff of 7 Bohr r^l exp(−a r²) is below 1e-14
EXPONENTS = {0: (0.8, 1.9), 1: (0.9, 1.4), 2: (1.1, 1.6), 3: (1.2, 1.7)}
GRID = np.exp(np.linspace(-9.0, np.log(7.4), 900))


def gaussian(l, a, r):  # noqa: E741
    """Return N r^l exp(−a r²), ∫ r² R² dr = 1."""
    from scipy.special import gamma

    norm = np.sqrt(2 * (2 * a) ** (l + 1.5) / gamma(l + 1.5))
    return norm * r**l * np.exp(-a * r * r)


def gaussian_basis(shells="s2p2d2f1", element="C"):
    """Return a basis of the first Gaussians of each l, cutoff 7 Bohr."""
    counts = {"spdf".index(c): int(n) for c, n in zip(shells[::2], shells[1::2], strict=True)}
    values, momenta = [], []
    for l, count in counts.items():  # noqa: E741
        for a in EXPONENTS[l][:count]:
            momenta.append(l)
            values.append(gaussian(l, a, GRID))
    radial = (GRID * BOHR_ANGSTROM, np.array(values) * BOHR_ANGSTROM**-1.5)
    name = f"{element}7.0-{shells}"
    return SpeciesBasis(tuple(momenta), name, 7.0 * BOHR_ANGSTROM, 4.0, radial=radial)


def write_pao(path, electrons=4.0):
    """Write all of them as OpenMX lays out an orbital file."""
    lines = [
        "# made by a test",
        f"valence.electron   {electrons}",
        "radial.cutoff.pao  7.0",
        f"PAO.Lmax   {max(EXPONENTS)}",
        "PAO.Mul    2",
    ]
    for l, exponents in EXPONENTS.items():  # noqa: E741
        lines.append(f"<pseudo.atomic.orbitals.L={l}")
        columns = [gaussian(l, a, GRID) for a in exponents]
        for n, r in enumerate(GRID):
            numbers = [np.log(r), r, *(c[n] for c in columns)]
            lines.append(" ".join(f"{v:.17e}" for v in numbers))
        lines.append(f"pseudo.atomic.orbitals.L={l}>")
    path.write_text("\n".join(lines) + "\n")
