"""A user's own network that takes as long as it is told to, and sweeps of it."""

from __future__ import annotations

from typing import Any

EPOCHS = 4
CODE = """
import time

from torch import nn


class Net(nn.Module):
    def __init__(self, outputs, pause=0.0):
        super().__init__()
        self.pause = pause
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, outputs)
        )

    def forward(self, x):
        time.sleep(self.pause)
        return self.body(x)
"""


def spec_of(trials: int, pause: float = 0.0, concurrent: int = 1) -> dict[str, Any]:
    """A sweep in which nothing ends early; ``pause`` is in seconds, of each forward pass."""
    return {
        "name": "paced",
        "trainable": "paced:Net",
        "data": {"name": "digits"},
        "model": {"pause": pause},
        "training": {"max_epochs": EPOCHS},
        "space": {"dropout": {"float": [0.0, 0.6]}},
        "search": {"sampler": "random", "pruner": "none"},
        "early_stopping": "off",
        "budget": {"trials": trials},
        "resources": {"concurrent": concurrent},
    }
