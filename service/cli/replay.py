"""The command `gapsweep replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.base.errors import InputError
from service.cli.app import HERE, AsJson, HomeOption, app, print_json, write_file
from service.report.console import open_console


@app.command(rich_help_panel=HERE)
def replay(
    histories: Annotated[
        list[str],
        typer.Argument(
            metavar="HISTORY",
            help="Recorded sweeps without pruning: names or folders of sweeps, or files that "
            "--save-table wrote.",
        ),
    ],
    pruners: Annotated[
        list[str] | None,
        typer.Option(
            "--pruner",
            metavar="PRUNER",
            help="As in a spec: hyperband, or '{name: successive_halving, min_epochs: 3}'; may be "
            "repeated (default: none, and a spec's default).",
        ),
    ] = None,
    samplers: Annotated[
        list[str] | None,
        typer.Option(
            "--sampler",
            metavar="SAMPLER",
            help="As in a spec: random, or '{name: tpe, n_startup_trials: 5}'; may be repeated "
            "(default: a spec's default).",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", min=2, help="Trials of a search (default: 40, at most half of a history)."
        ),
    ] = None,
    slots: Annotated[int, typer.Option("--slots", min=1, max=10_000, help="Trials at once.")] = 2,
    repeats: Annotated[
        int, typer.Option("--repeats", min=2, max=100_000, help="Searches, each with its seed.")
    ] = 100,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the first search.")] = 0,
    early_stopping: Annotated[
        str | None,
        typer.Option(
            "--early-stopping",
            metavar="RULE",
            help="End recorded trainings by a rule as in a spec: patience, or '{name: patience, "
            "patience: 5}' (default: as recorded).",
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(
            "--png", metavar="FILE", help="Save regret against epochs and time as a plot."
        ),
    ] = None,
    save_table: Annotated[
        Path | None,
        typer.Option(
            "--save-table",
            metavar="FILE",
            help="Only save the one history as a small file (.npz), which replay takes elsewhere.",
        ),
    ] = None,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Replay searches on recorded sweeps, to compare pruners and samplers without training.

    The real session, samplers and pruners run on a virtual clock with the recorded seconds of each
    epoch. A search draws recorded configurations without replacement: the one that is nearest to
    what the sampler proposes.
    """
    from service.replay.command import Request, dump_comparison, run_replays
    from service.replay.terminal import print_comparison, show_replays
    from service.run.user_code import use_folders
    from service.sweep.environment import locate_home

    at = locate_home(home)
    if save_table is not None:
        _save_table(histories, at.path, save_table)
        return
    request = Request(
        histories=histories,
        pruners=pruners or (),
        samplers=samplers or (),
        early_stopping=early_stopping,
        trials=trials,
        slots=slots,
        repeats=repeats,
        seed=seed,
    )
    errors = open_console(stderr=True)
    with use_folders(Path.cwd()):
        found = run_replays(request, at, lambda total: show_replays(errors, total))
    if as_json:
        print_json(dump_comparison(found))
    else:
        print_comparison(found, open_console())
    if png is not None:  # last: a path that cannot be written must not cost the figures
        from service.replay.plot import save_plot

        write_file(png, lambda: save_plot(found, png))


def _save_table(histories: list[str], home: Path, path: Path) -> None:
    from service.replay.sources import open_history
    from service.replay.table_file import save_table
    from service.sweep.home import Home

    if len(histories) != 1:
        raise InputError(f"--save-table saves one history, got {len(histories)}")
    history = open_history(histories[0], Home(home))
    write_file(path, lambda: save_table(history, path))
