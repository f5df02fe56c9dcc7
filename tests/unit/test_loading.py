"""A trainable by its import path."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainables.config.data_info import DataInfo, Kind, Task
from trainables.errors import ContractError
from trainables.loading import load_trainable

INFO = DataInfo((4,), Task.CLASSIFICATION, 3, Kind.TABLE)
MINE = """
from torch import nn
class Net(nn.Module):
    def __init__(self, outputs, width=5):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.Linear(width, outputs))
    def forward(self, x):
        return self.layers(x)
def factory(width): return Net(3, width)
def wrong(): return 3
def exits(): raise SystemExit
class Empty: pass
class Lit(Net):
    def training_step(self, batch, index): ...
    def configure_optimizers(self): ...
number = 3
"""
SCRIPTS = {
    "script_of_arguments": "from argparse import ArgumentParser\nArgumentParser().error('none')",
    "script_that_exits": "import sys\nsys.exit(0)",
    "script_that_imports_one": "import script_that_exits",
    "script_that_waits": "raise KeyboardInterrupt",
}


@pytest.fixture(autouse=True)
def _mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_models_for_loading.py").write_text(MINE)
    (tmp_path / "broken_models_for_loading.py").write_text("import nothing_of_this_name\n")
    for name, code in SCRIPTS.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("trainables.models:MLP", {"hidden": [7]}),
        ("my_models_for_loading:Net", {"width": 6}),
        ("my_models_for_loading:factory", {"width": 6}),
    ],
)
def test_ours_and_the_users_own_are_built(path: str, arguments: dict[str, object]) -> None:
    network = load_trainable(path, arguments).build(INFO)
    assert network(torch.rand(2, 4)).shape == (2, 3)


@pytest.mark.parametrize(
    ("path", "arguments", "words"),
    [
        ("my_models_for_loading:Nett", {}, "did you mean 'Net'"),
        ("no_such_module_anywhere:Net", {}, "no module 'no_such_module_anywhere'"),
        ("broken_models_for_loading:Net", {}, "nothing_of_this_name"),
        ("my_models_for_loading:Empty", {}, "lacks build, losses, metrics, optimizer"),
        ("my_models_for_loading:number", {}, "not a class"),
        ("my_models_for_loading:Net", {"widht": 3}, "did you mean 'width'"),
        ("my_models_for_loading:factory", {}, "needs width; give it by `model`"),
        ("trainables.contract:Trainable", {}, "does not define build"),
        ("script_of_arguments:Net", {}, r"it ends the process, by SystemExit\(2\); .*argparse"),
        ("script_that_exits:Net", {}, r"importing script_that_exits failed: .*SystemExit\(0\)"),
        ("script_that_imports_one:Net", {}, r"SystemExit\(0\).*__main__"),
    ],
)
def test_what_is_wrong_is_said(path: str, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        load_trainable(path, arguments)


def test_ctrl_c_in_an_import_stays_what_it_is() -> None:
    with pytest.raises(KeyboardInterrupt):
        load_trainable("script_that_waits:Net", {})


def test_a_factory_that_exits_is_named() -> None:
    with pytest.raises(ContractError, match=r"exits: it ends the process.*SystemExit\(\)"):
        load_trainable("my_models_for_loading:exits", {}).build(INFO)


def test_a_factory_that_returns_no_network_is_named() -> None:
    with pytest.raises(ContractError, match="wrong returned int"):
        load_trainable("my_models_for_loading:wrong", {}).build(INFO)


def test_a_training_step_of_its_own_is_not_ignored() -> None:
    with pytest.raises(ContractError, match=r"which has training_step and configure_optimizers"):
        load_trainable("my_models_for_loading:Lit", {"outputs": 2}).build(INFO)
