"""From the command to the first epoch: `gapsweep run` against a bare Ray Tune run of its loop.

    python -m tests.benchmarks.start_up

Each side runs as a process of its own, in turns: the ready sweep digits, and a function trainable
of Ray Tune that trains the same network on the same rows by the same loop, without a study, a
search, an examination or MLflow. Both have two slots. The first epoch is when the driver has its
result. A first sweep makes the databases and warms the disk and is not counted.

Wall time needs a quiet machine. CPU seconds are those of the command with all processes that it
started, when the first epoch is there; those of parts are the driver's alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import start_up_parts
from tests.rays import pids, read

AIM_SECONDS, AIM_RATIO = 6.0, 1.2
_PATIENCE = 600.0


@dataclass(frozen=True)
class Start:
    """Seconds to the first epoch, and the CPU seconds of all processes until then."""

    wall: float
    cpu: float


def measure(words: list[str], mark: Path) -> Start:
    """Run a command that writes to ``mark`` with its first epoch; it is ended after that."""
    mark.unlink(missing_ok=True)
    began = time.time()
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        start_up_parts.MARK: str(mark),
        start_up_parts.BEGAN: str(began),
    }
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        while not mark.exists():
            if time.time() - began > _PATIENCE or process.poll() is not None:
                process.kill()
                sys.exit(f"no epoch: {process.communicate()[1]}")
            time.sleep(0.01)
        found = Start(time.time() - began, _sum_cpu(mark))
        _, errors = process.communicate()
    if process.returncode:
        sys.exit(errors)
    return found


def _sum_cpu(mark: Path) -> float:
    """CPU seconds of all processes with this mark, and of those that they have waited for."""
    own = [pid for pid in pids() if str(mark).encode() in read(pid, "environ")]
    stats = [read(pid, "stat").rpartition(b")")[2].split() for pid in own]
    return sum(sum(map(int, stat[11:15])) for stat in stats) / os.sysconf("SC_CLK_TCK")


def _list_words(side: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks.start_up_parts", side, str(folder)]


def main() -> None:
    """A pair a line, each in the other order than the one before, and the medians with parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    pairs: list[tuple[Start, Start]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure(_list_words("ours", folder), folder / "first")
        for number in range(rounds):
            found: dict[str, Start] = {}
            for side in ("ours", "bare") if number % 2 == 0 else ("bare", "ours"):
                found[side] = measure(_list_words(side, folder), folder / "first")
            ours, bare = found["ours"], found["bare"]
            pairs.append((ours, bare))
            print(
                f"gapsweep {ours.wall:.1f} s, {ours.cpu:.1f} CPU-s; bare Ray Tune "
                f"{bare.wall:.1f} s, {bare.cpu:.1f} CPU-s: {ours.wall / bare.wall:.2f} × the time",
                flush=True,
            )
        print("\nthe parts of the last sweep\n" + start_up_parts.describe(folder))
    wall = statistics.median(ours.wall for ours, _ in pairs)
    ratio = statistics.median(ours.wall / bare.wall for ours, bare in pairs)
    cpu = statistics.median(ours.cpu / bare.cpu for ours, bare in pairs)
    print(
        f"\nmedians of {rounds}: {wall:.1f} s, at most {AIM_SECONDS:g}: "
        f"{'met' if wall <= AIM_SECONDS else 'missed'}; {ratio:.2f} × the time of a bare run, at "
        f"most {AIM_RATIO:g}: {'met' if ratio <= AIM_RATIO else 'missed'}; {cpu:.2f} × its CPU "
        f"seconds; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"
    )


if __name__ == "__main__":
    main()
