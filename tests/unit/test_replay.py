"""Searches are replayed on recorded sweeps, and counted over many replays."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces.sampling import suggest
from service.base.errors import DamagedFileError, InputError, SpecError
from service.replay.comparison import Setting, check_trials, compare, count_losses
from service.replay.history_files import open_history
from service.replay.recorded_sweep import History, Recording, read_folder
from service.replay.recorded_trainings import Courses, prepare
from service.replay.replay_terminal import show_replays
from service.replay.simulation import Replay, replay
from service.replay.statistics import (
    Fate,
    estimate_difference,
    estimate_mean,
    estimate_median,
    estimate_share,
    find_fate,
    quantile,
)
from service.replay.table_file import read_table, save_table
from service.replay.variants import list_variants, read_stopping
from service.report.console import open_console
from service.spec.model import SweepSpec
from service.study.enough import AT_LEAST
from service.study.records import Role, TrialState
from service.study.study import open_tabular_study
from service.sweep.home import Home, SweepFolder
from service.sweep.load import read_sweep
from tests.commands import gapsweep
from tests.recorded import EPOCHS, make_spec, record
from trainables.errors import ContractError


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def folder(home: Path) -> SweepFolder:
    return record(home)[0]


@pytest.fixture(scope="module")
def history(folder: SweepFolder) -> History:
    return read_folder(folder)


def train(dropout: float, values: list[float], seconds: float = 1.0, **best: float) -> Recording:
    return Recording(
        params={"dropout": dropout},
        role=Role.SEARCH,
        metrics={"val/loss": np.array(values)},
        seconds=np.full(len(values), seconds),
        best={"val/loss": values[-1], **best},
        kept=len(values),
    )


def courses_of(*rows: Recording, **changes: Any) -> Courses:
    return prepare(History(name="few", spec=make_spec(**changes), drawn=rows, baseline=None))


def search(courses: Courses, pruner: str = "none", **options: Any) -> Replay:
    (variant,) = list_variants(courses.history, [pruner], [options.pop("sampler", "random")])
    most = len(courses.drawn) + (courses.baseline is not None)
    return replay(
        courses,
        variant.with_seed(options.pop("seed", 0)),
        **{"trials": most, "slots": 2, **options},
    )


# --- the table ------------------------------------------------------------------------------------


def test_a_sweeps_folder_is_read_as_a_table(history: History) -> None:
    assert len(history.drawn) == 30
    assert history.baseline is not None
    assert {r.epochs for r in history.drawn} == {EPOCHS}
    row = history.drawn[3]
    assert row.metrics["val/loss"][-1] == row.best["val/loss"]
    assert row.seconds.tolist() == [2.0] * EPOCHS


def test_a_history_is_the_same_from_a_file(history: History, tmp_path: Path) -> None:
    save_table(history, tmp_path / "table.npz")
    found = read_table(tmp_path / "table.npz")
    assert found.name == history.name
    assert found.spec.space == history.spec.space
    for mine, theirs in zip(found.drawn, history.drawn, strict=True):
        assert mine.params == theirs.params
        assert (mine.role, mine.best, mine.kept) == (theirs.role, theirs.best, theirs.kept)
        assert mine.seconds == pytest.approx(theirs.seconds)
        assert mine.metrics["val/loss"] == pytest.approx(theirs.metrics["val/loss"], rel=1e-6)


def test_a_pruned_sweep_is_refused(tmp_path: Path) -> None:
    pruned, _ = record(tmp_path, search={"pruner": {"name": "median", "warmup_epochs": 1}})
    with pytest.raises(InputError, match=r"was pruned: \d+ of its 31 trials .* search.pruner=none"):
        read_folder(pruned)


def test_a_cross_validated_sweep_is_refused(tmp_path: Path) -> None:
    changes = {"search": {"sampler": "random", "pruner": "none", "folds": 3}}
    folded, _ = record(tmp_path, **changes)
    with pytest.raises(InputError, match=r"on 3 folds \(search.folds\); a replay needs one course"):
        read_folder(folded)


def test_a_short_sweep_is_refused(tmp_path: Path) -> None:
    short, _ = record(tmp_path, trials=12)
    with pytest.raises(InputError, match=r"has 11 complete trials .* at least 20: .* --trials 9"):
        read_folder(short)


def test_a_history_with_a_gap_is_refused(tmp_path: Path) -> None:
    gappy, _ = record(tmp_path)
    lines = gappy.history.read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if json.loads(line)["epoch"] == 3)
    gappy.history.write_text("".join(lines[:at] + lines[at + 1 :]))
    with pytest.raises(InputError, match="lacks epochs of trial 0: its history is not whole"):
        read_folder(gappy)


def test_a_pause_of_the_sweep_is_no_epoch(tmp_path: Path) -> None:
    paused, _ = record(tmp_path)
    lines = [json.loads(line) for line in paused.history.read_text().splitlines()]
    for line in lines:
        if line["trial"] == 5 and line["epoch"] >= 4:
            line["time"] += 3_600.0
    paused.history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    row = read_folder(paused).drawn[4]
    assert row.seconds.tolist() == [2.0] * EPOCHS


@pytest.mark.parametrize("content", [b"", b"not a table", b"PK\x03\x04 half a table"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.npz is not a recorded history"):
        read_table(path)


@pytest.mark.parametrize("arrays", [{"x": np.zeros(3)}, {"header": np.zeros(3, dtype=np.uint8)}])
def test_a_file_of_other_arrays_is_refused(tmp_path: Path, arrays: dict[str, Any]) -> None:
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(InputError, match=r"other\.npz is not a recorded history"):
        read_table(tmp_path / "other.npz")


def test_a_table_of_other_lengths_is_refused(history: History, tmp_path: Path) -> None:
    save_table(history, tmp_path / "table.npz")
    with np.load(tmp_path / "table.npz") as file:
        arrays = {**file, "seconds": file["seconds"][:-1]}
    np.savez(tmp_path / "cut.npz", **arrays)
    with pytest.raises(InputError, match=r"cut\.npz is not a recorded history"):
        read_table(tmp_path / "cut.npz")


def test_a_history_is_named_by_folder_by_file_or_in_the_home(
    folder: SweepFolder, home: Path, tmp_path: Path
) -> None:
    for reference in (str(folder.path), folder.sweep_id, "formula", "latest"):
        assert open_history(reference, Home(home)).name == folder.sweep_id
    for reference, message in {
        str(tmp_path): "is not the folder of a sweep: it has no spec.yaml",
        str(tmp_path / "none.npz"): "no such file or folder",
        "nothing": "nothing",
    }.items():
        with pytest.raises(InputError, match=message):
            open_history(reference, Home(home))


def test_a_folder_of_tables_is_answered_with_one_of_them(home: Path, tmp_path: Path) -> None:
    for name in ("wine", "digits"):
        (tmp_path / f"{name}.npz").touch()
    with pytest.raises(InputError, match=r"for example .*digits\.npz"):
        open_history(str(tmp_path), Home(home))


def test_a_damaged_history_is_named(tmp_path: Path) -> None:
    damaged, _ = record(tmp_path)
    damaged.history.write_text("{}\n")
    with pytest.raises(DamagedFileError, match=r"history.jsonl is damaged in line 1"):
        read_folder(damaged)


# --- the sampler ----------------------------------------------------------------------------------


def test_a_search_draws_every_configuration_once(history: History) -> None:
    for sampler in ("random", "tpe", "qmc", "cmaes"):
        found = search(prepare(history), sampler=sampler)
        assert found.completed == frozenset(range(30)), sampler


def draw(space: dict[str, Any], points: list[dict[str, Any]], *wanted: dict[str, Any]) -> list[int]:
    """The places of the recorded points that proposals become, one after the other."""
    spec = make_spec(space=space)
    study, taken = open_tabular_study(spec, points)
    sampler: Any = study.optuna.sampler
    sampler._inner = Fixed(wanted)
    for _ in wanted:
        trial = study.optuna.ask()
        row = suggest(spec.space, trial)
        assert row == points[taken[trial.number]]
    return [taken[n] for n in range(len(wanted))]


class Fixed:
    """Proposes what it was given."""

    def __init__(self, wanted: tuple[dict[str, Any], ...]) -> None:
        self._wanted = wanted

    def before_trial(self, study: Any, trial: Any) -> None: ...

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        return self._wanted[trial.number][name]


SPACE = {
    "penalty": {"choice": ["none", "l2"]},
    "lambda": {"float": [1e-4, 1.0], "log": True, "when": {"penalty": "l2"}},
    "dropout": {"float": [0.0, 0.8]},
}


def test_a_proposal_becomes_the_nearest_configuration_that_is_left() -> None:
    points = [
        {"penalty": "none", "dropout": 0.1},
        {"penalty": "l2", "lambda": 1e-3, "dropout": 0.1},
        {"penalty": "l2", "lambda": 1e-1, "dropout": 0.1},
        {"penalty": "l2", "lambda": 1e-1, "dropout": 0.7},
    ]
    proposal = {"penalty": "l2", "lambda": 0.02, "dropout": 0.1}
    # log λ: 0.02 is nearer to 0.1 (0.17 of the range) than to 0.001 (0.33); then 0.75 of dropout's
    # range; the choice costs 1, and so does the λ that only one of them has
    assert draw(SPACE, points, proposal, proposal, proposal, proposal) == [2, 1, 3, 0]


def test_of_equally_near_ones_it_is_the_first() -> None:
    points = [{"dropout": 0.5}, {"dropout": 0.3}]
    assert draw({"dropout": {"float": [0.0, 0.8]}}, points, {"dropout": 0.4}) == [0]


# --- the clock ------------------------------------------------------------------------------------


def test_slots_work_at_the_same_time() -> None:
    courses = courses_of(*(train(n / 10, [1.0, 1.0 - n / 10], seconds=3.0) for n in range(4)))
    alone, together = search(courses, slots=1), search(courses, slots=2)
    assert (alone.seconds, together.seconds) == (24.0, 12.0)
    assert alone.epochs == together.epochs == 8
    assert search(courses, slots=9).seconds == 6.0


def test_a_fast_training_does_not_wait_for_a_slow_one() -> None:
    """Of the two that start, one takes 100 s; all others fit into its time."""
    rows = [train(0.0, [5.0], seconds=100.0), *(train(n / 10, [1.0 - n / 10]) for n in range(1, 8))]
    found = search(courses_of(*rows), slots=2, trials=8)
    assert 100.0 <= found.seconds <= 107.0
    assert found.improvements[-1].standing == (0.0, pytest.approx(0.3))
    assert found.epochs == 8


def test_epochs_of_slots_take_turns_by_their_ends() -> None:
    """The pruner sees the epochs of both in the order in which they end, not by number."""
    slow, fast = train(0.0, [1.0, 0.5], seconds=5.0), train(0.8, [9.0, 8.0, 7.0], seconds=1.0)
    found = search(courses_of(slow, fast))
    first = found.improvements[0]
    assert (first.epochs, first.seconds, first.standing[1]) == (3, 3.0, 7.0)
    assert (found.improvements[1].epochs, found.improvements[1].seconds) == (5, 10.0)


def test_the_baseline_takes_a_trial_and_is_never_pruned(history: History) -> None:
    courses = prepare(history)
    found = search(courses, "{name: threshold, upper: 0.0}", trials=7)
    assert found.completed == frozenset()
    assert len(found.pruned) == 6
    assert found.epochs == EPOCHS + 6
    assert found.improvements == ()


# --- pruners --------------------------------------------------------------------------------------


def test_a_pruner_ends_what_it_ended_in_a_real_sweep(history: History) -> None:
    limit = float(np.median([r.metrics["val/loss"][:-1].max() for r in history.drawn]))
    found = search(prepare(history), f"{{name: threshold, upper: {limit}}}")
    above = {n for n, r in enumerate(history.drawn) if (r.metrics["val/loss"][:-1] > limit).any()}
    assert found.pruned == above
    assert found.completed == set(range(30)) - above
    assert 0 < len(above) < 30
    firsts = [
        int(np.argmax(r.metrics["val/loss"] > limit)) + 1 if n in above else EPOCHS
        for n, r in enumerate(history.drawn)
    ]
    assert found.epochs == sum(firsts) + EPOCHS


@pytest.mark.parametrize(
    "pruner",
    [
        "median",
        "hyperband",
        "successive_halving",
        "wilcoxon",
        "top_k",
        "forecast",
        "by_strength",
        "patient",
        "pause_and_promote",
    ],
)
def test_every_pruner_of_a_spec_runs(history: History, pruner: str) -> None:
    found = search(prepare(history), pruner)
    assert len(found.completed) + len(found.pruned) == 30
    assert found.epochs <= 31 * EPOCHS


@pytest.mark.parametrize(
    "pruner",
    [
        "{name: median, warmup_epochs: 1}",
        "successive_halving",
        "hyperband",
        "{name: top_k, k: 4}",
        "forecast",
    ],
)
def test_a_replay_is_the_sweep_that_it_stands_for(
    history: History, tmp_path: Path, pruner: str
) -> None:
    """Random search proposes the same points with and without pruning: those of the history."""
    (variant,) = list_variants(history, [pruner], ["random"])
    real, spec = record(tmp_path, search=variant.with_seed(0).search)
    assert spec.search.seed == history.spec.search.seed
    _, _, sweep = read_sweep(real)
    found = search(prepare(history), pruner, slots=1)
    ends = {t.number - 1: t for t in sweep.trials if t.role is Role.SEARCH}
    assert found.pruned == {n for n, t in ends.items() if t.state is TrialState.PRUNED}
    assert found.completed == {n for n, t in ends.items() if t.state is TrialState.COMPLETE}
    assert 0 < len(found.pruned) < 30
    assert found.epochs == sum(len(t.epochs) for t in sweep.trials)
    assert found.seconds == 2.0 * found.epochs


def test_a_paused_trial_goes_on_from_its_last_epoch_or_ends_as_pruned(history: History) -> None:
    found = search(prepare(history), "{name: pause_and_promote, min_epochs: 2, k: 3}")
    assert len(found.completed) + len(found.pruned) == 30
    assert len(found.completed) >= 3
    # each took its first rung's epochs, and those that went on the others, once
    assert found.epochs == EPOCHS * (1 + len(found.completed)) + 2 * len(found.pruned)


def test_equal_seeds_give_equal_searches(history: History) -> None:
    courses = prepare(history)
    assert search(courses, "median", trials=12) == search(courses, "median", trials=12)
    assert search(courses, trials=12) != search(courses, trials=12, seed=1)


def test_a_search_ends_when_its_regret_is_small_enough(history: History) -> None:
    courses = prepare(history)
    until = courses.measure_regret(sorted(c.standing for c in courses.drawn)[10])
    whole, part = search(courses), search(courses, until=until)
    assert courses.measure_regret(part.improvements[-1].standing) <= until
    assert part.epochs < whole.epochs
    assert part.improvements == whole.improvements[: len(part.improvements)]


def test_a_search_with_a_stopping_rule_ends_when_it_has_found_enough() -> None:
    rows = [train(n / 100, [0.5 + (n % 7) / 1e5]) for n in range(1, 61)]
    asked = {"search": {"stop": "auto"}, "confirm": {"min_effect": 0.1}}
    found = search(courses_of(*rows, **asked))
    assert AT_LEAST <= len(found.completed) < len(rows) / 2
    assert len(search(courses_of(*rows)).completed) == len(rows)


def test_trials_outside_of_constraints_are_no_find() -> None:
    rows = [train(0.1, [0.1], **{"gap/loss": 0.9}), train(0.5, [0.4], **{"gap/loss": 0.0})]
    rows = [replace(r, metrics={**r.metrics, "gap/loss": np.zeros(1)}) for r in rows]
    courses = courses_of(*rows, constraints=[{"metric": "gap/loss", "max": 0.5}])
    assert courses.best == (0.0, 0.4)
    assert [courses.measure_regret(c.standing) for c in courses.drawn] == [math.inf, 0.0]


def test_high_values_can_be_good() -> None:
    rows = [replace(train(d, [d]), metrics={"val/accuracy": np.array([d])}) for d in (0.2, 0.7)]
    rows = [replace(r, best={"val/accuracy": float(r.metrics["val/accuracy"][0])}) for r in rows]
    courses = courses_of(*rows, objective={"metric": "val/accuracy", "mode": "max"})
    found = search(courses)
    assert courses.measure_regret(found.improvements[-1].standing) == 0.0
    assert courses.measure_regret(courses.drawn[0].standing) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("choice", "where"),
    [
        ({"pruner": "broken:Pruner"}, "search.pruner: .*boom"),
        ({"pruner": "{name: by_strength, pruner: 'broken:Pruner'}"}, "search.pruner: .*boom"),
        ({"sampler": "broken:Sampler"}, "search.sampler: .*boom"),
    ],
)
def test_an_own_class_that_fails_is_named(
    history: History,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    choice: dict[str, str],
    where: str,
) -> None:
    (tmp_path / "broken.py").write_text(
        "import optuna\n"
        "class Pruner(optuna.pruners.BasePruner):\n"
        "    def prune(self, study, trial): raise RuntimeError('boom')\n"
        "class Sampler(optuna.samplers.RandomSampler):\n"
        "    def sample_independent(self, *_): raise RuntimeError('boom')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ContractError) as caught:
        search(prepare(history), **choice)
    assert re.search(where, f"{caught.value.where}: {caught.value}")


# --- early stopping -------------------------------------------------------------------------------


def test_a_rule_ends_recorded_trainings_and_keeps_their_best_epoch() -> None:
    row = train(0.1, [0.9, 0.3, 0.5, 0.6, 0.1])
    history = History(name="few", spec=make_spec(), drawn=(row,), baseline=None)
    (course,) = prepare(history, read_stopping("{name: patience, patience: 2}")).drawn
    assert [r.epoch for r in course.reports] == [1, 2, 3, 4]
    assert course.reports[-1].best == {"val/loss": 0.3}
    assert course.standing == (0.0, 0.3)


def test_a_rule_needs_its_metric(history: History) -> None:
    rule = read_stopping("{name: patience, metric: val/accuracy}")
    with pytest.raises(InputError, match=r"has no val/accuracy.*it has val/loss"):
        prepare(history, rule)


# --- what people write ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        ("medain", "search.pruner: 'medain' is not one of.*did you mean 'median'"),
        ("{name: hyperband, min_epoch: 2}", "search.pruner.min_epoch: unknown key"),
        ("{name: median, startup_trials: -1}", "search.pruner.startup_trials"),
        ("{name: median", "--pruner '{name: median'"),
        ("", "--pruner '' names nothing"),
    ],
)
def test_a_pruner_that_no_spec_takes_is_refused(
    history: History, pruner: str, message: str
) -> None:
    with pytest.raises((SpecError, InputError), match=message):
        list(list_variants(history, [pruner], ["random"]))


def test_a_grid_is_refused(history: History) -> None:
    with pytest.raises(InputError, match="a history has other points"):
        list(list_variants(history, ["none"], ["grid"]))


def test_early_stopping_cannot_be_taken_back() -> None:
    for text in ("off", "null", "false"):
        with pytest.raises(InputError, match="leave it out"):
            read_stopping(text)


# --- statistics -----------------------------------------------------------------------------------


def test_a_difference_of_shares_is_paired() -> None:
    pairs = [(True, False)] * 30 + [(False, True)] * 10 + [(True, True)] * 60
    found = estimate_difference(pairs)
    assert found is not None
    assert found.value == pytest.approx(0.2)
    # Bonett and Price: p = 31/102, q = 11/102
    p, q = 31 / 102, 11 / 102
    half = 1.959964 * math.sqrt((p + q - (p - q) ** 2) / 102)
    assert found.interval == pytest.approx((p - q - half, p - q + half), abs=1e-6)
    assert estimate_difference([(None, True)]) is None


def test_a_medians_interval_covers_it_as_often_as_said() -> None:
    random = np.random.default_rng(0)
    for count in (12, 101):
        found = [estimate_median(random.exponential(size=count)).interval for _ in range(1_500)]
        covered = np.mean([low <= math.log(2) <= high for low, high in found])
        assert covered >= 0.94


def test_shares_and_means_have_intervals() -> None:
    found = estimate_share([True, False, None, False, False])
    assert found is not None
    assert found.value == 0.25
    assert found.interval[0] < 0.25 < found.interval[1]
    assert estimate_share([None]) is None
    mean = estimate_mean([1.0, 3.0])
    assert mean.value == 2.0
    assert mean.interval == pytest.approx((2 - 1.959964, 2 + 1.959964), abs=1e-6)


def test_a_quantile_may_be_infinite() -> None:
    assert quantile([1.0, math.inf, math.inf], 0.5) == math.inf
    assert quantile([1.0, 2.0, math.inf], 0.5) == 2.0
    assert quantile([3.0, 1.0, 2.0, 4.0], 0.9) == 4.0


def test_the_best_of_each_strength_is_looked_for_among_what_was_tried() -> None:
    courses = courses_of(*(train(d, [d]) for d in (0.1, 0.2, 0.5, 0.6)))
    assert courses.strong == {2, 3}
    found = Replay(
        epochs=3,
        seconds=3.0,
        improvements=(),
        completed=frozenset({1}),
        pruned=frozenset({2, 3}),
    )
    assert find_fate(courses, found) == Fate(best=False, is_strong=False, strong=True, weak=False)
    fates = [find_fate(courses, found), Fate(best=True, is_strong=True, strong=True, weak=None)]
    losses = count_losses(fates)
    shares = (losses.best, losses.when_strong, losses.when_weak, losses.strong, losses.weak)
    assert [None if s is None else s.value for s in shares] == [0.5, 1.0, 0.0, 1.0, 0.0]
    assert losses.difference is not None
    assert losses.difference.value == 1.0


def test_without_pruning_nothing_is_lost_and_all_trials_find_the_best(history: History) -> None:
    courses = prepare(history)
    variants = list(list_variants(history, ["none", "{name: top_k, k: 1}"], ["random"]))
    setting = Setting(trials=31, slots=2, repeats=3, seed=0)
    (compared,) = compare([(courses, variants)], setting).histories
    none, one = compared.outcomes
    assert none.epochs.value == 31 * EPOCHS
    assert (none.regret.value, none.worst_tenth) == (0.0, 0.0)
    assert none.losses.best is not None
    assert none.losses.best.value == 0.0
    assert none.by_epochs.median[-1] == 0.0
    assert list(none.by_epochs.median) == sorted(none.by_epochs.median, reverse=True)
    assert one.epochs.value < none.epochs.value
    assert compared.best == pytest.approx(min(r.best["val/loss"] for r in history.drawn))


def test_a_search_has_at_most_the_trials_of_the_history(history: History) -> None:
    courses = prepare(history)
    check_trials(31, [courses])
    with pytest.raises(
        InputError, match=r"its baseline and 30 configurations.*set --trials to 31 or fewer"
    ):
        check_trials(32, [courses])


# --- the command ----------------------------------------------------------------------------------


def test_the_command_prints_tables_that_fit(folder: SweepFolder, tmp_path: Path) -> None:
    table = tmp_path / "formula.npz"
    saved = gapsweep("replay", str(folder.path), "--save-table", str(table))
    assert (saved.returncode, saved.stdout) == (0, "")
    plot = tmp_path / "plot.png"
    words = ["--pruner", "median", "--pruner", "{name: top_k, k: 2}", "--sampler", "random"]
    done = gapsweep(
        *("replay", str(table), str(folder.path), *words, "--repeats", "3", "--png", str(plot)),
        env={"COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    for text in ("30 configurations", "3 searches of 15 trials on 2 slots", "top_k, k: 2"):
        assert text in " ".join(done.stdout.split())
    assert "All histories" in done.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_command_prints_json(folder: SweepFolder) -> None:
    done = gapsweep("replay", str(folder.path), "--sampler", "random", "--repeats", "2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [o["pruner"] for o in found["histories"][0]["outcomes"]] == ["none", DEFAULT_PRUNER]
    assert found["setting"] == {"trials": 15, "slots": 2, "repeats": 2, "seed": 0}


DEFAULT_PRUNER = SweepSpec.model_fields["search"].default.pruner.name


def test_long_work_shows_a_bar_in_a_terminal_only() -> None:
    for is_terminal in (True, False):
        shown = StringIO()
        with show_replays(open_console(shown, force_terminal=is_terminal), 7) as ended:
            ended()
            ended()
        assert ("2/7" in shown.getvalue()) is is_terminal
        assert bool(shown.getvalue()) is is_terminal


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trials", "40"], "set --trials to 31 or fewer, got 40"),
        (["--pruner", "medium"], "search.pruner"),
        (["--sampler", "mine:Sampler"], "mine"),
        (["--save-table", "a.npz", "other"], "--save-table saves one history, got 2"),
        (["--save-table", "a.csv"], "name a file that ends in .npz, got a.csv"),
    ],
)
def test_the_command_refuses(folder: SweepFolder, words: list[str], message: str) -> None:
    done = gapsweep("replay", str(folder.path), *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_space_without_numbers_is_replayed() -> None:
    space = {"augmentation": {"choice": ["none", "noise"]}}
    points = [{"augmentation": "noise"}, {"augmentation": "noise"}]
    assert draw(space, points, *[{"augmentation": "none"}] * 2) == [0, 1]
