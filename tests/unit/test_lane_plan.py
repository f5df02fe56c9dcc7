"""How many trials of a sweep share their steps, and in which words it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from service.base.errors import SpecError
from service.cli.spec_tables import build_spec_table, build_use_table
from service.cluster.connection import Cluster
from service.run import lane_plan
from service.run.lane_plan import LanePlan, plan_lanes
from service.run.preflight import run_preflight
from service.run.user_code import use_folders
from service.spec.file import parse_spec
from service.spec.model import SweepSpec
from trainables.lanes.widths import Advice

MODULE = """
import torch
from torch import nn


class Branching(nn.Module):
    def __init__(self, input_shape, outputs):
        super().__init__()
        self.layer = nn.Linear(input_shape[0], outputs)

    def forward(self, x):
        return self.layer(x) if x.sum() > -1e9 else x


def train(trial):
    model = nn.Linear(30, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader, _ = trial.data.loaders()
    while True:
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        yield trial.evaluate(model)
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "unshared.py").write_text(MODULE)
    return folder


def read_spec(folder: Path, fuse: object, **changes: Any) -> SweepSpec:
    raw = {
        "name": "lanes",
        "trainable": "trainables.models:MLP",
        "data": {"name": "breast_cancer"},
        "model": {"hidden": [4]},
        "training": {"max_epochs": 3},
        "space": {"dropout": {"float": [0.0, 0.6]}},
        "early_stopping": "off",
        "search": {"sampler": "random"},
        "budget": {"trials": 64},
        "confirm": "off",
        "resources": {"fuse": fuse},
    }
    return parse_spec({**raw, **changes}, "spec", folder)


def plan(folder: Path, fuse: object, *, slots: int = 2, **changes: Any) -> LanePlan:
    spec = read_spec(folder, fuse, **changes)
    with use_folders(folder):
        return plan_lanes(spec, "spec", run_preflight(spec, "spec"), slots)


def refusal(folder: Path, fuse: object, **changes: Any) -> str:
    with pytest.raises(SpecError) as caught:
        plan(folder, fuse, **changes)
    (problem,) = caught.value.problems
    assert problem.path == "resources.fuse"
    return problem.message


def test_nothing_is_shared_unless_a_spec_says_so(modules: Path) -> None:
    assert read_spec(modules, "off", resources={}).resources.fuse == "off"
    assert plan(modules, False) == LanePlan(1, "off")  # as YAML reads it


def test_a_number_is_how_many_trials_a_process_has(modules: Path) -> None:
    threads = torch.get_num_threads()
    found = plan(modules, 16)
    assert found.width == 16
    assert found.words == "yes, up to 16 trials of a process, each bit for bit as it is alone"
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"trainable": "unshared:Branching", "model": {}, "space": {"lr": {"float": [0.1, 1]}}},
            "(unshared.py, line 12: return self.layer(x) if x.sum() > -1e9 else x)",
        ),
        (
            {"trainable": "unshared:train", "model": {}},
            "unshared:train is a training loop of its own, whose steps are not shared",
        ),
        ({"search": {"folds": 3}}, "trials on `search.folds` share no steps"),
        ({"training": {"precision": "bf16"}}, "training.precision is bf16"),
    ],
)
def test_what_cannot_share_steps_is_refused_or_trained_alone_with_the_reason(
    modules: Path, changes: dict[str, Any], words: str
) -> None:
    text = refusal(modules, 16, **changes)
    assert text.startswith("16, but ")
    assert words in text
    assert text.endswith("; set it to off")
    found = plan(modules, "auto", **changes)
    assert found.width == 1
    assert words in found.words


@pytest.mark.parametrize(
    ("resources", "who"),
    [({"workers": 2}, "trials with 2 workers"), ({"gpus": 1}, "trials on GPUs")],
)
def test_gpus_and_workers_are_refused_with_the_other_problems_of_a_spec(
    modules: Path, resources: dict[str, Any], who: str
) -> None:
    with pytest.raises(SpecError, match=f"16, but {who} share no steps; set it to off or auto"):
        read_spec(modules, 16, resources={"fuse": 16, **resources})
    spec = read_spec(modules, "auto", resources={"fuse": "auto", **resources})
    assert spec.resources.fuse == "auto"


def test_a_searched_batch_size_divides_the_trials_and_is_explained(modules: Path) -> None:
    space = {"dropout": {"float": [0.0, 0.6]}, "batch_size": {"choice": [32, 64, 128]}}
    found = plan(modules, 16, space=space)
    assert found.width == 16
    assert found.words.endswith("; in 3 groups, as `batch_size` differs: about 5 each")
    assert refusal(modules, 8, space=space) == (
        "8, but only trials with the same `batch_size` share steps, which makes 3 groups of 8 "
        "trials, and a group needs 4 or more; set it to 12 or more, or to off"
    )


def test_auto_takes_what_was_measured_for_a_group(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int | None]] = []

    def measure(make: Any, *, most: int, epochs: int | None) -> Advice:
        asked.append((most, epochs))
        assert make(0).model.training is not None
        return Advice(8, gain=2.0)

    monkeypatch.setattr(lane_plan, "find_width", measure)
    found = plan(modules, "auto")
    assert (found.width, asked) == (8, [(32, 96)])
    assert found.words.endswith("as it is alone, 2.00 × as fast as alone")
    learning = plan(modules, "auto", search={"sampler": "tpe"})
    assert (learning.width, asked[1:]) == (8, [(8, 96)])


def test_auto_trains_each_alone_where_a_search_has_too_few_trials(modules: Path) -> None:
    found = plan(modules, "auto", budget={"trials": 10}, search={"sampler": "tpe"})
    assert found == LanePlan(
        1, "no: only 2 trials would run at once in a process, too few to gain by it"
    )


def test_validate_says_what_is_shared_if_the_spec_asks_for_it(modules: Path) -> None:
    spec = read_spec(modules, 8)
    found, console = run_preflight(spec, "spec"), Console(width=200, record=True)
    console.print(build_spec_table(spec, found, LanePlan(8, "yes, up to 8")))
    shown = console.export_text()
    assert "shared steps" in shown
    assert "yes, up to 8" in shown
    console.print(build_spec_table(spec, found))
    assert "shared steps" not in console.export_text()


def test_devices_counts_processes_and_their_trials(modules: Path) -> None:
    spec = read_spec(modules, 8, resources={"cpus": 0.5, "fuse": 8})
    console = Console(width=200, record=True)
    console.print(build_use_table(spec, Cluster().take_inventory(), LanePlan(8, "yes, up to 8")))
    shown = console.export_text()
    assert "16 trials in 2 processes" in shown
    assert "yes, up to 8" in shown
