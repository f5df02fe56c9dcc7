"""An app served by uvicorn as `gapsweep serve` does, in a thread of the test."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.server.serve import list_http_options
from tests.patience import wait_for


@contextmanager
def served(app: FastAPI, trusted_proxies: Sequence[str] = (), **more: Any) -> Iterator[int]:
    """The port at which the app answers."""
    options = {**list_http_options(trusted_proxies), "timeout_graceful_shutdown": 1, **more}
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        server = uvicorn.Server(uvicorn.Config(app, **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            wait_for(lambda: server.started, 20)
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(timeout=20)
