"""What a report says of zeros, dead units, kept columns and corrupted inputs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import pytest

from service.report import plots
from service.report.column_text import describe_stable, list_column_groups, write_columns
from service.report.inspection_plots import measure_robustness_plot
from service.report.page import render
from service.report.png import save_png
from service.report.report_data import ReportData, build_report
from service.study.importance import Importances
from service.sweep.answer import Mean
from service.sweep.inspection import (
    ArmRobustness,
    ColumnShare,
    CorruptionCurve,
    InputColumns,
    Inspection,
    LevelScores,
    RobustnessSummary,
)
from tests.plotless import no_plots
from tests.reports import shown, sweep, trial
from trainables.config.anatomy import Anatomy, LayerAnatomy

NONE = Importances({}, {})
LAYER = LayerAnatomy("first.weight", 90, 40, 1.5, 16, 3)


def scores(loss: float, accuracy: float = 0.9, ece: float = 0.03) -> dict[str, Mean]:
    values = {"loss": loss, "accuracy": accuracy, "ece": ece}
    return {name: Mean(mean=value, half=0.02) for name, value in values.items()}


def curve(name: str, unit: str, levels: tuple[float, ...], loss: float) -> CorruptionCurve:
    points = (LevelScores(level=x, scores=scores(loss + x)) for x in (0.0, *levels))
    return CorruptionCurve(corruption=name, unit=unit, levels=tuple(points))


def arm(name: str, loss: float) -> ArmRobustness:
    curves = (
        curve("noise", "standard deviations", (0.1, 0.25, 0.5, 1.0), loss),
        curve("blur", "pixels (sigma)", (0.5, 1.0), loss),
        curve("missing values", "share of values", (0.05, 0.1, 0.4), loss),
    )
    return ArmRobustness(arm=name, trainings=12, clean=scores(loss), curves=curves)


ROBUSTNESS = RobustnessSummary(
    rows=1000, arms=(arm("baseline", 0.3), arm("control", 0.2), arm("pick", 0.1))
)
COLUMNS = InputColumns(
    trainings=12,
    columns=(
        ColumnShare(name="age", share=1.0),
        ColumnShare(name="[bold]income[/] €", share=1.0),
        ColumnShare(name="<b>town</b>", share=9 / 12),
        *(ColumnShare(name=f"a junk column of the table, {i}", share=0.0) for i in range(60)),
    ),
)


def report(
    robustness: RobustnessSummary = ROBUSTNESS, columns: InputColumns | None = COLUMNS
) -> ReportData:
    anatomy = Anatomy(100, 60, (LAYER,), 55)
    trials = (
        replace(trial(0, 0.5, 0.4), anatomy=Anatomy(100, 100, (LAYER,), None)),
        replace(trial(1, 0.4, 0.1), anatomy=anatomy),
    )
    whole = replace(sweep(*trials), inspection=Inspection(robustness=robustness, columns=columns))
    return build_report(whole, NONE)


@pytest.fixture(scope="module")
def page() -> str:
    return render(report())


@pytest.fixture
def without_plots_here() -> Iterator[None]:
    with no_plots():
        yield


def test_zeros_effective_parameters_and_dead_units_of_the_three_networks_are_shown(
    page: str,
) -> None:
    for text in (shown(report()), page):
        assert "exact zeros" in text
        for words in ("40 (40 %)", "55 (55 %)", "3 of 16", "0 (0.0 %)"):
            assert words in text


def test_a_deep_network_with_long_names_fits_into_the_terminal() -> None:
    layers = tuple(
        replace(LAYER, name="encoder." * 9 + f"block.{i}.weight", weights=10**8) for i in range(60)
    )
    whole = sweep(
        trial(0, 0.5, 0.4), replace(trial(1, 0.4, 0.1), anatomy=Anatomy(100, 60, layers, 55))
    )
    lines = shown(build_report(whole, NONE)).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("3 of 16" in line for line in lines) == 24
    assert any("encoder.block.23.weight" in line and "100,000,000" in line for line in lines)
    assert any("36 more layers are in the page" in line for line in lines)


def test_the_tables_fit_into_the_terminal() -> None:
    text = shown(report())
    assert max(len(line) for line in text.splitlines()) <= 80
    lines = [line.split() for line in text.splitlines()]
    clean = ["0.300", "0.900", "0.030", "0.200", "0.900", "0.030", "0.100", "0.900", "0.030"]
    assert ["as", "they", "are", *clean] in lines
    for words in ("noise 0.25 sd", "noise 1 sd", "blur 1 px", "missing values 40 %"):
        assert sum(words in line for line in text.splitlines()) == 1
    assert "Corrupted test inputs: loss, accuracy, calibration error" in text
    assert "1,000 test samples" in text


def test_columns_are_grouped_by_how_many_trainings_keep_them() -> None:
    groups = list(list_column_groups(COLUMNS))
    assert [kept for kept, _ in groups] == ["12 of 12", "9 of 12", "0 of 12"]
    assert groups[0][1] == "age, [bold]income[/] €"
    assert groups[2][1].endswith(" and 36 more")
    text = " ".join(shown(report()).split())
    assert "12 of 12 age, [bold]income[/] €" in text
    assert "kept by at least 90 % of the pick's 12 trainings: 2 of 63" in text


def test_a_column_is_stable_if_nearly_all_trainings_keep_it() -> None:
    assert COLUMNS.stable == ("age", "[bold]income[/] €")
    once = InputColumns(trainings=1, columns=COLUMNS.columns)
    assert once.stable == ()


def test_trainings_that_were_stopped_early_may_keep_columns_by_chance() -> None:
    assert "Early stopping" not in describe_stable(COLUMNS)
    stopped = COLUMNS.model_copy(update={"ended_early": 3})
    assert "Early stopping ended 3 of the trainings" in describe_stable(stopped)
    assert "`early_stopping: off`" in " ".join(shown(report(columns=stopped)).split())


def test_the_page_shows_both_plots_and_texts_as_texts(page: str) -> None:
    assert "Corrupted inputs" in page
    assert "Meinshausen &amp; Bühlmann 2010" in page
    assert "<b>town</b>" not in page
    assert 'id="robustness-' in page
    assert 'id="columns-' in page
    assert "Stable columns, kept by at least 90 %" in page
    assert "23 more columns are in input_columns.csv" in page


def test_the_file_has_every_column(tmp_path: Path) -> None:
    path = tmp_path / "input_columns.csv"
    path.write_text(write_columns(COLUMNS), encoding="utf-8")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["column", "share", "trainings", "stable"]
    assert rows[2] == ["[bold]income[/] €", "1.0000", "12", "yes"]
    assert rows[3] == ["<b>town</b>", "0.7500", "12", "no"]
    assert len(rows) == 1 + len(COLUMNS.columns)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            InputColumns(trainings=5, columns=(ColumnShare(name="age", share=1.0),)),
            "The pick keeps every column (1) in each of 5 trainings.",
        ),
        (InputColumns(reason="its first layer is odd"), "Not known: its first layer is odd."),
    ],
)
def test_where_there_is_no_choice_of_columns_one_sentence_says_so(
    without_plots_here: None, columns: InputColumns, words: str
) -> None:
    data = report(RobustnessSummary(), columns)
    assert words in " ".join(shown(data).split())
    assert words in render(data)


def test_what_is_not_measured_has_a_reason_or_no_section(without_plots_here: None) -> None:
    data = report(RobustnessSummary(reason="the inputs are <ids>"), None)
    assert "Not measured: the inputs are <ids>." in shown(data)
    assert "Not measured: the inputs are &lt;ids&gt;." in render(data)
    of_ids = ArmRobustness(arm="pick", trainings=5, clean=scores(0.25))
    data = report(RobustnessSummary(rows=9, arms=(of_ids,), reason="there are only ids"), None)
    assert "as they are  0.250 0.900 0.030" in shown(data)
    assert "9 test samples, means over n trainings; there are only ids" in " ".join(
        shown(data).split()
    )
    assert "<td>0.250 0.900 0.030</td>" in render(data)
    assert "Not measured: there are only ids." in render(data)
    nothing = report(RobustnessSummary(), None)
    for text in (shown(nothing), render(nothing)):
        assert "Corrupted" not in text
        assert "Input columns" not in text
    old = build_report(sweep(trial(0, 0.5, 0.4), trial(1, 0.4, 0.1)), NONE)
    for text in (shown(old), render(old)):
        assert "exact zeros" not in text
        assert "Corrupted" not in text


@pytest.mark.parametrize("value", [nan, inf, 1e30])
def test_scores_that_are_not_finite_or_huge_are_shown(tmp_path: Path, value: float) -> None:
    broken, *others = (one.model_copy(update={"curves": one.curves[:1]}) for one in ROBUSTNESS.arms)
    broken = broken.model_copy(
        update={"clean": scores(value), "curves": (curve("noise", "sd", (1.0,), value),)}
    )
    data = report(RobustnessSummary(rows=9, arms=(broken, *others)))
    assert max(len(line) for line in shown(data).splitlines()) <= 80
    save_png(data, tmp_path / "all.png")
    assert (tmp_path / "all.png").stat().st_size > 10_000


def test_the_plot_of_the_page_is_saved_as_it_is_there_and_drawn_once(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    made: list[Figure] = []
    monkeypatch.setattr(plots, "Figure", lambda **more: made.append(Figure(**more)) or made[-1])
    path = tmp_path / "robustness.png"
    assert render(report(), path) == page
    assert len(made) == page.count("<svg") > 1
    width, height = (130 * inches for inches in measure_robustness_plot(ROBUSTNESS))
    assert imread(path).shape[:2] == (int(height), int(width))


def test_an_inspection_is_read_as_it_was_written() -> None:
    found = Inspection(robustness=ROBUSTNESS, columns=COLUMNS)
    assert Inspection.model_validate(found.model_dump(mode="json")) == found
    assert Inspection.model_validate_json(found.model_dump_json()) == found
