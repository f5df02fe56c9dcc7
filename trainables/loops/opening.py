"""Opens the training of a trial: ours, or one whose loop is a user's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from search_spaces.values import Value
from trainables.build import build_run, name_key
from trainables.config.regularisers import OwnRegulariser
from trainables.config.training import settle_batches
from trainables.config.trial_parameters import EARLY_STOPPING, TrainingSpec, read_point
from trainables.data.placing import Placed, place
from trainables.data.splits import Splits, find_batch_size
from trainables.distributed.process import Process
from trainables.errors import ContractError
from trainables.loops.finding import find_loop
from trainables.loops.loop_parts import LoopParts
from trainables.loops.own import OwnRun
from trainables.loops.signature import OwnLoop
from trainables.run import Run


class RunSpec(TrainingSpec, Protocol):
    """The part of a spec that describes a training and what must be measured of it."""

    @property
    def required_metrics(self) -> Mapping[str, str]:
        """The metrics that the spec names, each with the key that names it."""


def open_run(
    spec: RunSpec,
    params: Mapping[str, Value],
    splits: Splits,
    *,
    baseline: bool,
    device: str,
    without: Collection[str] = (),
    seed: int | None = None,
    process: Process | None = None,
    placed: Placed | None = None,
) -> Run:
    """The training of one trial, ready to start, see :func:`trainables.build.build_run`.

    Raises:
        ContractError: the trainable violates the contract.
        ValueError: a parameter is unknown or out of range.
    """
    loop = find_loop(spec.trainable, read_point(spec, params).model)
    if loop is None:
        return build_run(
            spec,
            params,
            splits,
            baseline=baseline,
            device=device,
            without=without,
            seed=seed,
            process=process,
            placed=placed,
        )
    if process is not None and process.world > 1:
        raise ContractError(
            f"{loop.path} is a training loop, which runs in one process; set resources.workers to 1"
        )
    parts = read_parts(
        loop,
        spec,
        params,
        splits,
        baseline=baseline,
        device=device,
        without=without,
        seed=seed,
        placed=placed,
    )
    return OwnRun(parts)


def read_parts(
    loop: OwnLoop,
    spec: RunSpec,
    params: Mapping[str, Value],
    splits: Splits | None,
    *,
    baseline: bool,
    device: str,
    without: Collection[str] = (),
    seed: int | None = None,
    placed: Placed | None = None,
    few: bool = False,
) -> LoopParts:
    """The parts of the training of one trial by a loop, see :func:`open_run`."""
    point = read_point(spec, params)
    training = point.training
    if seed is not None:
        training = training.model_copy(update={"seed": seed, "weight_init_seed": None})
    if splits is not None:
        training = settle_batches(training, find_batch_size(splits.train))
    regularisers = tuple(r for r in point.regularisers if name_key(r) not in without)
    if baseline:
        regularisers = tuple(r for r in regularisers if not isinstance(r, OwnRegulariser))
    return LoopParts(
        loop=loop,
        arguments=point.model,
        params=params,
        fixed=spec.model,
        training=training,
        regularisers=regularisers,
        stopping=None if EARLY_STOPPING in without else spec.early_stopping,
        required=spec.required_metrics,
        splits=splits,
        data=placed if placed or splits is None else place(splits, device),
        device=device,
        runs_to_end=baseline,
        few=few,
    )
