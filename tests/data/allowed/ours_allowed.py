"""A module of a server's operator: what a spec may name, and what it may not."""

import os
from pathlib import Path

import torch
from gapsweep import Penalty
from optuna.samplers import RandomSampler
from torch import nn

__all__ = ["Net", "NotANet", "Small", "copied", "focal", "make", "opener", "settings", "splits"]


class Net(nn.Module):
    def __init__(self, input_shape, outputs, act=None, options=None):
        super().__init__()
        self.layer = nn.Linear(input_shape[0], outputs)

    def forward(self, x):
        return self.layer(x)


class Hidden(Net):
    """Not in __all__."""


class NotANet:
    def __init__(self, path="CALLED"):
        Path(path).touch()


class Small(Penalty):
    def value(self, weight):
        return weight.square().sum()


class Sampler(RandomSampler):
    pass


def make(path="CALLED"):
    Path(path).touch()


def opener(path="CALLED"):
    Path(path).touch()


def focal(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets)


def splits(rows=60, extra=None):
    x = torch.randn(rows, 5)
    y = (x[:, 0] > 0).long()
    return {"train": (x[: rows // 2], y[: rows // 2]), "val": (x[rows // 2 :], y[rows // 2 :])}


settings = {"a": 1}
copied = os.getcwd
