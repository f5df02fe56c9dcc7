"""Metrics are those of a whole split, whatever batches it is measured in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor, nn

from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.errors import ContractError
from trainables.functions import Measured
from trainables.measure import measure, measure_each

N = 60
INFO = DataInfo((2,), Task.CLASSIFICATION, 2, Kind.TABLE)


class AsGiven(Trainable):
    """Returns its inputs as logits."""

    def build(self, info: DataInfo) -> nn.Module:
        return nn.Identity()


class Summed(AsGiven):
    """Is measured by a pair of a sum and its count."""

    def evaluate(self, model: nn.Module, batch: Batch) -> Mapping[str, Measured]:
        positive = batch.y == 1
        right = (model(batch.x).argmax(1) == 1) & positive
        return {**super().evaluate(model, batch), "recall": (right.sum(), positive.sum())}


class MeanLosses(AsGiven):
    """Gives the mean of its losses, not each."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().losses(outputs, targets).mean()

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"largest": outputs.amax(), **super().metrics(outputs, targets)}


class Pairs(AsGiven):
    """Gives two values for each sample, which is no metric."""

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"pairs": outputs}


class Counter:
    """A metric with a state that torchmetrics does not know."""

    def __init__(self) -> None:
        self.reset()

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.seen += len(targets)

    def compute(self) -> float:
        return float(self.seen)

    def reset(self) -> None:
        self.seen = 0


def auroc(outputs: Tensor, targets: Tensor) -> Tensor:
    """Of the whole split: fails on one class alone."""
    return torch.tensor(roc_auc_score(targets.numpy(), (outputs[:, 1] - outputs[:, 0]).numpy()))


def hazard(risk: Tensor, time: Tensor, event: Tensor) -> Tensor:
    return ((risk - time) * event).mean()


def margin(outputs: Tensor, targets: Tensor, *, power: float = 1.0) -> Tensor:
    """One value for each sample."""
    return (outputs[:, 1] - outputs[:, 0]).abs() ** power


def samples() -> tuple[Tensor, Tensor]:
    """Logits of two classes in the order of the classes, a fifth of them of class 1."""
    torch.manual_seed(0)
    y = (torch.arange(N) >= 4 * N // 5).long()
    x = torch.randn(N, 2)
    x[:, 1] += y
    return x, y


def build(trainable: Trainable | None = None, **training: Any) -> Trainable:
    made = trainable or AsGiven()
    made.setup(INFO, Training.model_validate(training))
    return made


def found(trainable: Trainable, size: int) -> dict[str, float]:
    x, y = samples()
    return measure(nn.Identity(), trainable, map(Batch, x.split(size), y.split(size)))


METRICS: list[Any] = [
    f"{__name__}:auroc",
    {"path": "torchmetrics.classification:MulticlassF1Score", "name": "f1", "num_classes": 2},
    {"path": "torchmetrics.functional:recall", "task": "multiclass", "num_classes": 2}
    | {"average": "macro"},
]


@pytest.mark.parametrize("size", [1, 7, 25, N])
def test_a_metric_is_that_of_the_split_in_batches_of_any_size(size: int) -> None:
    x, y = samples()
    got = found(build(metrics=METRICS), size)
    chosen = x.argmax(1)
    score = x[:, 1] - x[:, 0]
    recalls = [float((chosen[y == c] == c).double().mean()) for c in (0, 1)]
    assert got["auroc"] == pytest.approx(roc_auc_score(y, score))
    assert got["f1"] == pytest.approx(f1_score(y, chosen, average="macro"))
    assert got["recall"] == pytest.approx(sum(recalls) / 2)


@pytest.mark.parametrize("size", [7, N])
def test_a_weighted_loss_is_weighted_over_the_split(size: int) -> None:
    x, y = samples()
    got = found(build(loss={"path": "torch.nn:CrossEntropyLoss", "weight": [1.0, 4.0]}), size)
    whole = nn.functional.cross_entropy(x, y, weight=torch.tensor([1.0, 4.0]))
    assert got["loss"] == pytest.approx(float(whole))
    function = {"path": "torch.nn.functional:cross_entropy", "weight": [1.0, 4.0]}
    assert found(build(loss=function), size)["loss"] == pytest.approx(float(whole))


def test_a_metric_with_a_value_for_each_sample_is_their_mean_and_keeps_them() -> None:
    x, y = samples()
    trainable = build(metrics=[{"path": f"{__name__}:margin", "power": 2.0}])
    expected = margin(x, y, power=2.0)
    assert found(trainable, 7)["margin"] == pytest.approx(float(expected.mean()))
    each = measure_each(nn.Identity(), trainable, map(Batch, x.split(7), y.split(7)))
    assert each["margin"] == pytest.approx(expected.numpy())


def test_a_metric_of_all_samples_has_one_value_beside_those_of_each() -> None:
    x, y = samples()
    trainable = build(Summed(), metrics=METRICS)
    each = measure_each(nn.Identity(), trainable, map(Batch, x.split(7), y.split(7)))
    shapes = {name: values.shape for name, values in each.items()}
    assert shapes["loss"] == shapes["accuracy"] == (N,)
    assert shapes["auroc"] == shapes["f1"] == shapes["recall"] == (1,)


@pytest.mark.parametrize("size", [7, N])
def test_a_pair_is_a_sum_and_what_divides_it(size: int) -> None:
    x, y = samples()
    right = (x.argmax(1) == 1)[y == 1]
    assert found(build(Summed()), size)["recall"] == pytest.approx(float(right.double().mean()))


@pytest.mark.parametrize("size", [7, N])
def test_a_trainable_that_gives_means_is_asked_once_for_the_split(size: int) -> None:
    x, y = samples()
    got = found(build(MeanLosses()), size)
    assert got["loss"] == pytest.approx(float(nn.functional.cross_entropy(x, y)))
    assert got["largest"] == pytest.approx(float(x.max()))


def test_an_additive_function_is_called_for_every_batch() -> None:
    x, _ = samples()
    spec = {"path": f"{__name__}:largest_of_batch", "additive": True}
    parts = [float(part.amax()) * len(part) / N for part in x.split(25)]
    assert found(build(metrics=[spec]), 25)["largest_of_batch"] == pytest.approx(sum(parts))


def largest_of_batch(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.amax()


def test_a_metric_with_a_state_starts_anew_for_every_split() -> None:
    trainable = build(metrics=[f"{__name__}:Counter"])
    assert [found(trainable, 7)["Counter"] for _ in range(2)] == [N, N]


def test_a_state_is_forgotten_after_an_error() -> None:
    trainable = build(metrics=[f"{__name__}:Counter"])
    x, y = samples()
    with pytest.raises(ContractError, match="batch 2: no built-in loss is for outputs of type str"):
        measure(nn.Identity(), trainable, [Batch(x, y), Batch("text", y)])
    assert found(trainable, 7)["Counter"] == N


class Both(Counter):
    """Has two values."""

    def compute(self) -> Any:
        return {"count": self.seen, "half": self.seen / 2}


def test_each_of_several_values_has_a_name() -> None:
    got = found(build(metrics=[f"{__name__}:Both"]), 7)
    assert (got["Both_count"], got["Both_half"]) == (N, N / 2)


@pytest.mark.parametrize(
    ("spec", "high"),
    [
        ("torchmetrics.classification:BinaryAUROC", True),
        ("torchmetrics:MeanSquaredError", False),
        ({"path": "torchmetrics:MeanSquaredError", "higher_is_better": True}, True),
        (f"{__name__}:auroc", True),
        ({"path": f"{__name__}:auroc", "higher_is_better": False}, False),
    ],
)
def test_a_metric_says_which_direction_is_better(spec: Any, high: bool) -> None:
    trainable = build(metrics=[spec])
    name = Training.model_validate({"metrics": [spec]}).metrics[0].name
    assert trainable.is_better_high(name) is high


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (
            {"metrics": ["torchmetrics.classification:MulticlassF1Score"]},
            "MulticlassF1Score needs num_classes",
        ),
        (
            {"metrics": [{"path": f"{__name__}:margin", "powr": 2}]},
            r"takes no argument 'powr'; did you mean 'power'\?",
        ),
        (
            {"loss": f"{__name__}:hazard"},
            r":hazard needs event; it is called with the outputs and the targets, which are one",
        ),
        ({"metrics": [f"{__name__}:N"]}, "is int, not a function of outputs and targets"),
        ({"metrics": ["builtins:dict"]}, "a class without `update`, `compute` and `reset`"),
        ({"loss": f"{__name__}:Counter"}, "a loss is a function of outputs and targets"),
        ({"loss": {"path": "torch.nn:HuberLoss", "dleta": 1}}, "did you mean 'delta'"),
        ({"loss": "huber"}, "unknown loss 'huber'; valid: cross_entropy, or an import path"),
    ],
)
def test_what_is_no_loss_or_metric_is_refused_by_name(
    training: dict[str, Any], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        build(**training)


def test_shapes_that_are_no_metric_are_refused() -> None:
    with pytest.raises(ContractError, match=r"'pairs' .* float32 \(7, 2\); expected: .* \(7,\)"):
        found(build(Pairs()), 7)
    confusion = {
        "path": "torchmetrics.classification:MulticlassConfusionMatrix",
        "name": "confusion",
        "num_classes": 2,
    }
    with pytest.raises(
        ContractError, match=r"'confusion' is .*\(2, 2\); expected: one number: average"
    ):
        found(build(metrics=[confusion]), 7)
    with pytest.raises(ContractError, match=r"'whole' returned .*\(60, 2\); expected: .* \(60,\)"):
        found(build(metrics=[{"path": f"{__name__}:keep", "name": "whole"}]), 7)


def keep(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs
