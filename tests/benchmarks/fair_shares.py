"""How two users share a cluster of 2 CPUs, when one's sweeps are twice as long as the other's.

    python -m tests.benchmarks.fair_shares

Each submits 10 sweeps at once, two sweeps run at a time, one trial each: taking turns alone would
give the one with the long sweeps more. Slot-seconds, which the store counts, are looked at once a
second; what counts is each user's share of them when one of the two has nothing waiting any more,
50 ± 5 %. The seconds for which a user's sweeps held their places, drivers' starts included, are
printed beside them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from service.client import endpoints
from service.client.bundle_packing import pack
from service.client.job_states import JobState
from service.server.store.job_records import Job
from service.server.store.sweep_store import SweepStore
from tests.paced import CODE, spec_of
from tests.stack import Stack, stack

USERS = ("ann", "bob")
AIM = 0.05
_PATIENCE = 900.0


def submit(service: Stack, sweeps: int, trials: Mapping[str, int], pause: float) -> None:
    """Submit both users' sweeps alternately, with code as `gapsweep submit --with` sends it."""
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "paced.py"
        code.write_text(CODE)
        bundle = service.client().do(endpoints.add_bundle(pack([code]))).digest
    for _ in range(sweeps):
        for user in USERS:
            call = endpoints.submit(spec_of(trials[user], pause), bundle=bundle)
            service.client(user).do(call)


def used(jobs: Sequence[Job]) -> dict[str, float]:
    """Slot-seconds by user."""
    return {u: sum(j.slot_seconds for j in jobs if j.owner == u) for u in USERS}


def held(service: Stack, jobs: Sequence[Job]) -> dict[str, float]:
    """Seconds by user for which sweeps were on the cluster."""
    found = dict.fromkeys(USERS, 0.0)
    for job in jobs:
        began: float | None = None
        for change in SweepStore(service.database).history(job.sweep_id):
            if change.new.is_active:
                began = change.time if began is None else began
            elif began is not None:
                found[job.owner] += change.time - began
                began = None
        if began is not None:
            found[job.owner] += time.time() - began
    return found


def share(of: Mapping[str, float]) -> str:
    """Each user's part."""
    total = sum(of.values()) or 1.0
    return ", ".join(f"{user} {of[user]:6.1f} s ({of[user] / total:.1%})" for user in USERS)


def watch(service: Stack, sweeps: int) -> tuple[dict[str, float], dict[str, float]]:
    """Slot-seconds and seconds held when one user has nothing waiting any more."""
    began, said = time.monotonic(), 0.0
    while (passed := time.monotonic() - began) < _PATIENCE:
        jobs = SweepStore(service.database).page(limit=2 * sweeps).items
        waiting = Counter(j.owner for j in jobs if j.state is JobState.QUEUED)
        if passed - said >= 20:
            said = passed
            left = ", ".join(f"{user} {waiting[user]}" for user in USERS)
            print(f"{passed:5.0f} s  used {share(used(jobs))}  waiting {left}", flush=True)
        if any(not waiting[user] for user in USERS):
            return used(jobs), held(service, jobs)
        time.sleep(1)
    sys.exit(f"nobody's last sweep began within {_PATIENCE:.0f} s")


def finish(service: Stack, sweeps: int) -> Counter[str]:
    """How many sweeps ended how."""
    while True:
        jobs = SweepStore(service.database).page(limit=2 * sweeps).items
        if all(job.state.is_over for job in jobs):
            return Counter(str(job.state) for job in jobs)
        time.sleep(1)


def main() -> None:
    """The shares as they come, and at the moment that counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=10, help="of each user")
    parser.add_argument("--trials", type=int, default=6, help="of bob's; ann's have twice as many")
    parser.add_argument("--pause", type=float, default=0.01, help="seconds of each forward pass")
    options = parser.parse_args()
    trials = {"ann": 2 * options.trials, "bob": options.trials}
    with stack(2, options=["--running", "2"]) as service:
        began = time.monotonic()
        submit(service, options.sweeps, trials, options.pause)
        print(f"all submitted within {time.monotonic() - began:.1f} s", flush=True)
        slots, places = watch(service, options.sweeps)
        part = slots[USERS[0]] / (sum(slots.values()) or 1.0)
        verdict = "met" if abs(part - 0.5) <= AIM else "missed"
        print(f"slot-seconds when one has nothing waiting: {share(slots)}, 50 ± 5 %: {verdict}")
        print(f"seconds on the cluster until then:         {share(places)}", flush=True)
        ends = finish(service, options.sweeps)
        words = ", ".join(f"{count} {state}" for state, count in ends.items())
        print(f"after {time.monotonic() - began:.0f} s: {words}")


if __name__ == "__main__":
    main()
