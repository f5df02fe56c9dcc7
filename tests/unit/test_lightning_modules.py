"""A ``LightningModule`` as what a sweep trains, by its own steps, optimisers and Trainer."""

from __future__ import annotations

import io
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import pytorch_lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from tests.specs import parse
from trainables.data.datasets import load
from trainables.errors import ContractError, DivergedError
from trainables.loops.opening import open_run
from trainables.run import EpochResult, Run

N, VAL, TEST = 48, 24, 16
X = torch.randn(N + VAL + TEST, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] + 0.3 * torch.randn(len(X), generator=torch.Generator().manual_seed(1)) > 0).long()
L2 = {"penalty": "l2", "lambda": 0.1}


def arrays() -> Any:
    ends = {"train": (0, N), "val": (N, N + VAL), "test": (N + VAL, len(X))}
    return {name: (X[a:b], Y[a:b]) for name, (a, b) in ends.items()}


def thrice() -> Any:
    """Two inputs and the target in one tuple."""
    return {name: (x, x[:, :1], y) for name, (x, y) in arrays().items()}


def named() -> Any:
    return {name: {"ids": x, "labels": y} for name, (x, y) in arrays().items()}


class Net(pl.LightningModule):
    """A module as people write it, which notes the calls of its hooks."""

    def __init__(self, lr: float = 0.05, weight_decay: float = 0.1, p: float = 0.2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(p), nn.Linear(8, 2))
        self.calls: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]  # a module is untyped

    def compute(self, batch: Any) -> Tensor:
        x, y = batch
        return functional.cross_entropy(self(x), y, weight=torch.tensor([1.0, 3.0]))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.calls.append("training_step")
        loss = self.compute(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.calls.append("validation_step")
        self.log("val_loss", self.compute(batch))

    def configure_optimizers(self) -> Any:
        self.calls.append("configure_optimizers")
        return torch.optim.AdamW(
            self.parameters(), self.hparams["lr"], weight_decay=self.hparams["weight_decay"]
        )


def open_fit(
    name: str, params: Any = None, *, baseline: bool = False, data: str = "arrays", **changes: Any
) -> Run:
    changes = {"training": {"max_epochs": 3, "batch_size": 8}, "early_stopping": "off", **changes}
    spec = parse(data={"name": f"{__name__}:{data}"}, trainable=f"{__name__}:{name}", **changes)
    return open_run(spec, params or {}, load(spec.data), baseline=baseline, device="cpu")


def fit(name: str, params: Any = None, **options: Any) -> list[EpochResult]:
    return list(open_fit(name, params, **options).train())


def test_its_own_steps_and_optimizer_train_it() -> None:
    run = open_fit("Net")
    results = list(run.train())
    assert [r.done for r in results] == [False, False, True]
    assert set(results[0].metrics) >= {"train/loss", "val/loss", "gap/loss", "train_reported/loss"}
    calls: Any = run.model.calls
    assert calls.count("configure_optimizers") == 1
    assert calls.count("training_step") == 3 * N // 8
    assert calls.count("validation_step") >= 3
    assert run.model.hparams["lr"] == 0.05  # type: ignore[index, union-attr]  # a module's attribute


def test_both_sides_have_the_loss_of_its_validation_step() -> None:
    run = open_fit("Net")
    *_, last = run.train()
    run.model.eval()
    val = DataLoader(TensorDataset(X[N : N + VAL], Y[N : N + VAL]), batch_size=VAL)
    with torch.no_grad():
        (expected,) = (run.model.compute(batch) for batch in val)  # type: ignore[operator]  # a module's method
    assert last.metrics["val/loss"] == pytest.approx(float(expected), rel=1e-5)
    assert last.metrics["gap/loss"] == pytest.approx(
        last.metrics["val/loss"] - last.metrics["train/loss"], abs=1e-6
    )


def test_penalties_act_on_its_weights_and_its_decay_is_off_in_the_baseline() -> None:
    def final(params: Any, **options: Any) -> Tensor:
        run = open_fit("Net", params, **options)
        list(run.train())
        return torch.cat([p.detach().flatten() for p in run.model.parameters()])

    plain = final({})
    assert not torch.equal(final(L2), plain)
    assert final({**L2, "lambda": 10.0})[:32].norm() < 0.5 * plain[:32].norm()
    without = final({}, model={"weight_decay": 0.0})
    assert torch.equal(final({}, baseline=True), without)
    assert not torch.equal(plain, without)


def test_a_coupled_penalty_is_in_the_gradient_that_the_closure_computes() -> None:
    training = {"max_epochs": 1, "batch_size": N, "l2_update": "coupled"}
    plain = open_fit("Plain", training=training)
    run = open_fit("Plain", {**L2, "lambda": 0.5}, training=training)
    for one in (plain, run):
        list(one.train())
    weights = [dict(one.model.named_parameters())["net.0.weight"] for one in (plain, run)]
    start = Plain().net[0].weight
    # w − lr·(g + 2·λ·w) is the plain step less lr·2·λ·w
    assert torch.allclose(weights[1], weights[0] - 0.1 * 2 * 0.5 * start, atol=1e-6)


class Plain(Net):
    """A network without dropout, of the same weights each time, trained by plain SGD."""

    def __init__(self) -> None:
        super().__init__(p=0.0)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.linspace(-0.5, 0.5, p.numel()).view_as(p))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_dropout_of_the_space_is_set_in_it() -> None:
    run = open_fit("Net", {"dropout": 0.4})
    next(run.train())
    assert run.model.net[2].p == 0.4  # type: ignore[index, union-attr]  # a module's attribute


class Stepwise(Net):
    """Schedules per step and per epoch, and one that watches the validation."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)
        steps = int(self.trainer.estimated_stepping_batches)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=steps)
        decay = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        return [optimizer], [{"scheduler": cycle, "interval": "step"}, decay, plateau]

    def on_train_epoch_end(self) -> None:
        self.log("epochs_seen", float(self.current_epoch + 1))
        self.log("train_lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        self.log("train_steps", float(self.global_step))


class Manual(Net):
    """Manual optimisation by two optimisers."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        for optimizer in self.optimizers():  # type: ignore[union-attr]  # there are two
            optimizer.zero_grad()
            self.manual_backward(self.compute(batch))
            optimizer.step()
        self.log("train_drawn", torch.rand(()))

    def configure_optimizers(self) -> Any:
        first, second = self.net[0].parameters(), self.net[3].parameters()
        return [torch.optim.Adam(first, 0.01), torch.optim.SGD(second, 0.1, momentum=0.9)]


class Older(pytorch_lightning.LightningModule):
    """The other package's class; its validation step returns the loss."""

    def __init__(self, outputs: int, input_shape: Any) -> None:
        super().__init__()
        self.net = nn.Linear(*input_shape, outputs)

    def training_step(self, batch: Any) -> Any:
        x, y = batch
        return {"loss": functional.cross_entropy(self.net(x), y)}

    def validation_step(self, batch: Any) -> Any:
        x, y = batch
        return functional.cross_entropy(self.net(x), y)

    def configure_optimizers(self) -> Any:
        return {"optimizer": torch.optim.Adam(self.parameters(), 0.01)}


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("Net", {**L2, "dropout": 0.3, "augmentation": "noise", "augmentation_strength": 0.5}),
        ("Net", {"ema": 0.9}),
        ("Stepwise", {}),
        ("Manual", {}),
        ("Older", {}),
    ],
)
@pytest.mark.parametrize("epochs", [1, 2])
def test_a_fit_that_was_killed_goes_on_as_if_it_were_not(
    name: str, params: Any, epochs: int
) -> None:
    whole = fit(name, params)
    first = open_fit(name, params)
    results = first.train()
    before = [next(results) for _ in range(epochs)]
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = open_fit(name, params)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert [*before, *second.train()] == whole
    first.close()


def test_a_fit_goes_on_with_what_was_restored_and_not_anew() -> None:
    """The restored epochs must not be trained again."""
    first = open_fit("Stepwise")
    results = first.train()
    next(results), next(results)
    second = open_fit("Stepwise")
    second.load_state_dict(first.state_dict())
    (last,) = second.train()
    assert last.epoch == 3
    assert last.metrics["train_reported/steps"] == 3 * N // 8
    first.close()


def test_early_stopping_ends_a_fit_in_order() -> None:
    run = open_fit(
        "Ended",
        training={"max_epochs": 30, "batch_size": 8},
        early_stopping={"metric": "val/loss", "patience": 1},
    )
    results = list(run.train())
    assert len(results) < 30
    assert run.model.calls[-2:] == ["on_train_end", "on_fit_end"]  # type: ignore[index]  # a list
    assert run.best_metrics()["epoch"] < len(results)


class Ended(Net):
    def __init__(self) -> None:
        super().__init__(lr=1.0)

    def on_train_end(self) -> None:
        self.calls.append("on_train_end")

    def on_fit_end(self) -> None:
        self.calls.append("on_fit_end")


class Metrics(Net):
    """Metrics of torchmetrics, of an epoch's end, and of other reductions."""

    def __init__(self) -> None:
        super().__init__()
        self.f1 = MulticlassF1Score(2, average="macro")
        self.accuracy = MulticlassAccuracy(2, average="micro")
        self.seen: list[Tensor] = []

    def on_validation_epoch_start(self) -> None:
        self.seen = []

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        x, y = batch
        outputs = self(x)
        self.f1.update(outputs, y)
        self.accuracy.update(outputs, y)
        self.seen.append(y)
        loss = functional.cross_entropy(outputs, y)
        self.log_dict({"val/loss": loss, "val_f1": self.f1}, on_epoch=True, prog_bar=True)
        self.log("val_acc", self.accuracy)
        self.log("val_batches", 1.0, reduce_fx="sum")
        self.log("val_now", loss, on_step=True, on_epoch=False)

    def on_validation_epoch_end(self) -> None:
        self.log("val_share", torch.cat(self.seen).float().mean())


def test_metrics_are_those_of_whole_sides() -> None:
    training = {"max_epochs": 1, "batch_size": 8, "eval_batch_size": 5}
    run = open_fit("Metrics", training=training)
    (result,) = run.train()
    found = result.metrics
    assert {"accuracy", "f1", "share", "batches"} <= {k[4:] for k in found if k.startswith("val/")}
    assert "val/now" not in found
    outputs: Tensor = run.model.eval()(X[N : N + VAL]).detach()
    y = Y[N : N + VAL]
    assert found["val/accuracy"] == pytest.approx(float((outputs.argmax(1) == y).float().mean()))
    assert found["val/f1"] == pytest.approx(float(MulticlassF1Score(2)(outputs, y)), abs=1e-6)
    assert found["val/loss"] == pytest.approx(float(functional.cross_entropy(outputs, y)), rel=1e-5)
    assert found["val/share"] == pytest.approx(float(y.float().mean()))
    assert found["val/batches"] == 5
    for name in ("accuracy", "f1"):  # higher is better: the gap is train − val
        expected = found[f"train/{name}"] - found[f"val/{name}"]
        assert found[f"gap/{name}"] == pytest.approx(expected)


class Thrice(Net):
    def compute(self, batch: Any) -> Tensor:
        x, also, y = batch
        assert also.shape == (len(y), 1)
        return functional.cross_entropy(self(x), y)


class Named(Net):
    def compute(self, batch: Any) -> Tensor:
        return functional.cross_entropy(self(batch["ids"]), batch["labels"])


@pytest.mark.parametrize(("name", "data"), [("Thrice", "thrice"), ("Named", "named")])
def test_batches_come_in_the_form_of_the_data(name: str, data: str) -> None:
    assert len(fit(name, data=data)) == 3


def test_augmentation_changes_batches_of_the_training_only() -> None:
    params = {"augmentation": "noise", "augmentation_strength": 1.0}
    run = open_fit("Looking", params)
    next(run.train())
    model: Any = run.model
    assert not any(set(rows) & _rows(X) for rows in model.trained)
    assert all(set(rows) <= _rows(X) for rows in model.validated)


def _rows(x: Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in x.tolist()}


class Looking(Net):
    def __init__(self) -> None:
        super().__init__()
        self.trained: list[Any] = []
        self.validated: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.trained.append(_rows(batch[0]))
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.validated.append(_rows(batch[0]))
        assert self.trainer.validating
        super().validation_step(batch, batch_idx)


def test_options_of_the_spec_reach_the_trainer() -> None:
    training = {"max_epochs": 2, "batch_size": 8, "steps_per_epoch": 3, "clip_norm": 0.5}
    run = open_fit("Net", training=training)
    results = list(run.train())
    trainer: Any = run.model.trainer
    assert (trainer.max_epochs, trainer.gradient_clip_val) == (2, 0.5)
    assert run.model.calls.count("training_step") == 6  # type: ignore[operator, union-attr]  # a list
    assert len(results) == 2


def test_it_writes_nothing_and_leaves_signals_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = open_fit("Net")
    results = run.train()
    next(results)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    list(results)
    assert not [*tmp_path.iterdir()]
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")


class Interrupted(Net):
    def on_train_epoch_end(self) -> None:
        raise KeyboardInterrupt


def test_ctrl_c_is_not_swallowed() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit("Interrupted")
    assert signal.getsignal(signal.SIGINT) is before


class NoValidation(Net):
    validation_step = pl.LightningModule.validation_step  # type: ignore[assignment]  # as if it were not defined


class NoOptimizers(Net):
    configure_optimizers = pl.LightningModule.configure_optimizers


class NoneReturned(Net):
    def configure_optimizers(self) -> Any:
        return None


class LogsNothing(Net):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        pass


class LogsNoLoss(Net):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val_acc", 0.5)


class Asking(Net):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.compute(batch) * self.trainer.datamodule.scale  # type: ignore[attr-defined]  # there is none


class Diverging(Net):
    def compute(self, batch: Any) -> Tensor:
        return super().compute(batch) * float("nan")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("NoValidation", {}, r"NoValidation does not define validation_step: both sides of the"),
        ("NoOptimizers", {}, r"NoOptimizers does not define configure_optimizers: it makes the"),
        ("NoneReturned", {}, r"NoneReturned\.configure_optimizers returns no optimizer"),
        ("LogsNothing", {}, r"LogsNothing\.validation_step logs nothing: call self\.log\('val_"),
        ("LogsNoLoss", {}, r"validation_step logs accuracy, but no loss: call"),
        ("Asking", {}, r"AttributeError: 'NoneType' object has no attribute 'scale' \(test_light"),
        ("Diverging", {}, r"train/loss is nan in epoch 1"),
        ("Manual", {"params": L2}, r"returns 2 optimizers; a penalty needs the one that trains"),
        ("Net", {"model": {"hidden": 3}}, r"Net takes no argument 'hidden'; valid: lr, weight_d"),
        ("Net", {"params": {"mixup": 0.4}}, r"training_step takes no mixed or smoothed targets"),
    ],
)
def test_what_cannot_be_fitted_is_a_sentence(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((ContractError, DivergedError), match=message):
        fit(name, **options)


class Skipping(Net):
    """Skips each second batch, as Lightning lets a step return None."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.compute(batch) if batch_idx % 2 else None


def test_a_step_may_skip_its_batch() -> None:
    assert len(fit("Skipping")) == 3
