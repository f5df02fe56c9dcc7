"""Runs or resumes one sweep: study, executor, MLflow, finalists, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.base.disk import explain_full_disk, is_disk_full
from service.base.errors import InputError, SweepFailedError
from service.base.files import write_atomically
from service.base.streams import list_dropped, safe_streams
from service.cluster.connection import Cluster
from service.cluster.divisions import TrialContext
from service.report.write import write_report
from service.run.evidence import Evidence, choose_evidence
from service.run.first_points import plan_search
from service.run.local_executor import run_trials_here
from service.run.session_log import open_log
from service.run.session_plan import (
    SessionOptions,
    build_planner,
    grant_trainings,
    plan_after_search,
    plan_folds,
    reserve,
)
from service.run.session_study import open_session_study
from service.run.store_answer import store_answer
from service.run.sweep_control import Control, Interrupts, Stop
from service.spec.model import SweepSpec
from service.study.enough import Enough
from service.study.events import Observer
from service.study.ranking import Shortlist
from service.study.records import OUT_OF_BUDGET
from service.study.session import StudySession
from service.study.study import SweepStudy
from service.study.trial_flow import TrialFlow
from service.sweep.gpu_budget import GpuBudget
from service.sweep.history import History
from service.sweep.home import Home, SweepFolder
from service.sweep.kept_weights import FinalistWeights
from service.sweep.load import assemble
from service.sweep.lost_items import Loss, Losses, attempt
from service.sweep.summary import Summary, summarise, summarise_state
from service.sweep.sweep_observer import GuardedObserver, SweepObserver, guard
from service.sweep.sweep_record import Sweep, SweepState
from service.sweep.time_budget import Stopwatch
from trainables.config.code_policy import get_policy
from trainables.data.rows import Rows
from trainables.errors import TrainableError

if TYPE_CHECKING:
    from trainables.loops.rehearsal import LoopFindings


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


def run_sweep(
    spec: SweepSpec,
    rows: Rows,
    folder: SweepFolder,
    home: Home,
    observers: Sequence[SweepObserver],
    *,
    cluster: Cluster,
    options: SessionOptions,
    loop: LoopFindings | None = None,
) -> Ending:
    """Run the remaining trials of a sweep, new or resumed, and more by its ``options``.

    ``loop`` is what is known of a training loop of the user's.

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
        session = Session(
            *(spec, choose_evidence(rows, loop, spec.search.folds), folder, home, history),
            *(options, interrupts, [guard(observer) for observer in observers]),
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


class Session:
    """One session of a sweep, from opening its study to closing its MLflow parent run."""

    def __init__(
        self,
        spec: SweepSpec,
        evidence: Evidence,
        folder: SweepFolder,
        home: Home,
        history: History,
        options: SessionOptions,
        interrupts: Interrupts,
        observers: Sequence[GuardedObserver] = (),
    ) -> None:
        self._evidence, self._folder, self._options = evidence, folder, options
        self._observers = observers
        self._losses = Losses()
        self._study = open_session_study(spec, evidence, folder, options)
        self._spec = spec = spec.with_space(self._study.space)
        budget, points = plan_search(spec)
        more_trials = options.more.count(self._study, budget)
        self._stopwatch = Stopwatch(self._study)
        if more_trials:
            self._stopwatch.extend()
            grant_trainings(self._study)
        seconds = self._stopwatch.left(spec.budget.minutes)
        self._planner = build_planner(spec, evidence, folder, self._study)
        before = self._read(SweepState.RUNNING)
        gpus = _open_gpu_budget(spec, self._study, before)
        if gpus is not None and more_trials:
            gpus.extend()
        self._control = Control(
            *(seconds, reserve(spec), options.concurrent, gpus, options.orders, interrupts)
        )
        self._cut_short = False
        self._log = open_log(spec, evidence, folder, home, served=options.orders is not None)
        if self._log is not None:
            self._log.repeat(before.trials)
        outbox = None if self._log is None else self._log.outbox
        weights = FinalistWeights(folder, Shortlist.of(spec), before.trials)
        own = (history, outbox, self._stopwatch, gpus, self._control, weights)
        self._trials = self._open_trials([*(o for o in own if o is not None), *observers])
        self._trials.prepare(budget, points)
        if more_trials:
            self._trials.extend(self._trials.budget + more_trials)
        for observer in observers:
            observer.begin(before, self._trials.planned, seconds)

    def _open_trials(self, observers: Sequence[Observer]) -> StudySession:
        spec = self._spec
        return StudySession(
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
            observers=observers,
        )

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
            lambda: control.slots * self._options.widths.get(self._trials),
        )
        context = TrialContext(self._spec, rows, self._folder.path, get_policy())
        if self._spec.resources.executor == "local":
            run_trials_here(flow, context, self._options.widths)
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
        if self._log is not None:
            self._log.pause()

    def _run_on(self, cluster: Cluster, flow: TrialFlow, context: TrialContext) -> None:
        with cluster.connect(self._folder.ray_log):
            from service.cluster.tune_run import run_trials

            run_trials(flow, context, self._options.concurrent, self._options.widths)

    def abandon(self) -> None:
        """End MLflow's runs after an error, if MLflow answers soon."""
        if self._log is not None:
            self._log.abandon()

    def conclude(self) -> Ending:
        """Measure the finalists on the test split, write report and summary, end the parent."""
        # without another reason, the search ended to leave time for the confirmations
        stopped = (self._control.reason or Stop.TIME) if self._cut_short else None
        sweep = self._read(self._determine_state(stopped))
        if sweep.state is SweepState.SUCCEEDED:
            sweep = store_answer(
                *(self._spec, self._evidence, self._folder, self._trials, self._planner),
                lambda: self._read(SweepState.SUCCEEDED),
            )
        folder = self._folder
        data = attempt(
            self._losses, "report.html", lambda: write_report(sweep, self._study, folder)
        )
        self._write_summary(sweep)
        description = "" if data is None else data.description
        unlogged = None if self._log is None else self._log.finish(sweep, description)
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

    def _list_losses(self) -> tuple[Loss, ...]:
        """What was not shown, told or logged in this session."""
        found = list(self._losses.list("the report"))
        for observer in self._observers:
            found += observer.losses.list(observer.title)
        if self._log is not None:
            found += self._log.list_losses()
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


def _open_gpu_budget(spec: SweepSpec, study: SweepStudy, before: Sweep) -> GpuBudget | None:
    if spec.budget.gpu_hours is None:
        return None
    return GpuBudget(spec.budget.gpu_hours, spec.resources.gpus, study, before.trials)
