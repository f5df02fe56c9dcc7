"""Stock Ray Tune: OptunaSearch, ASHA from epoch 1, MLflowLoggerCallback: PROBLEM SEED FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from tests.benchmarks.peers.loop import train_trial
from tests.benchmarks.peers.problems import METRIC, PROBLEMS


def main() -> None:
    """Run it."""
    name, seed, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    problem = PROBLEMS[name]

    def trainable(config: dict[str, Any]) -> None:
        trial = tune.get_context().get_trial_id()
        for _, metrics in train_trial(name, config, seed, str(trial), folder):
            tune.report(metrics)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    tracking = f"sqlite:///{folder / 'mlflow.db'}"
    tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="min",
            search_alg=OptunaSearch(problem.space.suggest, metric=METRIC, mode="min", seed=seed),
            scheduler=ASHAScheduler(
                max_t=problem.training["max_epochs"], grace_period=1, reduction_factor=3
            ),
            num_samples=problem.trials,
            max_concurrent_trials=2,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder / "ray"),
            callbacks=[MLflowLoggerCallback(tracking, experiment_name=name)],
            verbose=0,
        ),
    ).fit()


if __name__ == "__main__":
    main()
