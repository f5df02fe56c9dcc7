"""Records the library again: `make histories`, a quarter of an hour of CPU time.

Each sweep runs in a process of its own, at the lowest priority but one, and becomes a table beside
its spec.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.histories import list_specs

_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GAPSWEEP_MLFLOW_URI": "off"}


def main() -> None:
    """Record every sweep, or those that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="of data sets; default: all")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1) // 2))
    options = parser.parse_args()
    specs = [s for s in list_specs() if not options.names or s.stem in options.names]
    with ThreadPoolExecutor(options.processes) as pool:
        for line in pool.map(record, specs):
            print(line, flush=True)


def record(spec: Path) -> str:
    """Run one sweep and save its table; the command's own errors end the recording."""
    table = spec.with_suffix(".npz")
    with tempfile.TemporaryDirectory() as home:
        _run("run", str(spec), "--home", home, "--json")
        _run("replay", "latest", "--home", home, "--save-table", str(table))
    return f"{table.name}: {table.stat().st_size / 1e3:.0f} kB"


def _run(*words: str) -> None:
    command = ["nice", "-n", "10", sys.executable, "-m", "service.cli", *words]
    environment = {**os.environ, **_ENVIRONMENT}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stderr)


if __name__ == "__main__":
    main()
