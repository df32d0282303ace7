"""Cards of models: what a model was made of, where it holds, and how well it did.

A card lies in the model file, as JSON in ``/model/card``. Of a file without one, what its basis
and the record of its training contain is known.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from moireio.errors import MoireioError

#: Units of the ranges that a domain may give.
DOMAIN = {"angles": "°", "distances": "Å", "strain": "%", "bonds": "Å"}


@dataclass(frozen=True)
class CellErrors:
    """Errors of a model on one cell that it was not trained on.

    Parameters
    ----------
    cell : str
        Name of the cell.
    digest : str
        Digest of its structure and Hamiltonian; empty if unknown.
    mean : float
        Mean |ΔH| over all elements of its blocks, meV.
    pairs : dict of str to dict
        By pair of elements, as "Mo-Te": ``mean`` and ``largest``, meV.
    stored : bool
        Whether the cell itself lies in the model file.
    bands : dict, optional
        Bands of the model and of the reference (`moireio.network.bands_of_cells`), eV.
    """

    cell: str
    digest: str
    mean: float
    pairs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stored: bool = False
    bands: Mapping[str, Any] | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "mean"}
        return plain | {"mean_meV": self.mean}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "CellErrors":
        """Return the record that `to_plain` described.

        Parameters
        ----------
        plain : mapping
            Plain values.

        Returns
        -------
        CellErrors
            The same.
        """
        return cls(
            str(plain["cell"]),
            str(plain.get("digest", "")),
            float(plain["mean_meV"]),
            dict(plain.get("pairs", {})),
            bool(plain.get("stored", False)),
            plain.get("bands"),
        )


@dataclass(frozen=True)
class ModelCard:
    """What a user of a model wants to know about it.

    Parameters
    ----------
    functional : str or None
        Exchange-correlation functional of the training data.
    layers : tuple of int
        Numbers of layers of the structures trained on; empty if unknown.
    stackings : tuple of str
        Stackings trained on.
    domain : dict of str to (float, float)
        Ranges of the training data: ``angles`` (degrees), ``distances`` of neighbouring layers (Å),
        ``strain`` (%), ``bonds`` (shortest distances, Å).
    licence, reference : str or None
        Terms of use; publication.
    authors : tuple of str
        Who made it.
    digest : str
        Digest of weights and settings.
    tests : tuple of CellErrors
        Errors on test cells.
    """

    functional: str | None = None
    layers: tuple[int, ...] = ()
    stackings: tuple[str, ...] = ()
    domain: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    licence: str | None = None
    reference: str | None = None
    authors: tuple[str, ...] = ()
    digest: str = ""
    tests: tuple[CellErrors, ...] = ()

    def to_json(self) -> str:
        """Return the card as a text, JSON."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["tests"] = [test.to_plain() for test in self.tests]
        return json.dumps(plain, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "ModelCard":
        """Return the card that a text describes.

        Parameters
        ----------
        text : str
            From `to_json`; keys that are not known are left out.

        Returns
        -------
        ModelCard
            The card.

        Raises
        ------
        MoireioError
            If it is no card.
        """
        try:
            plain = json.loads(text)
            tests = tuple(CellErrors.from_plain(test) for test in plain.get("tests", ()))
            given = {k: v for k, v in plain.items() if k != "tests"}
            card = completed(cls(), given, strict=False)
            return replace(card, digest=str(plain.get("digest", "")), tests=tests)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise MoireioError(f"its card does not make sense: {error}") from error


def completed(card: ModelCard, given: Mapping[str, Any], strict: bool = True) -> ModelCard:
    """Return a card with what a user gives.

    Parameters
    ----------
    card : ModelCard
        The card so far.
    given : mapping
        Fields of the card that a user knows: ``functional``, ``layers``, ``stackings``, ``domain``,
        ``licence``, ``reference``, ``authors``.
    strict : bool
        Refuse fields of other names.

    Returns
    -------
    ModelCard
        With these fields replaced; ranges of the domain are replaced one by one.

    Raises
    ------
    MoireioError
        If a field is unknown, or its value is of another type.
    """
    known = {"functional", "layers", "stackings", "domain", "licence", "reference", "authors"}
    unknown = sorted(set(given) - known)
    if unknown and strict:
        raise MoireioError(
            f"a card has no {unknown[0]}", remedy=f"it has {', '.join(sorted(known))}"
        )
    changes: dict[str, Any] = {}
    for name in known & set(given):
        value = given[name]
        if name == "domain":
            changes[name] = dict(card.domain) | {k: _range(k, v) for k, v in value.items()}
        elif name == "layers":
            changes[name] = tuple(sorted({int(n) for n in _listed(value)}))
        elif name in ("stackings", "authors"):
            changes[name] = tuple(str(v) for v in _listed(value))
        else:
            changes[name] = None if value is None else str(value)
    return replace(card, **changes)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _range(name: str, value: Any) -> tuple[float, float]:
    """Return the two ends of a range."""
    if name not in DOMAIN:
        raise MoireioError(f"a domain has no {name}", remedy=f"it has {', '.join(DOMAIN)}")
    ends = [float(v) for v in _listed(value)]
    if not ends or len(ends) > 2 or not all(map(math.isfinite, ends)):
        raise MoireioError(f"{name} is {value!r}; two numbers are expected")
    return min(ends), max(ends)


def card_of_training(training: Mapping[str, Any], digest: str) -> ModelCard:
    """Return a card made of the record of a training, for a model without one.

    Parameters
    ----------
    training : mapping
        Record of the training, as in a model file; empty if unknown.
    digest : str
        Digest of the model.

    Returns
    -------
    ModelCard
        With one test, that of the whole test set, if there was one.
    """
    cells = training.get("structures", {}).get("test", {})
    pairs = training.get("after", {}).get("test", {})
    if not cells or not pairs:
        return ModelCard(digest=digest)
    # the record has no number of elements by pair of species
    mean = sum(row["mean"] for row in pairs.values()) / len(pairs)
    return ModelCard(digest=digest, tests=(CellErrors(", ".join(cells), "", mean, dict(pairs)),))
