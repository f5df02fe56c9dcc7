"""What one training is told: how it trains, how it is regularised, when it stops early."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Value = bool | int | float | str


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Training(_Frozen):
    """Everything about a training that is not regularisation; any field may be swept too."""

    max_epochs: int = Field(40, ge=1)
    batch_size: int = Field(64, ge=1, description="samples a step")
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0, description="learning rate, at the start of the schedule")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="annealed per epoch")
    loss: Literal["cross_entropy", "mse"] | None = Field(None, description="the task's own if none")
    seed: int = Field(0, ge=0, description="of batch order, dropout and augmentation")
    weight_init_seed: int | None = Field(None, ge=0, description="`seed` if none")
    l1_update: Literal["proximal", "subgradient"] = "proximal"
    l2_update: Literal["decoupled", "coupled"] = "decoupled"


class Regularisation(_Frozen):
    """What a trial varies. Each default is no regularisation of ours.

    Without a ``dropout`` a network keeps the rates it was built with.
    """

    penalty: Literal["none", "l1", "l2", "elastic_net"] = "none"
    lam: float = Field(0.0, ge=0, alias="lambda")
    l1_ratio: float = Field(0.5, ge=0, le=1)
    dropout: float | None = Field(None, ge=0, lt=1)
    augmentation: str = "none"
    augmentation_strength: float = Field(0.5, ge=0, le=1)


class EarlyStoppingSpec(_Frozen):
    """Stop after ``patience`` epochs without an improvement of more than ``min_delta``."""

    metric: str = "val/loss"
    mode: Literal["min", "max"] = "min"
    patience: int = Field(6, ge=0)
    min_delta: float = Field(0.0, ge=0)


REGULARISATION_NAMES = tuple(f.alias or n for n, f in Regularisation.model_fields.items())
NEUTRAL: Mapping[str, Value] = {"penalty": "none", "dropout": 0.0, "augmentation": "none"}


def hyper_from(params: Mapping[str, Value], training: Training) -> tuple[Training, Regularisation]:
    """A trial's parameters, the training's own overridden by those that bear their names.

    Raises:
        ValueError: a name that neither knows, or a value out of range (pydantic's own).
    """
    known = [*REGULARISATION_NAMES, *Training.model_fields]
    for name in params:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"nothing reads a parameter {name!r}{hint}")
    regularised = {k: v for k, v in params.items() if k in REGULARISATION_NAMES}
    changed = {k: v for k, v in params.items() if k not in REGULARISATION_NAMES}
    return (
        Training.model_validate({**training.model_dump(), **changed}),
        Regularisation.model_validate(regularised),
    )
