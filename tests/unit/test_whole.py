"""All samples but the test's as one training split, and what a refit trains and for how long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, Subset

from service.answer.refit_plan import plan_refit
from service.base.errors import NotReadyError
from service.report.refit_text import write_refit
from service.run.refit import build_merged_run
from service.study.records import Role, Trial, TrialState
from service.sweep.answer import Answer, Arm, Claim, Mean
from service.sweep.refit_record import Refit
from service.sweep.sweep_record import Sweep, SweepState
from tests.specs import parse
from trainables.build import build_run
from trainables.data.datasets import load, open_rows
from trainables.data.lazy import LazySplit
from trainables.data.pooled_samples import keep_raw, merge, take_raw
from trainables.data.splits import Split, Splits
from trainables.errors import DataError
from trainables.loop import train

N = 60


def arrays() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return rng.normal(5, 3, (N, 4)), np.arange(N) % 2


def given() -> Any:
    x, y = arrays()
    frame = pd.DataFrame(x, columns=list("abcd")).assign(e=np.where(np.arange(N) < 40, "p", "q"))
    return {
        "train": (frame[:30], y[:30]),
        "val": (frame[30:45], y[30:45]),
        "test": (frame[45:], y[45:]),
    }


def divided(seed: int = 0) -> Any:
    x, y = (torch.as_tensor(part) for part in arrays())
    order = torch.randperm(45, generator=torch.Generator().manual_seed(seed))
    parts = {"train": order[:30], "val": order[30:], "test": torch.arange(45, N)}
    return {name: (x[rows].float(), y[rows]) for name, rows in parts.items()}


class Plain(Dataset[Any]):
    def __init__(self) -> None:
        self.x, self.y = (torch.as_tensor(part) for part in arrays())

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return self.x[index].float(), self.y[index]


class Shifting(Dataset[Any]):
    """A training view with a random transform, and the plain one for evaluation."""

    def __init__(self) -> None:
        self.evaluation = Plain()

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        x, y = self.evaluation[index]
        return x + torch.rand(()), y


def lazy() -> Any:
    whole = Shifting()
    plain = whole.evaluation
    return {
        "train": Subset(whole, range(30)),
        "val": Subset(plain, range(30, 45)),
        "test": Subset(plain, range(45, N)),
    }


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(Plain())


def stream() -> Any:
    return {name: Endless() for name in ("train", "val", "test")}


def open_merged(data: Any) -> tuple[Splits, Splits, Any]:
    config = parse(data=data, confirm="off").data
    assert config is not None
    rows = open_rows(config)
    splits = rows.divide()
    raw = keep_raw(config, rows)
    return splits, merge(raw), raw


def list_rows(*splits: Any) -> set[bytes]:
    return {row.tobytes() for split in splits for row in split.x}


@pytest.mark.parametrize("data", ["digits", {"name": f"{__name__}:divided"}])
def test_all_samples_but_the_test_ones_are_trained_on(data: Any) -> None:
    before, merged, _ = open_merged(data)
    assert isinstance(merged.train, Split)
    assert isinstance(merged.test, Split)
    assert isinstance(before.test, Split)
    assert list_rows(merged.train) == list_rows(before.train, before.val)
    assert list_rows(merged.val) == list_rows(before.val)
    assert list_rows(merged.test) == list_rows(before.test)
    assert not list_rows(merged.train) & list_rows(merged.test)


def test_what_is_fitted_on_training_samples_is_fitted_on_all_of_them() -> None:
    before, merged, rows = open_merged({"name": f"{__name__}:given", "allow_overlap": True})
    frame = given()["train"][0], given()["val"][0]
    whole = pd.concat(frame)
    for place, column in enumerate(merged.preprocessing.columns[:4]):
        assert column.mean == pytest.approx(whole.iloc[:, place].mean())
        assert column.mean != pytest.approx(before.preprocessing.columns[place].mean)
    assert before.preprocessing.columns[4].categories == ("p",)
    assert merged.preprocessing.columns[4].categories == ("p", "q")
    for count in (5, 40):  # there are 30 training samples
        raw = take_raw(rows, count, merged=True)
        pd.testing.assert_frame_equal(raw.reset_index(drop=True), whole[:count])


def test_validation_samples_are_trained_on_with_the_transforms_of_the_training() -> None:
    _, merged, _ = open_merged({"name": f"{__name__}:lazy", "allow_overlap": True})
    assert isinstance(merged.train, LazySplit)
    assert len(merged.train) == 45
    plain = Plain()
    assert not torch.equal(merged.train.dataset[40][0], plain[40][0])
    assert merged.train.view is not None
    assert torch.equal(merged.train.view[40][0], plain[40][0])
    assert merged.notes == ()


def test_a_stream_is_refused_with_a_sentence() -> None:
    with pytest.raises(DataError, match="validation samples cannot be mixed into it"):
        open_merged({"name": f"{__name__}:stream", "allow_overlap": True})


@pytest.mark.parametrize(("share", "first"), [(0.5, 4), (0.25, 5)])
def test_a_shorter_training_has_the_rates_of_the_long_one_and_averages_its_own_end(
    share: float, first: int
) -> None:
    spec = parse(data="digits", training={"max_epochs": 12, "batch_size": 512}, confirm="off")
    splits = load(spec.data)  # type: ignore[arg-type]  # it has data
    long, short, averaged = (
        build_run(spec, params, splits, baseline=False, device="cpu")
        for params in ({}, {}, {"swa": share})
    )
    short.end_after(6)
    averaged.end_after(6)
    rates = [result.metrics["lr"] for result in train(long)]
    results = list(train(short))
    assert [r.metrics["lr"] for r in results] == rates[:6]
    assert [r.done for r in results] == [False] * 5 + [True]
    seen = [averaged.evaluated is not averaged.model for _ in train(averaged)]
    assert seen.index(True) + 1 == first
    assert len(seen) == 6


SPEC = parse(
    space={"dropout": {"float": [0.0, 0.5]}}, early_stopping={"patience": 2}, confirm={"top_k": 1}
)
EPOCHS = (4, 9, 6)


def trial(number: int, role: Role, epoch: int, **more: Any) -> Trial:
    fields: dict[str, Any] = {
        "number": number,
        "state": TrialState.COMPLETE,
        "role": role,
        "params": {"dropout": 0.2},
        "value": 0.5,
        "best": {"epoch": float(epoch), "val/loss": 0.5},
    }
    return Trial(**{**fields, **more})


def sweep_of(claim: Claim | None) -> Sweep:
    searched = [trial(0, Role.BASELINE, 20, params={"dropout": 0.0}), trial(1, Role.SEARCH, 7)]
    picked = [
        trial(2 + r, Role.REPLICATE, epoch, confirms=1, replicate=1 + r)
        for r, epoch in enumerate(EPOCHS)
    ]
    controls = [
        trial(
            5 + r,
            Role.REPLICATE,
            20,
            confirms=0,
            replicate=1 + r,
            params={"dropout": 0.0},
            control={"epoch": float(epoch + 1)},
        )
        for r, epoch in enumerate(EPOCHS)
    ]
    arms = [
        Arm(name=name, trial=number, replicates=3, failed=0, metrics={})
        for name, number in (("baseline", 0), ("control", 0), ("pick", 1))
    ]
    answer = claim and Answer(
        claim=claim, metric="test/loss", mode="min", pick=1, control=0, arms=tuple(arms)
    )
    return Sweep.of(
        SPEC,
        sweep_id="x-1",
        state=SweepState.SUCCEEDED,
        seconds=1.0,
        trials=(*searched, *picked, *controls),
        answer=answer,
    )


def test_the_pick_is_refitted_for_the_median_of_its_replicates_epochs() -> None:
    plan = plan_refit(SPEC, sweep_of(Claim.HELPS))
    assert (plan.trial, plan.epochs, plan.kept_epochs) == (1, 6, EPOCHS)
    assert (plan.baseline, plan.without) == (False, ("early_stopping",))
    assert "which helps" in plan.what


def test_no_regularisation_is_refitted_where_that_is_the_answer() -> None:
    plan = plan_refit(SPEC, sweep_of(Claim.NOT_SHOWN))
    assert (plan.trial, plan.baseline, plan.epochs) == (0, True, 7)
    assert plan.params == {"dropout": 0.0}
    assert plan.what.startswith("No regularisation")


@pytest.mark.parametrize("claim", [Claim.UNCONFIRMED, None])
def test_without_a_confirmed_answer_the_best_trial_is_refitted_and_that_is_said(
    claim: Claim | None,
) -> None:
    plan = plan_refit(SPEC, sweep_of(claim))
    assert (plan.trial, plan.epochs, plan.replicates) == (1, 7, False)
    assert "It is not confirmed" in plan.what


def test_the_best_training_without_regulariser_is_refitted_where_no_other_has_completed() -> None:
    baseline = trial(0, Role.BASELINE, 20, params={"dropout": 0.0}, value=0.9)
    tuned = trial(1, Role.CONTROL, 9, params={"dropout": 0.0}, value=0.2)
    plan = plan_refit(SPEC, replace(sweep_of(None), trials=(baseline, tuned)))
    assert (plan.trial, plan.baseline, plan.epochs) == (1, True, 9)


def test_a_sweep_without_a_completed_trial_has_nothing_to_refit() -> None:
    empty = replace(sweep_of(None), trials=())
    with pytest.raises(NotReadyError, match="no completed trial"):
        plan_refit(SPEC, empty)


def test_an_average_that_no_replicate_has_kept_is_left_out() -> None:
    swept = sweep_of(Claim.HELPS)
    trials = tuple(replace(t, not_acting=("averaging",)) for t in swept.trials)
    plan = plan_refit(SPEC, replace(swept, trials=trials))
    assert plan.without == ("early_stopping", "averaging")


def refit_of(**more: Any) -> Refit:
    fields: dict[str, Any] = {
        "files": "1-a",
        "what": "The pick, trial 1, which helps.",
        "confirmed": True,
        "trial": 1,
        "trials": 8,
        "without": ("early_stopping",),
        "baseline": False,
        "params": {"dropout": 0.2},
        "configuration": "no penalty, dropout = 0.2",
        "epochs": 6,
        "kept_epochs": EPOCHS,
        "seed": 0,
        "rows": 160,
        "replicate_rows": 120,
        "test_rows": 40,
        "data": {},
        "metrics": {},
        "test": {"test/accuracy": 0.9, "test/loss": 0.4},
        "estimate": {"test/loss": Mean(mean=0.5, half=0.1)},
        "replicates": 3,
        "seconds": 1.0,
        "created": 0.0,
    }
    return Refit(**{**fields, **more})


def test_the_score_stands_beside_the_estimate_and_a_refit_of_an_earlier_answer_says_so() -> None:
    text = " ".join(write_refit(refit_of(), 8))
    assert "6 epochs (the median of 3 replicates; they kept 4 to 9) on 160 samples" in text
    assert "40 test samples: test/loss 0.4000, test/accuracy 0.9000." in text
    assert "test/loss 0.5000 ± 0.1 (mean of 3 replicates on 120 samples each)" in text
    assert "more trials since" not in text
    assert "2 more trials since" in " ".join(write_refit(refit_of(), 10))
    alone = " ".join(write_refit(refit_of(estimate={}, replicates=0, kept_epochs=(6,))))
    assert "no confirmed estimate" in alone


def test_one_process_trains_the_batch_and_the_rate_of_several_workers() -> None:
    training = {"batch_size": 32, "lr": 0.01, "scale_lr": "linear", "max_epochs": 3}
    spec = parse(data="digits", training=training, resources={"workers": 4}, confirm="off")
    assert spec.data is not None
    merged = merge(open_rows(spec.data))
    run = build_merged_run(spec, {"lr": 0.02}, merged, baseline=False, without=(), device="cpu")
    assert (run.training.batch_size, run.training.lr) == (128, pytest.approx(0.08))
