"""Whoever is to be called when a state changes hears everything once, in order and signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from service.base.errors import InputError
from service.base.ports import find_free_port
from service.client.job_states import JobState
from service.client.sweep_events import SweepEvent
from service.server import serve, webhook_delivery
from service.server.serve import ServerSettings
from service.server.store.lease_store import LeaseStore
from service.server.store.webhook_store import WebhookStore
from service.server.sweep_service import ServiceSettings
from service.server.webhook_delivery import TRIES, WebhookSender, check_urls, gather_urls, hide_path
from tests.log_records import LogRecords
from tests.patience import wait_for
from tests.stores import Store

SECRET = "a secret of more than 16 characters"


@dataclass(frozen=True)
class Call:
    """One request that was received."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def change(self) -> tuple[str, str]:
        """Of which sweep, and to which state."""
        return self.told["data"]["sweep_id"], self.told["data"]["new"]


class Receiver:
    """A real HTTP server: it writes down who calls, and answers as a test says."""

    def __init__(self, port: int = 0) -> None:
        self.calls: list[Call] = []
        self.status = 204
        self.location: str | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.01))
        self._thread.start()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    @property
    def changes(self) -> list[tuple[str, str]]:
        return [call.change for call in self.calls]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # http.server looks for this name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {k.lower(): v for k, v in self.headers.items()}
                receiver.calls.append(Call(self.path, headers, body))
                self.send_response(receiver.status)
                if receiver.location is not None:
                    self.send_header("Location", receiver.location)
                self.end_headers()

            do_GET = do_POST  # noqa: N815  # what a redirect that is followed may ask

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing on stderr."""

        return Handler


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    made = Receiver(port)
    try:
        yield made
    finally:
        made.close()


class House(Store):
    """A store with one sweep in it, and a caller."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, now=1_700_000_000.0)
        self.webhooks = WebhookStore(self.database, self.clock)
        self.caller = self.calls_with(SECRET)
        self.add()

    def calls_with(self, secret: str) -> WebhookSender:
        return WebhookSender(self.webhooks, secret, clock=self.clock)

    def round(self, seconds: float = 0.0) -> None:
        self.clock.now += seconds
        for webhook in self.webhooks.due():
            self.caller.deliver(webhook.url)

    def rounds_until(self, call: int, receiver: Receiver) -> float:
        """Seconds that pass, one by one, until it is called for the so-maniest time."""
        began = self.clock.now
        while len(receiver.calls) < call:
            self.round(1.0)
        return self.clock.now - began


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House.opened(tmp_path) as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


QUEUED, STARTING, RUNNING = JobState.QUEUED, JobState.STARTING, JobState.RUNNING
SUCCEEDED = JobState.SUCCEEDED


def test_every_change_is_told_once_and_in_order(house: House, receiver: Receiver) -> None:
    house.webhooks.set_urls([receiver.url()])
    house.change(STARTING, RUNNING)
    house.add("digits-2")
    house.round()
    house.round()
    house.change(SUCCEEDED)
    house.round()
    assert receiver.changes == [
        ("digits-1", "starting"),
        ("digits-1", "running"),
        ("digits-2", "queued"),
        ("digits-1", "succeeded"),
    ]
    last = receiver.calls[-1]
    assert last.headers["content-type"] == "application/json"
    assert last.told["type"] == "sweep.state_changed"
    assert last.told["data"] == {
        "sweep_id": "digits-1",
        "old": "running",
        "new": "succeeded",
        "cause": "the test said so",
        "by": "test",
    }
    names = [call.headers["webhook-id"] for call in receiver.calls]
    assert len(set(names)) == 4


def verify(call: Call, key: bytes) -> bool:
    """As standardwebhooks.com describes it, without anything of ours."""
    signed = b".".join(
        [
            call.headers["webhook-id"].encode(),
            call.headers["webhook-timestamp"].encode(),
            call.body,
        ]
    )
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    signatures = [s.split(",") for s in call.headers["webhook-signature"].split(" ")]
    return any(version == "v1" and signature == wanted for version, signature in signatures)


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (SECRET, SECRET.encode()),
        ("whsec_" + base64.b64encode(bytes(range(32))).decode(), bytes(range(32))),
    ],
)
def test_calls_are_signed(house: House, receiver: Receiver, secret: str, key: bytes) -> None:
    house.caller = house.calls_with(secret)
    house.webhooks.set_urls([receiver.url()])
    house.change(STARTING)
    house.round()
    (call,) = receiver.calls
    assert call.headers["webhook-timestamp"] == "1700000000"
    assert verify(call, key)
    assert not verify(call, b"another key")


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_receiver_that_fails_is_called_again_after_growing_waits_and_hears_all_in_order(
    house: House, receiver: Receiver, status: int
) -> None:
    house.webhooks.set_urls([receiver.url()])
    house.change(STARTING, RUNNING)
    receiver.status = status
    house.round()
    house.round()
    assert receiver.changes == [("digits-1", "starting")]
    waits = [house.rounds_until(call, receiver) for call in (2, 3, 4)]
    assert waits == [2.0, 4.0, 8.0]
    assert len({call.headers["webhook-id"] for call in receiver.calls}) == 1
    house.change(SUCCEEDED)
    receiver.status = 200
    receiver.calls.clear()
    house.round(16.0)
    assert [new for _, new in receiver.changes] == ["starting", "running", "succeeded"]
    house.round()
    assert len(receiver.calls) == 3


def test_one_that_is_not_there_is_called_when_it_comes(house: House) -> None:
    port = find_free_port()
    house.webhooks.set_urls([f"http://127.0.0.1:{port}/"])
    house.change(STARTING, RUNNING)
    for _ in range(3):
        house.round(10.0)
    with receiving(port) as receiver:
        house.round(10.0)
        assert [new for _, new in receiver.changes] == ["starting", "running"]


def test_a_call_that_is_made_again_is_signed_for_its_own_time(
    house: House, receiver: Receiver
) -> None:
    house.webhooks.set_urls([receiver.url()])
    house.change(STARTING)
    receiver.status = 503
    house.round()
    house.round(2.0)
    times = [call.headers["webhook-timestamp"] for call in receiver.calls]
    assert times == ["1700000000", "1700000002"]
    assert all(verify(call, SECRET.encode()) for call in receiver.calls)


def test_what_is_never_taken_is_given_up_and_the_next_is_told(
    house: House, receiver: Receiver, logs: LogRecords
) -> None:
    house.webhooks.set_urls([receiver.url()])
    house.change(STARTING)
    receiver.status = 500
    with logs.at_level(logging.ERROR):
        for _ in range(TRIES + 3):
            house.round(3600.0)
    assert receiver.changes == [("digits-1", "starting")] * TRIES
    assert "gave up event" in logs.text
    house.change(RUNNING)
    receiver.status = 200
    house.round()
    assert receiver.changes[TRIES:] == [("digits-1", "running")]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_event_that_a_receiver_refuses_does_not_hold_up_the_next(
    house: House, receiver: Receiver, logs: LogRecords, status: int
) -> None:
    house.webhooks.set_urls([receiver.url()])
    house.change(STARTING)
    receiver.status = status
    house.round()
    house.change(RUNNING)
    receiver.status = 204
    house.round()
    assert [new for _, new in receiver.changes] == ["starting", "running"]
    assert "gave up event" in logs.text


def test_an_event_that_cannot_be_written_does_not_hold_up_the_next(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_json = webhook_delivery.event_to_json

    def fail_once(event: SweepEvent) -> bytes:
        monkeypatch.setattr(webhook_delivery, "event_to_json", to_json)
        raise ValueError("no JSON")

    monkeypatch.setattr(webhook_delivery, "event_to_json", fail_once)
    house.webhooks.set_urls([receiver.url()])
    house.change(STARTING, RUNNING)
    house.round()
    assert [new for _, new in receiver.changes] == ["running"]


def test_a_new_address_hears_only_what_happens_from_now_on(
    house: House, receiver: Receiver
) -> None:
    house.webhooks.set_urls([receiver.url("/old")])
    house.change(STARTING)
    house.webhooks.set_urls([receiver.url("/old"), receiver.url("/new")])
    house.change(RUNNING)
    house.round()
    heard = sorted((call.path, call.change[1]) for call in receiver.calls)
    assert heard == [("/new", "running"), ("/old", "running"), ("/old", "starting")]


def test_a_service_that_starts_again_tells_what_was_missed(
    house: House, receiver: Receiver
) -> None:
    house.webhooks.set_urls([receiver.url()])
    house.change(STARTING)
    house.round()
    house.change(RUNNING)
    house.webhooks.set_urls([receiver.url()])
    house.caller = house.calls_with(SECRET)
    house.round()
    assert [new for _, new in receiver.changes] == ["starting", "running"]


def test_an_address_that_was_taken_out_is_called_no_more(house: House, receiver: Receiver) -> None:
    house.webhooks.set_urls([receiver.url("/old"), receiver.url("/new")])
    house.webhooks.set_urls([receiver.url("/new")])
    house.change(STARTING)
    house.round()
    assert [call.path for call in receiver.calls] == ["/new"]
    house.webhooks.set_urls([])
    house.change(RUNNING)
    house.round()
    assert len(receiver.calls) == 1


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_redirect_is_not_followed(house: House, receiver: Receiver, status: int) -> None:
    receiver.status, receiver.location = status, receiver.url("/elsewhere")
    house.webhooks.set_urls([receiver.url("/here")])
    house.change(STARTING)
    house.round()
    assert [call.path for call in receiver.calls] == ["/here"]
    (hook,) = WebhookStore(house.database, lambda: house.clock.now + 60).due()
    assert hook.tries == 1


def test_one_that_is_dead_does_not_hold_up_another(house: House, receiver: Receiver) -> None:
    dead = [f"http://127.0.0.1:{find_free_port()}/{name}" for name in "az"]
    house.webhooks.set_urls([*dead, receiver.url("/m")])
    house.change(STARTING, RUNNING)
    house.round()
    assert [new for _, new in receiver.changes] == ["starting", "running"]


@pytest.mark.parametrize("url", ["http://.../", f"http://{'a' * 70}.example/"])
def test_one_whose_name_is_none_does_not_hold_up_another(
    house: House, receiver: Receiver, url: str
) -> None:
    house.webhooks.set_urls([url])
    house.webhooks.set_urls([url, receiver.url()])
    house.change(STARTING)
    house.round()
    assert [new for _, new in receiver.changes] == ["starting"]


def test_passwords_in_addresses_are_not_logged(house: House, logs: LogRecords) -> None:
    house.webhooks.set_urls([f"http://ann:hunter22@127.0.0.1:{find_free_port()}/"])
    house.change(STARTING)
    with logs.at_level(logging.WARNING):
        house.round()
    assert "127.0.0.1" in logs.text
    assert "hunter22" not in logs.text


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("", "at least 16 characters"),
        ("fifteen letters", "at least 16 characters"),
        ("whsec_not-base-64!", "after whsec_ must be base64"),
        ("whsec_AAAAAAAAAAA", "after whsec_ must be base64"),
        ("whsec_Schlüsselwort", "after whsec_ must be base64"),
    ],
)
def test_secrets_that_are_none_are_refused_with_what_would_be(
    house: House, secret: str, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        house.calls_with(secret)
    assert "GAPSWEEP_WEBHOOK_SECRET" in str(caught.value)
    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host/path",
        "ftp://host/path",
        "file:///etc/passwd",
        f"https://host/{'x' * 500}",
        "https://",
        "https:///path",
        "http://host:port/path",
        "http://[::1/path",
    ],
)
def test_what_cannot_be_called_is_refused_with_what_could_be(url: str) -> None:
    with pytest.raises(
        InputError, match=r"webhook 2: invalid URL .*; write it as https://host/path"
    ):
        check_urls(["https://fine.example/hook", url])


def test_what_can_be_called_is_taken() -> None:
    check_urls([])
    check_urls(["https://host.example/hook?key=1", "http://127.0.0.1:8000"])


SECRET_PATH = "services/T00/B00/verysecretpath"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://hooks.example/{SECRET_PATH}", "https://hooks.example/***"),
        (f"https://a:b@hooks.example:8443/?key={SECRET_PATH}", "https://hooks.example:8443/***"),
        ("https://hooks.example/", "https://hooks.example"),
        (f"no url {SECRET_PATH}", "/***"),
    ],
)
def test_what_may_be_secret_of_a_url_is_hidden(url: str, shown: str) -> None:
    assert hide_path(url) == shown


def test_no_log_line_and_no_error_has_the_path_of_a_webhook(house: House, logs: LogRecords) -> None:
    url = f"http://127.0.0.1:{find_free_port()}/{SECRET_PATH}?key={SECRET_PATH}"
    house.webhooks.set_urls([url])
    house.change(JobState.CANCELLED)

    def fail(asked: str, *_: object) -> int:
        raise ValueError(f"cannot call {asked}, of which the path is /{SECRET_PATH}")

    with logs.at_level(logging.DEBUG):
        house.round()
        house.caller = WebhookSender(house.webhooks, SECRET, fail, house.clock)
        for tries in range(1, TRIES + 1):
            house.round(2.0**tries)
    assert "gave up event" in logs.text
    assert "verysecretpath" not in logs.text
    for bad in (f"http://127.0.0.1:port/{SECRET_PATH}", f"//{SECRET_PATH}"):
        with pytest.raises(InputError) as caught:
            check_urls([bad])
        assert "verysecretpath" not in str(caught.value)


def test_urls_come_from_a_file_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "webhooks"
    file.write_text("# ours\nhttps://one.example/a/b\n\n  https://two.example/c\n")
    found = gather_urls(["http://three.example:8000"], file, "https://four.example/d http://five/")
    assert found == (
        "http://three.example:8000",
        "https://one.example/a/b",
        "https://two.example/c",
        "https://four.example/d",
        "http://five/",
    )
    with pytest.raises(InputError, match="nowhere cannot be read"):
        gather_urls([], tmp_path / "nowhere", "")


def test_a_url_with_a_path_is_refused_on_the_command_line_without_repeating_it() -> None:
    with pytest.raises(InputError, match="give --webhook-file FILE, or set GAPSWEEP_WEBHOOKS") as e:
        gather_urls([f"https://hooks.example/{SECRET_PATH}"], None, "")
    assert "https://hooks.example/***" in str(e.value)
    assert "verysecretpath" not in str(e.value)


@contextmanager
def dripping() -> Iterator[str]:
    """A receiver that sends a byte of its response's head from time to time, and never all."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 204 No Content\r\nX: ")
                while not stop.wait(0.05):
                    connection.sendall(b"x")

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=drip, args=listening.accept()[:1], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            stop.set()
            listening.shutdown(socket.SHUT_RDWR)


def test_a_receiver_that_drips_its_answer_has_one_timeout_for_all_of_it(
    house: House, monkeypatch: pytest.MonkeyPatch, logs: LogRecords
) -> None:
    monkeypatch.setattr(webhook_delivery, "_TIMEOUT", 0.4)
    with dripping() as url:
        house.webhooks.set_urls([url])
        house.change(JobState.CANCELLED)
        began = time.monotonic()
        house.round()
    assert time.monotonic() - began < 10
    assert "no response within 0 s" in logs.text
    assert house.webhooks.due() == ()


def test_a_slow_receiver_holds_up_no_other_one(house: House, tmp_path: Path) -> None:
    leases = LeaseStore(house.database, "this process")
    with ExitStack() as stack:
        slow, fine = stack.enter_context(dripping()), stack.enter_context(receiving())
        settings = ServerSettings(
            service=ServiceSettings(database_url=house.url, home=tmp_path),
            ray_address="auto",
            webhooks=(slow, fine.url()),
            webhook_secret=SECRET,
        )
        loops = serve._build_webhook_loops(settings, house.database, leases)
        for loop in loops:
            loop.start()
        time.sleep(0.3)
        house.change(JobState.CANCELLED)
        wait_for(lambda: fine.changes == [("digits-1", "cancelled")], 5)
    for loop in loops:  # the slow receiver is gone: no round is left that waits for it
        loop.stop()
    assert len({loop.name for loop in loops}) == 2
