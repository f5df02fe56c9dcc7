"""Sweeps whose trainings are drawn from a known truth; session and planner are the real ones.

A configuration's cost is the sum of what its parts contribute, plus what seeds, divisions and
samples add by chance. Nothing is trained, so that a whole sweep takes a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from search_spaces.values import Value
from service.answer.arms import TestScores
from service.answer.conclude import conclude
from service.answer.planner import Planner
from service.run.first_points import plan_search
from service.spec.model import SweepSpec
from service.study.messages import Assignment
from service.study.ranking import Ranking
from service.study.records import Trial
from service.study.session import StudySession
from service.study.study import SweepStudy
from service.sweep.answer import Answer
from tests.specs import parse
from tests.studies import new_study
from trainables.config.trial_parameters import list_parts

SPACE: dict[str, Any] = {
    "penalty": {"choice": ["none", "l1"]},
    "lambda": {"float": [1e-4, 1e-1], "log": True, "when": {"penalty": "l1"}},
    "dropout": {"float": [0.1, 0.7]},
}
Effects = Callable[[frozenset[str], Mapping[str, Value]], float]


def add_effects(**effects: float) -> Effects:
    """What is added to the cost by each part that a configuration has."""
    return lambda parts, _: sum(effects.get(part, 0.0) for part in parts)


@dataclass
class World:
    """The truth. ``effects`` gives the cost of a set of parts; the rest are standard deviations.

    ``stopping`` is what early stopping changes, ``seed_sd`` belongs to one training, ``split_sd``
    to an arm and a division, ``row_sd`` to an arm and a test sample. ``fails`` lists trainings
    that fail, by the parts that they have. ``idle`` are parts that act in no training.
    """

    effects: Effects = field(default_factory=add_effects)
    stopping: float = 0.0
    seed_sd: float = 0.002
    val_sd: float = 0.002
    row_sd: float = 0.02
    rows: int = 200
    level: float = 0.5
    seed: int = 0
    fails: Callable[[Assignment], bool] = lambda _: False
    idle: frozenset[str] = frozenset()

    def draw(self, key: object) -> np.random.Generator:
        return np.random.default_rng([self.seed, crc32(repr(key).encode())])


class Simulation:
    """One sweep in a world; ``run`` may be called again after ``extend``.

    ``most`` is after how many trials the search has found enough.
    """

    def __init__(
        self, world: World, *, trials: int = 12, most: int | None = None, **changes: Any
    ) -> None:
        self.world, self._most = world, most
        raw = {"space": SPACE, "search": {"pruner": "none"}, "budget": {"trials": trials}}
        self.spec = parse(**{**raw, **changes})
        self.study = SweepStudy(new_study())
        self.rows: dict[int, dict[str, NDArray[np.float64]]] = {}
        self.open_session()

    def open_session(self) -> None:
        """A session as after a start of the process."""
        scores = TestScores.of(Ranking.of(self.spec), lambda _: False, self._read)
        self.planner = Planner(self.spec, scores, self.study)
        self.session = StudySession(
            self.study,
            self.spec.space,
            metric=self.spec.objective.metric,
            constraints=self.spec.constraints,
            max_epochs=10,
            confirm=self.planner,
            enough=None if self._most is None else self._has_enough,
        )
        self.session.prepare(*plan_search(self.spec))

    def run(self, at_most: int = 10_000) -> Answer:
        """Run trainings, all that are left unless ``at_most`` says less."""
        for _ in range(at_most):
            assignment = self.session.ask()
            if assignment is None:
                break
            self._train(assignment)
        return conclude(self.planner, self.trials, on="new_splits")

    def extend(self, trials: int) -> None:
        used = sum(t.replicate > 0 for t in self.trials)
        self.study.store(replace_trainings(self.study, used))
        self.open_session()
        self.session.extend(self.session.budget + trials)

    @property
    def trials(self) -> tuple[Trial, ...]:
        return self.session.trials()

    def count_replicates(self) -> int:
        return sum(t.replicate > 0 for t in self.trials)

    def _has_enough(self) -> str | None:
        return "it is enough" if len(self.trials) == self._most else None

    def _read(self, trial: Trial) -> Mapping[str, NDArray[np.float64]]:
        return self.rows[trial.number]

    def _train(self, assignment: Assignment) -> None:
        number, world = assignment.number, self.world
        if world.fails(assignment):
            self.session.fail(number, "it diverged")
            return
        parts = _find_parts(self.spec, assignment)
        cost = world.level + world.effects(parts, assignment.params)
        stopped = cost + world.stopping
        ends = {"best": cost if assignment.baseline else stopped}
        if assignment.baseline:
            ends["control"] = stopped
        metrics = {n: self._measure(assignment, parts, n, c) for n, c in ends.items()}
        idle = sorted(world.idle.intersection(list_parts(self.spec, assignment.params)))
        control = metrics.get("control")
        self.session.complete(number, metrics["best"], 10, control, not_acting=idle)

    def _measure(
        self, assignment: Assignment, parts: frozenset[str], name: str, cost: float
    ) -> dict[str, float]:
        world, replicate = self.world, assignment.replicate
        arm = (sorted(parts), _describe(assignment.params), name)
        own = world.draw((arm, replicate)).normal(0, (world.seed_sd, world.val_sd))
        shared = world.draw(("replicate", replicate)).normal(0, 5 * world.seed_sd)
        mean = cost + shared + float(own[0])
        metrics = {"val/loss": mean + float(own[1]), "train/loss": 0.2, "gap/loss": mean - 0.2}
        if replicate:
            samples = world.draw("rows").normal(0, 0.3, world.rows)
            samples = samples + world.draw((arm, "rows")).normal(0, world.row_sd, world.rows)
            prefix = "control/" if name == "control" else ""
            row = mean + samples
            self.rows.setdefault(assignment.number, {})[f"{prefix}loss"] = row
            metrics["test/loss"] = float(row.mean())
        return metrics


def replace_trainings(study: SweepStudy, used: int) -> Any:
    """The study's attributes after an extension."""
    from dataclasses import replace

    return replace(study.attributes, trainings_before_extension=used)


def _find_parts(spec: SweepSpec, assignment: Assignment) -> frozenset[str]:
    if assignment.baseline:
        return frozenset()
    parts = list_parts(spec, assignment.params)
    return frozenset(parts) - {"early_stopping"} - set(assignment.without)


def _describe(params: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, repr(v)) for k, v in params.items()))
