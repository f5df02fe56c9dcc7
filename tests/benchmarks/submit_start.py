"""How long until a sweep learns: `gapsweep run` here, and `gapsweep submit` to a warm cluster.

    python -m tests.benchmarks.submit_start

From the start of each command's process to the first line in its sweep's history, which is the
first epoch of its first trial. Both run the same spec on 2 CPUs; `run` starts a Ray of its own, the
cluster of one node is there already. A first sweep of each makes the databases and warms the disk
and is not counted; then they take turns, and a submitted sweep takes at most twice as long.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from service.client.job_states import JobState
from service.server.store.sweep_store import SweepStore
from tests.commands import DIGITS, command, settings
from tests.patience import wait_for
from tests.stack import Stack, stack

AIM = 2.0
_PATIENCE = 120.0


def first_epoch(words: list[str], home: Path, env: dict[str, str]) -> float:
    """Seconds until a sweep of the command's has a history; the command ends well or all ends."""
    before = set(home.glob("sweeps/*/history.jsonl"))
    began = time.monotonic()
    environment = {**os.environ, **env}
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        while not _begun(home, before):
            if time.monotonic() - began > _PATIENCE or process.poll():
                process.kill()
                sys.exit(f"no epoch: {process.stderr.read() if process.stderr else ''}")
            time.sleep(0.01)
        seconds = time.monotonic() - began
        _, errors = process.communicate()
    if process.returncode:
        sys.exit(errors)
    return seconds


def _begun(home: Path, before: set[Path]) -> bool:
    histories = set(home.glob("sweeps/*/history.jsonl")) - before
    return any(history.stat().st_size for history in histories)


def by_run(home: Path, changes: list[str]) -> float:
    """On a Ray of its own."""
    return first_epoch(command("run", str(DIGITS), "--home", str(home), *changes), home, {})


def by_submit(service: Stack, changes: list[str]) -> float:
    """On the cluster; the sweep and its driver have ended afterwards."""
    words = command("submit", str(DIGITS), *changes)
    seconds = first_epoch(words, service.home, service.env())
    (newest,) = SweepStore(service.database).page(limit=1).items
    service.wait(newest.sweep_id, JobState.SUCCEEDED)
    wait_for(lambda: not service.drivers(), 60)
    return seconds


def main() -> None:
    """A pair a line, each in the other order than the one before, and the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=4)
    options = parser.parse_args()
    changes = settings(f"budget.trials={options.trials}", "confirm=off")
    pairs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder, stack(2) as service:
        home = Path(folder)
        cold = by_run(home, changes), by_submit(service, changes)
        print(f"the first: run {cold[0]:.1f} s, submit {cold[1]:.1f} s", flush=True)
        for number in range(options.rounds):
            if number % 2 == 0:
                run, submit = by_run(home, changes), by_submit(service, changes)
            else:
                submit, run = by_submit(service, changes), by_run(home, changes)
            pairs.append((run, submit))
            print(f"run {run:.1f} s, submit {submit:.1f} s: {submit / run:.2f} ×", flush=True)
    runs, submits = zip(*pairs, strict=True)
    ratio = statistics.median(submit / run for run, submit in pairs)
    print(
        f"medians of {len(pairs)}: run {statistics.median(runs):.1f} s, "
        f"submit {statistics.median(submits):.1f} s, ratio {ratio:.2f}, "
        f"at most {AIM:.0f}: {'met' if ratio <= AIM else 'missed'}"
    )


if __name__ == "__main__":
    main()
