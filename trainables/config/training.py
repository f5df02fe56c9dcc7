"""The options of a training, without regularisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from search_spaces.models import Strict
from trainables.config.imports import ImportPath
from trainables.config.optimizers import AdamW, L2Update, OptimizerConfig, optimizers
from trainables.config.precision import Precision
from trainables.config.schedules import Cosine, ScheduleConfig, schedules

if TYPE_CHECKING:
    OptimizerChoice = OptimizerConfig
    ScheduleChoice = ScheduleConfig
else:
    OptimizerChoice = optimizers.choice()
    ScheduleChoice = schedules.choice()


class Selection(Strict):
    """Which parameters a penalty acts on, by name patterns (``*`` matches anything)."""

    include: tuple[str, ...] = Field((), description="parameters to add, e.g. biases: '*.bias'")
    exclude: tuple[str, ...] = Field((), description="parameters to leave out")
    scale: Mapping[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="factors of λ, e.g. 'fc*': 0.1"
    )


class MetricSpec(Strict):
    """A user-defined metric; ``path`` names a function of outputs and targets."""

    path: ImportPath
    name: Annotated[str, Field(pattern=r"^\w+$")] = ""
    higher_is_better: bool = True

    @model_validator(mode="before")
    @classmethod
    def _short(cls, raw: Any) -> Any:
        """Expand a bare path to ``{path: …}``; ``name`` defaults to the name of the function."""
        raw = {"path": raw} if isinstance(raw, str) else raw
        if isinstance(raw, Mapping) and isinstance(raw.get("path"), str):
            return {"name": raw["path"].rpartition(":")[2], **raw}
        return raw


class Training(Strict):
    """The options of a training, without regularisation; a space may search plain fields too."""

    max_epochs: int = Field(40, ge=1)
    batch_size: int = Field(64, ge=1, description="samples per step")
    optimizer: OptimizerChoice = AdamW()
    lr: float = Field(1e-3, gt=0, description="initial learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")
    schedule: ScheduleChoice = Field(Cosine(), description="learning-rate schedule, per epoch")
    loss: ImportPath | str | None = Field(
        None,
        union_mode="left_to_right",
        description="cross_entropy, bce, mse or an import path; default: the loss of the task",
    )
    metrics: tuple[MetricSpec, ...] = Field((), description="metrics beside those of the task")
    seed: int = Field(0, ge=0, description="seed of batch order, dropout and augmentation")
    weight_init_seed: int | None = Field(None, ge=0, description="default: `seed`")
    l1_update: Literal["proximal", "subgradient"] = "proximal"
    l2_update: L2Update | None = Field(
        None,
        description="separate from the gradient step, or in the gradient; default: by optimizer",
    )
    proximal_step: Literal["lr", "adaptive"] = Field(
        "lr", description="step size of the threshold with Adam: lr, or Adam's step of each weight"
    )
    lambda_schedule: Literal["constant", "warmup", "cosine"] = "constant"
    lambda_warmup_epochs: int = Field(5, ge=1, description="length of the warmup schedule")
    penalised: Selection = Selection()
    measure_every: int = Field(1, ge=1, description="epochs between measurements on training data")
    scale_lr: Literal["none", "linear", "sqrt"] = Field(
        "none",
        description="with several workers, none: batch_size is the total over all workers; linear "
        "or sqrt: it is per worker, and lr is multiplied by their number or its square root",
    )
    precision: Precision = Field(
        "fp32", description="of matrix products; tf32 and bf16 are faster if supported"
    )
    compile: bool = Field(False, description="use torch.compile, which needs a C++ compiler")

    @property
    def couples_l2(self) -> bool:
        """Whether L2 is part of the gradient."""
        return (self.l2_update or self.optimizer.l2_update) == "coupled"

    def lr_in(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        return self.lr * self.schedule.factor(epoch - 1, self.max_epochs)

    def lambda_factor(self, epoch: int) -> float:
        """The factor of λ in an epoch, counted from 1.

        ``warmup`` grows linearly and reaches 1 in epoch ``lambda_warmup_epochs``; ``cosine`` falls
        from 1 towards 0 over ``max_epochs``.
        """
        match self.lambda_schedule:
            case "constant":
                return 1.0
            case "warmup":
                return min(1.0, epoch / self.lambda_warmup_epochs)
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * (epoch - 1) / self.max_epochs))

    @model_validator(mode="after")
    def _distinct_metrics(self) -> Self:
        names = ["loss", *(m.name for m in self.metrics)]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"duplicate metric names: {', '.join(twice)}")
        return self


def scaled(training: Training, workers: int) -> Training:
    """The training options of a group, with ``batch_size`` and ``lr`` for all its workers together.

    Linear: Goyal et al. 2017, Accurate, Large Minibatch SGD. Root: Krizhevsky 2014, One weird
    trick for parallelizing convolutional neural networks.
    """
    if training.scale_lr == "none" or workers == 1:
        return training
    factor = workers if training.scale_lr == "linear" else workers**0.5
    changes = {"batch_size": training.batch_size * workers, "lr": training.lr * factor}
    return training.model_copy(update=changes)


KEYS: tuple[str, ...] = tuple(
    name for name in Training.model_fields if name not in ("metrics", "penalised")
)
"""The keys that a space may contain."""
