"""Commands for sweeps on this machine; with --server, some use a server instead."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.base.errors import InputError
from service.base.plain_text import say
from service.cli.app import (
    HERE,
    AcceptChanges,
    AsJson,
    HomeOption,
    Overrides,
    RayAddress,
    Server,
    SpecFile,
    SweepName,
    Token,
    Widen,
    app,
    print_json,
    write_file,
)
from service.cli.remote_session import (
    Remote,
    remote_devices,
    remote_list,
    remote_report,
    remote_resume,
)
from service.cli.run_here import resume_here, run_here
from service.report.console import open_console
from trainables.config.imports import EXTERNAL

if TYPE_CHECKING:
    from service.spec.model import SweepSpec


@app.command(rich_help_panel=HERE)
def run(
    spec_file: SpecFile,
    overrides: Overrides = None,
    home: HomeOption = None,
    ray_address: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Run a sweep locally or on a Ray cluster. Ctrl-C stops it; `resume` continues it."""
    from service.spec.file import load_spec

    spec = load_spec(spec_file, overrides or [])
    folders = [spec_file.resolve().parent, Path.cwd()]
    run_here(spec, str(spec_file), folders, home, ray_address, as_json=as_json)


@app.command(rich_help_panel=HERE)
def resume(
    sweep: SweepName,
    trials: Annotated[
        int, typer.Option("--trials", min=0, help="Trials to add to the budget.")
    ] = 0,
    widen: Widen = None,
    accept_changes: AcceptChanges = False,
    home: HomeOption = None,
    ray_address: RayAddress = None,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Continue a sweep after a crash, Ctrl-C or kill, or extend a finished one.

    With --server: resume a paused sweep.
    """
    if server:
        if trials:
            raise InputError("on a server, `gapsweep extend SWEEP --trials N` adds trials")
        remote = Remote.at(server, token)
        remote_resume(remote, sweep, widen=widen or (), accept_changes=accept_changes)
        return
    resume_here(
        sweep,
        home,
        ray_address,
        more_trials=trials,
        widen=widen or (),
        accept_changes=accept_changes,
        as_json=as_json,
    )


@app.command(rich_help_panel=HERE)
def report(
    sweep: SweepName = "latest",
    home: HomeOption = None,
    as_json: AsJson = False,
    png: Annotated[
        Path | None,
        typer.Option("--png", metavar="FILE", help="Also save the plots as a PNG file."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also save the HTML page to this file."),
    ] = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Show the report of a sweep, finished or not, and update its HTML page."""
    if server:
        if png is not None:
            raise InputError(
                "--png does not work with --server; --html FILE saves the page with its plots"
            )
        remote_report(Remote.at(server, token), sweep, html, as_json=as_json)
        return
    from service.sweep.environment import locate_home
    from service.sweep.load import read_current_summary

    folder = locate_home(home).find(sweep)
    if as_json and html is None and png is None:
        print_json(read_current_summary(folder).model_dump_json(indent=2))
        return
    from service.base.files import write_atomically
    from service.report.page import render
    from service.report.png import save_png
    from service.report.report_data import build_report
    from service.report.terminal import print_report
    from service.sweep.load import blame, read_sweep
    from service.sweep.summary import summarise

    _, study, found = read_sweep(folder)
    with blame(folder, folder.journal):
        data = build_report(found, study.importances())
        page = render(data)
    try:
        write_atomically(folder.report, page)
    except OSError as error:  # the sweep may be another user's: the report is shown all the same
        say(f"{folder.report} is not updated ({error.strerror})", to=sys.stderr)
    if html is not None:
        write_file(html, lambda: html.write_text(page, encoding="utf-8"))
    if png is not None:
        write_file(png, lambda: save_png(data, png))
    if as_json:
        print_json(summarise(found, folder).model_dump_json(indent=2))
        return
    console = open_console()
    print_report(data, console)
    console.print(f"\nreport  {folder.report}", soft_wrap=True, highlight=False)


@app.command("list", rich_help_panel=HERE)
def list_sweeps(
    home: HomeOption = None,
    as_json: AsJson = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=500, help="With --server: number of newest sweeps.")
    ] = 30,
    sizes: Annotated[
        bool, typer.Option("--sizes", help="Measure every folder; a server always lists sizes.")
    ] = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """List sweeps, newest last."""
    if server:
        remote_list(Remote.at(server, token), limit, as_json=as_json)
        return
    from service.cli.local_list import build_list
    from service.sweep.environment import locate_home

    at = locate_home(home)
    table, damaged = build_list(at, sizes=sizes)
    if table.row_count:
        console = open_console()
        console.print(table)
        for what in damaged:
            console.print(f"damaged: {what}", soft_wrap=True)
    else:
        say(f"no sweeps in {at.path}")


@app.command(rich_help_panel=HERE)
def validate(
    spec_file: SpecFile, overrides: Overrides = None, ray_address: RayAddress = None
) -> None:
    """Check a spec: its keys, names and data, and the network on one batch."""
    from service.cli.spec_tables import build_spec_table
    from service.cluster.connection import Cluster
    from service.run.lane_plan import plan_lanes
    from service.run.preflight import run_preflight
    from service.run.user_code import use_folders
    from service.spec.file import load_spec

    spec = load_spec(spec_file, overrides or [])
    if spec.trainable == EXTERNAL:
        _validate_external(spec, spec_file)
        return
    with use_folders(spec_file.resolve().parent, Path.cwd()):
        found = run_preflight(spec, str(spec_file))
        slots = Cluster(ray_address).take_inventory().check(spec)
        lanes = plan_lanes(spec, str(spec_file), found, slots, measures=True)
    console = open_console()
    console.print(f"{spec_file} is valid", style="bold green")
    console.print(build_spec_table(spec, found, lanes))


def _validate_external(spec: SweepSpec, spec_file: Path) -> None:
    """Check a spec whose trials a loop elsewhere asks for, and its data if it has any."""
    from service.cli.spec_tables import build_external_table
    from service.run.asked_start import check_external
    from service.run.user_code import use_folders

    with use_folders(spec_file.resolve().parent, Path.cwd()):
        found = check_external(spec, str(spec_file))
    console = open_console()
    console.print(f"{spec_file} is valid", style="bold green")
    console.print(build_external_table(spec, found.reading))


@app.command(rich_help_panel=HERE)
def devices(
    spec_file: Annotated[
        Path | None,
        typer.Argument(metavar="[SPEC.yaml]", help="A spec, to show the resources of its trials."),
    ] = None,
    overrides: Overrides = None,
    ray_address: RayAddress = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Show the devices of this machine or a Ray cluster, and how many trials of a spec run at once.

    With --server: show the nodes of its cluster, and how many sweeps wait and run.
    """
    if server:
        remote_devices(Remote.at(server, token))
        return
    from service.cli.spec_tables import build_cluster_table, build_use_table
    from service.cluster.connection import Cluster
    from service.run.lane_plan import plan_lanes_of
    from service.spec.file import load_spec

    spec = load_spec(spec_file, overrides or []) if spec_file else None
    paths = [spec_file.resolve().parent, Path.cwd()] if spec_file else []
    inventory = Cluster(ray_address).take_inventory()
    console = open_console()
    console.print(build_cluster_table(inventory))
    if spec is not None:
        console.print()
        lanes = plan_lanes_of(spec, str(spec_file), paths, inventory.check(spec))
        console.print(build_use_table(spec, inventory, lanes))


@app.command(rich_help_panel=HERE)
def refit(
    sweep: SweepName,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Registered model in MLflow (default: the sweep's name)."
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Train anew where there is a refit, and replace it.")
    ] = False,
    accept_changes: AcceptChanges = False,
    home: HomeOption = None,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Train what the answer picked on all samples but the test's, and register it in MLflow."""
    if server:
        raise InputError(_NOT_THERE)
    from service.cli.refit_here import refit_here

    refit_here(sweep, home, name=name, again=again, accept_changes=accept_changes, as_json=as_json)


_NOT_THERE = (
    "a sweep on a server is refitted and exported where its data and its folder are: log in there "
    "and leave --server out (unset GAPSWEEP_SERVER), with --home set to the service's home; "
    "`gapsweep download` fetches the best trial's weights"
)


class ProgramFormat(StrEnum):
    """The file format of an exported program."""

    EXPORT = "export"
    TORCHSCRIPT = "torchscript"


class ExportSource(StrEnum):
    """What is exported."""

    REFIT = "refit"
    BEST = "best"


@app.command(rich_help_panel=HERE)
def export(
    sweep: SweepName = "latest",
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="DIR", help="Output directory (default: in the sweep's folder)."
        ),
    ] = None,
    source: Annotated[
        ExportSource | None,
        typer.Option(
            "--from", help="The refit, or the best trial (default: the refit if there is one)."
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove units that are zero, which keeps the outputs.")
    ] = False,
    form: Annotated[
        ProgramFormat, typer.Option("--format", help="Program format: torch.export or TorchScript.")
    ] = ProgramFormat.EXPORT,
    accept_changes: Annotated[
        bool,
        typer.Option("--accept-changes", help="Export although data or code have changed."),
    ] = False,
    home: HomeOption = None,
) -> None:
    """Export the refit or the best model: weights, a program that takes raw inputs, a loader."""
    from service.cli.refit_here import export_here

    export_here(
        sweep,
        home,
        to,
        form.value,
        source=None if source is None else source.value,
        pruned=prune,
        accept_changes=accept_changes,
    )


@app.command(rich_help_panel=HERE)
def schema() -> None:
    """Print the JSON Schema of specs, for editors."""
    from service.spec.file import build_json_schema

    print_json(json.dumps(build_json_schema(), indent=2))


@app.command(rich_help_panel=HERE)
def ui(
    home: HomeOption = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")
    ] = 5000,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve the MLflow UI with the logged sweeps. Ctrl-C stops it."""
    from service.sweep.environment import locate_home
    from service.tracking.mlflow_server import show_runs

    show_runs(locate_home(home), host, port)


@app.command(rich_help_panel=HERE)
def studies(
    home: HomeOption = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")
    ] = 8081,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve the Optuna dashboard with the studies of all sweeps, read-only. Ctrl-C stops it."""
    from service.base.ports import check_port
    from service.sweep.environment import locate_home
    from service.tracking.optuna_dashboard import show_studies

    check_port(host, port)
    show_studies(locate_home(home), host, port)
