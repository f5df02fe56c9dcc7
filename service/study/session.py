"""A session of a study: hands out trials, records epochs, ends trials. Imports no Ray.

The study is the only source of truth: it stores each trial's parameters, role and end, so that a
session opened after a crash continues where the last one ended. One session writes to a study.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as StudyTrialState

from search_spaces.points import select_representable
from search_spaces.sampling import suggest
from search_spaces.space import SearchSpace
from service.spec.sections import Constraint
from service.study.attributes import Finding, TrialAttributes
from service.study.attribution import (
    Record,
    Verdict,
    count_crash,
    count_interruption,
    judge,
)
from service.study.compat import ask_queued, read_frozen, reopen_trial
from service.study.confirmation import Confirmation, complete_queue, queue_runs
from service.study.decision import Decision as Decision
from service.study.decision import decide
from service.study.events import (
    EpochEnded,
    Observer,
    TrialEnded,
    TrialEvent,
    TrialPaused,
    TrialStarted,
)
from service.study.fold_study import FoldPlan, FoldStudy
from service.study.messages import Assignment
from service.study.open_trial import OpenTrial
from service.study.paused_trials import PausedTrials
from service.study.records import NOT_PROMOTED, Epoch, Metrics, Params, Role, Trial
from service.study.search_budget import SearchBudget
from service.study.seeded_sampler import count_avoided
from service.study.study import SweepStudy
from service.study.trial_reader import list_frozen_trials, read_trial
from trainables.config.folds import FoldEpoch


class StudySession:
    """The only writer of a study while a sweep runs."""

    def __init__(
        self,
        study: SweepStudy,
        space: SearchSpace,
        *,
        metric: str,
        constraints: Sequence[Constraint] = (),
        max_epochs: int,
        confirm: Confirmation | None = None,
        search_over: Callable[[], bool] = lambda: False,
        enough: Callable[[], str | None] | None = None,
        retries: int = 2,
        held: Mapping[int, float] | None = None,
        folds: FoldPlan | None = None,
        observers: Sequence[Observer] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``enough`` says why the search may end before its budget; what it says is stored.

        ``held`` are running trials that other processes have, and when each was handed out. They
        are open in this session too; every other running trial was interrupted. ``folds`` are those
        of the search, if each of its trials is trained on several.
        """
        self.study = study
        self._optuna = study.optuna
        self._space = space
        self._metric = metric
        self._constraints = constraints
        self._max_epochs = max_epochs
        self._retries = retries
        self._observers = observers
        self._clock = clock
        self._open: dict[int, OpenTrial] = {}
        self._confirm = confirm
        self._search_over = search_over
        if confirm is not None:
            complete_queue(self._optuna, space, confirm)
        known = list_frozen_trials(self._optuna)
        self._search = SearchBudget(study, space, enough, known)
        self._paused = PausedTrials(self._optuna, known)
        running = [
            t for t in known if t.state is StudyTrialState.RUNNING and t.number not in self._paused
        ]
        elsewhere = held or {}
        for trial in (t for t in running if t.number in elsewhere):
            reopened = reopen_trial(self._optuna, trial)
            self._open[trial.number] = OpenTrial.of(reopened, trial, elsewhere[trial.number])
        self._interrupted = [t.number for t in running if t.number not in elsewhere]
        self._inherited = frozenset(self._interrupted)
        self._has_ended_trial = False
        self._folds = (
            FoldStudy(folds, metric, self._optuna.direction, known) if folds is not None else None
        )
        self._queued = sum(
            t.state is StudyTrialState.WAITING and TrialAttributes.of(t).confirms is not None
            for t in known
        )
        self._epochs = sum(len(t.intermediate_values) for t in known)

    @property
    def budget(self) -> int:
        """How many trials the search may start, its extensions included."""
        return self._search.total

    @property
    def planned(self) -> int:
        """The total number of trials, confirmations included, if the search uses its budget."""
        if self._confirm is None:
            return self.budget
        return self.budget + self._confirm.trainings

    @property
    def exhausted(self) -> bool:
        """Whether every trial was handed out. One whose process dies will be handed out again."""
        if self._interrupted or not self._search_is_done() or self._may_promote():
            return False
        return not self._has_confirmations_left()

    @property
    def search_is_done(self) -> bool:
        """Whether no new trial of the search will start."""
        return self._search_is_done()

    @property
    def unfinished(self) -> bool:
        """Whether a planned trial has not run to its end."""
        if self._interrupted or self._paused or self._open or not self._search.used:
            return True
        return self._has_confirmations_left()

    @property
    def open_trials(self) -> tuple[int, ...]:
        """Numbers of the trials handed out and not finished."""
        return tuple(self._open)

    def prepare(self, budget: int, points: Sequence[tuple[Role, Params]]) -> None:
        """Set a new study's budget and queue the points that come before the sampler's own.

        If a session was killed here, those that it queued are not queued again.
        """
        if self._search.is_set:
            return
        if self.study.attributes.space is None:
            self.study.store_space(self._space)
        for role, point in points[len(list_frozen_trials(self._optuna)) :]:
            self._optuna.enqueue_trial(
                select_representable(self._space, point),
                user_attrs=TrialAttributes(role=role, fixed=point).dump_changed(),
            )
        self._search.set(budget)

    def record_finalist(self, number: int, finding: Finding) -> None:
        """Store what the end of the sweep measured on a trial."""
        attributes = self.study.attributes
        findings = {**attributes.findings, number: finding}
        self.study.store(replace(attributes, findings=findings))

    def extend(self, budget: int) -> None:
        """Set the total number of trials that the search may start."""
        self._search.extend(budget)

    def ask(self) -> Assignment | None:
        """Return the next trial to run; None if there is none now.

        Interrupted ones come first, then paused ones that go on, then new ones. Finalists are
        chosen after the last trial of the search has ended.
        """
        for number in tuple(self._interrupted):
            assignment = self._resume(number)
            if assignment is not None:
                return assignment
        promoted = self._promote()
        if promoted is not None:
            return promoted
        if not self._search_is_done():
            self._search.end_early()
        if not self._search_is_done():
            return self._start(self._ask())  # a queued confirmation comes first
        if self._search_over() or not self._open:
            self.end_paused(NOT_PROMOTED)
        if self._confirm is not None and not self._open and not self._queued:
            runs = self._confirm.next_runs(self.trials())
            queue_runs(self._optuna, self._space, runs)
            self._queued = len(runs)
        confirmation = self._ask_confirmation()
        return None if confirmation is None else self._start(confirmation)

    def report(
        self, number: int, epoch: int, metrics: Metrics, fold: FoldEpoch | None = None
    ) -> Decision:
        """Record an epoch of an open trial and decide whether the trial continues.

        An epoch that was reported before (by a resumed trial) changes nothing. Three kinds of
        trials are never pruned: the baseline; a trial at its last epoch; and a confirmation,
        because the mean over the remaining seeds would be biased. None of them is paused either.
        Of a trial with folds, the pruner sees the epochs of the first one, which all trials share;
        after each fold the pruner of folds decides.
        """
        handle = self._open[number]
        decision = Decision.CONTINUE
        if self._record(handle, number, epoch, metrics, fold):
            decision = self._decide(handle, epoch)
        if fold is not None and fold.ends and decision is Decision.CONTINUE:
            return self._decide_after_fold(handle, number, fold)
        return decision

    def _record(
        self,
        handle: OpenTrial,
        number: int,
        epoch: int,
        metrics: Metrics,
        fold: FoldEpoch | None,
    ) -> bool:
        """Record an epoch and the end of its fold; whether the pruner has to see it."""
        step, value = epoch, metrics[self._metric]
        if fold is not None and self._folds is not None:
            step = self._folds.get_step(fold)
            handle.end_fold(fold)
            if fold.fold > 1:  # no pruner of epochs compares these: what the search knows so far
                value = self._folds.average(handle.attributes.folds)
        if step in handle.reported:
            return False
        handle.reported.add(step)
        record = Epoch(trial=number, epoch=epoch, time=self._clock(), metrics=dict(metrics))
        self._emit(
            EpochEnded(epoch=record)
        )  # first: every epoch in the study must be in all records
        handle.trial.report(value, step)
        self._epochs += 1
        return fold is None or fold.fold == 1

    def _decide(self, handle: OpenTrial, epoch: int) -> Decision:
        if not handle.prunable or epoch >= self._max_epochs:
            return Decision.CONTINUE
        return decide(handle.trial, last=self._search.used)

    def _decide_after_fold(self, handle: OpenTrial, number: int, fold: FoldEpoch) -> Decision:
        folds = handle.attributes.folds
        if self._folds is None or not handle.prunable or fold.fold < len(folds):
            return Decision.CONTINUE
        if not self._folds.drops(number, folds):
            return Decision.CONTINUE
        handle.reason = self._folds.explain(len(folds))
        return Decision.PRUNE

    def locate(self, number: int, ran_on: Mapping[str, str]) -> None:
        """Store the device and precision of an open trial when they are first reported."""
        handle = self._open[number]
        if ran_on and not handle.located:
            handle.attributes = replace(handle.attributes, ran_on=ran_on)
            handle.located = True

    def deduct(self, number: int, seconds: float) -> None:
        """Deduct seconds from the time that an open trial held its place, which others used."""
        self._open[number].since += seconds

    def complete(
        self,
        number: int,
        best: Metrics,
        stopped_epoch: int,
        control: Metrics | None = None,
        *,
        last: Metrics | None = None,
        fold: FoldEpoch | None = None,
        not_acting: Sequence[str] = (),
    ) -> None:
        """End a trial that ran to its own end: its value is the objective at the kept weights.

        ``last`` are the metrics of its last epoch, if that was not reported, in this ``fold``;
        ``not_acting`` are its parts without any effect. The trial fails if its value or a
        constrained metric is not a finite number.
        """
        handle = self._open[number]
        # first: a session after a kill must know that no decision follows from the last epoch
        handle.attributes = replace(handle.attributes, stopped_epoch=stopped_epoch)
        if last is not None:
            self.report(number, stopped_epoch, last, fold)
        judged = (self._metric, *(c.metric for c in self._constraints))
        strange = [m for m in judged if m in best and not math.isfinite(best[m])]
        if strange:  # Optuna accepts no such value or constraint
            handle.attributes = replace(handle.attributes, stopped_epoch=None)
            self.fail(number, f"{strange[0]} is {best[strange[0]]} at the kept weights")
            return
        handle.attributes = replace(
            handle.attributes,
            best=best,
            stopped_epoch=stopped_epoch,
            control=control or {},
            not_acting=tuple(not_acting),
        )
        for constraint in self._constraints:
            if constraint.metric in best:
                for name, excess in constraint.excesses(best[constraint.metric]):
                    handle.trial.set_constraint(name, excess)
        self._finish(number, StudyTrialState.COMPLETE, value=best[self._metric])

    def prune(self, number: int, reason: str | None = None) -> None:
        """End a trial that was stopped before its end; by default by the decision of a report."""
        self._finish(number, StudyTrialState.PRUNED, reason=reason or self._open[number].reason)

    def pause(self, number: int) -> None:
        """Take an open trial out of its slot: it stays RUNNING in the study, and may go on."""
        self.give_back(number)
        self._emit(TrialPaused(trial=read_trial(self._paused.add(number))))

    def end_paused(self, reason: str) -> None:
        """End the trials that are paused, as pruned."""
        for number in self._paused.numbers:
            self._paused.take(number, reason)
            self._tell(number, StudyTrialState.PRUNED)

    def fail(self, number: int, reason: str) -> None:
        """End a trial that failed, with the reason."""
        self._finish(number, StudyTrialState.FAIL, reason=reason)

    def crash(self, number: int, reason: str) -> None:
        """Count the death of an open trial's own process: it continues, or fails if it died often.

        ``reason`` is that of the failure.
        """
        handle = self._open[number]
        record = count_crash(handle.attributes.interruptions)
        handle.attributes = replace(handle.attributes, crashes=record.crashes, handed_out=None)
        if self._judge(handle.attributes, record)[0] is Verdict.GIVE_UP:
            times = f", {record.crashes} times" if record.crashes > 1 else ""
            self.fail(number, reason + times)
        else:
            self.release(number)

    def release(self, number: int) -> None:
        """Give back an open trial that something else than itself ended: it is handed out again."""
        handle = self._open.pop(number)
        handle.attributes = replace(
            handle.attributes, seconds=handle.measure_seconds(self._clock())
        )
        self._interrupted.append(number)

    def interrupt(self) -> None:
        """Release the open trials: they stay RUNNING in the study and are resumed later."""
        for number in tuple(self._open):
            self.give_back(number)

    def give_back(self, number: int) -> None:
        """Release an open trial that was stopped in order; it stays RUNNING in the study."""
        handle = self._open.pop(number)
        handle.attributes = replace(
            handle.attributes,
            seconds=handle.measure_seconds(self._clock()),
            attempts=handle.attributes.attempts - 1,  # a clean stop is not a failed attempt
            handed_out=None,
        )

    def trials(self, epochs: Mapping[int, Sequence[Epoch]] | None = None) -> tuple[Trial, ...]:
        """Every trial of the study as a record, by number."""
        return self.study.trials(epochs)

    def _may_promote(self) -> bool:
        """Whether a trial is paused, or may be."""
        if self._paused:
            return True
        return self._paused.may_grow and any(handle.prunable for handle in self._open.values())

    def _search_is_done(self) -> bool:
        return self._search.used or self._search_over()

    def _has_confirmations_left(self) -> bool:
        """Whether finalists are not chosen yet, or a confirmation was not handed out."""
        if self._confirm is None:
            return False
        if self._open or self._queued:
            return True
        return bool(self._confirm.next_runs(self.trials()))

    def _ask(self) -> optuna.Trial:
        """The next trial of Optuna's queue, or a new one; counted as what it is."""
        trial = self._optuna.ask()
        is_searched = TrialAttributes.of(trial).confirms is None
        if is_searched:
            self._search.count_start()
        else:
            self._queued -= 1
        return trial

    def _ask_confirmation(self) -> optuna.Trial | None:
        """The next confirmation of Optuna's queue, in which points of the search may be left."""
        trial = ask_queued(self._optuna, lambda t: TrialAttributes.of(t).confirms is not None)
        self._queued -= trial is not None
        return trial

    def _promote(self) -> Assignment | None:
        """Hand out the paused trial that goes on next; None if none does now."""
        if self._search_over():
            return None
        trial = self._paused.promote(last=self._search.used)
        if trial is None:
            return None
        return self._hand_out(trial, recorded=len(read_frozen(trial).intermediate_values))

    def _start(self, trial: optuna.Trial) -> Assignment:
        attributes = TrialAttributes.of(trial)
        point = suggest(self._space, trial, attributes.fixed)
        baseline = attributes.baseline or attributes.role is Role.BASELINE
        begun = replace(attributes, baseline=baseline, repeats=count_avoided(self._optuna))
        begun.store(trial)
        # last: a session after a kill takes a trial with parameters as begun
        replace(begun, params=point).store(trial)
        return self._hand_out(trial, recorded=0)

    def _resume(self, number: int) -> Assignment | None:
        """Hand out an interrupted trial again; None if it has ended now, or has to wait."""
        frozen = list_frozen_trials(self._optuna)[number]
        attributes = self._count_interruption(frozen)
        verdict, reason = self._judge(attributes, attributes.interruptions)
        if verdict is Verdict.POSTPONE and not self._has_ended_trial and not self._search_is_done():
            return None
        self._interrupted.remove(number)
        if attributes.params is None:  # killed while its parameters were drawn
            self.study.draw_again(number, self._space, attributes.fixed)
            return self._start(reopen_trial(self._optuna, frozen))
        trial = reopen_trial(self._optuna, frozen)
        replace(attributes, attempts=attributes.attempts + 1).store(trial)
        assignment = self._hand_out(trial, recorded=len(frozen.intermediate_values))
        if verdict is Verdict.GIVE_UP:
            self.fail(number, reason)
        else:
            self._decide_again(number)
        return assignment if number in self._open else None

    def _count_interruption(self, frozen: FrozenTrial) -> TrialAttributes:
        """The attributes of a trial with its last interruption, unless that was a clean stop."""
        attributes = TrialAttributes.of(frozen)
        if attributes.handed_out is None:
            return attributes
        own, others = self._count_epochs(frozen)
        own_before, others_before = attributes.handed_out
        record = count_interruption(
            attributes.interruptions, own=own - own_before, others=others - others_before
        )
        return replace(attributes, idle=record.idle, stalls=record.stalls)

    def _count_epochs(self, frozen: FrozenTrial) -> tuple[int, int]:
        """How many epochs of a trial, and of all others, are in the study."""
        own = len(frozen.intermediate_values)
        return own, self._epochs - own

    def _judge(self, attributes: TrialAttributes, record: Record) -> tuple[Verdict, str]:
        return judge(record, retries=self._retries, control=attributes.is_control)

    def _decide_again(self, number: int) -> None:
        """Prune or pause a trial if a kill came between its last epoch and what was to follow."""
        handle = self._open[number]
        last = max(handle.reported, default=0)
        if number not in self._inherited or not handle.prunable or not 0 < last < self._max_epochs:
            return
        decision = self.study.decide_again(number)
        if handle.attributes.stopped_epoch is not None:
            return
        if decision is Decision.PRUNE:
            self.prune(number)
        elif decision is Decision.PAUSE:
            self.pause(number)

    def _hand_out(self, trial: optuna.Trial, *, recorded: int) -> Assignment:
        epochs = self._count_epochs(read_frozen(trial))
        replace(TrialAttributes.of(trial), handed_out=epochs).store(trial)
        frozen = read_frozen(trial)
        attributes = TrialAttributes.of(frozen)
        self._open[trial.number] = OpenTrial.of(trial, frozen, self._clock())
        record = read_trial(frozen)
        self._emit(TrialStarted(trial=record))
        return Assignment(
            trial.number,
            record.params,
            record.role,
            recorded=recorded,
            seed=record.seed,
            baseline=attributes.baseline,
            replicate=record.replicate,
            without=record.without,
            redraws_test=record.redraws_test,
        )

    def _finish(
        self,
        number: int,
        state: StudyTrialState,
        *,
        value: float | None = None,
        reason: str | None = None,
    ) -> None:
        handle = self._open.pop(number)
        seconds = handle.measure_seconds(self._clock())
        handle.attributes = replace(handle.attributes, seconds=seconds, reason=reason)
        self._tell(number, state, value)

    def _tell(self, number: int, state: StudyTrialState, value: float | None = None) -> None:
        frozen = self._optuna.tell(number, value, state=state)
        self._has_ended_trial = True
        if self._folds is not None:
            self._folds.end(frozen)
        self._emit(TrialEnded(trial=read_trial(frozen)))

    def _emit(self, event: TrialEvent) -> None:
        for observer in self._observers:
            observer.on(event)
