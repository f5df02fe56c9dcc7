"""What can be told of a training before its first step, and of its weights after its last."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainables.data import Split, Splits
from trainables.errors import ContractError
from trainables.gap import gaps, measure
from trainables.loop import EPOCH_METRICS, TrainingRun

_BATCH = 8


def metric_names(run: TrainingRun, splits: Splits) -> tuple[str, ...]:
    """Every metric that an epoch of this training will log.

    Raises:
        ContractError: the network, its losses or its metrics fail on a batch, or what they return
            has the wrong shape.
    """
    x, y = run.train_x[:_BATCH], run.train_y[:_BATCH]
    outputs = _forward(run, x)
    expected = (len(x), splits.info.outputs)
    if tuple(outputs.shape) != expected:
        raise ContractError(
            f"the network returns shape {tuple(outputs.shape)} for a batch of {len(x)}; "
            f"{splits.info.task} with {splits.info.outputs} outputs needs {expected}"
        )
    try:
        values = {"loss": run.trainable.losses(outputs, y), **run.trainable.metrics(outputs, y)}
    except Exception as error:
        raise ContractError(
            f"the losses or metrics fail on a batch: {type(error).__name__}: {error}"
        ) from error
    for name, value in values.items():
        if tuple(value.shape) != (len(x),):
            raise ContractError(
                f"{name!r} has shape {tuple(value.shape)}; one value a sample is ({len(x)},)"
            )
    sides = [f"{side}/{name}" for side in ("train", "val", "gap") for name in values]
    return (*sides, *EPOCH_METRICS)


def test_metrics(run: TrainingRun, splits: Splits, state: Mapping[str, Tensor]) -> dict[str, float]:
    """``test/*`` and ``test_gap/*`` at a finalist's weights; empty without a test split.

    The training side is the same fixed subset that every epoch's gap is measured on.
    """
    if splits.test is None:
        return {}
    run.model.load_state_dict(state)
    test_x, test_y = _on_device(splits.test, run)
    train = measure(run.model, run.trainable, run.train_x[run.subset], run.train_y[run.subset])
    test = measure(run.model, run.trainable, test_x, test_y)
    gap = gaps(train, test, run.trainable.higher_is_better)
    return {
        **{f"test/{name}": value for name, value in test.items()},
        **{f"test_gap/{name}": value for name, value in gap.items()},
    }


@torch.no_grad()
def _forward(run: TrainingRun, x: Tensor) -> Tensor:
    outputs = run.model.eval()(x)
    if not isinstance(outputs, Tensor):
        raise ContractError(f"the network returns {type(outputs).__name__}, not a tensor")
    return outputs


def _on_device(split: Split, run: TrainingRun) -> tuple[Tensor, Tensor]:
    device = run.train_x.device
    return torch.tensor(split.x, device=device), torch.tensor(split.y, device=device)
