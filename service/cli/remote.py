"""Commands for sweeps on a server; they use the client only."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from service.base.errors import InputError
from service.base.plain_text import clean_log, say
from service.cli.app import (
    THERE,
    AcceptChanges,
    AsJson,
    Overrides,
    Server,
    SpecFile,
    SweepName,
    Token,
    Widen,
    app,
    print_json,
    write_file,
)
from service.cli.remote_session import Remote, remote_report, run_action
from service.report.console import open_console
from service.spec.model import SweepSpec
from trainables.config.code_files import OWN_PACKAGES

_POLL_PERIOD = 1.0
"""Seconds between requests for new log lines."""

Trials = Annotated[int, typer.Option("--trials", min=1, help="Number of additional trials.")]


@app.command(rich_help_panel=THERE)
def submit(
    spec_file: SpecFile,
    overrides: Overrides = None,
    code: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="PATH", help="Module or package to upload."),
    ] = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Follow until it ends.")] = False,
    priority: Annotated[
        int, typer.Option("--priority", min=-100, max=100, help="Priority among your own sweeps.")
    ] = 0,
    after: Annotated[
        list[str] | None,
        typer.Option("--after", metavar="SWEEP", help="Start after this sweep has succeeded."),
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Submit a sweep to a server."""
    from service.client import endpoints
    from service.spec.file import parse_spec, read_raw_spec

    remote = Remote.at(server, token)
    raw = read_raw_spec(spec_file, overrides or [], whole=True)
    folder = spec_file.resolve().parent
    _check_code(parse_spec(raw, str(spec_file), folder), folder, code or [])
    bundle = _upload_bundle(remote, code or [])
    call = endpoints.submit(
        raw,
        priority=priority,
        after=[remote.find(name) for name in after or []],
        bundle=bundle,
        idempotency_key=secrets.token_hex(16),  # so that a retry cannot submit it twice
    )
    sweep = remote.do_patiently(call)
    if as_json and not watch_it:
        print_json(sweep.model_dump_json(indent=2))
        return
    say(f"{sweep.sweep_id} is {sweep.state}", to=sys.stderr if as_json else sys.stdout)
    if watch_it:
        _watch(remote, sweep.sweep_id, as_json=as_json)


@app.command(rich_help_panel=THERE)
def status(
    name: SweepName = "latest", as_json: AsJson = False, server: Server = None, token: Token = None
) -> None:
    """Show a sweep's state and history."""
    from service.cli.remote_report import history_table, status_table
    from service.client import endpoints

    remote = Remote.at(server, token)
    sweep = remote.client.do(endpoints.sweep(remote.find(name)))
    if as_json:
        print_json(sweep.model_dump_json(indent=2))
        return
    console = open_console()
    console.print(status_table(sweep))
    console.print()
    console.print(history_table(sweep))


@app.command(rich_help_panel=THERE)
def watch(
    name: SweepName = "latest", as_json: AsJson = False, server: Server = None, token: Token = None
) -> None:
    """Watch a sweep until it ends, then show its report. Ctrl-C does not stop the sweep."""
    remote = Remote.at(server, token)
    _watch(remote, remote.find(name), as_json=as_json)


@app.command(rich_help_panel=THERE)
def trials(
    name: SweepName = "latest", as_json: AsJson = False, server: Server = None, token: Token = None
) -> None:
    """Show a sweep's trials."""
    from pydantic import TypeAdapter

    from service.cli.remote_report import trials_table
    from service.client import endpoints
    from service.client.api_models import TrialOut

    remote = Remote.at(server, token)
    found = remote.client.do(endpoints.trials(remote.find(name)))
    if as_json:
        print_json(TypeAdapter(list[TrialOut]).dump_json(found, indent=2).decode())
        return
    open_console().print(trials_table(found))


@app.command(rich_help_panel=THERE)
def logs(
    name: SweepName = "latest",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Follow until it ends.")] = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Print driver logs."""
    from service.client import endpoints

    remote = Remote.at(server, token)
    sweep_id, offset = remote.find(name), 0
    while True:
        part = remote.client.do(endpoints.log(sweep_id, offset))
        say(clean_log(part.text), end="")
        if part.next == offset:
            if part.ended or not follow:
                return
            time.sleep(_POLL_PERIOD)
        offset = part.next


@app.command(rich_help_panel=THERE)
def download(
    name: SweepName = "latest",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Output file (default: SWEEP.pt).")
    ] = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Download the weights of a sweep's best model: a PyTorch state dict."""
    from service.client import endpoints

    remote = Remote.at(server, token)
    sweep_id = remote.find(name)
    path = to or Path(f"{sweep_id}.pt")
    write_file(path, lambda: remote.client.save(endpoints.model(sweep_id), path))
    say(path)


@app.command(rich_help_panel=THERE)
def cancel(name: SweepName, server: Server = None, token: Token = None) -> None:
    """Cancel a sweep; its finished trials stay."""
    from service.client import endpoints

    run_action(Remote.at(server, token), name, endpoints.cancel)


@app.command(rich_help_panel=THERE)
def pause(name: SweepName, server: Server = None, token: Token = None) -> None:
    """Pause a sweep until `resume`."""
    from service.client import endpoints

    run_action(Remote.at(server, token), name, endpoints.pause)


@app.command(rich_help_panel=THERE)
def retry(
    name: SweepName,
    accept_changes: AcceptChanges = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Queue a failed or cancelled sweep again; it continues where it stopped."""
    from service.client import endpoints

    remote = Remote.at(server, token)
    run_action(remote, name, lambda i: endpoints.retry(i, accept_changes=accept_changes))


@app.command(rich_help_panel=THERE)
def extend(
    name: SweepName,
    more: Trials,
    widen: Widen = None,
    accept_changes: AcceptChanges = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Add trials to a sweep that succeeded."""
    from service.client import endpoints

    remote = Remote.at(server, token)
    wider = widen or ()
    run_action(
        remote,
        name,
        lambda i: endpoints.extend(i, more, widen=wider, accept_changes=accept_changes),
    )


def _watch(remote: Remote, sweep_id: str, *, as_json: bool) -> None:
    """Show a sweep until it ends; exit code 1 unless it succeeded."""
    from service.cli.remote_progress import follow
    from service.client import endpoints
    from service.client.job_states import JobState

    console = open_console(stderr=as_json)
    follow(remote.client, sweep_id, console)
    sweep = remote.client.do(endpoints.sweep(sweep_id))
    if sweep.state in (JobState.SUCCEEDED, JobState.FAILED) and sweep.progress:
        remote_report(remote, sweep_id, None, as_json=as_json)
    notes = open_console(stderr=True)
    notes.print(f"{sweep_id} {sweep.state}: {sweep.cause}", soft_wrap=True)
    if sweep.state is not JobState.SUCCEEDED:
        sys.exit(1)


def _upload_bundle(remote: Remote, paths: Sequence[Path]) -> str | None:
    if not paths:
        return None
    from service.client import endpoints
    from service.client.bundle_packing import pack

    archive = pack(paths)
    return remote.do_patiently(endpoints.add_bundle(archive)).digest


def _check_code(spec: SweepSpec, folder: Path, sent: Iterable[Path]) -> None:
    """Refuse a spec that names a module which is on this machine and is not uploaded."""
    there = {p.resolve().stem if p.suffix == ".py" else p.resolve().name for p in sent}
    for module in sorted(spec.modules() - there - set(OWN_PACKAGES)):
        for place in dict.fromkeys((folder, Path.cwd())):
            for path in (place / module, place / f"{module}.py"):
                if path.exists():
                    shown = os.path.relpath(path)
                    raise InputError(
                        f"the spec names module {module}, which is on this machine and not on the "
                        f"server; upload it: --with {shown}"
                    )
