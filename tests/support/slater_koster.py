"""Tight-binding models with every integral between s, p and d orbitals, at random."""

import numpy as np

from moireio.tightbinding.modelfile import parse_model

SHELLS = ("s", "p", "d")
CHANNELS = {"ss": 1, "sp": 1, "pp": 2, "sd": 1, "pd": 2, "dd": 3, "ps": 1, "ds": 1, "dp": 2}


def integrals(seed=0, decay=False):
    """Every integral between two different atoms, at random."""
    rng = np.random.default_rng(seed)
    out = {}
    for pair, count in CHANNELS.items():
        for channel in ("sigma", "pi", "delta")[:count]:
            value = float(rng.normal())
            law = {"value": value, "r0": 2.0, "decay": 1.5, "power": 1.0}
            out[f"{pair}_{channel}"] = law if decay else value
    return out


def spd_model(bonds, orbitals=SHELLS, cutoff=4.0):
    """A model of A and B with s, p and d."""
    rng = np.random.default_rng(9)
    species = {
        name: {
            "orbitals": list(orbitals),
            "onsite": {o: float(rng.normal()) for o in orbitals},
            "valence": 2,
        }
        for name in ("C", "N")
    }
    content = {"name": "test", "species": species, "bond": []}
    for names, values in bonds.items():
        content["bond"].append({"species": list(names), "cutoff": cutoff, **values})
    return parse_model(content)


def like(values):
    """Without the integrals that like atoms do not have twice."""
    return {k: v for k, v in values.items() if k[:2] not in ("ps", "ds", "dp")}
