"""Clients that send or read slowly, leave in between, or say that they are somebody else."""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

from service.base.errors import InputError
from service.server.api import dependencies
from service.server.api.app import create_app
from service.server.api.rate_limits import RateSettings
from service.server.http_timeouts import PatientProtocol
from service.server.serve import check_proxies
from tests.log_records import LogRecords
from tests.patience import wait_for
from tests.served import served
from tests.worlds import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "head_timeout", 0.3)
    monkeypatch.setattr(PatientProtocol, "write_timeout", 0.5)
    monkeypatch.setattr(dependencies, "BODY_TIMEOUT", 0.3)


@pytest.fixture
def port(world: World) -> Iterator[int]:
    with served(create_app(world.service)) as found:
        yield found


def connect(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port))
    made.settimeout(10)
    return made


def head(world: World, method: str = "POST", path: str = "/v1/sweeps", length: int = 1000) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {world.tokens['ann']}"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def read_to_the_end(connection: socket.socket) -> bytes:
    found = bytearray()
    try:
        while part := connection.recv(2**16):
            found += part
    except ConnectionResetError:
        pass
    return bytes(found)


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Half: "])
def test_half_a_head_is_not_waited_for_for_ever(port: int, sent: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(sent)
        assert read_to_the_end(connection) == b""


def test_half_the_head_of_a_second_request_is_not_waited_for_for_ever(port: int) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(port) as connection:
        connection.sendall(whole)
        assert connection.recv(2**16).startswith(b"HTTP/1.1 200")
        connection.sendall(whole[:-2])
        assert b"HTTP" not in read_to_the_end(connection)


def test_half_a_body_is_refused_and_the_connection_closed(world: World, port: int) -> None:
    with connect(port) as connection:
        connection.sendall(head(world) + b"name: ")
        answer = read_to_the_end(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"a spec did not arrive in time; 6 bytes of the body did" in answer


def test_a_body_that_drips_is_refused_after_the_time_of_the_largest_one(
    world: World, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies, "MIN_RATE", dependencies.MAX_SPEC_BYTES * 2)
    with connect(port) as connection:
        connection.sendall(head(world))
        while not select.select([connection], [], [], 0.1)[0]:  # a part arrives in time each time
            connection.sendall(b" ")
        assert read_to_the_end(connection).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("parts", [1, 64])
def test_a_reader_that_does_not_read_is_dropped(parts: int) -> None:
    app, size = FastAPI(), 2**26

    @app.get("/large")
    async def large() -> Response:
        return StreamingResponse(b"x" * (size // parts) for _ in range(parts))

    with served(app) as port, connect(port) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1.0)
        assert len(read_to_the_end(connection)) < size


def counted(port: int) -> str:
    return httpx2.get(f"http://127.0.0.1:{port}/metrics").text


def test_a_client_that_leaves_is_no_server_error(world: World, port: int, logs: LogRecords) -> None:
    with logs.at_level(logging.INFO):
        for _ in range(10):
            with connect(port) as connection:
                connection.sendall(head(world) + b"name: ")
        left = 'gapsweep_requests_total{method="POST",path="/v1/sweeps",status="499"} 10.0'
        wait_for(lambda: left in counted(port), 10)
    assert 'status="500"' not in counted(port)
    assert [r for r in logs.records if r.levelno >= logging.WARNING] == []


def ask(port: int, claimed: str) -> int:
    headers = {"X-Forwarded-For": claimed, "Authorization": "Bearer gs_nobody"}
    return httpx2.get(f"http://127.0.0.1:{port}/v1/me", headers=headers).status_code


def test_who_says_to_be_another_host_is_believed_through_a_trusted_proxy_only(
    world: World,
) -> None:
    app = create_app(world.service, rates=RateSettings(failures="3/minute"))
    with served(app) as port:
        assert [ask(port, f"10.0.0.{n}") for n in range(5)] == [401, 401, 401, 429, 429]
    app = create_app(world.service, rates=RateSettings(failures="3/minute"))
    with served(app, ["127.0.0.0/8"]) as port:
        assert [ask(port, f"10.0.0.{n}") for n in range(5)] == [401] * 5
        assert [ask(port, "10.0.1.1") for _ in range(4)] == [401, 401, 401, 429]


@pytest.mark.parametrize("address", ["", "*", "proxy", "10.0.0.300", "10.0.0.1/8"])
def test_a_proxy_that_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"write it as 10.0.0.7 or 10.0.0.0/8"):
        check_proxies([address])
