"""Runs or resumes one sweep: study, executor, MLflow, finalists, report."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from filelock import FileLock
from pydantic import BaseModel

from search_spaces.widening import Wider
from service.answer.audit import AfterSearch, Auditor, measure_audit
from service.answer.conclude import conclude
from service.answer.planner import Planner
from service.answer.unconfirmed import leave_unconfirmed
from service.base.disk import explain_full_disk, is_disk_full
from service.base.errors import InputError, SweepFailedError
from service.base.files import write_atomically
from service.base.streams import list_dropped, safe_streams
from service.cluster.connection import Cluster
from service.cluster.divisions import TrialContext
from service.report.write import write_report
from service.run.evidence import Evidence, choose_evidence
from service.run.fingerprints import check_changes, record_fingerprint
from service.run.local_executor import run_trials_here
from service.run.points import plan_search
from service.run.sweep_control import Control, Interrupts, Orders, Reserve, Stop
from service.spec.file import dump_spec
from service.spec.model import SweepSpec
from service.spec.widened import widen_spec
from service.study.confirmation import Confirmation
from service.study.enough import Enough
from service.study.folds import FoldPlan
from service.study.ranking import Shortlist
from service.study.records import OUT_OF_BUDGET, Role
from service.study.session import StudySession
from service.study.slot_flow import ALONE, Widths
from service.study.study import SweepStudy, open_study
from service.study.trial_flow import TrialFlow
from service.study.widen import widen_study
from service.sweep.asked import is_asked
from service.sweep.code_record import read_code
from service.sweep.environment import get_artifact_location, get_mlflow_uri
from service.sweep.gpu_budget import GpuBudget
from service.sweep.history import History, read_history
from service.sweep.home import Home, SweepFolder
from service.sweep.kept_weights import FinalistWeights
from service.sweep.load import assemble, read_sampled_spec
from service.sweep.losses import Loss, Losses, attempt
from service.sweep.summary import Summary, summarise, summarise_state
from service.sweep.sweep_observer import GuardedObserver, SweepObserver, guard
from service.sweep.sweep_record import Sweep, SweepState
from service.sweep.time_budget import Stopwatch
from service.tracking.late_runs import LateRuns
from service.tracking.outbox import Outbox
from service.tracking.tracked_sweep import TrackedSweep
from trainables.config.code_policy import get_policy
from trainables.config.registry import Component
from trainables.data.rows import Rows
from trainables.errors import TrainableError

if TYPE_CHECKING:
    from service.run.ranges import Ranges
    from trainables.loops.rehearsal import LoopFindings


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
RESERVED = 0.4
"""The share of a budget of time that is left for the confirmation."""


@dataclass(frozen=True)
class Ending:
    """A sweep after a session.

    ``stopped`` is why it stopped early; ``unlogged`` why MLflow lacks what a resumption logs;
    ``losses`` are what was not shown, told or logged and will not be.
    """

    sweep: Sweep
    summary: Summary
    stopped: Stop | None
    unlogged: str | None
    losses: tuple[Loss, ...] = ()


def create_sweep(
    spec: SweepSpec, home: Home, import_paths: Sequence[str], *, asked: bool = False
) -> SweepFolder:
    """Create the folder of a new sweep with its spec; ``asked`` if loops elsewhere train it.

    Raises:
        HomeError: the home cannot be written.
        DiskFullError: its disk is full; nothing of the sweep is left there.
    """
    with explain_full_disk(
        home.path,
        "the sweep was not started, and nothing of it is left; free some space and try again",
    ):
        folder = home.create().new_sweep(spec.name)
        try:
            if asked:
                folder.asked.mkdir()
            return write_sweep_files(folder, spec, import_paths)
        except BaseException:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise


def write_sweep_files(
    folder: SweepFolder, spec: SweepSpec, import_paths: Sequence[str]
) -> SweepFolder:
    """Write a sweep's files into its folder, the spec last: it marks the folder as complete."""
    folder.write_format()
    folder.origin.write_text("\n".join(import_paths), encoding="utf-8")
    write_atomically(folder.spec, dump_spec(spec))
    return folder


def run_sweep(
    spec: SweepSpec,
    rows: Rows,
    folder: SweepFolder,
    home: Home,
    observers: Sequence[SweepObserver],
    *,
    cluster: Cluster,
    concurrent: int,
    widths: Widths = ALONE,
    more_trials: int = 0,
    extension: int = 0,
    orders: Orders | None = None,
    accept_changes: bool = False,
    not_neutral: Sequence[str] = (),
    ranges: Ranges | None = None,
    wider: Wider | None = None,
    loop: LoopFindings | None = None,
) -> Ending:
    """Run the remaining trials of a sweep, new or resumed, and ``more_trials`` more.

    At most ``concurrent`` processes, each with up to ``widths`` trials, run at once, or fewer by
    ``orders``, which may change during the run. ``extension`` is the minimum number of trials
    beyond the spec's budget, in total over all sessions. ``accept_changes`` lets it go on with
    other data, code or libraries than before. ``not_neutral`` says what regularises the baseline
    all the same. ``ranges`` were measured for this session: a new study samples their space.
    ``loop`` is what is known of a training loop of the user's. With ``wider`` ranges, the study has
    these from now on.

    Raises:
        ProblemsError: a range cannot be widened so.
        SweepBusyError: another process runs it.
        ChangedSweepError: what it was run on has changed.
        InputError: the cluster cannot be reached, or a newer gapsweep wrote the folder.
        DiskFullError: the disk is full; finished trials and checkpoints are kept.
        SweepFailedError: an error outside of trials; finished trials are kept.
    """
    folder.check_format()
    check_executor(spec, cluster)
    interrupts = Interrupts()
    with (
        explain_full_disk(folder.path, _describe_kept(folder)),
        safe_streams(),
        interrupts.handle(),
        folder.lock(),
        History(folder.history) as history,
    ):
        more = More(more_trials, extension)
        session = Session(
            *(spec, choose_evidence(rows, loop, spec.search.folds), folder, home, history),
            [guard(observer) for observer in observers],
            *(more, concurrent, orders, interrupts, accept_changes),
            not_neutral=tuple(not_neutral),
            ranges=ranges,
            wider=wider or {},
            widths=widths,
        )
        try:
            session.drive(cluster, rows)
            return session.conclude()
        except TrainableError as error:  # of user-defined code, in the driver
            session.abandon()
            raise SweepFailedError(
                f"{folder.sweep_id} stopped: {error}; finished trials are kept; correct it, then: "
                f"gapsweep resume {folder.sweep_id}"
            ) from error
        except BaseException:
            session.abandon()
            raise


def _describe_kept(folder: SweepFolder) -> str:
    return (
        f"{folder.sweep_id} has stopped; finished trials are kept, and the others continue from "
        f"their checkpoints; free some space, then: gapsweep resume {folder.sweep_id}"
    )


def check_executor(spec: SweepSpec, cluster: Cluster) -> None:
    """Check that a spec's executor is compatible with the cluster.

    Raises:
        InputError: the spec has the local executor, but a cluster's address is given.
    """
    if spec.resources.executor == "local" and cluster.address is not None:
        raise InputError(
            "resources.executor: local runs trials in this process, not on the Ray cluster at "
            f"{cluster.address}; remove the address, or set executor to ray"
        )


@dataclass(frozen=True)
class More:
    """Trials to add to a study's budget, and the minimum number beyond the spec's budget."""

    trials: int
    extension: int

    def count(self, study: SweepStudy, budget: int) -> int:
        """The number of trials to add to the study's current budget."""
        now, planned = study.attributes.budget, study.attributes.planned
        extended = 0 if now is None else max(0, now - (planned or budget))
        return self.trials or max(0, self.extension - extended)


class Session:
    """One session of a sweep, from opening its study to closing its MLflow parent run."""

    def __init__(
        self,
        spec: SweepSpec,
        evidence: Evidence,
        folder: SweepFolder,
        home: Home,
        history: History,
        observers: Sequence[GuardedObserver],
        more: More,
        concurrent: int,
        orders: Orders | None,
        interrupts: Interrupts,
        accept_changes: bool,
        not_neutral: tuple[str, ...],
        ranges: Ranges | None,
        wider: Wider,
        widths: Widths = ALONE,
    ) -> None:
        self._spec, self._evidence, self._folder = spec, evidence, folder
        self._concurrent, self._observers, self._orders = concurrent, observers, orders
        self._widths = widths
        self._losses = Losses()
        fingerprint = evidence.take_fingerprint(spec, folder.read_import_paths())
        changes = check_changes(folder, fingerprint, accept=accept_changes)
        if wider:
            _widen(spec, folder, wider)
        folder.summary.unlink(missing_ok=True)  # it describes the previous session
        self._study = open_study(spec, folder.journal)
        if ranges is not None and self._study.attributes.space is None:
            self._study.store_space(ranges.space)
        self._spec = spec = spec.with_space(self._study.space)
        reading = evidence.describe_data(spec)
        record_fingerprint(folder, fingerprint, changes, self._study, reading)
        cleared = replace(
            self._study.attributes, answer=None, inspection=None, not_neutral=not_neutral
        )
        if ranges is not None:
            cleared = replace(cleared, ranges=ranges.notes, idle_ranges=ranges.warnings)
        self._study.store(cleared)
        budget, points = plan_search(spec)
        more_trials = more.count(self._study, budget)
        self._stopwatch = Stopwatch(self._study)
        if more_trials:
            self._stopwatch.extend()
            _grant_trainings(self._study)
        seconds = self._stopwatch.left(spec.budget.minutes)
        self._planner = build_planner(spec, evidence, folder, self._study)
        before = self._read(SweepState.RUNNING)
        gpus = _open_gpu_budget(spec, self._study, before)
        if gpus is not None and more_trials:
            gpus.extend()
        self._control = Control(seconds, reserve(spec), concurrent, gpus, orders, interrupts)
        self._cut_short = False
        self._runs = open_runs(spec, evidence, folder, home)
        self._tracker = None if self._runs is None else self._open_tracker(self._runs)
        if self._tracker is not None:
            self._tracker.repeat(before.trials)
        weights = FinalistWeights(folder, Shortlist.of(spec), before.trials)
        clocks = (self._stopwatch, gpus, self._control)
        own = (history, self._tracker, *clocks, weights)
        self._trials = StudySession(
            self._study,
            spec.space,
            metric=spec.objective.metric,
            constraints=spec.constraints,
            max_epochs=spec.training.max_epochs,
            confirm=plan_after_search(spec, self._planner, self._study),
            search_over=self._control.is_search_over,
            enough=Enough.of(spec, self._study),
            folds=plan_folds(spec),
            retries=spec.resources.retries,
            observers=[*(o for o in own if o is not None), *observers],
        )
        self._trials.prepare(budget, points)
        if more_trials:
            self._trials.extend(self._trials.budget + more_trials)
        for observer in observers:
            observer.begin(before, self._trials.planned, seconds)

    def _open_tracker(self, runs: LateRuns) -> Outbox:
        patience = _PATIENCE if self._orders is None else _SERVICE_PATIENCE
        reread = partial(read_history, self._folder)
        return Outbox(runs, "mlflow", patience=patience, rest=FIRST_LOG, reread=reread)

    def drive(self, cluster: Cluster, rows: Rows) -> None:
        """Run trials until the budget is used up or the sweep must stop."""
        if self._trials.exhausted or self._control.reason is not None:
            self._cut_short = self._trials.unfinished
            self._end_out_of_budget()
            return
        control = self._control
        flow = TrialFlow(
            self._trials,
            lambda: control.reason is not None,
            lambda: control.slots * self._widths.get(self._trials),
        )
        context = TrialContext(self._spec, rows, self._folder.path, get_policy())
        if self._spec.resources.executor == "local":
            run_trials_here(flow, context, self._widths)
        else:
            self._run_on(cluster, flow, context)
        self._cut_short = self._trials.unfinished
        self._end_out_of_budget()
        self._trials.interrupt()
        self._stopwatch.save()
        if flow.error is not None:
            if is_disk_full(flow.error):
                raise flow.error
            raise SweepFailedError(
                f"{self._folder.sweep_id} stopped: {type(flow.error).__name__}: {flow.error}; "
                "finished trials are kept; resume it to continue"
            ) from flow.error

    def _end_out_of_budget(self) -> None:
        """End the trials that run, and those that are paused, if the budget is used up."""
        if self._control.reason not in (Stop.TIME, Stop.GPU_HOURS):
            return
        for number in self._trials.open_trials:
            self._trials.prune(number, OUT_OF_BUDGET)
        self._trials.end_paused(OUT_OF_BUDGET)

    def leave_to_others(self) -> None:
        """Run nothing: loops elsewhere train the trials."""
        self._cut_short = self._trials.unfinished
        self._end_out_of_budget()

    @property
    def over(self) -> bool:
        """Whether nothing is left to train, or the budget is used up."""
        return self._trials.exhausted or self._control.reason is not None

    def pause(self) -> None:
        """Write to MLflow what is known, and leave its runs open."""
        if self._tracker is not None:
            self._tracker.close(lambda: None, _ABANDON_PATIENCE)

    def _run_on(self, cluster: Cluster, flow: TrialFlow, context: TrialContext) -> None:
        with cluster.connect(self._folder.ray_log):
            from service.cluster.tune_run import run_trials

            run_trials(flow, context, self._concurrent, self._widths)

    def abandon(self) -> None:
        """End MLflow's runs after an error, if MLflow answers soon."""
        if self._tracker is not None and self._runs is not None:
            self._tracker.close(self._runs.close, _ABANDON_PATIENCE)

    def conclude(self) -> Ending:
        """Measure the finalists on the test split, write report and summary, end the parent."""
        # without another reason, the search ended to leave time for the confirmations
        stopped = (self._control.reason or Stop.TIME) if self._cut_short else None
        sweep = self._read(self._determine_state(stopped))
        if sweep.state is SweepState.SUCCEEDED:
            sweep = self._conclude(sweep)
        folder = self._folder
        data = attempt(
            self._losses, "report.html", lambda: write_report(sweep, self._study, folder)
        )
        self._write_summary(sweep)
        unlogged = self._finish_log(sweep, "" if data is None else data.description)
        summary = self._write_summary(sweep)  # again: MLflow's losses are known now
        self._study.close()
        return Ending(sweep, summary, stopped, unlogged, self._list_losses())

    def _write_summary(self, sweep: Sweep) -> Summary:
        """Write the summary, without its figures if they cannot be written."""
        losses = self._list_losses()
        made = attempt(self._losses, "summary.json", lambda: summarise(sweep, self._folder, losses))
        summary = made or summarise_state(sweep, self._list_losses())
        text = summary.model_dump_json(indent=2) + "\n"
        attempt(self._losses, "summary.json", lambda: write_atomically(self._folder.summary, text))
        return summary

    def _finish_log(self, sweep: Sweep, verdict: str) -> str | None:
        """End MLflow's runs; why they are incomplete, None if they are not."""
        runs, tracker = self._runs, self._tracker
        if tracker is None or runs is None:
            return None
        model = self._folder.best_weights(sweep.best.number) if sweep.best else None
        folder = self._folder
        artifacts = (folder.report, folder.summary, folder.robustness, folder.columns)
        asked = self._orders is not None and sweep.state is SweepState.INTERRUPTED
        patience = _PATIENCE if asked else None  # a user waits for a pause or a cancellation
        logged = tracker.close(lambda: runs.finish(sweep, verdict, artifacts, model), patience)
        return None if logged else tracker.error

    def _list_losses(self) -> tuple[Loss, ...]:
        """What was not shown, told or logged in this session."""
        found = list(self._losses.list("the report"))
        for observer in self._observers:
            found += observer.losses.list(observer.title)
        if self._tracker is not None and self._runs is not None:
            found += [*self._runs.losses.list("MLflow"), *self._tracker.losses.list("MLflow")]
        for name, lines, reason in list_dropped():
            found.append(Loss(place=name, what=f"{lines} lines", reason=reason, count=lines))
        return tuple(found)

    def _determine_state(self, stopped: Stop | None) -> SweepState:
        if stopped is Stop.INTERRUPTED:
            return SweepState.INTERRUPTED
        complete = self._read(SweepState.RUNNING).best is not None
        return SweepState.SUCCEEDED if complete else SweepState.FAILED

    def _read(self, state: SweepState) -> Sweep:
        return assemble(self._spec, self._study, self._folder, state)

    def _conclude(self, sweep: Sweep) -> Sweep:
        """Store the answer, and what is measured when no choice is left to make."""
        spec, trials, evidence = self._spec, sweep.trials, self._evidence

        def measure_error() -> float | None:
            return evidence.measure_difference(spec, self._folder, sweep)

        if self._planner is None:
            answer = leave_unconfirmed(sweep.ranking, trials, measure_error(), "confirm is off")
        else:
            on = evidence.division
            answer = conclude(self._planner, trials, on=on, measure_error=measure_error)
        audit = measure_audit(sweep.ranking, trials, spec.neutral) if spec.audit else None
        found = {"target_scale": evidence.find_target_scale(), "audit": audit}
        answer = answer.model_copy(update=found)
        self._study.store(replace(self._study.attributes, answer=answer.model_dump(mode="json")))
        sweep = self._read(sweep.state)
        for number, finding in evidence.measure_finalists(spec, self._folder, sweep):
            self._trials.record_finalist(number, finding)
        inspection = evidence.inspect_finalists(spec, self._folder, sweep)
        stored = inspection.model_dump(mode="json")
        self._study.store(replace(self._study.attributes, inspection=stored))
        self._drop_weights(sweep)
        return self._read(sweep.state)

    def _drop_weights(self, sweep: Sweep) -> None:
        """Delete all weights except those of the baseline, the control and the finalists."""
        wanted = {t.number for t in (sweep.baseline, sweep.control, sweep.best) if t is not None}
        wanted |= {arm.trial for arm in sweep.answer.arms} if sweep.answer else set()
        for trial in sweep.trials:
            if trial.number not in wanted:
                self._folder.drop_trial(trial.number)


def build_planner(
    spec: SweepSpec, evidence: Evidence, folder: SweepFolder, study: SweepStudy
) -> Planner | None:
    """The confirmation; None without one."""
    if spec.confirm is None:
        return None
    return Planner(spec, evidence.build_scores(spec, folder), study)


def plan_after_search(
    spec: SweepSpec, planner: Planner | None, study: SweepStudy
) -> Confirmation | None:
    """What is trained when the search is over."""
    return planner if spec.audit is None else AfterSearch(Auditor(spec, study), planner)


def plan_folds(spec: SweepSpec) -> FoldPlan | None:
    """The folds of the search; None where each trial is one training."""
    search = spec.search
    if search.folds is None:
        return None
    return FoldPlan(search.folds, spec.most_epochs, search.fold_pruner.build(search.folds))


def reserve(spec: SweepSpec) -> Reserve:
    """What a search leaves of the budgets of time for its audit and for the confirmation."""
    share, budget = RESERVED if spec.confirm else 0.0, spec.budget
    if spec.audit:
        audited = spec.audit.trials / (spec.budget.trials + spec.audit.trials)
        share += (1 - share) * audited
    return Reserve(share * 60 * (budget.minutes or 0), share * 3600 * (budget.gpu_hours or 0))


def _grant_trainings(study: SweepStudy) -> None:
    """Let an extended sweep use its trainings for audits and replicates again."""
    trials = study.trials()
    used, audits = sum(t.replicate > 0 for t in trials), sum(t.role is Role.AUDIT for t in trials)
    study.store(
        replace(study.attributes, trainings_before_extension=used, audits_before_extension=audits)
    )


def _widen(spec: SweepSpec, folder: SweepFolder, wider: Wider) -> None:
    """Give the sweep's study wider ranges; nothing changes if it has them already.

    Raises:
        ProblemsError: a range cannot be widened so.
    """
    open_study(spec, folder.journal)  # it may not exist yet
    now = read_sampled_spec(spec, folder)
    widened = widen_spec(now, wider, folder.sweep_id)
    if widened.space != now.space:
        widen_study(spec.name, folder.journal, widened.space)


def _open_gpu_budget(spec: SweepSpec, study: SweepStudy, before: Sweep) -> GpuBudget | None:
    if spec.budget.gpu_hours is None:
        return None
    return GpuBudget(spec.budget.gpu_hours, spec.resources.gpus, study, before.trials)


def open_runs(
    spec: SweepSpec, evidence: Evidence, folder: SweepFolder, home: Home, *, reopens: bool = True
) -> LateRuns | None:
    """The sweep's runs in MLflow; None where nothing is logged."""
    uri = get_mlflow_uri(home)
    if uri is None:
        return None
    described = _describe_sweep(spec, evidence, folder)
    lock = (
        FileLock(folder.path / "mlflow.lock", timeout=_LOCK_PATIENCE) if is_asked(folder) else None
    )
    return LateRuns(uri, get_artifact_location(home), described, lock=lock, reopens=reopens)


def _show(value: object) -> str:
    """A value of a spec in one line; a component with default options by its name."""
    if isinstance(value, Component):
        options = value.model_dump(exclude={"name"}, exclude_defaults=True)
        return f"{value.name} {options}" if options else value.name
    return str(value.model_dump() if isinstance(value, BaseModel) else value)


def _describe_sweep(spec: SweepSpec, evidence: Evidence, folder: SweepFolder) -> TrackedSweep:
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
