"""Runs a sweep in this process with progress, report and exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from service.cli.app import INTERRUPTED, print_json
from service.report.console import open_console, print_error
from service.sweep.asked import is_asked
from service.sweep.environment import get_mlflow_uri, locate_home

if TYPE_CHECKING:
    from search_spaces.widening import Wider
    from service.run.sweep_session import Ending
    from service.spec.model import SweepSpec
    from service.sweep.home import Home, SweepFolder


def run_here(
    spec: SweepSpec,
    source: str,
    folders: Sequence[Path],
    home: Path | None,
    ray_address: str | None,
    *,
    as_json: bool,
) -> None:
    """Run a new sweep, show it, and exit with its code. ``source`` names the spec in errors."""
    from service.report.progress import choose_view, showing
    from service.run.start_and_resume import start_sweep

    at = locate_home(home)
    with showing(choose_view(_open_console(as_json))) as view:
        ending, folder = start_sweep(
            spec, source, at, ray_address, folders=folders, observers=[view]
        )
    _finish(ending, folder, at, as_json)


def resume_here(
    sweep: str,
    home: Path | None,
    ray_address: str | None,
    *,
    more_trials: int,
    widen: Sequence[str],
    accept_changes: bool,
    as_json: bool,
) -> None:
    """Run the remaining trials of a sweep, show it, and exit with its code."""
    from service.report.progress import choose_view, showing
    from service.run.start_and_resume import resume_sweep
    from service.spec.widened import read_widenings

    wider = read_widenings(widen)
    at = locate_home(home)
    folder = at.find(sweep)
    if is_asked(folder) and (more_trials or wider):
        _extend_asked(folder, at, more_trials, wider)
        return
    with showing(choose_view(_open_console(as_json))) as view:
        ending = resume_sweep(
            folder,
            at,
            ray_address,
            observers=[view],
            more_trials=more_trials,
            wider=wider,
            accept_changes=accept_changes,
        )
    _finish(ending, folder, at, as_json)


def _extend_asked(folder: SweepFolder, home: Home, trials: int, wider: Wider) -> None:
    """Extend a sweep whose trials a loop elsewhere asks for."""
    from service.run.asked_start import extend, open_data
    from service.run.user_code import use_folders
    from service.sweep.load import load_stored_spec

    with use_folders(*folder.read_import_paths()):
        extend(folder, home, open_data(load_stored_spec(folder)), trials, wider)
    open_console().print(
        f"{folder.sweep_id} is extended; your loop goes on with "
        f'gapsweep.ask_tell("{folder.sweep_id}")',
        soft_wrap=True,
    )


def _open_console(as_json: bool) -> Console:
    """The console for progress: stderr if stdout holds JSON.

    It keeps its stream: while Ray runs, ``sys.stdout`` is Ray's log.
    """
    return open_console(sys.stderr if as_json else sys.stdout)


def _finish(ending: Ending, folder: SweepFolder, home: Home, as_json: bool) -> None:
    """Print the report and any warnings, and exit with the code of the outcome."""
    from service.run.start_and_resume import list_failures
    from service.sweep.lost_items import Losses, attempt
    from service.sweep.sweep_record import SweepState

    notes = open_console(stderr=True)
    unprinted = Losses()
    if as_json:
        print_json(ending.summary.model_dump_json(indent=2))
    else:
        attempt(unprinted, "the report", lambda: _print_report(ending, folder, home))
    for loss in (*ending.losses, *unprinted.list("this terminal")):
        notes.print(f"not shown: {loss}", soft_wrap=True)
    if ending.stopped is not None:
        notes.print(f"stopped early: {ending.stopped.value}")
    if ending.unlogged is not None:
        notes.print(
            f"MLflow is incomplete for this sweep ({ending.unlogged}); "
            f"`gapsweep resume {folder.sweep_id}` logs the rest",
            soft_wrap=True,
        )
    if ending.sweep.state is SweepState.INTERRUPTED:
        notes.print(f"continue with: gapsweep resume {folder.sweep_id}", soft_wrap=True)
        sys.exit(INTERRUPTED)
    if ending.sweep.state is SweepState.FAILED:
        for reason in list_failures(ending):
            print_error(notes, f"a trial failed: {reason}")
        sys.exit(1)


def _print_report(ending: Ending, folder: SweepFolder, home: Home) -> None:
    from service.report.report_data import build_report
    from service.report.terminal import print_report
    from service.sweep.load import read_sweep

    console = open_console()
    _, study, _ = read_sweep(folder)
    print_report(build_report(ending.sweep, study.importances()), console)
    console.print(f"\nreport  {folder.report}", soft_wrap=True)
    if uri := get_mlflow_uri(home):
        shown = f"gapsweep ui --home {home.path}" if uri == home.mlflow_uri else uri
        console.print(f"MLflow  {shown}", soft_wrap=True)
