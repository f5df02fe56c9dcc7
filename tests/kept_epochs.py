"""An MLP whose trials keep a checkpoint of every epoch, and count their steps in a file."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from service.cluster import checkpoint
from trainables.contract import Batch
from trainables.models import MLP

checkpoint.PERIOD = checkpoint.SHARE = 0


class Counted(MLP):
    def __init__(self, hidden: Sequence[int], steps: str) -> None:
        super().__init__(hidden)
        self._steps = Path(steps)

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        if "RAY_RAYLET_PID" in os.environ:  # in a process of trials, not in one that examines
            time.sleep(0.05)  # epochs shorter than this are reported several at once
            with self._steps.open("a") as file:
                file.write(".")
        return super().step(model, batch)
