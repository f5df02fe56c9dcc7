"""Keeps what the store says of sweeps and what the cluster does in agreement, round after round.

A round may be cut off anywhere and be begun again by another process: the store says STARTING and
which turn before a job is submitted, the job's name is the sweep's id and turn, and the cluster
takes a name once. Only a driver says how its sweep ended; what happens to sweeps whose drivers can
say no more is decided here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from service.base.errors import ConflictError, IllegalChangeError, LaunchError
from service.cluster.jobs import Found, JobCluster, Launch, capacity
from service.server.actions import Service
from service.server.demands import demand_of
from service.server.queue import Limits, Waiting, next_to_start
from service.server.shares import share
from service.server.store.job_records import Job, Wish
from service.server.store.states import JobState
from service.sweep.home import Home

WINDOW = 6 * 3600.0
"""Seconds of use that count between users."""
STARTUP = 300.0
"""Seconds that a driver may take to be heard for the first time."""
SILENCE = 90.0
"""Seconds without a sign after which a driver counts as dead, whatever the cluster says."""
OBEDIENCE = 60.0
"""Seconds that a driver has to do what is wished before its job is stopped."""
_FIRST = 1000
"""The priority among its owner's of a sweep whose driver died."""
_ON_CLUSTER = (JobState.STARTING, JobState.RUNNING, JobState.PAUSING)
_BY = "reconciler"
_log = logging.getLogger(__name__)


class Reconciler:
    """Looks after the sweeps of one service on one cluster; one at a time, see the lease.

    ``retries`` is how often a sweep whose driver died is resumed.
    """

    def __init__(
        self,
        service: Service,
        cluster: JobCluster,
        limits: Limits,
        retries: int = 3,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service, self._sweeps, self._cluster = service, service.sweeps, cluster
        self._limits, self._retries, self._clock = limits, retries, clock
        self._watching_since = clock()
        self._wished: dict[tuple[str, Wish], float] = {}
        self._shared: Mapping[str, int] = {}

    def lost_sight(self) -> None:
        """The store or the cluster was away: no silence before now counts."""
        self._watching_since = self._clock()

    def round(self) -> None:
        """Look after what is on the cluster, then start what has its turn, then share anew.

        Raises:
            ClusterAwayError, DatabaseError: one of them does not answer; nothing is lost.
        """
        there = self._sweeps.of_states(*_ON_CLUSTER)
        names = {_name(job) for job in there}
        self._wished = {k: since for k, since in self._wished.items() if k[0] in names}
        for job in there:
            self._look_after(job)
        self._start()

    def _look_after(self, job: Job) -> None:
        found = self._cluster.find(_name(job))
        if found is None:
            self._unknown(job)
        elif found.over:
            self._died(job, _why(found))
        elif self._silent(job):
            self._cluster.stop(_name(job))
            self._died(job, f"it was not heard for {SILENCE:.0f} s")
        elif job.wish is not None and self._disobeyed(job, job.wish):
            self._cluster.stop(_name(job))

    def _unknown(self, job: Job) -> None:
        """It was never submitted, or the cluster has forgotten it."""
        if job.wish is not None:
            self._fulfil(job, job.wish)
        elif job.launched is None:
            self._launch(job)
        else:
            cause = "the cluster was restarted; it goes on where it was"
            self._take_back(job, JobState.QUEUED, cause)

    def _silent(self, job: Job) -> bool:
        since = max(self._watching_since, job.launched or 0.0)
        if job.state is JobState.STARTING:
            return self._clock() - since > STARTUP
        return self._clock() - max(since, job.heard or 0.0) > SILENCE

    def _disobeyed(self, job: Job, wish: Wish) -> bool:
        since = self._wished.setdefault((_name(job), wish), self._clock())
        return self._clock() - since > OBEDIENCE

    def _died(self, job: Job, why: str) -> None:
        """A driver ended without saying how its sweep did; unless it said so just now."""
        now = self._sweeps.get(job.sweep_id)
        if not now.state.holds_a_job:
            return
        if now.wish is not None:
            self._fulfil(now, now.wish)
            return
        words = self._cluster.last_words(_name(job))
        _log.warning("the driver of %s died: %s\n%s", job.sweep_id, why, words)
        self._keep(job.sweep_id, words)
        failures = now.failures + 1
        if failures > self._retries:
            cause = f"its driver died {failures} times, the last time: {why}"
            self._take_back(job, JobState.FAILED, cause, failures=failures)
        else:
            cause = f"its driver died ({why}); it goes on where it was"
            self._take_back(job, JobState.QUEUED, cause, failures=failures)

    def _fulfil(self, job: Job, wish: Wish) -> None:
        """What is wished of a sweep that no driver works on any more."""
        new = {Wish.PAUSE: JobState.PAUSED, Wish.CANCEL: JobState.CANCELLED}[wish]
        self._take_back(job, new, str(new), job.wished_by or _BY)

    def _start(self) -> None:
        waiting = self._sweeps.of_states(JobState.QUEUED)
        running = self._sweeps.of_states(*_ON_CLUSTER)
        if not waiting and not running:
            self._shared = {}
            return
        demands = [demand_of(job) for job in running]
        room = capacity(self._cluster.nodes())
        chosen = next_to_start(
            [_waiting(job) for job in waiting if self._can_start(job)],
            demands,
            room,
            self._limits,
            succeeded=self._succeeded(waiting),
            used=self._sweeps.used(self._clock() - WINDOW),
            now=self._clock(),
        )
        for job in (j for sweep_id in chosen for j in waiting if j.sweep_id == sweep_id):
            demands.append(demand_of(job))
            self._begin(job)
        owners = {d.owner for d in demands}
        self._share(share(demands, room, {o: self._limits.gpus(o) for o in owners}))

    def _share(self, shares: Mapping[str, int]) -> None:
        if shares != self._shared:
            self._sweeps.share(shares)
            self._shared = shares

    def _succeeded(self, waiting: tuple[Job, ...]) -> set[str]:
        others = {other for job in waiting for other in job.after}
        return {o for o in others if self._sweeps.get(o).state is JobState.SUCCEEDED}

    def _can_start(self, job: Job) -> bool:
        """Whether what it waits for can still succeed; it fails with a sweep that did not."""
        for other in job.after:
            state = self._sweeps.get(other).state
            if state in (JobState.FAILED, JobState.CANCELLED):
                self._give_up(job, f"{other}, which it waited for, is {state}")
                return False
        return True

    def _begin(self, job: Job) -> None:
        """Give a sweep its turn: first in the store, then on the cluster."""
        self._shared = {}
        try:
            began = self._sweeps.change(
                job.sweep_id,
                JobState.STARTING,
                "its turn has come",
                "queue",
                turn=job.turn + 1,
                launched=None,
            )
        except IllegalChangeError:  # cancelled or paused just now
            return
        self._launch(began)

    def _launch(self, job: Job) -> None:
        launch = Launch(
            name=_name(job),
            sweep_id=job.sweep_id,
            turn=job.turn,
            home=self._service.settings.home,
            modules=self._service.modules(job),
        )
        try:
            self._cluster.start(launch)
        except LaunchError as error:
            self._take_back(job, JobState.FAILED, str(error))
            return
        self._sweeps.launched(job.sweep_id, job.turn)

    def _take_back(
        self, job: Job, new: JobState, cause: str, by: str = _BY, **columns: object
    ) -> None:
        try:
            self._sweeps.take_back(job.sweep_id, job.turn, new, cause, by, **columns)
        except ConflictError as error:  # the driver was faster
            _log.info("%s", error)

    def _give_up(self, job: Job, cause: str) -> None:
        """Fail a sweep that waits."""
        try:
            self._sweeps.change(job.sweep_id, JobState.FAILED, cause, _BY)
        except IllegalChangeError as error:  # a person was faster
            _log.info("%s", error)

    def _keep(self, sweep_id: str, words: str) -> None:
        """What the cluster heard of a driver, beside what the driver wrote itself."""
        folder = Home(self._service.settings.home).sweep(sweep_id)
        if words and folder.path.is_dir():
            with folder.driver_log.open("a", encoding="utf-8") as file:
                file.write(words.rstrip("\n") + "\n")


def _name(job: Job) -> str:
    return f"{job.sweep_id}-{job.turn}"


def _why(found: Found) -> str:
    return found.words.splitlines()[0][:200] if found.words else "the cluster does not say why"


def _waiting(job: Job) -> Waiting:
    priority = job.priority + (_FIRST if job.failures else 0)
    return Waiting(demand_of(job), job.changed, priority, job.after)
