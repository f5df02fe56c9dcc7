"""A spec in Python may have a class or a function where a file has its import path."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from service.base.errors import SpecError
from service.run.any_spec import load_any

SPACE = {"gradient_noise": {"float": [0.1, 1.0]}}


class Net(nn.Linear):
    pass


def splits() -> Any:
    return {}


def penalty() -> None:
    return None


def test_classes_and_functions_are_named_by_their_import_paths() -> None:
    given = {"name": "mine", "trainable": Net, "data": splits, "training": {"loss": penalty}}
    spec, _, _ = load_any({**given, "space": SPACE})
    assert spec.trainable == f"{__name__}:Net"
    assert f"{__name__}:splits" in str(spec.data)
    assert spec.training.loss is not None
    assert f"{__name__}:penalty" in str(spec.training.loss)


def test_what_has_no_import_path_is_refused() -> None:
    with pytest.raises(
        SpecError, match=r"trainable: input should be a valid string, got <function"
    ):
        load_any({"name": "mine", "trainable": lambda: Net(1, 1), "data": splits, "space": SPACE})
