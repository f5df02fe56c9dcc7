"""How long until a sweep learns: `gapsweep run` here, and `gapsweep submit` to a warm cluster.

    python -m tests.benchmarks.submit_start
    python -m tests.benchmarks.submit_start --only submit    # to compare versions, in turns

From the start of each command's process to the first line in its sweep's history, which is the
first epoch of its first trial. Both run the same spec on 2 CPUs; `run` starts a Ray of its own, the
cluster of one node is there already. A first sweep of each makes the databases and warms the disk
and is not counted; then they take turns, and a submitted sweep takes at most twice as long.

CPU seconds are those of all processes that the benchmark has started, directly or not: the command,
and for a submitted sweep the service with its Ray, its driver and its workers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.client.job_states import JobState
from service.server.store.sweep_store import SweepStore
from tests.commands import DIGITS, command, settings
from tests.patience import wait_for
from tests.rays import pids, read
from tests.stack import Stack, stack

AIM = 2.0
_PATIENCE = 120.0


@dataclass(frozen=True)
class Start:
    """Seconds to the first epoch, and the CPU seconds of all processes until then."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} s, {self.cpu:.1f} CPU-s"


def first_epoch(words: list[str], home: Path, env: dict[str, str]) -> Start:
    """Measure until a sweep of the command's has a history; the command ends well or all ends."""
    before = set(home.glob("sweeps/*/history.jsonl"))
    began, cpu = time.monotonic(), sum_cpu()
    environment = {**os.environ, **env}
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        while not _begun(home, before):
            if time.monotonic() - began > _PATIENCE or process.poll():
                process.kill()
                sys.exit(f"no epoch: {process.stderr.read() if process.stderr else ''}")
            time.sleep(0.01)
        found = Start(time.monotonic() - began, sum_cpu() - cpu)
        _, errors = process.communicate()
    if process.returncode:
        sys.exit(errors)
    return found


def sum_cpu() -> float:
    """CPU seconds of all processes that this one has started, and of those they waited for."""
    stats = {pid: read(pid, "stat").rpartition(b")")[2].split() for pid in pids()}
    parents = {pid: int(stat[1]) for pid, stat in stats.items() if stat}
    own = [pid for pid in parents if os.getpid() in _list_ancestors(pid, parents)]
    ticks = sum(sum(map(int, stats[pid][11:15])) for pid in own) + _sum_waited()
    return ticks / os.sysconf("SC_CLK_TCK")


def _sum_waited() -> int:
    return sum(map(int, read(os.getpid(), "stat").rpartition(b")")[2].split()[13:15]))


def _list_ancestors(pid: int, parents: dict[int, int]) -> Sequence[int]:
    found: list[int] = []
    while (pid := parents.get(pid, 0)) and pid not in found:
        found.append(pid)
    return found


def _begun(home: Path, before: set[Path]) -> bool:
    histories = set(home.glob("sweeps/*/history.jsonl")) - before
    return any(history.stat().st_size for history in histories)


def by_run(home: Path, changes: list[str]) -> Start:
    """On a Ray of its own."""
    return first_epoch(command("run", str(DIGITS), "--home", str(home), *changes), home, {})


def by_submit(service: Stack, changes: list[str]) -> Start:
    """On the cluster; the sweep and its driver have ended afterwards."""
    words = command("submit", str(DIGITS), *changes)
    found = first_epoch(words, service.home, service.env())
    (newest,) = SweepStore(service.database).page(limit=1).items
    service.wait(newest.sweep_id, JobState.SUCCEEDED)
    wait_for(lambda: not service.drivers(), 60)
    return found


def main() -> None:
    """A round a line, pairs each in the other order than the one before, and the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--only", choices=["run", "submit"], help="measure one of them")
    options = parser.parse_args()
    changes = settings(f"budget.trials={options.trials}", "confirm=off")
    sides = [options.only] if options.only else ["run", "submit"]
    rounds: list[dict[str, Start]] = []
    with tempfile.TemporaryDirectory() as folder, stack(2) as service:
        starts = {
            "run": lambda: by_run(Path(folder), changes),
            "submit": lambda: by_submit(service, changes),
        }
        print(f"the first: {_write({side: starts[side]() for side in sides})}", flush=True)
        for number in range(options.rounds):
            turns = sides if number % 2 == 0 else sides[::-1]
            rounds.append({side: starts[side]() for side in turns})
            print(_write(rounds[-1]), flush=True)
    for side in sides:
        own = [found[side] for found in rounds]
        middle = Start(*(statistics.median(getattr(s, n) for s in own) for n in ("wall", "cpu")))
        spread = f"{min(s.wall for s in own):.1f} to {max(s.wall for s in own):.1f} s"
        print(f"{side}, median of {len(own)}: {middle} ({spread})")
    if not options.only:
        ratio = statistics.median(r["submit"].wall / r["run"].wall for r in rounds)
        met = "met" if ratio <= AIM else "missed"
        print(f"submit takes {ratio:.2f} × as long as run, at most {AIM:.0f}: {met}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")


def _write(starts: dict[str, Start]) -> str:
    return "; ".join(f"{side} {found}" for side, found in sorted(starts.items()))


if __name__ == "__main__":
    main()
