"""A trial is compared with trials that are about as strongly regularised."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search_spaces.space import SearchSpace
from service.base.errors import SpecError
from service.spec.pruners import pruners
from service.study.by_strength import ByStrengthPruner, divide
from service.study.compat import PartOfStudy
from service.study.records import Role
from service.study.session import Decision, StudySession
from service.study.strength import list_strengths
from service.study.study import SweepStudy
from tests.specs import parse

SPACE = SearchSpace.model_validate(
    {"dropout": {"float": [0.0, 0.8]}, "model.rate": {"float": [0.0, 1.0], "neutral": 0.0}}
)


class Seen(optuna.pruners.BasePruner):
    """Prunes nothing, and writes down which trials it is shown."""

    def __init__(self) -> None:
        self.shown: list[int] = []
        self.best: int | None = None

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        self.shown = [t.number for t in study.trials]
        complete = study.get_trials(states=(TrialState.COMPLETE,))
        self.best = study.best_trial.number if complete else None
        return False


def begin(pruner: optuna.pruners.BasePruner, *points: dict[str, Any]) -> StudySession:
    study = SweepStudy(optuna.create_study(pruner=pruner))
    made = StudySession(study, SPACE, metric="val/loss", max_epochs=9)
    made.prepare(len(points), [(Role.ENQUEUED, point) for point in points])
    for _ in points:
        made.ask()
    return made


def point(dropout: float, rate: float = 0.0) -> dict[str, Any]:
    return {"dropout": dropout, "model.rate": rate}


def test_configurations_are_divided_by_their_rank_and_those_without_any_part_are_apart() -> None:
    points = [point(0.0), point(0.1), point(0.2), point(0.7), point(0.8), point(0.0, 0.9)]
    neutral = {"model.rate": 0.0}
    found = {n: list_strengths(p, neutral) for n, p in enumerate(points)}
    assert divide(found, 2) == {0: 0, 1: 1, 2: 1, 3: 2, 4: 2, 5: 2}
    assert divide(found, 1) == {0: 0, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
    assert divide({}, 2) == {}


def test_equal_configurations_are_never_parted() -> None:
    found = {n: {"dropout": 0.5} for n in range(7)}
    assert len(set(divide(found, 2).values())) == 1


@pytest.mark.parametrize(
    ("number", "peers", "best"), [(0, [0, 5], 5), (2, [1, 2], 1), (3, [3, 4], None)]
)
def test_the_other_pruner_sees_the_trials_of_the_stratum(
    number: int, peers: list[int], best: int | None
) -> None:
    seen = Seen()
    s = begin(
        ByStrengthPruner(seen, 2),
        *(point(0.0), point(0.1), point(0.2), point(0.7), point(0.8), point(0.0)),
    )
    s.complete(1, {"val/loss": 0.3}, 9)
    s.complete(5, {"val/loss": 0.4}, 9)
    s.report(number, 1, {"val/loss": 1.0})
    assert (seen.shown, seen.best) == (peers, best)


def test_an_argument_of_the_trainable_that_regularises_counts() -> None:
    seen = Seen()
    s = begin(ByStrengthPruner(seen, 1), point(0.0), point(0.0, 0.5), point(0.0, 0.7))
    s.report(1, 1, {"val/loss": 1.0})
    assert seen.shown == [1, 2]


def test_the_strata_grow_with_the_study() -> None:
    seen = Seen()
    study = SweepStudy(optuna.create_study(pruner=ByStrengthPruner(seen, 2)))
    s = StudySession(study, SPACE, metric="val/loss", max_epochs=9)
    s.prepare(4, [(Role.ENQUEUED, point(d)) for d in (0.1, 0.2, 0.3, 0.4)])
    s.ask(), s.ask()
    s.report(1, 1, {"val/loss": 1.0})
    assert seen.shown == [1]
    s.ask(), s.ask()
    s.report(1, 2, {"val/loss": 1.0})
    assert seen.shown == [0, 1]


SLOW: dict[str, Any] = {"name": "median", "startup_trials": 1, "warmup_epochs": 0}


@pytest.mark.parametrize("inner", [SLOW, {"name": "successive_halving"}, {"name": "top_k", "k": 1}])
def test_a_strong_trial_is_not_pruned_because_weak_ones_learn_faster(inner: Any) -> None:
    points = [point(d) for d in (0.1, 0.12, 0.7, 0.72)]
    answers = []
    for pruner in (inner, {"name": "by_strength", "pruner": inner}):
        s = begin(pruners.parse(pruner).build(9), *points)
        s.report(0, 1, {"val/loss": 0.2})
        s.complete(0, {"val/loss": 0.1}, 9)
        answers.append([s.report(n, 1, {"val/loss": v}) for n, v in [(1, 0.3), (2, 0.8), (3, 0.9)]])
    assert answers[0] == [Decision.PRUNE] * 3
    assert answers[1][:2] == [Decision.PRUNE, Decision.CONTINUE]


def test_a_pruner_that_makes_groups_of_its_own_is_refused_within_it() -> None:
    for inner in ("hyperband", {"name": "patient", "pruner": "hyperband"}):
        with pytest.raises(SpecError, match="use `successive_halving` within `by_strength`"):
            parse(
                space={"dropout": {"float": [0.0, 0.5]}},
                search={"pruner": {"name": "by_strength", "pruner": inner}},
            )


def test_trials_that_end_later_are_seen_among_their_peers_only() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    part = PartOfStudy(study, {0, 2, 3})
    states = (TrialState.COMPLETE,)
    ended, trials = [], [study.ask() for _ in range(4)]
    for number in (1, 3, 0, 2):
        study.tell(trials[number], 1.0 - number)
        ended += [number] if number != 1 else []
        assert [t.number for t in part.get_trials(states=states)] == sorted(ended)
        assert [t.number for t in part.trials] == [0, 2, 3]
    assert part.best_trial.number == 3
    part.get_trials(deepcopy=False, states=states).clear()
    assert len(part.get_trials(deepcopy=False, states=states)) == 3
