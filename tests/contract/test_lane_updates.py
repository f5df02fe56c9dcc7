"""Lanes that update their weights in the same way do so at once, with the bits of each alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.lanes import Bench, Make, check_each, count_storage, list_cases, name, torch_threads
from trainables.config import regularisers as config
from trainables.lanes import group as group_module
from trainables.lanes import joint_optimizer, updates
from trainables.lanes.group import Group
from trainables.lanes.joint_optimizer import JointOptimizer
from trainables.lanes.lane import Lane
from trainables.lanes.programs import Programs
from trainables.loop import TrainingRun, train
from trainables.models import MLP
from trainables.regularisers import averaging, noise
from trainables.regularisers.base import Now
from trainables.regularisers.max_norm import MaxNorm
from trainables.regularisers.step_sizes import RowSteps, WeightSteps

IMAGES = Bench()


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch_threads(1)
    yield
    torch_threads(before)


def mlp(**options: Any) -> Make:
    return lambda: IMAGES.make(MLP([16]), **options)


PENALISED = tuple(
    mlp(
        training={"seed": n, "lr": 0.01 + 0.01 * (n % 2)}, penalty="elastic_net", **{"lambda": 0.02}
    )
    for n in range(3)
)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[dict[Any, bool]]:
    """Whether updates at once were found to have the bits of each alone: penalties, optimisers."""
    found: list[dict[Any, bool]] = [{}, {}]
    monkeypatch.setattr(updates, "_KNOWN", found[0])
    monkeypatch.setattr(joint_optimizer, "_KNOWN", found[1])
    return found


def test_lanes_that_update_alike_do_so_at_once(known: list[dict[Any, bool]]) -> None:
    check_each(*PENALISED)
    assert [set(one.values()) for one in known] == [{True}, {True}]


AT_ONCE = "at once"
_OF_A_BATCH = "changes each lane's own batches, by its own random numbers, before the shared step"
_OF_A_PASS = "is part of the shared step: its rate is one of the network's tensors"
WAYS: dict[str, str] = {
    "penalty": AT_ONCE,
    "max_norm": AT_ONCE,
    "gradient_noise": AT_ONCE,
    "ema": AT_ONCE,
    "swa": "acts once an epoch",
    "dropout": _OF_A_PASS,
    "stochastic_depth": _OF_A_PASS,
    "augmentation": _OF_A_BATCH,
    "random_erasing": _OF_A_BATCH,
    "input_noise": _OF_A_BATCH,
    "mixup": _OF_A_BATCH,
    "cutmix": _OF_A_BATCH,
    "label_smoothing": "is a number of the shared step's batch",
}
"""How lanes with a regulariser have it: several lanes' updates at once, or why not."""
CASES = list_cases()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("case", [c for c in CASES if "stochastic_depth" not in c], ids=name)
def test_every_regulariser_updates_several_lanes_at_once_or_has_a_reason(
    case: dict[str, Any], optimizer: str, known: list[dict[Any, bool]]
) -> None:
    assert {next(iter(case)) for case in CASES} == set(WAYS)
    key, strength = list(case.items())[-1]
    weaker = (strength if isinstance(strength, str) else (1 - 0.1 * n) * strength for n in range(4))
    training = {"optimizer": {"name": optimizer}, "lr": 0.02}
    check_each(
        *(
            mlp(training={**training, "seed": n}, **{**case, key: value})
            for n, value in enumerate(weaker)
        )
    )
    joins = WAYS[next(iter(case))] == AT_ONCE
    assert set(known[0].values()) == ({True} if joins else set())


@pytest.mark.parametrize(("optimizer", "sizes"), [("adam", [2, 1]), ("sgd", [3])])
def test_lanes_on_a_gpu_update_at_once_if_their_optimisers_count_equal_steps(
    optimizer: str, sizes: list[int]
) -> None:
    """The counts are on the CPU: a GPU can use one of them, and no row."""
    training, lanes = {"optimizer": {"name": optimizer}}, []
    for number in range(3):
        run = mlp(training=training, penalty="l1", **{"lambda": 0.01})()
        next(train(run))
        lanes.append(Lane(run, number, updates.describe_updates(run), []))
        run.data = replace(run.data, device="cuda")
    lanes[2].run.steps += 1
    assert [len(part) for part in updates._divide(lanes)] == sizes


def test_a_bound_of_several_lanes_is_on_the_device_of_their_weights() -> None:
    one, other = (MaxNorm(config.MaxNorm(max_norm=limit)) for limit in (0.4, 0.5))
    weight: Any = SimpleNamespace(weight=torch.empty(2, 3, device="meta"))
    joined = one.join([other], SimpleNamespace(weights=[weight]))  # type: ignore[arg-type]  # it reads nothing else
    assert joined._exceeded is not None
    assert (joined._limit.device.type, joined._exceeded.device.type) == ("meta", "meta")


def test_lanes_of_unlike_regularisers_are_each_as_alone(known: list[dict[Any, bool]]) -> None:
    """Two of each: one with an average beside its penalty, one that starts anew later."""
    kinds = [
        {"penalty": "group_lasso", "lambda": 0.02, "ema": 0.9},
        {"max_norm": 0.4, "gradient_noise": 0.05},
        {"penalty": "l1", "lambda": 0.01, "max_norm": 0.5},
    ]
    check_each(*(mlp(training={"seed": n}, **kinds[n // 2]) for n in range(6)))
    assert set(known[0].values()) == {True}


def test_noise_that_is_added_at_once_wrongly_is_added_lane_by_lane(
    known: list[dict[Any, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was drawn and averaged for the comparison is undone."""

    def act(self: Any, now: Any) -> None:
        hook(self, now)
        next(self._each[0].list_gradients()).mul_(1.001)

    def average(self: Any, now: Any) -> None:
        move(self, now)
        self._each[1]._count += 1

    hook, move = noise._GradientNoises.before_step, averaging._MovingAverages.after_step
    monkeypatch.setattr(noise._GradientNoises, "before_step", act)
    monkeypatch.setattr(averaging._MovingAverages, "after_step", average)
    check_each(*(mlp(training={"seed": n}, gradient_noise=0.1, ema=0.8) for n in range(3)))
    assert list(known[0].values()) == [False, False]


def test_a_penalty_that_has_other_bits_at_once_is_applied_lane_by_lane(
    known: list[dict[Any, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def threshold(self: RowSteps, *arguments: Any) -> Tensor:
        return WeightSteps.threshold(self, *arguments) * 1.001

    monkeypatch.setattr(RowSteps, "threshold", threshold)
    check_each(*PENALISED)
    assert False in known[0].values()
    assert set(known[1].values()) == {True}


def test_an_optimiser_that_has_other_bits_at_once_steps_lane_by_lane(
    known: list[dict[Any, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(self: JointOptimizer) -> torch.optim.Optimizer:
        made = make_joint(self)
        made.param_groups[0]["lr"] *= 1 + 1e-6
        return made

    make_joint = JointOptimizer._make
    monkeypatch.setattr(JointOptimizer, "_make", make)
    check_each(*PENALISED)
    assert set(known[1].values()) == {False}


def test_a_hook_that_replaces_a_gradient_is_heeded() -> None:
    def make(number: int) -> TrainingRun:
        run = IMAGES.make(MLP([16]), {"seed": number})

        def halve(_now: Now) -> None:
            for parameter in run.model.parameters():
                assert parameter.grad is not None
                parameter.grad = parameter.grad * 0.5 ** (number % 2)

        run.parts.regularisers.before_step.append(halve)
        return run

    check_each(*(partial(make, number) for number in range(4)))


def test_lanes_of_several_kinds_are_told_in_the_order_in_which_they_were_taken() -> None:
    group = Group()
    runs = [mlp(penalty=name, **{"lambda": 0.02})() for name in ("l1", "l2", "l1", "l2")]
    for run in runs:
        group.take(run)
    assert list(group.advance()) == runs
    assert list(group.runs) == runs


def test_a_lane_that_leaves_keeps_no_memory_of_the_others() -> None:
    group = Group()
    runs = [make() for make in PENALISED]
    for run in runs:
        group.take(run)
    group.advance()
    group.drop(runs[0])
    alone = PENALISED[0]()
    next(train(alone))
    mine, wanted = (one.parts.optimizer.state_dict()["state"] for one in (runs[0], alone))
    for number, state in mine.items():
        assert count_storage(state) == count_storage(wanted[number])


@pytest.mark.parametrize(
    "shape", [(1,), (3, 5), (16, 7), (64, 64), (8, 3, 3, 3), (130, 67), (257, 509)]
)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_mean_of_a_row_has_the_bits_of_the_mean_of_a_weight(
    shape: tuple[int, ...], threads: int
) -> None:
    """Two threads share the sum of one large weight, in an order that a mean over rows has not."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
        joined = RowSteps._average(None, rows.flatten(1))  # type: ignore[arg-type]  # it reads no attribute
        alone = torch.stack([row.clone().mean() for row in rows])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(joined.flatten(), alone)


def test_lanes_that_leave_need_programs_of_powers_of_two_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    widths = []

    def build(self: Programs, key: Any, *arguments: Any, **options: Any) -> Any:
        widths.append(key[1])
        return build_program(self, key, *arguments, **options)

    build_program = Programs._build
    monkeypatch.setattr(Programs, "_build", build)
    monkeypatch.setattr(group_module, "_PROGRAMS", {})
    check_each(*(mlp(training={"seed": n, "max_epochs": 1 + n}) for n in range(7)))
    assert set(widths) == {2, 4}
