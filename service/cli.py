"""The command line. Exit codes: 0 done, 1 the sweep failed, 2 bad input, 130 stopped by Ctrl-C.

What a command needs is imported when it runs: `--help` should not wait for torch and Ray.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.errors import GapsweepError, InputError
from service.settings import use_ray_token

if TYPE_CHECKING:
    from service.home import Home, SweepFolder
    from service.spec import SweepSpec
    from service.tuning.cluster import Cluster
    from service.tuning.runner import Ending
    from trainables.data import Splits

INTERRUPTED = 130

app = typer.Typer(
    help="Which regularisation, how strong, closes the generalisation gap of your model?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SpecFile = Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The sweep's spec.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. budget.trials=10."),
]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="DIR", help="Where all is kept; else GAPSWEEP_HOME, else gapsweep-data."
    ),
]
SweepName = Annotated[
    str, typer.Argument(metavar="SWEEP", help="An id, the beginning of one, or `latest`.")
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="ADDRESS",
        envvar="RAY_ADDRESS",
        help="A Ray cluster's, or `auto`; else this machine.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary alone, as JSON.")]


@app.command()
def run(
    spec_file: SpecFile,
    overrides: Overrides = None,
    home: HomeOption = None,
    ray_address: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Run a sweep, on a Ray of its own or on your cluster. Ctrl-C stops it; `resume` goes on."""
    from service.preflight import preflight
    from service.settings import home_at
    from service.specfile import load_spec
    from service.tuning.cluster import Cluster
    from service.tuning.runner import create_sweep

    spec = load_spec(spec_file, overrides or [])
    paths = _import_from(spec_file.resolve().parent, Path.cwd())
    found = preflight(spec, str(spec_file))
    at, cluster = home_at(home), Cluster(ray_address)
    concurrent = cluster.inventory([at.path, *_own_code(spec, paths)]).check(spec)
    folder = create_sweep(spec, at, paths)
    _drive(folder, at, found.splits, cluster, concurrent, as_json=as_json)


@app.command()
def resume(
    sweep: SweepName,
    trials: Annotated[
        int, typer.Option("--trials", min=0, help="How many trials more than its budget says.")
    ] = 0,
    home: HomeOption = None,
    ray_address: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a sweep after a crash, a Ctrl-C or a kill, or extend a finished one."""
    from service.preflight import preflight
    from service.settings import home_at
    from service.specfile import load_spec
    from service.tuning.cluster import Cluster

    at, cluster = home_at(home), Cluster(ray_address)
    folder = at.find(sweep)
    spec = load_spec(folder.spec)
    paths = folder.origin.read_text(encoding="utf-8").splitlines()
    _import_from(*map(Path, paths))
    found = preflight(spec, str(folder.spec))
    concurrent = cluster.inventory([at.path, *_own_code(spec, paths)]).check(spec)
    _drive(folder, at, found.splits, cluster, concurrent, as_json=as_json, more_trials=trials)


@app.command()
def report(
    sweep: SweepName = "latest",
    home: HomeOption = None,
    as_json: AsJson = False,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Save the plots as a picture too.")
    ] = None,
) -> None:
    """Show what a sweep found, finished or not, and write its page anew."""
    from service.reading import read_sweep
    from service.report.plots import save_png
    from service.report.terminal import print_report
    from service.report.write import write_report
    from service.settings import home_at
    from service.summary import summarise

    folder = home_at(home).find(sweep)
    _, study, found = read_sweep(folder)
    data = write_report(found, study, folder)
    if png is not None:
        _written(png, lambda: save_png(data, png))
    if as_json:
        print(summarise(found, folder).model_dump_json(indent=2))
        return
    console = Console()
    print_report(data, console)
    console.print(f"\nreport  {folder.report}", soft_wrap=True, highlight=False)


@app.command("list")
def list_sweeps(home: HomeOption = None) -> None:
    """List the sweeps, the oldest first."""
    from service.reading import read_sweep
    from service.report.words import duration, number
    from service.settings import home_at

    at = home_at(home)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("sweep", "state", "trials", "time", "objective", "best", "its gap/loss"):
        table.add_column(title, overflow="fold")
    for folder in at.sweeps():
        try:
            spec, _, found = read_sweep(folder)
        except GapsweepError:
            table.add_row(folder.sweep_id, "not started")
            continue
        best = found.best
        gap = number(best.best.get("gap/loss")) if best else "–"
        trials = f"{len(found.trials)}/{spec.budget.trials}"
        figures = (number(best.value) if best else "–", gap)
        row = (found.state.value, trials, duration(found.seconds), found.metric, *figures)
        table.add_row(folder.sweep_id, *row)
    if table.row_count:
        Console().print(table)
    else:
        print(f"no sweeps in {at.path}")


@app.command()
def validate(
    spec_file: SpecFile, overrides: Overrides = None, ray_address: RayAddress = None
) -> None:
    """Check a spec: its keys, the data, the network on one batch, every name in it."""
    from service.preflight import preflight
    from service.report.tables import spec_table
    from service.specfile import load_spec
    from service.tuning.cluster import Cluster

    spec = load_spec(spec_file, overrides or [])
    _import_from(spec_file.resolve().parent, Path.cwd())
    found = preflight(spec, str(spec_file))
    Cluster(ray_address).inventory().check(spec)
    console = Console(highlight=False)
    console.print(f"{spec_file} is valid", style="bold green")
    console.print(spec_table(spec, found))


@app.command()
def devices(
    spec_file: Annotated[
        Path | None,
        typer.Argument(metavar="[SPEC.yaml]", help="A spec, to see what its trials would hold."),
    ] = None,
    overrides: Overrides = None,
    ray_address: RayAddress = None,
) -> None:
    """Show what this machine or a Ray cluster has, and how many trials of a spec run at once."""
    from service.report.tables import cluster_table, use_table
    from service.specfile import load_spec
    from service.tuning.cluster import Cluster

    spec = load_spec(spec_file, overrides or []) if spec_file else None
    inventory = Cluster(ray_address).inventory()
    console = Console(highlight=False)
    console.print(cluster_table(inventory))
    if spec is not None:
        console.print()
        console.print(use_table(spec, inventory))


class ProgramFormat(StrEnum):
    """How the program is written."""

    EXPORT = "export"
    TORCHSCRIPT = "torchscript"


@app.command()
def export(
    sweep: SweepName = "latest",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Where; else the sweep's folder.")
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Take out units that are zero; the outputs stay.")
    ] = False,
    form: Annotated[
        ProgramFormat, typer.Option("--format", help="A torch.export or a TorchScript program.")
    ] = ProgramFormat.EXPORT,
    home: HomeOption = None,
) -> None:
    """Write a sweep's best model: safetensors, and a program that takes raw inputs."""
    from service.export import export_best
    from service.preflight import preflight
    from service.reading import read_sweep
    from service.settings import home_at

    folder = home_at(home).find(sweep)
    spec, _, found = read_sweep(folder)
    _import_from(*(Path(p) for p in folder.origin.read_text(encoding="utf-8").splitlines()))
    splits = preflight(spec, str(folder.spec)).splits
    target = to or folder.path / "export"
    made = export_best(spec, found, splits, folder, target, form.value, pruned=prune)
    console = Console(highlight=False)
    for removed in made.removed:
        console.print(f"{removed.layer}: {removed.removed} of {removed.units} units taken out")
    if prune:
        before, after = made.parameters
        console.print(f"{before:,} parameters, {after:,} after pruning")
    for path in made.files:
        console.print(str(path), soft_wrap=True)


@app.command(hidden=True)  # until there is a service to start on it
def migrate(
    database_url: Annotated[
        str, typer.Option("--database-url", envvar="GAPSWEEP_DATABASE_URL", metavar="URL")
    ],
) -> None:
    """Make the tables of a service's database, or bring them up to date."""
    from service.store.database import Database

    Database(database_url).upgrade()
    print("the database is up to date")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    from service.specfile import json_schema

    print(json.dumps(json_schema(), indent=2))


@app.command()
def ui(
    home: HomeOption = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 5000,
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
) -> None:
    """Open the MLflow UI on what the sweeps logged. Ctrl-C ends it."""
    from service.settings import home_at
    from service.ui import become_mlflow

    become_mlflow(home_at(home), host, port)


def main() -> None:
    """The command `gapsweep`: every error a sentence, never a traceback."""
    errors = Console(stderr=True, highlight=False)
    use_ray_token()
    try:
        app()
    except GapsweepError as error:
        errors.print(f"[bold red]error[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        errors.print("stopped")
        sys.exit(INTERRUPTED)


def _drive(
    folder: SweepFolder,
    home: Home,
    splits: Splits,
    cluster: Cluster,
    concurrent: int,
    *,
    as_json: bool,
    more_trials: int = 0,
) -> None:
    from service.specfile import load_spec
    from service.tuning.runner import run_sweep
    from service.view import view_for

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
    from service.reading import read_sweep
    from service.records import SweepState
    from service.report.data import build
    from service.report.importance import importances
    from service.report.terminal import print_report
    from service.settings import mlflow_uri

    notes = Console(stderr=True, highlight=False)
    if as_json:
        print(ending.summary.model_dump_json(indent=2))
    else:
        console = Console(highlight=False)
        _, study, _ = read_sweep(folder)
        print_report(build(ending.sweep, importances(study)), console)
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
    from service.records import TrialState

    reasons = {t.reason for t in ending.sweep.of_state(TrialState.FAILED) if t.reason}
    for reason in sorted(reasons)[:3]:
        notes.print(f"[bold red]error[/] a trial failed: {escape(reason)}", soft_wrap=True)


def _import_from(*folders: Path) -> list[str]:
    """Let the user's own modules be found in these folders."""
    paths = list(dict.fromkeys(str(f) for f in folders))
    sys.path[:0] = [p for p in paths if p not in sys.path]
    return paths


def _own_code(spec: SweepSpec, paths: list[str]) -> list[Path]:
    """The folders that workers import the user's own modules from."""
    names = [name for module in spec.modules() for name in (module, f"{module}.py")]
    return [Path(p) for p in paths if any((Path(p) / name).exists() for name in names)]


def _written(path: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from None


if __name__ == "__main__":
    main()
