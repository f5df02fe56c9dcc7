"""The command `gapsweep replay`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.base.errors import InputError
from service.cli.app import HERE, AsJson, HomeOption, app, print_json, write_file
from service.report.console import open_console

if TYPE_CHECKING:
    from service.replay.command import Request
    from service.sweep.home import Home

Histories = Annotated[
    list[str],
    typer.Argument(
        metavar="HISTORY",
        help="Recorded sweeps without pruning: names or folders of sweeps, or files that "
        "--save-table wrote.",
    ),
]
Pruners = Annotated[
    list[str] | None,
    typer.Option(
        "--pruner",
        metavar="PRUNER",
        help="As in a spec: hyperband, or '{name: successive_halving, min_epochs: 3}'; may be "
        "repeated (default: none, and a spec's default).",
    ),
]
Samplers = Annotated[
    list[str] | None,
    typer.Option(
        "--sampler",
        metavar="SAMPLER",
        help="As in a spec: random, or '{name: tpe, n_startup_trials: 5}'; may be repeated "
        "(default: a spec's default).",
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials", min=2, help="Trials of a search (default: 40, at most half of a history)."
    ),
]
Slots = Annotated[int, typer.Option("--slots", min=1, max=10_000, help="Trials at once.")]
Repeats = Annotated[
    int, typer.Option("--repeats", min=2, max=100_000, help="Searches, each with its seed.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the first search.")]
EarlyStopping = Annotated[
    str | None,
    typer.Option(
        "--early-stopping",
        metavar="RULE",
        help="End recorded trainings by a rule as in a spec: patience, or '{name: patience, "
        "patience: 5}' (default: as recorded).",
    ),
]
Png = Annotated[
    Path | None,
    typer.Option("--png", metavar="FILE", help="Save regret against epochs and time as a plot."),
]
SaveTable = Annotated[
    Path | None,
    typer.Option(
        "--save-table",
        metavar="FILE",
        help="Only save the one history as a small file (.npz), which replay takes elsewhere.",
    ),
]


@app.command(rich_help_panel=HERE)
def replay(
    histories: Histories,
    pruners: Pruners = None,
    samplers: Samplers = None,
    trials: Trials = None,
    slots: Slots = 2,
    repeats: Repeats = 100,
    seed: Seed = 0,
    early_stopping: EarlyStopping = None,
    png: Png = None,
    save_table: SaveTable = None,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Replay searches on recorded sweeps, to compare pruners and samplers without training.

    The real session, samplers and pruners run on a virtual clock with the recorded seconds of each
    epoch. A search draws recorded configurations without replacement: the one that is nearest to
    what the sampler proposes.
    """
    from service.replay.command import Request
    from service.sweep.environment import locate_home

    at = locate_home(home)
    if save_table is not None:
        _save_table(histories, at, save_table)
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
    _compare(request, at, png=png, as_json=as_json)


def _compare(request: Request, home: Home, *, png: Path | None, as_json: bool) -> None:
    from service.replay.command import dump_comparison, run_replays
    from service.replay.replay_terminal import print_comparison, show_replays
    from service.run.user_code import use_folders

    errors = open_console(stderr=True)
    with use_folders(Path.cwd()):
        found = run_replays(request, home, lambda total: show_replays(errors, total))
    if as_json:
        print_json(dump_comparison(found))
    else:
        print_comparison(found, open_console())
    if png is not None:  # last: a path that cannot be written must not cost the figures
        from service.replay.plot import save_plot

        write_file(png, lambda: save_plot(found, png))


def _save_table(histories: list[str], home: Home, path: Path) -> None:
    from service.replay.history_files import open_history
    from service.replay.table_file import save_table

    if len(histories) != 1:
        raise InputError(f"--save-table saves one history, got {len(histories)}")
    if path.suffix != ".npz":
        raise InputError(
            f"--save-table writes NumPy's format: name a file that ends in .npz, got {path}"
        )
    history = open_history(histories[0], home)
    write_file(path, lambda: save_table(history, path))
