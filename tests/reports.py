"""Sweeps as they are reported, made by hand, and their report as a terminal shows it."""

from __future__ import annotations

import io

from service.report.console import open_console
from service.report.report_data import ReportData
from service.report.terminal import print_report
from service.study.ranking import Ranking
from service.study.records import Epoch, Role, Trial, TrialState
from service.sweep.sweep_record import Sweep, SweepState


def trial(
    number: int, loss: float, gap: float, state: TrialState = TrialState.COMPLETE, **params: object
) -> Trial:
    """A trial of the best epoch's loss and gap, with the epochs that led there."""
    complete = state is TrialState.COMPLETE
    epochs = 10 if complete else 3
    series = [
        Epoch(
            trial=number,
            epoch=e,
            time=float(e),
            metrics={"train/loss": loss - gap, "val/loss": loss, "gap/loss": gap},
        )
        for e in range(1, epochs + 1)
    ]
    best = {"val/loss": loss, "train/loss": loss - gap, "gap/loss": gap, "epoch": 8.0}
    finalist = {"test/loss": loss + 0.1, "test_gap/loss": gap + 0.1} if complete else {}
    return Trial(
        number=number,
        state=state,
        role=Role.SEARCH if number else Role.BASELINE,
        params={"penalty": "none", **params},  # type: ignore[dict-item]  # values of a point
        value=loss if complete else None,
        best={**best, **finalist} if complete else {},
        stopped_epoch=10 if complete else None,
        violation=0.0 if complete else None,
        epochs=tuple(series),
    )


def sweep(*trials: Trial) -> Sweep:
    """A sweep of these trials that has succeeded."""
    return Sweep(
        sweep_id="mine-abc123",
        name="mine",
        state=SweepState.SUCCEEDED,
        seconds=65.0,
        ranking=Ranking("val/loss", "min"),
        max_epochs=20,
        trials=trials,
    )


def shown(data: ReportData, width: int = 80) -> str:
    """A report on a terminal of that width."""
    console = open_console(io.StringIO(), width=width)
    print_report(data, console)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()
