"""Sweeps whose trials a loop elsewhere asks for: the same study, decisions and report."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gapsweep
import pytest
import torch
from gapsweep import AskedSweep, AskedTrial
from torch import nn

from service.base.errors import (
    ChangedSweepError,
    SweepBusyError,
    TrialEndedError,
    TrialLostError,
    TrialNotFoundError,
)
from service.run.sweep import Sweep
from service.study.records import Role, TrialState
from service.sweep.answer import Claim
from service.sweep.home import Home
from tests.asked import SPEC, facts, measure, train, train_all
from tests.commands import gapsweep as gapsweep_command
from tests.patience import patience

pytestmark = pytest.mark.usefixtures("without_plots")

LOOP = """
import torch
from torch import nn


def train(trial):
    inputs, outputs = trial.data.info.input_shape[0], trial.data.info.outputs
    model = nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, outputs))
    optimizer = torch.optim.AdamW(model.parameters(), lr=trial.training.lr, weight_decay=0)
    parts = trial.regularise(model, optimizer)
    batches, _ = trial.data.loaders()
    while True:
        model.train()
        for x, y in batches:
            batch = parts.batch(x, y)
            optimizer.zero_grad()
            parts.loss(model(batch.x), batch).backward()
            optimizer.step()
        yield trial.evaluate(model)
"""


@pytest.fixture(autouse=True)
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")


@pytest.fixture
def open_sweep(tmp_path: Path) -> Iterator[Callable[..., AskedSweep]]:
    """Opens a sweep of the small spec with some keys changed, and closes it at the end."""
    opened: list[AskedSweep] = []

    def open_one(**options: Any) -> AskedSweep:
        spec = {**SPEC, **{k: options.pop(k) for k in tuple(options) if k not in _OPTIONS}}
        opened.append(gapsweep.ask_tell(spec, home=tmp_path, **options))
        return opened[-1]

    yield open_one
    for sweep in opened:
        sweep.close()


_OPTIONS = ("new", "trials", "widen", "lost_after")


def ask(sweep: AskedSweep) -> AskedTrial:
    """A trial, which there must be."""
    found = sweep.ask()
    assert found is not None
    return found


def list_runs(uri: str, condition: str = "") -> list[str]:
    """The states of the runs in MLflow."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("gapsweep")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], condition)
    return [run.info.status for run in runs]


def test_it_gives_the_trials_the_best_and_the_answer_of_a_run_with_the_same_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "asked_loop.py").write_text(LOOP)
    monkeypatch.chdir(tmp_path)
    spec = {
        "name": "same",
        "trainable": "asked_loop:train",
        "data": "breast_cancer",
        "training": {"max_epochs": 3, "lr": 0.01, "batch_size": 128},
        "space": {
            "penalty": {"choice": ["none", "l2"]},
            "lambda": {"float": [1e-4, 1e-1], "log": True, "when": {"penalty": "l2"}},
            "dropout": {"float": [0.0, 0.6]},
        },
        "early_stopping": {"patience": 1},
        "search": {"pruner": {"name": "median", "startup_trials": 2, "warmup_epochs": 0}},
        "budget": {"trials": 8},
        "confirm": {"top_k": 1, "trainings": 10, "replicates": 5},
        "resources": {"executor": "local"},
    }
    run = gapsweep.run(spec, home="run", progress=False)
    with gapsweep.ask_tell(spec, home="asked") as asked:
        for trial in asked:
            for metrics in sys.modules["asked_loop"].train(trial):
                if trial.report(metrics).stop:
                    break
            asked.tell(trial)
    one, other = run.records(), asked.sweep.records()
    assert [facts(t) for t in one] == [facts(t) for t in other]
    assert {t.state for t in one} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert {t.role for t in one} == {Role.BASELINE, Role.SEARCH, Role.REPLICATE}
    assert run.best is not None
    assert asked.sweep.best is not None
    assert run.best.number == asked.sweep.best.number
    assert run.answer is not None
    assert run.answer.claim is not Claim.UNCONFIRMED
    assert run.answer == asked.sweep.answer


def test_what_a_loop_reports_is_judged_and_labelled_as_reported(
    open_sweep: Callable[..., AskedSweep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Baseline, control, early stopping, replicates with new seeds, a tested answer, MLflow."""
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", f"sqlite:///{tmp_path}/mlflow.db")
    sweep = open_sweep(confirm={"top_k": 1, "trainings": 12, "replicates": 5})
    trials = train_all(sweep, tested=True)
    assert sweep.ended
    assert sweep.ask() is None
    baseline, *searched = sweep.sweep.records()[:4]
    assert (baseline.role, baseline.stopped_epoch) == (Role.BASELINE, 6)
    assert baseline.best["epoch"] == 6
    assert baseline.control["epoch"] == 3  # what early stopping would have kept
    assert baseline.best["gap_reported/loss"] == pytest.approx(0.2)
    assert "gap/loss" not in baseline.best
    assert "train/loss" not in baseline.best
    assert {(t.best["epoch"], t.stopped_epoch) for t in searched} == {(3, 5)}
    replicates = [t for t in trials if t.replicate]
    assert {t.seed for t in replicates} == {1, 2, 3, 4, 5}
    assert "again, with seed 2 (replicate 2)" in replicates[2].task
    answer = sweep.sweep.answer
    assert answer is not None
    assert (answer.metric, answer.on, answer.test_rows) == ("test/loss", "new_seeds", 1)
    report = sweep.report()
    assert "new seeds only" in report.verdict
    assert "differ by their seeds only" in report.verdict
    assert "gap_reported/loss" in str(report)
    assert "may contain dropout" in str(report)
    assert "may contain dropout" in report.html
    assert list_runs(f"sqlite:///{tmp_path}/mlflow.db") == ["FINISHED"] * (1 + len(trials))
    gaps = list_runs(f"sqlite:///{tmp_path}/mlflow.db", "metrics.`best/gap_reported/loss` > 0")
    assert len(gaps) == len(trials) + 1  # the parent has that of the best


def test_without_a_test_metric_the_answer_says_what_it_rests_on(
    open_sweep: Callable[..., AskedSweep],
) -> None:
    sweep = open_sweep(confirm={"top_k": 1, "trainings": 10, "replicates": 5})
    train_all(sweep)
    answer = sweep.sweep.answer
    assert answer is not None
    assert answer.metric == "val/loss"
    assert "samples that chose the pick, too" in sweep.report().verdict


def test_a_trial_that_compares_badly_is_pruned(open_sweep: Callable[..., AskedSweep]) -> None:
    sweep = open_sweep(search={"pruner": {"name": "threshold", "upper": 0.7}})
    train_all_of = ask(sweep)
    assert not train_all_of.report({"val/loss": 9.0}).stop  # the baseline is never pruned
    sweep.abandon(train_all_of)
    baseline = ask(sweep)
    train(baseline)
    sweep.tell(baseline)
    trial = ask(sweep)
    signal = trial.report({"val/loss": 0.9})
    assert (signal.stop, signal.reason) == (True, "pruned")
    with pytest.raises(TrialEndedError, match=r"trial 1 has ended \(pruned\)"):
        trial.report({"val/loss": 0.8})
    sweep.tell(trial, {"test/loss": 1.0})  # as of any trial: it is only let go of
    assert sweep.sweep.records()[1].state is TrialState.PRUNED


def test_a_paused_trial_is_let_go_of_and_asked_for_again(
    open_sweep: Callable[..., AskedSweep],
) -> None:
    rule = {"name": "pause_and_promote", "reduction_factor": 2, "k": 1}
    search = {"sampler": "random", "baseline": False, "pruner": rule}
    sweep = open_sweep(search=search, budget={"trials": 3})
    first = ask(sweep)
    signal = first.report({"val/loss": 0.5})
    assert (signal.stop, signal.reason.partition(":")[0]) == (True, "paused")
    sweep.tell(first)
    assert sweep.sweep.records()[0].state is TrialState.PAUSED
    second = ask(sweep)
    assert second.number == 1
    assert second.report({"val/loss": 0.9}).stop
    sweep.tell(second)
    again = ask(sweep)
    assert again.number == 0
    again.report({"val/loss": 0.5})  # of epoch 1, which stays as it was
    assert again.report({"val/loss": 0.45}).stop
    sweep.tell(again)
    train_all(sweep)
    trials = sweep.sweep.records()
    assert [e.metrics["val/loss"] for e in trials[0].epochs][:2] == [0.5, 0.45]
    assert len(trials[1].epochs) == 1
    assert trials[1].state is TrialState.PRUNED
    assert TrialState.COMPLETE in {t.state for t in trials}
    assert all(t.state.has_ended for t in trials)


def _work(spec: dict[str, Any], home: Path, seen: Any, begun: Any) -> None:
    """One of several jobs: asks, reports and tells until nothing is left; each has a trial."""
    waits = True
    while (trial := gapsweep.ask(spec, home=home)) is not None:
        seen.put((trial.number, os.getpid()))
        if waits:
            begun.wait(patience(120))
        waits = False
        train(trial)
        gapsweep.tell(trial)


def test_jobs_at_once_share_a_sweep_and_no_trial_is_handed_out_twice_or_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", uri)
    context = multiprocessing.get_context("fork")
    seen, begun = context.Queue(), context.Barrier(3)
    spec = {**SPEC, "budget": {"trials": 12}}
    jobs = [context.Process(target=_work, args=(spec, tmp_path, seen, begun)) for _ in range(3)]
    for job in jobs:
        job.start()
    found = [seen.get(timeout=patience(120)) for _ in range(12)]
    for job in jobs:
        job.join(patience(120))
        assert job.exitcode == 0
    assert sorted(number for number, _ in found) == [*range(12)]
    assert seen.empty()
    assert {process for _, process in found} == {job.pid for job in jobs}
    sweep = gapsweep.open_sweep(home=tmp_path)
    assert sweep.state == "succeeded"
    assert [t.state for t in sweep.records()] == [TrialState.COMPLETE] * 12
    assert [e.epoch for e in sweep.records()[5].epochs] == [1, 2, 3, 4, 5]
    assert list_runs(uri) == ["FINISHED"] * 13


def _die_in_epoch_3(home: Path) -> None:
    trial = gapsweep.ask(SPEC, home=home, lost_after=0.01)
    assert trial is not None
    model = nn.Linear(2, 1)
    trial.checkpoint(model=model)
    for epoch in (1, 2):
        with torch.no_grad():
            model.bias.fill_(float(epoch))
        trial.report(measure(trial, epoch))
    os._exit(9)


def test_the_trial_of_a_job_that_died_is_asked_for_again_and_goes_on_from_its_checkpoint(
    open_sweep: Callable[..., AskedSweep], tmp_path: Path
) -> None:
    job = multiprocessing.get_context("fork").Process(target=_die_in_epoch_3, args=(tmp_path,))
    job.start()
    job.join(patience(120))
    assert job.exitcode == 9
    sweep = open_sweep()
    trial = ask(sweep)
    assert (trial.number, trial.epoch) == (0, 0)
    model = nn.Linear(2, 1)
    trial.restore(model=model)
    assert (trial.epoch, model.bias.item()) == (2, 2.0)
    assert len(train(trial)) == 4
    sweep.tell(trial)
    record = sweep.sweep.records()[0]
    assert [e.epoch for e in record.epochs] == [1, 2, 3, 4, 5, 6]
    assert record.control["epoch"] == 3


def test_a_trial_begins_anew_without_a_checkpoint_and_its_epochs_are_recorded_once(
    open_sweep: Callable[..., AskedSweep],
) -> None:
    sweep = open_sweep()
    first = ask(sweep)
    for epoch in (1, 2):
        first.report(measure(first, epoch))
    sweep.abandon(first)
    again = ask(sweep)
    assert (again.number, again.epoch) == (0, 0)
    assert len(train(again)) == 6
    sweep.tell(again)
    assert [e.epoch for e in sweep.sweep.records()[0].epochs] == [1, 2, 3, 4, 5, 6]


def test_a_trial_without_a_sign_of_life_is_handed_out_again_with_its_number(
    open_sweep: Callable[..., AskedSweep],
) -> None:
    clock = Clock()
    opened = open_sweep()
    home = Home(opened.folder.path.parent.parent)
    slow, other = (AskedSweep(opened.folder, home, 50, clock) for _ in range(2))
    lost = ask(slow)
    lost.report(measure(lost, 1))
    clock.now += 30
    lost.heartbeat()
    clock.now += 30
    assert ask(other).number == 1  # the heartbeat keeps the first one
    clock.now += 60
    lost.report(measure(lost, 2))  # late, and nobody else has it
    clock.now += 60
    again = ask(other)
    assert again.number == 0
    with pytest.raises(TrialLostError, match="handed out again after 50 seconds"):
        lost.report(measure(lost, 3))
    train(again)
    other.tell(again)
    with pytest.raises(TrialLostError, match="trial 0"):
        slow.tell(lost)


def test_the_end_of_a_block_gives_back_what_was_not_told(
    open_sweep: Callable[..., AskedSweep],
) -> None:
    sweep = open_sweep()
    trial = ask(sweep)
    trial.report({"val/loss": 0.5})
    with pytest.raises(TrialNotFoundError), sweep:
        sweep.tell(99)
    assert sweep.sweep.state == "interrupted"
    again = ask(sweep)
    assert again.number == 0
    assert sweep.sweep.state == "running"


def test_a_spec_goes_on_with_its_sweep_and_a_changed_one_is_refused_until_that_has_ended(
    open_sweep: Callable[..., AskedSweep],
) -> None:
    sweep = open_sweep()
    assert open_sweep().id == sweep.id
    with pytest.raises(ChangedSweepError, match="has not ended") as caught:
        open_sweep(training={"max_epochs": 7})
    assert [p.path for p in caught.value.problems] == ["training.max_epochs"]
    assert open_sweep(new=True).id != sweep.id


def test_a_finished_sweep_is_extended(
    open_sweep: Callable[..., AskedSweep], tmp_path: Path
) -> None:
    sweep = open_sweep()
    train_all(sweep)
    assert sweep.ended
    with pytest.warns(UserWarning, match="has ended, so that it has no trial to ask for"):
        assert open_sweep().ask() is None
    more = open_sweep(trials=2, widen={"dropout": (0, 0.9)})
    assert (more.id, more.ended) == (sweep.id, False)
    assert [t.number for t in train_all(more)] == [4, 5]
    assert more.ended
    resume = ("resume", sweep.id, "--home", str(tmp_path))
    assert "gapsweep.ask_tell" in gapsweep_command(*resume).stderr
    assert "is extended; your loop goes on" in gapsweep_command(*resume, "--trials", "1").stdout
    assert [t.number for t in train_all(more)] == [6]


def test_the_budget_of_time_ends_a_trial_and_the_sweep(
    open_sweep: Callable[..., AskedSweep],
) -> None:
    clock = Clock()
    opened = open_sweep(budget={"trials": 4, "minutes": 1})
    home = Home(opened.folder.path.parent.parent)
    sweep = AskedSweep(opened.folder, home, clock=clock)
    trial = ask(sweep)
    clock.now += 50
    assert not trial.report(measure(trial, 1)).stop
    sweep.abandon(trial)
    clock.now += 1000  # nobody trains
    trial = ask(sweep)
    assert not trial.report(measure(trial, 1)).stop
    clock.now += 11
    signal = trial.report(measure(trial, 2))
    assert (signal.stop, signal.reason) == (True, "pruned: its time budget is used up")
    sweep.tell(trial)
    assert sweep.ask() is None
    assert sweep.ended


@dataclass
class Clock:
    """Unix time, as a test sets it."""

    now: float = 1e9

    def __call__(self) -> float:
        return self.now


Mistake = Callable[[AskedSweep, AskedTrial], object]
MISTAKES: dict[str, tuple[type[Exception], str, Mistake]] = {
    "tell twice": (
        TrialEndedError,
        "trial 0 was told already",
        lambda s, t: [s.tell(t, {"val/loss": 1.0}), s.tell(t)],
    ),
    "an unknown trial": (TrialNotFoundError, r"no trial 7 of .*; it has 0", lambda s, _: s.tell(7)),
    "no trial": (gapsweep.InputError, "3 is not a trial", lambda *_: gapsweep.tell(3)),  # type: ignore[arg-type]  # the mistake
    "after the end": (
        TrialEndedError,
        "has had its last epoch, 6; tell it now",
        lambda _, t: [train(t), t.report({"val/loss": 0.1})],
    ),
    "no objective": (
        gapsweep.InputError,
        "objective.metric is 'val/loss', but the loop reported val/acc",
        lambda _, t: t.report({"val/acc": 0.9}),
    ),
    "nothing to tell": (gapsweep.InputError, "trial 0 has no epoch", lambda s, t: s.tell(t)),
    "no number": (
        gapsweep.InputError,
        "val/loss",
        lambda _, t: t.report({"val/loss": "low"}),
    ),
    "no dict": (gapsweep.InputError, "expected: a dict", lambda _, t: t.report(0.3)),
    "a gap of its own": (
        gapsweep.InputError,
        "the gap is computed by trial.evaluate only",
        lambda _, t: t.report({"val/loss": 0.5, "gap/loss": 0.1}),
    ),
    "a test metric in the search": (
        gapsweep.InputError,
        "test samples choose nothing",
        lambda _, t: t.report({"val/loss": 0.5, "test/loss": 0.1}),
    ),
    "an epoch too many": (
        gapsweep.InputError,
        "reported epoch 3, but epoch 1 was the last one; .* epoch 2 is the next",
        lambda _, t: [t.report({"val/loss": 0.5}, epoch=1), t.report({"val/loss": 0.5}, epoch=3)],
    ),
    "another value": (
        gapsweep.InputError,
        "val/loss = 0.1 was told, but it was reported as",
        lambda s, t: [train(t), s.tell(t, {"val/loss": 0.1})],
    ),
    "no finite value": (
        gapsweep.InputError,
        "test/loss is nan; tell a finite number",
        lambda s, t: [train(t), s.tell(t, {"test/loss": float("nan")})],
    ),
    "data of no spec": (
        gapsweep.InputError,
        "no `data`",
        lambda _, t: t.data,
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_a_sentence(open_sweep: Callable[..., AskedSweep], name: str) -> None:
    error, words, make = MISTAKES[name]
    sweep = open_sweep()
    trial = ask(sweep)
    with pytest.raises(error, match=words):
        make(sweep, trial)
    assert issubclass(error, gapsweep.GapsweepError)


def test_a_trial_whose_loss_is_not_finite_fails_as_in_a_run(
    open_sweep: Callable[..., AskedSweep],
) -> None:
    sweep = open_sweep()
    trial = ask(sweep)
    signal = trial.report({"val/loss": float("nan")})
    assert (signal.stop, signal.reason) == (True, "failed: val/loss is nan in epoch 1")
    sweep.tell(trial)
    other = ask(sweep)
    sweep.tell(other, failed="the node was lost")
    reasons = [(t.state, t.reason) for t in sweep.sweep.records()]
    assert reasons == [
        (TrialState.FAILED, "val/loss is nan in epoch 1"),
        (TrialState.FAILED, "the node was lost"),
    ]


def test_waiting_for_trials_of_ones_own_is_refused(open_sweep: Callable[..., AskedSweep]) -> None:
    sweep = open_sweep(budget={"trials": 1}, confirm={"top_k": 1, "trainings": 10})
    trial = ask(sweep)
    with pytest.raises(gapsweep.InputError, match=r"has not told: 0; .* tell or abandon them"):
        sweep.ask()
    sweep.abandon(trial)


def test_replicates_are_tested_alike_or_not_at_all(open_sweep: Callable[..., AskedSweep]) -> None:
    sweep = open_sweep(confirm={"top_k": 1, "trainings": 10, "replicates": 5})
    for _ in range(4):
        searched = ask(sweep)
        train(searched)
        sweep.tell(searched)
    first = ask(sweep)
    train(first)
    assert first.is_baseline
    sweep.tell(first, {"test/loss": 0.5}, control={"test/loss": 0.4})
    second = ask(sweep)
    train(second)
    with pytest.raises(gapsweep.InputError, match="has test/loss, and it has not"):
        sweep.tell(second)
    sweep.tell(second, {"test/loss": 0.5})


def test_who_trains_the_trials_is_checked(
    open_sweep: Callable[..., AskedSweep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = open_sweep()
    with pytest.raises(gapsweep.InputError, match=r"gapsweep\.ask_tell"):
        gapsweep.resume(sweep.id, home=tmp_path, progress=False)
    with pytest.raises(gapsweep.SpecError, match="trainable: none is named"):
        gapsweep.run(SPEC, home=tmp_path, progress=False)
    automatic = {"penalty": {"choice": ["none", "l1"]}, "lambda": "auto"}
    with pytest.raises(gapsweep.SpecError, match="name `trainable` and `data`, or give a range"):
        open_sweep(space=automatic, new=True)
    monkeypatch.setattr("service.run.study_turns.PATIENCE", 0.1)
    with sweep.folder.lock(), pytest.raises(SweepBusyError):
        sweep.ask()
    (sweep.folder.asked).rmdir()  # as of a sweep that trains its trials itself
    with pytest.raises(gapsweep.InputError, match="trains its trials itself"):
        gapsweep.ask_tell(Sweep(sweep.folder))
