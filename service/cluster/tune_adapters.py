"""Thin Ray adapters over a StudySession: a Searcher, a TrialScheduler and a Stopper.

Tune calls the scheduler first on every result and never shows the searcher the one that stops a
trial, so the scheduler reports and asks whether to prune, and the searcher finishes. An exception
here would end the whole sweep inside Tune: it is kept, the sweep stops, and the runner raises it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Stopper
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from service.cluster.bridges import NONE_LEFT, Bridge
from service.cluster.compat import get_actor, is_lost_with_node, read_error
from service.cluster.group_actor import LOST_NODE, LostNodeError, LostWorkerError
from service.study.messages import SlotOrders
from service.study.trial_flow import DIED, Loss

P = ParamSpec("P")
R = TypeVar("R")


def _guard(fallback: R) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Store a method's exception in its bridge and return ``fallback`` instead."""

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(method)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            bridge: Bridge = args[0].bridge  # type: ignore[attr-defined]  # the adapters' own
            try:
                return method(*args, **kwargs)
            except Exception as error:
                bridge.flow.error = bridge.flow.error or error
                return fallback

        return guarded

    return decorate


class StudySearcher(Searcher):
    """Gives Tune the configs of trials, and ends trials in the study."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self.bridge = bridge

    @_guard(NONE_LEFT)
    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's config, None to be asked again later, or FINISHED."""
        return self.bridge.ask(trial_id)

    @_guard(None)
    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """End a trial that completed, was stopped by the scheduler, or crashed (``error``)."""
        self.bridge.finish(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file, which Tune expects; all state is in the study."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing, see :meth:`save`."""


class StudyScheduler(FIFOScheduler):
    """First come, first served; an epoch's result decides whether its trial continues."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ray leaves it untyped
        self.bridge = bridge

    @_guard(TrialScheduler.STOP)
    def on_trial_result(self, tune_controller: object, trial: Any, result: dict[str, Any]) -> str:
        """Report the epochs to the study and return CONTINUE or STOP."""

        def send(orders: SlotOrders) -> None:
            get_actor(trial).obey.remote(orders)  # before Tune's next step: one process calls both

        return self.bridge.report(trial.trial_id, result, send)

    @_guard(None)
    def on_trial_error(self, tune_controller: object, trial: Any) -> None:
        """Record why the trial's process ended; the searcher ends the trial next."""
        self.bridge.record_loss(trial.trial_id, describe_loss(read_error(trial)))


def describe_loss(error: Exception | None) -> Loss:
    """Describe why a trial's process ended, from Ray's error, if it has one."""
    if isinstance(error, RayTaskError):
        cause = error.cause
        name = "" if isinstance(cause, LostWorkerError) else f"{type(cause).__name__}: "
        return Loss(f"{name}{cause}", own=not isinstance(cause, LostNodeError))
    if isinstance(error, RayActorError) and is_lost_with_node(error):
        return Loss(LOST_NODE, own=False)
    return Loss(DIED)


class SweepStopper(Stopper):
    """Ends all trials at once when the sweep must stop."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: no single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Whether the sweep must stop; Tune calls this in every iteration of its loop."""
        return self.bridge.flow.stopping
