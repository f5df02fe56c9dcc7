"""What a sampler that models trials is shown of a long study: a bounded number of its trials."""

from __future__ import annotations

import copy
import heapq
import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from service.study.compat import find_whole

if TYPE_CHECKING:
    from optuna.study import Study

Key = tuple[float, ...]
BEST = 25
"""What TPE models as good, in a study of any length."""
_MODELLED = (TrialState.COMPLETE, TrialState.PRUNED)


class TrialSelection:
    """Selects at most ``shown`` finished trials, and all that run, of a study of any length.

    The ``best`` ones are among them, in the order in which Optuna's TPE splits trials, and of all
    every 2nd, 4th, 8th …: a model of those that are not the best sees them in the proportions in
    which they are. A study with at most ``shown`` is shown whole. The selection follows from the
    study alone, so that a resumed sweep is suggested the same.

    A trial that has ended is looked at once.
    """

    def __init__(self, shown: int, best: int = BEST) -> None:
        self._shown, self._best = shown, best
        self._pasts: dict[int, _Past] = {}

    def select(self, trials: Sequence[FrozenTrial], direction: StudyDirection) -> list[FrozenTrial]:
        """The selected ones of a study's trials, or of a bracket of them, in the same order."""
        if not trials:
            return []
        past = self._pasts.setdefault(trials[0].number, _Past())
        past.read(trials, -1.0 if direction is StudyDirection.MAXIMIZE else 1.0, self._best)
        late = trials[past.count :]
        ended = [t for t in late if t.state in _MODELLED]
        if len(past.modelled) + len(ended) <= self._shown:
            return past.slim(trials)
        sign = -1.0 if direction is StudyDirection.MAXIMIZE else 1.0
        chosen = _take_best([*past.best, *ended], sign, self._best)
        chosen += thin_out([past.modelled, ended], self._shown - self._best)
        chosen += [t for t in late if t.state is TrialState.RUNNING]
        by_number = {t.number: t for t in chosen}
        return past.slim([by_number[number] for number in sorted(by_number)])


@dataclass
class _Past:
    """The trials before the first that has not ended: their count, and what is known of them."""

    count: int = 0
    modelled: list[FrozenTrial] = field(default_factory=list)
    best: list[FrozenTrial] = field(default_factory=list)
    _slim: dict[int, FrozenTrial] = field(default_factory=dict)

    def read(self, trials: Sequence[FrozenTrial], sign: float, best: int) -> None:
        """Look at those that have ended since."""
        start = self.count
        while self.count < len(trials) and _is_final(trials[self.count]):
            self.count += 1
        new = [t for t in trials[start : self.count] if t.state in _MODELLED]
        self.modelled += new
        if new:
            self.best = _take_best([*self.best, *new], sign, best)

    def slim(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The trials; finished ones with no more than what samplers read of them, several times."""
        finished = {t.number: t for t in trials if t.state in _MODELLED and _is_final(t)}
        self._slim = {n: self._slim.get(n) or _slim_down(t) for n, t in finished.items()}
        return [self._slim.get(t.number, t) for t in trials]


def _is_final(trial: FrozenTrial) -> bool:
    """Whether it cannot change: a paused one, which a sampler is shown as pruned, may go on."""
    return trial.state.is_finished() and not trial.user_attrs.get("paused", False)


def _take_best(trials: Sequence[FrozenTrial], sign: float, count: int) -> list[FrozenTrial]:
    return heapq.nsmallest(count, trials, key=lambda t: (*rank_as_tpe(t, sign), t.number))


def thin_out(parts: Sequence[Sequence[FrozenTrial]], most: int) -> list[FrozenTrial]:
    """The first trial of two parts in a row, the 3rd, 5th …, or 5th, 9th …: at most ``most``.

    One more trial moves none of the others out, until the distance between them doubles.
    """
    total, step = sum(map(len, parts)), 1
    while -(-total // step) > most:
        step *= 2
    found: list[FrozenTrial] = []
    start = 0
    for part in parts:
        found += part[start::step]
        start = (start - len(part)) % step
    return found


def rank_as_tpe(trial: FrozenTrial, sign: float) -> Key:
    """The sort key by which ``TPESampler`` of Optuna 5.0 takes finished trials as its best.

    Feasible complete trials by value; then pruned ones, the longest first; then infeasible ones.
    """
    excess = sum(v for v in trial.constraints.values() if v > 0)
    if excess > 0:
        return (2, excess, 0.0)
    if trial.state is TrialState.COMPLETE:
        assert trial.value is not None
        return (0, sign * trial.value, 0.0)
    if not trial.intermediate_values:
        return (1, 1, 0.0)
    step, value = max(trial.intermediate_values.items())
    return (1, -step, math.inf if math.isnan(value) else sign * value)


def _slim_down(trial: FrozenTrial) -> FrozenTrial:
    """A copy with its last value and its constraints only: samplers go through all of them."""
    found = copy.copy(trial)
    kept = max(trial.intermediate_values, default=None)
    found.intermediate_values = {} if kept is None else {kept: trial.intermediate_values[kept]}
    attributes = trial.system_attrs.items()
    found.system_attrs = {k: v for k, v in attributes if k.startswith("constraints")}
    return found


def view_trials(study: Study, trials: Sequence[FrozenTrial]) -> Study:
    """A view of the study with these trials only."""
    return cast("Study", _View(study, trials))


class _View:
    """A study of which some trials are shown; all else is the study's own.

    Samplers of Optuna 5.0 ask a study for its trials by ``_get_trials``; for ``_study`` see
    :func:`service.study.compat.find_whole`.
    """

    def __init__(self, study: Study, trials: Sequence[FrozenTrial]) -> None:
        self._viewed, self._trials = study, trials
        self._study = find_whole(study)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._viewed, name)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        return [t for t in self._trials if states is None or t.state in states]

    get_trials = _get_trials
