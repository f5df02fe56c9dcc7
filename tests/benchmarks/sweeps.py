"""Sweeps run through the command, for the benchmarks to read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

DIGITS = Path(__file__).parents[2] / "search_spaces" / "sweeps" / "digits.yaml"


@dataclass(frozen=True)
class Finished:
    """A sweep that ended: its summary, its trials in the study, every epoch as it was recorded."""

    summary: Mapping[str, Any]
    trials: Sequence[FrozenTrial]
    history: Sequence[Mapping[str, Any]]

    @property
    def times(self) -> list[float]:
        """When its epochs were reported."""
        return [epoch["time"] for epoch in self.history]

    def epoch_times(self, trial: int) -> list[float]:
        """When one trial's were."""
        return [epoch["time"] for epoch in self.history if epoch["trial"] == trial]

    @property
    def best_value(self) -> float:
        """The best trial's objective."""
        return float(self.trials[self.summary["best"]["number"]].values[0])

    @property
    def epochs(self) -> int:
        """How many it ran."""
        return len(self.history)

    @property
    def seconds(self) -> float:
        """From the first epoch's report to the last trial's end."""
        ends = [t.datetime_complete.timestamp() for t in self.trials if t.datetime_complete]
        return max(ends) - min(self.times)


def sweep_of(spec: Mapping[str, Any], env: Mapping[str, str] | None = None) -> Finished:
    """Run a spec given as a mapping, in a folder of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.yaml"
        path.write_text(yaml.safe_dump(dict(spec)))
        return sweep(path, Path(folder) / "home", env=env)


def sweep(
    spec: Path,
    home: Path,
    changes: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
    program: str = "service.cli",
) -> Finished:
    """Run a spec with changes; the command's own errors end the benchmark.

    ``program`` is the module of the command, or of one that changes something before.
    """
    words = [sys.executable, "-m", program, "run", str(spec), "--home", str(home), "--json"]
    for change in changes:
        words += ["--set", change]
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    summary = json.loads(done.stdout)
    return read_sweep(home / "sweeps" / summary["sweep_id"], summary)


def read_sweep(folder: Path, summary: Mapping[str, Any] | None = None) -> Finished:
    """Read the records of a sweep that ended."""
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return Finished(summary or {}, study.trials, [json.loads(line) for line in lines])
