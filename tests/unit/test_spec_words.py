"""What unknown names are answered with."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from search_spaces.unknown_names import did_you_mean
from tests.specs import problems
from trainables.config.imports import load_object
from trainables.config.trial_parameters import explain_unknown_parameter
from trainables.errors import ContractError


@pytest.mark.parametrize(
    ("word", "meant"), [("AdamW", "adamw"), ("SGD", "sgd"), ("RMSProp", "rmsprop"), ("adm", "adam")]
)
def test_a_name_is_suggested_whatever_its_case(word: str, meant: str) -> None:
    assert did_you_mean(word, ["adam", "adamw", "sgd", "rmsprop"]) == f"; did you mean {meant!r}?"


def test_a_parameter_of_ones_own_is_told_its_place() -> None:
    found = explain_unknown_parameter("hidden", {})
    assert "one of your own is an argument of the trainable, `model.hidden`" in found


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"trainable": "mine.Net"}, "trainable", "got 'mine.Net'; did you mean 'mine:Net'?"),
        ({"trainable": "Net"}, "trainable", "needs an import path, `module:Name`, got 'Net'"),
        (
            {"training": {"optimizer": "torch.optim.Adam"}},
            "training.optimizer",
            "did you mean 'torch.optim:Adam'?",
        ),
        (
            {"training": {"metrics": ["mine.top5"]}},
            "training.metrics",
            "did you mean 'mine:top5'?",
        ),
    ],
)
def test_a_path_with_dots_alone_is_answered_with_the_import_path(
    changes: dict[str, Any], place: str, words: str
) -> None:
    found = problems(**changes)
    (path,) = (key for key in found if key.startswith(place))
    assert found[path].endswith(words)


@pytest.mark.parametrize(("word", "meant"), [("MPL", "MLP"), ("mpl", "mlp")])
def test_of_words_that_differ_in_case_alone_the_closest_one_is_suggested(
    word: str, meant: str
) -> None:
    for valid in (["MLP", "mlp"], ["mlp", "MLP"]):
        assert did_you_mean(word, valid) == f"; did you mean {meant!r}?"


def test_a_module_in_a_package_is_not_suggested_for_an_object() -> None:
    importlib.import_module("trainables.models.mlp")
    with pytest.raises(ContractError, match="did you mean 'MLP'"):
        load_object("trainables.models:mpl")
