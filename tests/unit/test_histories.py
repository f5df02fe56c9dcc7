"""The library of recorded sweeps, and the program that compares pruners on it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from service.replay.statistics import Fate
from service.replay.table_file import read_table
from service.spec.file import load_spec
from tests.benchmarks import pruner_evidence
from tests.benchmarks.histories import list_specs, list_tables
from tests.benchmarks.pruner_evidence import (
    PRUNERS,
    REFERENCE,
    Search,
    gather,
    open_bench,
    write_overall,
    write_rows,
)

_LARGEST = 4_000_000


def test_every_sweep_of_the_library_is_recorded_by_its_spec() -> None:
    specs, tables = list_specs(), list_tables()
    assert [t.stem for t in tables] == [s.stem for s in specs]
    assert len(tables) == 6
    assert sum(t.stat().st_size for t in tables) < _LARGEST
    for table, path in zip(tables, specs, strict=True):
        history, spec = read_table(table), load_spec(path)
        assert history.spec.training == spec.training
        assert history.spec.model == spec.model
        assert history.spec.space.parameters.keys() == spec.space.parameters.keys()
        assert len(history.drawn) >= spec.budget.trials - 1
        assert history.baseline is not None
        whole = {r.epochs for r in history.drawn}
        assert whole == {spec.training.max_epochs}, "it is recorded without early stopping"


@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_pruner_of_the_table_can_be_searched_with(pruner: str) -> None:
    assert open_bench(_SMALL, "random").find_spec(pruner).search.pruner.name in PRUNERS[pruner]


_SMALL = next(t for t in list_tables() if t.stem == "wine")


def test_a_search_that_prunes_nothing_arrives_where_the_reference_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pruner_evidence, "_TARGET_SEEDS", 6)
    bench = open_bench(_SMALL, "random")
    found = bench.search("none", 0)
    assert found.fate is not None
    assert not found.fate.best
    assert math.isfinite(found.arrival)
    assert 0.0 <= found.regret < 1.0


def made(pruner: str, seed: int, epochs: int, arrival: float, *, pruned: bool = False) -> Search:
    fate = Fate(best=pruned, is_strong=True, strong=pruned, weak=False)
    return Search("wine", pruner, seed, epochs, 0.1 * epochs, fate, arrival)


def test_the_tables_compare_with_the_reference() -> None:
    searches = [
        *(made(REFERENCE, seed, 100, 80.0) for seed in range(4)),
        *(made("none", seed, 200, 160.0, pruned=True) for seed in range(4)),
        *(made("hyperband", seed, 50, math.inf) for seed in range(4)),
    ]
    overall = [line.split(" | ") for line in write_overall(gather(reversed(searches)))]
    cells = [(row[0], row[1], row[2]) for row in overall]
    assert cells == [
        ("| none", "2.00", "2.00 on 1 of 1"),
        ("| median", "1.00", "1.00 on 1 of 1"),
        ("| hyperband", "0.50", "0 of 1"),
    ]
    rows = {row[1]: row for row in (line.split(" | ") for line in write_rows(gather(searches)))}
    assert rows["none"][3] == "2.00 (2.00 to 2.00)"
    assert rows["none"][6] == "100%"
    assert rows["none"][-1].startswith("+100.0 (")


def test_the_library_has_a_page() -> None:
    text = (Path(_SMALL).parents[1] / "README.md").read_text(encoding="utf-8")
    assert all(label in text for label in PRUNERS)
