"""The ready sweep's CNN on the whole of Fashion-MNIST: test accuracy, not regularised and dropout.

    python -m tests.benchmarks.fashion [--device cuda] [--seeds 1]

Published for two convolutions with batch normalisation, dropout and three dense layers: 0.934
(https://github.com/cmasch/zalando-fashion-mnist).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from service.spec.file import load_spec
from trainables.analysis.held_out import measure_held_out
from trainables.build import build_run
from trainables.data.datasets import load
from trainables.loop import train

SPEC = Path(__file__).parents[2] / "search_spaces" / "sweeps" / "fashion.yaml"


def main() -> None:
    """A row for each configuration and seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    spec = load_spec(SPEC)
    splits = load(spec.data)
    print("configuration  seed  best epoch  val/acc  test/acc  test_gap/acc  seconds", flush=True)
    for name, point, baseline in (
        ("baseline", spec.neutral_point(), True),
        ("dropout 0.3", dict(spec.search.enqueue[0]), False),
    ):
        for seed in range(options.seeds):
            start = time.monotonic()
            run = build_run(
                spec, point, splits, baseline=baseline, device=options.device, seed=seed
            )
            for _ in train(run):
                pass
            kept, found = run.best_metrics(), measure_held_out(run, splits, run.best_state).metrics
            print(
                f"{name:13s}  {seed:4d}  {kept['epoch']:10.0f}"
                f"  {kept['val/accuracy']:7.4f}  {found['test/accuracy']:8.4f}"
                f"  {found['test_gap/accuracy']:12.4f}  {time.monotonic() - start:7.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
