"""A sweep driven by this process, with what a person sees of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from service.cli.app import INTERRUPTED

if TYPE_CHECKING:
    from service.cluster.connection import Cluster
    from service.run.sweep_run import Ending
    from service.spec.model import SweepSpec
    from service.sweep.home import Home, SweepFolder
    from trainables.data.splits import Splits


def drive(
    folder: SweepFolder,
    home: Home,
    splits: Splits,
    cluster: Cluster,
    concurrent: int,
    *,
    as_json: bool,
    more_trials: int = 0,
) -> None:
    """Run what is left of a sweep, show it, and exit as it ended."""
    from service.report.progress import view_for
    from service.run.sweep_run import run_sweep
    from service.spec.file import load_spec

    # the stream itself: what others print meanwhile goes elsewhere
    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    with view_for(console) as view:
        ending = run_sweep(
            load_spec(folder.spec),
            splits,
            folder,
            home,
            view,
            cluster=cluster,
            concurrent=concurrent,
            more_trials=more_trials,
        )
    _close(ending, folder, home, as_json)


def _close(ending: Ending, folder: SweepFolder, home: Home, as_json: bool) -> None:
    """The report, what was left undone, the exit code."""
    from service.report.data import build
    from service.report.terminal import print_report
    from service.sweep.environment import mlflow_uri
    from service.sweep.load import read_sweep
    from service.sweep.sweep_record import SweepState

    notes = Console(stderr=True, highlight=False)
    if as_json:
        print(ending.summary.model_dump_json(indent=2))
    else:
        console = Console(highlight=False)
        _, study, _ = read_sweep(folder)
        print_report(build(ending.sweep, study.importances()), console)
        console.print(f"\nreport  {folder.report}", soft_wrap=True)
        if uri := mlflow_uri(home):
            shown = f"gapsweep ui --home {home.path}" if uri == home.mlflow_uri else uri
            console.print(f"MLflow  {shown}", soft_wrap=True)
    if ending.stopped is not None:
        notes.print(f"stopped early: {ending.stopped.value}")
    if ending.unlogged is not None:
        notes.print(
            f"MLflow lacks some of this sweep ({escape(ending.unlogged)}); "
            f"`gapsweep resume {folder.sweep_id}` writes what is missing",
            soft_wrap=True,
        )
    if ending.sweep.state is SweepState.INTERRUPTED:
        notes.print(f"go on with: gapsweep resume {folder.sweep_id}", soft_wrap=True)
        sys.exit(INTERRUPTED)
    if ending.sweep.state is SweepState.FAILED:
        _explain_failure(ending, notes)
        sys.exit(1)


def _explain_failure(ending: Ending, notes: Console) -> None:
    from service.study.records import TrialState

    reasons = {t.reason for t in ending.sweep.of_state(TrialState.FAILED) if t.reason}
    for reason in sorted(reasons)[:3]:
        notes.print(f"[bold red]error[/] a trial failed: {escape(reason)}", soft_wrap=True)


def import_from(*folders: Path) -> list[str]:
    """Let the user's own modules be found in these folders."""
    paths = list(dict.fromkeys(str(f) for f in folders))
    sys.path[:0] = [p for p in paths if p not in sys.path]
    return paths


def own_code(spec: SweepSpec, paths: list[str]) -> list[Path]:
    """The folders that workers import the user's own modules from."""
    names = [name for module in spec.modules() for name in (module, f"{module}.py")]
    return [Path(p) for p in paths if any((Path(p) / name).exists() for name in names)]
