"""Logs sweeps to MLflow: a parent run per sweep and a child run per trial, written in batches.

MLflow is for viewing; no sweep depends on it. The study and the history contain everything that is
logged here, with its time, so that a failed write is repeated later, and a repeated write logs the
same points. What MLflow refuses is skipped, item by item, and counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
)

from service.base.plain_text import escape_markdown
from service.study.records import Role, Trial
from service.sweep.answer import Answer
from service.sweep.environment import EXPERIMENT
from service.sweep.losses import Losses, describe_error
from service.sweep.sweep_record import Sweep, SweepState
from service.tracking.artifact_places import log_artifact
from service.tracking.entities import make_metrics, make_params, make_tags, make_text
from service.tracking.new_database import create_database
from service.tracking.open_runs import KILLED, end_runs, find_open_runs, find_runs
from service.tracking.outbox import SinkEmptiedError, TrialUpdate
from service.tracking.refusals import BatchLog, Entity, NotOpenError, is_away
from service.tracking.run_tags import (
    ANSWER_TAG,
    ARM_TAG,
    AUDITED_TAG,
    CODE_TAG,
    NOT_ACTING_TAG,
    PART_TAG,
    REASON_TAG,
    REPLICATE_TAG,
    ROLE_TAG,
    RUN_STATUS,
    STATE_TAG,
    SWEEP_TAG,
    TRIAL_TAG,
)
from service.tracking.tracked_sweep import TrackedSweep

_SWEEP_STATUS = {
    SweepState.RUNNING: "RUNNING",
    SweepState.INTERRUPTED: KILLED,
    SweepState.SUCCEEDED: "FINISHED",
    SweepState.FAILED: "FAILED",
}


class SweepRuns:
    """The runs of one sweep in MLflow. Blocking; for one thread only.

    It raises MLflow's errors while MLflow is away; ``losses`` are the items that it refused.
    """

    batch = 1

    def __init__(
        self,
        uri: str,
        artifacts: str | None,
        sweep: TrackedSweep,
        *,
        lock: AbstractContextManager[object] | None = None,
        reopens: bool = True,
    ) -> None:
        """Several processes that log one sweep share a ``lock``: each looks up the others' runs.

        Without ``reopens`` the parent is left as it is: another process may have ended it.
        """
        self._uri = uri
        self._artifacts = artifacts
        self._sweep = sweep
        self._children: dict[int, str] = {}
        self._bare: set[str] = set()
        self._ended: set[str] = set()
        self._experiment = ""
        self._known = False
        self._reopened = not reopens
        self._lock, self._shared = lock or nullcontext(), lock is not None
        self._has_spec = False
        self.parent = ""
        self.losses = Losses()

    @property
    def experiment(self) -> str:
        """The id of the experiment, once the runs are open."""
        return self._experiment

    def is_away(self, error: Exception) -> bool:
        """Whether an error says that MLflow cannot be used for now; any other error refuses."""
        return is_away(error)

    def open(self) -> None:
        """Find or create the experiment and the parent run, and find existing child runs.

        After an error everything is looked up again: the server may have executed a request whose
        response was lost, and a run would be created twice.

        Raises:
            NotOpenError: one of them can neither be found nor created.
        """
        if self._known:
            return
        try:
            self._open()
        except Exception as error:
            raise NotOpenError(describe_error(error)) from error
        self._known = True

    def _open(self) -> None:
        create_database(self._uri)  # which takes long
        self._client = mlflow.MlflowClient(self._uri)
        self._batches = BatchLog(self._client, self.losses)
        self._experiment = self._find_experiment()
        runs = find_runs(self._client, self._experiment, self._sweep.sweep_id)
        children = [r for r in runs if TRIAL_TAG in r.data.tags]
        self._children = {int(r.data.tags[TRIAL_TAG]): r.info.run_id for r in children}
        parents = [r.info.run_id for r in runs if not {TRIAL_TAG, ROLE_TAG} & r.data.tags.keys()]
        self._bare = {r.info.run_id for r in runs if not r.data.params}
        self._ended = {r.info.run_id for r in runs if r.info.status != "RUNNING"}
        self.parent = parents[0] if parents else self._create_parent()
        for run in children:  # of a parent that was deleted
            if run.data.tags.get(MLFLOW_PARENT_RUN_ID) != self.parent:
                self._client.set_tag(run.info.run_id, MLFLOW_PARENT_RUN_ID, self.parent)
        if self.parent in self._bare:
            self._describe_parent()

    def write(self, updates: Sequence[TrialUpdate]) -> None:
        """Log updates; logging one again writes the same points."""
        with self._look_up_after_errors():
            self.open()
            if not self._reopened:  # an earlier session has ended it
                self._client.update_run(self.parent, status="RUNNING")
                self._reopened = True
            for item in updates:
                self._log(item)

    def _log(self, update: TrialUpdate) -> None:
        """Write an update in one call, and one more for a run's start or end.

        A point that is logged twice is the same point.
        """
        trial = update.trial
        run = self._find_child(trial)
        entities: list[Entity] = []
        if run in self._bare:
            self._log_dataset(run)
            entities += make_params(trial.params)
        for epoch in update.epochs:
            entities += make_metrics(epoch.metrics, int(epoch.time * 1000), epoch.epoch)
        if update.changed:
            entities += _list_outcome(trial)
        self._batches.log(run, entities)
        self._bare.discard(run)
        if update.changed:
            self._set_status(run, trial)

    def _set_status(self, run: str, trial: Trial) -> None:
        """Give a run its trial's status, unless it has it."""
        status = RUN_STATUS[trial.state]
        if trial.state.has_ended:
            ended = int(1000 * (trial.ended or 0))
            self._client.set_terminated(run, status=status, end_time=ended or None)
            self._ended.add(run)
        elif run in self._ended:
            self._client.update_run(run, status=status)
            self._ended.discard(run)

    def finish(
        self, sweep: Sweep, verdict: str, artifacts: Sequence[Path], model: Path | None
    ) -> None:
        """End all runs, the parent with its headline figures and artifacts; add the best model.

        The verdict becomes the parent's description. Runs are ended before files are uploaded,
        because a store of artifacts can be away while MLflow is not.
        """
        with self._look_up_after_errors():
            self.open()
            self._log_finalists(sweep, verdict)
            self._end_runs(sweep)
            self._log_artifacts(sweep, artifacts, model)

    def close(self) -> None:
        """End all runs that are open: the sweep's session ended by an error."""
        with self._look_up_after_errors():
            self.open()
            end_runs(self._client, self._find_open_runs(), {}, KILLED)

    @contextmanager
    def _look_up_after_errors(self) -> Iterator[None]:
        try:
            with self._lock:
                self._known = self._known and not self._shared
                yield
        except Exception:
            self._known = False
            raise

    def _skip_refused(self, what: str, write: Callable[[], object]) -> None:
        """Call ``write``; if MLflow refuses it, count ``what`` as lost."""
        try:
            write()
        except Exception as error:
            if is_away(error):
                raise
            self.losses.add(what, describe_error(error))

    def _log_finalists(self, sweep: Sweep, verdict: str) -> None:
        now = int(time.time() * 1000)
        for trial in (t for t in (sweep.baseline, sweep.best) if t is not None):
            tested = {k: v for k, v in trial.best.items() if _is_test(k)}
            when = int(1000 * (trial.ended or 0))
            self._batches.log(self._open_child(trial), make_metrics(tested, when, 0))
        metrics = {
            f"{role}/{name}": value
            for role, trial in _name_finalists(sweep)
            if trial is not None
            for name, value in trial.best.items()
        }
        tags = {STATE_TAG: sweep.state.value, MLFLOW_RUN_NOTE: escape_markdown(verdict)}
        tags |= _answer_tags(sweep.answer)
        metrics |= _list_audit_metrics(sweep.answer)
        tags |= {CODE_TAG: self._sweep.code} if self._sweep.code else {}
        self._batches.log(self.parent, [*make_metrics(metrics, now, 0), *make_tags(tags)])

    def _end_runs(self, sweep: Sweep) -> None:
        """End the parent, and every run that its trial's end left open."""
        states = {t.number: t.state for t in sweep.trials}
        status = _SWEEP_STATUS[sweep.state]
        left = [run for run in self._find_open_runs() if run.info.run_id != self.parent]
        end_runs(self._client, left, states, status)
        self._client.set_terminated(self.parent, status=status)  # last: the others have ended then

    def _log_artifacts(self, sweep: Sweep, artifacts: Sequence[Path], model: Path | None) -> None:
        files = [] if self._has_spec else [self._sweep.spec]
        for path in (p for p in (*files, *artifacts) if p.exists()):
            self._log_artifact(self.parent, path)
        if model is not None and sweep.best is not None and model.exists():
            self._log_artifact(self._open_child(sweep.best), model, "model")

    def _log_artifact(self, run: str, path: Path, folder: str | None = None) -> None:
        self._skip_refused(
            path.name, lambda: log_artifact(self._client, run, path, folder, self._artifacts)
        )

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None and found.lifecycle_stage == LifecycleStage.DELETED:
            self._put_aside(found)
            found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=self._artifacts))

    def _put_aside(self, deleted: mlflow.entities.Experiment) -> None:
        """Rename a deleted experiment, whose name is taken until then; it stays deleted.

        It is restored instead where this user may neither rename nor delete experiments.
        """
        number = deleted.experiment_id
        self._client.restore_experiment(number)
        with suppress(MlflowException):
            self._client.rename_experiment(number, f"{EXPERIMENT} (deleted, {number})")
            self._client.delete_experiment(number)

    def _find_open_runs(self) -> Sequence[mlflow.entities.Run]:
        return find_open_runs(self._client, self._experiment, self._sweep.sweep_id)

    def _create_run(self, tags: Mapping[str, str], started: int | None = None) -> str:
        """Create a run.

        Raises:
            SinkEmptiedError: its experiment was deleted.
        """
        safe = {tag.key: tag.value for tag in make_tags(tags)}
        try:
            run = str(self._client.create_run(self._experiment, started, safe).info.run_id)
        except MlflowException as error:
            if is_away(error) or self._is_experiment_there():
                raise
            raise SinkEmptiedError(f"the experiment {EXPERIMENT} was deleted") from error
        self._bare.add(run)
        return run

    def _is_experiment_there(self) -> bool:
        try:
            found = self._client.get_experiment(self._experiment)
        except MlflowException as error:
            if is_away(error):
                raise
            return False
        return bool(found.lifecycle_stage == LifecycleStage.ACTIVE)

    def _create_parent(self) -> str:
        return self._create_run(self._build_tags() | {MLFLOW_RUN_NAME: self._sweep.sweep_id})

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
        if trial.number not in self._children:
            tags = self._build_tags() | {
                TRIAL_TAG: str(trial.number),
                ROLE_TAG: trial.role.value,
                STATE_TAG: trial.state.value,
                MLFLOW_PARENT_RUN_ID: self.parent,
                MLFLOW_RUN_NAME: _name_run(trial),
                **_replicate_tags(trial),
            }
            self._children[trial.number] = self._create_run(tags, _get_start_time(trial))
        return self._children[trial.number]

    def _open_child(self, trial: Trial) -> str:
        """The trial's run, which has its parameters and data."""
        run = self._find_child(trial)
        if run in self._bare:
            self._log(TrialUpdate(trial=trial, changed=False, epochs=()))
        return run


def _list_outcome(trial: Trial) -> list[Entity]:
    """A trial's record, but for its parameters and epochs."""
    tested = trial.replicate > 0
    best = {f"best/{k}": v for k, v in trial.best.items() if tested or not _is_test(k)}
    best |= {f"control/{k}": v for k, v in trial.control.items() if tested or not _is_test(k)}
    if trial.stopped_epoch is not None:
        best["stopped_epoch"] = float(trial.stopped_epoch)
    tags = {STATE_TAG: trial.state.value, REASON_TAG: trial.reason or ""}
    tags |= {f"gapsweep.{name}": value for name, value in trial.ran_on.items()}
    tags |= {NOT_ACTING_TAG: ", ".join(trial.not_acting)} if trial.not_acting else {}
    ended = int(1000 * (trial.ended or 0))
    folds = [
        point
        for number, fold in enumerate(trial.folds if ended else (), start=1)
        for point in make_metrics({f"folds/{k}": v for k, v in fold.items()}, ended, number)
    ]
    return [*make_metrics(best, ended, 0), *folds, *make_tags(tags)]


def _is_test(metric: str) -> bool:
    return metric.startswith(("test/", "test_gap/"))


def _name_finalists(sweep: Sweep) -> tuple[tuple[str, Trial | None], ...]:
    return (("baseline", sweep.baseline), ("control", sweep.control), ("best", sweep.best))


def _name_run(trial: Trial) -> str:
    """Its number and what is most looked for, and its role where it has a special one."""
    words = [f"{trial.number:03d}", trial.penalty]
    if trial.replicate:
        words.append(f"({_describe_arm(trial)}, replicate {trial.replicate})")
    elif trial.role is Role.AUDIT:
        words.append(f"(audit of trial {trial.confirms})")
    elif trial.role in (Role.BASELINE, Role.CONTROL, Role.CONFIRM):
        words.append(f"({trial.role.value})")
    return " ".join(words)


def _describe_arm(trial: Trial) -> str:
    """The configuration of a replicate: the trial it is from, and what it is without."""
    without = f" without {', '.join(trial.without)}" if trial.without else ""
    return f"trial {trial.confirms}{without}"


def _replicate_tags(trial: Trial) -> dict[str, str]:
    if trial.role is Role.AUDIT:
        return {AUDITED_TAG: str(trial.confirms)}
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


def _list_audit_metrics(answer: Answer | None) -> dict[str, float]:
    """The audit of the pruner in numbers: ``audit/strong/regret`` and alike."""
    audit = None if answer is None else answer.audit
    if audit is None:
        return {}
    groups = {"": audit.overall, "strong/": audit.strong, "weak/": audit.weak}
    names = ("pruned", "audited", "better", "share", "regret")
    found = {f"audit/{p}{n}": getattr(group, n) for p, group in groups.items() for n in names}
    return {name: float(value) for name, value in found.items() if value is not None}


def _get_start_time(trial: Trial) -> int:
    """Unix milliseconds, of the trial's start and not of its logging."""
    return int(1000 * (trial.started or time.time()))
