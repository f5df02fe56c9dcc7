"""What any trainable must do. Import these for a trainable of your own:

``trainable`` is what ``trainables.loading.load_trainable`` returns, ``splits`` any splits it is
for; :data:`CHECKS` holds every check.
"""

from __future__ import annotations

import copy
import io
import itertools
import math
from collections.abc import Callable
from typing import Any

import torch

from trainables.analysis.examine import examine
from trainables.build import build_training
from trainables.config.regularisers import read_regularisers
from trainables.config.stopping import Patience
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.splits import Splits
from trainables.loop import TrainingRun, train
from trainables.measure import measure
from trainables.regularisers.dropout import Dropout, set_rate
from trainables.run import EpochResult

Check = Callable[[Trainable, Splits], None]
TRAINING = {"max_epochs": 4, "batch_size": 16, "lr": 1e-2, "seed": 3}


def begin(
    trainable: Trainable, splits: Splits, training: dict[str, Any] | None = None, **reg: Any
) -> TrainingRun:
    """A training before its first step."""
    return build_training(
        trainable,
        splits,
        Training.model_validate(TRAINING | (training or {})),
        read_regularisers(reg),
        Patience(patience=10),
    )


def passes_the_examination(trainable: Trainable, splits: Splits) -> None:
    found = examine(begin(trainable, splits), splits)
    assert {"train/loss", "val/loss", "gap/loss", "sparsity", "lr"} <= set(found.metrics)
    assert found.seconds > 0
    assert found.step_memory > 0


def losses_and_metrics_are_finite(trainable: Trainable, splits: Splits) -> None:
    run = begin(trainable, splits)
    values = measure(run.model, trainable, [Batch(*run.data.train.head(9))])
    assert {"loss", *map(str, values)} == set(values)
    assert all(math.isfinite(value) for value in values.values())


def a_step_is_the_mean_of_the_losses(trainable: Trainable, splits: Splits) -> None:
    run = begin(trainable, splits, dropout=0.0)
    x, y = run.data.train.head(9)
    step = trainable.step(run.model.eval(), Batch(x, y))
    assert step.ndim == 0
    assert torch.allclose(step, trainable.losses(run.model(x), y).mean())


def the_loss_falls(trainable: Trainable, splits: Splits) -> None:
    results = list(train(begin(trainable, splits, {"max_epochs": 12})))
    assert results[-1].metrics["train/loss"] < results[0].metrics["train/loss"]


def the_same_seed_gives_the_same_training(trainable: Trainable, splits: Splits) -> None:
    first, again = (list(train(begin(trainable, splits, dropout=0.3))) for _ in range(2))
    assert first == again


def it_resumes_bit_for_bit(trainable: Trainable, splits: Splits) -> None:
    whole = begin(trainable, splits, penalty="l1", **{"lambda": 1e-3})
    expected = list(train(whole))
    parted = begin(trainable, splits, penalty="l1", **{"lambda": 1e-3})
    head: list[EpochResult] = list(itertools.islice(train(parted), 2))
    buffer = io.BytesIO()
    torch.save(parted.state_dict(), buffer)
    buffer.seek(0)
    following = begin(trainable, splits, penalty="l1", **{"lambda": 1e-3})
    following.load_state_dict(torch.load(buffer, weights_only=True))
    assert head + list(train(following)) == expected
    for name, value in whole.best_state.items():
        assert torch.equal(following.best_state[name], value)


def the_best_weights_are_restored(trainable: Trainable, splits: Splits) -> None:
    run = begin(trainable, splits)
    kept: list[dict[str, torch.Tensor]] = []
    for result in train(run):
        if not result.done:
            kept.append(copy.deepcopy(run.model.state_dict()))
    best = int(run.best_metrics()["epoch"])
    restored = run.model.state_dict()
    if best <= len(kept):
        assert all(torch.equal(restored[n], v) for n, v in kept[best - 1].items())
    assert all(torch.equal(restored[n], v) for n, v in run.best_state.items())


def its_optimiser_decays_nothing(trainable: Trainable, splits: Splits) -> None:
    run = begin(trainable, splits)
    before = copy.deepcopy(run.model.state_dict())
    for parameter in run.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    run.parts.optimizer.step()
    for name, parameter in run.model.named_parameters():
        assert torch.equal(parameter, before[name])


def a_strong_penalty_empties_the_weights(trainable: Trainable, splits: Splits) -> None:
    *_, last = train(begin(trainable, splits, penalty="l1", **{"lambda": 50.0}))
    assert last.metrics["sparsity"] > 0.99


def a_dropout_rate_reaches_every_layer(trainable: Trainable, splits: Splits) -> None:
    model = begin(trainable, splits).model
    set_rate(model, 0.25)
    layers = [m for m in model.modules() if isinstance(m, Dropout)]
    assert all(float(layer.rate) == 0.25 for layer in layers)


CHECKS: tuple[Check, ...] = (
    passes_the_examination,
    losses_and_metrics_are_finite,
    a_step_is_the_mean_of_the_losses,
    the_loss_falls,
    the_same_seed_gives_the_same_training,
    it_resumes_bit_for_bit,
    the_best_weights_are_restored,
    its_optimiser_decays_nothing,
    a_strong_penalty_empties_the_weights,
    a_dropout_rate_reaches_every_layer,
)
