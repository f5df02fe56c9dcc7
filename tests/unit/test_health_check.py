"""The check of health that the image's containers run, on a server of this process's own."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from service.base.ports import find_free_port
from tests.commands import REPOSITORY
from tests.patience import patience

CHECK = REPOSITORY / "docker" / "image" / "healthy"


class Answering(BaseHTTPRequestHandler):
    """Answers by the number that the path ends with, and keeps who was asked for."""

    hosts: list[str]

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        self.send_response(int(self.path.rpartition("/")[2]))
        self.end_headers()
        self.wfile.write(b"ok" * 1000)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hosts() -> list[str]:
    return []


@pytest.fixture
def place(hosts: list[str]) -> Iterator[str]:
    handler = type("Handler", (Answering,), {"hosts": hosts})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CHECK)],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=patience(30),
    )


def test_a_part_that_answers_is_healthy(place: str, hosts: list[str]) -> None:
    done = ask(HEALTH_URL=f"http://{place}/api/200")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert hosts == [place]


@pytest.mark.parametrize(("status", "words"), [(503, "503 Service Unavailable"), (302, "302")])
def test_another_answer_is_said(place: str, status: int, words: str) -> None:
    done = ask(HEALTH_URL=f"http://{place}/{status}")
    assert done.returncode == 1
    assert f"http://{place}/{status}: {words}" in done.stderr


def test_a_part_that_does_not_answer_is_not_healthy() -> None:
    done = ask(HEALTH_URL=f"http://127.0.0.1:{find_free_port()}/readyz")
    assert done.returncode == 1
    assert "/readyz: nothing answers there" in done.stderr


def test_a_container_with_nothing_to_ask_is_healthy() -> None:
    assert ask().returncode == 0
