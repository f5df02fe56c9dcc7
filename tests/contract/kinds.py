"""Kinds of data, each with a network and a loss that it is for: what users' functions return.

A kind is one entry of :data:`KINDS`; every check of ``test_kinds.py`` takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset

TRAIN, VAL = 61, 24
IDS, LENGTH = 12, 5


@dataclass(frozen=True)
class Kind:
    """A data function and a network of this module, and what the training is told.

    ``exports``: whether the network's forward can be exported as it is.
    """

    data: str
    network: str
    training: dict[str, Any] = field(default_factory=dict)
    exports: bool = True


def draw(name: str) -> tuple[Tensor, Tensor]:
    """Ids of a split, and whether their mean is high."""
    generator = torch.Generator().manual_seed(0 if name == "train" else 1)
    count = TRAIN if name == "train" else VAL
    ids = torch.randint(1, IDS, (count, LENGTH), generator=generator)
    return ids, (ids.float().mean(1) > IDS / 2).long()


def floats(ids: Tensor) -> Tensor:
    return ids.float() / IDS


def pair() -> Any:
    return {n: (floats(x), y) for n in ("train", "val") for x, y in [draw(n)]}


def tuples() -> Any:
    return {n: ((ids, ids % 2), y) for n in ("train", "val") for ids, y in [draw(n)]}


def dicts() -> Any:
    return {n: ({"ids": ids, "mask": ids % 2}, y) for n in ("train", "val") for ids, y in [draw(n)]}


def labelled() -> Any:
    return {
        n: {"ids": ids, "mask": ids % 2, "labels": y}
        for n in ("train", "val")
        for ids, y in [draw(n)]
    }


def tokens() -> Any:
    """A class for each position, of which those of the lowest ids do not count."""
    made = {}
    for name in ("train", "val"):
        ids, _ = draw(name)
        made[name] = (ids, torch.where(ids < 3, -100, ids % 2))
    return made


def heads() -> Any:
    return {
        n: (floats(x), {"high": y, "sum": floats(x).sum(1)})
        for n in ("train", "val")
        for x, y in [draw(n)]
    }


class Texts(Dataset[tuple[dict[str, Tensor], Tensor]]):
    """Named inputs, one sample at a time."""

    def __init__(self, name: str) -> None:
        self.ids, self.y = draw(name)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], Tensor]:
        return {"ids": self.ids[index], "mask": self.ids[index] % 2}, self.y[index]


def dataset() -> Any:
    return {name: Texts(name) for name in ("train", "val")}


def loader() -> Any:
    return {
        "train": DataLoader(Texts("train"), batch_size=16, shuffle=True),
        "val": DataLoader(Texts("val"), batch_size=16),
    }


class Stream(IterableDataset[tuple[dict[str, Tensor], Tensor]]):
    """The same samples, one after another."""

    def __init__(self, name: str) -> None:
        self.texts = Texts(name)

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        return (self.texts[i] for i in range(len(self.texts)))


def stream() -> Any:
    return {name: Stream(name) for name in ("train", "val")}


class Plain(nn.Module):
    """Of one tensor of floats."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(LENGTH, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.layers(x))


class Reader(nn.Module):
    """Of ids and which of them count, by position or by name."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.drop, self.head = (
            nn.Embedding(IDS, 4),
            nn.Dropout(0.1),
            nn.Linear(4, 2),
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        weight = mask.unsqueeze(-1) + 0.5
        return torch.as_tensor(self.head(self.drop((self.embedding(ids) * weight).mean(1))))


class LossReader(Reader):
    """Computes its loss from its labels, as models of transformers do."""

    def forward(  # type: ignore[override]  # it takes labels too
        self, ids: Tensor, mask: Tensor, labels: Tensor | None = None
    ) -> Any:
        logits = super().forward(ids, mask)
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return SimpleNamespace(loss=loss, logits=logits)


class Tagger(nn.Module):
    """A class for each position."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Embedding(IDS, 4), nn.Dropout(0.1), nn.Linear(4, 2))

    def forward(self, ids: Tensor) -> Tensor:
        return torch.as_tensor(self.layers(ids))


class Heads(Plain):
    """A class and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = nn.Linear(LENGTH, 1)

    def forward(self, x: Tensor) -> Any:  # type: ignore[override]  # two outputs
        return {"high": super().forward(x), "sum": self.sum(x).squeeze(1)}


def both_losses(outputs: Any, targets: Any) -> Tensor:
    """One loss for each sample."""
    high = functional.cross_entropy(outputs["high"], targets["high"], reduction="none")
    return high + functional.mse_loss(outputs["sum"], targets["sum"], reduction="none")


KINDS: dict[str, Kind] = {
    "a pair of arrays": Kind("pair", "Plain"),
    "a tuple of inputs": Kind("tuples", "Reader"),
    "named inputs": Kind("dicts", "Reader"),
    "labels among the inputs": Kind("labelled", "LossReader", exports=False),
    "labels that the network does not take": Kind("labelled", "Reader", exports=False),
    "a class for each token": Kind("tokens", "Tagger"),
    "two heads": Kind("heads", "Heads", {"loss": f"{__name__}:both_losses"}),
    "a dataset": Kind("dataset", "Reader"),
    "a loader": Kind("loader", "Reader"),
    "a stream": Kind("stream", "Reader"),
}
