"""The runs of one sweep, as they were found in MLflow, and what is written to them."""

from __future__ import annotations

import sqlite3
import time
import uuid
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
from service.study.records import Trial
from service.sweep.lost_items import Losses, describe_error
from service.sweep.sweep_record import Sweep
from service.tracking.artifact_places import log_artifact
from service.tracking.direct_writes import DirectWriter, RunChange
from service.tracking.entities import (
    make_metrics,
    make_params,
    make_tag_texts,
    make_tags,
    make_text,
)
from service.tracking.experiment import Experiment
from service.tracking.outbox import TrialUpdate
from service.tracking.refusals import BatchLog, Entity, is_away
from service.tracking.run_metrics import (
    is_test,
    list_audit_metrics,
    list_finalist_metrics,
    list_outcome,
)
from service.tracking.run_status import KILLED, SWEEP_STATUS, TRIAL_STATUS
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
from service.tracking.unended_runs import end_runs, find_open_runs


class FoundRuns:
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
        database: Path | None = None,
    ) -> None:
        """``database`` is MLflow's SQLite database, if this process reaches it."""
        self._client, self._artifacts, self._sweep, self._losses = client, artifacts, sweep, losses
        self._batches = BatchLog(client, losses)
        self._experiment = Experiment(client, artifacts, sweep.sweep_id)
        self._has_spec = False
        data = make_text(sweep.data, 500), sweep.data_digest
        self._direct = DirectWriter(database, self._experiment.id, data) if database else None
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

    def log(self, updates: Sequence[TrialUpdate]) -> None:
        """Write updates. A point that is logged twice is the same point.

        A run is ended last: one that was found with its trial's end has all that came before.
        """
        missing = [u for u in updates if not self._has_all(u.trial)]
        if not self._log_directly(missing):
            for update in missing:
                self._log_by_client(update)

    def _has_all(self, trial: Trial) -> bool:
        return trial.state.has_ended and self._logged.get(trial.number) == _get_outcome(trial)

    def _log_directly(self, updates: Sequence[TrialUpdate]) -> bool:
        """Write all updates to the database; whether that is done, or is the client's to do."""
        if self._direct is None:
            return False
        runs = [self.children.get(u.trial.number) or uuid.uuid4().hex for u in updates]
        changes = [self._build_change(u, run) for u, run in zip(updates, runs, strict=True)]
        try:
            self._direct.write(changes)
        except (LookupError, sqlite3.Error):  # which of them it is, or why, the client finds
            return False
        for update, run in zip(updates, runs, strict=True):
            self.children[update.trial.number] = run
            self._note_logged(run, update)
        return True

    def _build_change(self, update: TrialUpdate, run: str) -> RunChange:
        trial = update.trial
        is_new = trial.number not in self.children
        status = TRIAL_STATUS[trial.state] if self._is_status_new(run, update) else None
        ended = trial.state.has_ended and status is not None
        return RunChange(
            run=run,
            created=make_tag_texts(self._build_child_tags(trial)) if is_new else None,
            started=_get_start_time(trial),
            uses_data=is_new or run in self._bare,
            entities=_list_entities(update, described=not is_new and run not in self._bare),
            status=status,
            ended=(_get_end_time(trial) or int(1000 * time.time())) if ended else None,
        )

    def _log_by_client(self, update: TrialUpdate) -> None:
        """Write an update in one call, and one more for a run's start or end."""
        trial = update.trial
        run = self._find_child(trial)
        if run in self._bare:
            self._log_dataset(run)
        self._batches.log(run, _list_entities(update, described=run not in self._bare))
        if self._is_status_new(run, update):
            status = TRIAL_STATUS[trial.state]
            if trial.state.has_ended:
                self._client.set_terminated(run, status=status, end_time=_get_end_time(trial))
            else:
                self._client.update_run(run, status=status)
        self._note_logged(run, update)

    def _is_status_new(self, run: str, update: TrialUpdate) -> bool:
        return update.changed and (update.trial.state.has_ended or run in self._ended)

    def _note_logged(self, run: str, update: TrialUpdate) -> None:
        self._bare.discard(run)
        if update.changed and update.trial.state.has_ended:
            self._ended.add(run)
        elif update.changed:
            self._ended.discard(run)

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
        status = SWEEP_STATUS[sweep.state]
        left = [run for run in self._find_open_runs() if run.info.run_id != self.parent]
        end_runs(self._client, left, states, status)
        self._client.set_terminated(self.parent, status=status)  # last: the others have ended then

    def kill(self) -> None:
        """End all runs that are open as killed ones."""
        end_runs(self._client, self._find_open_runs(), {}, KILLED)

    def _find_open_runs(self) -> Sequence[Run]:
        return find_open_runs(self._client, self.experiment, self._sweep.sweep_id)

    def log_files(self, sweep: Sweep, artifacts: Sequence[Path], model: Path | None) -> None:
        """Upload the files that exist, and the best trial's model."""
        files = [] if self._has_spec else [self._sweep.spec]
        for path in (p for p in (*files, *artifacts) if p.exists()):
            self._log_artifact(self.parent, path)
        if model is not None and sweep.best is not None and model.exists():
            self._log_artifact(self._open_child(sweep.best), model, "model")

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
            tags, started = self._build_child_tags(trial), _get_start_time(trial)
            self.children[trial.number] = self._create_run(tags, started)
        return self.children[trial.number]

    def _build_child_tags(self, trial: Trial) -> dict[str, str]:
        return self._build_tags() | {
            TRIAL_TAG: str(trial.number),
            ROLE_TAG: trial.role.value,
            STATE_TAG: trial.state.value,
            MLFLOW_PARENT_RUN_ID: self.parent,
            MLFLOW_RUN_NAME: name_run(trial),
            **list_replicate_tags(trial),
        }

    def _open_child(self, trial: Trial) -> str:
        """The trial's run, which has its parameters and data."""
        run = self._find_child(trial)
        if run in self._bare:
            self._log_by_client(TrialUpdate(trial=trial, changed=False, epochs=()))
        return run


def _list_entities(update: TrialUpdate, *, described: bool) -> list[Entity]:
    """What an update says of its run; ``described`` if that has its parameters."""
    entities: list[Entity] = [] if described else [*make_params(update.trial.params)]
    for epoch in update.epochs:
        entities += make_metrics(epoch.metrics, int(epoch.time * 1000), epoch.epoch)
    return entities + (list_outcome(update.trial) if update.changed else [])


def _get_start_time(trial: Trial) -> int:
    """Unix milliseconds, of the trial's start and not of its logging."""
    return int(1000 * (trial.started or time.time()))


def _get_end_time(trial: Trial) -> int | None:
    """Unix milliseconds; None where it is not known."""
    return int(1000 * trial.ended) if trial.ended else None


_Outcome = tuple[str, str, int | None]
"""The status of a run, the state of its trial, and when it ended."""


def _get_outcome(trial: Trial) -> _Outcome:
    return TRIAL_STATUS[trial.state], trial.state.value, _get_end_time(trial)


def _read_outcome(run: Run) -> _Outcome:
    return run.info.status, run.data.tags.get(STATE_TAG, ""), run.info.end_time


def _is_parent(run: Run) -> bool:
    """Whether it is the sweep's own run, neither a trial's nor a refit's."""
    tags = run.data.tags
    return TRIAL_TAG not in tags and tags.get(ROLE_TAG, SWEEP_ROLE) == SWEEP_ROLE
