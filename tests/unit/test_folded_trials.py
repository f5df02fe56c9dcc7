"""A trial that is trained on several folds, in the process that trains it. No Ray."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from service.cluster import checkpoint, divisions
from service.cluster.divisions import TrialContext
from service.cluster.worker import Worker
from service.spec.file import parse_spec
from service.study.messages import Assignment, EpochReport, TrialFailure
from service.study.records import Role
from trainables.data.datasets import open_rows
from trainables.data.rows import DrawnRows

LOOP = """
import torch
from torch import nn


def train(trial):
    model = nn.Sequential(nn.Dropout(), nn.Linear(30, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parts = trial.regularise(model, optimizer)
    loader, _ = trial.data.loaders()
    trial.checkpoint(model=model, optimizer=optimizer)
    trial.restore(model=model, optimizer=optimizer)
    (trial.folder / "seen").write_text(str(len(trial.data.train)))
    for epoch in range(trial.epoch, 4):
        for x, y in loader:
            batch = parts.batch(x, y)
            optimizer.zero_grad()
            parts.loss(model(batch.x), batch).backward()
            optimizer.step()
        yield trial.evaluate(model)
"""


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "folded_loop.py").write_text(LOOP)
    monkeypatch.syspath_prepend(tmp_path)
    return "folded_loop:train"


def worker(folder: Path, **more: Any) -> Worker:
    raw = {
        "name": "folded",
        "trainable": "trainables.models:MLP",
        "model": {"hidden": [4]},
        "data": {"name": "breast_cancer"},
        "training": {"max_epochs": 4, "lr": 0.05},
        "space": {"dropout": {"float": [0.0, 0.5]}, "ema": {"float": [0.1, 0.9]}},
        "early_stopping": {"patience": 2, "min_delta": 0.02},
        "search": {"folds": 3},
        **more,
    }
    spec = parse_spec(raw, "spec", folder)
    return Worker(TrialContext(spec, open_rows(spec.data), folder))


def take(one: Worker, *, recorded: int = 0, **more: Any) -> None:
    one.take(Assignment(0, {"dropout": 0.2, "ema": 0.3}, Role.SEARCH, recorded=recorded, **more))


def run(one: Worker) -> list[EpochReport]:
    """What a worker answers until its trial has ended."""
    answers: list[EpochReport] = []
    while not (answers and answers[-1].is_last):
        answer = one.advance()
        assert isinstance(answer, EpochReport), answer
        answers.append(answer)
    return answers


def test_it_trains_on_one_fold_after_another_and_ends_with_their_means(tmp_path: Path) -> None:
    one = worker(tmp_path)
    take(one)
    answers = run(one)
    assert [a.epoch for a in answers] == list(range(1, len(answers) + 1))
    places = [a.fold for a in answers if a.fold is not None]
    assert len(places) == len(answers)
    assert [p.fold for p in places] == sorted(p.fold for p in places)
    assert [a.metrics["fold"] for a in answers] == [float(p.fold) for p in places]
    ends = [p for p in places if p.ends]
    assert [p.fold for p in ends] == [1, 2, 3]
    best = answers[-1].best
    assert best is not None
    for name in ("val/loss", "gap/loss", "val/accuracy", "epoch"):
        assert best[name] == pytest.approx(fmean(p.kept[name] for p in ends if p.kept))
    losses = [[a.metrics["val/loss"] for a in answers if a.fold and a.fold.fold == 1]]
    assert ends[0].kept is not None
    assert ends[0].kept["val/loss"] == min(losses[0])


def test_its_weights_are_those_of_the_first_fold(tmp_path: Path) -> None:
    one, alone = worker(tmp_path / "folded"), worker(tmp_path / "alone")
    take(one)
    run(one)
    take(alone)
    while not (answer := alone.advance()).fold.ends:  # type: ignore[union-attr]  # of an epoch
        pass
    alone.close()
    first = torch.load(tmp_path / "alone" / "trials" / "00000" / "last.pt", weights_only=True)
    kept = torch.load(tmp_path / "folded" / "trials" / "00000" / "best.pt", weights_only=True)
    assert isinstance(answer, EpochReport)
    assert kept.keys() == first["kept"].keys()
    assert all(torch.equal(kept[name], first["kept"][name]) for name in kept)


def test_a_training_without_regularisation_has_a_control_on_each_fold(tmp_path: Path) -> None:
    one = worker(tmp_path, early_stopping={"patience": 1, "min_delta": 0.1})
    take(one, baseline=True)
    answers = run(one)
    ends = [a.fold for a in answers if a.fold is not None and a.fold.ends]
    assert len(answers) == 12
    controls = [end.control for end in ends]
    assert all(controls)
    assert answers[-1].control["val/loss"] == pytest.approx(
        fmean(c["val/loss"] for c in controls if c)
    )
    assert (tmp_path / "trials" / "00000" / "control.pt").exists()


def test_a_replicate_is_trained_on_one_division(tmp_path: Path) -> None:
    one = worker(tmp_path)
    take(one, replicate=2, seed=2)
    answers = run(one)
    assert all(a.fold is None for a in answers)
    assert answers[-1].best is not None
    assert "test/loss" in answers[-1].best


@pytest.mark.parametrize(("loops", "closes"), [(False, True), (False, False), (True, False)])
def test_a_process_that_dies_in_a_fold_or_at_its_end_goes_on_with_the_same_bits(
    tmp_path: Path, loop: str, loops: bool, closes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "PERIOD", 1e6)
    more: dict[str, Any] = {"trainable": loop, "model": {}} if loops else {}
    whole = worker(tmp_path / "whole", **more)
    take(whole)
    expected = run(whole)
    ends = [a.epoch for a in expected if a.fold is not None and a.fold.ends]
    for cut in (ends[0], ends[1], ends[1] + 1):
        folder = tmp_path / f"cut{cut}"
        first = worker(folder, **more)
        take(first)
        assert [first.advance() for _ in range(cut)] == expected[:cut]
        if closes:
            first.close()
        second = worker(folder, **more)
        take(second, recorded=cut)
        again = [cut] if closes or loops else ends  # it goes on from there, or begins anew
        told = [expected[end - 1] for end in again if end in ends and end <= cut]
        assert run(second) == [*told, *expected[cut:]]  # ends of folds are told once more


def test_a_trial_without_its_checkpoint_begins_anew_and_tells_each_fold_again(
    tmp_path: Path,
) -> None:
    whole = worker(tmp_path / "whole")
    take(whole)
    expected = run(whole)
    ends = [a.epoch for a in expected if a.fold is not None and a.fold.ends]
    anew = worker(tmp_path / "anew")
    take(anew, recorded=ends[1] + 1)
    told = [expected[e - 1] for e in ends[:2]]
    assert run(anew) == [*told, *expected[ends[1] + 1 :]]


def test_a_loop_has_a_division_and_a_folder_for_each_fold(tmp_path: Path, loop: str) -> None:
    one = worker(tmp_path, trainable=loop, model={}, data={"name": "breast_cancer", "test": 0})
    take(one)
    run(one)
    files = tmp_path / "trials" / "00000" / "files"
    seen = [int((files / f"fold{n}" / "seen").read_text()) for n in (1, 2, 3)]
    assert sum(569 - count for count in seen) == 569


def test_small_samples_are_divided_once_for_all_trials_of_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    divided: list[int] = []
    divide = DrawnRows.divide_fold

    def note(rows: DrawnRows, fold: int, folds: int) -> Any:
        divided.append(fold)
        return divide(rows, fold, folds)

    monkeypatch.setattr(DrawnRows, "divide_fold", note)
    one = worker(tmp_path)
    answers = []
    for _ in range(2):
        take(one)
        answers.append(run(one))
        (tmp_path / "trials" / "00000" / "last.pt").unlink(missing_ok=True)
    assert answers[0] == answers[1]
    assert divided == [0, 1, 2]
    monkeypatch.setattr(divisions, "_MOST_KEPT", 1)
    other = worker(tmp_path)
    take(other)
    assert run(other) == answers[0]
    take(other)
    assert divided == [0, 1, 2, 0, 1, 2]


def test_a_fold_that_cannot_be_opened_is_the_trials_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = worker(tmp_path)
    take(one)
    divide = DrawnRows.divide_fold

    def no_second(rows: DrawnRows, fold: int, folds: int) -> Any:
        if fold:
            raise MemoryError("40 GiB wanted")
        return divide(rows, fold, folds)

    monkeypatch.setattr(DrawnRows, "divide_fold", no_second)
    while isinstance(answer := one.advance(), EpochReport):
        assert answer.fold is not None
        assert answer.fold.fold == 1
    assert isinstance(answer, TrialFailure)
    assert answer.reason == "out of memory: 40 GiB wanted"
    assert answer.ran_on["device"] == "CPU"


def test_a_linear_model_has_the_mean_of_scikit_learns_cross_validation(tmp_path: Path) -> None:
    """Both minimise the same convex loss without a penalty, on the same folds, scaled alike.

    The tolerance is that of single precision: of a mean of losses near 0.6, 1e-5 is some forty
    times its rounding, while folds of another seed differ by more than 1e-3.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 3)).astype(np.float32)
    y = (x @ [1.0, -0.5, 0.2] + rng.logistic(size=400) > 0).astype(np.int64)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    data = {"name": "npz", "path": tmp_path / "data.npz", "seed": 1}
    training = {
        "max_epochs": 60,
        "batch_size": 400,
        "optimizer": {"name": "sgd", "momentum": 0.5},
        "lr": 2.0,
    }
    one = worker(
        tmp_path,
        data=data,
        model={"hidden": []},
        training=training,
        early_stopping="off",
        space={"dropout": {"float": [0.0, 0.5]}},
        search={"folds": 5},
    )
    one.take(Assignment(0, {"dropout": 0.0}, Role.SEARCH))
    best = run(one)[-1].best
    rows = one._context.rows
    assert best is not None
    assert isinstance(rows, DrawnRows)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=np.inf, tol=1e-10))

    def score(seed: int) -> float:
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        scores = cross_val_score(model, rows.pool.x, rows.pool.y, cv=folds, scoring="neg_log_loss")
        return -float(scores.mean())

    assert best["val/loss"] == pytest.approx(score(1), abs=1e-5)
    assert abs(score(2) - score(1)) > 1e-3
