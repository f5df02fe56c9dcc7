"""How many trials of a sweep share their steps, and in which words it is refused."""

from __future__ import annotations

import dataclasses
import os
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
from service.study.slot_flow import ALONE, Widths
from trainables.lanes.widths import Advice, Measured

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
    assert plan(modules, False) == LanePlan(ALONE, "off")  # as YAML reads it


def test_a_number_is_how_many_trials_a_process_has(modules: Path) -> None:
    threads = torch.get_num_threads()
    found = plan(modules, 16)
    assert found.widths == Widths(16, 16)
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
    modules: Path, changes: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_plan, "_SHARE", 1e6)
    text = refusal(modules, 16, **changes)
    assert text.startswith("16, but ")
    assert words in text
    assert text.endswith("; set it to off")
    found = plan(modules, "auto", **changes)
    assert not found.shares
    assert words in found.words


def test_workers_are_refused_with_the_other_problems_of_a_spec(modules: Path) -> None:
    words = "16, but trials with 2 workers share no steps; set it to off or auto"
    with pytest.raises(SpecError, match=words):
        read_spec(modules, 16, resources={"fuse": 16, "workers": 2})
    spec = read_spec(modules, "auto", resources={"fuse": "auto", "workers": 2})
    assert spec.resources.fuse == "auto"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure on")
def test_trials_on_gpus_are_examined_on_a_cpu_and_measured_nowhere_else(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_plan, "_SHARE", 1e6)
    monkeypatch.setattr(lane_plan, "measure_gain", lambda *_: 9.0)
    spec = read_spec(modules, 16, resources={"fuse": 16, "gpus": 0.5})
    found = plan_lanes(spec, "spec", run_preflight(spec, "spec"), 2, measures=True)
    assert (found.widths, found.gain) == (Widths(16, 16), None)
    assert found.words.endswith("as it is alone; examined on a CPU, as there is no GPU here")
    found = plan(modules, "auto", resources={"fuse": "auto", "gpus": 0.5})
    assert not found.shares
    assert found.words.startswith("no: there is no GPU here to measure on; a number instead of")


def test_a_searched_batch_size_divides_the_trials_and_is_explained(modules: Path) -> None:
    space = {"dropout": {"float": [0.0, 0.6]}, "batch_size": {"choice": [32, 64, 128]}}
    found = plan(modules, 16, space=space)
    assert found.widths == Widths(16, 16)
    assert found.words.endswith("; in 3 groups, as `batch_size` differs: about 5 each")
    assert refusal(modules, 8, space=space) == (
        "8, but only trials with the same `batch_size` share steps, which makes 3 groups of 8 "
        "trials, and a group needs 4 or more; set it to 12 or more, or to off"
    )


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is asked for where the time of a sweep allows to measure; up to 32 at once pay."""
    asked: list[dict[str, Any]] = []

    def measure(make: Any, **options: Any) -> Advice:
        assert make(0).model.training is not None
        asked.append(options)
        widths = [w for w in (1, 4, 8, 16, 32) if w <= options["most"]]
        found = [Measured(w, 100.0 * w, 10 * w) for w in widths]
        return Advice(widths[-1], gain=float(widths[-1]), measured=found, made=0.5)

    monkeypatch.setattr(lane_plan, "find_width", measure)
    monkeypatch.setattr(lane_plan, "_SHARE", 1e6)
    return asked


def test_auto_takes_what_was_measured_for_a_group(
    modules: Path, measurements: list[dict[str, Any]]
) -> None:
    found = plan(modules, "auto")
    assert found.widths == Widths(32, 1)
    assert found.words == (
        "yes, up to 32 trials of a process, each bit for bit as it is alone, 32.00 × as fast as "
        "alone"
    )
    learning = plan(modules, "auto", search={"sampler": "tpe"})
    assert learning.widths == Widths(8, 1)
    assert [asked["most"] for asked in measurements] == [32, 8]


def test_a_group_may_take_what_is_free_divided_by_the_processes(
    modules: Path, measurements: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_plan, "find_free_memory", lambda: 1000)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    for slots in (1, 2, 8):
        plan(modules, "auto", slots=slots)
    assert [asked["free"] for asked in measurements] == [1000, 500, 250]


def test_what_follows_a_search_may_be_wider_than_it(
    modules: Path, measurements: list[dict[str, Any]]
) -> None:
    """A sampler learns nothing from confirmations, and none is pruned."""
    confirm = {"top_k": 2, "trainings": 60}
    found = plan(modules, "auto", search={"sampler": "tpe"}, confirm=confirm)
    assert found.widths == Widths(8, 16)
    assert found.words.endswith("8.00 × as fast as alone; up to 16 after the search")
    few = plan(modules, "auto", search={"sampler": "tpe"}, budget={"trials": 8}, confirm=confirm)
    assert few.widths == Widths(1, 16)
    assert few.words.startswith("yes, up to 16 trainings after the search of a process")


def test_auto_measures_nothing_where_that_takes_too_large_a_share_of_the_sweep(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: Any, **__: Any) -> Any:
        raise AssertionError("nothing is to be measured")

    for name in ("examine_fusion", "find_width"):
        monkeypatch.setattr(lane_plan, name, measure)
    found = plan(modules, "auto")
    assert not found.shares
    assert "would be needed to measure whether sharing pays" in found.words


def test_auto_trains_each_alone_where_a_search_has_too_few_trials(modules: Path) -> None:
    found = plan(modules, "auto", budget={"trials": 10}, search={"sampler": "tpe"})
    assert found == LanePlan(
        words="no: only 2 trials would run at once in a process, too few to gain by it"
    )


def test_the_time_that_validate_estimates_is_divided_by_what_sharing_gains(modules: Path) -> None:
    spec = read_spec(modules, 8, budget={"trials": 3000}, training={"max_epochs": 200})
    found = run_preflight(spec, "spec")
    assert found.examination is not None
    examined = dataclasses.replace(found.examination, seconds=0.002, steps=10)
    found = dataclasses.replace(found, examination=examined)
    console = Console(width=200, record=True)
    for gain in (None, 2.0):
        console.print(build_spec_table(spec, found, LanePlan(Widths(8, 8), "yes", gain)))
    shown = [line for line in console.export_text().splitlines() if "at most about" in line]
    assert [" ".join(line.split()) for line in shown] == [
        "time at most about 2 h 10 min, 2 processes of up to 8 trials",
        "time at most about 1 h 5 min, 2 processes of up to 8 trials",
    ]


def test_validate_measures_what_a_number_gains(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_plan, "measure_gain", lambda _, width: width / 2)
    spec = read_spec(modules, 8)
    found = run_preflight(spec, "spec")
    assert plan_lanes(spec, "spec", found, 2).gain is None
    measured = plan_lanes(spec, "spec", found, 2, measures=True)
    assert measured.gain == 4.0
    assert measured.words.endswith("as it is alone, 4.00 × as fast as alone")


def test_validate_says_what_is_shared_if_the_spec_asks_for_it(modules: Path) -> None:
    spec = read_spec(modules, 8)
    found, console = run_preflight(spec, "spec"), Console(width=200, record=True)
    console.print(build_spec_table(spec, found, LanePlan(Widths(8, 8), "yes, up to 8")))
    shown = console.export_text()
    assert "shared steps" in shown
    assert "yes, up to 8" in shown
    console.print(build_spec_table(spec, found))
    assert "shared steps" not in console.export_text()


def test_devices_counts_processes_and_their_trials(modules: Path) -> None:
    spec = read_spec(modules, 8, resources={"cpus": 0.5, "fuse": 8})
    console = Console(width=200, record=True)
    console.print(
        build_use_table(spec, Cluster().take_inventory(), LanePlan(Widths(8, 8), "yes, up to 8"))
    )
    shown = console.export_text()
    assert "16 trials in 2 processes" in shown
    assert "yes, up to 8" in shown
