"""The audit of a pruner: which trials it has trained again, and what it says of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import comb
from typing import Any

import pytest

from search_spaces.values import Value
from service.answer.audit import AfterSearch, Auditor, bound_count, measure_audit
from service.answer.strong_trials import find_strong
from service.report.audit_text import write_audit
from service.report.page import render
from service.report.report_data import build_report
from service.run.session_plan import reserve
from service.spec.model import SweepSpec
from service.study.importance import Importances
from service.study.ranking import Ranking
from service.study.records import OUT_OF_BUDGET, Role, Trial, TrialState
from service.study.study import SweepStudy
from service.sweep.answer import Audit, Claim
from tests.reports import shown, sweep, trial
from tests.specs import parse, problems
from tests.studies import new_study

MIN = Ranking("val/loss", "min")


def pruned(number: int, **params: Value) -> Trial:
    return trial(number, 0.0, 0.0, TrialState.PRUNED, **params)


def searched(number: int, value: float, **params: Value) -> Trial:
    return trial(number, value, 0.1, **params)


def audit(number: int, of: int, value: float | None) -> Trial:
    state = TrialState.FAILED if value is None else TrialState.COMPLETE
    return replace(trial(number, value or 0.0, 0.1, state), role=Role.AUDIT, confirms=of)


def search(strong: int, weak: int) -> list[Trial]:
    """A baseline, a best trial, a middle one, and so many pruned ones on either side of it."""
    rates = [0.3] * 2 + [0.6] * strong + [0.1] * weak
    first = [trial(0, 0.5, 0.4), searched(1, 0.4, dropout=0.3), searched(2, 0.45, dropout=0.3)]
    return [*first, *(pruned(n + 3, dropout=r) for n, r in enumerate(rates[2:]))]


def auditor(**keys: Any) -> Auditor:
    spec: SweepSpec = parse(audit={"trials": 6}, **keys)
    return Auditor(spec, SweepStudy(new_study()))


def test_half_of_the_chosen_trials_are_strongly_regularised() -> None:
    runs = auditor().next_runs(search(strong=6, weak=20))
    rates = [run.params["dropout"] for run in runs]
    assert sorted(rates) == [0.1] * 3 + [0.6] * 3  # type: ignore[type-var]  # numbers
    assert {run.role for run in runs} == {Role.AUDIT}
    assert {(run.seed, run.replicate, run.baseline, run.without) for run in runs} == {
        (None, 0, False, ())
    }


@pytest.mark.parametrize(
    ("strong", "weak", "counts"), [(1, 9, (1, 5)), (9, 2, (4, 2)), (2, 1, (2, 1))]
)
def test_where_one_kind_is_short_the_other_fills_up(
    strong: int, weak: int, counts: tuple[int, int]
) -> None:
    runs = auditor().next_runs(search(strong, weak))
    rates = [run.params["dropout"] for run in runs]
    assert (rates.count(0.6), rates.count(0.1)) == counts


def test_the_choice_follows_from_the_seed_and_is_made_once() -> None:
    trials = search(10, 10)
    chosen = [r.confirms for r in auditor().next_runs(trials)]
    assert chosen == [r.confirms for r in auditor().next_runs(trials)]
    others = [r.confirms for r in auditor(search={"seed": 1}).next_runs(trials)]
    assert chosen != others
    done = [audit(30 + n, of, 0.5) for n, of in enumerate(chosen)]
    assert auditor().next_runs([*trials, *done]) == ()


def test_only_what_the_pruner_ended_is_audited() -> None:
    cut = replace(pruned(3, dropout=0.2), reason=OUT_OF_BUDGET)
    control = replace(pruned(4, dropout=0.0), role=Role.CONTROL)
    failed = trial(5, 0.0, 0.0, TrialState.FAILED, dropout=0.3)
    mine = replace(pruned(6, dropout=0.4), role=Role.ENQUEUED)
    trials = [*search(0, 0), cut, control, failed, mine]
    assert [r.confirms for r in auditor().next_runs(trials)] == [6]


def test_an_extension_has_an_audit_of_its_own() -> None:
    study = SweepStudy(new_study())
    made = Auditor(parse(audit={"trials": 2}), study)
    trials = search(5, 5)
    first = [r.confirms for r in made.next_runs(trials)]
    trials += [audit(30 + n, of, 0.5) for n, of in enumerate(first)]
    assert made.next_runs(trials) == ()
    study.store(replace(study.attributes, audits_before_extension=2))
    second = [r.confirms for r in made.next_runs(trials)]
    assert len(second) == 2
    assert not set(first) & set(second)
    assert made.trainings == 4


class Nothing:
    """A confirmation that is not to be asked."""

    trainings = 7

    def next_runs(self, trials: object) -> Any:
        raise AssertionError


def test_the_audit_comes_before_the_confirmation() -> None:
    both = AfterSearch(auditor(), Nothing())
    assert both.trainings == 6 + 7
    assert len(both.next_runs(search(3, 3))) == 6
    with pytest.raises(AssertionError):
        both.next_runs(search(0, 0))
    assert AfterSearch(auditor(), None).next_runs(search(0, 0)) == ()


CASES: list[tuple[dict[str, Value], dict[str, Value]]] = [
    ({"dropout": 0.6}, {"dropout": 0.1}),
    ({"penalty": "l2", "lambda": 0.1}, {"penalty": "l2", "lambda": 1e-6}),
    ({"penalty": "l2", "lambda": 0.1}, {"penalty": "none", "lambda": 0.1}),
    ({"max_norm": 0.5}, {"max_norm": 4.0}),
    ({"dropout": 0.2, "label_smoothing": 0.1}, {"dropout": 0.2}),
    ({"augmentation": "shift", "augmentation_strength": 0.9}, {"augmentation": "none"}),
    ({"ema": 0.999}, {"ema": 0.9}),
    ({"model.rate": 0.5}, {"model.rate": 0.1}),
    ({"model.norm": "layer"}, {"model.norm": "none"}),
    ({"dropout": 0.5, "lr": 0.1}, {"dropout": 0.1, "lr": 0.5}),
]
NEUTRAL: Mapping[str, Value] = {"model.rate": 0.0, "model.norm": "none"}


@pytest.mark.parametrize(("strong", "weak"), CASES, ids=str)
def test_what_is_strong(strong: dict[str, Value], weak: dict[str, Value]) -> None:
    trials = [searched(1, 0.5, **weak), searched(2, 0.5, **strong), searched(3, 0.5, **weak)]
    assert find_strong(trials, NEUTRAL) == {2}


def test_a_value_that_most_trials_have_is_strong_if_the_others_are_lower() -> None:
    trials = [searched(n, 0.5, dropout=0.5 if n > 2 else 0.0) for n in range(1, 8)]
    assert find_strong(trials, {}) == {3, 4, 5, 6, 7}


def test_a_strength_is_ranked_among_those_of_the_same_penalty() -> None:
    """λ = 0.01 is the strongest l1 here, and the weakest l2."""
    points = [("l1", 1e-4), ("l1", 1e-3), ("l1", 1e-2), ("l2", 1e-2), ("l2", 1.0), ("l2", 2.0)]
    trials = [
        searched(n, 0.5, penalty=p, **{"lambda": lam}) for n, (p, lam) in enumerate(points, 1)
    ]
    assert find_strong(trials, {}) == {3, 6}


def measured(*audits: Trial, strong: int = 4, weak: int = 6) -> Audit:
    found = measure_audit(MIN, [*search(strong, weak), *audits], {})
    assert found is not None
    return found


def test_the_regret_and_the_share_of_each_kind() -> None:
    found = measured(audit(20, 3, 0.37), audit(21, 4, 0.5), audit(22, 7, 0.39), audit(23, 8, None))
    assert (found.best, found.metric) == (1, "val/loss")
    assert [(a.pruned, a.trial, a.value) for a in found.better] == [(3, 20, 0.37), (7, 22, 0.39)]
    strong, weak, whole = found.strong, found.weak, found.overall
    assert (strong.pruned, strong.audited, strong.better, strong.failed) == (4, 2, 1, 0)
    assert (weak.pruned, weak.audited, weak.better, weak.failed) == (6, 2, 1, 1)
    assert (whole.pruned, whole.audited, whole.better, whole.failed) == (10, 4, 2, 1)
    assert strong.regret == whole.regret == pytest.approx(0.03)
    assert weak.regret == pytest.approx(0.01)
    assert (strong.share, weak.share, whole.share) == (0.5, 0.5, 0.5)
    assert strong.interval == (0.25, 0.75)
    assert whole.interval is not None
    assert whole.interval[0] >= 0.2
    assert whole.interval[1] <= 0.8


def test_groups_count_by_their_sizes() -> None:
    found = measured(audit(20, 3, 0.3), audit(21, 7, 0.5), audit(22, 8, 0.5), strong=1, weak=9)
    assert (found.strong.pruned, found.strong.share) == (1, 1.0)
    assert (found.weak.pruned, found.weak.share) == (9, 0.0)
    assert found.overall.share == pytest.approx(0.1)


def test_none_better_and_none_pruned() -> None:
    calm = measured(*(audit(20 + n, 3 + n, 0.6) for n in range(10)))
    assert (calm.overall.share, calm.overall.regret) == (0.0, 0.0)
    assert calm.overall.interval == (0.0, 0.0)  # all of them were trained
    empty = measured(strong=0, weak=0)
    assert (empty.overall.pruned, empty.overall.share, empty.overall.regret) == (0, None, None)
    assert "The pruner ended no trial" in write_audit(empty)
    assert "None of the 10 pruned trials" in write_audit(measured())


def test_constraints_and_high_objectives_count_as_in_the_ranking() -> None:
    outside = replace(audit(20, 3, 0.1), violation=0.2)
    assert measured(outside).better == ()
    high = Ranking("val/accuracy", "max")
    trials = [*search(1, 1), audit(20, 3, 0.9)]
    found = measure_audit(high, trials, {})
    assert found is not None
    assert found.best == 2  # 0.45 is better than 0.4
    assert found.overall.regret == pytest.approx(0.45)


def test_without_a_completed_trial_there_is_nothing_to_compare_with() -> None:
    assert measure_audit(MIN, [pruned(1, dropout=0.2)], {}) is None


@pytest.mark.parametrize("size", [1, 2, 7, 12])
@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_an_interval_covers_the_truth_often_enough(size: int, alpha: float) -> None:
    for drawn in range(size + 1):
        for truth in range(size + 1):
            covered = 0.0
            for hits in range(max(0, drawn - (size - truth)), min(drawn, truth) + 1):
                low, high = bound_count(size, drawn, hits, alpha)
                chance = comb(truth, hits) * comb(size - truth, drawn - hits) / comb(size, drawn)
                covered += chance * (low <= truth <= high)
            assert covered >= 1 - alpha - 1e-9
    assert bound_count(size, size, 1, alpha) == (1, 1)
    assert bound_count(size, 0, 0, alpha) == (0, size)


def test_a_better_audited_trial_is_a_challenger_and_the_others_are_not_the_searchs() -> None:
    made = sweep(*search(2, 2), audit(9, 3, 0.3))
    assert made.best is not None
    assert made.best.number == 9
    assert 9 not in {t.number for t in made.searched}


def test_the_report_says_what_was_found() -> None:
    trials = [*search(4, 6), audit(20, 3, 0.37), audit(21, 7, 0.5)]
    made = sweep(*trials)
    data = build_report(made, Importances({}, {}))
    assert data.answer.claim is Claim.UNCONFIRMED
    assert data.answer.audit is None
    found = measure_audit(MIN, trials, {})
    assert found is not None
    data = replace(data, answer=data.answer.model_copy(update={"audit": found}))
    for view in (shown(data, 100), render(data)):
        words = " ".join(view.split())
        assert "Audit of the pruner" in words
        assert "2 of 10 pruned trials were trained to their end" in words
        assert "trial 3 (again as trial 20: val/loss 0.3700)" in words
        assert "95 % interval" in words
        assert "The regret is at least 0.03000 in val/loss" in words
        for kind in ("all", "strongly", "weakly"):
            assert kind in words
    assert "2 audited" in shown(data)
    assert "which was pruned as trial 3" in data.verdict
    assert max(len(line) for line in shown(data, 80).splitlines()) <= 80


def test_a_search_leaves_time_for_its_audit() -> None:
    keys: dict[str, Any] = {"budget": {"trials": 30, "minutes": 10}}
    without = parse(**keys, confirm="off")
    assert reserve(without).seconds == 0
    assert reserve(parse(**keys)).seconds == pytest.approx(600 * 0.4)
    audited = parse(**keys, confirm="off", audit={"trials": 10})
    assert reserve(audited).seconds == pytest.approx(600 / 4)  # as much for each training
    both = parse(**keys, audit={"trials": 10})
    assert reserve(both).seconds == pytest.approx(600 * (0.4 + 0.6 / 4))


def test_the_spec_names_how_many() -> None:
    assert parse().audit is None
    assert parse(audit="off").audit is None
    assert parse(audit=False).audit is None
    for raw in (True, "on", {}):
        on = parse(audit=raw).audit
        assert on is not None
        assert on.trials == 8
    assert "audit.trials" in problems(audit={"trials": 1})
