"""The connection of remote commands to a server, and how they find its sweeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from service.base.errors import InputError, ServerError
from service.base.plain_text import say
from service.base.sweep_ids import LATEST, resolve_sweep
from service.cli.app import print_json, write_file
from service.report.console import open_console

if TYPE_CHECKING:
    from service.client.api_models import SweepOut
    from service.client.client import Client
    from service.client.endpoints import Call


T = TypeVar("T")


@dataclass(frozen=True)
class Remote:
    """A server, and its sweeps by id, beginning of an id, or ``latest``."""

    client: Client
    url: str

    @staticmethod
    def at(server: str | None, token: str | None) -> Remote:
        """The server with this URL and this API token.

        Raises:
            InputError: one of the two is missing or invalid.
        """
        if not server:
            raise InputError("missing server; give --server URL or set GAPSWEEP_SERVER")
        if not server.startswith(("http://", "https://")):
            raise InputError(f"--server: invalid URL {server!r}; write it as http://host:port")
        if not token:
            raise InputError(
                "missing token; set GAPSWEEP_TOKEN to the token that `gapsweep users add` printed"
            )
        if not token.isascii() or not token.isprintable():
            raise InputError("invalid token: unexpected characters")
        from service.cli.token_notice import TokenNotice
        from service.client.client import Client

        client = Client(server.rstrip("/"), token.strip(), on_response=TokenNotice())
        return Remote(client, server)

    def do_patiently(self, call: Call[T]) -> T:
        """Make a call that may be repeated, up to four times if the server does not answer."""
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

        retrying = Retrying(
            stop=stop_after_attempt(4),
            wait=wait_exponential(multiplier=0.5),
            retry=retry_if_exception_type(ServerError),
            reraise=True,
        )
        answer: T = retrying(self.client.do, call)
        return answer

    def find(self, name: str) -> str:
        """The id of a sweep by its id, an unambiguous beginning of it, or ``latest``.

        Raises:
            SweepNotFoundError: no sweep matches, or several do.
        """
        from service.client import endpoints

        prefix = None if name == LATEST else name
        found = self.client.do(endpoints.sweeps(prefix=prefix, limit=10)).items
        if not found:
            found = self.client.do(endpoints.sweeps(limit=10)).items
        return resolve_sweep(name, [s.sweep_id for s in reversed(found)], f"on {self.url}")


def run_action(remote: Remote, name: str, action: Callable[[str], Call[SweepOut]]) -> None:
    """Make a call that changes a sweep, and print the sweep's state."""
    sweep = remote.client.do(action(remote.find(name)))
    requested = f"; {sweep.requested_action} requested" if sweep.requested_action else ""
    say(f"{sweep.sweep_id} is {sweep.state}{requested}")


def remote_list(remote: Remote, limit: int, *, as_json: bool) -> None:
    """Print the newest sweeps of a server, the newest last."""
    from service.cli.remote_report import sweeps_table
    from service.client import endpoints

    page = remote.client.do(endpoints.sweeps(limit=limit))
    if as_json:
        print_json(page.model_dump_json(indent=2))
    elif page.items:
        open_console().print(sweeps_table(tuple(reversed(page.items))))
        if page.cursor is not None:
            say(f"(newest {limit} only; use --limit for more)")
    else:
        say(f"no sweeps on {remote.url}")


def remote_devices(remote: Remote) -> None:
    """Print the nodes of a server's cluster, and the numbers of active and queued sweeps."""
    from service.cli.remote_report import nodes_table
    from service.client import endpoints

    found = remote.client.do(endpoints.cluster())
    open_console().print(nodes_table(found.nodes))
    say(f"\n{found.running} sweeps active, {found.queued} queued")


def remote_resume(remote: Remote, name: str, *, widen: Sequence[str], accept_changes: bool) -> None:
    """Queue a paused sweep again, with wider ranges."""
    from service.client import endpoints

    run_action(
        remote, name, lambda i: endpoints.resume(i, widen=widen, accept_changes=accept_changes)
    )


def remote_report(remote: Remote, name: str, html: Path | None, *, as_json: bool) -> None:
    """Print a sweep's report; with ``html``, save the page as well."""
    from service.client import endpoints

    sweep_id = remote.find(name)
    if html is not None:
        page = remote.client.do(endpoints.report(sweep_id, "html"))
        write_file(html, lambda: html.write_text(page, encoding="utf-8"))
    text = remote.client.do(endpoints.report(sweep_id, "json" if as_json else "text")).rstrip("\n")
    if as_json:
        print_json(text)
    else:
        say(text)
    if html is not None and not as_json:
        say(f"\nreport  {html}")
