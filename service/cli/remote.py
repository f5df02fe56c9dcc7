"""Commands for sweeps on a server. They know it by its client alone."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from service.base.errors import InputError, ServerError
from service.cli.app import (
    THERE,
    AsJson,
    Overrides,
    Server,
    SpecFile,
    SweepName,
    Token,
    app,
    written,
)
from service.cli.remote_session import Remote, acted, remote_report

T = TypeVar("T")
_TRIES = 4
_POLL = 1.0

Trials = Annotated[int, typer.Option("--trials", min=1, help="How many more.")]


@app.command(rich_help_panel=THERE)
def submit(
    spec_file: SpecFile,
    overrides: Overrides = None,
    code: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="PATH", help="A module or package of yours to send along."),
    ] = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Stay until it ends.")] = False,
    priority: Annotated[
        int, typer.Option("--priority", min=-100, max=100, help="Among your own; 0 if none.")
    ] = 0,
    after: Annotated[
        list[str] | None,
        typer.Option("--after", metavar="SWEEP", help="Wait until it has succeeded."),
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Submit a sweep to a server."""
    from service.client import endpoints
    from service.spec.file import raw_spec

    remote = Remote.at(server, token)
    raw = raw_spec(spec_file, overrides or [], whole=True)
    _check_code(raw, spec_file.resolve().parent, code or [])
    bundle = _bundle(remote, code or [])
    call = endpoints.submit(
        raw,
        priority=priority,
        after=[remote.find(name) for name in after or []],
        bundle=bundle,
        idempotency_key=secrets.token_hex(16),  # so that it may be sent again
    )
    sweep = _insisted(lambda: remote.client.do(call))
    if as_json and not watch_it:
        print(sweep.model_dump_json(indent=2))
        return
    print(f"{sweep.sweep_id} is {sweep.state}", file=sys.stderr if as_json else sys.stdout)
    if watch_it:
        _watch(remote, sweep.sweep_id, as_json=as_json)


@app.command(rich_help_panel=THERE)
def status(
    name: SweepName = "latest", as_json: AsJson = False, server: Server = None, token: Token = None
) -> None:
    """Show how a sweep stands, and what happened to it so far."""
    from service.cli.remote_report import history_table, status_table
    from service.client import endpoints

    remote = Remote.at(server, token)
    sweep = remote.client.do(endpoints.sweep(remote.find(name)))
    if as_json:
        print(sweep.model_dump_json(indent=2))
        return
    console = Console(highlight=False)
    console.print(status_table(sweep))
    console.print()
    console.print(history_table(sweep))


@app.command(rich_help_panel=THERE)
def watch(
    name: SweepName = "latest", as_json: AsJson = False, server: Server = None, token: Token = None
) -> None:
    """Watch a sweep until it ends, then show its report. Ctrl-C ends the watching only."""
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
    from service.client.models import TrialOut

    remote = Remote.at(server, token)
    found = remote.client.do(endpoints.trials(remote.find(name)))
    if as_json:
        print(TypeAdapter(list[TrialOut]).dump_json(found, indent=2).decode())
        return
    Console(highlight=False).print(trials_table(found))


@app.command(rich_help_panel=THERE)
def logs(
    name: SweepName = "latest",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Stay until it ends.")] = False,
    server: Server = None,
    token: Token = None,
) -> None:
    """Print what a sweep's drivers had to say."""
    from service.client import endpoints

    remote = Remote.at(server, token)
    sweep_id, offset = remote.find(name), 0
    while True:
        piece = remote.client.do(endpoints.log(sweep_id, offset))
        print(piece.text, end="", flush=True)
        if piece.next == offset:
            if piece.ended or not follow:
                return
            time.sleep(_POLL)
        offset = piece.next


@app.command(rich_help_panel=THERE)
def download(
    name: SweepName = "latest",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where; else SWEEP.pt.")
    ] = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Save a sweep's best model: its weights, a PyTorch state dict."""
    from service.client import endpoints

    remote = Remote.at(server, token)
    sweep_id = remote.find(name)
    path = to or Path(f"{sweep_id}.pt")
    written(path, lambda: remote.client.save(endpoints.model(sweep_id), path))
    print(path)


@app.command(rich_help_panel=THERE)
def cancel(name: SweepName, server: Server = None, token: Token = None) -> None:
    """End a sweep for good; what it finished stays."""
    from service.client import endpoints

    acted(Remote.at(server, token), name, endpoints.cancel)


@app.command(rich_help_panel=THERE)
def pause(name: SweepName, server: Server = None, token: Token = None) -> None:
    """Stop a sweep until `resume`."""
    from service.client import endpoints

    acted(Remote.at(server, token), name, endpoints.pause)


@app.command(rich_help_panel=THERE)
def retry(name: SweepName, server: Server = None, token: Token = None) -> None:
    """Queue a sweep again that failed or was cancelled; it goes on where it was."""
    from service.client import endpoints

    acted(Remote.at(server, token), name, endpoints.retry)


@app.command(rich_help_panel=THERE)
def extend(name: SweepName, more: Trials, server: Server = None, token: Token = None) -> None:
    """Give a sweep that succeeded more trials."""
    from service.client import endpoints

    acted(Remote.at(server, token), name, lambda sweep_id: endpoints.extend(sweep_id, more))


def _watch(remote: Remote, sweep_id: str, *, as_json: bool) -> None:
    """Show a sweep until it ends; the exit code is how it did."""
    from service.cli.remote_progress import follow
    from service.client import endpoints
    from service.server.store.states import JobState

    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    follow(remote.client, sweep_id, console)
    sweep = remote.client.do(endpoints.sweep(sweep_id))
    if sweep.state in (JobState.SUCCEEDED, JobState.FAILED) and sweep.progress:
        remote_report(remote, sweep_id, None, as_json=as_json)
    notes = Console(stderr=True, highlight=False, markup=False)
    notes.print(f"{sweep_id} {sweep.state}: {sweep.cause}", soft_wrap=True)
    if sweep.state is not JobState.SUCCEEDED:
        sys.exit(1)


def _bundle(remote: Remote, paths: Sequence[Path]) -> str | None:
    if not paths:
        return None
    from service.client import endpoints
    from service.server.bundle_archive import pack

    archive = pack(paths)
    return _insisted(lambda: remote.client.do(endpoints.add_bundle(archive))).digest


def _check_code(raw: dict[str, object], folder: Path, sent: Iterable[Path]) -> None:
    """A module of the user's that the spec names lies here and was not sent: it would not run."""
    names = [str(raw.get("trainable", "")), str(raw.get("data", ""))]
    modules = {n.partition(":")[0].partition(".")[0] for n in names if ":" in n and "{" not in n}
    there = {p.resolve().stem if p.suffix == ".py" else p.resolve().name for p in sent}
    for module in sorted(modules - there):
        for place in dict.fromkeys((folder, Path.cwd())):
            for path in (place / module, place / f"{module}.py"):
                if path.exists() and module not in ("service", "trainables", "search_spaces"):
                    shown = os.path.relpath(path)
                    raise InputError(
                        f"the spec names {module}, which lies here and not on the server; send it "
                        f"along: --with {shown}"
                    )


def _insisted(ask: Callable[[], T]) -> T:
    """Ask again where the server was away for a moment."""
    for attempt in range(1, _TRIES):
        try:
            return ask()
        except ServerError:
            time.sleep(0.25 * 2**attempt)
    return ask()
