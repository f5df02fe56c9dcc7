"""Faults at random times in every part of a real service, over sweeps that run meanwhile.

    python -m tests.faults.campaign [--faults 100] [--sweeps 20] [--seed 0] [--minutes 60]

The service is Ray, PostgreSQL, MLflow and the API as processes. A fault kills the API, a driver, a
trial's process, Ray's head with all of its processes, MLflow or PostgreSQL (which are started again
after some seconds), fills the disk of the home folder for 10 s, or cuts MLflow off the network for
10 s. A sweep that its driver has paused, because the disk was full, is resumed, as by a person.

Each sweep also runs once undisturbed. In the end every sweep must have succeeded, with every trial
once in the store, in its study and in MLflow, all with the same values, and the same best as the
undisturbed one. The exit status is 1 if anything differs. It needs root, PostgreSQL and `ip`. When
the minutes are over no other fault comes; what was found until then is printed. The code must not
change meanwhile: workers are forked from a process that has imported it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from service.base.errors import GapsweepError
from service.client import endpoints
from service.client.job_states import JobState
from service.study.records import Trial
from service.sweep.home import Home, SweepFolder
from service.sweep.load import read_sweep
from tests.commands import gapsweep
from tests.namespaces import Namespace, open_namespace
from tests.patience import patience
from tests.small_disks import fill, make_room
from tests.stack import Stack, stack

CPUS = 2
DISK = 512 * 1024
"""KiB of the home's disk."""
AWAY = 10.0
"""Seconds for which a disk is full or a network is cut."""
RETRIES = 1_000
"""Drivers of one sweep that may die: the faults are not to use them up."""
KINDS = 4
"""Sweeps that differ; the others repeat them."""
SPEC: dict[str, Any] = {
    "trainable": "trainables.models:MLP",
    "data": {"name": "breast_cancer"},
    "model": {"hidden": [8]},
    "training": {"max_epochs": 4, "lr": 0.01},
    "space": {"dropout": {"float": [0.0, 0.6]}, "input_noise": {"float": [0.0, 0.5]}},
    "budget": {"trials": 6},
    "confirm": "off",
}


def build_spec(number: int, executor: str) -> dict[str, Any]:
    """The spec of a sweep; its trials run one after the other."""
    search = {"sampler": "tpe", "pruner": "none", "seed": number % KINDS}
    resources = {"executor": executor, "concurrent": 1, "retries": 50}
    return {**SPEC, "name": f"s{number}", "search": search, "resources": resources}


class Faults:
    """The faults of a campaign; each is over when its method returns."""

    def __init__(self, service: Stack, network: Namespace, chance: random.Random) -> None:
        self._service, self._network, self._chance = service, network, chance
        self.kinds: Mapping[str, Callable[[], bool]] = {
            "API": self._restart_api,
            "driver": lambda: self._kill(service.drivers()),
            "worker": lambda: self._kill(service.ray.tune_actors()),
            "head": self._restart_head,
            "MLflow": self._restart_mlflow,
            "PostgreSQL": self._restart_postgres,
            "disk full": self._fill_disk,
            "network cut": self._cut,
        }

    def _restart_api(self) -> bool:
        self._service.api.kill()
        self._wait()
        self._service.api.start()
        return True

    def _restart_mlflow(self) -> bool:
        self._service.mlflow.kill()
        self._wait()
        self._service.mlflow.start()
        return True

    def _restart_postgres(self) -> bool:
        self._service.postgres.stop()
        self._wait()
        self._service.postgres.start()
        return True

    def _restart_head(self) -> bool:
        self._service.ray.kill_node(0)
        self._wait()
        self._service.ray.start_head(CPUS)
        return True

    def _fill_disk(self) -> bool:
        fill(self._service.home)
        time.sleep(AWAY)
        make_room(self._service.home)
        return True

    def _cut(self) -> bool:
        self._network.cut()
        time.sleep(AWAY)
        self._network.heal()
        return True

    def _kill(self, found: Sequence[int]) -> bool:
        """Kill one of some processes; False if there is none."""
        if not found:
            return False
        with suppress(ProcessLookupError):
            os.kill(self._chance.choice(found), signal.SIGKILL)
        return True

    def _wait(self) -> None:
        time.sleep(self._chance.uniform(0.5, 5.0))


@dataclass
class Campaign:
    """A service, its sweeps, and the faults so far."""

    service: Stack
    sweeps: list[str]
    done: Counter[str]

    def open_sweeps(self) -> list[str]:
        """The sweeps that have not ended; one that is paused is resumed."""
        client, left = self.service.client(), []
        for sweep_id in self.sweeps:
            try:
                state = client.do(endpoints.sweep(sweep_id)).state
                if state is JobState.PAUSED:
                    client.do(endpoints.resume(sweep_id))
            except (GapsweepError, OSError):  # the service is away
                left.append(sweep_id)
                continue
            left += [] if state.is_over else [sweep_id]
        return left

    def run(self, faults: int, chance: random.Random, network: Namespace, end: float) -> None:
        """Faults one after the other, at random times, while sweeps are open."""
        kinds = Faults(self.service, network, chance).kinds
        planned = [chance.choice(list(kinds)) for _ in range(faults)]
        while planned and time.monotonic() < end and self.open_sweeps():
            time.sleep(chance.uniform(0.0, 6.0))
            name = planned[0]
            if kinds[name]():
                planned.pop(0)
                self.done[name] += 1
                print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)
            elif not self.service.drivers():
                time.sleep(1.0)
            else:
                planned.append(planned.pop(0))

    def wait(self, seconds: float) -> None:
        """Until every sweep has ended, or so many seconds have passed."""
        deadline = time.monotonic() + seconds
        while self.open_sweeps() and time.monotonic() < deadline:
            time.sleep(2.0)


def list_facts(trials: Sequence[Trial]) -> list[tuple[Any, ...]]:
    """What must be the same of trials, wherever they are recorded."""
    return [(t.number, t.state.value, t.value) for t in trials]


def check(service: Stack, sweep_id: str, undisturbed: Sequence[Trial]) -> Iterator[str]:
    """What is wrong with a sweep, in words."""
    job = service.job(sweep_id)
    if job.state is not JobState.SUCCEEDED:
        yield f"{job.state}: {job.cause}"
    sweep = read_sweep(SweepFolder(service.home / "sweeps" / sweep_id))[2]
    expected = list_facts(undisturbed)
    if list_facts(sweep.trials) != expected:
        yield f"study {list_facts(sweep.trials)}"
    if list_facts(service.progress.trials(sweep_id)) != list_facts(sweep.trials):
        yield f"store {list_facts(service.progress.trials(sweep_id))}"
    yield from _check_runs(service, sweep_id, [t.number for t in sweep.trials])


def _check_runs(service: Stack, sweep_id: str, numbers: list[int]) -> Iterator[str]:
    """What is wrong with its runs in MLflow, in words."""
    runs = service.mlflow_runs(sweep_id)
    tags = [{t["key"]: t["value"] for t in run["data"].get("tags", [])} for run in runs]
    found = sorted(int(t["gapsweep.trial"]) for t in tags if "gapsweep.trial" in t)
    if found != numbers:
        yield f"runs of the trials {found}"
    if len(runs) != len(found) + 1:
        yield f"{len(runs) - len(found)} parent runs"
    unfinished = [r["info"]["status"] for r in runs if r["info"]["status"] != "FINISHED"]
    if unfinished:
        yield f"runs {unfinished}"


def run_undisturbed(folder: Path) -> Sequence[Sequence[Trial]]:
    """The trials of each kind of sweep, run without a service."""
    found = []
    for number in range(KINDS):
        spec = folder / f"undisturbed{number}.yaml"
        spec.write_text(yaml.safe_dump(build_spec(number, "local")))
        home = folder / f"undisturbed{number}"
        env = {"GAPSWEEP_MLFLOW_URI": "off"}
        done = gapsweep("run", str(spec), "--json", "--home", str(home), env=env)
        assert done.returncode == 0, done.stderr
        (sweep,) = Home(home).list_all()
        found.append(read_sweep(sweep)[2].trials)
    return found


def submit(service: Stack, folder: Path, count: int) -> list[str]:
    """Queue the sweeps."""
    found = []
    for number in range(count):
        spec = folder / f"s{number}.yaml"
        spec.write_text(yaml.safe_dump(build_spec(number, "ray")))
        found.append(service.submit(spec))
    return found


def main() -> None:
    """A row a sweep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--sweeps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="no fault comes after these")
    options = parser.parse_args()
    began, chance = time.monotonic(), random.Random(options.seed)
    serve = ["--running", "2", "--running-per-user", "2", "--retries", str(RETRIES)]
    with tempfile.TemporaryDirectory(prefix="campaign-") as scratch, open_namespace() as network:
        folder = Path(scratch)
        undisturbed = run_undisturbed(folder)
        with stack(CPUS, options=serve, disk_kib=DISK, network=network) as service:
            campaign = Campaign(service, submit(service, folder, options.sweeps), Counter())
            end = began + 60 * options.minutes
            campaign.run(options.faults, chance, network, end)
            campaign.wait(patience(300) + max(0.0, end - time.monotonic()))
            failed = report(campaign, undisturbed)
    kinds = dict(sorted(campaign.done.items()))
    seconds = round(time.monotonic() - began)
    print(json.dumps({"faults": sum(kinds.values()), **kinds, "seconds": seconds}))
    sys.exit(failed)


def report(campaign: Campaign, undisturbed: Sequence[Sequence[Trial]]) -> bool:
    """Print a row a sweep; whether anything is wrong."""
    print("| sweep | attempts | trials | state, study, store, MLflow, best |\n|---|---|---|---|")
    failed = False
    for number, sweep_id in enumerate(campaign.sweeps):
        expected = undisturbed[number % KINDS]
        wrong = list(check(campaign.service, sweep_id, expected))
        failed |= bool(wrong)
        attempts = campaign.service.job(sweep_id).attempt
        words = "; ".join(wrong) or "same"
        print(f"| {sweep_id} | {attempts} | {len(expected)} | {words} |", flush=True)
    return failed


if __name__ == "__main__":
    main()
