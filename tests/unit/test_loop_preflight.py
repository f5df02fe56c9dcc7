"""What is said of a user's training loop, and of a spec that names one, before the first trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from service.base.errors import SpecError
from service.cli.spec_tables import build_spec_table
from service.report.console import open_console
from service.run.evidence import ReportedLoop, choose_evidence
from service.run.preflight import Preflight, run_preflight
from service.spec.file import parse_spec
from service.spec.model import SweepSpec
from trainables.config.code_policy import CodePolicy

LOOPS = """
import torch
from torch import nn


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 10))


def good(trial, width=8):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parts = trial.regularise(model, optimizer)
    train, _ = trial.data.loaders()
    trial.checkpoint(model=model)
    while True:
        for x, y in train:
            batch = parts.batch(x, y)
            optimizer.zero_grad()
            parts.loss(model(batch.x), batch).backward()
            optimizer.step()
        yield trial.evaluate(model)


def bare(trial):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    trial.regularise(model, torch.optim.SGD(model.parameters(), lr=0.1))
    yield trial.evaluate(model)


def unregularised(trial):
    yield trial.evaluate(network())


def own_data(trial):
    for epoch in range(trial.max_epochs):
        trial.report(**{"val/loss": 1.0 / (epoch + 1), "train/loss": 0.1})


def annotated(run: "gapsweep.Trial"):
    run.report({"val/loss": trial_value(run)})


def trial_value(run):
    return run.params["dropout"]


def accurate(trial):
    yield {"val/acc": 0.5}


def spelled(trial):
    yield {"val_loss": 0.5}


def wrong(trial):
    yield {"val/loss": undefined}


def config_style(config, report=None):
    report({"val_loss": config["lr"]})


def objective(trial):
    return trial.suggest_float("lr", 1e-5, 1e-1)


def needs(trial, width):
    yield {"val/loss": 0.5}


def plain():
    return network()


class Trainer:
    def fit(self):
        pass
"""
BASE: dict[str, Any] = {
    "name": "loop",
    "data": "digits",
    "training": {"max_epochs": 3},
    "space": {
        "penalty": {"choice": ["none", "l2"]},
        "lambda": {"float": [1e-4, 1e-1], "log": True, "when": {"penalty": "l2"}},
        "dropout": {"float": [0.0, 0.5]},
    },
}


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_loops.py").write_text(LOOPS)
    monkeypatch.syspath_prepend(str(tmp_path))


def spec(loop: str, **changes: Any) -> SweepSpec:
    raw = {**BASE, "trainable": f"some_loops:{loop}", **changes}
    return parse_spec({k: v for k, v in raw.items() if v is not None}, "the spec", Path())


def check(loop: str, **changes: Any) -> Preflight:
    return run_preflight(spec(loop, **changes), "the spec")


def problems(loop: str, **changes: Any) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        check(loop, **changes)
    return {p.path: p.message for p in caught.value.problems}


def notes(found: Preflight) -> str:
    assert found.loop is not None
    return "\n".join(found.loop.notes)


def test_a_loop_is_rehearsed_and_described() -> None:
    found = check("good", space={**BASE["space"], "mixup": {"float": [0.1, 1.0]}})
    assert found.loop is not None
    assert found.loop.metrics[:2] == ("train/loss", "train/accuracy")
    assert (found.loop.measured, found.loop.uses_data, found.loop.notes) == (True, True, ())
    console = open_console(width=300)
    with console.capture() as captured:
        console.print(build_spec_table(spec("good"), found))
    assert "some_loops:good, to its first report on one batch" in captured.get()


def test_a_loop_with_data_of_its_own_needs_none_in_the_spec() -> None:
    found = check("own_data", data=None)
    text = notes(found)
    assert "there is no gap: the loop does not call trial.evaluate(model)" in text
    assert "replicates have new seeds, and the same data" in text
    assert "train_reported/*: as reported by the loop" in text
    assert "penalty, lambda, dropout: sampled, but the loop never calls trial.regularise" in text
    evidence = choose_evidence(found.rows, found.loop)
    assert isinstance(evidence, ReportedLoop)
    assert evidence.division == "new_seeds"
    assert any(
        line.startswith("loop: there is no gap")
        for line in evidence.describe_data(spec("own_data", data=None))
    )


def test_dropout_that_the_baseline_has_is_named() -> None:
    found = check("unregularised")
    assert found.not_neutral == (
        "dropout in 3 of the network, in the baseline too: the loop does not give it to "
        "trial.regularise, or set it by trial.params",
    )
    assert check("good").not_neutral == ()


def test_a_key_of_training_that_is_varied_and_not_read_is_named() -> None:
    space = {"lr": {"float": [0.1, 1.0]}, "batch_size": {"choice": [16, 32]}}
    assert "lr: sampled, but the loop never reads trial.params" in notes(check("good", space=space))


def test_the_usual_names_of_metrics_say_which_way_they_improve() -> None:
    found = spec("accurate", objective={"metric": "val/acc"}, early_stopping="off")
    assert found.objective.mode == "max"
    assert spec("accurate", objective={"metric": "val/nll"}).objective.mode == "min"


def test_a_parameter_that_the_loop_reads_is_not_called_unapplied() -> None:
    assert "penalty, lambda: sampled, but" in notes(check("annotated", data=None))


@pytest.mark.parametrize(
    ("loop", "changes", "where", "text"),
    [
        ("spelled", {}, "trainable", "reported val_loss in epoch 1; did you mean 'val/loss'"),
        (
            "wrong",
            {},
            "trainable",
            "NameError: name 'undefined' is not defined (some_loops.py, line",
        ),
        ("config_style", {}, "trainable", "a training loop of yours is a function of one argument"),
        ("objective", {}, "trainable", "parameters are declared under `space` in the spec"),
        (
            "Trainer",
            {},
            "trainable",
            "or a training loop: a function of one argument named `trial`",
        ),
        (
            "good",
            {"model": {"widht": 3}},
            "model.widht",
            "some_loops:good takes no argument 'widht'; did you mean 'width'?",
        ),
        (
            "own_data",
            {"space": {**BASE["space"], "model.depth": {"int": [1, 3]}}},
            "space.model.depth",
            "takes no argument 'depth', and does not read trial.params['depth']",
        ),
        (
            "accurate",
            {"objective": {"metric": "val/acc"}},
            "trainable",
            "`early_stopping: {metric: …}` watches another one, `off` none",
        ),
        ("needs", {}, "trainable", "some_loops:needs needs width; give it under `model`"),
        ("good", {"resources": {"workers": 2}}, "resources.workers", "runs in one process"),
        (
            "good",
            {"objective": {"metric": "val/lss"}},
            "trainable",
            "objective.metric is 'val/lss'",
        ),
        (
            "good",
            {"space": {"penalty": {"choice": ["none", "l2"]}, "lambda": "auto"}},
            "space.lambda",
            "`auto` is measured by steps of gapsweep's own loop",
        ),
        ("plain", {"data": None}, "data", "is missing"),
        ("good", {"data": None}, "data", "trial.data: the spec names no `data`"),
        ("bare", {}, "space.dropout", "the network has no dropout layer"),
    ],
)
def test_a_spec_that_cannot_run_is_told_in_a_sentence(
    loop: str, changes: dict[str, Any], where: str, text: str
) -> None:
    found = problems(loop, **changes)
    assert text in found[where]


@pytest.mark.parametrize(
    ("space", "training"),
    [
        ({"penalty": {"choice": ["none", "l2"]}, "lambda": "auto"}, {}),
        ({"penalty": {"choice": ["none", "l2"]}, "lambda": "auto"}, {"l2_update": "coupled"}),
        ({"penalty": {"choice": ["l1", "group_lasso"]}, "lambda": "auto"}, {}),
        ({"preset": "regularisation"}, {}),
    ],
)
def test_what_is_said_to_write_instead_of_an_automatic_range_can_be_written(
    space: dict[str, Any], training: dict[str, Any]
) -> None:
    said = problems("good", space=space, training=training)["space.lambda"]
    written = yaml.safe_load(said.split("`")[3])
    assert check("good", space={**space, **written}, training=training).loop is not None
    text = str(written)
    decays = training.get("l2_update") != "coupled" and "group_lasso" not in str(space)
    assert ("100.0" in text) is decays  # l2 below 0.01 would be inert


def test_an_allow_list_has_to_name_a_loop_in_full() -> None:
    CodePolicy(allow=("some_loops:*",)).enter()
    assert "have the server allow some_loops:good by its full name" in problems("good")["trainable"]
    CodePolicy(allow=("some_loops:good",)).enter()
    assert check("good").loop is not None
