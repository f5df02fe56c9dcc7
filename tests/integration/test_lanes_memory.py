"""Trials that share their steps in a process whose memory is not enough for all of them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.study.messages import Answer, Assignment, EpochReport
from service.study.records import Role
from tests.commands import REPOSITORY
from tests.forks import forked_script
from tests.patience import patience
from tests.slots import EPOCHS, train_alone

HUNGRY = """
from torch import nn


class Hungry(nn.Module):
    def __init__(self, input_shape, outputs):
        super().__init__()
        self.first, self.last = nn.Linear(16, 8), nn.Linear(8, outputs)

    def forward(self, x):
        many = self.first(x.flatten(1)).repeat(1, 2**13)
        return self.last((many * many).relu().view(len(x), -1, 8).mean(1))
"""
"""A network whose activations take 4 MiB each."""


NETWORK: dict[str, Any] = {
    "trainable": "hungry:Hungry",
    "model": {},
    "training": {"max_epochs": EPOCHS, "batch_size": 16, "steps_per_epoch": 1},
    "space": {"lr": {"float": [0.01, 1.0]}},
}
TRIALS = [Assignment(n, {"lr": 0.01 * (1 + n)}, Role.SEARCH) for n in range(8)]
WITH_300_MIB = """
import pickle
import resource
import sys
from pathlib import Path

folder, repository = Path(sys.argv[1]), sys.argv[2]
sys.path[:0] = [str(folder), repository]

import torch

from tests.slots import open_slot
from trainables.lanes.group import Group

torch.set_num_threads(1)
trials, network = pickle.loads((folder / "given").read_bytes())
slot = open_slot(folder / "shared", *trials, width=8, **network)
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 300 * 2**20, resource.RLIM_INFINITY))
widths = []
advance = Group.advance


def count(group):
    widths.append(group.width)
    return advance(group)


Group.advance = count
found = [slot.advance() for _ in range(2)], widths
(folder / "found").write_bytes(pickle.dumps(found))
"""
"""Trains in a process that may take so much memory more than it has."""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_a_group_that_does_not_fit_in_memory_is_halved_and_no_trial_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds, widths = _train_in_300_mib(tmp_path)
    assert widths == [8, 4, 4]
    assert all(isinstance(answer, EpochReport) for one in rounds for answer in one.values())
    monkeypatch.syspath_prepend(tmp_path)
    for trial in TRIALS[::4]:
        alone = train_alone(tmp_path / "alone", trial, **NETWORK)
        assert [answers[trial.number] for answers in rounds] == alone[:2]


def _train_in_300_mib(folder: Path) -> tuple[list[dict[int, Answer]], list[int]]:
    """The answers of two rounds, and how many trials shared each epoch that was shared."""
    (folder / "hungry.py").write_text(HUNGRY)
    (folder / "given").write_bytes(pickle.dumps((TRIALS, NETWORK)))
    (folder / "script.py").write_text(WITH_300_MIB)
    words = forked_script(folder / "script.py", str(folder), str(REPOSITORY))
    done = subprocess.run(
        words, cwd=REPOSITORY, capture_output=True, text=True, timeout=patience(120), check=False
    )
    assert done.returncode == 0, done.stderr
    found: tuple[list[dict[int, Answer]], list[int]] = pickle.loads((folder / "found").read_bytes())
    return found
