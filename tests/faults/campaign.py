"""Faults at random times in every part of a real service, over sweeps that run meanwhile.

    python -m tests.faults.campaign [--faults 100] [--sweeps 20] [--seed 0] [--minutes 60]

The service is Ray, PostgreSQL, MLflow and the API as processes. A fault kills the API, a driver, a
trial's process, Ray's head with all of its processes, MLflow or PostgreSQL (which are started again
after some seconds), fills the disk of the home folder for 10 s, or cuts MLflow off the network for
10 s. A sweep that its driver has paused, because the disk was full, is resumed, as by a person.

Each kind of sweep also runs once undisturbed. In the end every sweep must have succeeded, with
every trial once in the store, in its study and in MLflow, all with the same values, and the same
best as the undisturbed one, and no run may be open. The exit status is 1 if anything differs. It
needs root, PostgreSQL and `ip`. Faults and ends of sweeps are printed as they come. When the
minutes are over no other fault comes; what was found until then is printed. Networks wait at each
forward pass, so that sweeps last long enough for the faults. The code must not change meanwhile:
workers are forked from a process that has imported it. `--only` chooses among the faults.
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
from dataclasses import dataclass, field
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
from tests.paced import CODE, spec_of
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
TRIALS = 14
EPOCHS = 6
PAUSE = 0.04
"""Seconds of a forward pass: an epoch takes about one."""
SEARCH = 30.0
"""Seconds for which a fault waits for a process to kill."""


def build_spec(number: int, executor: str, pause: float) -> dict[str, Any]:
    """The spec of a sweep; its trials run one after the other."""
    return {
        **spec_of(TRIALS, pause),
        "name": f"s{number}",
        "training": {"max_epochs": EPOCHS, "batch_size": 128},
        "search": {"sampler": "tpe", "pruner": "none", "seed": number % KINDS},
        "resources": {"executor": executor, "concurrent": 1, "retries": 50},
    }


class Faults:
    """The faults of a campaign; each is over when its method returns."""

    def __init__(self, service: Stack, network: Namespace, chance: random.Random) -> None:
        self._service, self._network, self._chance = service, network, chance
        self.kinds: Mapping[str, Callable[[], bool]] = {
            "API": self._restart_api,
            "driver": lambda: self._kill(service.drivers),
            "worker": lambda: self._kill(service.ray.tune_actors),
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

    def _kill(self, find: Callable[[], Sequence[int]]) -> bool:
        """Kill one of some processes as soon as there is one; False if there is none for long."""
        deadline = time.monotonic() + patience(SEARCH)
        while time.monotonic() < deadline:
            if found := find():
                with suppress(ProcessLookupError):
                    os.kill(self._chance.choice(found), signal.SIGKILL)
                return True
            time.sleep(0.1)
        return False

    def _wait(self) -> None:
        time.sleep(self._chance.uniform(0.5, 5.0))


@dataclass
class Campaign:
    """A service, its sweeps, and the faults so far."""

    service: Stack
    sweeps: list[str]
    done: Counter[str] = field(default_factory=Counter)
    _ended: set[str] = field(default_factory=set)

    def open_sweeps(self) -> list[str]:
        """The sweeps that have not ended; one that is paused is resumed."""
        client, left = self.service.client(), []
        for sweep_id in [s for s in self.sweeps if s not in self._ended]:
            try:
                found = client.do(endpoints.sweep(sweep_id))
                if found.state is JobState.PAUSED:
                    client.do(endpoints.resume(sweep_id))
            except (GapsweepError, OSError):  # the service is away
                left.append(sweep_id)
                continue
            if found.state.is_over:
                self._ended.add(sweep_id)
                say(f"{sweep_id} {found.state} after {sum(self.done.values())}: {found.cause}")
            else:
                left.append(sweep_id)
        return left

    def run(self, planned: list[str], faults: Faults, chance: random.Random, end: float) -> None:
        """Faults one after the other, at random times, while sweeps are open."""
        while planned and time.monotonic() < end and self.open_sweeps():
            time.sleep(chance.uniform(0.0, 6.0))
            name = planned.pop(0)
            if faults.kinds[name]():
                self.done[name] += 1
                say(name)
            else:
                planned.append(name)

    def wait(self, seconds: float) -> None:
        """Until every sweep has ended, or so many seconds have passed."""
        deadline = time.monotonic() + seconds
        while self.open_sweeps() and time.monotonic() < deadline:
            time.sleep(2.0)
        while self._has_open_runs() and time.monotonic() < deadline:
            time.sleep(5.0)

    def _has_open_runs(self) -> bool:
        return any(list_unfinished(self.service.mlflow_runs(s)) for s in self.sweeps)


def list_facts(trials: Sequence[Trial]) -> list[tuple[Any, ...]]:
    """What must be the same of trials, wherever they are recorded."""
    return [(t.number, t.state.value, t.value) for t in trials]


def check(service: Stack, sweep_id: str, undisturbed: Sequence[Trial]) -> Iterator[str]:
    """What is wrong with a sweep, in words."""
    job = service.job(sweep_id)
    if job.state is not JobState.SUCCEEDED or "lacks" in (job.cause or ""):
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
    if unfinished := list_unfinished(runs):
        yield f"runs {unfinished}"


def list_unfinished(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The runs that have not ended as those of a sweep that succeeded must."""
    found = [run["info"] for run in runs if run["info"]["status"] != "FINISHED"]
    return [f"{info['run_name']} {info['status']}" for info in found]


def run_undisturbed(folder: Path) -> Sequence[Sequence[Trial]]:
    """The trials of each kind of sweep, run without a service."""
    found = []
    for number in range(KINDS):
        spec = folder / f"undisturbed{number}.yaml"
        spec.write_text(yaml.safe_dump(build_spec(number, "local", pause=0.0)))
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
        spec.write_text(yaml.safe_dump(build_spec(number, "ray", PAUSE)))
        found.append(service.submit(spec, "--with", str(folder / "paced.py")))
    return found


def say(words: str) -> None:
    """Write what has happened, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def main() -> None:
    """A row a sweep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--sweeps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="no fault comes after these")
    parser.add_argument("--only", nargs="+", help="kinds of faults; default: all")
    options = parser.parse_args()
    began, chance = time.monotonic(), random.Random(options.seed)
    serve = ["--running", "2", "--running-per-user", "2", "--retries", str(RETRIES)]
    with tempfile.TemporaryDirectory(prefix="campaign-") as scratch, open_namespace() as network:
        folder = Path(scratch)
        (folder / "paced.py").write_text(CODE)
        undisturbed = run_undisturbed(folder)
        with stack(CPUS, options=serve, disk_kib=DISK, network=network) as service:
            campaign = Campaign(service, submit(service, folder, options.sweeps))
            end = began + 60 * options.minutes
            faults = Faults(service, network, chance)
            kinds = options.only or list(faults.kinds)
            planned = [chance.choice(kinds) for _ in range(options.faults)]
            campaign.run(planned, faults, chance, end)
            campaign.wait(patience(600) + max(0.0, end - time.monotonic()))
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
