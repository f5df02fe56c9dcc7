"""What commands ask of a server, and how they name its sweeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from service.base.errors import InputError, SweepNotFoundError
from service.cli.app import written

if TYPE_CHECKING:
    from service.client.client import Client
    from service.client.endpoints import Call
    from service.client.models import SweepOut


@dataclass(frozen=True)
class Remote:
    """A server, and the sweeps on it by the names that people use for them."""

    client: Client
    url: str

    @staticmethod
    def at(server: str | None, token: str | None) -> Remote:
        """The server that was named.

        Raises:
            InputError: none was, or no token, or they are none.
        """
        if not server:
            raise InputError("no server is named; give --server URL or set GAPSWEEP_SERVER")
        if not server.startswith(("http://", "https://")):
            raise InputError(f"--server {server}: write it as http://host:port")
        if not token:
            raise InputError("no token is given; set GAPSWEEP_TOKEN to what `users add` printed")
        if not token.isascii() or not token.isprintable():
            raise InputError("the token is none: it has characters that no token has")
        try:
            from service.client.client import Client
        except ModuleNotFoundError as error:
            raise InputError(f"{error.name} is missing; pip install 'gapsweep[client]'") from None
        return Remote(Client(server.rstrip("/"), token.strip()), server)

    def find(self, name: str) -> str:
        """The id of the sweep that an id, the beginning of one, or ``latest`` means.

        Raises:
            SweepNotFoundError: none, or more than one.
        """
        from service.client import endpoints

        if name == "latest":
            newest = self.client.do(endpoints.sweeps(limit=1)).items
            if not newest:
                raise SweepNotFoundError(f"there are no sweeps on {self.url} yet")
            return newest[0].sweep_id
        found = [s.sweep_id for s in self.client.do(endpoints.sweeps(prefix=name, limit=10)).items]
        if name in found:
            return name
        if len(found) == 1:
            return found[0]
        if not found:
            raise SweepNotFoundError(f"no sweep {name!r} on {self.url}; `gapsweep list` shows all")
        raise SweepNotFoundError(f"more than one sweep begins with {name!r}: {', '.join(found)}")


def acted(remote: Remote, name: str, action: Callable[[str], Call[SweepOut]]) -> None:
    """Do something with a sweep and say how it stands."""
    sweep = remote.client.do(action(remote.find(name)))
    wished = f"; told to {sweep.wish}" if sweep.wish else ""
    print(f"{sweep.sweep_id} is {sweep.state}{wished}")


def remote_list(remote: Remote, limit: int, *, as_json: bool) -> None:
    """The newest sweeps of a server, the newest last."""
    from service.cli.remote_report import sweeps_table
    from service.client import endpoints

    page = remote.client.do(endpoints.sweeps(limit=limit))
    if as_json:
        print(page.model_dump_json(indent=2))
    elif page.items:
        Console(highlight=False).print(sweeps_table(tuple(reversed(page.items))))
        if page.cursor is not None:
            print(f"(the newest {limit}; --limit shows more)")
    else:
        print(f"no sweeps on {remote.url}")


def remote_devices(remote: Remote) -> None:
    """The nodes of a server's cluster, and how many sweeps wait and run."""
    from service.cli.remote_report import nodes_table
    from service.client import endpoints

    found = remote.client.do(endpoints.cluster())
    Console(highlight=False).print(nodes_table(found.nodes))
    print(f"\n{found.running} sweeps run, {found.queued} wait")


def remote_resume(remote: Remote, name: str) -> None:
    """Queue a paused sweep again."""
    from service.client import endpoints

    acted(remote, name, endpoints.resume)


def remote_report(remote: Remote, name: str, html: Path | None, *, as_json: bool) -> None:
    """What a sweep on a server found."""
    from service.client import endpoints

    sweep_id = remote.find(name)
    if html is not None:
        page = remote.client.do(endpoints.report(sweep_id, "html"))
        written(html, lambda: html.write_text(page, encoding="utf-8"))
    print(remote.client.do(endpoints.report(sweep_id, "json" if as_json else "text")).rstrip("\n"))
    if html is not None and not as_json:
        print(f"\nreport  {html}")
