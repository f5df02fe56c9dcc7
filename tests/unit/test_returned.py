"""Whatever losses, metrics, networks and optimisers of a user return or raise: one message."""

# ruff: noqa: ARG005  # lambdas have the signatures of the methods that they stand for

from __future__ import annotations

import sys
from bdb import BdbQuit
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.analysis.examine import examine
from trainables.build import build_training
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.batch import LABELS
from trainables.data.splits import Split, Splits, find_shape
from trainables.errors import ContractError
from trainables.functions import Pooled
from trainables.loop import train

HERE = __name__


def splits(inputs: Callable[[Any, Any], Any] = lambda x, _: x) -> Splits:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 4)).astype(np.float32), np.arange(40) % 2
    train, val = (Split(inputs(x[part], y[part]), y[part]) for part in (slice(24), slice(24, 40)))
    shape = find_shape(train.x)
    return Splits(train, val, None, DataInfo(shape, Task.CLASSIFICATION, 2, Kind.TABLE))


class Linear(Trainable):
    def build(self, info: DataInfo) -> nn.Module:
        return nn.Linear(4, 2)


def refused(
    trainable: Trainable | None = None, data: Splits | None = None, **training: Any
) -> ContractError:
    """The error of ``validate`` and, if the training can be built, that of a trial."""
    samples = data or splits()
    settings = Training.model_validate({"batch_size": 8, "eval_batch_size": 6, **training})
    with pytest.raises(ContractError) as caught:
        examine(build_training(trainable or Linear(), samples, settings), samples)
    assert "\n" not in str(caught.value)
    return caught.value


# losses and steps


def cross(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, targets)


def loss_item(outputs: Tensor, targets: Tensor) -> Any:
    return cross(outputs, targets).item()


def loss_raises(outputs: Tensor, targets: Tensor) -> Any:
    raise KeyError("weight")


def loss_ends_the_process(outputs: Tensor, targets: Tensor) -> Any:
    sys.exit("usage: loss [-h]")


LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "none": (
        lambda o, t: None,
        "returned None; expected: a float tensor with one loss per sample, (8,)",
    ),
    "item": (loss_item, "returned float 0."),
    "numpy": (lambda o, t: cross(o, t).detach().numpy(), "returned ndarray"),
    "text": (lambda o, t: "low", "returned str 'low'"),
    "dict": (lambda o, t: {"loss": cross(o, t)}, "returned a dict with the keys loss"),
    "tuple": (lambda o, t: (cross(o, t), o), "returned a tuple of 2"),
    "classes": (lambda o, t: o.softmax(1), "returned a tensor of float32 (8, 2)"),
    "integers": (lambda o, t: (o.argmax(1) != t).long(), "returned a tensor of int64 (8,)"),
    "detached": (lambda o, t: cross(o, t).detach(), "a loss without a gradient; expected"),
    "nan": (lambda o, t: cross(o, t) * float("nan"), "the loss of the first training step is nan"),
    "raises": (loss_raises, "raised KeyError: 'weight' (test_returned.py, line "),
    "exits": (loss_ends_the_process, "it ends the process, by SystemExit('usage: loss [-h]')"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_is_none_is_named_with_what_came_and_what_is_expected(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, words = LOSSES[name]
    monkeypatch.setattr(sys.modules[HERE], "tried", lambda o, t: function(o, t), raising=False)
    error = refused(loss=f"{HERE}:tried")
    assert words in str(error)
    own = type("Own", (Linear,), {"losses": lambda self, o, t: function(o, t)})
    assert words in str(refused(own()))
    if name not in ("nan", "detached"):
        assert "the loss of training.loss" in str(error)
        assert error.where == "training.loss"
        assert "Own.losses" in str(refused(own()))


STEPS: dict[str, tuple[Callable[[nn.Module, Any], Any], str]] = {
    "none": (lambda m, b: None, "Own.step returned None; expected: the loss of the batch, a float"),
    "number": (lambda m, b: 0.5, "Own.step returned float 0.5"),
    "each": (lambda m, b: m(b.x).sum(1), "Own.step returned a tensor of float32 (8,)"),
    "count": (lambda m, b: m(b.x).argmax(1).sum(), "Own.step returned a tensor of int64 ()"),
    "graphless": (
        lambda m, b: m(b.x).mean().detach(),
        "Own.step returned a loss without a gradient",
    ),
    "raises": (
        lambda m, b: b["x"],
        "TypeError: 'Batch' object is not subscriptable (test_returned",
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_returns_a_loss(name: str) -> None:
    function, words = STEPS[name]
    own = type("Own", (Linear,), {"step": lambda self, model, batch: function(model, batch)})
    assert words in str(refused(own()))


# metrics


class Broken:
    """A metric with a state that fails at one of its ends."""

    def __init__(self, at: str = "") -> None:
        self.at = at

    def reset(self) -> None:
        pass

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        if self.at == "update":
            raise ValueError("no such class")

    def compute(self) -> Any:
        match self.at:
            case "compute":
                raise ZeroDivisionError("no samples")
            case "none":
                return None
            case "text":
                return "high"
            case "several":
                return torch.zeros(2)
        return {1: 0.5}


METRICS: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "none": (
        lambda o, t: None,
        "the metric 'tried' returned None; expected: one value per sample, (16,)",
    ),
    "text": (lambda o, t: "high", "the metric 'tried' returned str 'high'"),
    "dict": (lambda o, t: {"f1": 0.5}, "returned a dict with the keys f1"),
    "shape": (lambda o, t: o, "returned a tensor of float32 (16, 2)"),
    "few": (lambda o, t: o[:3, 0], "returned a tensor of float32 (3,)"),
    "objects": (lambda o, t: [object()], "returned a list of 1"),
    "complex": (lambda o, t: 1j, "returned complex"),
    "raises": (
        loss_raises,
        "the metric 'tried' raised KeyError: 'weight' (test_returned.py, line ",
    ),
    "exits": (loss_ends_the_process, "it ends the process, by SystemExit('usage: loss [-h]')"),
}


@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_that_is_none_is_named(
    name: str, additive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, words = METRICS[name]
    monkeypatch.setattr(sys.modules[HERE], "tried", lambda o, t: function(o, t), raising=False)
    error = refused(eval_batch_size=256, metrics=[{"path": f"{HERE}:tried", "additive": additive}])
    assert words in str(error)
    assert str(error).startswith("val: ")
    assert error.where == "training.metrics"


@pytest.mark.parametrize(
    "value", [True, 1, 0.5, np.float32(0.5), np.ones(16), torch.ones(()), [1.0] * 16]
)
def test_numbers_of_all_kinds_are_metrics(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[HERE], "tried", lambda o, t: value, raising=False)
    samples = splits()
    settings = Training.model_validate({"metrics": [f"{HERE}:tried"]})
    assert "val/tried" in examine(build_training(Linear(), samples, settings), samples).metrics


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("update", "batch 1: the metric 'Broken' raised ValueError: no such class (test_returned"),
        ("compute", "the metric 'Broken' raised ZeroDivisionError: no samples (test_returned.py"),
        ("none", "'Broken' is None; expected: one number"),
        ("text", "'Broken' is str 'high'; expected: one number"),
        ("several", "'Broken' is a tensor of float32 (2,); expected: one number"),
        ("names", "the metric 'Broken' returned a metric named 1; expected: a printable text"),
    ],
)
def test_a_metric_with_a_state_that_fails(at: str, words: str) -> None:
    error = refused(metrics=[{"path": f"{HERE}:Broken", "at": at}])
    assert words in str(error)
    assert error.where == "training.metrics"


OWN_METRICS: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "none": (lambda o, t: None, "Own.metrics returned None; expected: a dict with values by"),
    "list": (lambda o, t: [o], "Own.metrics returned a list of 1"),
    "loss": (lambda o, t: {"loss": o[:, 0]}, "Own.metrics returned 'loss', which is the name"),
    "number": (lambda o, t: {1: o[:, 0]}, "Own.metrics returned a metric named 1"),
    "slash": (
        lambda o, t: {"top/1": o[:, 0]},
        "named 'top/1'; expected: a printable text without '/'",
    ),
    "lines": (lambda o, t: {"a\nb": o[:, 0]}, r"named 'a\nb'"),
    "empty": (lambda o, t: {"": o[:, 0]}, "named ''"),
    "value": (
        lambda o, t: {"top": None},
        "'top' of Own.metrics returned None; expected: one value",
    ),
    "raises": (lambda o, t: o.missing, "Own.metrics raised AttributeError: 'Tensor' object has no"),
}


@pytest.mark.parametrize("name", OWN_METRICS)
def test_a_trainable_returns_metrics_by_name(name: str) -> None:
    function, words = OWN_METRICS[name]
    own = type("Own", (Linear,), {"metrics": lambda self, o, t: function(o, t)})
    assert words in str(refused(own()))


EVALUATIONS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "none": (lambda o: None, "val: batch 1: Own.evaluate returned None; expected: a dict"),
    "tensor": (lambda o: o[:, 0], "Own.evaluate returned a tensor of float32 (6,)"),
    "no loss": (
        lambda o: {"top": o[:, 0]},
        "Own.evaluate returned no 'loss'; expected: 'loss' and",
    ),
    "number": (
        lambda o: {"loss": 0.5},
        "'loss' is float 0.5 for a batch of 6; expected: one value per",
    ),
    "text": (lambda o: {"loss": o[:, 0], "top": "high"}, "'top' is str 'high' for a batch of 6"),
    "dict": (lambda o: {"loss": {"a": o}}, "'loss' is a dict with the keys a"),
    "shape": (lambda o: {"loss": o}, "'loss' is a tensor of float32 (6, 2)"),
    "triple": (lambda o: {"loss": (1.0, 2.0, 3.0)}, "'loss' is a tuple of 3"),
    "bad sum": (lambda o: {"loss": (o, 2)}, "the sum of 'loss' is a tensor of float32 (6, 2)"),
    "bad count": (
        lambda o: {"loss": (o.sum(), None)},
        "the count of 'loss' is None; expected: one num",
    ),
    "raises": (
        lambda o: {"loss": o.missing},
        "Own.evaluate raised AttributeError: 'Tensor' object",
    ),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_evaluate_returns_what_can_be_measured(name: str) -> None:
    function, words = EVALUATIONS[name]
    own = type("Own", (Linear,), {"evaluate": lambda self, model, b: function(model(b.x))})
    assert words in str(refused(own()))


@pytest.mark.parametrize(
    ("evaluate", "words"),
    [
        (
            lambda o: {
                "loss": o[:, 0],
                "top": o[:, 1].squeeze() if len(o) > 4 else (o[:, 1].sum(), 4),
            },
            "'top' is a pair (sum, count) for this batch of 4, and was one value per sample before",
        ),
        (
            lambda o: {"loss": o[:, 0], **({} if len(o) > 4 else {"top": o[:, 0]})},
            "'top' is one value per sample for this batch of 4, and was missing before",
        ),
    ],
)
def test_a_metric_is_the_same_for_every_batch(
    evaluate: Callable[[Tensor], Any], words: str
) -> None:
    own = type("Own", (Linear,), {"evaluate": lambda self, model, b: evaluate(model(b.x))})
    run = build_training(own(), splits(), Training(batch_size=8, eval_batch_size=6))
    with pytest.raises(ContractError) as caught:
        next(train(run))
    assert str(caught.value).startswith("val: batch 3: ")
    assert words in str(caught.value)


def test_a_squeeze_of_a_batch_of_one_is_found() -> None:
    own = type("Own", (Linear,), {"metrics": lambda self, o, t: {"top": o[:, 0].squeeze()}})
    run = build_training(own(), splits(), Training(batch_size=8, eval_batch_size=5))
    with pytest.raises(ContractError, match=r"val: batch 4: 'top' is one of all .*`squeeze`"):
        next(train(run))


def test_a_metric_that_fails_in_a_trial_names_split_batch_and_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late(outputs: Tensor, targets: Tensor) -> Tensor:
        if len(outputs) == 4:
            raise ValueError("four")
        return outputs[:, 0]

    monkeypatch.setattr(sys.modules[HERE], "tried", late, raising=False)
    settings = {"metrics": [{"path": f"{HERE}:tried", "additive": True}], "eval_batch_size": 6}
    run = build_training(Linear(), splits(), Training.model_validate(settings))
    words = r"val: batch 3: the metric 'tried' raised ValueError: four \(test_returned\.py, line \d"
    with pytest.raises(ContractError, match=words):
        next(train(run))


def test_a_metric_of_nothing_is_not_a_number() -> None:
    own = type(
        "Own", (Linear,), {"evaluate": lambda self, m, b: {"loss": m(b.x)[:, 0], "recall": (0, 0)}}
    )
    *_, last = train(build_training(own(), splits(), Training(max_epochs=1)))
    assert np.isnan(last.metrics["val/recall"])


# networks


class Labelled(Trainable):
    """A network that is given its labels, and returns what the test says."""

    def __init__(self, returns: Callable[[Tensor, Tensor], Any]) -> None:
        self.returns = returns

    def build(self, info: DataInfo) -> nn.Module:
        returns = self.returns

        class Given(nn.Linear):
            def forward(self, x: Tensor, labels: Tensor) -> Any:  # type: ignore[override]  # as models of transformers
                return returns(super().forward(x), labels)

        return Given(4, 2)


NO_MODEL_OUTPUT: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "tensor": (lambda o, t: o, "It returned a tensor of float32 ("),
    "tuple": (lambda o, t: (cross(o, t), o), "It returned a tuple of 2"),
    "no logits": (lambda o, t: SimpleNamespace(loss=cross(o, t)), "It returned SimpleNamespace"),
    "no loss": (lambda o, t: SimpleNamespace(logits=o), "The `.loss` that it returned is None"),
}


@pytest.mark.parametrize("name", NO_MODEL_OUTPUT)
def test_a_network_that_gets_labels_returns_loss_and_logits(name: str) -> None:
    returns, words = NO_MODEL_OUTPUT[name]
    data = splits(lambda x, y: {"x": x, LABELS: y})
    error = refused(Labelled(returns), data)
    assert words in str(error)
    assert "it returns an object with `.loss` and `.logits`" in str(error)


class Modes(nn.Linear):
    """Returns auxiliary outputs in training mode, as some networks for images do."""

    def forward(self, x: Tensor) -> Any:  # type: ignore[override]  # two kinds
        outputs = super().forward(x)
        return (outputs, outputs) if self.training else outputs


def test_a_network_that_returns_something_else_in_training_mode() -> None:
    own = type("Own", (Linear,), {"build": lambda self, info: Modes(4, 2)})
    assert "no built-in loss is for outputs of type tuple" in str(refused(own()))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (None, "Own.build returned None; expected: an nn.Module"),
        (nn.Linear, "Own.build returned type; expected: an nn.Module"),
        (torch.nn.functional.relu, "Own.build returned function"),
    ],
)
def test_build_returns_a_network(made: Any, words: str) -> None:
    own = type("Own", (Linear,), {"build": lambda self, info: made})
    assert words in str(refused(own()))


def test_outputs_that_are_nan_are_not_called_different() -> None:
    class Nan(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).log()

    own = type("Own", (Linear,), {"build": lambda self, info: Nan(4, 2)})
    assert "the loss of the first training step is nan" in str(refused(own()))


# optimisers

OPTIMISERS: dict[str, tuple[Callable[[list[nn.Parameter]], Any], str]] = {
    "none": (
        lambda ps: None,
        "Own.optimizer returned None; expected: an optimizer, (optimizer, sched",
    ),
    "class": (lambda ps: torch.optim.SGD, "Own.optimizer returned type"),
    "several": (
        lambda ps: [torch.optim.SGD([p]) for p in ps],
        "Own.optimizer returned 2 optimizers",
    ),
    "part": (lambda ps: torch.optim.SGD(ps[:1]), "lacks bias, which the network trains; add them"),
    "copies": (
        lambda ps: torch.optim.SGD([*ps, nn.Parameter(torch.ones(1))]),
        "has 1 parameters that are not the network's",
    ),
    "empty": (
        lambda ps: torch.optim.SGD([]),
        "Own.optimizer raised ValueError: optimizer got an empty",
    ),
    "raises": (lambda ps: ps.head, "Own.optimizer raised AttributeError: 'list' object has no"),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_optimiser_trains_the_network(name: str) -> None:
    make, words = OPTIMISERS[name]
    own = type("Own", (Linear,), {"optimizer": lambda self, ps, training: make(list(ps))})
    error = refused(own())
    assert words in str(error)
    assert error.where == "trainable"


def test_an_override_may_read_the_parameters_twice() -> None:
    def group(self: object, parameters: list[nn.Parameter], training: object) -> torch.optim.SGD:
        matrices = [p for p in parameters if p.ndim > 1]
        others = [p for p in parameters if p.ndim <= 1]
        return torch.optim.SGD([{"params": matrices}, {"params": others, "lr": 1e-4}], 1e-3)

    own = type("Own", (Linear,), {"optimizer": group})
    samples = splits()
    examine(build_training(own(), samples, Training(batch_size=8)), samples)


# what is no fault of the code


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, BdbQuit])
def test_errors_that_are_none_of_the_code_pass(error: type[Exception]) -> None:
    def fail(outputs: Tensor, targets: Tensor) -> Tensor:
        raise error("40 GiB")

    own = type("Own", (Linear,), {"metrics": lambda self, o, t: {"top": fail(o, t)}})
    with pytest.raises(error):
        next(train(build_training(own(), splits(), Training(max_epochs=1))))


def test_a_pooled_function_is_named_by_its_metric() -> None:
    def pooled(_: Trainable, model: nn.Module, b: Any) -> Any:
        return {"loss": model(b.x)[:, 0], "top": Pooled(lambda o, t: None, b.x, b.y)}

    own = type("Own", (Linear,), {"evaluate": pooled})
    assert "val: 'top' returned None" in str(refused(own()))
