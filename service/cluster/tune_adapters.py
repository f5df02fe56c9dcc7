"""Thin Ray adapters over a StudySession: a Searcher, a TrialScheduler and a Stopper.

Tune calls the scheduler first on every result and never shows the searcher the one that stops a
trial, so the scheduler reports and asks whether to prune, and the searcher finishes. An exception
here would end the whole sweep inside Tune: it is kept, the sweep stops, and the runner raises it.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ray.exceptions import RayTaskError
from ray.tune import Stopper
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from service.cluster.group_actor import LostWorkerError
from service.study.session import Decision, StudySession

P = ParamSpec("P")
R = TypeVar("R")

METRICS = "metrics"
OUTCOME = "outcome"
RAN_ON = "ran_on"
DIED = "the trial's process died (killed, or out of memory)"
_NONE_LEFT: Any = Searcher.FINISHED


@dataclass
class Bridge:
    """What the three adapters share: the session, Tune's ids, why to stop, what went wrong.

    ``slots`` says how many trials may run at once now.
    """

    session: StudySession
    should_stop: Callable[[], bool]
    slots: Callable[[], int]
    error: Exception | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    crashes: dict[str, list[str]] = field(default_factory=dict)

    def __deepcopy__(self, memo: object) -> Bridge:
        """Tune copies what it is given; there is one study and one bridge."""
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Tune pickles what it is given, for a restore that nobody asks for."""
        return str, ("the study is the truth",)

    @property
    def stopping(self) -> bool:
        """Whether no trial may start and every running one must end."""
        return self.error is not None or self.should_stop()

    def ask(self, tune_id: str) -> Any:
        """A config for Tune, or that there is none left; None where there is none yet."""
        if not self.stopping and len(self.session.open_trials) >= self.slots():
            return None
        assignment = None if self.stopping else self.session.ask()
        if assignment is None:
            return _NONE_LEFT if self.stopping or self.session.exhausted else None
        self.numbers[tune_id] = assignment.number
        return {
            "number": assignment.number,
            "params": dict(assignment.params),
            "recorded": assignment.recorded,
            "seed": assignment.seed,
            "unregularised": assignment.unregularised,
        }

    def result(self, tune_id: str, result: Mapping[str, Any]) -> str:
        """Report one epoch; what Tune should do with the trial."""
        number, metrics = self.numbers[tune_id], _under(result, METRICS)
        self.session.locate(number, _under(result, RAN_ON))
        if self.session.report(number, result["epoch"], metrics) is Decision.CONTINUE:
            return str(TrialScheduler.CONTINUE)
        self.session.prune(number)
        return str(TrialScheduler.STOP)

    def crash(self, tune_id: str, words: str) -> None:
        """Remember why a trial's process broke; Tune may start the trial again."""
        self.crashes.setdefault(tune_id, []).append(words)

    def finish(self, tune_id: str, result: Mapping[str, Any] | None, crashed: bool) -> None:
        """End a trial in the study unless it has ended there, or is only cut short by a stop."""
        number, crashes = self.numbers.pop(tune_id), self.crashes.pop(tune_id, [])
        if number not in self.session.open_trials:
            return
        self.session.locate(number, _under(result or {}, RAN_ON))
        outcome = _under(result or {}, OUTCOME)
        if result is not None and result.get("failure"):
            self.session.fail(number, str(result["failure"]))
        elif outcome and result is not None:
            self.session.report(number, result["epoch"], _under(result, METRICS))
            stopped_epoch = int(outcome.pop("stopped_epoch"))
            best = {name.removeprefix("best/"): value for name, value in outcome.items()}
            self.session.complete(number, best, stopped_epoch)
        elif crashed:
            times = f", {len(crashes)} times" if len(crashes) > 1 else ""
            self.session.fail(number, (crashes[-1] if crashes else DIED) + times)


def _under(result: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The values that stood under one key before Tune flattened the result."""
    start = f"{prefix}/"
    return {k.removeprefix(start): v for k, v in result.items() if k.startswith(start)}


def _guarded(fallback: R) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep a method's exception in its bridge and answer ``fallback`` instead."""

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(method)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            bridge: Bridge = args[0].bridge  # type: ignore[attr-defined]  # the adapters' own
            try:
                return method(*args, **kwargs)
            except Exception as error:
                bridge.error = bridge.error or error
                return fallback

        return guarded

    return decorate


class StudySearcher(Searcher):
    """Tune asks it for configs and tells it how trials ended."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self.bridge = bridge

    @_guarded(_NONE_LEFT)
    def suggest(self, trial_id: str) -> Any:
        """The next trial's config, None to be asked again later, or FINISHED."""
        return self.bridge.ask(trial_id)

    @_guarded(None)
    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial ended, by itself, by the scheduler's word, or by dying (``error``)."""
        self.bridge.finish(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing is pickled: the study is the truth. Tune wants a file there."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to read, see :meth:`save`."""


class StudyScheduler(FIFOScheduler):
    """First come, first served; an epoch's result decides whether its trial goes on."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ray leaves it untyped
        self.bridge = bridge

    @_guarded(TrialScheduler.STOP)
    def on_trial_result(self, tune_controller: object, trial: Any, result: dict[str, Any]) -> str:
        """Report the epoch to the study and answer CONTINUE or STOP."""
        return self.bridge.result(trial.trial_id, result)

    @_guarded(None)
    def on_trial_error(self, tune_controller: object, trial: Any) -> None:
        """A process broke: the trial is started again, or the searcher is told next."""
        self.bridge.crash(trial.trial_id, _words(trial.pickled_error_file))


def _words(file: str | None) -> str:
    """Why a trial's process broke, by the error that Tune has pickled."""
    try:
        error = pickle.loads(Path(file).read_bytes()) if file else None
    except Exception:  # an exception of the user's need not survive pickling
        return DIED
    if not isinstance(error, RayTaskError):
        return DIED
    name = "" if isinstance(error.cause, LostWorkerError) else f"{type(error.cause).__name__}: "
    return f"{name}{error.cause}"


class SweepStopper(Stopper):
    """Ends every trial at once when the sweep is told to stop or its time is over."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial is stopped by name."""
        return False

    def stop_all(self) -> bool:
        """Asked by Tune in every turn of its loop."""
        return self.bridge.stopping
