"""A user's own network that takes as long as it is told to, and sweeps of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EPOCHS = 4
CODE = """
import time
from pathlib import Path

from torch import nn


class Net(nn.Module):
    def __init__(self, outputs, pause=0.0, barrier="-"):
        super().__init__()
        self.pause, self.barrier = pause, Path(barrier)
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, outputs)
        )

    def forward(self, x):
        time.sleep(self.pause)
        while self.barrier.exists():
            time.sleep(0.05)
        return self.body(x)
"""


@contextmanager
def held(barrier: Path) -> Iterator[None]:
    """Let the networks that have this barrier wait in a forward pass while the block runs."""
    barrier.touch()
    yield
    barrier.unlink()


def spec_of(
    trials: int,
    pause: float = 0.0,
    concurrent: int = 1,
    barrier: Path | None = None,
    retries: int = 2,
) -> dict[str, Any]:
    """A sweep in which nothing ends early; ``pause`` is in seconds, of each forward pass."""
    model = {"pause": pause, **({"barrier": str(barrier)} if barrier else {})}
    return {
        "name": "paced",
        "trainable": "paced:Net",
        "data": {"name": "digits"},
        "model": model,
        "training": {"max_epochs": EPOCHS},
        "space": {"dropout": {"float": [0.0, 0.6]}},
        "search": {"sampler": "random", "pruner": "none"},
        "early_stopping": "off",
        "budget": {"trials": trials},
        "confirm": "off",
        "resources": {"concurrent": concurrent, "retries": retries},
    }
