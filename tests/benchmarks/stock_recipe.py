"""The recipe of the tutorials, for the overhead benchmark: TRIALS EPOCHS FOLDER."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch


class _Clock(tune.Callback):
    """When the first epoch was reported and the last trial ended."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.last = 0.0

    def on_trial_result(self, *_: Any, **__: Any) -> None:
        self.first = self.first or time.time()

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        self.last = time.time()


def main() -> None:
    """Run it and print the seconds as JSON."""
    trials, epochs, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])

    def nothing(config: dict[str, float]) -> None:
        for epoch in range(epochs):
            tune.report({"loss": config["lr"] / (epoch + 1)})

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    clock = _Clock()
    tracking = MLflowLoggerCallback(f"sqlite:///{folder / 'mlflow.db'}", experiment_name="stock")
    tune.Tuner(
        nothing,
        param_space={"lr": tune.loguniform(1e-4, 1e-1)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            search_alg=OptunaSearch(),
            scheduler=ASHAScheduler(max_t=epochs, grace_period=epochs),
            num_samples=trials,
            max_concurrent_trials=2,
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), callbacks=[tracking, clock]),
    ).fit()
    print(json.dumps({"seconds": clock.last - (clock.first or 0.0)}))


if __name__ == "__main__":
    main()
