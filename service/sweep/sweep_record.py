"""A whole sweep as a frozen value, read from its folder or from a server's store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from service.study.ranking import Mode, Ranking, find_baseline, select_searched
from service.study.records import Trial, TrialState
from service.sweep.answer import Answer
from service.sweep.cost import Cost, measure_cost
from service.sweep.inspection import Inspection
from service.sweep.refit_record import Refit
from trainables.config.imports import EXTERNAL

if TYPE_CHECKING:
    from search_spaces.space import SearchSpace
    from service.spec.model import SweepSpec


class SweepState(StrEnum):
    """The state of a sweep on disk."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep with its started trials, by number.

    ``max_epochs`` is what one trial may train; ``seconds`` is the time spent over all sessions.
    ``answer`` is None while the search runs, and for sweeps that an older gapsweep ran;
    ``inspection`` is what its networks are like beside their scores. ``changes``
    say from which trial on it ran on something else, ``not_neutral`` what regularises the baseline
    all the same, ``reading`` how the data were read, ``ranges`` what the ranges of λ mean,
    ``idle_ranges`` which of them cannot act, ``refit`` what was trained again on all samples.
    ``spec`` has the space that its study samples, ``declared`` is the space that it was given.
    ``search_end`` is why its search ended before its budget, ``repeats`` how many trials took
    another point than one that was trained already.
    """

    sweep_id: str
    name: str
    state: SweepState
    seconds: float
    ranking: Ranking
    max_epochs: int
    trials: tuple[Trial, ...]
    answer: Answer | None = None
    inspection: Inspection | None = None
    changes: tuple[str, ...] = ()
    reading: tuple[str, ...] = ()
    not_neutral: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    idle_ranges: tuple[str, ...] = ()
    refit: Refit | None = None
    search_end: str | None = None
    repeats: int = 0
    spec: SweepSpec | None = None
    declared: SearchSpace | None = None

    @classmethod
    def of(
        cls,
        spec: SweepSpec,
        *,
        sweep_id: str,
        state: SweepState,
        seconds: float,
        trials: tuple[Trial, ...],
        answer: Answer | None = None,
        inspection: Inspection | None = None,
        changes: tuple[str, ...] = (),
        reading: tuple[str, ...] = (),
        not_neutral: tuple[str, ...] = (),
        ranges: tuple[str, ...] = (),
        idle_ranges: tuple[str, ...] = (),
        refit: Refit | None = None,
        search_end: str | None = None,
        repeats: int = 0,
        declared: SearchSpace | None = None,
    ) -> Sweep:
        """Build the sweep of a spec; ``declared`` is its space unless it says otherwise."""
        return cls(
            sweep_id=sweep_id,
            name=spec.name,
            state=state,
            seconds=seconds,
            ranking=Ranking.of(spec),
            max_epochs=spec.training.max_epochs,
            spec=spec,
            trials=trials,
            answer=answer,
            inspection=inspection,
            changes=changes,
            reading=reading,
            not_neutral=not_neutral,
            ranges=ranges,
            idle_ranges=idle_ranges,
            refit=refit,
            search_end=search_end,
            repeats=repeats,
            declared=declared or spec.space,
        )

    @property
    def space(self) -> SearchSpace | None:
        """The space that its study samples."""
        return None if self.spec is None else self.spec.space

    @property
    def folds(self) -> int | None:
        """On how many folds a trial of the search is trained; None for one training each."""
        return None if self.spec is None else self.spec.search.folds

    @property
    def most_epochs(self) -> int:
        """The largest number of epochs of a trial of the search, over all its folds."""
        return self.max_epochs * (self.folds or 1)

    @property
    def metric(self) -> str:
        """The objective's metric."""
        return self.ranking.metric

    @property
    def mode(self) -> Mode:
        """Whether a low or a high objective is good."""
        return self.ranking.mode

    def of_state(self, state: TrialState) -> tuple[Trial, ...]:
        """Return the trials in one state."""
        return tuple(t for t in self.trials if t.state is state)

    @property
    def baseline(self) -> Trial | None:
        """The completed trial without regularisation, if the sweep has one."""
        return find_baseline(self.trials)

    @property
    def control(self) -> Trial | None:
        """What effects are measured from, see :meth:`Ranking.find_control`."""
        return self.ranking.find_control(self.trials)

    @property
    def cost(self) -> Cost | None:
        """What its trials have cost; None if loops elsewhere train them, on what nobody knows."""
        if self.spec is None or self.spec.trainable == EXTERNAL:
            return None
        return measure_cost(self.trials, self.spec.resources)

    @property
    def searched(self) -> tuple[Trial, ...]:
        """Every trial of the search; no replicate."""
        return select_searched(self.trials)

    @property
    def not_acting(self) -> Mapping[str, tuple[int, ...]]:
        """The parts without any effect in trials of the search, with the numbers of those."""
        parts = sorted({part for t in self.searched for part in t.not_acting})
        return {p: tuple(t.number for t in self.searched if p in t.not_acting) for p in parts}

    @property
    def best(self) -> Trial | None:
        """The answer's pick; before there is one, the best trial, see :meth:`Ranking.best`."""
        picked = None if self.answer is None else self.answer.pick
        found = next((t for t in self.trials if t.number == picked), None)
        return found or self.ranking.best(self.trials)
