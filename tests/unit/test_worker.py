"""A process's part in trials: what it answers, resumes and forgets. No Ray."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from service.base.errors import DiskFullError
from service.cluster import checkpoint
from service.cluster.divisions import TrialContext
from service.cluster.worker import Worker
from service.spec.file import parse_spec
from service.study.messages import Assignment, EpochReport, TrialFailure
from service.study.records import Role
from service.sweep.home import SweepFolder
from service.sweep.inspected_files import read_inspected
from tests.trainings import splits
from trainables.data.rows import GivenRows


def worker(folder: Path, *, test: bool = False, **more: Any) -> Worker:
    raw = {
        "name": "worker",
        "trainable": "trainables.models:MLP",
        "model": {"hidden": [8]},
        "data": {"name": "digits"},
        "training": {"max_epochs": 3, "batch_size": 16},
        "space": {"dropout": {"float": [0.0, 0.5]}, "precision": {"choice": ["fp32", "bf16"]}},
        "early_stopping": None,
        **more,
    }
    data = splits(60, 30)
    rows = GivenRows(replace(data, test=data.val) if test else data)
    return Worker(TrialContext(parse_spec(raw, "spec", folder), rows, folder))


def assignment(number: int, **params: Any) -> Assignment:
    return Assignment(number, params, Role.SEARCH)


def advance(one: Worker) -> EpochReport:
    answer = one.advance()
    assert isinstance(answer, EpochReport), answer
    return answer


def failure(one: Worker) -> TrialFailure:
    answer = one.advance()
    assert isinstance(answer, TrialFailure), answer
    return answer


def test_it_answers_every_epoch_and_the_outcome_with_the_last(tmp_path: Path) -> None:
    one = worker(tmp_path)
    one.take(assignment(0, dropout=0.1, precision="bf16"))
    answers = [advance(one) for _ in range(3)]
    assert [a.epoch for a in answers] == [1, 2, 3]
    assert [a.is_last for a in answers] == [False, False, True]
    assert answers[0].ran_on == {"device": "CPU", "precision": "bf16"}
    best = answers[2].best
    assert best is not None
    assert best["val/loss"] == min(a.metrics["val/loss"] for a in answers)
    assert (tmp_path / "trials" / "00000" / "best.pt").exists()


def train_three_epochs(folder: Path) -> list[EpochReport]:
    whole = worker(folder)
    whole.take(assignment(0, dropout=0.3))
    return [advance(whole) for _ in range(3)]


def read_epoch(folder: Path) -> int:
    """The last epoch that the checkpoint of trial 0 has."""
    state = torch.load(SweepFolder(folder).checkpoint(0), weights_only=True)
    return int(state["last"]["epoch"])


def test_another_process_goes_on_from_the_checkpoint_and_repeats_its_last_epoch(
    tmp_path: Path,
) -> None:
    expected = train_three_epochs(tmp_path / "whole")
    first = worker(tmp_path / "cut")
    first.take(assignment(0, dropout=0.3))
    assert [first.advance(), first.advance()] == expected[:2]
    first.close()
    second = worker(tmp_path / "cut")
    second.take(assignment(0, dropout=0.3))
    assert [second.advance(), second.advance()] == expected[1:]


@pytest.mark.parametrize(("period", "saved"), [(0.0, 1), (1e6, 0)])
def test_after_a_kill_the_epochs_since_the_checkpoint_are_trained_again_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, period: float, saved: int
) -> None:
    monkeypatch.setattr(checkpoint, "PERIOD", period)
    monkeypatch.setattr(checkpoint, "SHARE", 0)
    expected = train_three_epochs(tmp_path / "whole")
    killed = worker(tmp_path / "cut")
    killed.take(assignment(0, dropout=0.3))
    assert [killed.advance(), killed.advance()] == expected[:2]
    assert SweepFolder(tmp_path / "cut").checkpoint(0).exists() is bool(saved)
    assert not saved or read_epoch(tmp_path / "cut") == saved
    second = worker(tmp_path / "cut")
    second.take(replace(assignment(0, dropout=0.3), recorded=2))
    assert second.advance() == expected[2]
    weights = [tmp_path / name / "trials" / "00000" / "best.pt" for name in ("whole", "cut")]
    one, other = (torch.load(path, weights_only=True) for path in weights)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_trial_that_ended_in_the_session_leaves_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "PERIOD", 1e6)
    one, folder = worker(tmp_path), SweepFolder(tmp_path)
    one.take(assignment(0, dropout=0.3))
    advance(one)
    folder.drop_trial(0)  # as the session does where it is pruned
    one.take(assignment(1, dropout=0.3))
    while not advance(one).is_last:
        pass
    one.close()
    assert not folder.trial(0).exists()
    assert not folder.checkpoint(1).exists()


def test_a_trial_that_may_be_paused_is_saved_before_each_report(tmp_path: Path) -> None:
    one = worker(tmp_path, search={"pruner": "pause_and_promote"})
    one.take(assignment(0, dropout=0.3))
    for epoch in (1, 2):
        advance(one)
        assert read_epoch(tmp_path) == epoch


def test_a_state_is_written_after_a_second_or_twenty_times_what_writing_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, written = [0.0], list[float]()

    def save(*_: object) -> None:
        written.append(now[0])
        now[0] += 0.25

    monkeypatch.setattr(checkpoint, "save_tensors", save)
    made = checkpoint.Checkpoint(clock=lambda: now[0])
    made.begin(tmp_path / "last.pt")
    while now[0] < 12:
        made.note(done=False)
        made.save_if_due(dict)
        now[0] += 0.5
    assert written == [1.0, 6.25, 11.5]
    made.save_if_due(dict)
    made.note(done=True)
    now[0] += 100
    made.save_if_due(dict)
    made.end(dict)
    assert len(written) == 3


def test_a_disk_that_is_full_when_a_trial_is_let_go_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DiskFullError("full")

    one = worker(tmp_path)
    one.take(assignment(0, dropout=0.3))
    advance(one)
    monkeypatch.setattr(checkpoint, "save_tensors", refuse)
    one.take(assignment(1, dropout=0.3))
    assert advance(one).epoch == 1


def test_a_checkpoint_of_an_older_version_is_not_gone_on_from(tmp_path: Path) -> None:
    first = worker(tmp_path)
    first.take(assignment(0, dropout=0.3))
    expected = [first.advance() for _ in range(2)]
    first.close()
    file = tmp_path / "trials" / "00000" / "last.pt"
    state = torch.load(file, weights_only=True)
    torch.save({k: v for k, v in state.items() if k not in ("rates", "scaler")}, file)
    second = worker(tmp_path)
    second.take(assignment(0, dropout=0.3))
    assert [second.advance() for _ in range(2)] == expected


def test_a_failed_trial_is_an_answer_and_is_forgotten(tmp_path: Path) -> None:
    one = worker(tmp_path)
    one.take(assignment(0, dropout=0.3, lr=-1.0))
    failed = failure(one)
    assert "greater than 0" in failed.reason
    assert failed.ran_on == {"device": "CPU"}
    one.take(assignment(1, dropout=0.3))
    assert advance(one).epoch == 1


@pytest.mark.parametrize("error", [MemoryError("40 GiB wanted"), KeyError("lost")])
def test_whatever_a_network_raises_is_said_in_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    one = worker(tmp_path)
    one.take(assignment(0))
    monkeypatch.setattr("trainables.models.MLP.step", fail)
    words = failure(one).reason
    assert str(error) in words
    assert words.startswith("out of memory" if isinstance(error, MemoryError) else "KeyError")


@pytest.mark.parametrize("pick", ["best", "simplest"])
def test_a_replicate_of_a_reported_arm_writes_what_it_finds_of_its_weights(
    tmp_path: Path, pick: str
) -> None:
    one = worker(tmp_path, test=True, confirm={"pick": pick}, early_stopping={"patience": 2})
    params = {"dropout": 0.0, "precision": "bf16"}
    for number, role, changes in (
        (0, Role.SEARCH, {}),
        (1, Role.REPLICATE, {"replicate": 1}),
        (2, Role.REPLICATE, {"replicate": 1, "baseline": True}),
        (3, Role.REMOVAL, {"replicate": 1, "without": ("dropout",)}),
        (4, Role.REMOVAL, {"replicate": 1, "without": ("regularisation",), "baseline": True}),
        (5, Role.REPLICATE, {"replicate": 1, "redraws_test": True}),
    ):
        one.take(Assignment(number, params, role, **changes))
        while not advance(one).is_last:
            pass
    folder = SweepFolder(tmp_path)
    found = {number: read_inspected(folder, number) for number in range(6)}
    removal = {"best"} if pick == "simplest" else set()
    kinds = [set(), {"best"}, {"best", "control"}, removal, {"best", "control"}, set()]
    assert [set(each) for each in found.values()] == kinds
    for each in found[2].values():
        assert each.robustness.rows == 30
        assert {curve.corruption for curve in each.robustness.curves} == {"noise", "blur", "shift"}


LOOP = """
import torch
from torch import nn


def train(trial, restores=True):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader, _ = trial.data.loaders()
    if restores:
        trial.checkpoint(model=model, optimizer=optimizer)
        trial.restore(model=model, optimizer=optimizer)
    while True:
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        yield trial.evaluate(model)


def elsewhere(trial):
    for epoch in range(3):
        yield {"val/loss": 1.0}
"""


@pytest.fixture
def own_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "worker_loops.py").write_text(LOOP)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("restores", [True, False])
def test_a_loop_in_a_new_process_answers_no_recorded_epoch_again(
    own_loops: Path, restores: bool
) -> None:
    more = {"trainable": "worker_loops:train", "model": {"restores": restores}}
    whole = worker(own_loops / "whole", **more)
    whole.take(assignment(0, dropout=0.1))
    expected = [advance(whole) for _ in range(3)]
    first, second = (worker(own_loops / "cut", **more) for _ in range(2))
    first.take(assignment(0, dropout=0.1))
    found = [advance(first), advance(first)]
    first.close()
    second.take(replace(assignment(0, dropout=0.1), recorded=2))
    found.append(advance(second))
    assert found == expected
    assert found[2].is_last


def test_a_replicate_of_a_loop_is_tested_if_the_loop_evaluates(own_loops: Path) -> None:
    one = worker(own_loops, test=True, trainable="worker_loops:train", model={})
    one.take(replace(assignment(1, dropout=0.1), replicate=1))
    best = [advance(one) for _ in range(3)][2].best
    assert best is not None
    assert {"test/loss", "test/accuracy", "test_gap/loss"} <= best.keys()
    assert SweepFolder(own_loops).test_rows(1).exists()


def test_a_replicate_of_a_loop_that_measures_itself_has_no_test(own_loops: Path) -> None:
    one = worker(own_loops, test=True, trainable="worker_loops:elsewhere", model={})
    one.take(replace(assignment(1, dropout=0.1), replicate=1))
    last = [advance(one) for _ in range(3)][2]
    assert last.best == {"epoch": 3.0, "val/loss": 1.0}
    assert last.not_acting == ("dropout",)
    assert not SweepFolder(own_loops).best_weights(1).exists()
