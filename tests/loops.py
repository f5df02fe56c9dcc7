"""Training loops as a user writes them, and trainings by them without a sweep."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from tests.trainings import splits
from trainables.config.regularisers import read_regularisers
from trainables.config.stopping import Patience
from trainables.config.training import Training
from trainables.data.placing import place
from trainables.data.splits import Splits
from trainables.loops.loop_parts import LoopParts
from trainables.loops.own import OwnRun
from trainables.loops.signature import OwnLoop
from trainables.loops.trial import Trial

SPLITS = splits()


def network() -> nn.Module:
    """A network for images of 4 × 4 pixels and two classes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 2))


def train_epochs(trial: Trial) -> Iterator[Mapping[str, Any]]:
    """The loop of most tests: regularised, evaluated, resumed."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0)
    parts = trial.regularise(model, optimizer)
    loader, _ = trial.data.loaders(16)
    trial.checkpoint(model=model, optimizer=optimizer)
    trial.restore(model=model, optimizer=optimizer)
    while True:
        model.train()
        for x, y in loader:
            batch = parts.batch(x, y)
            optimizer.zero_grad()
            parts.loss(model(batch.x), batch).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
        yield trial.evaluate(model)


def train_reporting(trial: Trial) -> None:
    """The same loop as a function that reports."""
    for metrics in train_epochs(trial):
        trial.report(metrics)


def own_run(
    function: Callable[..., Any],
    patience: int | None = None,
    required: Mapping[str, str] | None = None,
    training: Mapping[str, Any] | None = None,
    runs_to_end: bool = False,
    data: Splits | None = SPLITS,
    few: bool = False,
    **params: Any,
) -> OwnRun:
    """A training by a loop, before its first epoch."""
    settings = Training(**{"max_epochs": 4, "batch_size": 16, **(training or {})})
    return OwnRun(
        LoopParts(
            loop=OwnLoop("mine:train", function, "trial"),
            arguments={},
            params=params,
            fixed={},
            training=settings,
            regularisers=read_regularisers(params),
            stopping=None if patience is None else Patience(patience=patience),
            required=required or {"val/loss": "objective.metric"},
            splits=data,
            data=None if data is None else place(data, "cpu"),
            runs_to_end=runs_to_end,
            few=few,
        )
    )


def save_and_load(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state as a file gives it back."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded
