"""The runs of one sweep, as they were found in MLflow, and what is written to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Run
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
)

from service.base.plain_text import escape_markdown
from service.study.records import Trial, TrialState
from service.sweep.losses import Losses, describe_error
from service.sweep.sweep_record import Sweep, SweepState
from service.tracking.artifact_places import log_artifact
from service.tracking.entities import make_metrics, make_params, make_tags, make_text
from service.tracking.experiment import Experiment
from service.tracking.outbox import TrialUpdate
from service.tracking.refusals import BatchLog, Entity, is_away
from service.tracking.run_metrics import (
    is_test,
    list_audit_metrics,
    list_finalist_metrics,
    list_outcome,
)
from service.tracking.run_tags import (
    CODE_TAG,
    ROLE_TAG,
    STATE_TAG,
    SWEEP_ROLE,
    SWEEP_TAG,
    TRIAL_TAG,
    list_answer_tags,
    list_replicate_tags,
    name_run,
)
from service.tracking.tracked_sweep import TrackedSweep

_RUN_STATUS = {
    TrialState.RUNNING: "RUNNING",
    TrialState.PAUSED: "SCHEDULED",
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


class OpenRuns:
    """The parent run of a sweep and the runs of its trials, found or created.

    Every method raises MLflow's errors while it is away, and adds to ``losses`` what it refuses.
    After an error the runs must be looked up again by a new object. ``parent`` is the id of the
    sweep's run, ``children`` has those of its trials' runs by number.
    """

    def __init__(
        self,
        client: mlflow.MlflowClient,
        artifacts: str | None,
        sweep: TrackedSweep,
        losses: Losses,
    ) -> None:
        self._client, self._artifacts, self._sweep, self._losses = client, artifacts, sweep, losses
        self._batches = BatchLog(client, losses)
        self._experiment = Experiment(client, artifacts, sweep.sweep_id)
        self._has_spec = False
        self._find_runs()

    @property
    def experiment(self) -> str:
        """The id of the experiment."""
        return self._experiment.id

    def _find_runs(self) -> None:
        runs = self._experiment.find_runs()
        children = [r for r in runs if TRIAL_TAG in r.data.tags]
        self.children: dict[int, str] = {
            int(r.data.tags[TRIAL_TAG]): r.info.run_id for r in children
        }
        parents = [r for r in runs if _is_parent(r)]
        self._bare = {r.info.run_id for r in runs if not r.data.params}
        self._ended = {r.info.run_id for r in runs if r.info.status != "RUNNING"}
        self._logged = {int(r.data.tags[TRIAL_TAG]): _read_outcome(r) for r in children}
        self.parent: str = parents[0].info.run_id if parents else self._create_parent()
        if parents and ROLE_TAG not in parents[0].data.tags:  # of an older version
            self._client.set_tag(self.parent, ROLE_TAG, SWEEP_ROLE)
        for run in children:  # of a parent that was deleted
            if run.data.tags.get(MLFLOW_PARENT_RUN_ID) != self.parent:
                self._client.set_tag(run.info.run_id, MLFLOW_PARENT_RUN_ID, self.parent)
        if self.parent in self._bare:
            self._describe_parent()

    def reopen(self) -> None:
        """Give the parent, which an earlier session has ended, the status of a running one."""
        self._client.update_run(self.parent, status="RUNNING")

    def log(self, update: TrialUpdate) -> None:
        """Write an update in one call, and one more for a run's start or end.

        A point that is logged twice is the same point. A run is ended last: one that was found with
        its trial's end has all that came before.
        """
        trial = update.trial
        if trial.state.has_ended and self._logged.get(trial.number) == _get_outcome(trial):
            return
        run = self._find_child(trial)
        entities: list[Entity] = []
        if run in self._bare:
            self._log_dataset(run)
            entities += make_params(trial.params)
        for epoch in update.epochs:
            entities += make_metrics(epoch.metrics, int(epoch.time * 1000), epoch.epoch)
        if update.changed:
            entities += list_outcome(trial)
        self._batches.log(run, entities)
        self._bare.discard(run)
        if update.changed:
            self._set_status(run, trial)

    def log_figures(self, sweep: Sweep, verdict: str) -> None:
        """Log the sweep's figures, its answer and its verdict, and the finalists' tests."""
        now = int(time.time() * 1000)
        for trial in (t for t in (sweep.baseline, sweep.best) if t is not None):
            tested = {k: v for k, v in trial.best.items() if is_test(k)}
            when = int(1000 * (trial.ended or 0))
            self._batches.log(self._open_child(trial), make_metrics(tested, when, 0))
        metrics = list_finalist_metrics(sweep) | list_audit_metrics(sweep.answer)
        tags = {STATE_TAG: sweep.state.value, MLFLOW_RUN_NOTE: escape_markdown(verdict)}
        tags |= list_answer_tags(sweep.answer)
        tags |= {CODE_TAG: self._sweep.code} if self._sweep.code else {}
        self._batches.log(self.parent, [*make_metrics(metrics, now, 0), *make_tags(tags)])

    def end(self, sweep: Sweep) -> None:
        """End the parent, and every run that its trial's end left open."""
        states = {t.number: t.state for t in sweep.trials}
        for run in self._experiment.find_runs(running=True):
            number = run.data.tags.get(TRIAL_TAG)
            if number is None:
                continue
            state = states.get(int(number), TrialState.RUNNING)
            status = "KILLED" if state is TrialState.RUNNING else _RUN_STATUS[state]
            self._client.set_terminated(run.info.run_id, status=status)
        self._client.set_terminated(self.parent, status=_SWEEP_STATUS[sweep.state])

    def kill(self) -> None:
        """End all runs that are open as killed ones."""
        for run in self._experiment.find_runs(running=True):
            self._client.set_terminated(run.info.run_id, status="KILLED")

    def log_files(self, sweep: Sweep, artifacts: Sequence[Path], model: Path | None) -> None:
        """Upload the files that exist, and the best trial's model."""
        files = [] if self._has_spec else [self._sweep.spec]
        for path in (p for p in (*files, *artifacts) if p.exists()):
            self._log_artifact(self.parent, path)
        if model is not None and sweep.best is not None and model.exists():
            self._log_artifact(self._open_child(sweep.best), model, "model")

    def _set_status(self, run: str, trial: Trial) -> None:
        """Give a run its trial's status, unless it has it."""
        status = _RUN_STATUS[trial.state]
        if trial.state.has_ended:
            self._client.set_terminated(run, status=status, end_time=_get_end_time(trial))
            self._ended.add(run)
        elif run in self._ended:
            self._client.update_run(run, status=status)
            self._ended.discard(run)

    def _skip_refused(self, what: str, write: Callable[[], object]) -> None:
        """Call ``write``; if MLflow refuses it, count ``what`` as lost."""
        try:
            write()
        except Exception as error:
            if is_away(error):
                raise
            self._losses.add(what, describe_error(error))

    def _log_artifact(self, run: str, path: Path, folder: str | None = None) -> None:
        self._skip_refused(
            path.name, lambda: log_artifact(self._client, run, path, folder, self._artifacts)
        )

    def _create_run(self, tags: Mapping[str, str], started: int | None = None) -> str:
        run = self._experiment.create_run(tags, started)
        self._bare.add(run)
        return run

    def _create_parent(self) -> str:
        name = {MLFLOW_RUN_NAME: self._sweep.sweep_id}
        return self._create_run({**self._build_tags(), **name, ROLE_TAG: SWEEP_ROLE})

    def _describe_parent(self) -> None:
        try:
            log_artifact(self._client, self.parent, self._sweep.spec, None, self._artifacts)
            self._has_spec = True
        except Exception:  # its store may be away; it is tried again at the end
            pass
        self._log_dataset(self.parent)
        self._batches.log(self.parent, make_params(self._sweep.params))  # last: not bare then

    def _build_tags(self) -> dict[str, str]:
        return {
            SWEEP_TAG: self._sweep.sweep_id,
            MLFLOW_SOURCE_NAME: self._sweep.trainable,
            MLFLOW_SOURCE_TYPE: "LOCAL",
        }

    def _log_dataset(self, run: str) -> None:
        name = make_text(self._sweep.data, 500)
        dataset = Dataset(
            name=name, digest=self._sweep.data_digest, source_type="code", source=name
        )
        used = DatasetInput(dataset, tags=[InputTag(MLFLOW_DATASET_CONTEXT, "training")])
        self._skip_refused(f"dataset {name}", lambda: self._client.log_inputs(run, [used]))

    def _find_child(self, trial: Trial) -> str:
        """The trial's run; one that is new has neither parameters nor data."""
        if trial.number not in self.children:
            tags = self._build_tags() | {
                TRIAL_TAG: str(trial.number),
                ROLE_TAG: trial.role.value,
                STATE_TAG: trial.state.value,
                MLFLOW_PARENT_RUN_ID: self.parent,
                MLFLOW_RUN_NAME: name_run(trial),
                **list_replicate_tags(trial),
            }
            self.children[trial.number] = self._create_run(tags, _get_start_time(trial))
        return self.children[trial.number]

    def _open_child(self, trial: Trial) -> str:
        """The trial's run, which has its parameters and data."""
        run = self._find_child(trial)
        if run in self._bare:
            self.log(TrialUpdate(trial=trial, changed=False, epochs=()))
        return run


def _get_start_time(trial: Trial) -> int:
    """Unix milliseconds, of the trial's start and not of its logging."""
    return int(1000 * (trial.started or time.time()))


def _get_end_time(trial: Trial) -> int | None:
    """Unix milliseconds; None where it is not known."""
    return int(1000 * trial.ended) if trial.ended else None


_Outcome = tuple[str, str, int | None]
"""The status of a run, the state of its trial, and when it ended."""


def _get_outcome(trial: Trial) -> _Outcome:
    return _RUN_STATUS[trial.state], trial.state.value, _get_end_time(trial)


def _read_outcome(run: Run) -> _Outcome:
    return run.info.status, run.data.tags.get(STATE_TAG, ""), run.info.end_time


def _is_parent(run: Run) -> bool:
    """Whether it is the sweep's own run, neither a trial's nor a refit's."""
    tags = run.data.tags
    return TRIAL_TAG not in tags and tags.get(ROLE_TAG, SWEEP_ROLE) == SWEEP_ROLE
