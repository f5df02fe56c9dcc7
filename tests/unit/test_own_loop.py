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
from tests.trainings import same_state, splits
from trainables.errors import ContractError, DivergedError
from trainables.loops.suspended_loop import TrialEnd
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


def swallow_yield(trial: Trial) -> Iterator[Any]:
    while True:
        with suppress(BaseException):
            yield {"val/loss": 1.0}


def optuna_style(trial: Trial) -> None:
    trial.report(0.5, step=1)  # type: ignore[arg-type]  # the mistake


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
    trial.checkpoint(rule={"f": [len]})
    yield {"val/loss": 1.0}


def say(value: Any) -> Callable[[Trial], Iterator[Any]]:
    def loop(trial: Trial) -> Iterator[Any]:
        yield value

    return loop


def contradict(trial: Trial) -> Iterator[Any]:
    trial.evaluate(network())
    yield {"val/loss": 123.0}


def peek(trial: Trial) -> Iterator[Any]:
    yield {**trial.evaluate(network()), "test/loss": 0.1}


def mistake(trial: Trial) -> Iterator[Any]:
    yield {"val/loss": trial.params["lrr"]}


def attribute(trial: Trial) -> Iterator[Any]:
    yield {"val/loss": trial.params.lr}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of swallow_yield
@pytest.mark.parametrize(
    ("loop", "text"),
    [
        (swallow, "mine:train went on after its end: trial.report raises gapsweep.TrialEnd"),
        (swallow_yield, "mine:train went on after its end: trial.report raises gapsweep.TrialEnd"),
        (optuna_style, "the loop reported float 0.5 in epoch 1; expected: a dict of metrics"),
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
        (peek, "reported 'test/loss': test samples choose nothing"),
        (contradict, "reported val/loss = 123, but trial.evaluate measured"),
        (mistake, "trial.params has no 'lrr'; did you mean 'lr'?; it has lr; one of your own is"),
        (attribute, "trial.params has no attribute 'lr'; read trial.params[\"lr\"]"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(loop: Callable[..., Any], text: str) -> None:
    with pytest.raises(ContractError) as caught:
        list(own_run(loop, lr=0.1).train())
    assert text in str(caught.value)


def test_test_metrics_of_own_samples_are_reported_and_choose_nothing() -> None:
    loop = say({"val/loss": 1.0, "test/loss": 0.1})
    assert next(own_run(loop).train()).metrics == {"val/loss": 1.0, "test/loss": 0.1}
    with pytest.raises(ContractError, match="of test samples, which choose nothing"):
        next(own_run(loop, required={"test/loss": "objective.metric"}).train())


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


def test_parameters_that_are_not_active_have_the_value_at_which_they_do_nothing() -> None:
    seen: dict[str, object] = {}

    def loop(trial: Trial) -> Iterator[Any]:
        names = ("lambda", "penalty", "l1_ratio", "dropout", "augmentation_strength", "mixup")
        seen.update({name: trial.params[name] for name in names})
        seen["all"] = dict(trial.params)
        yield {"val/loss": 1.0}

    next(own_run(loop, dropout=0.3).train())
    assert seen == {
        "lambda": 0.0,
        "penalty": "none",
        "l1_ratio": 0.5,
        "dropout": 0.3,
        "augmentation_strength": 0.0,
        "mixup": 0.0,
        "all": {"dropout": 0.3},
    }


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


def batches(rows: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(rows)
    x = torch.rand(rows, 1, 4, 4, generator=generator)
    return [(x[i : i + 8], (x[i : i + 8].mean((1, 2, 3)) > 0.5).long()) for i in range(0, rows, 8)]


def test_a_loop_may_have_data_of_its_own_and_measure_them() -> None:
    def loop(trial: Trial) -> Iterator[Any]:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        trial.regularise(model, optimizer)
        for x, y in batches(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        yield trial.evaluate(model, train=batches(32), val=batches(16))

    run = own_run(loop, data=None, penalty="l2", **{"lambda": 0.1})
    found = next(run.train()).metrics
    assert {"train/loss", "val/accuracy", "gap/loss"} <= found.keys()
    assert (run.measured, run.uses_data) == (False, False)
    assert run.best_state


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda trial: trial.data, "trial.data: the spec names no `data`"),
        (lambda trial: trial.evaluate(network()), "trial.evaluate: the spec names no `data`"),
        (lambda trial: trial.evaluate(network(), train=3, val=4), "got int 4 for batches"),
        (lambda trial: trial.evaluate("model"), "trial.evaluate takes an nn.Module, got str"),
        (lambda trial: trial.restore(model=network()) or {}["x"], "KeyError: 'x'"),
    ],
)
def test_what_a_loop_without_data_cannot_have(call: Callable[[Trial], Any], text: str) -> None:
    def loop(trial: Trial) -> Iterator[Any]:
        yield call(trial)

    with pytest.raises(ContractError) as caught:
        next(own_run(loop, data=None).train())
    assert text in str(caught.value)


def test_a_function_of_a_batch_measures_odd_networks() -> None:
    def loop(trial: Trial) -> Iterator[Any]:
        model = network()

        def measure(batch: Any) -> dict[str, Any]:
            outputs = model(batch.x)
            return {
                "loss": torch.nn.functional.cross_entropy(outputs, batch.y, reduction="none"),
                "acc": (outputs.argmax(1) == batch.y).float(),
            }

        yield {**trial.evaluate(model, measure), **{}}

    found = next(own_run(loop).train()).metrics
    assert found["gap/acc"] == pytest.approx(found["train/acc"] - found["val/acc"])


def test_an_optimizer_that_a_resumed_trial_cannot_restore_is_named() -> None:
    def save(trial: Trial) -> Iterator[Any]:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        trial.checkpoint(model=model, optimizer=optimizer, scale=3.0)
        yield {"val/loss": 1.0}

    def other(trial: Trial) -> Iterator[Any]:
        trial.restore(optimizer=torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1))
        yield {"val/loss": 1.0}

    def unknown(trial: Trial) -> Iterator[Any]:
        trial.restore(optimiser=torch.optim.SGD(network().parameters(), lr=0.1))
        yield {"val/loss": 1.0}

    first = own_run(save)
    next(first.train())
    state = save_and_load(first.state_dict())
    for loop, text in (
        (other, "load_state_dict of 'optimizer' raised ValueError"),
        (unknown, "the checkpoint has no 'optimiser'; did you mean 'optimizer'?"),
    ):
        second = own_run(loop)
        second.load_state_dict(state)
        with pytest.raises(ContractError) as caught:
            list(second.train())
        assert text in str(caught.value)


@pytest.mark.parametrize("params", [{"ema": 0.8}, {"swa": 0.5}])
def test_averaged_weights_are_evaluated_and_kept(params: dict[str, float]) -> None:
    plain, averaged = own_run(train_epochs), own_run(train_epochs, **params)
    ones, others = list(plain.train()), list(averaged.train())
    assert ones[-1].metrics["val/loss"] != others[-1].metrics["val/loss"]
    assert not same_state(plain.best_state, averaged.best_state)
    assert averaged.list_idle() == ()


def test_an_average_begins_in_the_last_epochs_of_a_loop() -> None:
    six = {"max_epochs": 6}
    plain, averaged = (
        own_run(train_epochs, training=six),
        own_run(train_epochs, training=six, swa=0.5),
    )
    pairs = zip(plain.train(), averaged.train(), strict=True)
    same = [a.metrics["val/loss"] == b.metrics["val/loss"] for a, b in pairs]
    assert same == [True] * 4 + [False] * 2  # the average of one epoch is the epoch's weights


def test_the_samples_of_a_trial_are_its_division_and_of_a_rehearsal_a_few() -> None:
    sizes: list[tuple[int, int]] = []

    def loop(trial: Trial) -> Iterator[Any]:
        data: Any = trial.data
        x, y = data.train[3]
        assert (tuple(x.shape), y.shape, data.info.outputs) == ((1, 4, 4), (), 2)
        loader, _ = data.loaders(16)
        sizes.append((len(data.train), sum(len(y) for _, y in loader)))
        yield trial.evaluate(network())

    next(own_run(loop).train())
    next(own_run(loop, few=True).train())
    assert sizes == [(60, 60), (60, 16)]
    next(own_run(loop, few=True, data=splits(600, 30)).train())
    assert sizes[-1] == (256, 16)


def test_what_a_finally_block_raises_after_the_end_is_only_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def loop(trial: Trial) -> Iterator[Any]:
        try:
            yield {"val/loss": 1.0}
        finally:
            raise OSError("no room")

    run = own_run(loop)
    next(run.train())
    run.close()
    shown = capsys.readouterr().err
    assert shown.startswith("after the end of a trial: mine:train raised OSError: no room (")


def test_norms_of_averaged_weights_have_statistics_of_their_own() -> None:
    def loop(trial: Trial) -> Iterator[Any]:
        norm = torch.nn.BatchNorm1d(16)
        model = torch.nn.Sequential(torch.nn.Flatten(), norm, torch.nn.Linear(16, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        trial.regularise(model, optimizer)
        loader, _ = trial.data.loaders(60)
        for _ in range(trial.max_epochs):
            for x, y in loader:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            yield trial.evaluate(model)

    run = own_run(loop, ema=0.5, training={"batch_size": 60})
    list(run.train())
    x = torch.tensor(splits().train.x).flatten(1)  # type: ignore[union-attr]  # samples in memory
    assert torch.allclose(run.best_state["1.running_mean"], x.mean(0), atol=1e-6)
