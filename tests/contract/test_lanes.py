"""A training in a group has the history and the weights that it has alone, to the last bit."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.contract import lane_networks as networks
from tests.contract.parts import OwnEvaluate, OwnLosses, OwnMetrics, OwnOptimizer, OwnStep
from tests.lanes import (
    Bench,
    Make,
    Neighbour,
    check_each,
    check_equal,
    count_storage,
    list_cases,
    name,
    torch_threads,
    train_alone,
    train_together,
)
from trainables.config.optimizers import optimizers
from trainables.config.schedules import schedules
from trainables.lanes.block import Block
from trainables.lanes.examination import examine_fusion, explain_recorder
from trainables.lanes.group import Group
from trainables.lanes.programs import Program
from trainables.lanes.reasons import CannotFuseError
from trainables.lanes.widths import find_width
from trainables.loop import TrainingRun, train
from trainables.models import CNN, MLP

IMAGES, ROWS = Bench(), Bench((8,))
EVEN = Bench((8,), 48, val_size=48)
"""Whole batches only, and sides of the gap of one size: recording programs for other shapes takes
most of a network's time."""
EPOCHS = 3
CASES = list_cases()
UPDATES = [
    {"l1_update": l1, "l2_update": l2, "proximal_step": step}
    for l1, l2, step in itertools.product(
        ("proximal", "subgradient"), ("decoupled", "coupled"), ("adaptive", "lr")
    )
]
OTHERS: tuple[dict[str, Any], ...] = (
    {"training": {"seed": 5, "lr": 0.02}, "dropout": 0.3, "penalty": "l2", "lambda": 0.1},
    {"training": {"seed": 6}, "dropout": 0.1, "max_norm": 1.0},
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch_threads(1)
    yield
    torch_threads(before)


def mlp(bench: Bench = IMAGES, **options: Any) -> Make:
    return lambda: bench.make(MLP([16]), **options)


def between(make: Make, bench: Bench = IMAGES, **common: Any) -> tuple[Make, Make, Make]:
    """A training between two others."""
    before, after = neighbours(bench, json.dumps(common, sort_keys=True))
    return before, make, after


@cache
def neighbours(bench: Bench, common: str) -> list[Neighbour]:
    """The others, whose trainings have the options in this JSON in common."""
    shared = json.loads(common)
    makes = (mlp(bench, **{**o, "training": {**shared, **o["training"]}}) for o in OTHERS)
    return list(map(Neighbour, makes))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("case", [c for c in CASES if "stochastic_depth" not in c], ids=name)
def test_every_regulariser(case: dict[str, Any], optimizer: str) -> None:
    training = {"optimizer": {"name": optimizer}, "seed": 2}
    check_each(*between(mlp(training=training, **case)))


def test_stochastic_depth_of_one_rate() -> None:
    (rate,) = (case for case in CASES if "stochastic_depth" in case)
    makes = [
        lambda n=n: ROWS.make(networks.of(networks.DropsBranches), {"seed": n}, **rate)
        for n in range(3)
    ]
    check_each(*makes)
    group = Group()
    group.take(makes[0]())
    with pytest.raises(CannotFuseError, match="differs from the group"):
        group.take(ROWS.make(networks.of(networks.DropsBranches), stochastic_depth=0.1))


@pytest.mark.parametrize("augmentation", ["noise", "mask"])
def test_augmentations_of_rows(augmentation: str) -> None:
    check_each(*between(mlp(ROWS, augmentation=augmentation), ROWS))


@pytest.mark.parametrize("optimizer", optimizers.built_in())
def test_every_optimiser(optimizer: str) -> None:
    training = {"optimizer": {"name": optimizer}, "lr": 0.01}
    check_each(*between(mlp(training=training, penalty="elastic_net", **{"lambda": 0.02})))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("updates", UPDATES, ids=name)
def test_every_kind_of_update(updates: dict[str, Any], optimizer: str) -> None:
    training = {**updates, "optimizer": {"name": optimizer}}
    makes = [
        mlp(training={**training, "seed": n}, **case)
        for n, case in enumerate(c for c in CASES if "penalty" in c)
    ]
    check_each(*makes)


@pytest.mark.parametrize("schedule", [s for s in schedules.built_in() if s != "step"])
def test_every_schedule(schedule: str) -> None:
    warm = {} if schedule == "one_cycle" else {"warmup_steps": 4}
    check_each(*between(mlp(training={"schedule": {"name": schedule}, **warm}, dropout=0.2)))


@pytest.mark.parametrize(
    "common",
    [
        {"accumulate": 2},
        {"accumulate": 3, "clip_norm": 0.1},
        {"drop_last": True, "measure_every": 2},
        {"sampling": "balanced", "lambda_schedule": "warmup"},
        {"steps_per_epoch": 2, "lambda_schedule": "cosine"},
        {"batch_size": 7, "eval_batch_size": 9},
    ],
    ids=name,
)
def test_options_of_the_steps(common: dict[str, Any]) -> None:
    one = mlp(training=common, mixup=0.4, penalty="l1", **{"lambda": 0.02})
    check_each(*between(one, **common))


@pytest.mark.parametrize("network", networks.FUSED, ids=lambda network: network.__name__)
def test_every_kind_of_network(network: type[nn.Module]) -> None:
    makes = [lambda n=n: EVEN.make(networks.of(network), {"seed": n, "lr": 0.01}) for n in range(3)]
    check_each(*makes)


@pytest.mark.parametrize("regulariser", [{"ema": 0.8}, {"swa": 0.7}, {"mixup": 0.5}], ids=name)
@pytest.mark.parametrize("network", [networks.BatchNorm, networks.MovingMean])
def test_networks_with_statistics(network: type[nn.Module], regulariser: dict[str, Any]) -> None:
    makes = [
        lambda n=n: ROWS.make(networks.of(network), {"seed": n, "lr": 0.01}, **regulariser)
        for n in range(3)
    ]
    check_each(*makes)


def test_convolutions_of_images() -> None:
    makes = [
        lambda n=n: IMAGES.make(CNN([3, 4], 8), {"seed": n}, dropout=0.1 * n, cutmix=0.3 * n)
        for n in range(3)
    ]
    check_each(*makes)


@pytest.mark.parametrize("part", [OwnStep, OwnOptimizer, OwnMetrics, OwnLosses])
def test_parts_of_the_users_own(part: type[MLP]) -> None:
    makes = [
        lambda n=n: ROWS.make(part([16]), {"seed": n}, dropout=0.2, label_smoothing=0.1 * (n == 1))
        for n in range(3)
    ]
    check_each(*makes)


def test_a_users_metrics_that_no_batch_of_lanes_could_compute() -> None:
    training = {
        "metrics": [
            {"path": "tests.contract.lane_networks:count_in_python"},
            {"path": "torchmetrics.classification:MulticlassF1Score", "num_classes": 2},
        ],
    }
    makes = [lambda n=n: ROWS.make(MLP([16]), {**training, "seed": n}) for n in range(3)]
    check_each(*makes)


def test_a_lane_of_nan_fails_as_alone_and_disturbs_no_other() -> None:
    def diverging() -> TrainingRun:
        run = IMAGES.make(MLP([16]), {"seed": 1})
        next(run.model.parameters()).data[0, 0] = torch.nan
        return run

    makes = between(diverging)
    found = train_together(makes)
    assert isinstance(found[1][0][-1], Exception)
    for shared, make in zip(found, makes, strict=True):
        check_equal(shared, train_alone(make))


def test_an_error_of_one_lane_fails_it_alone_with_its_own_words() -> None:
    group = Group()
    runs = [mlp(training={"seed": n})() for n in range(3)]
    for run in runs:
        group.take(run)

    def fail(_now: object) -> None:
        if runs[1].steps == 4:
            raise ValueError("my own words")

    runs[1].parts.regularisers.before_step.append(fail)
    histories: dict[TrainingRun, list[Any]] = {run: [] for run in runs}
    while group.runs:
        for run, outcome in group.advance().items():
            histories[run].append(outcome)
    assert repr(histories[runs[1]][-1]) == "ValueError('my own words')"
    assert len(histories[runs[1]]) == 2
    assert not group.reasons
    for number in (0, 2):
        alone = train_alone(mlp(training={"seed": number}))
        check_equal((histories[runs[number]], runs[number]), alone)


def test_without_a_culprit_every_lane_goes_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group()
    makes = [mlp(training={"seed": n}) for n in range(2)]
    runs = [make() for make in makes]
    for run in runs:
        group.take(run)
    histories = {run: [outcome] for run, outcome in group.advance().items()}

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("of the batched program")

    monkeypatch.setattr(Block, "_add", fail)
    while group.runs:
        for run, outcome in group.advance().items():
            histories[run].append(outcome)
        assert all("of the batched program" in reason for reason in group.reasons.values())
    for run, make in zip(runs, makes, strict=True):
        check_equal((list(histories[run]), run), train_alone(make))


def save(state: dict[str, Any]) -> dict[str, Any]:
    """The state, as a file gives it back."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


def test_alone_then_in_a_lane_then_alone_through_checkpoints() -> None:
    make = mlp(training={"max_epochs": 6}, ema=0.9, dropout=0.3)
    other = mlp(training={"seed": 9, "max_epochs": 6})
    first, second, third = make(), make(), make()
    history = list(itertools.islice(train(first), 2))
    second.load_state_dict(save(first.state_dict()))
    group = Group()
    for run in (other(), second):
        group.take(run)
    for _ in range(2):
        history.append(group.advance()[second])  # type: ignore[arg-type]  # no error
    saved = group.state_dict(second)
    whole = sum(count_storage(first.model.state_dict()))
    assert sum(count_storage(saved["model"])) == whole
    assert sum(count_storage(second.model.state_dict())) > whole
    third.load_state_dict(save(saved))
    history.extend(train(third))
    check_equal((history, third), train_alone(make))  # type: ignore[arg-type]  # results are outcomes


POOL: tuple[Make, ...] = tuple(
    mlp(training={"seed": n, "max_epochs": 2 + n % 4}, **case)
    for n, case in enumerate(
        (
            {"penalty": "l1", "lambda": 0.02},
            {"dropout": 0.4},
            {"mixup": 0.4, "ema": 0.8},
            {"input_noise": 0.2},
            {"swa": 0.6},
            {"penalty": "group_lasso", "lambda": 0.02},
        )
    )
)


@pytest.fixture(scope="module")
def pool_alone() -> list[tuple[list[Any], TrainingRun]]:
    return [train_alone(make) for make in POOL]


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_takes_drops_and_kills(
    data: st.DataObject, pool_alone: list[tuple[list[Any], TrainingRun]]
) -> None:
    waiting, pruned = list(range(len(POOL))), set()
    histories: dict[int, list[Any]] = {number: [] for number in waiting}
    states: dict[int, dict[str, Any]] = {}
    group, runs = Group(), {}
    while waiting or runs:
        most = data.draw(st.integers(1, 3), "width")
        while waiting and len(runs) < most:
            number = waiting.pop(data.draw(st.integers(0, len(waiting) - 1), "next"))
            runs[number] = POOL[number]()
            if number in states:
                runs[number].load_state_dict(states[number])
            group.take(runs[number])
        numbers = {run: number for number, run in runs.items()}
        for run, outcome in group.advance().items():
            number = numbers[run]
            histories[number].append(outcome)
            states[number] = save(group.state_dict(run))
            if outcome.done:  # type: ignore[union-attr]  # none of them fails
                check_equal((histories[number], run), pool_alone[number])
                del runs[number]
        event = data.draw(st.sampled_from(["none", "none", "prune", "kill"]), "event")
        if event == "prune" and runs:
            number = data.draw(st.sampled_from(sorted(runs)), "pruned")
            group.drop(runs.pop(number))
            pruned.add(number)
        if event == "kill":
            waiting.extend(runs)
            group, runs = Group(), {}
    for number in pruned:
        assert histories[number] == pool_alone[number][0][: len(histories[number])]


@pytest.mark.parametrize(("network", "words"), networks.REFUSED, ids=lambda v: str(v)[:40])
def test_what_cannot_be_fused_goes_on_alone_with_the_reason(
    network: type[nn.Module], words: str
) -> None:
    makes = [lambda n=n: ROWS.make(networks.of(network), {"seed": n}) for n in range(2)]
    group = Group()
    runs = [make() for make in makes]
    for run in runs:
        group.take(run)
    group.advance()
    assert set(group.reasons) == set(runs)
    assert words in next(iter(group.reasons.values()))


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"precision": "bf16"}, "training.precision is bf16"),
        ({"compile": True}, "training.compile is true"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_options_that_cannot_be_fused_are_refused(training: dict[str, Any], words: str) -> None:
    with pytest.raises(CannotFuseError, match=words):
        Group().take(mlp(training=training)())


def test_a_network_with_hooks_is_refused() -> None:
    run = mlp()()
    run.model.register_forward_hook(lambda *_: None)
    with pytest.raises(CannotFuseError, match="has hooks"):
        Group().take(run)


@pytest.mark.parametrize("training", [{"batch_size": 8}, {"accumulate": 2}, {"drop_last": True}])
def test_another_shape_is_refused(training: dict[str, Any]) -> None:
    group = Group()
    group.take(mlp()())
    with pytest.raises(CannotFuseError, match="differs from the group"):
        group.take(mlp(training=training)())


def test_other_widths_other_layers_and_other_numbers_of_samples_are_refused() -> None:
    group = Group()
    group.take(mlp()())
    for run in (
        IMAGES.make(MLP([8])),
        IMAGES.make(MLP([16, 16])),
        Bench(train_size=43).make(MLP([16])),
    ):
        with pytest.raises(CannotFuseError, match="differs from the group"):
            group.take(run)


@pytest.mark.parametrize("training", [{}, {"eval_batch_size": 7}], ids=name)
def test_trainings_on_other_samples_share_their_steps(training: dict[str, Any]) -> None:
    """As the replicates that confirm a result do, each of which divides the samples anew."""
    benches = [Bench(seed=n % 3) for n in range(4)]
    check_each(
        *(
            mlp(bench, training={**training, "seed": n}, dropout=0.1 * n)
            for n, bench in enumerate(benches)
        )
    )


def test_a_network_that_a_hook_gives_another_form_goes_on_alone() -> None:
    group = Group()
    runs = [ROWS.make(networks.of(networks.Scaled), {"seed": n}) for n in range(2)]
    for run in runs:
        group.take(run)

    def change(_now: object) -> None:
        runs[1].model.scale = 2.0  # type: ignore[assignment]  # a number

    runs[1].parts.regularisers.before_epoch.append(change)
    group.advance()
    words = "`scale` of the network (Scaled) changes after a step, by a regulariser or a hook"
    assert words in group.reasons[runs[1]]


def test_random_numbers_of_a_forward_are_each_lanes_own() -> None:
    torch.manual_seed(0)
    makes = [lambda n=n: ROWS.make(networks.of(networks.Functional), {"seed": n}) for n in range(3)]
    (first, *_), alone = train_together(makes), train_alone(makes[0])
    check_equal(first, alone)


def test_an_examination_says_yes_and_leaves_the_training_as_it_is() -> None:
    run = mlp(dropout=0.3, mixup=0.2)()
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    assert examine_fusion(run).describe() == "yes, bit for bit with each trial alone"
    check_equal((list(train(run)), run), train_alone(mlp(dropout=0.3, mixup=0.2)))
    assert before.keys() == run.model.state_dict().keys()


def test_a_pass_that_differs_each_time_is_named() -> None:
    found = examine_fusion(ROWS.make(networks.of(networks.Unrepeatable)))
    assert found.reason.startswith("a pass has other results each time that it is made")


@pytest.mark.parametrize(("network", "words"), networks.REFUSED[:3], ids=lambda v: str(v)[:40])
def test_an_examination_says_no_with_the_reason(network: type[nn.Module], words: str) -> None:
    found = examine_fusion(ROWS.make(networks.of(network)))
    assert found.describe().startswith("no: ")
    assert words in found.reason


def test_an_examination_sees_lanes_that_depend_on_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def leak(self: Program, *given: Any) -> list[Tensor | None]:
        losses, *gradients = run_program(self, *given)
        return [losses, *(g if g is None else g + 0 * g.sum(0) for g in gradients)]

    run_program = Program.call
    monkeypatch.setattr(Program, "call", leak)
    assert examine_fusion(mlp()()).reason


def test_another_torch_trains_every_trial_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    explain_recorder.cache_clear()
    try:
        assert "this is torch 2.99.0" in examine_fusion(mlp()()).reason
    finally:
        explain_recorder.cache_clear()


def test_passes_are_measured_alone_where_the_trainable_evaluates_itself() -> None:
    makes = [lambda n=n: ROWS.make(OwnEvaluate([16]), {"seed": n}) for n in range(3)]
    check_each(*makes)
    assert "OwnEvaluate defines `evaluate`" in examine_fusion(makes[0]()).measured_alone


def test_a_width_is_measured_where_trainings_can_share_their_steps() -> None:
    before = torch.get_rng_state()
    advice = find_width(lambda n: mlp(training={"seed": n}, dropout=0.1)(), most=4)
    assert [one.width for one in advice.measured] == [1, 4]
    assert advice.width == (4 if advice.measured[1].steps >= 1.15 * advice.measured[0].steps else 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_width_is_1_where_few_epochs_save_less_than_programs_take() -> None:
    advice = find_width(lambda n: mlp(training={"seed": n})(), most=4, epochs=1)
    assert advice.width == 1


def test_the_width_is_1_where_trainings_cannot_share_their_steps() -> None:
    make = lambda n: ROWS.make(networks.of(networks.Branches), {"seed": n})  # noqa: E731  # as a caller writes it
    advice = find_width(make, most=4)
    assert advice.width == 1
    assert "return made if made.sum() > 0" in advice.describe()


def test_groups_on_other_samples_of_the_same_shapes_use_the_same_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As replicates do, each of which has a division of its own."""
    known: dict[object, object] = {}
    monkeypatch.setattr("trainables.lanes.group._PROGRAMS", known)
    for bench in (Bench(), Bench()):
        check_each(*(partial(bench.make, MLP([8]), dropout=0.1 * n) for n in range(3)))
    assert len(known) == 1
