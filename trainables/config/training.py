"""The options of a training, without regularisation."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from search_spaces.bounds import (
    Amount,
    Bounds,
    Epochs,
    MaxItems,
    Positive,
    Seed,
    SomeEpochs,
)
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


Patterns = Annotated[tuple[str, ...], MaxItems(1_000)]
HALF_LIFE = "decay/half_life"
"""The metric of a weight's half-life under decay that is no part of an objective, in epochs."""
_HIGH = re.compile(
    r"(^|[_/])(acc|accuracy|auc|auroc|auprc|ap|map|f1|precision|recall|r2|iou|dice|bleu|kappa|mcc"
    r"|top_?\d+)(?=[_/\d]|$)",
    re.IGNORECASE,
)
"""Usual names of metrics of which more is better."""
_LOW = r"Error|Loss|Distance|Divergence|Deviance|Perplexity|EER|FallOut|Lost"


class Selection(Strict):
    """Which parameters a penalty acts on, by name patterns (``*`` matches anything)."""

    include: Patterns = Field((), description="add these, for example biases: `*.bias`")
    exclude: Patterns = Field((), description="leave these out")
    scale: Annotated[Mapping[str, Amount], MaxItems(1_000)] = Field(
        default_factory=dict, description="λ times this factor, for example `fc*: 0.1`"
    )


class FunctionSpec(Strict):
    """Code that a spec names by its ``path``; other keys are arguments for it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    path: ImportPath

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What it is called with, beside outputs and targets or to construct it."""
        return self.model_extra or {}


class LossSpec(FunctionSpec):
    """A user-defined loss: a function of outputs and targets, or an ``nn.Module`` of one."""


class MetricSpec(FunctionSpec):
    """A user-defined metric: a function of outputs and targets, or a class of torchmetrics.

    Other keys are its arguments.
    """

    name: Annotated[
        str, Field(pattern=r"^\w+$", description="name in reports; default: the function's")
    ] = ""
    higher_is_better: bool | None = Field(
        None,
        description="decides the sign of its gap, and how it is an objective; default: what the "
        "metric itself says, or true",
    )
    additive: bool = Field(
        False,
        description="of a function: the mean over batches is its value; by default it is called "
        "once, with all samples of a split",
    )

    @model_validator(mode="before")
    @classmethod
    def _expand_path(cls, raw: Any) -> Any:
        """Expand a bare path to ``{path: …}``; ``name`` defaults to the name of the function."""
        raw = {"path": raw} if isinstance(raw, str) else raw
        path = raw.get("path") if isinstance(raw, Mapping) else None
        if isinstance(path, str) and ":" in path:
            return {"name": path.rpartition(":")[2], **raw}
        return raw


def prefers_high(metric: MetricSpec) -> bool:
    """Whether high values of a metric are good: what the spec says, else by its name.

    An error, a loss or a distance of torchmetrics is better if it is lower.
    """
    if metric.higher_is_better is not None:
        return metric.higher_is_better
    name = metric.path.rpartition(":")[2]
    return not (is_of_torchmetrics(metric) and re.search(_LOW, name))


def is_high_by_name(name: str) -> bool:
    """Whether high values of a metric are good, by a name that is usual for it."""
    return bool(_HIGH.search(name))


def is_of_torchmetrics(metric: MetricSpec) -> bool:
    """Whether it is a metric of torchmetrics, which knows its direction when it is loaded."""
    return metric.path.startswith(("torchmetrics:", "torchmetrics."))


def _expand_loss(raw: object) -> object:
    """A bare import path as ``{path: …}``."""
    return {"path": raw} if isinstance(raw, str) and ":" in raw else raw


class Training(Strict):
    """How a trial trains; what regularises is in ``space``. A space may vary any plain key."""

    max_epochs: SomeEpochs = Field(40, description="epochs of a trial that nothing stops")
    batch_size: Annotated[int, Bounds(1, 10_000_000)] = Field(
        64,
        description="samples per forward and backward pass; default: 64, or what a ready "
        "DataLoader has",
    )
    accumulate: Annotated[int, Bounds(1, 100_000)] = Field(
        1,
        description="batches whose gradients make one step of the optimizer, as one batch of all "
        "their samples would; a batch norm has the statistics of each",
    )
    steps_per_epoch: Annotated[int, Bounds(1, 10_000_000)] | None = Field(
        None, description="at most so many steps an epoch, for streams; default: all samples"
    )
    drop_last: bool = Field(
        False, description="leave out an epoch's last batch if it has fewer samples than the others"
    )
    sampling: Literal["shuffled", "balanced"] = Field(
        "shuffled",
        description="`balanced` draws every class equally often, with replacement; what is "
        "measured has the data's own shares",
    )
    eval_batch_size: Annotated[int, Bounds(1, 10_000_000)] = Field(
        256, description="samples per forward pass where metrics are measured"
    )
    optimizer: OptimizerChoice = Field(AdamW(), description="it decays no weights; a penalty does")
    lr: Annotated[float, Field(gt=0), Bounds(0, 1e6)] = Field(
        1e-3, description="learning rate that the schedule scales"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    schedule: ScheduleChoice = Field(
        Cosine(), description="of the learning rate, over the epochs after a warm-up"
    )
    warmup_epochs: Epochs = Field(
        0, description="epochs in which the learning rate rises linearly, from step to step"
    )
    warmup_steps: Annotated[int, Bounds(0, 1_000_000_000)] = Field(
        0, description="the same in steps; of both, the longer"
    )
    clip_norm: Positive | None = Field(
        None, description="largest norm of a step's gradient, over all weights; default: no limit"
    )
    loss: Annotated[LossSpec | str | None, BeforeValidator(_expand_loss)] = Field(
        None,
        description="`cross_entropy`, `bce`, `mse`, an import path or `{path: …, ARGUMENT: …}`; "
        "default: by the task",
    )
    metrics: Annotated[tuple[MetricSpec, ...], MaxItems(100)] = Field(
        (), description="your own, in addition to those of the task"
    )
    seed: Seed = Field(0, description="of batch order, dropout and augmentation")
    weight_init_seed: Seed | None = Field(
        None, description="of the initial weights; default: `seed`"
    )
    l1_update: Literal["proximal", "subgradient"] = Field(
        "proximal", description="soft threshold after the step (exact zeros), or in the gradient"
    )
    l2_update: L2Update | None = Field(
        None,
        description="shrink the weights directly, or add to the gradient; default: as the "
        "optimizer does (`sgd`, `adamw`, `adafactor`, `rprop` and your own decouple, the others "
        "couple), and in `elastic_net` as `l1_update`",
    )
    proximal_step: Literal["adaptive", "lr"] = Field(
        "adaptive",
        description="step of the threshold: the optimizer's own for each weight, with which λ is "
        "the objective's, or `lr`",
    )
    lambda_schedule: Literal["constant", "warmup", "cosine"] = Field(
        "constant", description="λ over the epochs"
    )
    lambda_warmup_epochs: SomeEpochs = Field(
        5, description="epochs until λ is reached, with `warmup`"
    )
    swa_lr_share: Annotated[float, Field(gt=0), Bounds(0, 1e6)] = Field(
        1.0, description="with `swa`: learning rate of the averaged epochs, as a share of `lr`"
    )
    swa_cycle: SomeEpochs = Field(
        1,
        description="with `swa`: epochs in which the rate falls to a tenth, before weights are "
        "averaged and it starts again, at most half of `max_epochs`; 1 keeps it constant",
    )
    penalised: Selection = Selection()
    measure_every: SomeEpochs = Field(
        1, description="epochs between two measurements of `train/*` and `gap/*`"
    )
    scale_lr: Literal["none", "linear", "sqrt"] = Field(
        "none",
        description="with several workers: `none` divides `batch_size` among them; with `linear` "
        "or `sqrt` it is per worker, and `lr` grows with their number or its root",
    )
    precision: Precision = Field(
        "fp32",
        description="of matrix products; `tf32` and `bf16` need a device that has them, `fp16` "
        "scales the loss",
    )
    compile: bool = Field(False, description="use torch.compile, which needs a compiler")

    @property
    def couples_l2(self) -> bool:
        """Whether L2 is part of the gradient."""
        return (self.l2_update or self.optimizer.l2_update) == "coupled"

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
    def _check_metric_names(self) -> Self:
        names = ["loss", *(m.name for m in self.metrics)]
        twice = sorted(n for n, count in Counter(names).items() if count > 1)
        if twice:
            raise ValueError(f"duplicate metric names: {', '.join(twice)}")
        return self


def settle_batches(training: Training, of_loader: int | None) -> Training:
    """The options with the batch size of a ready loader, unless the spec gives another one."""
    if of_loader is None or training.batch_size != Training.model_fields["batch_size"].default:
        return training
    return training.model_copy(update={"batch_size": of_loader})


def scale_for_workers(training: Training, workers: int) -> Training:
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
