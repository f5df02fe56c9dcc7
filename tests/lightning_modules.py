"""Modules of Lightning as people write them, and their data."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import pytorch_lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from tests.noisy_samples import VAL, N, X, Y, rows_of


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


class Plain(Net):
    """A network without dropout, of the same weights each time, trained by plain SGD."""

    def __init__(self) -> None:
        super().__init__(p=0.0)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.linspace(-0.5, 0.5, p.numel()).view_as(p))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


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


class Thrice(Net):
    def compute(self, batch: Any) -> Tensor:
        x, also, y = batch
        assert also.shape == (len(y), 1)
        return functional.cross_entropy(self(x), y)


class Named(Net):
    def compute(self, batch: Any) -> Tensor:
        return functional.cross_entropy(self(batch["ids"]), batch["labels"])


class Looking(Net):
    def __init__(self) -> None:
        super().__init__()
        self.trained: list[Any] = []
        self.validated: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.trained.append(rows_of(batch[0]))
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.validated.append(rows_of(batch[0]))
        assert self.trainer.validating
        super().validation_step(batch, batch_idx)


class Interrupted(Net):
    def on_train_epoch_end(self) -> None:
        raise KeyboardInterrupt


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


class Skipping(Net):
    """Skips each second batch, as Lightning lets a step return None."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.compute(batch) if batch_idx % 2 else None


class Plateau(Net):
    """A schedule that watches the validation, without naming a metric."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        match self.form:
            case "pair":
                return [optimizer], [plateau]
            case "mapping":
                return {"optimizer": optimizer, "lr_scheduler": plateau}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau}}


def build() -> Net:
    return Net()


class Headless(Net):
    """A module whose steps call its parts, without a forward of its own."""

    forward = pl.LightningModule.forward

    def compute(self, batch: Any) -> Tensor:
        x, y = batch
        return functional.cross_entropy(self.net(x), y)


def build_older() -> pytorch_lightning.LightningModule:
    return Older(2, (4,))


class Images(Net):
    """A module for the images of the tests' data."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))


class Seeing(Net):
    """Notes the inputs of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[Tensor]] = {"train": [], "val": []}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.seen["train"].append(batch[0])
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.seen["val"].append(batch[0])
        super().validation_step(batch, batch_idx)


class Unvalidated(pl.LightningModule):
    """A module without a validation, which logs its training."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        loss = functional.cross_entropy(self.net(x), y)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        self.log("val_made_up", 0.5)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


class Shifting(pl.LightningDataModule):
    """Moves all inputs, in place of the module's own hook."""

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(X[:N], Y[:N]), 8, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(TensorDataset(X[N : N + VAL], Y[N : N + VAL]), VAL)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch[0] + 50, batch[1]
