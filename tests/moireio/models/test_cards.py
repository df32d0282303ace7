"""Cards of models."""

import pytest

from moireio.errors import MoireioError
from moireio.models.cards import CellErrors, ModelCard, card_of_training, completed


def test_a_card_survives_json():
    test = CellErrors("a", "blake2b:1", 0.5, {"C-C": {"mean": 0.5, "largest": 3.0}}, True)
    card = ModelCard("PBE", (1, 2), ("AB",), {"angles": (3.0, 60.0)}, "MIT", "doi", ("A",), "d")
    card = ModelCard(**{**card.__dict__, "tests": (test,)})
    assert ModelCard.from_json(card.to_json()) == card


def test_fields_are_completed_and_checked():
    card = completed(ModelCard(domain={"strain": (0, 1)}), {"layers": 2, "domain": {"angles": 5}})
    assert card.layers == (2,)
    assert card.domain == {"strain": (0, 1), "angles": (5.0, 5.0)}
    with pytest.raises(MoireioError, match="a card has no licence_"):
        completed(card, {"licence_": "MIT"})
    with pytest.raises(MoireioError, match="a domain has no colour"):
        completed(card, {"domain": {"colour": 1}})
    with pytest.raises(MoireioError, match="two numbers are expected"):
        completed(card, {"domain": {"angles": [1, 2, 3]}})
    with pytest.raises(MoireioError, match="its card does not make sense"):
        ModelCard.from_json("[1]")


def test_what_the_record_of_a_training_says():
    record = {
        "structures": {"test": {"x": "blake2b:1", "y": "blake2b:2"}},
        "after": {"test": {"C-C": {"mean": 0.4, "largest": 9.0}}},
    }
    (test,) = card_of_training(record, "d").tests
    assert (test.cell, test.mean) == ("x, y", 0.4)
    assert card_of_training({}, "d") == ModelCard(digest="d")
