"""What a session writes to MLflow: the sweep's runs, open from its start to its end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

from filelock import FileLock
from pydantic import BaseModel

from service.run.evidence import Evidence
from service.spec.model import SweepSpec
from service.study.records import Trial
from service.sweep.asked import is_asked
from service.sweep.code_record import read_code
from service.sweep.environment import get_artifact_location, get_mlflow_uri
from service.sweep.history import read_history
from service.sweep.home import Home, SweepFolder
from service.sweep.lost_items import Loss
from service.sweep.sweep_record import Sweep, SweepState
from service.tracking.late_runs import LateRuns
from service.tracking.outbox import Outbox
from service.tracking.tracked_sweep import TrackedSweep
from trainables.config.registry import Component

FIRST_LOG = 10.0
"""Seconds after which MLflow is written to at the latest, if no epoch has ended before."""
_PATIENCE = 20.0
"""Seconds for which a sweep that ends waits for MLflow."""
_SERVICE_PATIENCE = 120.0
"""As many of a sweep of a service, for whose end nobody waits at a terminal."""
_ABANDON_PATIENCE = 5.0
"""Seconds for which a sweep that ends by an error waits for MLflow."""
_LOCK_PATIENCE = 60.0
"""Seconds for which a process waits while others open the runs of a sweep that they share."""


class SessionLog:
    """The runs of a session's sweep in MLflow, and the outbox that writes them.

    ``served`` sessions are those of a service: it may pause or cancel them.
    """

    def __init__(self, runs: LateRuns, folder: SweepFolder, *, served: bool) -> None:
        self._runs, self._folder, self._served = runs, folder, served
        self.outbox = Outbox(
            runs,
            "mlflow",
            patience=_SERVICE_PATIENCE if served else _PATIENCE,
            rest=FIRST_LOG,
            reread=partial(read_history, folder),
        )

    def repeat(self, trials: Sequence[Trial]) -> None:
        """Log what earlier sessions had trained, as far as MLflow lacks it."""
        self.outbox.repeat(trials)

    def pause(self) -> None:
        """Write what is known, and leave the runs open."""
        self.outbox.close(lambda: None, _ABANDON_PATIENCE)

    def abandon(self) -> None:
        """End the runs after an error, if MLflow answers soon."""
        self.outbox.close(self._runs.close, _ABANDON_PATIENCE)

    def finish(self, sweep: Sweep, verdict: str) -> str | None:
        """End the runs; why they are incomplete, None if they are not."""
        folder = self._folder
        model = folder.best_weights(sweep.best.number) if sweep.best else None
        artifacts = (folder.report, folder.summary, folder.robustness, folder.columns)
        asked = self._served and sweep.state is SweepState.INTERRUPTED
        patience = _PATIENCE if asked else None  # a user waits for a pause or a cancellation
        logged = self.outbox.close(
            lambda: self._runs.finish(sweep, verdict, artifacts, model), patience
        )
        return None if logged else self.outbox.error

    def list_losses(self) -> tuple[Loss, ...]:
        """What MLflow has refused."""
        return (*self._runs.losses.list("MLflow"), *self.outbox.losses.list("MLflow"))


def open_log(
    spec: SweepSpec, evidence: Evidence, folder: SweepFolder, home: Home, *, served: bool
) -> SessionLog | None:
    """What a session writes to MLflow with; None where nothing is logged."""
    runs = open_runs(spec, evidence, folder, home)
    return None if runs is None else SessionLog(runs, folder, served=served)


def open_runs(
    spec: SweepSpec, evidence: Evidence, folder: SweepFolder, home: Home, *, reopens: bool = True
) -> LateRuns | None:
    """The sweep's runs in MLflow; None where nothing is logged."""
    uri = get_mlflow_uri(home)
    if uri is None:
        return None
    described = describe_sweep(spec, evidence, folder)
    lock = (
        FileLock(folder.path / "mlflow.lock", timeout=_LOCK_PATIENCE) if is_asked(folder) else None
    )
    return LateRuns(uri, get_artifact_location(home), described, lock=lock, reopens=reopens)


def describe_sweep(spec: SweepSpec, evidence: Evidence, folder: SweepFolder) -> TrackedSweep:
    """What MLflow shows of a sweep."""
    params = {
        **evidence.describe_network(spec),
        "trainable": spec.trainable,
        "data": "none" if spec.data is None else spec.data.name,
        "objective": f"{spec.objective.mode} {spec.objective.metric}",
        "sampler": spec.search.sampler.name,
        "pruner": spec.search.pruner.name,
        "trials": str(spec.budget.trials),
        **{f"training.{k}": _show(v) for k, v in spec.training},
        **{f"resources.{k}": str(v) for k, v in spec.resources.model_dump().items()},
    }
    described = spec.model_dump_json(include={"data"})
    code = read_code(folder)
    return TrackedSweep(
        sweep_id=folder.sweep_id,
        name=spec.name,
        trainable=spec.trainable,
        data=params["data"],
        data_digest=hashlib.sha256(described.encode()).hexdigest()[:8],
        params=params,
        spec=folder.spec,
        code="" if code is None else code.describe(),
    )


def _show(value: object) -> str:
    """A value of a spec in one line; a component with default options by its name."""
    if isinstance(value, Component):
        options = value.model_dump(exclude={"name"}, exclude_defaults=True)
        return f"{value.name} {options}" if options else value.name
    return str(value.model_dump() if isinstance(value, BaseModel) else value)
