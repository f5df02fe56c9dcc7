"""Texts as token ids whose first one says the class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

LENGTH = 6


class Texts(Dataset[dict[str, Tensor]]):
    """Token ids whose first one says the class."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.ids = torch.randint(2, 40, (count, LENGTH), generator=generator)
        self.labels = (self.ids[:, 0] > 20).long()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.ids[index], "labels": self.labels[index]}


class Unlabelled(Texts):
    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.ids[index]}
