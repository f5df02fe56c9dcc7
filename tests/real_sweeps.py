"""Real sweeps in this process, small, on data of known truth: only the disk and Ray are left out.

The truth of a sweep is the mean difference of pick and control on 5,000 new samples, over the same
replicates; where nothing in the space can act it is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray

from service.answer.arms import TestScores
from service.answer.conclude import conclude
from service.answer.planner import Planner
from service.run.first_points import plan_search
from service.spec.file import parse_spec
from service.spec.model import SweepSpec
from service.study.messages import Assignment
from service.study.ranking import Ranking
from service.study.records import Trial
from service.study.seeded_sampler import ResumableSampler
from service.study.session import Decision, StudySession
from service.study.study import SweepStudy
from service.sweep.answer import Answer, PartState
from trainables.analysis.held_out import measure_test_rows
from trainables.build import build_run
from trainables.config.data_info import Task
from trainables.config.splitters import StratifiedSplit
from trainables.data.raw import Raw
from trainables.data.rows import DrawnRows
from trainables.data.splits import Splits
from trainables.data.splitters.build import build_rule
from trainables.loop import train

FRESH = 5000
_HERE = Path(__file__).parent
Array = NDArray[Any]
Draw = Callable[[np.random.Generator, int], tuple[Array, Array]]


def draw_noise(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Ten features, labels by tossing a coin."""
    return random.normal(size=(count, 10)), random.integers(0, 2, count)


def draw_linear(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Three features, a linear truth, little noise."""
    x = random.normal(size=(count, 3))
    return x, x @ [2.0, -1.0, 0.5] + 0.3 * random.normal(size=count)


def draw_logistic(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Three features, a logistic truth."""
    x = random.normal(size=(count, 3))
    p = 1 / (1 + np.exp(-(x @ [1.5, -1.0, 0.5])))
    return x, (random.random(count) < p).astype(np.int64)


def draw_sparse(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """120 features, 4 of them with a coefficient."""
    x = random.normal(size=(count, 120))
    truth = np.zeros(120)
    truth[:4] = (3.0, -2.0, 2.0, 1.5)
    return x, x @ truth + random.normal(size=count)


def draw_wide(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """40 features that each say a little of the class, one label in five wrong."""
    x = random.normal(size=(count, 40))
    y = x @ np.full(40, 1 / 40**0.5) > 0
    return x, np.where(random.random(count) < 0.2, ~y, y).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Data, a space, and the truth: ``planted`` parts, one of which must be named."""

    draw: Draw
    rows: int
    test: int
    space: Mapping[str, Any]
    task: Task = Task.CLASSIFICATION
    hidden: tuple[int, ...] = (16,)
    planted: frozenset[str] = frozenset()
    either: bool = False
    inert: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)
    early_stopping: Any = field(default_factory=lambda: {"patience": 4})


_PENALTIES: dict[str, Any] = {
    "penalty": {"choice": ["none", "l1", "l2"]},
    "lambda": {"float": [1e-3, 1.0], "log": True, "when": {"penalty": ["l1", "l2"]}},
}
SCENARIOS: dict[str, Scenario] = {
    "random labels": Scenario(
        draw=draw_noise, rows=225, test=75, space={**_PENALTIES, "dropout": {"float": [0.0, 0.5]}}
    ),
    "inert space": Scenario(
        draw=draw_wide,
        rows=225,
        test=75,
        space={
            "penalty": {"choice": ["l1", "l2"]},
            "lambda": {"float": [1e-12, 1e-9], "log": True},
            "input_noise": {"float": [0.0, 1e-6]},
        },
        inert=True,
    ),
    "clean linear": Scenario(
        draw=draw_linear, rows=300, test=100, space=_PENALTIES, task=Task.REGRESSION, hidden=()
    ),
    "clean logistic": Scenario(draw=draw_logistic, rows=300, test=100, space=_PENALTIES, hidden=()),
    "sparse, p > n": Scenario(
        draw=draw_sparse,
        rows=120,
        test=200,
        task=Task.REGRESSION,
        hidden=(),
        space={
            "penalty": {"choice": ["none", "l1"]},
            "lambda": {"float": [0.1, 0.5], "log": True, "when": {"penalty": ["l1"]}},
            "input_noise": {"float": [0.0, 1e-6]},
        },
        training={"proximal_step": "adaptive", "lr": 0.03},
        planted=frozenset({"penalty"}),
    ),
    "small-n MLP": Scenario(
        draw=draw_wide,
        rows=200,
        test=400,
        space={
            "penalty": {"choice": ["none", "l2"]},
            "lambda": {"float": [0.3, 10.0], "log": True, "when": {"penalty": ["l2"]}},
            "input_noise": {"float": [0.0, 1e-6]},
        },
        early_stopping="off",
        planted=frozenset({"penalty"}),
    ),
    "either of two": Scenario(
        draw=draw_wide,
        rows=200,
        test=1000,
        space={
            "penalty": {"choice": ["l2"]},
            "lambda": {"float": [1.0, 5.0], "log": True},
            "max_norm": {"float": [0.3, 0.6]},
        },
        early_stopping="off",
        planted=frozenset({"penalty", "max_norm"}),
        either=True,
    ),
    "either of two, 400 test samples": Scenario(
        draw=draw_wide,
        rows=200,
        test=400,
        space={
            "penalty": {"choice": ["l2"]},
            "lambda": {"float": [1.0, 5.0], "log": True},
            "max_norm": {"float": [0.3, 0.6]},
        },
        early_stopping="off",
        planted=frozenset({"penalty", "max_norm"}),
        either=True,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one sweep claimed, and what is true."""

    claim: str
    effect: float
    truth: float
    covered: bool | None
    acting: frozenset[str]
    suffices: frozenset[str]
    replicates: int


class RealSweep:
    """One sweep in this process, with nothing on disk."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        random = np.random.default_rng([seed, 1])
        x, y = scenario.draw(random, scenario.rows + scenario.test)
        raw = {
            "name": "calibration",
            "trainable": "trainables.models:MLP",
            "data": "digits",  # not read: the rows are drawn here
            "model": {"hidden": list(scenario.hidden)},
            "training": {"max_epochs": 20, "lr": 0.01, "seed": 100 * seed, **scenario.training},
            "space": scenario.space,
            "early_stopping": scenario.early_stopping,
            "search": {"pruner": "none", "sampler": "random", "seed": seed},
            "budget": {"trials": 12},
            "confirm": {"top_k": 3, "trainings": 60},
        }
        self.spec: SweepSpec = parse_spec(raw, "calibration", _HERE)
        whole = Raw(x.astype(np.float64), y)
        splitter = build_rule(StratifiedSplit()).splitter
        pool, test = np.split(random.permutation(len(x)), [scenario.rows])
        self._rows = DrawnRows(
            whole.rows(pool), whole.rows(test), splitter, 0.25, seed, scenario.task
        )
        self._fresh = Raw(*scenario.draw(random, FRESH))
        self._divisions: dict[int, tuple[Splits, Splits]] = {}
        self._tests: dict[int, Mapping[str, Array]] = {}
        self._truths: dict[int, Mapping[str, float]] = {}
        study = optuna.create_study(
            sampler=ResumableSampler(self.spec.search.sampler, self.spec.search.seed)
        )
        self.study = SweepStudy(study)
        scores = TestScores.of(
            Ranking.of(self.spec), lambda _: False, lambda t: self._tests[t.number]
        )
        self.planner = Planner(self.spec, scores, self.study)
        self.session = StudySession(
            self.study,
            self.spec.space,
            metric=self.spec.objective.metric,
            max_epochs=self.spec.training.max_epochs,
            confirm=self.planner,
        )
        self.session.prepare(*plan_search(self.spec))

    def run(self) -> Outcome:
        """Run it to its answer."""
        while (assignment := self.session.ask()) is not None:
            self._train(assignment)
        answer = conclude(self.planner, self.session.trials(), on="new_splits")
        return self._judge(answer)

    def _train(self, assignment: Assignment) -> None:
        splits, fresh = self._divide(assignment.replicate)
        run = build_run(
            self.spec,
            assignment.params,
            splits,
            baseline=assignment.baseline,
            without=assignment.without,
            seed=assignment.seed,
            device="cpu",
        )
        for result in train(run):
            if self.session.report(assignment.number, result.epoch, result.metrics) is (
                Decision.PRUNE
            ):
                self.session.prune(assignment.number)
                return
        best, control = run.best_metrics(), run.control_metrics() or {}
        if assignment.replicate:
            kept = {"": run.best_state}
            if run.control is not None:
                kept["control/"] = run.control.state
            number = assignment.number
            self._tests[number] = {
                f"{prefix}{name}": values
                for prefix, state in kept.items()
                for name, values in measure_test_rows(run, splits, state).items()
            }
            self._truths[number] = {
                f"{prefix}{name}": float(values.mean())
                for prefix, state in kept.items()
                for name, values in measure_test_rows(run, fresh, state).items()
            }
        self.session.complete(assignment.number, best, run.epoch, control)

    def _divide(self, replicate: int) -> tuple[Splits, Splits]:
        """The division, and the same with the new samples as its test samples."""
        if replicate not in self._divisions:
            rows = self._rows
            fresh = DrawnRows(
                rows.pool, self._fresh, rows.splitter, rows.share, rows.seed, rows.task
            )
            self._divisions[replicate] = (rows.divide(replicate), fresh.divide(replicate))
        return self._divisions[replicate]

    def _judge(self, answer: Answer) -> Outcome:
        truth = 0.0 if self._scenario.inert else self._find_truth(answer)
        covered = None
        if answer.interval is not None:
            covered = answer.interval[0] <= truth <= answer.interval[1]
        return Outcome(
            claim=answer.claim.value,
            effect=answer.effect or 0.0,
            truth=truth,
            covered=covered,
            acting=frozenset(p.name for p in answer.parts if p.state is PartState.ACTS),
            suffices=frozenset(p.name for p in answer.parts if p.suffices),
            replicates=answer.replicates,
        )

    def _find_truth(self, answer: Answer) -> float:
        trials = self.session.trials()
        pick = self._collect(trials, answer.pick, answer.without, "loss")
        control = self._collect(trials, answer.control, (), "control/loss")
        shared = sorted(pick.keys() & control.keys())
        return float(np.mean([pick[r] - control[r] for r in shared])) if shared else 0.0

    def _collect(
        self, trials: tuple[Trial, ...], number: int | None, without: tuple[str, ...], name: str
    ) -> dict[int, float]:
        return {
            t.replicate: self._truths[t.number][name]
            for t in trials
            if t.replicate and t.confirms == number and t.without == without
            if t.number in self._truths and name in self._truths[t.number]
        }


def run_one(job: tuple[str, int]) -> Outcome:
    """One sweep of a scenario, by its seed."""
    name, seed = job
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return RealSweep(SCENARIOS[name], seed).run()
