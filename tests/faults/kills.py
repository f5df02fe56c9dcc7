"""Kills real sweeps again and again, resumes them, and compares them with undisturbed ones.

    python -m tests.faults.kills [--kills 30] [--sweeps 5] [--seed 0]

Each sweep runs once undisturbed and once under kills (SIGKILL): of its driver, of a trial's process
while the driver lives, or of everything at once, with Ray. A kill comes after so many new entries
of the sweep's journal, which the seed chooses: on a slow machine it comes later and at the same
stage. `gapsweep resume` follows each. Whatever is killed, the trials must be the same (parameters,
seeds, epochs, states, values), and so must the best and the answer; every run in MLflow must be
ended, one for each trial. The exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from service.study.records import Trial
from service.sweep.home import Home, SweepFolder
from service.sweep.load import read_sweep
from service.sweep.sweep_record import Sweep
from tests.commands import REPOSITORY, command
from tests.forks import forked_command
from tests.patience import patience
from tests.rays import pids, read

_MARK = "GAPSWEEP_TEST_KILLS"
_WORKER = "ray::ResourceTrainable"
ENTRIES = 180
"""How many entries of a sweep's journal its kills are spread over; an undisturbed one has more."""

DRIVER, WORKER, EVERYTHING = "driver", "worker", "everything"

BASE: dict[str, Any] = {
    "trainable": "trainables.models:MLP",
    "data": {"name": "breast_cancer"},
    "model": {"hidden": [8]},
    "training": {"max_epochs": 6, "lr": 0.01},
    "space": {
        "penalty": {"choice": ["none", "l1", "l2"]},
        "lambda": {"float": [1e-4, 1e-1], "log": True, "when": {"penalty": ["l1", "l2"]}},
        "dropout": {"float": [0.0, 0.6]},
        "label_smoothing": {"float": [0.0, 0.3]},
    },
    "early_stopping": {"patience": 3},
    "budget": {"trials": 12},
    "confirm": {"top_k": 1, "replicates": 5, "trainings": 10},
}
HALVING = {"name": "successive_halving", "min_epochs": 2, "reduction_factor": 2}
MEDIAN = {"name": "median", "startup_trials": 3, "warmup_epochs": 1}
FEW = {"n_startup_trials": 4}
SWEEPS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("tpe", "ray", {"sampler": {"name": "tpe", **FEW}, "pruner": HALVING}),
    ("gp", "local", {"sampler": {"name": "gp", **FEW}, "pruner": MEDIAN}),
    ("cmaes", "local", {"sampler": "cmaes", "pruner": "none"}),
    ("qmc", "local", {"sampler": "qmc", "pruner": {"name": "hyperband", "min_epochs": 2}}),
    ("grid", "ray", {"sampler": "grid", "grid_points": 2, "pruner": MEDIAN}),
)


@dataclass(frozen=True)
class Kill:
    """What is killed, and after how many new entries of the journal."""

    what: str
    after: int


@dataclass
class Outcome:
    """What a sweep under kills came to; ``differences`` is empty where all is as it must be."""

    name: str
    executor: str
    trials: int
    kills: dict[str, int]
    sessions: int
    seconds: float
    differences: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """A row of the table."""
        kinds = ", ".join(f"{count} {what}" for what, count in self.kills.items() if count)
        found = "; ".join(self.differences) or "same"
        cells = (self.name, self.executor, self.trials, kinds, self.sessions, found)
        return "| " + " | ".join(str(c) for c in cells) + f" | {self.seconds:.0f} |"


HEADER = (
    "| sweep | executor | trials | kills | sessions | trials, best, answer, MLflow | seconds |\n"
    "|---|---|---|---|---|---|---|"
)


def plan(kills: int, executor: str, chance: random.Random, entries: int) -> list[Kill]:
    """The kills of one sweep: a third soon after a start, the others spread over its length."""
    kinds = (DRIVER,) if executor == "local" else (DRIVER, WORKER, EVERYTHING)
    weights = [chance.random() if chance.random() < 2 / 3 else 0.0 for _ in range(kills)]
    share = entries / max(sum(weights), 1.0)
    return [Kill(chance.choice(kinds), chance.randint(1, 8) + int(share * w)) for w in weights]


class Sessions:
    """The processes of one sweep, one session after the other."""

    def __init__(self, home: Path, spec: dict[str, Any]) -> None:
        self.home, self.mark = Home(home), secrets.token_hex(6)
        self.count = self.broken = 0
        local = spec.get("resources", {}).get("executor") == "local"
        self._command = (
            forked_command if local else command
        )  # a fork has no mark in its environment
        self._spec = home / "spec.yaml"
        home.mkdir(parents=True)
        self._spec.write_text(yaml.safe_dump(spec))
        self._log = home / "log"

    @property
    def folder(self) -> SweepFolder:
        """The sweep's folder, once it has one."""
        (found,) = self.home.path.glob("sweeps/*")
        return SweepFolder(found)

    def count_entries(self) -> int:
        """The number of the journal's entries."""
        journals = list(self.home.path.glob("sweeps/*/study.journal"))
        return journals[0].read_bytes().count(b"\n") if journals else 0

    def start(self) -> subprocess.Popen[bytes]:
        """A session: the first one runs the spec, others resume."""
        begun = any(self.home.path.glob("sweeps/*/spec.yaml"))
        words = ["resume", self.folder.sweep_id] if begun else ["run", str(self._spec)]
        environment = {
            **os.environ,
            _MARK: self.mark,
            "OMP_NUM_THREADS": "1",
            "GAPSWEEP_HOME": str(self.home.path),
        }
        self.count += 1
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command(*words, "--json"),
                cwd=REPOSITORY,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run_to_the_end(self) -> None:
        """One more session, to the sweep's end."""
        self._finish(self.start())

    def under(self, kills: Sequence[Kill]) -> dict[str, int]:
        """Run the sweep to its end under kills, and count those that came."""
        done = {DRIVER: 0, WORKER: 0, EVERYTHING: 0}
        process = self.start()
        for kill in kills:
            wanted = self.count_entries() + kill.after
            while not self._wait(process, wanted) and process.returncode:
                process = self._start_again()
            if process.poll() == 0:
                break
            if self._strike(kill.what, process):
                done[kill.what] += 1
            if kill.what != WORKER:
                process.wait()
                process = self.start()
        self._finish(process)
        return done

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        while process.wait(patience(600)):
            process = self._start_again()

    def _start_again(self) -> subprocess.Popen[bytes]:
        """A session after one that ended by an error: on a busy machine Ray may fail to start.

        Raises:
            RuntimeError: several have.
        """
        self.broken += 1
        if self.broken > 5:
            raise RuntimeError(f"it cannot be run:\n{self._log.read_text()[-4000:]}")
        return self.start()

    def _wait(self, process: subprocess.Popen[bytes], entries: int) -> bool:
        """Wait until the journal has so many entries; False if the session has ended before."""
        deadline = time.monotonic() + patience(300)
        while self.count_entries() < entries:
            if process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                raise RuntimeError(f"no progress:\n{self._log.read_text()[-4000:]}")
            time.sleep(0.005)
        return True

    def _strike(self, what: str, process: subprocess.Popen[bytes]) -> bool:
        """Kill; False if there is nothing to kill any more."""
        match what:
            case "driver":
                victims = [process.pid]
            case "worker":
                victims = self._wait_for_worker(process)
            case _:
                victims = list(self._own())
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(victims)

    def _wait_for_worker(self, process: subprocess.Popen[bytes]) -> list[int]:
        deadline = time.monotonic() + patience(60)
        while process.poll() is None and time.monotonic() < deadline:
            found = [p for p in self._own() if read(p, "cmdline").startswith(_WORKER.encode())]
            if found:
                return found
            time.sleep(0.01)
        return []

    def _own(self) -> Iterator[int]:
        mine = f"{_MARK}={self.mark}".encode()
        return (pid for pid in pids() if mine in read(pid, "environ"))

    def read(self) -> Sweep:
        """The sweep as its folder has it."""
        return read_sweep(self.folder)[2]

    def end(self) -> None:
        """End whatever is left of its processes."""
        for pid in self._own():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def strip(trial: Trial) -> Trial:
    """A trial without the times that it took."""
    epochs = tuple(replace(epoch, time=0.0) for epoch in trial.epochs)
    return replace(trial, epochs=epochs, seconds=0.0, started=None, ended=None)


def compare(found: Sweep, expected: Sweep) -> Iterator[str]:
    """What differs between two sweeps, in words."""
    ours, theirs = [strip(t) for t in found.trials], [strip(t) for t in expected.trials]
    if len(ours) != len(theirs):
        yield f"{len(ours)} trials instead of {len(theirs)}"
    for one, other in zip(ours, theirs, strict=False):
        names = [n for n in vars(one) if getattr(one, n) != getattr(other, n)]
        if names:
            yield f"trial {one.number}: other {', '.join(names)}"
    best = [None if s.best is None else s.best.number for s in (found, expected)]
    if best[0] != best[1]:
        yield f"best {best[0]} instead of {best[1]}"
    if found.answer != expected.answer:
        yield "another answer"
    if found.state is not expected.state:
        yield f"{found.state.value} instead of {expected.state.value}"


def check_runs(home: Home, sweep: Sweep) -> Iterator[str]:
    """What is wrong with a sweep's runs in MLflow, in words."""
    import mlflow

    from service.sweep.environment import EXPERIMENT
    from service.tracking.run_tags import SWEEP_TAG, TRIAL_TAG

    client = mlflow.MlflowClient(home.mlflow_uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        yield "no runs in MLflow"
        return
    condition = f"tags.`{SWEEP_TAG}` = '{sweep.sweep_id}'"
    runs = client.search_runs([experiment.experiment_id], condition, max_results=1000)
    for run in runs:
        if run.info.status not in ("FINISHED", "FAILED"):
            yield f"run {run.info.run_name} is {run.info.status}"
    numbers = sorted(int(r.data.tags[TRIAL_TAG]) for r in runs if TRIAL_TAG in r.data.tags)
    if numbers != [t.number for t in sweep.trials]:
        yield f"runs of the trials {numbers}"
    if len(runs) != len(numbers) + 1:
        yield f"{len(runs) - len(numbers)} parent runs"


def build_spec(number: int, **changes: Any) -> dict[str, Any]:
    """The spec of one of the sweeps, with some keys changed."""
    name, executor, search = SWEEPS[number % len(SWEEPS)]
    resources = {"executor": executor, "concurrent": 1, "retries": 20}
    return {
        **{"name": name, **BASE, "search": {"seed": 3, **search}, "resources": resources},
        **changes,
    }


def attack(
    spec: dict[str, Any], kills: int, chance: random.Random, folder: Path, entries: int = ENTRIES
) -> Outcome:
    """Run a sweep undisturbed and under kills, which are spread over so many journal entries."""
    name, executor = spec["name"], spec["resources"]["executor"]
    began = time.monotonic()
    undisturbed = Sessions(folder / f"{name}-whole", spec)
    killed = Sessions(folder / f"{name}-killed", spec)
    planned = plan(kills, executor, chance, entries)
    try:
        undisturbed.run_to_the_end()
        done = killed.under(planned)
        found, expected = killed.read(), undisturbed.read()
    finally:
        undisturbed.end()
        killed.end()
    outcome = Outcome(
        name, executor, len(found.trials), done, killed.count, time.monotonic() - began
    )
    outcome.differences += [*compare(found, expected), *check_runs(killed.home, found)]
    if sum(done.values()) < kills:
        outcome.differences.append(f"only {sum(done.values())} of {kills} kills came in time")
    return outcome


def campaign(kills: int, sweeps: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Every sweep with its share of the kills."""
    for number in range(sweeps):
        share = kills // sweeps + (number < kills % sweeps)
        chance = random.Random(f"{seed}/{number}")
        yield attack(build_spec(number), share, chance, folder / str(number))


def main() -> None:
    """A row a sweep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--sweeps", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        failed, made = False, 0
        for outcome in campaign(options.kills, options.sweeps, options.seed, Path(folder)):
            print(outcome.describe(), flush=True)
            failed |= bool(outcome.differences)
            made += sum(outcome.kills.values())
    print(json.dumps({"kills": made, "sweeps": options.sweeps, "differ": failed}))
    sys.exit(failed)


if __name__ == "__main__":
    main()
