"""What one training is told: how it trains, how it is regularised, when it stops early."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainables.config.imports import IMPORT_PATH
from trainables.devices import Precision

Value = bool | int | float | str


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Selection(_Frozen):
    """Which parameters a penalty acts on, by patterns of their names (``*`` fits anything)."""

    include: tuple[str, ...] = Field((), description="also these, e.g. biases: '*.bias'")
    exclude: tuple[str, ...] = Field((), description="not these")
    scale: Mapping[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="λ times this factor, e.g. 'fc*': 0.1"
    )


class MetricSpec(_Frozen):
    """A metric of the user's: ``path`` leads to a function of outputs and targets."""

    path: Annotated[str, Field(pattern=IMPORT_PATH)]
    name: Annotated[str, Field(pattern=r"^\w+$")] = ""
    higher_is_better: bool = True

    @model_validator(mode="before")
    @classmethod
    def _short(cls, raw: Any) -> Any:
        """A bare path stands for ``{path: …}``; the name is the function's."""
        raw = {"path": raw} if isinstance(raw, str) else raw
        if isinstance(raw, Mapping) and isinstance(raw.get("path"), str):
            return {"name": raw["path"].rpartition(":")[2], **raw}
        return raw


class Training(_Frozen):
    """Everything about a training that is not regularisation; any plain field may be swept too."""

    max_epochs: int = Field(40, ge=1)
    batch_size: int = Field(64, ge=1, description="samples a step")
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0, description="learning rate, at the start of the schedule")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="annealed per epoch")
    loss: str | None = Field(
        None, description="cross_entropy, bce, mse, or an import path; the task's own if none"
    )
    metrics: tuple[MetricSpec, ...] = Field((), description="beside the task's own")
    seed: int = Field(0, ge=0, description="of batch order, dropout and augmentation")
    weight_init_seed: int | None = Field(None, ge=0, description="`seed` if none")
    l1_update: Literal["proximal", "subgradient"] = "proximal"
    l2_update: Literal["decoupled", "coupled"] = "decoupled"
    proximal_step: Literal["lr", "adaptive"] = Field(
        "lr", description="the threshold's step under Adam: lr, or each weight's own step of Adam"
    )
    lambda_schedule: Literal["constant", "warmup", "cosine"] = "constant"
    lambda_warmup_epochs: int = Field(5, ge=1, description="of the warmup schedule")
    penalised: Selection = Selection()
    measure_every: int = Field(1, ge=1, description="epochs between measurements of the train side")
    scale_lr: Literal["none", "linear", "sqrt"] = Field(
        "none",
        description="on several workers: batch_size is all workers' together; with linear or sqrt "
        "it is each worker's, and lr grows with their number or its root",
    )
    precision: Precision = Field(
        "fp32", description="of products: tf32 and bf16 are faster where a device has them"
    )
    compile: bool = Field(False, description="the network by torch.compile; it needs a compiler")

    @model_validator(mode="after")
    def _distinct_metrics(self) -> Self:
        names = ["loss", *(m.name for m in self.metrics)]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"metrics need names of their own; twice: {', '.join(twice)}")
        return self


Share = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]


class Regularisation(_Frozen):
    """What a trial varies. Each default is no regularisation of ours.

    Without ``dropout`` or ``stochastic_depth`` a network keeps the rates it was built with.
    """

    penalty: Literal["none", "l1", "l2", "elastic_net", "group_lasso"] = "none"
    lam: NonNegative = Field(0.0, alias="lambda")
    l1_ratio: float = Field(0.5, ge=0, le=1)
    max_norm: float | None = Field(None, gt=0, description="largest norm of a unit's weights")
    dropout: Share | None = None
    stochastic_depth: Share | None = Field(None, description="rate of the layers that have one")
    augmentation: str = "none"
    augmentation_strength: float = Field(0.5, ge=0, le=1)
    random_erasing: float = Field(0.0, ge=0, le=1, description="probability, for images")
    input_noise: NonNegative = Field(0.0, description="deviation of Gaussian noise on the inputs")
    mixup: NonNegative = Field(0.0, description="alpha of the Beta distribution; 0 is off")
    cutmix: NonNegative = Field(0.0, description="alpha of the Beta distribution; 0 is off")
    label_smoothing: Share = 0.0
    gradient_noise: NonNegative = Field(0.0, description="deviation in the first step; it decays")
    ema: Share = Field(0.0, description="decay of the weights' moving average; 0 is off")
    swa: Share = Field(0.0, description="share of the epochs, at the end, that is averaged")

    @model_validator(mode="after")
    def _one_average(self) -> Self:
        if self.ema and self.swa:
            raise ValueError("`ema` and `swa` exclude each other; set one of them to 0")
        return self


class EarlyStoppingSpec(_Frozen):
    """Stop after ``patience`` epochs without an improvement of more than ``min_delta``.

    ``min_delta`` is absolute, or a share of the best value so far. Epochs up to ``warmup`` do not
    count. With ``gap_patience`` a training also stops when ``gap/loss`` has grown in so many
    epochs in a row, in none of which the metric improved.
    """

    metric: str = "val/loss"
    mode: Literal["min", "max"] = "min"
    patience: int = Field(6, ge=0)
    min_delta: float = Field(0.0, ge=0)
    min_delta_mode: Literal["absolute", "relative"] = "absolute"
    warmup: int = Field(0, ge=0)
    gap_patience: int | None = Field(None, ge=1)


REGULARISATION_NAMES = tuple(f.alias or n for n, f in Regularisation.model_fields.items())
TRAINING_NAMES = tuple(n for n in Training.model_fields if n not in ("metrics", "penalised"))
NEUTRAL: Mapping[str, Value] = {
    "penalty": "none",
    "dropout": 0.0,
    "augmentation": "none",
}


def scaled(training: Training, workers: int) -> Training:
    """The training of a group of workers, ``batch_size`` and ``lr`` being all of theirs.

    Linear: Goyal et al. 2017, Accurate, Large Minibatch SGD. Root: Krizhevsky 2014, One weird
    trick for parallelizing convolutional neural networks.
    """
    if training.scale_lr == "none" or workers == 1:
        return training
    factor = workers if training.scale_lr == "linear" else workers**0.5
    changes = {"batch_size": training.batch_size * workers, "lr": training.lr * factor}
    return training.model_copy(update=changes)


def hyper_from(params: Mapping[str, Value], training: Training) -> tuple[Training, Regularisation]:
    """A trial's parameters, the training's own overridden by those that bear their names.

    Raises:
        ValueError: a name that neither knows, or a value out of range (pydantic's own).
    """
    known = [*REGULARISATION_NAMES, *TRAINING_NAMES]
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
