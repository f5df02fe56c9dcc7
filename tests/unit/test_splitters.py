"""Splitters by group and by time, and splitters of users."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.config.imports import find_import_paths
from trainables.config.splitters import splitters
from trainables.data.splitters.base import Cases, Draw, Splitter
from trainables.data.splitters.build import build_rule
from trainables.data.splitters.group import Group
from trainables.data.splitters.rolling_origin import RollingOrigin
from trainables.errors import ContractError, DataError

DRAWS = st.builds(Draw, st.integers(0, 5), st.integers(0, 20))


@given(
    groups=st.lists(st.integers(0, 12), min_size=20, max_size=80),
    share=st.floats(0.05, 0.6),
    draw=DRAWS,
)
def test_groups_stay_together_and_two_remain_for_the_next_division(
    groups: list[int], share: float, draw: Draw
) -> None:
    by = np.array(groups)
    count = len(set(groups))
    if count < 3:
        return
    cases = Cases(len(by), None, by)
    stay, held = Group().hold_out(cases, share, draw)
    assert sorted([*stay, *held]) == list(range(len(by)))
    assert not set(by[stay]) & set(by[held])
    assert len(set(by[stay])) >= 2
    assert len(held)
    again = Group().hold_out(cases, share, draw)
    assert np.array_equal(held, again[1])


def test_groups_come_close_to_the_share_and_differ_between_replicates() -> None:
    by = np.repeat(np.arange(50), 4)
    cases = Cases(len(by), None, by)
    held = [Group().hold_out(cases, 0.2, Draw(0, r))[1] for r in range(10)]
    assert {len(h) for h in held} == {40}
    assert len({tuple(h) for h in held}) == 10


def test_groups_are_drawn_again_until_every_class_stays() -> None:
    by = np.repeat(np.arange(10), 5)
    classes = (by >= 8).astype(int)
    for replicate in range(30):
        stay, _ = Group().hold_out(Cases(50, classes, by), 0.5, Draw(0, replicate))
        assert set(classes[stay]) == {0, 1}


@given(
    times=st.lists(st.integers(0, 40), min_size=30, max_size=120),
    share=st.floats(0.1, 0.4),
    draw=DRAWS,
)
def test_held_out_rows_are_later_than_those_that_stay(
    times: list[int], share: float, draw: Draw
) -> None:
    by = np.array(times)
    cases = Cases(len(by), None, by)
    if len(set(times)) < 3:
        return
    try:
        RollingOrigin().check_replicates(cases, share, draw.replicate)
    except DataError:
        assert draw.replicate
        with pytest.raises(DataError, match="of its own"):
            RollingOrigin().hold_out(cases, share, draw)
        return
    stay, held = RollingOrigin().hold_out(cases, share, draw)
    assert by[stay].max() < by[held].min()
    if not draw.replicate:
        assert len(stay) + len(held) == len(by)
        assert len(set(by[stay])) >= 2


def test_each_replicate_has_another_window_of_the_same_size_spread_over_time() -> None:
    by = np.arange(100)
    cases = Cases(100, None, by)
    RollingOrigin().check_replicates(cases, 0.2, 40)
    parts = [RollingOrigin().hold_out(cases, 0.2, Draw(3, r)) for r in range(41)]
    starts = [int(held[0]) for _, held in parts]
    assert starts[0] == 80
    assert sorted(starts) == list(range(40, 81))
    assert {len(held) for _, held in parts} == {20}
    assert all(np.array_equal(stay, np.arange(held[0])) for stay, held in parts)
    thirds = np.histogram(starts[1:10], bins=3, range=(40, 80))[0]
    assert thirds.min() >= 2


def test_fewer_windows_than_replicates_are_refused() -> None:
    cases = Cases(20, None, np.repeat(np.arange(5), 4))
    with pytest.raises(DataError, match=r"12 replicates need .* give 2; set fewer replicates"):
        RollingOrigin().check_replicates(cases, 0.2, 12)
    RollingOrigin().check_replicates(cases, 0.2, 2)


@pytest.mark.parametrize(
    ("splitter", "by", "words"),
    [
        (Group(), [1, 1, 2, 2], "2 groups; training, validation and test need at least 3"),
        (RollingOrigin(), [1, 1, 2, 2], "2 different times; 3 parts need 3"),
    ],
)
def test_too_few_groups_or_times_are_refused(splitter: Splitter, by: list[int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        splitter.check(Cases(4, None, np.array(by)), 3)


@pytest.mark.parametrize(
    "values",
    [
        ["2026-01-03", "2026-01-02T08:00:00", "2026-01-10"],
        ["2026-01-02T23:30:00-05:00", "2026-01-03T01:00:00+00:00", "2026-01-10T00:00:00Z"],
        [datetime.date(2026, 1, 3), datetime.date(2026, 1, 2), datetime.date(2026, 1, 10)],
        np.array(["2026-01-03", "2026-01-02", "2026-01-10"], dtype="datetime64[D]"),
        [3, 2, 10],
        [3.5, 2.5, 10.5],
    ],
)
def test_times_are_ordered_as_times_not_as_text(values: Any) -> None:
    by = values if isinstance(values, np.ndarray) else np.array(values)
    assert RollingOrigin().read(by, "when").tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    "values",
    [["2026-01-03", "spring"], ["03/04/2026", "04/04/2026"], [True, False], ["2026-01-03", 5]],
)
def test_a_column_that_cannot_be_ordered_is_refused(values: list[Any]) -> None:
    by = np.array(values, dtype=None if isinstance(values[0], bool) else object)
    with pytest.raises(DataError, match="column 'when' cannot be ordered by time: row"):
        RollingOrigin().read(by, "when")


class Halves(Splitter):
    """Holds out the last rows; sees the column if the spec names one."""

    def __init__(self, by: str | None = None, most: int = 1000) -> None:
        self.by, self.most = by, most

    def hold_out(self, cases: Cases, share: float, draw: Draw) -> tuple[Any, Any]:
        cut = cases.count - min(self.most, round(share * cases.count))
        return np.arange(cut), np.arange(cut, cases.count)


class Unwritten(Splitter):
    """Defines nothing."""


def test_splitters_are_a_registry_as_the_others_are() -> None:
    assert (splitters.kind, splitters.group) == ("splitter", "gapsweep.splitters")
    assert splitters.names()[:4] == ("stratified", "distinct", "group", "time")
    own = splitters.parse({"name": "mine:Own", "option": 1})
    assert list(find_import_paths(own)) == ["mine:Own"]
    assert own.model_dump()["option"] == 1


def test_a_splitter_of_a_user_gets_its_options() -> None:
    config = splitters.parse({"name": f"{__name__}:Halves", "by": "site", "most": 7})
    rule = build_rule(config)
    assert isinstance(rule.splitter, Halves)
    assert (rule.column, rule.splitter.by, rule.splitter.most) == ("site", "site", 7)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"name": f"{__name__}:Halves", "mots": 7}, "did you mean 'most'"),
        ({"name": f"{__name__}:Unwritten"}, "does not define hold_out"),
        ({"name": f"{__name__}:Cases", "count": 3}, "gives Cases; expected: Splitter"),
    ],
)
def test_a_splitter_of_a_user_that_cannot_be_built_is_refused(
    config: dict[str, Any], words: str
) -> None:
    with pytest.raises(ContractError, match=words):
        build_rule(splitters.parse(config))
