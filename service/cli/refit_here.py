"""Refits and exports a sweep of this machine, and says what was made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from service.base.redaction import redact
from service.cli.app import print_json
from service.report.console import open_console, print_error
from service.sweep.environment import get_mlflow_uri, locate_home

if TYPE_CHECKING:
    from rich.console import Console

    from service.run.export_best import Exported, Source
    from service.sweep.home import Home
    from service.sweep.refit_record import Refit
    from trainables.analysis.program import Format


def refit_here(
    sweep: str,
    home: Path | None,
    *,
    name: str | None,
    again: bool,
    accept_changes: bool,
    as_json: bool,
) -> None:
    """Refit a sweep with a progress bar, and print what came of it; exit code 1 or 2 if it is not
    registered."""
    from service.report.refit_progress import show_epochs
    from service.report.refit_text import write_refit
    from service.run.register_refit import refit_sweep

    at = locate_home(home)
    folder = at.find(sweep)
    notes = open_console(stderr=True)
    with show_epochs(notes) as progress:
        made = refit_sweep(
            folder, at, name=name, again=again, accept_changes=accept_changes, progress=progress
        )
    if made.existed:
        notes.print(
            f"{folder.sweep_id} has a refit; --again trains anew and replaces it", soft_wrap=True
        )
    if as_json:
        print_json(made.refit.model_dump_json(indent=2))
    else:
        console = open_console()
        for sentence in write_refit(made.refit, made.trials):
            console.print(sentence, soft_wrap=True)
        _print_places(console, made.refit, at, folder.path)
    if made.error is not None:
        print_error(
            notes,
            f"not registered: {redact(str(made.error))}; "
            f"the refit is kept, and `gapsweep refit {folder.sweep_id}` registers it",
        )
        sys.exit(made.error.exit_code)


def _print_places(console: Console, refit: Refit, home: Home, folder: Path) -> None:
    console.print(f"\nrefit   {folder / 'refit' / refit.files}", soft_wrap=True)
    if refit.registered is not None:
        console.print(f"MLflow  {refit.registered.uri}", soft_wrap=True)
    elif get_mlflow_uri(home) is None:
        console.print("MLflow  off: it is not registered")


def export_here(
    sweep: str,
    home: Path | None,
    to: Path | None,
    form: Format,
    *,
    source: Source | None,
    pruned: bool,
    accept_changes: bool,
) -> None:
    """Export a sweep's network, and print which one, the files, and what they lack."""
    from service.run.export_best import export_sweep

    folder = locate_home(home).find(sweep)
    made = export_sweep(
        folder,
        to or folder.path / "export",
        form,
        source=source,
        pruned=pruned,
        accept_changes=accept_changes,
    )
    console = open_console()
    console.print(made.what, soft_wrap=True)
    for removed in made.removed:
        console.print(f"{removed.layer}: {removed.removed} of {removed.units} units removed")
    if pruned:
        before, after = made.parameters
        console.print(f"{before:,} parameters, {after:,} after pruning")
    for path in made.files:
        console.print(str(path), soft_wrap=True)
    for note in _list_notes(made, form):
        console.print(note, soft_wrap=True)


def _list_notes(made: Exported, form: Format) -> list[str]:
    notes = []
    if made.reason:
        other = "" if form == "torchscript" else "; --format torchscript traces in another way"
        notes.append(
            f"no program: torch cannot make one ({made.reason}); rebuild.py builds the network "
            f"from its code, with weights and preprocessing{other}"
        )
    elif made.has_categories:
        notes.append("the program takes numbers of categories; rebuild.py takes the raw table")
    if made.needs_gapsweep:
        notes.append("rebuild.py needs gapsweep, because the trainable is a class of it")
    if made.unverified:
        notes.append(f"not verified: {made.unverified}")
    else:
        notes.append("a new process has loaded it, and got the network's outputs from raw inputs")
    return notes
