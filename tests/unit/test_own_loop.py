"""A training loop of the user's own: its epochs, its end, and how it is resumed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch

from tests.loops import network, own_run, save_and_load, train_epochs, train_reporting
from tests.trainings import same_state
from trainables.errors import ContractError, DivergedError
from trainables.loops.handover import TrialEnd
from trainables.loops.trial import Trial

FORMS = [train_epochs, train_reporting]


@pytest.mark.parametrize("loop", FORMS)
def test_each_report_is_an_epoch_until_max_epochs(loop: Callable[..., Any]) -> None:
    results = list(own_run(loop).train())
    assert [(r.epoch, r.done) for r in results] == [(1, False), (2, False), (3, False), (4, True)]
    assert results[0].metrics["gap/loss"] == pytest.approx(
        results[0].metrics["val/loss"] - results[0].metrics["train/loss"]
    )


def test_both_forms_give_the_same_training() -> None:
    one, other = (list(own_run(loop, penalty="l2", **{"lambda": 0.1}).train()) for loop in FORMS)
    assert [r.metrics for r in one] == [r.metrics for r in other]


def test_a_loop_is_reproducible_and_leaves_no_trace() -> None:
    def settings() -> list[Any]:
        return [
            torch.rand(3).tolist(),
            np.random.rand(),
            random.random(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.backends.cudnn.benchmark,
        ]

    def loop(trial: Trial) -> Iterator[Any]:
        torch.backends.cudnn.benchmark = True
        torch.set_default_dtype(torch.float64)
        with torch.no_grad():
            for _ in range(3):
                yield {"val/loss": float(torch.rand(())) + np.random.rand() + random.random()}

    def seed() -> None:
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)

    seed()
    undisturbed = [settings(), settings()]
    seed()
    run = own_run(loop)
    results = run.train()
    first = next(results)
    disturbed = [settings()]
    second = [first, *results]
    disturbed.append(settings())
    assert disturbed == undisturbed
    assert [r.metrics for r in own_run(loop).train()] == [r.metrics for r in second]


@pytest.mark.parametrize("loop", FORMS)
@pytest.mark.parametrize("params", [{}, {"dropout": 0.3}, {"penalty": "l1", "lambda": 0.01}])
def test_a_resumed_loop_continues_as_if_it_had_not_stopped(
    loop: Callable[..., Any], params: dict[str, Any]
) -> None:
    whole, first, second = (own_run(loop, **params) for _ in range(3))
    expected = [dict(r.metrics) for r in whole.train()]
    steps = first.train()
    found = [dict(next(steps).metrics) for _ in range(2)]
    state = save_and_load(first.state_dict())
    first.close()
    second.load_state_dict(state)
    found += [dict(r.metrics) for r in second.train()]
    assert found == expected
    assert same_state(whole.best_state, second.best_state)


def test_a_loop_that_restores_nothing_begins_anew() -> None:
    def loop(trial: Trial) -> Iterator[Any]:
        for epoch in range(3):
            yield {"val/loss": 1.0 / (epoch + 1)}

    first, second = own_run(loop), own_run(loop)
    next(first.train())
    second.load_state_dict(save_and_load(first.state_dict()))
    assert [r.epoch for r in second.train()] == [1, 2, 3, 3]


def test_a_loop_that_returns_early_is_done_with_its_last_epoch() -> None:
    def loop(trial: Trial) -> None:
        trial.report({"val/loss": 2.0})
        trial.report({"val/loss": 1.0})

    results = list(own_run(loop).train())
    assert [(r.epoch, r.done) for r in results] == [(1, False), (2, False), (2, True)]


def test_early_stopping_ends_the_loop_and_keeps_the_best_weights() -> None:
    ended: list[str] = []

    def loop(trial: Trial) -> None:
        model = network()
        try:
            for epoch in count():
                with torch.no_grad():
                    for p in model.parameters():
                        p.fill_(epoch)
                trial.evaluate(model)
                trial.report({"val/score": float(abs(epoch - 1))})
        finally:
            ended.append("finally")

    run = own_run(loop, None, {"val/score": "objective.metric"}, {"max_epochs": 10})
    from trainables.config.stopping import Patience

    run.keeping.config = Patience(metric="val/score", patience=2)
    run.keeping.forget()
    results = list(run.train())
    assert (results[-1].epoch, results[-1].done) == (4, True)
    assert ended == ["finally"]
    assert all(bool((v == 1).all()) for v in run.best_state.values())
    assert all(bool((p == 1).all()) for p in run.model.parameters())


def test_closing_a_suspended_loop_runs_its_finally_blocks() -> None:
    seen: list[type[BaseException]] = []

    def loop(trial: Trial) -> None:
        try:
            trial.report({"val/loss": 1.0})
        except BaseException as end:
            seen.append(type(end))
            raise

    run = own_run(loop)
    next(run.train())
    run.close()
    assert seen == [TrialEnd]


def swallow(trial: Trial) -> None:
    while True:
        with suppress(BaseException):
            trial.report({"val/loss": 1.0})


def nothing(trial: Trial) -> float:
    return 0.5


def elsewhere(trial: Trial) -> None:
    thread = threading.Thread(target=lambda: _try(trial), name="reader")
    thread.start()
    thread.join()


def _try(trial: Trial) -> None:
    with pytest.raises(ContractError):
        trial.report({"val/loss": 1.0})


def suggest(trial: Trial) -> None:
    trial.suggest_float("lr", 1e-5, 1e-1)


def save_function(trial: Trial) -> Iterator[Any]:
    trial.checkpoint(rule={"f": [print]})
    yield {"val/loss": 1.0}


def say(value: Any) -> Callable[[Trial], Iterator[Any]]:
    def loop(trial: Trial) -> Iterator[Any]:
        yield value

    return loop


def contradict(trial: Trial) -> Iterator[Any]:
    trial.evaluate(network())
    yield {"val/loss": 123.0}


def mistake(trial: Trial) -> Iterator[Any]:
    yield {"val/loss": trial.params["lrr"]}


@pytest.mark.parametrize(
    ("loop", "text"),
    [
        (swallow, "mine:train went on after its end: trial.report raises gapsweep.TrialEnd"),
        (nothing, "mine:train ended without an epoch: yield its metrics"),
        (elsewhere, "trial.report was called by the thread 'reader'"),
        (suggest, "declared under `space` in the spec"),
        (save_function, "trial.checkpoint: rule['f'][0] is builtin_function_or_method"),
        (say(0.5), "the loop reported float 0.5 in epoch 1; expected: a dict of metrics"),
        (say({"val_loss": 0.5}), "did you mean 'val/loss'"),
        (say({"lr": 0.5}), "objective.metric is 'val/loss', but the loop reported lr in epoch 1"),
        (say({"val/loss": "low"}), "the reported 'val/loss' is str 'low'; expected: one number"),
        (say({"val/loss": True}), "val/loss is bool True; expected: one number"),
        (say({"val/loss": torch.ones(3)}), "is a tensor of float32 (3,); expected: one number"),
        (say({3: 0.5}), "a metric named 3"),
        (say({"val/loss": 1.0, "gap/loss": 0.1}), "computed by trial.evaluate only"),
        (say({"val/loss": 1.0, "test/loss": 0.1}), "test samples choose nothing"),
        (contradict, "reported val/loss = 123, but trial.evaluate measured"),
        (mistake, "trial.params has no 'lrr'; did you mean 'lr'?"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(loop: Callable[..., Any], text: str) -> None:
    with pytest.raises(ContractError) as caught:
        list(own_run(loop, lr=0.1).train())
    assert text in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_objective_that_is_not_finite_ends_the_trial(value: float) -> None:
    with pytest.raises(DivergedError, match=r"val/loss is (nan|inf) in epoch 1"):
        next(own_run(say({"val/loss": value})).train())


def test_an_error_of_the_loop_names_its_line() -> None:
    def loop(trial: Trial) -> Iterator[Any]:
        yield {"val/loss": 1 / 0}

    with pytest.raises(
        ContractError, match=r"ZeroDivisionError: .* \(test_own_loop.py, line \d+\)"
    ):
        next(own_run(loop).train())


def test_train_metrics_of_the_loop_are_logged_as_reported() -> None:
    found = next(own_run(say({"val/loss": 1.0, "train/loss": 0.5})).train()).metrics
    assert found == {"val/loss": 1.0, "train_reported/loss": 0.5}


def test_parts_that_the_loop_never_applies_are_idle() -> None:
    def ignoring(trial: Trial) -> Iterator[Any]:
        yield {"val/loss": 1.0}

    def reading(trial: Trial) -> Iterator[Any]:
        yield {"val/loss": trial.params["dropout"]}

    idle = {}
    for loop in (ignoring, reading, train_epochs):
        run = own_run(loop, dropout=0.3, penalty="l2", **{"lambda": 0.1})
        list(run.train())
        idle[loop] = run.list_idle()
    assert idle == {ignoring: ("penalty", "dropout"), reading: ("penalty",), train_epochs: ()}


def test_the_control_is_what_early_stopping_would_have_kept() -> None:
    def loop(trial: Trial) -> Iterator[Any]:
        for epoch in range(4):
            yield {"val/loss": float(abs(epoch - 1))}

    run = own_run(loop, patience=1, runs_to_end=True)
    assert [r.epoch for r in run.train()] == [1, 2, 3, 4]
    assert run.best_metrics()["epoch"] == 4
    control = run.control_metrics()
    assert control is not None
    assert control["epoch"] == 2


def test_an_interrupt_reaches_the_loop_and_its_caller() -> None:
    seen = []

    def loop(trial: Trial) -> Iterator[Any]:
        try:
            yield {"val/loss": 1.0}
            raise KeyboardInterrupt
        finally:
            seen.append("finally")

    results = own_run(loop).train()
    next(results)
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert seen == ["finally"]
