"""Syne Tune: ASHA from epoch 1, local backend: PROBLEM SEED FOLDER.

Syne Tune runs this very file again, with the arguments of a trial, for every trial.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.problems import METRIC, PROBLEMS


def main() -> None:
    """Run the sweep."""
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import LocalBackend
    from syne_tune.optimizer.baselines import ASHA

    name, seed, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    problem = PROBLEMS[name]
    space = problem.space.to_syne_tune()
    Tuner(
        trial_backend=LocalBackend(entry_point=__file__, num_gpus_per_trial=0),
        scheduler=ASHA(
            {**space, "problem": name, "seed": seed, "folder": folder},
            metric=METRIC.replace("/", "_"),
            time_attr="epoch",
            max_t=problem.training["max_epochs"],
            grace_period=1,
            reduction_factor=3,
            random_seed=seed,
        ),
        stop_criterion=StoppingCriterion(max_num_trials_started=problem.trials),
        n_workers=2,
        results_update_interval=0.5,
        sleep_time=0.5,
        wait_trial_completion_when_stopping=True,
        trial_backend_path=f"{folder}/syne",
    ).run()


def run_trial() -> None:
    """Run one trial."""
    from syne_tune import Reporter
    from syne_tune.constants import ST_CHECKPOINT_DIR

    from tests.benchmarks.peers.loop import train_trial

    words = sys.argv[1:]
    drawn: dict[str, Any] = dict(
        zip((word.removeprefix("--") for word in words[::2]), words[1::2], strict=True)
    )
    folder, trial = Path(drawn["folder"]), Path(drawn[ST_CHECKPOINT_DIR]).parent.name
    for name in ("dropout", "l1_ratio", "augmentation_strength"):
        drawn[name] = float(drawn[name])
    report = Reporter()
    for epoch, metrics in train_trial(drawn["problem"], drawn, int(drawn["seed"]), trial, folder):
        report(epoch=epoch, **{METRIC.replace("/", "_"): metrics[METRIC]})


if __name__ == "__main__":
    run_trial() if any(word.startswith("--") for word in sys.argv) else main()
