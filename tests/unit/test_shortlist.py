"""Which trials of a search are confirmed, and which weights are kept for it."""

from __future__ import annotations

from itertools import permutations

from service.study.ranking import Ranking, Shortlist
from service.study.records import Role, Trial, TrialState

RANKING = Ranking("val/loss", "min")


def make(number: int, value: float, sparsity: float) -> Trial:
    return Trial(
        number=number,
        state=TrialState.COMPLETE,
        role=Role.SEARCH,
        params={},
        value=value,
        best={"val/loss": value, "sparsity": sparsity},
    )


TRIALS = [
    make(0, 0.10, 0.1),
    make(1, 0.11, 0.0),
    make(2, 0.12, 0.3),
    make(3, 0.13, 0.3),
    make(4, 0.14, 0.5),
    make(5, 0.15, 0.4),
    make(6, 0.90, 0.9),
]


def numbers(trials: tuple[Trial, ...]) -> list[int]:
    return [t.number for t in trials]


def test_the_best_are_confirmed() -> None:
    assert numbers(Shortlist(RANKING, 3).select(reversed(TRIALS))) == [0, 1, 2]


def test_for_the_simplest_each_has_more_zeros_than_all_better_ones() -> None:
    shortlist = Shortlist(RANKING, 2, sparser=True)
    assert numbers(shortlist.select(TRIALS)) == [0, 2, 4, 6]
    assert numbers(Shortlist(RANKING, 1, sparser=True).select(TRIALS)) == [0, 2]


def test_without_zeros_the_best_are_confirmed() -> None:
    dense = [make(n, float(n), 0.0) for n in range(5)]
    assert numbers(Shortlist(RANKING, 3, sparser=True).select(dense)) == [0, 1, 2]


def test_whatever_the_order_in_which_trials_end_the_weights_of_the_shortlist_are_kept() -> None:
    for top_k in (1, 2):
        for sparser in (False, True):
            shortlist = Shortlist(RANKING, top_k, sparser)
            wanted = numbers(shortlist.select(TRIALS))
            for order in permutations(TRIALS):
                kept: tuple[Trial, ...] = ()
                for trial in order:
                    kept = shortlist.keep((*kept, trial))
                assert set(wanted) <= set(numbers(kept))
