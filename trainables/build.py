"""Builds a training from a spec and the parameters of a trial."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from search_spaces.unknown_names import join_names
from search_spaces.values import Value
from trainables.best_epoch import Keeping
from trainables.compat import defer_compiler, seed_torch
from trainables.config.data_info import DataInfo, Task
from trainables.config.regularisers import OwnRegulariser, RegulariserConfig
from trainables.config.stopping import StoppingConfig
from trainables.config.training import Training, scale_for_workers, settle_batches
from trainables.config.trial_parameters import EARLY_STOPPING, TrainingSpec, read_point
from trainables.contract import Trainable
from trainables.data.lazy import StreamSplit
from trainables.data.nests import Nest, describe_nest, map_nest
from trainables.data.placing import PROBE, Placed, place
from trainables.data.samples import Pair, Samples
from trainables.data.splits import AnySplit, Splits, find_batch_size
from trainables.devices import list_generators
from trainables.distributed.process import Process
from trainables.errors import ContractError, blame
from trainables.forward import call_network, read_outputs
from trainables.functions import find_device
from trainables.gap import choose_train_subset
from trainables.loading import load_trainable
from trainables.loop import Parts, TrainingRun
from trainables.optimizers import build_optimizer, name_optimizer, switch_off_decay
from trainables.rates import Rates, Timetable
from trainables.regularisers.base import Hooks, Regulariser, Subject, sets_rate
from trainables.regularisers.dropout import adopt_dropout
from trainables.regularisers.misfit_checks import Offer, explain_misfit
from trainables.regularisers.weights import (
    Penalised,
    explain_derived,
    find_last_layer,
    select_penalised,
)
from trainables.return_checks import describe_returned
from trainables.run import Run
from trainables.schedulers import OwnScheduler
from trainables.squashed import are_of_sigmoid

_FEW = 8
Regularisers = Sequence[RegulariserConfig | OwnRegulariser]
_Built = Sequence[tuple[Regulariser, RegulariserConfig | OwnRegulariser]]


def build_run(
    spec: TrainingSpec,
    params: Mapping[str, Value],
    splits: Splits,
    *,
    baseline: bool,
    device: str,
    without: Collection[str] = (),
    seed: int | None = None,
    process: Process | None = None,
    placed: Placed | None = None,
) -> TrainingRun:
    """The training of one trial, ready to start. ``seed`` replaces the spec's seed.

    The baseline has no regularisation: no user-defined regulariser, and early stopping only marks
    the weights that it would have kept, see :attr:`trainables.loop.TrainingRun.control`.
    ``without`` names parts that are left out: ``early_stopping``, labels of user-defined
    regularisers.

    Raises:
        ContractError: see :func:`build_training`.
        ValueError: a parameter is unknown or out of range.
    """
    point = read_point(spec, params)
    training = point.training
    if seed is not None:
        training = training.model_copy(update={"seed": seed, "weight_init_seed": None})
    regularisers = point.regularisers
    if baseline:
        regularisers = tuple(r for r in regularisers if not isinstance(r, OwnRegulariser))
    regularisers = tuple(r for r in regularisers if name_key(r) not in without)
    return build_training(
        load_trainable(spec.trainable, point.model),
        splits,
        training,
        regularisers,
        None if EARLY_STOPPING in without else spec.early_stopping,
        runs_to_end=baseline,
        device=device,
        process=process,
        placed=placed,
    )


def build_training(
    trainable: Trainable,
    splits: Splits,
    training: Training,
    regularisers: Regularisers = (),
    early_stopping: StoppingConfig | None = None,
    *,
    runs_to_end: bool = False,
    device: str = "cpu",
    process: Process | None = None,
    placed: Placed | None = None,
) -> TrainingRun:
    """A training before its first step. ``placed`` holds splits that are already on the device.

    Raises:
        ContractError: the loss does not fit the task, a regulariser does not fit the network or
            its data, or the network fails on a batch or has no parameters to train.
    """
    defer_compiler()
    process = process or Process()
    data = placed or place(splits, device)
    rebuild = partial(
        build_training,
        trainable,
        splits,
        training.model_copy(update={"compile": False}),
        regularisers,
        early_stopping,
        runs_to_end=runs_to_end,
        device=device,
        placed=data,
    )
    training = settle_batches(training, find_batch_size(splits.train))
    training = scale_for_workers(training, process.world)
    check_sampling(training, splits, data)
    pair = data.train.head(2)
    plain = _build_network(trainable, splits, training, pair[0])
    outputs = _find_last_layer(plain, pair[0])
    if trainable.has_own_loss and are_of_sigmoid(read_outputs(call_network(plain, pair[0]))):
        trainable.threshold = 0.5
    built = sorted(((c.build(), c) for c in regularisers), key=lambda pair: pair[0].order)
    model = process.synchronise_batch_norms(_change_model(plain, built, splits.info, pair))
    weights = select_penalised(model, training.penalised, outputs)
    _require_own_weights(built, weights)
    timetable = Timetable(training, count_steps(data.train, training))
    trainable.steps_per_epoch = timetable.steps_per_epoch
    returned = build_optimizer(trainable, model, training)
    optimizer = returned.optimizer
    if runs_to_end:
        switch_off_decay(optimizer)
    hooks = Hooks([made for made, _ in built], [name_part(config) for _, config in built])
    hooks.attach(Subject(splits.info, model, weights, optimizer, training))
    owner = name_optimizer(trainable, training)
    _check_rates(returned.schedulers, timetable, hooks, built, owner)
    compiled = cast(nn.Module, torch.compile(model)) if training.compile else model
    subset = choose_subset(splits.train, splits.val, training.seed)
    return TrainingRun(
        Parts(
            trainable=trainable,
            training=training,
            data=data,
            subset=subset,
            model=model,
            compiled=compiled,
            parallel=process.wrap_parallel(compiled),
            penalised=weights,
            optimizer=optimizer,
            rates=Rates(
                optimizer,
                returned.schedulers,
                timetable,
                hooks,
                owner=owner,
                plateau_mode=_find_mode(trainable, training),
                device=data.device,
            ),
            regularisers=hooks,
            keeping=Keeping(early_stopping, training.max_epochs, runs_to_end),
            process=process,
            rebuild=lambda process: rebuild(process=process),
        )
    )


def _change_model(model: nn.Module, built: _Built, info: DataInfo, pair: Pair) -> nn.Module:
    """The network as the regularisers change it; ``pair`` has two training samples.

    Raises:
        ContractError: one does not fit the network or the data.
    """
    for regulariser, config in built:
        with blame("", name_key(config)):
            misfit = explain_config_misfit(regulariser, config, Offer(info, *pair, model))
            if misfit:
                raise ContractError(f"{name_key(config)}: {misfit}")
            model = regulariser.on_model(model)
    return model


def _require_own_weights(built: _Built, weights: Sequence[Penalised]) -> None:
    """Check that penalties act on weights that the optimiser trains.

    Raises:
        ContractError: the network derives them from others.
    """
    for regulariser, config in built:
        derived = explain_derived(weights) if regulariser.acts_on_weights else None
        if derived:
            raise ContractError(f"{name_key(config)}: {derived}")


def _check_rates(
    schedulers: Sequence[OwnScheduler],
    timetable: Timetable,
    hooks: Hooks,
    built: _Built,
    owner: str,
) -> None:
    """Check that the spec's schedule, or the user's schedulers, alone set the learning rates.

    Raises:
        ContractError: the schedule is wrong, or a regulariser sets them as well.
    """
    if not schedulers:
        with blame("training.schedule"):
            timetable.check()
            timetable.scale(1, 0)
    elif hooks.setting_rates:
        number = hooks.all.index(hooks.setting_rates[0])
        raise ContractError(explain_rates(schedulers, owner), name_key(built[number][1]))


def count_steps(train: Samples, training: Training) -> int | None:
    """The steps of the optimiser in an epoch; None where they are not known."""
    batches = train.count_batches(training.batch_size, drop_last=training.drop_last)
    steps = None if batches is None else math.ceil(batches / training.accumulate)
    most = training.steps_per_epoch
    return steps if most is None else min(most, steps or most)


def explain_rates(schedulers: Sequence[OwnScheduler], owner: str) -> str:
    """Why what sets rates cannot be used beside the user's schedulers."""
    named = join_names(type(own.scheduler).__name__ for own in schedulers)
    return (
        f"sets the learning rate, which {named} of {owner} sets too; leave one of them out "
        "(training.schedule and its warm-up scale the rates of all groups)"
    )


def _find_mode(trainable: Trainable, training: Training) -> str:
    """Which way the metric of a plateau improves."""
    side, _, name = getattr(training.schedule, "metric", "").rpartition("/")
    return "max" if side in ("train", "val") and trainable.is_better_high(name) else "min"


def choose_subset(train: AnySplit, val: AnySplit, seed: int) -> Tensor | None:
    """The training samples that are measured; None for a stream's, which are its first ones."""
    if isinstance(train, StreamSplit):
        return None
    count = PROBE if isinstance(val, StreamSplit) else len(val)
    return choose_train_subset(len(train), count, seed)


def check_sampling(training: Training, splits: Splits, data: Placed) -> None:
    """Check that samples can be drawn by class, if that is asked for.

    Raises:
        ContractError: they have no classes, or a loader draws them.
    """
    if training.sampling != "balanced":
        return
    loader = getattr(splits.train, "loading", None)
    if isinstance(splits.train, StreamSplit) or (loader and loader.sampler is not None):
        text = "the data come in an order of their own; give a Dataset, or let your sampler balance"
    elif splits.info.task is not Task.CLASSIFICATION:
        text = f"the task is {splits.info.task}"
    elif data.train.find_classes() is None:
        text = "they have no array of one class for each sample; give a Dataset with `targets`"
        text = text if loader else "targets are several for each sample"
    else:
        return
    raise ContractError(f"balanced needs one class for each sample: {text}", "training.sampling")


def find_misfits(
    configs: Regularisers, splits: Splits, run: Run, rates: Rates | None = None
) -> Mapping[str, str]:
    """Why regularisers cannot work with these data and this network, by key of the space."""
    found, pair = {}, run.data.train.head(_FEW)
    for config in configs:
        regulariser = config.build()
        text = explain_config_misfit(regulariser, config, Offer(splits.info, *pair, run.model))
        if text is None and rates is not None and rates.own and sets_rate(regulariser):
            text = explain_rates(rates.own, name_optimizer(run.trainable, run.training))
        if text is None and regulariser.acts_on_weights:
            text = explain_derived(run.penalised)
        found[name_key(config)] = text
    return {key: text for key, text in found.items() if text}


def explain_config_misfit(
    regulariser: Regulariser, config: RegulariserConfig | OwnRegulariser, offer: Offer
) -> str | None:
    """Why a regulariser cannot work with what is offered; None if it can."""
    on = config.on if isinstance(config, RegulariserConfig) else ""
    return explain_misfit(regulariser, on, offer)


def name_key(config: RegulariserConfig | OwnRegulariser) -> str:
    """The key of the space, or the label, that a regulariser is from."""
    return config.key if isinstance(config, RegulariserConfig) else config.label


def name_part(config: RegulariserConfig | OwnRegulariser) -> str:
    """What a regulariser is called as a part of a configuration."""
    return config.part() if isinstance(config, RegulariserConfig) else config.label


def _build_network(
    trainable: Trainable, splits: Splits, training: Training, few: Nest
) -> nn.Module:
    """The network with weights initialised from the training's seed, on the device of ``few``.

    Weights are initialised on the CPU, so that a training on a GPU starts from the same ones.
    """
    with blame("trainable", type(trainable).__name__):
        trainable.setup(splits.info, training)
    seed = training.seed if training.weight_init_seed is None else training.weight_init_seed
    with torch.random.fork_rng(list_generators("cpu")):
        seed_torch(seed)
        with blame("trainable", type(trainable).__name__):
            made = trainable.build(splits.info)
            if not isinstance(made, nn.Module):
                raise ContractError(
                    f"{type(trainable).__name__}.build returned {describe_returned(made)}; "
                    "expected: an nn.Module"
                )
            model = adopt_dropout(made)
        _find_last_layer(model, map_nest(lambda leaf: leaf.cpu(), few))  # initialises lazy layers
    device = find_device(few)
    model = model.to(device)
    if device.type == "cuda" and any(p.ndim == 4 for p in model.parameters()):
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub requires a dtype as well
    if not any(p.requires_grad for p in model.parameters()):
        raise ContractError(
            "the network has no parameters to train; assign its layers to attributes of the "
            "module, or keep them in nn.ModuleList or nn.Sequential"
        )
    return model


def _find_last_layer(model: nn.Module, x: Nest) -> str | None:
    with blame("trainable", f"the network's forward, on inputs {describe_nest(x)},"):
        return find_last_layer(model, x)
