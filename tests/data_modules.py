"""Data modules of Lightning as people write them, and wrong ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning.pytorch
import pytorch_lightning
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, random_split

from tests.few_samples import TEST, VAL, N, X, Y, some


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


class Plain(lightning.pytorch.LightningDataModule):
    """Parts of a data module as people write it, which notes the calls of its methods."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.calls: list[str] = []

    def prepare_data(self) -> None:
        self.calls.append("prepare_data")

    def setup(self, stage: str) -> None:
        self.calls.append(f"setup {stage}")
        if stage == "fit":
            self.train, self.val = some(0, N), some(N, VAL)
        else:
            self.held = some(N + VAL, TEST)

    def train_dataloader(self) -> Any:
        return DataLoader(self.train, self.hparams["size"], shuffle=True)

    def val_dataloader(self) -> Any:
        return [DataLoader(self.val, 5)]


class WithTest(Plain):
    def test_dataloader(self) -> Any:
        return DataLoader(self.held, 5)


class Older(pytorch_lightning.LightningDataModule):
    """The other package's class, without a constructor."""

    def setup(self, stage: Any = None) -> None:
        self.train, self.val = random_split(some(0, N + VAL), [N, VAL])  # type: ignore[var-annotated]  # mypy does not infer the items

    def train_dataloader(self) -> Any:
        return DataLoader(self.train, 8)

    def val_dataloader(self) -> Any:
        return DataLoader(self.val, 8)


class Folds(Plain):
    """A data module that divides by a seed."""

    def __init__(self, seed: int = 3) -> None:
        super().__init__()
        self.seed = seed

    def setup(self, stage: str) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        self.train, self.val = random_split(some(0, N + VAL), [N, VAL], generator)
        self.held = some(N + VAL, TEST)

    def train_dataloader(self) -> Any:
        return DataLoader(self.train, 8)

    def test_dataloader(self) -> Any:
        return DataLoader(self.held, 5)


class Hooked(Plain):
    """Shifts batches of the training only, where the trainer says so, and doubles all."""

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        x, y = batch
        assert self.trainer is not None
        return (x + 100 if self.trainer.training else x), y

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch[0] * 2, batch[1]


def made() -> Any:
    return Plain.from_datasets(some(0, N), some(N, VAL), some(N + VAL, TEST), batch_size=4)


class Noisy(Hooked):
    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        assert self.trainer is not None
        return (batch[0] + torch.rand(()) if self.trainer.training else batch[0]), batch[1]


class Named(Dataset[Any]):
    """Samples as mappings, with texts beside tensors."""

    def __init__(self, start: int, count: int) -> None:
        self.start, self.count = start, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        place = self.start + index
        return {"image": X[place], "label": Y[place], "name": f"row {place}"}


class Mappings(Plain):
    def setup(self, stage: str) -> None:
        self.train, self.val = Named(0, N), Named(N, VAL)


class NoVal(lightning.pytorch.LightningDataModule):
    def train_dataloader(self) -> Any:
        return DataLoader(some(0, N), 8)


class Several(Plain):
    def val_dataloader(self) -> Any:
        return [DataLoader(self.val, 5), DataLoader(self.held, 5)]

    def setup(self, stage: str) -> None:
        super().setup("fit")
        super().setup("test")


class Keyed(Plain):
    def train_dataloader(self) -> Any:
        return {"a": DataLoader(self.train), "b": DataLoader(self.val)}


class Combined(Plain):
    def train_dataloader(self) -> Any:
        return CombinedLoader({"a": DataLoader(self.train), "b": DataLoader(self.val)})


class Nothing(Plain):
    def val_dataloader(self) -> Any:
        return None


class Broken(Plain):
    def setup(self, stage: str) -> None:
        raise FileNotFoundError("no /data/images")


class Asking(Plain):
    def setup(self, stage: str) -> None:
        super().setup(stage)
        assert self.trainer is not None
        assert self.trainer.world_size == 1
        _ = self.trainer.callbacks


class Moving(Plain):
    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return batch


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return zip(X, Y, strict=True)


class Streaming(Hooked):
    def train_dataloader(self) -> Any:
        return DataLoader(Stream(), 8)
