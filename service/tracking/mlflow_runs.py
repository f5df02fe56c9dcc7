"""Logs sweeps to MLflow: a parent run per sweep and a child run per trial, written in batches.

MLflow is for viewing; no sweep depends on it. The study and the history contain everything that is
logged here, with its time, so that a failed write is repeated later, and a repeated write logs the
same points.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.study.records import Epoch, Role, Trial, TrialState
from service.sweep.answer import Answer
from service.sweep.environment import EXPERIMENT
from service.sweep.sweep_record import Sweep, SweepState
from service.tracking.outbox import TrialUpdate

os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the outbox retries
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # it logs every table that it creates

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
)

SWEEP_TAG = "gapsweep.sweep_id"
TRIAL_TAG = "gapsweep.trial"
STATE_TAG = "gapsweep.state"
ROLE_TAG = "gapsweep.role"
REASON_TAG = "gapsweep.reason"
ARM_TAG = "gapsweep.arm"
REPLICATE_TAG = "gapsweep.replicate"
PART_TAG = "gapsweep.part"
ANSWER_TAG = "gapsweep.answer"
SEARCHED = f"tags.`{ROLE_TAG}` != 'replicate' AND tags.`{ROLE_TAG}` != 'removal'"
"""The filter that leaves a list of runs with the trials of searches."""

_BATCH = 1000  # MLflow's limit of metrics a call
_RUN_STATUS = {
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "FINISHED",
    TrialState.FAILED: "FAILED",
}
_SWEEP_STATUS = {
    SweepState.RUNNING: "RUNNING",
    SweepState.INTERRUPTED: "KILLED",
    SweepState.SUCCEEDED: "FINISHED",
    SweepState.FAILED: "FAILED",
}


@dataclass(frozen=True, kw_only=True)
class TrackedSweep:
    """The description of a sweep in its runs: its parameters, its trainable, its data.

    ``data_digest`` distinguishes data of the same name, in at most 36 characters.
    """

    sweep_id: str
    name: str
    trainable: str
    data: str
    data_digest: str
    params: Mapping[str, str]
    spec: Path


class SweepRuns:
    """The runs of one sweep in MLflow. Blocking; raises MLflow's errors; for one thread only."""

    batch = 1

    def __init__(self, uri: str, artifacts: str | None, sweep: TrackedSweep) -> None:
        self._uri = uri
        self._artifacts = artifacts
        self._sweep = sweep
        self._children: dict[int, str] = {}
        self._bare: set[str] = set()
        self._experiment = ""
        self._known = False
        self.parent = ""

    def open(self) -> None:
        """Find or create the experiment and the parent run, and find existing child runs.

        After an error everything is looked up again: the server may have executed a request whose
        response was lost, and a run would be created twice.
        """
        if self._known:
            return
        self._client = mlflow.MlflowClient(
            self._uri
        )  # makes a new database first, which takes long
        self._experiment = self._find_experiment()
        runs = self._search(f"tags.`{SWEEP_TAG}` = '{self._sweep.sweep_id}'")
        self._children = {
            int(r.data.tags[TRIAL_TAG]): r.info.run_id for r in runs if TRIAL_TAG in r.data.tags
        }
        parents = [r.info.run_id for r in runs if TRIAL_TAG not in r.data.tags]
        self._bare = {r.info.run_id for r in runs if not r.data.params}
        self.parent = parents[0] if parents else self._create_parent()
        if self.parent in self._bare:
            self._describe_parent()
        self._known = True

    def write(self, updates: Sequence[TrialUpdate]) -> None:
        """Log updates; logging one again writes the same points."""
        with self._look_up_after_errors():
            self.open()
            for item in updates:
                if item.epochs:
                    self.log_epochs(item.trial, item.epochs)
                if item.changed:
                    self.log_trial(item.trial)

    def log_trial(self, trial: Trial) -> None:
        """Write a trial's record into its run; epochs are logged separately."""
        run = self._open_child(trial)
        tested = trial.replicate > 0
        best = {f"best/{k}": v for k, v in trial.best.items() if tested or not _is_test(k)}
        best |= {f"control/{k}": v for k, v in trial.control.items() if tested or not _is_test(k)}
        if trial.stopped_epoch is not None:
            best["stopped_epoch"] = float(trial.stopped_epoch)
        tags = {STATE_TAG: trial.state.value, REASON_TAG: trial.reason or ""}
        tags |= {f"gapsweep.{name}": value for name, value in trial.ran_on.items()}
        ended = int(1000 * (trial.ended or 0))
        self._client.log_batch(
            run,
            metrics=[Metric(k, v, ended, 0) for k, v in best.items()],
            tags=[RunTag(k, v[:5000]) for k, v in tags.items() if v],
        )
        self._client.update_run(run, status=_RUN_STATUS[trial.state])
        if trial.state is not TrialState.RUNNING:
            status = _RUN_STATUS[trial.state]
            self._client.set_terminated(run, status=status, end_time=ended or None)

    def log_epochs(self, trial: Trial, epochs: Sequence[Epoch]) -> None:
        """Log epochs of one trial; a point logged twice is the same point."""
        run = self._open_child(trial)
        points = [
            Metric(name, value, int(epoch.time * 1000), epoch.epoch)
            for epoch in epochs
            for name, value in epoch.metrics.items()
        ]
        for start in range(0, len(points), _BATCH):
            self._client.log_batch(run, metrics=points[start : start + _BATCH])

    def finish(
        self, sweep: Sweep, verdict: str, artifacts: Sequence[Path], model: Path | None
    ) -> None:
        """End the parent with its headline figures and artifacts; the best trial's model too.

        The verdict becomes the run's description.
        """
        with self._look_up_after_errors():
            self.open()
            self._finish(sweep, verdict, artifacts, model)

    @contextmanager
    def _look_up_after_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._known = False
            raise

    def _finish(
        self, sweep: Sweep, verdict: str, artifacts: Sequence[Path], model: Path | None
    ) -> None:
        now = int(time.time() * 1000)
        for trial in (t for t in (sweep.baseline, sweep.best) if t is not None):
            tested = {k: v for k, v in trial.best.items() if _is_test(k)}
            when = int(1000 * (trial.ended or 0))
            self._client.log_batch(
                self._open_child(trial), metrics=[Metric(k, v, when, 0) for k, v in tested.items()]
            )
        metrics = {
            f"{role}/{name}": value
            for role, trial in _name_finalists(sweep)
            if trial is not None
            for name, value in trial.best.items()
        }
        self._client.log_batch(
            self.parent,
            metrics=[Metric(k, v, now, 0) for k, v in metrics.items()],
            tags=[
                RunTag(STATE_TAG, sweep.state.value),
                RunTag(MLFLOW_RUN_NOTE, verdict),
                *(RunTag(k, v[:5000]) for k, v in _answer_tags(sweep.answer).items()),
            ],
        )
        for path in artifacts:
            self._client.log_artifact(self.parent, str(path))
        if model is not None and sweep.best is not None:
            self._client.log_artifact(self._open_child(sweep.best), str(model), "model")
        for trial in sweep.of_state(TrialState.RUNNING):  # a killed worker did not end its run
            if trial.number in self._children:
                self._client.set_terminated(self._children[trial.number], status="KILLED")
        self._client.set_terminated(self.parent, status=_SWEEP_STATUS[sweep.state])

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=self._artifacts))

    def _search(self, condition: str) -> list[mlflow.entities.Run]:
        found: list[mlflow.entities.Run] = []
        token: str | None = None
        while token is None or token:
            page = self._client.search_runs(
                [self._experiment], condition, max_results=1000, page_token=token
            )
            found.extend(page)
            token = page.token or ""
        return found

    def _create_parent(self) -> str:
        tags = self._build_tags() | {MLFLOW_RUN_NAME: self._sweep.sweep_id}
        run = str(self._client.create_run(self._experiment, tags=tags).info.run_id)
        self._bare.add(run)
        return run

    def _describe_parent(self) -> None:
        params = [Param(k, v[:6000]) for k, v in self._sweep.params.items()]
        self._client.log_artifact(self.parent, str(self._sweep.spec))
        self._client.log_inputs(self.parent, [self._build_dataset()])
        self._client.log_batch(self.parent, params=params[:100])  # last: it is no longer bare then

    def _build_tags(self) -> dict[str, str]:
        return {
            SWEEP_TAG: self._sweep.sweep_id,
            MLFLOW_SOURCE_NAME: self._sweep.trainable,
            MLFLOW_SOURCE_TYPE: "LOCAL",
        }

    def _build_dataset(self) -> DatasetInput:
        name = self._sweep.data
        dataset = Dataset(
            name=name, digest=self._sweep.data_digest, source_type="code", source=name
        )
        return DatasetInput(dataset, tags=[InputTag(MLFLOW_DATASET_CONTEXT, "training")])

    def _open_child(self, trial: Trial) -> str:
        if trial.number not in self._children:
            tags = self._build_tags() | {
                TRIAL_TAG: str(trial.number),
                ROLE_TAG: trial.role.value,
                STATE_TAG: trial.state.value,
                MLFLOW_PARENT_RUN_ID: self.parent,
                MLFLOW_RUN_NAME: _name_run(trial),
                **_replicate_tags(trial),
            }
            made = self._client.create_run(self._experiment, _get_start_time(trial), tags)
            run = str(made.info.run_id)
            self._children[trial.number] = run
            self._bare.add(run)
        run = self._children[trial.number]
        if run in self._bare:
            params = [Param(k, str(v)) for k, v in trial.params.items()]
            self._client.log_inputs(run, [self._build_dataset()])
            self._client.log_batch(run, params=params)
            self._bare.remove(run)
        return run


def _is_test(metric: str) -> bool:
    return metric.startswith(("test/", "test_gap/"))


def _name_finalists(sweep: Sweep) -> tuple[tuple[str, Trial | None], ...]:
    return (("baseline", sweep.baseline), ("control", sweep.control), ("best", sweep.best))


def _name_run(trial: Trial) -> str:
    """Its number and what is most looked for, and its role where it has a special one."""
    words = [f"{trial.number:03d}", trial.penalty]
    if trial.replicate:
        words.append(f"({_describe_arm(trial)}, replicate {trial.replicate})")
    elif trial.role in (Role.BASELINE, Role.CONTROL, Role.CONFIRM):
        words.append(f"({trial.role.value})")
    return " ".join(words)


def _describe_arm(trial: Trial) -> str:
    """The configuration of a replicate: the trial it is from, and what it is without."""
    without = f" without {', '.join(trial.without)}" if trial.without else ""
    return f"trial {trial.confirms}{without}"


def _replicate_tags(trial: Trial) -> dict[str, str]:
    if not trial.replicate:
        return {}
    tags = {ARM_TAG: _describe_arm(trial), REPLICATE_TAG: str(trial.replicate)}
    return tags | ({PART_TAG: ", ".join(trial.without)} if trial.without else {})


def _answer_tags(answer: Answer | None) -> dict[str, str]:
    """The answer as one JSON value, and its plain fields each, to search runs by."""
    if answer is None:
        return {}
    found = answer.model_dump(mode="json", exclude={"arms"})
    plain = {k: v for k, v in found.items() if isinstance(v, str | bool | int | float)}
    return {
        ANSWER_TAG: json.dumps(found),
        **{f"{ANSWER_TAG}.{name}": str(value) for name, value in plain.items()},
        **{f"{ANSWER_TAG}.part.{part.name}": part.state.value for part in answer.parts},
    }


def _get_start_time(trial: Trial) -> int:
    """Unix milliseconds, of the trial's start and not of its logging."""
    return int(1000 * (trial.started or time.time()))
