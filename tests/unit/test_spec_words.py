"""What unknown names are answered with."""

from __future__ import annotations

import pytest

from search_spaces.words import did_you_mean
from trainables.config.trial_parameters import explain_unknown_parameter


@pytest.mark.parametrize(
    ("word", "meant"), [("AdamW", "adamw"), ("SGD", "sgd"), ("RMSProp", "rmsprop"), ("adm", "adam")]
)
def test_a_name_is_suggested_whatever_its_case(word: str, meant: str) -> None:
    assert did_you_mean(word, ["adam", "adamw", "sgd", "rmsprop"]) == f"; did you mean {meant!r}?"


def test_a_parameter_of_ones_own_is_told_its_place() -> None:
    found = explain_unknown_parameter("hidden", {})
    assert "one of your own is an argument of the trainable, `model.hidden`" in found
