"""Keeps the store's states of sweeps and the jobs on the cluster in agreement, round after round.

A round may be interrupted anywhere and be repeated by another process: the store has the state
STARTING and the attempt before a job is submitted, a job is named by its sweep's id and attempt,
and the cluster accepts each name once. Only a driver reports how its sweep ended; this module
decides about sweeps whose drivers can no longer report.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from service.base.errors import (
    BundleError,
    BundleNotFoundError,
    ClusterUnavailableError,
    ConflictError,
    DamagedFileError,
    IllegalTransitionError,
    LaunchError,
)
from service.client.job_states import JobState, RequestedAction
from service.cluster.jobs import JobCluster, JobStatus, Launch, sum_capacity
from service.server.diagnosis import diagnose, is_same_cause
from service.server.driver_access import Handover
from service.server.job_demand import read_demand
from service.server.queue import QueueLimits, Waiting, select_next
from service.server.queued_sweeps import QueuedSweeps
from service.server.shares import share
from service.server.store.job_records import Job
from service.server.sweep_failures import Troubles
from service.server.sweep_service import SweepService
from service.sweep.home import Home

USAGE_WINDOW = 6 * 3600.0
"""Seconds of past usage that count between users."""
STARTUP_TIMEOUT = 300.0
"""Seconds that a driver may take from its start until its first heartbeat."""
PENDING_TIMEOUT = 600.0
"""Seconds that the cluster may take to start a driver; Ray gives up by itself after about 360."""
PLACE_TIMEOUT = 60.0
"""Seconds after which a driver that the cluster has not started holds no place in the queue."""
TROUBLE_TIMEOUT = 300.0
"""Seconds after which a sweep that cannot be handled is failed."""
HEARTBEAT_TIMEOUT = 90.0
"""Seconds without a heartbeat after which a driver counts as dead, whatever the cluster reports."""
STOP_GRACE = 60.0
"""Seconds that a driver has to do a requested action before its job is stopped."""
_FAILED_AT_ONCE = 200
"""Queued sweeps that a round fails at most, because one that they wait for failed."""
_ACTIVE = tuple(state for state in JobState if state.is_active)
_LOST = (JobState.FAILED, JobState.CANCELLED, JobState.DELETING)
_STATE_AFTER = {
    RequestedAction.PAUSE: JobState.PAUSED,
    RequestedAction.CANCEL: JobState.CANCELLED,
}
_BY = "reconciler"
_CAUSE = "its driver {what} ({why}); the sweep will continue"
_log = logging.getLogger(__name__)


class Reconciler:
    """Reconciles the sweeps of one service with one cluster; only one may run at a time.

    ``retries`` is how many times a sweep whose driver died is started again.
    """

    def __init__(
        self,
        service: SweepService,
        cluster: JobCluster,
        limits: QueueLimits,
        handover: Handover,
        retries: int = 3,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service, self._sweeps, self._cluster = service, service.sweeps, cluster
        self._limits, self._retries, self._clock = limits, retries, clock
        self._handover, self._queue = handover, QueuedSweeps(service.sweeps)
        self._watching_since = clock()
        self._requested_since: dict[tuple[str, RequestedAction], float] = {}
        self._slots: Mapping[str, int] = {}
        self._begun: dict[str, float] = {}
        self._lent: frozenset[str] = frozenset()
        self.troubles = Troubles(clock)

    def reset_timeouts(self) -> None:
        """Measure timeouts from now on: the store or the cluster did not answer until now."""
        self._watching_since = self._clock()

    def round(self) -> None:
        """Check the active sweeps, start queued ones, and divide the cluster among them.

        Raises:
            ClusterUnavailableError: the cluster does not answer.
            DatabaseUnavailableError: the database does not answer.
        """
        active = self._sweeps.in_states(*_ACTIVE)
        names = {_name_job(job) for job in active}
        self._requested_since = {k: t for k, t in self._requested_since.items() if k[0] in names}
        self._begun = {name: time for name, time in self._begun.items() if name in names}
        self._lent = frozenset()
        for job in active:
            with self.troubles.confine(job.sweep_id):
                self._check_alone(job)
        self._start_queued()
        self._fail_troubled()

    def _check_alone(self, job: Job) -> None:
        """Check a sweep; a cluster that answers other questions is not away.

        Raises:
            ClusterUnavailableError: the cluster does not answer any question.
        """
        try:
            self._check(job)
        except ClusterUnavailableError as error:
            self._cluster.list_nodes()
            raise RuntimeError(f"the cluster does not answer about its job: {error}") from error

    def _check(self, job: Job) -> None:
        found = self._cluster.find(_name_job(job))
        late = "" if found is None or found.over else self._explain_silence(job, found)
        if found is None:
            self._handle_unknown(job)
        elif found.over:
            self._handle_death(job, found.message)
        elif late:
            self._cluster.stop(_name_job(job))
            self._handle_death(job, late)
        elif job.requested_action is not None and self._is_overdue(job, job.requested_action):
            self._cluster.stop(_name_job(job))

    def _handle_unknown(self, job: Job) -> None:
        """The cluster does not know the job: it was never submitted, or the cluster lost it.

        It is submitted once a node with CPUs has joined, as the queue's are.
        """
        if job.requested_action is not None:
            self._apply(job, job.requested_action)
        elif job.launched is None:
            if sum_capacity(self._cluster.list_nodes()).cpus:
                self._launch(job)
        else:
            cause = "the cluster was restarted; the sweep will continue"
            self._end_attempt(job, JobState.QUEUED, cause)

    def _explain_silence(self, job: Job, found: JobStatus) -> str:
        """Why a driver that was not heard for too long counts as dead; empty if it does not."""
        name, launched = _name_job(job), job.launched or 0.0
        if job.state is not JobState.STARTING:
            silent = self._count_since(launched, job.last_heartbeat or 0.0) > HEARTBEAT_TIMEOUT
            return f"no heartbeat for {HEARTBEAT_TIMEOUT:.0f} s" if silent else ""
        if not found.begun:
            waited = self._count_since(launched)
            if waited > PLACE_TIMEOUT and len(self._lent) < self._limits.running:
                self._lent |= {job.sweep_id}
            late = waited > PENDING_TIMEOUT
            words = f"the cluster did not start it within {PENDING_TIMEOUT:.0f} s: {found.message}"
            return words if late else ""
        since = self._begun.setdefault(name, self._clock())
        late = self._count_since(launched, since) > STARTUP_TIMEOUT
        return f"it did not report within {STARTUP_TIMEOUT:.0f} s of its start" if late else ""

    def _count_since(self, *times: float) -> float:
        """Seconds since the last of these times that is possible, at least since it watches."""
        now = self._clock()
        self._watching_since = min(self._watching_since, now)
        possible = (t for t in times if t <= now + HEARTBEAT_TIMEOUT)
        return now - max([self._watching_since, *possible])

    def _is_overdue(self, job: Job, action: RequestedAction) -> bool:
        since = self._requested_since.setdefault((_name_job(job), action), self._clock())
        return self._clock() - since > STOP_GRACE

    def _handle_death(self, job: Job, message: str) -> None:
        """The job ended; unless its driver has just reported how the sweep ended, it died."""
        now = self._sweeps.get(job.sweep_id)
        if not now.state.is_active:
            return
        if now.requested_action is not None:
            self._apply(now, now.requested_action)
            return
        output = self._cluster.read_output_tail(_name_job(job))
        why = diagnose(message, output)
        _log.warning("the driver of %s ended: %s\n%s", job.sweep_id, why, output)
        if output:
            self._append_to_log(job.sweep_id, output)
        what = "did not start" if now.state is JobState.STARTING else "died"
        failures = now.failures + 1
        if failures > self._retries:
            cause = f"its driver {what} {failures} times, the last time: {why}"
            self._end_attempt(job, JobState.FAILED, cause, failures=failures)
        elif now.state is JobState.STARTING and self._is_repeated(job, why):
            cause = f"its driver did not start, twice for the same reason: {why}"
            self._end_attempt(job, JobState.FAILED, cause, failures=failures)
        else:
            cause = _CAUSE.format(what=what, why=why)
            self._end_attempt(job, JobState.QUEUED, cause, failures=failures)

    def _is_repeated(self, job: Job, why: str) -> bool:
        """Whether the attempt before this one did not start for the same reason."""
        queued = (t for t in self._sweeps.history(job.sweep_id) if t.new is JobState.QUEUED)
        last = max(queued, key=lambda t: t.time, default=None)
        if last is None or last.by != _BY or last.old is not JobState.STARTING:
            return False
        return is_same_cause(last.cause, _CAUSE.format(what="did not start", why=why))

    def _fail_troubled(self) -> None:
        """Give back the places of sweeps that could not be handled for long."""
        if not self.troubles:
            return
        active = {job.sweep_id: job for job in self._sweeps.in_states(*_ACTIVE)}
        self.troubles.keep(active.keys())
        for sweep_id, why in self.troubles.older_than(TROUBLE_TIMEOUT).items():
            with self.troubles.confine(sweep_id):
                cause = f"the service cannot look after it: {why}"
                self._end_attempt(active[sweep_id], JobState.FAILED, cause)

    def _apply(self, job: Job, action: RequestedAction) -> None:
        """Do what a user requested of a sweep that no longer has a driver."""
        new = _STATE_AFTER[action]
        self._end_attempt(job, new, str(new), job.requested_by or _BY)

    def _start_queued(self) -> None:
        waiting = self._queue.read()
        active = self._sweeps.in_states(*_ACTIVE)
        if not waiting and not active:
            self._slots = {}
            return
        demands = [read_demand(job) for job in active if job.sweep_id not in self._lent]
        after = self._queue.find_dependencies(waiting, {job.sweep_id: job.state for job in active})
        self._fail_hopeless(waiting, after)
        room = sum_capacity(self._cluster.list_nodes())
        chosen = select_next(
            waiting,
            demands,
            room,
            self._limits,
            demand_of=self._queue.demand_of,
            succeeded={other for other, state in after.items() if state is JobState.SUCCEEDED},
            used=self._sweeps.usage(self._clock() - USAGE_WINDOW),
            now=self._clock(),
        )
        for demand in chosen:
            with self.troubles.confine(demand.sweep_id):
                self._start(self._sweeps.get(demand.sweep_id))
        demands += chosen
        owners = {d.owner for d in demands}
        self._set_slots(share(demands, room, {o: self._limits.gpus(o) for o in owners}))

    def _set_slots(self, slots: Mapping[str, int]) -> None:
        if slots != self._slots:
            self._sweeps.set_slots(slots)
            self._slots = slots

    def _fail_hopeless(self, waiting: Sequence[Waiting], after: Mapping[str, JobState]) -> None:
        """Fail sweeps that wait for one that cannot succeed any more; the next round goes on."""
        causes = ((w.sweep_id, _explain_hopeless(w, after)) for w in waiting)
        hopeless = ((sweep_id, cause) for sweep_id, cause in causes if cause)
        for sweep_id, cause in islice(hopeless, _FAILED_AT_ONCE):
            self._fail_queued(sweep_id, cause)

    def _start(self, job: Job) -> None:
        """Begin a new attempt: first in the store, then on the cluster."""
        self._slots = {}
        try:
            started = self._sweeps.change(
                job.sweep_id,
                JobState.STARTING,
                "selected from the queue",
                "queue",
                attempt=job.attempt + 1,
                launched=None,
            )
        except IllegalTransitionError:  # cancelled or paused in the meantime
            return
        self._launch(started)

    def _launch(self, job: Job) -> None:
        try:
            launch = Launch(
                name=_name_job(job),
                sweep_id=job.sweep_id,
                attempt=job.attempt,
                home=self._service.settings.home,
                modules=self._service.find_modules(job),
                bundle=job.bundle,
                allow=self._service.settings.trainables,
            )
            self._handover.give(job)
            self._cluster.start(launch)
        except (LaunchError, BundleError, BundleNotFoundError) as error:
            self._end_attempt(job, JobState.FAILED, str(error))
            return
        except OSError as error:  # the next round tries again
            _log.warning("%s is not launched: %s", job.sweep_id, error)
            return
        self._sweeps.record_launch(job.sweep_id, job.attempt)

    def _end_attempt(
        self, job: Job, new: JobState, cause: str, by: str = _BY, **columns: object
    ) -> None:
        try:
            self._sweeps.end_attempt(job.sweep_id, job.attempt, new, cause, by, **columns)
        except ConflictError as error:  # the driver ended it first
            _log.info("%s", error)
        self._handover.take_back(job)

    def _fail_queued(self, sweep_id: str, cause: str) -> None:
        try:
            self._sweeps.change(sweep_id, JobState.FAILED, cause, _BY)
        except IllegalTransitionError as error:  # a user changed it first
            _log.info("%s", error)

    def _append_to_log(self, sweep_id: str, output: str) -> None:
        """Add what the cluster captured of a driver's output to the sweep's log.

        Users' code may have put anything in the log's place, and the disk may be full: the
        round goes on.
        """
        folder = Home(self._service.settings.home).sweep(sweep_id)
        try:
            with folder.append(folder.driver_log) as file:
                file.write(output.encode(errors="replace").rstrip(b"\n") + b"\n")
        except (OSError, DamagedFileError) as error:
            _log.warning("the log of %s is not continued: %s", sweep_id, error)


def _name_job(job: Job) -> str:
    return f"{job.sweep_id}-{job.attempt}"


def _explain_hopeless(sweep: Waiting, after: Mapping[str, JobState]) -> str:
    """Why a sweep that it waits for cannot succeed any more; empty if all of them can."""
    for other in sweep.after:
        state = after.get(other)
        if state is None or state in _LOST:
            how = "does not exist" if state is None else f"is {state}"
            return f"{other}, which it waited for, {how}"
    return ""
