"""Learning rates: each group's own, by the spec's schedule or by schedulers of the user's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as torchs

from tests.rates import STEPS, Net, Still, begin, finish, note_rates
from tests.trainings import give_state, hand_over, run, same_state
from trainables.config.training import Training
from trainables.errors import ContractError
from trainables.loop import train
from trainables.schedulers import read_returned

EPOCHS = 6
LR = 0.1
Make = Callable[[torch.optim.Optimizer, int], Any]


def step_by_hand(
    make: Callable[[torch.optim.Optimizer], Any], often: int, lr: float = LR
) -> list[float]:
    """The rates of a scheduler of torch in every step, stepped by hand every ``often`` steps."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=lr)
    scheduler, rates = make(optimizer), []
    for number in range(1, EPOCHS * STEPS + 1):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if number % often == 0:
            scheduler.step()
    return rates


def test_each_group_keeps_its_rate_and_the_schedule_scales_it_step_by_step() -> None:
    found = note_rates(schedule="cosine")
    expected = [0.5 * (1 + math.cos(math.pi * (n // STEPS) / EPOCHS)) for n in range(24)]
    assert [slow for slow, _ in found] == pytest.approx([0.001 * f for f in expected])
    assert [fast for _, fast in found] == pytest.approx([0.1 * f for f in expected])


@pytest.mark.parametrize(
    ("schedule", "make", "often"),
    [
        ("cosine", lambda o: torchs.CosineAnnealingLR(o, EPOCHS), STEPS),
        (
            {"name": "cosine", "interval": "step", "end_factor": 0.1},
            lambda o: torchs.CosineAnnealingLR(o, EPOCHS * STEPS, eta_min=0.1 * LR),
            1,
        ),
        ("linear", lambda o: torchs.LinearLR(o, 1.0, 0.0, EPOCHS), STEPS),
        (
            {"name": "step", "step_size": 2, "gamma": 0.5},
            lambda o: torchs.StepLR(o, 2, 0.5),
            STEPS,
        ),
        ("step", lambda o: torchs.StepLR(o, 2, 0.1), STEPS),
        (
            {"name": "step", "milestones": [1, 4]},
            lambda o: torchs.MultiStepLR(o, [1, 4]),
            STEPS,
        ),
        (
            {"name": "exponential", "gamma": 0.8},
            lambda o: torchs.ExponentialLR(o, 0.8),
            STEPS,
        ),
        ("one_cycle", lambda o: torchs.OneCycleLR(o, LR, EPOCHS * STEPS), 1),
        (
            {"name": "one_cycle", "anneal": "linear", "pct_start": 0.5, "div_factor": 10.0},
            lambda o: torchs.OneCycleLR(
                o, LR, EPOCHS * STEPS, pct_start=0.5, div_factor=10, anneal_strategy="linear"
            ),
            1,
        ),
        ("constant", lambda o: torchs.ConstantLR(o, 1.0), STEPS),
    ],
)
def test_a_schedule_is_that_of_torch(
    schedule: Any, make: Callable[[torch.optim.Optimizer], Any], often: int
) -> None:
    found = note_rates(schedule=schedule)
    assert [fast for _, fast in found] == pytest.approx(step_by_hand(make, often), abs=1e-12)


def test_a_plateau_is_that_of_torch_on_the_same_metrics() -> None:
    schedule = {"name": "plateau", "patience": 0, "factor": 0.5, "threshold": 0.05}
    run = begin(Net(), {"schedule": schedule, "max_epochs": 12})
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=LR)
    theirs = torchs.ReduceLROnPlateau(optimizer, patience=0, factor=0.5, threshold=0.05)
    fell = 0
    for result in train(run):
        assert result.metrics["lr"] == pytest.approx(optimizer.param_groups[0]["lr"])
        assert result.metrics["lr/0"] == pytest.approx(0.01 * result.metrics["lr/1"])
        fell += result.metrics["lr"] < LR
        theirs.step(result.metrics["val/loss"])
    assert 0 < fell < 12


def test_a_plateau_on_a_metric_of_which_more_is_better_waits_for_it_to_rise() -> None:
    plateau = {"name": "plateau", "metric": "val/accuracy", "patience": 2}
    run = begin(Net(), {"schedule": plateau})
    for accuracy in (0.1, 0.2, 0.3, 0.4, 0.5):
        run.rates.after_epoch({"val/accuracy": accuracy})
    run.rates.begin(6, 20)
    assert float(run.rates.lr) == pytest.approx(LR)


@pytest.mark.parametrize("warmup", [{"warmup_epochs": 2}, {"warmup_steps": 8}])
@pytest.mark.parametrize("schedule", ["cosine", {"name": "cosine", "interval": "step"}])
def test_a_warm_up_rises_step_by_step_and_the_schedule_has_the_rest(
    warmup: dict[str, int], schedule: Any
) -> None:
    found = [fast for _, fast in note_rates(schedule=schedule, **warmup)]
    rest = 4 if schedule == "cosine" else 16
    positions = [n // STEPS if schedule == "cosine" else n for n in range(16)]
    falling = [0.5 * LR * (1 + math.cos(math.pi * p / rest)) for p in positions]
    assert found == pytest.approx([LR * (n + 1) / 8 for n in range(8)] + falling)


def one_cycle(optimizer: torch.optim.Optimizer, steps: int) -> torchs.OneCycleLR:
    return torchs.OneCycleLR(optimizer, [0.001, 0.1], total_steps=EPOCHS * steps)


def exponential(optimizer: torch.optim.Optimizer) -> torchs.ExponentialLR:
    return torchs.ExponentialLR(optimizer, 0.7)


def decay_by_epoch() -> list[float]:
    return step_by_hand(exponential, STEPS)


def decay_by_step() -> list[float]:
    return step_by_hand(exponential, 1)


def cycle_by_step() -> list[float]:
    return step_by_hand(lambda o: torchs.OneCycleLR(o, 0.1, EPOCHS * STEPS), 1)


def stay() -> list[float]:
    return [LR] * (EPOCHS * STEPS)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda o, _: (o, exponential(o)), decay_by_epoch),
        (lambda o, _: ([o], [exponential(o)]), decay_by_epoch),
        (lambda o, _: (o, [exponential(o)]), decay_by_epoch),
        (lambda o, _: {"optimizer": o, "scheduler": exponential(o)}, decay_by_epoch),
        (lambda o, _: {"optimizer": o, "lr_scheduler": exponential(o)}, decay_by_epoch),
        (lambda o, _: [{"optimizer": o, "lr_scheduler": exponential(o)}], decay_by_epoch),
        (lambda o, _: (o, None), stay),
        (lambda o, _: {"optimizer": o}, stay),
        (lambda o, _: (o, {"scheduler": exponential(o), "interval": "step"}), decay_by_step),
        (
            lambda o, _: {"optimizer": o, "scheduler": exponential(o), "interval": "step"},
            decay_by_step,
        ),
        (
            lambda o, _: {
                "optimizer": o,
                "lr_scheduler": {"scheduler": exponential(o), "interval": "step", "name": "lr"},
            },
            decay_by_step,
        ),
        (
            lambda o, _: (
                o,
                {"scheduler": exponential(o), "interval": "step", "frequency": STEPS},
            ),
            decay_by_epoch,
        ),
        (lambda o, s: (o, one_cycle(o, s)), cycle_by_step),
    ],
)
def test_schedulers_come_in_the_forms_of_torch_and_lightning(
    make: Make, expected: Callable[[], list[float]]
) -> None:
    found = note_rates(make, schedule="constant")
    assert [fast for _, fast in found] == pytest.approx(expected())
    assert [slow for slow, _ in found] == pytest.approx([0.01 * fast for _, fast in found])


def test_a_scheduler_on_a_metric_gets_it_after_every_epoch() -> None:
    seen: list[float] = []

    class Watching(torchs.ReduceLROnPlateau):
        def step(self, metrics: Any, epoch: Any = None) -> None:
            seen.append(metrics)
            super().step(metrics)

    def make(optimizer: torch.optim.Optimizer, _: int) -> Any:
        scheduler = Watching(optimizer, mode="max", patience=0, factor=0.5)
        return {"optimizer": optimizer, "scheduler": scheduler, "monitor": "val/accuracy"}

    results = finish(begin(Net(make)))
    assert seen == [r.metrics["val/accuracy"] for r in results]
    assert results[-1].metrics["lr"] < LR


def test_the_specs_schedule_leaves_a_users_schedulers_alone() -> None:
    made = [note_rates(lambda o, _: (o, exponential(o)), schedule=s) for s in ("cosine", "step")]
    assert made[0] == made[1]


class Wrapping(Net):
    """Steps a scheduler from a wrapped ``optimizer.step``, and clips there."""

    def optimizer(self, parameters: Any, training: Any) -> Any:
        made = super().optimizer(parameters, training)
        self.schedule = one_cycle(made, STEPS)
        inner = made.step

        def step(*arguments: Any, **options: Any) -> Any:
            found = inner(*arguments, **options)
            self.schedule.step()
            return found

        made.step = step
        return made


@pytest.mark.filterwarnings("ignore:.*overridden after learning rate scheduler")
def test_a_scheduler_that_the_users_code_steps_is_not_undone_and_is_resumed() -> None:
    whole = Wrapping()
    expected = finish(begin(whole))
    by_hand = step_by_hand(lambda o: torchs.OneCycleLR(o, 0.1, EPOCHS * STEPS), 1)
    assert [fast for _, fast in whole.rates] == pytest.approx(by_hand)
    first, second = Wrapping(), Wrapping()
    resumed = begin(second)
    hand_over(begin(first), resumed, 3)
    assert list(train(resumed)) == expected[3:]
    assert second.rates == whole.rates[3 * STEPS :]


class Inside(Still):
    """Sets the rates within a wrapped ``optimizer.step``, before the step itself."""

    def optimizer(self, parameters: Any, training: Any) -> Any:
        made = super().optimizer(parameters, training)
        inner = made.step

        def step(*arguments: Any, **options: Any) -> Any:
            for group in made.param_groups:
                group["lr"] *= 0.9
            return inner(*arguments, **options)

        made.step = step
        return made


def test_a_threshold_has_the_rate_of_the_step_itself() -> None:
    trainable = Inside()
    run = begin(trainable, penalty="l1", **{"lambda": 0.01})
    before = [w.weight.detach().clone() for w in run.penalised]
    finish(run)
    for group, (start, w) in enumerate(zip(before, run.penalised, strict=True)):
        by = 0.01 * sum(rates[group] for rates in trainable.rates)
        assert trainable.rates[0] == pytest.approx((0.0009, 0.09))
        expected = start.sign() * (start.abs() - by).clamp(min=0)
        assert torch.allclose(w.weight, expected, atol=1e-6)


class Setting(Net):
    """Sets a rate in its training step, without any scheduler."""

    def optimizer(self, parameters: Any, training: Any) -> Any:
        self.made = super().optimizer(parameters, training)
        return self.made

    def step(self, model: nn.Module, batch: Any) -> Any:
        self.made.param_groups[1]["lr"] *= 0.9
        return super().step(model, batch)


def test_rates_that_the_users_code_sets_are_left_to_it() -> None:
    trainable = Setting()
    run = begin(trainable)
    finish(run)
    assert [fast for _, fast in trainable.rates] == pytest.approx(
        [LR * 0.9 ** (n + 1) for n in range(24)]
    )
    assert "set by your own code" in run.rates.describe()


class Bare:
    """Neither a scheduler nor an optimizer."""


def other() -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _, __: None, "returned None; expected: an optimizer, (optimizer, scheduler)"),
        (lambda o, _: [o, o], "returned 2 optimizers, and a training has one"),
        (lambda o, _: ([o, o], []), "returned 2 optimizers, and a training has one"),
        (lambda o, _: (o, Bare()), "as a scheduler, which has no step and no state_dict"),
        (lambda o, _: (o, lambda: 1.0), "a resumed trial could not restore it"),
        (
            lambda _, __: {"optimiser": other()},
            "the key 'optimiser' is not one of optimizer, scheduler",
        ),
        (
            lambda o, _: (o, {"scheduler": exponential(o), "interval": "batch"}),
            "interval 'batch' is not one of step, epoch",
        ),
        (
            lambda o, _: (o, {"scheduler": exponential(o), "every": 2}),
            "the key 'every' is not one of scheduler, interval, monitor, frequency",
        ),
        (lambda o, _: (o, {"scheduler": exponential(o), "frequency": 0}), "frequency is 0"),
        (lambda o, _: (o, exponential(other())), "a ExponentialLR of another optimizer"),
        (
            lambda o, _: (
                o,
                {"scheduler": torchs.ReduceLROnPlateau(o), "interval": "step"},
            ),
            "monitors val/loss, which is measured after every epoch",
        ),
        (
            lambda o, _: {
                "optimizer": o,
                "schedulers": [exponential(o), exponential(o)],
                "interval": "step",
            },
            "returned interval beside 2 schedulers",
        ),
        (
            lambda o, s: one_cycle(o, s) and o,
            "makes a scheduler that it neither returns nor keeps",
        ),
    ],
)
def test_what_optimizer_may_not_return(make: Make, words: str) -> None:
    with pytest.raises(ContractError) as caught:
        begin(Net(make))
    assert words in str(caught.value)
    assert caught.value.where == "trainable"


def test_a_scheduler_with_fewer_steps_than_the_training_is_refused_before_it() -> None:
    run = begin(Net(lambda o, _: (o, torchs.OneCycleLR(o, 0.1, total_steps=10))))
    with pytest.raises(ContractError, match=r"OneCycleLR of Net\.optimizer .*Tried to step 11"):
        run.rates.simulate()


def test_a_simulation_leaves_no_trace() -> None:
    plain, simulated = (Net(lambda o, s: (o, one_cycle(o, s))) for _ in range(2))
    other = begin(simulated)
    found = other.rates.simulate()
    assert finish(begin(plain)) == finish(other)
    assert [tuple(rates) for rates in found] == plain.rates


@pytest.mark.parametrize("make", [None, lambda o, s: (o, one_cycle(o, s))])
def test_rates_that_are_held_are_the_highest_with_their_mean_shares(make: Make | None) -> None:
    trainable, held = Net(make), Net(make)
    finish(begin(trainable, {"warmup_steps": 0 if make else 5, "schedule": "linear"}))
    run = begin(held, {"warmup_steps": 0 if make else 5, "schedule": "linear"})
    shares = run.rates.hold()
    list(train(run))
    assert held.rates == [held.rates[0]] * 24
    for group in (0, 1):
        peak = held.rates[0][group]
        assert peak == pytest.approx((0.001, 0.1)[group], rel=0.01)
        assert STEPS * sum(shares) * peak == pytest.approx(sum(r[group] for r in trainable.rates))


def test_a_metric_that_is_not_logged_is_named() -> None:
    plateau = {"name": "plateau", "metric": "val/f1"}
    for made in (
        begin(Net(), {"schedule": plateau}),
        begin(
            Net(
                lambda o, _: {
                    "optimizer": o,
                    "scheduler": torchs.ReduceLROnPlateau(o),
                    "monitor": "val/f1",
                }
            )
        ),
    ):
        with pytest.raises(ContractError, match=r"monitors 'val/f1'; logged: val/loss"):
            next(train(made))


def test_swa_and_a_users_schedulers_exclude_each_other() -> None:
    with pytest.raises(ContractError, match=r"ExponentialLR of Net\.optimizer sets too") as caught:
        begin(Net(lambda o, _: (o, exponential(o))), swa=0.5)
    assert caught.value.where == "swa"


def test_swa_scales_each_group() -> None:
    trainable = Net()
    finish(begin(trainable, {"swa_lr_share": 0.5}, swa=0.34))
    assert trainable.rates[-1] == pytest.approx((0.0005, 0.05))


RESUMED: list[dict[str, Any]] = [
    {"schedule": "cosine", "warmup_steps": 6},
    {"schedule": {"name": "linear", "interval": "step"}},
    {"schedule": "step", "warmup_epochs": 1},
    {"schedule": "exponential", "accumulate": 3},
    {"schedule": "one_cycle", "optimizer": "rmsprop"},
    {"schedule": {"name": "plateau", "patience": 0, "threshold": 0.2}, "optimizer": "nadam"},
    {"schedule": "constant", "precision": "fp16", "accumulate": 2},
    {"schedule": "cosine", "sampling": "balanced", "drop_last": True},
]


@pytest.mark.parametrize("training", RESUMED, ids=repr)
def test_a_training_is_resumed_bit_for_bit_after_any_epoch(training: dict[str, Any]) -> None:
    options: dict[str, Any] = {"dropout": 0.3, "penalty": "l1", "lambda": 0.01}
    settings = {"lr": 0.01, **training}
    whole = run(None, settings, **options)
    expected = list(train(whole))
    first = run(None, settings, **options)
    for after, _ in zip(range(1, EPOCHS), train(first), strict=False):
        second = run(None, settings, **options)
        give_state(first, second)
        assert list(train(second)) == expected[after:]
        assert same_state(dict(whole.model.state_dict()), dict(second.model.state_dict()))
        assert whole.best_metrics() == second.best_metrics()


OWN: list[Make] = [
    lambda o, s: (o, one_cycle(o, s)),
    lambda o, _: (o, torchs.ReduceLROnPlateau(o, patience=0, threshold=0.2)),
    lambda o, _: (o, torchs.CosineAnnealingWarmRestarts(o, 2)),
    lambda o, _: (o, torchs.MultiStepLR(o, [1, 3])),
    lambda o, _: (o, torchs.LambdaLR(o, lambda epoch: 1 / (1 + epoch))),
    lambda o, s: (
        o,
        {
            "scheduler": torchs.SequentialLR(
                o, [torchs.LinearLR(o, 0.1, 1.0, s), torchs.CosineAnnealingLR(o, 5 * s)], [s]
            ),
            "interval": "step",
        },
    ),
    lambda o, _: (o, torchs.CyclicLR(o, 0.01, 0.1, 3)),
    lambda o, _: (
        o,
        {"scheduler": torchs.ExponentialLR(o, 0.5), "interval": "epoch", "frequency": 2},
    ),
]


@pytest.mark.parametrize("make", OWN)
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_a_users_scheduler_is_resumed_bit_for_bit_after_any_epoch(make: Make) -> None:
    whole = Net(make)
    expected = finish(begin(whole))
    first = begin(Net(make))
    for after, _ in zip(range(1, EPOCHS), train(first), strict=False):
        other = Net(make)
        resumed = begin(other)
        give_state(first, resumed)
        assert list(train(resumed)) == expected[after:]
        assert other.rates == whole.rates[after * STEPS :]


class Cycled(Net):
    """A scheduler that changes the momentum, too."""

    def __init__(self, kind: Callable[..., torch.optim.Optimizer]) -> None:
        super().__init__()
        self._kind = kind

    def optimizer(self, parameters: Iterable[nn.Parameter], training: Training) -> Any:
        assert self.steps_per_epoch is not None
        made = self._kind(parameters, 0.01)
        steps = self.steps_per_epoch * training.max_epochs
        return made, torchs.OneCycleLR(made, 0.1, total_steps=steps)


@pytest.mark.parametrize("kind", [partial(torch.optim.SGD, momentum=0.9), torch.optim.Adam])
def test_a_penalty_is_resumed_with_the_momentum_of_the_optimizers_groups(kind: Any) -> None:
    penalty: dict[str, Any] = {"penalty": "l1", "lambda": 0.01}
    expected = finish(begin(Cycled(kind), **penalty))
    resumed = begin(Cycled(kind), **penalty)
    hand_over(begin(Cycled(kind), **penalty), resumed, 2)
    assert list(train(resumed)) == expected[2:]


def shrink_units(weight: torch.Tensor, bias: torch.Tensor | None, by: float) -> torch.Tensor:
    """Group lasso without a loss."""
    columns = [weight] if bias is None else [weight, bias.unsqueeze(1)]
    units = torch.cat(columns, 1)
    shrunk = by * units.shape[1] ** 0.5 / units.norm(dim=1, keepdim=True)
    return weight * (1 - shrunk).clamp(min=0)


class Refusing(torchs.ExponentialLR):
    """Does not continue."""

    def load_state_dict(self, state_dict: Any) -> None:
        raise KeyError("last_epoch")


def test_a_scheduler_that_cannot_continue_is_named() -> None:
    first, second = (begin(Net(lambda o, _: (o, Refusing(o, 0.5)))) for _ in range(2))
    words = r"Refusing\.load_state_dict of Net\.optimizer raised KeyError: 'last_epoch'"
    with pytest.raises(ContractError, match=words) as caught:
        hand_over(first, second, 1)
    assert caught.value.where == "trainable"


@pytest.mark.parametrize(
    "training",
    [
        {"schedule": "cosine", "warmup_steps": 6},
        {"schedule": "one_cycle"},
        {"schedule": {"name": "step", "step_size": 2}},
    ],
    ids=repr,
)
@pytest.mark.parametrize("penalty", ["l1", "l2", "group_lasso"])
def test_penalties_act_by_the_rate_of_each_group_in_each_step(
    training: dict[str, Any], penalty: str
) -> None:
    lam = 0.02
    trainable = Still()
    run = begin(trainable, training, penalty=penalty, **{"lambda": lam})
    before = [w.weight.detach().clone() for w in run.penalised]
    biases = [None if w.bias is None else w.bias.detach().clone() for w in run.penalised]
    finish(run)
    for group, (start, w) in enumerate(zip(before, run.penalised, strict=True)):
        rates = [rates[group] for rates in trainable.rates]
        assert w.factor == 1
        match penalty:
            case "l2":
                expected = start * math.prod(1 - 2 * rate * lam for rate in rates)
            case "l1":
                expected = start.sign() * (start.abs() - lam * sum(rates)).clamp(min=0)
            case _ if w.unit_axis is None:  # the outputs are no units
                assert torch.equal(w.weight, start)
                continue
            case _:
                expected = shrink_units(start, biases[group], lam * sum(rates))
        assert not torch.equal(expected, start)
        assert torch.allclose(w.weight, expected, atol=1e-6)


def test_the_half_life_is_that_of_the_rates_that_were() -> None:
    training = {"optimizer": "adamw", "schedule": "one_cycle", "lr": 0.01}
    made = run(None, training, penalty="l2", **{"lambda": 2.0})
    rates: list[float] = []
    note = lambda o, *_: rates.append(o.param_groups[0]["lr"])  # noqa: E731  # one line
    made.parts.optimizer.register_step_pre_hook(note)
    list(train(made))
    expected = math.log(2) / (2 * 2.0 * sum(rates) / EPOCHS)
    assert made.best_metrics()["decay/half_life"] == pytest.approx(expected)


def test_rates_of_groups_are_logged_by_name_or_number() -> None:
    def name(optimizer: Any, _: int) -> Any:
        for group, label in zip(optimizer.param_groups, ("body", "head"), strict=True):
            group["name"] = label
        return optimizer

    last = finish(begin(Net(name), {"schedule": "constant"}))[-1].metrics
    assert (last["lr"], last["lr/body"], last["lr/head"]) == (0.1, 0.001, 0.1)
    last = finish(begin(Net(), {"schedule": "constant"}))[-1].metrics
    assert (last["lr"], last["lr/0"], last["lr/1"]) == (0.1, 0.001, 0.1)
    assert "lr/0" not in list(train(run(None)))[-1].metrics


def test_a_rate_that_is_a_tensor_is_scaled_too() -> None:
    def make(optimizer: Any, _: int) -> Any:
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)
        return optimizer

    assert note_rates(make) == note_rates()


def test_the_state_of_a_training_without_schedulers_names_none() -> None:
    assert read_returned(other(), "mine").schedulers == ()
