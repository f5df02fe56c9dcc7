"""gapsweep as it is shipped: its command, and what it recorded."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from service.study.attributes import TrialAttributes
from tests.benchmarks.peers.loop import Epoch
from tests.benchmarks.peers.problems import METRIC, PROBLEMS
from tests.benchmarks.sweeps import read_sweep


def prepare(problem: str, seed: int, folder: Path) -> list[str]:
    """Write the spec; return the command."""
    spec = folder / "spec.yaml"
    spec.write_text(yaml.safe_dump(PROBLEMS[problem].to_spec(seed)))
    return [sys.executable, "-m", "gapsweep", "run", str(spec), "--home", str(folder / "home")]


def read(folder: Path) -> list[Epoch]:
    """The epochs of the only sweep in the home."""
    (path,) = (folder / "home" / "sweeps").iterdir()
    finished = read_sweep(path)
    points = [TrialAttributes.of(trial).params or {} for trial in finished.trials]
    epochs = (
        Epoch(line["time"], str(line["trial"]), line["epoch"], line["metrics"][METRIC], {**point})
        for line in finished.history
        for point in [points[line["trial"]]]
    )
    return sorted(epochs, key=lambda epoch: epoch.time)
