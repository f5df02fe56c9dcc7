"""Optuna in two processes, successive halving from epoch 1, MLflow on: PROBLEM SEED FOLDER.

Both processes are forked when everything is imported and the data are read, which is the fastest
start that we know of.
"""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import mlflow
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState

from tests.benchmarks.peers.loop import train_trial
from tests.benchmarks.peers.problems import METRIC, PROBLEMS

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def work(problem: str, seed: int, number: int, folder: Path) -> None:
    """One of the two processes."""
    study = optuna.load_study(
        study_name=problem,
        storage=JournalStorage(JournalFileBackend(str(folder / "journal"))),
        sampler=optuna.samplers.TPESampler(seed=seed + 1000 * number, constant_liar=True),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    )
    space = PROBLEMS[problem].space

    def objective(trial: optuna.Trial) -> float:
        space.suggest(trial)
        best = float("inf")
        with mlflow.start_run(run_name=str(trial.number)):
            mlflow.log_params(trial.params)
            name = str(trial.number)
            for epoch, metrics in train_trial(problem, trial.params, seed, name, folder):
                mlflow.log_metrics(metrics, step=epoch)
                best = min(best, metrics[METRIC])
                trial.report(metrics[METRIC], epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
        return best

    limit = MaxTrialsCallback(PROBLEMS[problem].trials, states=_ENDED)
    study.optimize(objective, callbacks=[limit])


def main() -> None:
    """Both processes."""
    problem, seed, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment(problem)
    storage = JournalStorage(JournalFileBackend(str(folder / "journal")))
    optuna.create_study(study_name=problem, storage=storage)
    PROBLEMS[problem].rows.divide()
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=work, args=(problem, seed, n, folder)) for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(max(worker.exitcode or 0 for worker in workers))


if __name__ == "__main__":
    main()
