"""Which calculations a training uses, and for what."""

import hashlib
import os

import numpy as np

from moireio.errors import MoireioError
from moireio.formats.calculations import find_calculations, open_calculation
from moireio.network.training.samples import mean_level


def find_sets(sources, settings, tell, accept):
    """Find calculations and divide them into training, validation and test.

    Parameters
    ----------
    sources : sequence of str
        As `find_calculations` takes them.
    settings : dict
        Of them ``validation``, ``test`` (sources of their own), ``split`` (parts), ``seed`` and
        ``bad_data`` ("refuse" or "skip").
    tell : callable
        Gets lines for the user.
    accept : callable
        Called with path and what `look` found; raises MoireioError if it does not fit.

    Returns
    -------
    dict of str to dict of str to dict
        For "training", "validation" and "test" the paths, and what `look` found in them.

    Raises
    ------
    MoireioError
        If a file is damaged and not to be skipped, or none is left.
    """
    groups, spelled = {}, {}
    for name, given in (("all", sources), *((n, settings[n]) for n in ("validation", "test"))):
        paths = find_calculations(given) if given else []
        groups[name] = [spelled.setdefault(os.path.realpath(p), p) for p in paths]
    rows = {}
    for group in groups.values():
        for path in group:
            if path in rows:
                continue
            try:
                found = look(path)
                accept(path, found)
                rows[path] = found
            except MoireioError as error:
                if settings["bad_data"] == "refuse":
                    raise
                tell(f"skipped: {error}")
    kept = {name: [p for p in group if p in rows] for name, group in groups.items()}
    taken = set(kept["validation"]) | set(kept["test"])
    own = [p for p in kept["all"] if p not in taken]
    order = [own[n] for n in np.random.default_rng(settings["seed"]).permutation(len(own))]
    train, valid, test = (part * len(own) for part in settings["split"])
    whole = sum(settings["split"])
    if whole > 1 + 1e-9:
        raise MoireioError("its parts are more than the whole", path="--split")
    if not kept["validation"]:
        count = max(1, round(valid))
        kept["validation"], order = order[:count], order[count:]
        if not kept["test"] and len(own) >= 10:
            kept["test"], order = order[: round(test)], order[round(test) :]
    if whole < 1 - 1e-9:  # the rest is left out
        order = order[: round(train)]
    left = set(order)
    own = [p for p in own if p in left]
    digests = {rows[p]["digest"]: p for p in own}
    for path in (*kept["validation"], *kept["test"]):
        if rows[path]["digest"] in digests:
            tell(f"warning: {path} is also among the training data")
    if not own:
        raise MoireioError(
            "nothing is left to train on", path=sources[0], remedy="give at least two structures"
        )
    named = {"training": own, "validation": kept["validation"], "test": kept["test"]}
    tell(", ".join(f"{len(v)} for {k}" for k, v in named.items()))
    return {name: {p: rows[p] for p in group} for name, group in named.items()}


def look(path):
    """Return what must be known of a calculation before training.

    Parameters
    ----------
    path : str
        Of the calculation.

    Returns
    -------
    dict
        ``level`` (eV), ``digest``, ``basis`` and ``elements`` by species, ``spinful``.
    """
    with open_calculation(path) as c:
        if c.overlap is None:
            raise MoireioError("has no overlap, which fixes the zero of energy", path=path)
        level = mean_level(c)
        if not np.isfinite(level):
            raise MoireioError("contains numbers that are not finite", path=path)
        state = hashlib.blake2b(digest_size=16)
        n = len(c.structure)
        if c.hamiltonian.meta.spin == "collinear":
            raise MoireioError("is collinear, which networks do not give", path=path)
        H = c.hamiltonian.rows(0, n)
        if not np.isfinite(H).all():
            raise MoireioError("contains numbers that are not finite", path=path)
        for part in (H, c.structure.positions, c.structure.cell):
            state.update(np.ascontiguousarray(part).tobytes())
        elements = {
            name: int(z)
            for name, z in zip(c.structure.species_of_atoms, c.structure.numbers, strict=True)
        }
        return {
            "level": level,
            "digest": f"blake2b:{state.hexdigest()}",
            "basis": {name: c.basis[name] for name in elements},
            "elements": elements,
            "spinful": c.hamiltonian.meta.spin == "spinor",
        }
