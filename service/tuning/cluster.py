"""A Ray on this machine for one sweep, and how Tune is told to run trials on it."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from service.errors import InputError
from service.spec import Resources
from service.tuning.bridge import Bridge, StudyScheduler, StudySearcher, SweepStopper
from service.tuning.trial import TrialActor, TrialContext

_QUIET: Mapping[str, str] = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # CSV, JSON and TensorBoard files nobody reads
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # the study is the truth
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the sweep has its own
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def check_resources(resources: Resources) -> int:
    """How many trials fit on this machine at once, at most as many as wanted.

    Raises:
        InputError: not even one does.
    """
    import torch

    cpus, gpus = os.cpu_count() or 1, torch.cuda.device_count()
    if resources.cpus > cpus:
        raise InputError(
            f"resources.cpus: a trial wants {resources.cpus:g}, the machine has {cpus}"
        )
    if resources.gpus > gpus:
        has = f"has {gpus}" if gpus else "has no GPU that torch can use; set it to 0"
        raise InputError(f"resources.gpus: a trial wants {resources.gpus:g}, the machine {has}")
    fit = int(cpus / resources.cpus)
    if resources.gpus:
        fit = min(fit, int(gpus / resources.gpus))
    return max(1, min(resources.concurrent, fit))


@contextmanager
def local_ray(log: Path) -> Iterator[None]:
    """Start Ray on this machine, with what the machine has, and stop it at the end.

    What Ray prints of dying workers goes to ``log``: the screen is the sweep's.
    """
    os.environ.update({k: v for k, v in _QUIET.items() if k not in os.environ})
    import ray

    with log.open("a", encoding="utf-8") as words, redirect_stdout(words):
        ray.init(
            address="local",
            num_cpus=os.cpu_count(),
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=True,
            logging_level=logging.ERROR,
        )
        try:
            yield
        finally:
            ray.shutdown()


def run_trials(bridge: Bridge, context: TrialContext, concurrent: int) -> None:
    """Let Tune run trials until the bridge has none left or says to stop."""
    from ray import tune

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the study keeps what failed
    resources = context.spec.resources
    trainable = tune.with_resources(
        tune.with_parameters(TrialActor, context=context),
        {"cpu": resources.cpus, "gpu": resources.gpus},
    )
    with tempfile.TemporaryDirectory(prefix="gapsweep-") as scratch:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=StudySearcher(bridge),
                scheduler=StudyScheduler(bridge),
                num_samples=-1,
                max_concurrent_trials=concurrent,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(Path(scratch)),
                stop=SweepStopper(bridge),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()
