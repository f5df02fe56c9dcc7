"""What replicates found of their weights, gathered by arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from service.report.column_text import describe_stable
from service.run.inspect_finalists import inspect_finalists
from service.spec.model import SweepSpec
from service.study.records import Role, Trial, TrialState
from service.sweep.answer import Answer, Arm, Claim
from service.sweep.home import Home, SweepFolder
from service.sweep.inspected_files import BEST, CONTROL, read_inspected, write_inspected
from service.sweep.inspection import ColumnShare, InputColumns
from service.sweep.sweep_record import Sweep
from tests.kinds_of_inputs import build, read_spec
from tests.reports import sweep, trial
from tests.specs import parse
from tests.trainings import splits
from trainables.config.input_columns import KeptColumns
from trainables.config.inspection import Inspected
from trainables.config.robustness import Curve, Level, Robustness

SPEC: SweepSpec = parse(training={"max_epochs": 10})


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return Home(tmp_path).create().new_sweep("mine")


def found(loss: float, *kept: bool, levels: Sequence[float] = (0.5, 1.0)) -> Inspected:
    points = tuple(Level(x, {"loss": loss + x}) for x in (0.0, *levels))
    robustness = Robustness(100, {"loss": loss}, (Curve("noise", "sd", points),))
    return Inspected(robustness, KeptColumns(("age", "town"), kept) if kept else None)


def replicate(number: int, of: int, *without: str, **changes: object) -> Trial:
    made = replace(
        trial(number, 0.4, 0.1),
        role=Role.REMOVAL if without else Role.REPLICATE,
        confirms=of,
        replicate=1,
        without=without,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # of these fields


def confirmed(*replicates: Trial, without: tuple[str, ...] = ()) -> Sweep:
    arms = [
        Arm(name=name, trial=number, without=parts, replicates=2, failed=0, metrics={})
        for name, number, parts in (("baseline", 0, ()), ("control", 0, ()), ("pick", 1, without))
    ]
    answer = Answer(
        claim=Claim.HELPS, metric="test/loss", mode="min", pick=1, without=without, arms=arms
    )
    whole = sweep(trial(0, 0.5, 0.4), trial(1, 0.4, 0.1), *replicates)
    return replace(whole, answer=answer)


def test_arms_are_means_of_their_own_replicates(folder: SweepFolder) -> None:
    whole = confirmed(
        replicate(2, 0),
        replicate(3, 0),
        replicate(4, 1),
        replicate(5, 1),
        replicate(6, 1, "dropout"),
        replicate(7, 1, redraws_test=True),
        replicate(8, 1, state=TrialState.FAILED),
        replicate(9, 1),  # of an older version: without a file
    )
    write_inspected(folder, 2, {BEST: found(0.9), CONTROL: found(0.7)})
    write_inspected(folder, 3, {BEST: found(1.1), CONTROL: found(0.5)})
    write_inspected(folder, 4, {BEST: found(0.2, True, False)})
    write_inspected(folder, 5, {BEST: found(0.4, True, True, levels=(0.5,))})
    for number in (6, 7, 8):
        write_inspected(folder, number, {BEST: found(9.0, False, False)})
    seen = inspect_finalists(SPEC, splits(), folder, whole, redraws=True)
    arms = {arm.arm: arm for arm in seen.robustness.arms}
    assert {name: arm.trainings for name, arm in arms.items()} == {
        "baseline": 2,
        "control": 2,
        "pick": 2,
    }
    clean = {name: arm.clean["loss"].mean for name, arm in arms.items()}
    assert clean == pytest.approx({"baseline": 1.0, "control": 0.6, "pick": 0.3})
    assert arms["pick"].clean["loss"].half == pytest.approx(12.706 * 0.1, rel=1e-3)
    levels = {p.level: p.scores["loss"] for p in arms["pick"].curves[0].levels}
    assert [levels[x].mean for x in (0.0, 0.5, 1.0)] == pytest.approx([0.3, 0.8, 1.2])
    assert levels[1.0].half is None
    assert seen.robustness.rows == 100
    assert seen.columns == InputColumns(
        trainings=2,
        columns=(ColumnShare(name="age", share=1.0), ColumnShare(name="town", share=0.5)),
    )


def test_trainings_of_the_pick_that_early_stopping_ended_are_counted(folder: SweepFolder) -> None:
    whole = confirmed(
        replicate(2, 0, stopped_epoch=4),
        replicate(3, 1, stopped_epoch=4),
        replicate(4, 1, stopped_epoch=10),
    )
    for number in (2, 3, 4):
        write_inspected(folder, number, {BEST: found(0.2, True, False)})
    ended = {}
    for stopping in ("patience", "off"):
        spec = parse(training={"max_epochs": 10}, early_stopping=stopping)
        columns = inspect_finalists(spec, splits(), folder, whole, redraws=True).columns
        assert columns is not None
        ended[stopping] = columns.ended_early
    assert ended == {"patience": 1, "off": 0}


def test_a_reduced_pick_is_that_of_its_removals(folder: SweepFolder) -> None:
    whole = confirmed(replicate(2, 1), replicate(3, 1, "dropout"), without=("dropout",))
    write_inspected(folder, 2, {BEST: found(9.0)})
    write_inspected(folder, 3, {BEST: found(0.2)})
    seen = inspect_finalists(SPEC, splits(), folder, whole, redraws=True)
    (pick,) = (arm for arm in seen.robustness.arms if arm.arm == "pick")
    assert (pick.trainings, pick.clean["loss"].mean) == (1, 0.2)
    assert seen.columns is None


def test_a_file_that_cannot_be_used_counts_as_missing(folder: SweepFolder) -> None:
    write_inspected(folder, 2, {BEST: found(0.2, True, False)})
    assert read_inspected(folder, 2) == {BEST: found(0.2, True, False)}
    for text in ("{", "[]", '{"best": {"robustness": 3}}'):
        folder.inspected(2).write_text(text, encoding="utf-8")
        assert read_inspected(folder, 2) == {}
    assert read_inspected(folder, 3) == {}


def test_scores_that_are_not_finite_are_kept(folder: SweepFolder) -> None:
    write_inspected(folder, 2, {BEST: found(float("inf"))})
    assert read_inspected(folder, 2) == {BEST: found(float("inf"))}


def test_of_a_very_wide_table_the_columns_are_kept_that_most_trainings_keep(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.run.inspect_finalists.MOST_COLUMNS", 1)
    write_inspected(folder, 2, {BEST: found(0.2, False, True)})
    seen = inspect_finalists(SPEC, splits(), folder, confirmed(replicate(2, 1)), redraws=True)
    assert seen.columns == InputColumns(
        trainings=1, columns=(ColumnShare(name="town", share=1.0),), left_out=1
    )
    assert seen.columns.count == 2


def test_trainings_on_one_division_say_nothing_of_stable_columns(folder: SweepFolder) -> None:
    for number in (2, 3):
        write_inspected(folder, number, {BEST: found(0.2, True, False)})
    sweeps = confirmed(replicate(2, 1), replicate(3, 1))
    stable = {}
    for redraws in (True, False):
        columns = inspect_finalists(SPEC, splits(), folder, sweeps, redraws=redraws).columns
        assert columns is not None
        stable[redraws] = columns.stable, describe_stable(columns)
    assert stable[True] == (
        ("age",),
        "Stable columns, kept by at least 90 % of the pick's 2 trainings: 1 of 2.",
    )
    assert stable[False][0] == ()
    assert "all trainings had the same rows" in stable[False][1]


def test_unknown_columns_have_the_reason_of_the_trainings(folder: SweepFolder) -> None:
    unknown = Inspected(Robustness(), KeptColumns(("age",), reason="odd"))
    write_inspected(folder, 2, {BEST: unknown})
    seen = inspect_finalists(SPEC, splits(), folder, confirmed(replicate(2, 1)), redraws=True)
    assert seen.columns == InputColumns(reason="odd")


def save(folder: SweepFolder, number: int, state: Mapping[str, Tensor]) -> None:
    path = folder.best_weights(number)
    path.parent.mkdir(parents=True)
    torch.save(dict(state), path)


def test_without_replicates_the_trainings_of_the_search_are_measured(folder: SweepFolder) -> None:
    run, data = build("frame")
    save(folder, 0, run.best_state)
    with torch.no_grad():
        run.model.layer.weight[:, [1, 2]] = 0  # type: ignore[union-attr,index,operator]  # a linear layer's
    save(folder, 1, run.model.state_dict())
    seen = inspect_finalists(
        read_spec("frame"),
        data,
        folder,
        sweep(trial(0, 0.5, 0.4), trial(1, 0.4, 0.1)),
        redraws=True,
    )
    assert [(arm.arm, arm.trainings) for arm in seen.robustness.arms] == [
        ("baseline", 1),
        ("control", 1),
        ("pick", 1),
    ]
    assert seen.columns is not None
    shares = {column.name: column.share for column in seen.columns.columns}
    assert shares == {"a": 1.0, "d": 1.0, "word": 1.0, "b": 0.0, "c": 0.0}
    alone = inspect_finalists(
        read_spec("frame"), data, folder, sweep(trial(0, 0.5, 0.4)), redraws=True
    )
    assert [arm.arm for arm in alone.robustness.arms] == ["baseline", "control"]
    assert alone.columns is None
